"""A running command: what `exec` gives."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from queue import Empty, SimpleQueue
from time import monotonic

from .config import check_timeout
from .ctrl_c import patience
from .errors import from_inside
from .events import Done, Event, ExecutionError, Output, StreamName
from .fold import Fold
from .models import CommandResult
from .targets import Command

START_SECONDS = 60.0


class ProcessInput:
    """The standard input of a process."""

    def __init__(self, command: Command) -> None:
        self._command = command

    def write(self, data: str | bytes) -> int:
        """Send; waits while the process does not read.

        Raises:
            SandboxGoneError: the sandbox has ended.
        """
        whole = data.encode() if isinstance(data, str) else data
        self._command.write(whole).result()
        return len(data)

    def close(self) -> None:
        """The process reads an end of file."""
        self._command.write(b"", end=True)


class Reader:
    """Lines of one stream of a process, as they come; iterate over it, or `read` the rest."""

    def __init__(self, process: Process, stream: StreamName) -> None:
        self._process, self._stream = process, stream

    def __iter__(self) -> Iterator[str]:
        rest = ""
        while (piece := self._process._next_piece(self._stream)) is not None:
            *lines, rest = (rest + piece.text).split("\n")
            for line in lines:
                yield line + "\n"
        if rest:
            yield rest

    def read(self) -> str:
        """All that is still to come."""
        pieces = iter(lambda: self._process._next_piece(self._stream), None)
        return "".join(piece.text for piece in pieces if piece is not None)


class Process:
    """A command with live pipes.

    Read `stdout` or `stderr` by line, from one thread or two, or iterate over the process for
    the pieces of both in order. What nobody reads is held back: the process waits, and nothing
    else does. While one stream is read, the other is kept in memory.
    """

    def __init__(self, command: Command, max_output: int, *, attached: bool = False) -> None:
        self._command, self._fold = command, Fold(max_output)
        self._inbox: SimpleQueue[Event] = SimpleQueue()
        self._pieces: deque[Output] = deque()
        self._changed = threading.Condition()
        self._taking = False  # one thread waits for events, the others for it
        self._done = False
        self.stdin = ProcessInput(command)
        self.stdout, self.stderr = Reader(self, "stdout"), Reader(self, "stderr")
        command.begin(self._inbox.put)
        pid = command.wait_started(START_SECONDS)
        if pid is None and attached:
            raise from_inside("ProcessLookupError", 3, "no such process", None)
        self._pid = pid

    @property
    def pid(self) -> int | None:
        """Its number inside the sandbox; None if it could not be started (see `wait`)."""
        return self._pid

    @property
    def exit_code(self) -> int | None:
        """Its exit code if it has ended, else None."""
        return self.poll()

    def __iter__(self) -> Iterator[Output]:
        while (piece := self._next_piece(None)) is not None:
            yield piece

    def _next_piece(self, stream: StreamName | None) -> Output | None:
        """The next piece of a stream, or of both, waiting for it; None at the end."""
        with self._changed:
            while True:
                for at, piece in enumerate(self._pieces):
                    if stream is None or piece.stream == stream:
                        del self._pieces[at]
                        return piece
                if self._done:
                    return None
                self._advance(None)

    def _advance(self, timeout: float | None) -> None:
        """Wait for something to change, for a while; the lock is not held meanwhile."""
        timeout = patience(timeout)
        if self._taking:
            self._changed.wait(timeout)
            return
        self._taking = True
        self._changed.release()
        try:
            event = self._inbox.get(timeout=timeout)
        except Empty:
            event = None
        finally:
            self._changed.acquire()
            self._taking = False
            self._changed.notify_all()
        if event is not None:
            self._take(event)

    def _take(self, event: Event) -> None:
        self._fold.add(event)
        if isinstance(event, Output):
            self._pieces.append(event)
            self._command.taken(event.size)
        elif isinstance(event, Done):
            self._done = True

    def poll(self) -> int | None:
        """Its exit code if it has ended, else None; does not wait."""
        with self._changed:
            while not self._done and not self._taking:
                try:
                    self._take(self._inbox.get_nowait())
                except Empty:
                    break
            return self._fold.command().exit_code if self._done else None

    def wait(self, timeout: float | None = None) -> CommandResult:
        """Wait for its end; all its output is in the result, read or not.

        Args:
            timeout: seconds to wait; then the process is killed, and the exit code is 124.
        """
        check_timeout(timeout)
        until = None if timeout is None else monotonic() + timeout
        with self._changed:
            while not self._done:
                self._advance(None if until is None else max(0.0, until - monotonic()))
                if until is not None and not self._done and monotonic() >= until:
                    until = None
                    late = ExecutionError("ExecutionTimeout", f"killed after {timeout:g} s")
                    self._fold.add(late)
                    self._command.kill()
            return self._fold.command()

    def terminate(self) -> None:
        """Ask it, and all that it started, to end (SIGTERM)."""
        self._command.interrupt()

    def kill(self) -> None:
        """End it, and all that it started (SIGKILL)."""
        self._command.kill()

    def __enter__(self) -> Process:
        return self

    def __exit__(self, *_: object) -> None:
        if self.poll() is None:
            self.kill()
            self.wait()
