"""A process that stays as it was at the start, so that interpreters can be forked from it.

A fork costs a few milliseconds where a new Python, and the imports of a kernel, cost hundreds.
It has one thread, and holds nothing that a child must not share: whatever it preloads keeps
no thread, socket or random state.
"""

from __future__ import annotations

import _signal as signal  # without the names as enums, which take a millisecond
import _socket as socket  # all that is needed of socket, which takes 4 ms to import
import gc
import json
import os
import struct
import sys
import threading
from collections.abc import Callable
from contextlib import suppress

TYPE_CHECKING = False  # not that of typing, which takes 10 ms to import
if TYPE_CHECKING:
    import subprocess
    from typing import Any

MOST = 1 << 20  # bytes of a request
INT = struct.calcsize("i")
LOOK, TRIES = 0.1, 100  # seconds that an answer may take, each time; then it is woken, or given up


class ForkServer:
    """The supervisor's end; `fork` must be called before the supervisor has threads."""

    def __init__(self, preload: list[str]) -> None:
        self._lock = threading.Lock()
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.pid = os.fork()
        if self.pid == 0:
            keep_only(theirs.fileno())
            serve(theirs, preload)
            os._exit(0)
        theirs.close()
        self._socket.settimeout(LOOK)

    def spawn(self, spec: dict[str, Any], ends: list[int]) -> Forked:
        """Fork an interpreter; `spec["main"]` names the module of ours that it runs."""
        asked = {name: spec.get(name) for name in ("main", "options", "env", "cwd")}
        return Forked(self, self._ask(asked, ends))

    def wait(self, pid: int) -> int:
        """The exit status of a child that has ended, or will."""
        return self._ask({"wait": pid}, [])

    def _ask(self, request: dict[str, Any], descriptors: list[int]) -> int:
        with self._lock:
            self._signal(signal.SIGCONT)  # code may have stopped it
            send_descriptors(self._socket, json.dumps(request).encode(), descriptors)
            answer = self._answer()
        if not answer:
            raise ConnectionResetError(104, "the fork server is gone")
        return int(json.loads(answer))

    def _answer(self) -> bytes:
        for _ in range(TRIES):
            with suppress(TimeoutError):
                return self._socket.recv(MOST)
            self._signal(signal.SIGCONT)  # code may have stopped it right now
        self._signal(signal.SIGKILL)
        return b""

    def _signal(self, number: int) -> None:
        with suppress(ProcessLookupError):
            os.kill(self.pid, number)

    def close(self) -> None:
        self._socket.close()


class Forked:
    """A child of the fork server."""

    def __init__(self, server: ForkServer, pid: int) -> None:
        self._server, self.pid = server, pid
        self._code: int | None = None
        self._waiting = threading.Lock()

    def wait(self) -> int:
        with self._waiting:
            if self._code is None:
                try:
                    self._code = self._server.wait(self.pid)
                except OSError:  # the server was killed: its orphans are the supervisor's
                    self._code = -signal.SIGKILL
                    with suppress(ChildProcessError):
                        _, status = os.waitpid(self.pid, 0)
                        self._code = os.waitstatus_to_exitcode(status)
            return self._code


def send_descriptors(to: socket.socket, data: bytes, descriptors: list[int]) -> None:
    """As `socket.send_fds`."""
    rights = struct.pack(f"{len(descriptors)}i", *descriptors)
    to.sendmsg([data], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)])


def receive_descriptors(of: socket.socket, most: int) -> tuple[bytes, list[int]]:
    """As `socket.recv_fds`."""
    data, about, _, _ = of.recvmsg(MOST, socket.CMSG_SPACE(most * INT))
    return data, [
        number
        for level, kind, rights in about
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS)
        for number in struct.unpack(f"{len(rights) // INT}i", rights[: len(rights) // INT * INT])
    ]


def keep_only(descriptor: int) -> None:
    """Close what the supervisor holds, its connection to the host above all."""
    for entry in os.listdir("/proc/self/fd"):
        if int(entry) > 2 and int(entry) != descriptor:
            with suppress(OSError):
                os.close(int(entry))


def serve(requests: socket.socket, preload: list[str]) -> None:
    """The server's own loop: fork, or wait for what was forked."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: None)  # not SIG_IGN, which children would inherit
    gc.disable()  # looking for garbage would take a tenth of the imports' time, and find little
    from importlib import import_module  # a millisecond that the supervisor need not wait for

    for name in preload:
        module = import_module(name)
        if hasattr(module, "preload"):
            module.preload()
    gc.freeze()
    gc.enable()
    while True:
        data, descriptors = receive_descriptors(requests, 6)
        if not data:
            return
        request = json.loads(data)
        if "wait" in request:
            _, status = os.waitpid(request["wait"], 0)
            requests.send(str(os.waitstatus_to_exitcode(status)).encode())
            continue
        pid = os.fork()
        if pid == 0:
            requests.close()
            become(request, descriptors)
        for fd in descriptors:
            os.close(fd)
        requests.send(str(pid).encode())


def become(request: dict[str, Any], descriptors: list[int]) -> None:
    """Turn a fresh fork into what was asked for; never returns."""
    status = 1
    try:
        os.setsid()
        for standard, fd in enumerate(descriptors[:3]):
            os.dup2(fd, standard)
            os.close(fd)
        os.environ.update(request["env"] or {})
        os.chdir(request["cwd"])
        enter(request["main"], descriptors[3:], request["options"])
        status = 0
    except BaseException:  # noqa: BLE001 - told on stderr, then the process ends
        import traceback

        traceback.print_exc()
        sys.stderr.flush()
    finally:
        os._exit(status)


def enter(main: str, descriptors: list[int], options: dict[str, Any] | None) -> None:
    """Run a module of ours as an interpreter, with the signals of a fresh process.

    Args:
        descriptors: the control socket, and the reading ends of its own stdout and stderr.
    """
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    # a pipe is not a terminal: what goes there would wait for 8 KB more, or for ever
    sys.__stdout__.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    __import__(name := f"{__name__.rpartition('.')[0]}.{main}")
    run: Callable[..., None] = sys.modules[name].main
    run(*descriptors, **(options or {}))


def launch(spec: dict[str, Any], ends: list[int]) -> subprocess.Popen[bytes]:
    """The same in a new Python: slower, where there is no fork server (any more)."""
    from subprocess import Popen

    package = sys.modules[__name__.rpartition(".")[0]]
    options = {"main": spec["main"], "options": spec.get("options")}
    message = package.start_message("forkserver", "main", options)
    reading, writing = os.pipe()
    env = {**os.environ, **spec.get("env", {}), "CODE_SANDBOXES_BOOT": str(reading)}
    started = Popen(
        [sys.executable, "-c", package.boot],
        stdin=ends[0],
        stdout=ends[1],
        stderr=ends[2],
        cwd=spec["cwd"],
        env={**env, "CODE_SANDBOXES_CONTROL": ",".join(map(str, ends[3:]))},
        start_new_session=True,
        pass_fds=[reading, *ends[3:]],
    )
    os.close(reading)
    with os.fdopen(writing, "wb") as wire:
        wire.write(message)
    return started


def main(main: str, options: dict[str, Any] | None) -> None:
    """The other end of `launch`."""
    descriptors = os.environ.pop("CODE_SANDBOXES_CONTROL").split(",")
    enter(main, list(map(int, descriptors)), options)
