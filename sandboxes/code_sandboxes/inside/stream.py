"""One conversation over the pipe: data on numbered lanes with credit, and messages beside it."""

from __future__ import annotations

import json
import os
import struct
import threading
from collections import deque

from .writing import MOST_PARTS, Held

TYPE_CHECKING = False  # not that of typing, which takes 10 ms to import
if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future
    from typing import Any

    from .mux import Mux

    # (stream, kind, lane, bytes | message | None); the stream, since an answer can precede `open`
    Push = Callable[["Stream", int, int, Any], None]


OPEN, DATA, MESSAGE, END, RESET, CREDIT = range(1, 7)
WINDOW = 1 << 20  # bytes of a stream that may be under way, unread
PIECE = 1 << 18  # bytes of a frame at most, so that streams take turns


class StreamLost(ConnectionError):
    """The other end, or the whole connection, is gone."""


class Stream:
    """One conversation: data on numbered lanes, and JSON messages beside it."""

    def __init__(self, mux: Mux, number: int, push: Push | None = None) -> None:
        self._mux, self.number, self._push = mux, number, push
        self.views = False  # data may come as views, which saves copying it once
        self._changed = threading.Condition()
        self._items: deque[tuple[int, int, Any]] = deque()
        self._outbox: deque[tuple[int, memoryview]] = deque()
        self._drained: Future[None] | None = None
        self._credit, self._owed = WINDOW, 0
        self._held, self._least = 0, 1
        self._ending = self.lost = self.over = False

    # sending ------------------------------------------------------------------------
    def send(self, lane: int, data: bytes) -> None:
        """Send all of it, waiting for credit."""
        view = memoryview(data)
        while view:
            size = min(len(view), self._room())
            self._send(lane, view[:size])
            view = view[size:]

    def send_file(self, lane: int, source: int) -> None:
        """Send what is left of a large file, or nothing where the system does not move it."""
        if not self._mux.splices or not hasattr(os, "splice"):
            return
        held = Held(PIECE)
        try:
            while held.fill(source, self._room()):
                self._send(lane, held)
        finally:
            held.close()

    def _room(self) -> int:
        """Wait for credit; the bytes that may be sent at once. Only one thread sends."""
        with self._changed:
            self._changed.wait_for(lambda: self._credit > 0 or self.lost)
            if self.lost:
                raise StreamLost("the stream was given up")
            return min(self._credit, PIECE)

    def _send(self, lane: int, data: memoryview | Held) -> None:
        with self._changed:
            self._credit -= len(data)
        self._mux.write(DATA, lane, self.number, data)

    def post(self, lane: int, data: bytes, *, end: bool = False) -> None:
        """Send without waiting: what credit does not cover goes out as it arrives."""
        with self._changed:
            if data:
                self._outbox.append((lane, memoryview(data)))
            self._ending |= end
        self._flush()

    def drained(self) -> Future[None]:
        """Done when all that was posted is under way, or need not be sent any more."""
        from concurrent.futures import Future  # only the host posts, and it has it already

        with self._changed:
            if self._drained is None or self._drained.done():
                self._drained = Future()
            if not self._outbox or self.lost or self.over:
                self._drained.set_result(None)
            return self._drained

    def _flush(self) -> None:
        with self._changed:  # held while writing: frames of a lane must keep their order
            while self._outbox and not self.lost and not self.over:
                size = min(len(self._outbox[0][1]), self._credit, PIECE)
                if size == 0:
                    return
                lane, view = self._outbox.popleft()
                if size < len(view):
                    self._outbox.appendleft((lane, view[size:]))
                self._credit -= size
                self._mux.write(DATA, lane, self.number, view[:size])
            ending, self._ending = self._ending and not self.lost and not self.over, False
            if ending:
                self._mux.write(END, 0, self.number)
        self._say_drained()

    def _say_drained(self) -> None:
        with self._changed:
            waiting, self._drained = self._drained, None
        if waiting is not None and not waiting.done():
            waiting.set_result(None)

    def tell(self, message: Any) -> None:
        self._mux.write(MESSAGE, 0, self.number, json.dumps(message).encode())

    def finish(self) -> None:
        """The supervisor's last word on a stream."""
        self._mux.forget(self)
        self._mux.write(END, 0, self.number)

    def reset(self) -> None:
        """Give the conversation up, at both ends."""
        if not self.lost and not self.over:
            self._mux.forget(self)
            try:
                self._mux.write(RESET, 0, self.number)
            finally:
                self.deliver(RESET, 0, None)

    # receiving ----------------------------------------------------------------------
    def taken(self, size: int) -> None:
        """Received data was dealt with: let the other end send as much again."""
        with self._changed:
            self._owed += size
            owed = self._owed if self._owed >= WINDOW // 2 else 0
            self._owed -= owed
        if owed and not self.lost and not self.over:
            self._mux.write(CREDIT, 0, self.number, struct.pack(">I", owed))

    def receive(self) -> tuple[int, int, Any]:
        """The next item; its credit goes back at once."""
        with self._changed:
            self._changed.wait_for(lambda: self._items or self.lost)
            item: tuple[int, int, Any] = self._items.popleft() if self._items else (RESET, 0, None)
            if item[0] == DATA:
                self._held -= len(item[2])
        if item[0] == DATA:
            self.taken(len(item[2]))
        return item

    def receive_data(self, least: int = 1) -> tuple[int, list[bytes | memoryview]]:
        """All the data that has come, `MOST_PARTS` pieces at most; else what came instead of it.

        Args:
            least: bytes to wait for, if more is to come at all; less than `WINDOW`.
        """
        with self._changed:
            self._least = least
            self._changed.wait_for(self._enough)
            parts: list[bytes | memoryview] = []
            while self._items and self._items[0][0] == DATA and len(parts) < MOST_PARTS:
                parts.append(self._items.popleft()[2])
            other = RESET
            self._held -= sum(map(len, parts))
            if not parts and self._items:
                other = self._items.popleft()[0]
        if not parts:
            return other, parts
        self.taken(sum(map(len, parts)))
        return DATA, parts

    def _enough(self) -> bool:
        """Whether what has come is what `receive` waits for."""
        if self.lost or self._held >= self._least:
            return True
        return bool(self._items) and (self._items[-1][0] != DATA or len(self._items) > MOST_PARTS)

    def deliver(self, kind: int, lane: int, payload: Any) -> None:
        """Called by the reading thread for whatever arrived."""
        with self._changed:
            if kind == CREDIT:
                self._credit += payload
            elif kind == RESET:
                self.lost = True
            if kind != CREDIT and self._push is None:
                self._items.append((kind, lane, payload))
                if kind == DATA:
                    self._held += len(payload)
            if kind != DATA or self._enough():
                self._changed.notify_all()
        if kind == CREDIT:
            if self._outbox:
                self._mux.later(self._flush)
            return
        if kind == RESET or self.over:
            self._say_drained()
        if self._push is not None:
            self._push(self, kind, lane, payload)

    def listen(self, push: Push) -> None:
        """Switch from `receive` to `push`, losing nothing."""
        with self._changed:
            waiting, self._push = list(self._items), push
            self._items.clear()
        for item in waiting:
            push(self, *item)
