"""The supervisor's end of a line to its owner that may be cut and mended, and loses nothing.

Each side numbers its messages, keeps them until the other says that it has them, and sends them
again when that asks to resume. A server may drop messages too: a gap in the numbers tells.
"""

from __future__ import annotations

import threading
import time
from collections import deque

TYPE_CHECKING = False  # not that of typing, which takes 10 ms to import
if TYPE_CHECKING:
    from typing import Any

GATHER = 0.003  # seconds between two messages, at least: a server drops more than 1,000 a second


class Line:
    """Sends at once when it is quiet, in batches when it is not.

    Args:
        comm: the comm that the owner has opened.

    Attributes:
        got: the number of the message that comes next.
        closed: whether the owner has hung up.
    """

    def __init__(self, comm: Any) -> None:
        self._comm, self._number, self._last = comm, 0, 0.0
        self._pending = bytearray()
        self._kept: deque[tuple[int, bytes]] = deque()
        self._changed = threading.Condition()
        self.got, self.closed = 0, False
        threading.Thread(target=self._flush, daemon=True).start()

    def write(self, *parts: bytes | memoryview) -> None:
        with self._changed:
            if self.closed:
                raise BrokenPipeError("the owner has hung up")
            for part in parts:
                self._pending += part
            if time.monotonic() - self._last > GATHER:
                self._send()
            else:
                self._changed.notify()

    def _send(self) -> None:
        data, self._pending = bytes(self._pending), bytearray()
        self._kept.append((self._number, data))
        self._comm.send({"n": self._number, "got": self.got}, buffers=[data])
        self._number += 1
        self._last = time.monotonic()

    def _flush(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._pending or self.closed)
                if self.closed:
                    return
            time.sleep(GATHER)
            with self._changed:
                if self._pending:
                    self._send()

    def tell(self, said: dict[str, Any]) -> None:
        """Say something beside the byte stream."""
        with self._changed:
            self._comm.send({**said, "next": self._number, "got": self.got})

    def forget(self, got: int) -> None:
        """The owner has what has a lower number."""
        with self._changed:
            while self._kept and self._kept[0][0] < got:
                self._kept.popleft()

    def again(self, wanted: int) -> None:
        """Send again what the owner has not got."""
        with self._changed:
            for number, data in self._kept:
                if number >= wanted:
                    self._comm.send({"n": number, "got": self.got}, buffers=[data])
            self.tell({"resumed": True})

    def close(self) -> None:
        with self._changed:
            self.closed = True
            self._changed.notify()
