"""The answer to one request to a supervisor, as it comes."""

from __future__ import annotations

import errno
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from .errors import SandboxGoneError, from_inside
from .inside.stream import DATA, END, MESSAGE, RESET, Stream

LARGE = 1 << 15  # bytes: a piece holds all that was read with it, and less than this is copied
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
        self._pieces: list[memoryview | bytearray] = []
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
            self._fail(self._error(payload["error"]))
        elif kind == MESSAGE and "ok" in payload:
            if self.future.set_running_or_notify_cancel():  # it may be cancelled at any moment
                self.future.set_result(tuple(self._pieces) or payload["ok"])
        elif kind == MESSAGE and self._on_data is None:
            size = payload.get("size")
            if isinstance(size, int) and size > MOST:
                self._refuse(stream)
        elif kind in (RESET, END):
            self._fail(self._loss())

    def _fail(self, error: Exception) -> None:
        if self.future.set_running_or_notify_cancel():
            self.future.set_exception(error)

    def _keep(self, stream: Stream, payload: memoryview) -> None:
        self._size += len(payload)
        if self._size > MOST:
            self._refuse(stream)
            return
        if len(payload) >= LARGE:
            self._pieces.append(payload)
        elif self._pieces and isinstance(self._pieces[-1], bytearray):
            self._pieces[-1] += payload
        else:
            self._pieces.append(bytearray(payload))
        stream.taken(len(payload))

    def _refuse(self, stream: Stream) -> None:
        self._pieces.clear()
        self._fail(self._error(["OSError", errno.EFBIG, TOO_LARGE]))
        stream.reset()

    def _error(self, said: Any) -> Exception:
        if isinstance(said, list) and len(said) == 3:
            name, number, text = said
            code = number if isinstance(number, int) else None
            return from_inside(str(name), code, str(text), self._path)
        return SandboxGoneError("the supervisor sent an answer that makes no sense")
