"""A running command: what `exec` gives."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from queue import Empty, SimpleQueue
from time import monotonic

from .errors import ConfigurationError, from_inside
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
        while (text := self._process.next_text(self._stream)) is not None:
            *lines, rest = (rest + text).split("\n")
            for line in lines:
                yield line + "\n"
        if rest:
            yield rest

    def read(self) -> str:
        """All that is still to come."""
        pieces = iter(lambda: self._process.next_text(self._stream), None)
        return "".join(text for text in pieces if text is not None)


class Process:
    """A command with live pipes.

    What nobody reads is held back: the process waits, and nothing else does. While one stream
    is read, the other is kept in memory.
    """

    def __init__(self, command: Command, max_output: int, *, attached: bool = False) -> None:
        self._command, self._fold = command, Fold(max_output)
        self._inbox: SimpleQueue[Event] = SimpleQueue()
        self._texts: dict[StreamName, deque[str]] = {"stdout": deque(), "stderr": deque()}
        self._reading = threading.Lock()
        self._done: Done | None = None
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
        """Its exit code, once that is known to this handle; see `poll`."""
        return self.poll()

    def next_text(self, stream: StreamName) -> str | None:
        """The next piece of a stream, waiting for it; None at the end."""
        with self._reading:
            while not self._texts[stream] and self._done is None:
                self._take(self._inbox.get())
            return self._texts[stream].popleft() if self._texts[stream] else None

    def _take(self, event: Event) -> None:
        self._fold.add(event)
        if isinstance(event, Output):
            self._texts[event.stream].append(event.text)
            self._command.taken(event.size)
        elif isinstance(event, Done):
            self._done = event

    def poll(self) -> int | None:
        """Its exit code if it has ended, else None; does not wait."""
        with self._reading:
            if self._done is None and self._command.over:
                while self._done is None:
                    self._take(self._inbox.get())
        return None if self._done is None else self._fold.command().exit_code

    def wait(self, timeout: float | None = None) -> CommandResult:
        """Wait for its end; what nobody has read is in the result.

        Args:
            timeout: seconds to wait; then the process is killed, and the exit code is 124.
        """
        if timeout is not None and timeout <= 0:
            raise ConfigurationError(f"timeout is a positive number of seconds, not {timeout!r}")
        until = None if timeout is None else monotonic() + timeout
        with self._reading:
            while self._done is None:
                try:
                    left = None if until is None else max(0.0, until - monotonic())
                    self._take(self._inbox.get(timeout=left))
                except Empty:
                    until = None
                    self._fold.add(
                        ExecutionError("ExecutionTimeout", f"killed after {timeout:g} s")
                    )
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
