"""Byte streams to a supervisor: a child's pipes, or a socket."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import socket
import stat
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress

from .inside.writing import write_all

PIECE, LESS = 1 << 18, 1 << 16  # bytes that are read at once; a large buffer is costly to make
PIPE = 1 << 20
MOST_ERRORS = 2000  # bytes


def widen(descriptor: int) -> None:
    """Let a pipe hold more than 64 KiB, where the system can: fewer switches for large files."""
    if hasattr(fcntl, "F_SETPIPE_SZ"):
        with suppress(OSError):  # above the system's limit: it stays as it is
            fcntl.fcntl(descriptor, fcntl.F_SETPIPE_SZ, PIPE)


class ChildPipe:
    """The stdin and stdout of a child of ours; its end is the sandbox's end.

    Args:
        argv: what to start, in a session of its own.
        env: its whole environment.
        errors: a file that takes its stderr; it may be removed any time.
    """

    def __init__(self, argv: Sequence[str], env: Mapping[str, str], errors: str) -> None:
        self._errors = open(errors, "w+b", buffering=0)  # noqa: SIM115 - closed by `free`, `wait`
        try:
            self.child = subprocess.Popen(
                argv,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._errors,
                env=dict(env),
                bufsize=0,
                start_new_session=True,
            )
        except BaseException:
            self._errors.close()
            raise
        assert self.child.stdin is not None
        assert self.child.stdout is not None
        self._in, self._out = self.child.stdin, self.child.stdout
        self._wanted = LESS
        for end in (self._in, self._out):
            widen(end.fileno())

    def read(self) -> bytes:
        """See Pipe."""
        data = os.read(self._out.fileno(), self._wanted)
        self._wanted = PIECE if len(data) >= LESS else LESS
        return data

    def write(self, *parts: bytes | memoryview) -> None:
        """See Pipe."""
        write_all(self._in.fileno(), *parts)

    def close(self) -> None:
        """See Pipe."""
        with suppress(OSError):
            self._in.close()

    def errors(self) -> str:
        """The end of what it has written to its stderr."""
        if self._errors.closed:
            return ""
        number = self._errors.fileno()
        # the offset is shared with the child: it must stay where it is
        end = os.pread(number, MOST_ERRORS, max(0, os.fstat(number).st_size - MOST_ERRORS))
        return end.decode("utf-8", "replace").strip()

    def wake(self) -> None:
        """See Wakeable."""
        self._signal(signal.SIGCONT)

    def wait(self, timeout: float) -> int:
        """Its exit status, once it has ended: by itself, or past `timeout` seconds by force."""
        steps = ((signal.SIGCONT, timeout / 2), (signal.SIGTERM, timeout / 2))
        for number, seconds in (*steps, (signal.SIGKILL, None)):
            self._signal(number)
            with suppress(subprocess.TimeoutExpired):
                self.child.wait(seconds)
                break
        self._out.close()
        self._errors.close()
        return self.child.returncode

    def _signal(self, number: int) -> None:
        """To its process group: what it has started and what has not left it."""
        if self.child.poll() is None:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self.child.pid, number)

    def free(self) -> None:
        """See Pipe."""
        self.close()
        self._out.close()
        self._errors.close()

    def release(self) -> None:
        """Let it live on, as nobody's child."""
        self.free()
        self.child.returncode = 0  # Popen must not warn that it still runs


def connect_socket(path: str) -> socket.socket:
    """Connect to a unix socket in a folder that hostile code can write to.

    A link put there could lead to any socket of the host: none is followed.

    Raises:
        OSError: there is no socket, or nobody listens.
    """
    peer = socket.socket(socket.AF_UNIX)
    try:
        if not hasattr(os, "O_PATH"):
            if not stat.S_ISSOCK(os.lstat(path).st_mode):
                raise OSError(errno.ENOTSOCK, os.strerror(errno.ENOTSOCK), path)
            peer.connect(path)
            return peer
        found = os.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            if not stat.S_ISSOCK(os.fstat(found).st_mode):
                raise OSError(errno.ENOTSOCK, os.strerror(errno.ENOTSOCK), path)
            peer.connect(f"/proc/self/fd/{found}")
        finally:
            os.close(found)
    except BaseException:
        peer.close()
        raise
    return peer


class SocketPipe:
    """A connected socket."""

    def __init__(self, connected: socket.socket) -> None:
        self._socket = connected

    def read(self) -> bytes:
        """See Pipe."""
        return self._socket.recv(PIECE)

    def write(self, *parts: bytes | memoryview) -> None:
        """See Pipe."""
        write_all(self._socket.fileno(), *parts)

    def close(self) -> None:
        """See Pipe."""
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def free(self) -> None:
        """See Pipe."""
        self._socket.close()
