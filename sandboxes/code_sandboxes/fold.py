"""The one fold: events in, a result out; bounded, whatever the sandbox sends."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

from .checks import check_callback
from .events import Clear, Display, Done, Event, ExecutionError, Output, Started, StreamName
from .models import CommandResult, ExecutionResult, OutputMessage, Result

MOST_LINE = 1 << 20  # characters of a line that a callback gets in one piece
MOST_RESULTS = 1000
MOST_PIECE = 1 << 16


class Kept:
    """The head and the tail of what came out, of both streams together.

    >>> kept = Kept(4)
    >>> for piece in (b"abc", b"def", b"gh"):
    ...     kept.add("stdout", piece)
    >>> kept.bytes("stdout"), kept.dropped
    (b'abgh', 4)
    """

    def __init__(self, most: int) -> None:
        self._head: list[tuple[StreamName, bytearray]] = []
        self._tail: deque[tuple[StreamName, bytearray]] = deque()
        self._room, self._most_tail = most - most // 2, most // 2
        self._in_tail = 0
        self._cut: dict[StreamName, int] = {"stdout": 0, "stderr": 0}

    @property
    def dropped(self) -> int:
        """How many bytes were cut out of the middle."""
        return sum(self._cut.values())

    def add(self, stream: StreamName, data: bytes) -> None:
        """Append, and cut out of the middle what is too much."""
        if self._room:
            _append(self._head, stream, data[: self._room])
            data, self._room = data[self._room :], max(0, self._room - len(data))
        if not data:
            return
        _append(self._tail, stream, data)
        self._in_tail += len(data)
        while self._in_tail > self._most_tail:
            name, first = self._tail[0]
            cut = min(self._in_tail - self._most_tail, len(first))
            if cut == len(first):
                self._tail.popleft()
            else:
                del first[:cut]
            self._in_tail -= cut
            self._cut[name] += cut

    def _pieces(self, stream: StreamName) -> tuple[bytes, bytes]:
        head = b"".join(piece for name, piece in self._head if name == stream)
        return head, b"".join(piece for name, piece in self._tail if name == stream)

    def bytes(self, stream: StreamName) -> bytes:
        """What is kept of a stream; if something was cut, two pieces that do not meet."""
        return b"".join(self._pieces(stream))

    def text(self, stream: StreamName) -> str:
        """The same as text, with a line that says what was cut."""
        head, tail = self._pieces(stream)
        if not (cut := self._cut[stream]):
            return (head + tail).decode("utf-8", "replace")
        before, after = head.decode("utf-8", "ignore"), tail.decode("utf-8", "ignore")
        return f"{before}\n[... {cut:,} bytes left out ...]\n{after}"


def _append(
    pieces: list[tuple[StreamName, bytearray]] | deque[tuple[StreamName, bytearray]],
    stream: StreamName,
    data: bytes,
) -> None:
    if pieces and pieces[-1][0] == stream and len(pieces[-1][1]) < MOST_PIECE:
        pieces[-1][1].extend(data)  # many small prints must not cost an object each
    elif data:
        pieces.append((stream, bytearray(data)))


class Fold:
    """Folds the events of one execution into its result.

    Args:
        max_output: bytes of output kept, of stdout and stderr together.
    """

    def __init__(self, max_output: int) -> None:
        self._most = max_output
        self._results: list[tuple[str | None, Result, int]] = []
        self._sizes = 0
        self._dropped = 0
        self._clear_next = False
        self._began = self._ended = time.monotonic()
        self.error: ExecutionError | None = None
        self.done = Done()
        self._clear()

    def add(self, event: Event) -> None:
        """Fold one event in."""
        if self._clear_next and isinstance(event, Output | Display):
            self._clear()
        match event:
            case Started():
                self._began = time.monotonic()
            case Output(text, stream, raw):
                data = text.encode("utf-8", "replace") if raw is None else raw
                self._kept.add(stream, data)
            case Display():
                self._show(event)
            case Clear(wait=True):
                self._clear_next = True
            case Clear():
                self._clear()
            case ExecutionError():
                self.error = event
            case Done():
                self.done, self._ended = event, time.monotonic()

    def _show(self, event: Display) -> None:
        result = Result(event.data, event.is_main)
        texts = sum(len(value) for value in event.data.values() if isinstance(value, str))
        size = max(texts, event.size)  # that of the whole message, as JSON
        if event.is_update:
            self._update(event.id, result, size)
        elif len(self._results) >= MOST_RESULTS or self._sizes + size > 10 * self._most:
            self._dropped += size  # a loop that displays without end must not fill the host
        else:
            self._sizes += size
            self._results.append((event.id, result, size))

    def _update(self, id: str | None, result: Result, size: int) -> None:
        """Put a result in the place of those that were shown under an id."""
        replaced = [old for name, _, old in self._results if name == id]
        if not replaced:
            return
        if self._sizes - sum(replaced) + size > 10 * self._most:
            self._dropped += size
            return
        self._sizes += size - sum(replaced)
        shares = iter((size, *[0] * len(replaced)))  # it is one, however often it is shown
        self._results = [
            (name, result, next(shares)) if name == id else (name, old, its)
            for name, old, its in self._results
        ]

    def _clear(self) -> None:
        self._kept = Kept(self._most)
        self._results, self._clear_next, self._sizes = [], False, 0

    @property
    def dropped(self) -> int:
        """How many bytes were cut."""
        return self._dropped + self._kept.dropped

    def execution(self) -> ExecutionResult:
        """The result of code."""
        error = self.error
        if error is not None and self.done.state_lost and not error.state_lost:
            error = ExecutionError(error.name, error.value, error.traceback, True)
        return ExecutionResult(
            stdout=self._kept.text("stdout"),
            stderr=self._kept.text("stderr"),
            results=[result for _, result, _ in self._results],
            error=error,
            execution_count=self.done.execution_count,
            dropped=self.dropped,
            duration=self._ended - self._began,
        )

    def command(self) -> CommandResult:
        """The result of a command."""
        code = self.done.exit_code
        if self.error is not None and self.error.name == "ExecutionTimeout":
            code = 124
        return CommandResult(
            stdout=self._kept.text("stdout"),
            stderr=self._kept.text("stderr"),
            exit_code=-1 if code is None else code,
            error=self.error,
            stdout_bytes=self._kept.bytes("stdout"),
            stderr_bytes=self._kept.bytes("stderr"),
            dropped=self.dropped,
            duration=self._ended - self._began,
        )


class Lines:
    """Chunks in, whole lines out: one for `\\n`, `\\r` and `\\r\\n`."""

    def __init__(self, *, error: bool) -> None:
        self._error, self._rest, self._after_return = error, "", False

    def add(self, event: Output) -> list[OutputMessage]:
        """The lines that this chunk completes."""
        text = event.text
        if self._after_return and text.startswith("\n"):
            text, self._after_return = text[1:], False
        if text:
            self._after_return = text.endswith("\r")
        pieces = (self._rest + text).replace("\r\n", "\n").replace("\r", "\n").split("\n")
        self._rest = pieces.pop()
        if len(self._rest) > MOST_LINE:
            pieces.append(self._rest)
            self._rest = ""
        return [OutputMessage(piece, event.timestamp, self._error) for piece in pieces]

    def rest(self) -> list[OutputMessage]:
        """The last partial line, if there is one."""
        rest, self._rest = self._rest, ""
        return [OutputMessage(rest, time.time(), self._error)] if rest else []


OnOutput = Callable[[OutputMessage], Any]


class Callbacks:
    """Who is to be called with which line, and when."""

    def __init__(self, on_stdout: OnOutput | None, on_stderr: OnOutput | None) -> None:
        check_callback("on_stdout", on_stdout)
        check_callback("on_stderr", on_stderr)
        wanted: dict[StreamName, OnOutput | None] = {"stdout": on_stdout, "stderr": on_stderr}
        self._wanted = {name: call for name, call in wanted.items() if call is not None}
        self._lines = {name: Lines(error=name == "stderr") for name in self._wanted}

    def of(self, event: Event) -> Iterator[tuple[OnOutput, OutputMessage]]:
        """The calls that an event leads to."""
        if isinstance(event, Output) and event.stream in self._wanted:
            for message in self._lines[event.stream].add(event):
                yield self._wanted[event.stream], message
        elif isinstance(event, Done):
            for name, call in self._wanted.items():
                for message in self._lines[name].rest():
                    yield call, message
