"""The processes of a sandbox: pipes carried by streams, trees killed whole."""

from __future__ import annotations

import _signal as signal  # without the names as enums, which take a millisecond
import _socket as socket  # all that is needed of socket, which takes 4 ms to import
import errno
import os
import select
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress

from .proctable import exit_notice, kill_tree, out_of_memory
from .stream import DATA, END, RESET, WINDOW, Stream, StreamLost
from .writing import write_all

TYPE_CHECKING = False  # not that of typing, which takes 10 ms to import
if TYPE_CHECKING:
    from typing import Any, Protocol

    class Child(Protocol):
        """A started process, however it was started."""

        pid: int

        def wait(self) -> int:
            """Its exit status, as `subprocess` counts it."""

    Spawn = Callable[[dict[str, Any], list[int]], Child]  # the spec; stdin, stdout, stderr, control

STDIN, STDOUT, STDERR, CONTROL = range(4)
LINGER = 0.2  # seconds that output may still come after the direct child ended
PIECE = 1 << 16


def execute(spec: dict[str, Any], ends: list[int]) -> Child:
    """Start a program."""
    import subprocess  # 5 ms that a start need not pay

    env = {**os.environ, **spec.get("env", {})}
    if len(ends) > CONTROL:
        env["CODE_SANDBOXES_CONTROL"] = str(ends[CONTROL])
    try:
        return subprocess.Popen(
            spec["argv"] if "argv" in spec else ["/bin/sh", "-c", spec["shell"]],
            stdin=ends[STDIN],
            stdout=ends[STDOUT],
            stderr=ends[STDERR],
            cwd=spec["cwd"],
            env=env,
            start_new_session=True,
            pass_fds=ends[CONTROL:],
        )
    except FileNotFoundError as error:
        if not os.path.isdir(spec["cwd"]):  # subprocess blames the program for it
            raise NotADirectoryError(errno.ENOTDIR, f"no such cwd: {spec['cwd']}") from error
        raise


def write_and_close(fd: int, data: bytes) -> None:
    """A reader that has gone misses the rest."""
    with suppress(OSError):
        write_all(fd, data)
    os.close(fd)


class Process:
    """A child whose pipes are lanes of whichever stream is attached to it."""

    def __init__(
        self,
        spec: dict[str, Any],
        start: Callable[..., None],
        ended: Callable[[Process], None],
        spawn: Spawn = execute,
    ) -> None:
        self.keep: str | None = spec.get("keep")
        self.spec, self.started = spec, time.time()
        self._start, self._ended = start, ended
        self._attached = threading.Condition()
        self._stream: Stream | None = None
        self._input: deque[tuple[int, bytes | None]] = deque()
        self._feeding = self._pumping = self._ending = False
        self._killed_before = out_of_memory() if self.keep else 0
        self._unpaid = 0  # bytes passed on, whose credit has not gone back
        ends, self._stdin, self._lanes, self._control = self._pipes(spec)
        try:
            self._child = spawn(spec, ends)
        except BaseException:
            for fd in (self._stdin, *self._lanes):
                if fd is not None:
                    os.close(fd)
            raise
        finally:
            for fd in ends:
                os.close(fd)
        self.pid = self._child.pid

    @staticmethod
    def _pipes(
        spec: dict[str, Any],
    ) -> tuple[list[int], int | None, dict[int, int], socket.socket | None]:
        """The child's ends, and ours: stdin, what is read by lane, the control socket."""
        stdin, ours = os.pipe() if spec.get("stdin") else (os.open(os.devnull, os.O_RDONLY), None)
        (out, out_end), (err, err_end) = os.pipe(), os.pipe()
        ends, lanes = [stdin, out_end, err_end], {out: STDOUT, err: STDERR}
        control = None
        if spec.get("control"):
            control, far = socket.socketpair()
            lanes[os.dup(control.fileno())] = CONTROL
            ends.append(far.detach())
            # an interpreter reads its own raw output, in order with what its code prints; what
            # it leaves unread when it dies, we read
            ends += [os.dup(out), os.dup(err)]
        return ends, ours, lanes, control

    # from the sandbox to the host -------------------------------------------------
    def _pump(self) -> None:
        lanes = self._lanes
        ended = exit_notice(self.pid, self._start, self._child.wait)
        poll = select.poll()
        later = [fd for fd in lanes if self._control and lanes[fd] != CONTROL]
        for descriptor in (*(lanes.keys() - set(later)), ended):
            poll.register(descriptor, select.POLLIN)
        code: int | None = None
        until = float("inf")
        while lanes and time.monotonic() < until:
            ready = {fd for fd, _ in poll.poll(None if code is None else LINGER * 1000)}
            if not ready and code is not None:
                break
            for fd in sorted(ready & lanes.keys(), key=lanes.__getitem__):
                if data := self._read(fd):
                    self._forward(lanes[fd], data)
                else:
                    poll.unregister(fd)
                    os.close(fd)
                    del lanes[fd]
            if ended in ready and code is None:
                poll.unregister(ended)
                code = self._child.wait()
                until = time.monotonic() + LINGER
                for fd in later:
                    os.set_blocking(fd, True)
                    poll.register(fd, select.POLLIN)
        code = self._child.wait() if code is None else code
        os.close(ended)
        if self._ending:  # what it has started, and outlives it, was to end too
            kill_tree(self.pid)
        self._tell_exit(code)
        self._ended(self)
        self._close(poll)

    def _close(self, poll: select.poll) -> None:
        with self._attached:
            for end in (self._control, self._stdin):
                if end is not None:
                    os.close(end.detach() if isinstance(end, socket.socket) else end)
            self._control = self._stdin = None
        while self._lanes:  # a grandchild still holds the pipes: let it write, to nobody
            for fd, _ in poll.poll():
                if fd in self._lanes and not self._read(fd):
                    poll.unregister(fd)
                    os.close(fd)
                    del self._lanes[fd]

    @staticmethod
    def _read(fd: int) -> bytes:
        with suppress(OSError):
            return os.read(fd, PIECE)
        return b""

    def _forward(self, lane: int, data: bytes) -> None:
        while True:
            with self._attached:
                self._attached.wait_for(lambda: self._stream is not None)
                stream = self._stream
            assert stream is not None
            try:
                return stream.send(lane, data)
            except StreamLost:
                with self._attached:
                    if not self.keep:
                        return None
                    if self._stream is stream:
                        self._stream = None

    def _tell_exit(self, code: int) -> None:
        with self._attached:
            if self.keep:
                self._attached.wait_for(lambda: self._stream is not None)
            stream = self._stream
        told: dict[str, Any] = {"exit": code}
        if self.keep and code == -signal.SIGKILL and out_of_memory() > self._killed_before:
            told["out_of_memory"] = True
        if stream is not None:
            with suppress(StreamLost):
                stream.tell(told)
                stream.finish()

    # from the host to the sandbox -------------------------------------------------
    def attach(self, stream: Stream) -> None:
        """Make `stream` the one that carries our pipes."""
        stream.tell({"pid": self.pid})

        def push(stream: Stream, kind: int, lane: int, payload: Any) -> None:
            if kind == RESET and not self.keep and self._stream is stream:
                self._start(kill_tree, self.pid)
            elif kind in (DATA, END):
                self._feed(stream, lane, payload)

        with self._attached:
            before, self._stream = self._stream, stream
            self._attached.notify_all()
            started, self._pumping = self._pumping, True
        if before is not None and not before.lost:
            with suppress(StreamLost):
                before.reset()  # another handle took the process over
        stream.listen(push)
        if not started:  # not before: a child that is quicker than us would tell nobody its exit
            self._start(self._pump)

    def _feed(self, stream: Stream, lane: int, data: bytes | None) -> None:
        """On the reading thread: must not block, must not write to the host."""
        with self._attached:
            if not self._feeding and lane == CONTROL and data and self._control:
                with suppress(OSError):
                    sent = self._control.send(data, socket.MSG_DONTWAIT)
                    self._unpaid += sent
                    data = data[sent:]
                if self._unpaid > WINDOW // 4:  # on a thread: this one must not write
                    self._start(self._pay, stream, self._unpaid)
                    self._unpaid = 0
                if not data:
                    return
            self._input.append((lane, data))
            if self._feeding:
                return
            self._feeding = True
        self._start(self._write_input, stream)

    @staticmethod
    def _pay(stream: Stream, size: int) -> None:
        with suppress(StreamLost):
            stream.taken(size)

    def _write_input(self, stream: Stream) -> None:
        while True:
            with self._attached:
                if not self._input:
                    self._feeding = False
                    return
                lane, data = self._input.popleft()
                if data is None and self._stdin is not None:
                    os.close(self._stdin)
                    self._stdin = None
                end = self._control.fileno() if self._control and lane == CONTROL else self._stdin
                # a copy: ours may be closed, and its number used again, while we write
                target = os.dup(end) if data and end is not None else None
            if data and target is not None:
                write_and_close(target, data)
            if data:
                self._pay(stream, len(data))

    def signal(self, number: int, *, whole: bool) -> None:
        """Send a signal; to the whole tree, or to the child alone."""
        if whole:
            self._ending |= number in (signal.SIGTERM, signal.SIGKILL)
            kill_tree(self.pid, number)
            return
        os.kill(self.pid, number)
        if number != signal.SIGKILL:
            os.kill(self.pid, signal.SIGCONT)  # a stopped process takes no signal but this one
