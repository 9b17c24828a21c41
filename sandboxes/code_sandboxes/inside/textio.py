"""Standard output and error as events, in order and soon, but not one event for each write."""

from __future__ import annotations

import io
import threading
from _queue import SimpleQueue  # without the rest of queue, which takes 1 ms
from _thread import start_new_thread
from collections.abc import Callable
from contextlib import nullcontext

# by name: code that replaces the module's must not replace ours
from os import getpid, write
from time import monotonic, sleep

TYPE_CHECKING = False  # not that of typing, which takes 10 ms to import
if TYPE_CHECKING:
    from contextlib import AbstractContextManager
    from typing import Any

SOON = 0.005  # seconds that a piece of output may wait for more
MOST = 1 << 15  # characters that may wait
PIECE = 1 << 18  # characters that are told at once


class Writer(io.TextIOBase):
    """A text stream that says what is written to it.

    The first write after a pause goes out at once; a burst is gathered for `SOON`, so that a
    million small prints cost hundreds of events.

    Args:
        tell: takes what was written.
        name: of the stream.
        descriptor: what its raw output is written to.
        whole: is open while text is on its way.
    """

    encoding, errors, newlines = "utf-8", "backslashreplace", None

    def __init__(
        self,
        tell: Callable[..., None],
        name: str,
        descriptor: int,
        whole: AbstractContextManager[object] = nullcontext(),  # noqa: B008 - it has no state
    ) -> None:
        self._tell, self.name, self._descriptor, self._whole = tell, name, descriptor, whole
        self._pid = getpid()
        self._pending: list[str] = []
        self._size, self._last = 0, 0.0
        self._lock = threading.RLock()
        self._wanted: SimpleQueue[None] = SimpleQueue()
        self._flusher = False  # whether it runs
        self._telling = False  # whether text is on its way that is not pending any more

    @property
    def buffer(self) -> io.RawIOBase:
        """Bytes written here come out too, after what was printed before."""
        self.flush()
        return io.FileIO(self._descriptor, "wb", closefd=False)

    def write(self, text: str) -> int:
        if not isinstance(text, str):
            raise TypeError(f"write() argument must be str, not {type(text).__name__}")
        if getpid() != self._pid:  # a forked child has but its raw output
            write(self._descriptor, text.encode("utf-8", "backslashreplace"))
            return len(text)
        size = len(text)
        if not text.isascii():  # a lone surrogate is no text for anybody else
            text = text.encode("utf-8", "backslashreplace").decode()
        if not self._size:
            self.before_text()  # what a child has written meanwhile comes first
        self._put(text)
        return size

    def _put(self, text: str) -> None:
        with self._whole, self._lock:
            self._pending.append(text)
            self._size += len(text)
            now = monotonic()
            if self._size > MOST or ("\n" in text and now - self._last > SOON):
                self.flush()
            elif self._size == len(text):
                self._later()

    def _later(self) -> None:
        if not self._flusher:
            try:
                start_new_thread(self._flush_soon, ())  # Thread.start() can be cut in two
                self._flusher = True
            except RuntimeError:  # the code has set a limit, or reached one
                self.flush()
                return
        self._wanted.put(None)

    def _flush_soon(self) -> None:
        while True:
            self._wanted.get()
            sleep(SOON)
            while not self._wanted.empty():
                self._wanted.get()
            self.flush()

    def flush(self) -> None:
        if not (self._size or self._telling) or getpid() != self._pid:
            return
        with self._whole, self._lock:
            self._telling = True  # first: whoever finds nothing pending has to wait for us
            text = "".join(self._pending)
            self._pending.clear()
            self._size, self._last = 0, monotonic()
            try:
                for at in range(0, len(text), PIECE):
                    self._tell(out=text[at : at + PIECE], stream=self.name)
            finally:
                self._telling = False

    def before_text(self) -> None:
        """Called before a batch of text; the worker puts its own here."""

    def write_now(self, text: str) -> None:
        """Write what came from elsewhere, and let nothing wait."""
        self._put(text)
        self.flush()

    def writelines(self, lines: Any) -> None:
        self.write("".join(lines))

    def fileno(self) -> int:
        return self._descriptor

    def isatty(self) -> bool:
        return False

    def readable(self) -> bool:
        return False

    def writable(self) -> bool:
        return True

    def close(self) -> None:
        """Closing our stream would silence the interpreter: it only flushes."""
        self.flush()
