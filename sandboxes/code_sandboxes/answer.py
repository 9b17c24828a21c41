"""The answer to one request to a supervisor, as it comes."""

from __future__ import annotations

import errno
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from .errors import SandboxGoneError, from_inside
from .inside.stream import DATA, END, MESSAGE, RESET, Stream

MOST = 1 << 30  # bytes that come into memory: a file may be endless
TOO_LARGE = f"over {MOST} bytes are not read into memory: use files.download()"


class Answer:
    """A value, or the bytes that came before it; both are hostile.

    The bytes are a tuple of pieces, for whoever wants them to join: a large result that the
    reading thread makes comes from an arena of that thread's own, which glibc gives back and
    takes anew each time, at twice the cost of all the rest.

    Args:
        path: of the file that it is about, for an error's text.
        loss: the error for a connection that was lost.
        on_data: takes the bytes instead.

    Attributes:
        future: the value, the pieces, or the error.
    """

    def __init__(
        self,
        path: str | None,
        loss: Callable[[], Exception],
        on_data: Callable[[Stream, bytes], None] | None,
    ) -> None:
        self.future: Future[Any] = Future()
        self._path, self._loss, self._on_data = path, loss, on_data
        self._pieces: list[memoryview] = []
        self._size = 0

    def push(self, stream: Stream, kind: int, lane: int, payload: Any) -> None:
        """See Push; on the reading thread."""
        if kind == DATA and self._on_data is not None:
            self._on_data(stream, bytes(payload))
        elif self.future.done():
            return
        elif kind == DATA:
            self._keep(stream, payload)
        elif kind == MESSAGE and "error" in payload:
            self.future.set_exception(self._error(payload["error"]))
        elif kind == MESSAGE and "ok" in payload:
            self.future.set_result(tuple(self._pieces) or payload["ok"])
        elif kind == MESSAGE and self._on_data is None:
            size = payload.get("size")
            if isinstance(size, int) and size > MOST:
                self._refuse(stream)
        elif kind in (RESET, END):
            self.future.set_exception(self._loss())

    def _keep(self, stream: Stream, payload: memoryview) -> None:
        self._size += len(payload)
        if self._size > MOST:
            self._refuse(stream)
        else:
            self._pieces.append(payload)
            stream.taken(len(payload))

    def _refuse(self, stream: Stream) -> None:
        self._pieces.clear()
        self.future.set_exception(self._error(["OSError", errno.EFBIG, TOO_LARGE]))
        stream.reset()

    def _error(self, said: Any) -> Exception:
        if isinstance(said, list) and len(said) == 3:
            name, number, text = said
            code = number if isinstance(number, int) else None
            return from_inside(str(name), code, str(text), self._path)
        return SandboxGoneError("the supervisor sent an answer that makes no sense")
