"""Many streams over one byte pipe; the same code at both ends.

A frame is (kind, lane, stream, length) and its payload. The host opens every stream; the
supervisor ends it. Data counts against the credit of its stream, so a stream that nobody
reads stalls only itself. One rule keeps the pipe free of deadlock: inside a sandbox the
thread that calls `feed` never writes.
"""

from __future__ import annotations

import json
import os
import struct
import threading
from collections import deque

TYPE_CHECKING = False  # not that of typing, which takes 10 ms to import
if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future
    from typing import Any

    # (stream, kind, lane, bytes | message | None); the stream, since an answer can precede `open`
    Push = Callable[["Stream", int, int, Any], None]


HEADER = struct.Struct(">BBII")
OPEN, DATA, MESSAGE, END, RESET, CREDIT = range(1, 7)
WINDOW = 1 << 20  # bytes of a stream that may be under way, unread
PIECE = 1 << 17  # bytes of a frame at most, so that streams take turns
MOST = 64 << 20  # bytes of a message at most: the other end may be hostile


def write_all(descriptor: int, *parts: bytes | memoryview) -> None:
    """Write all of them, one after the other, without joining them first."""
    left = [memoryview(part) for part in parts]
    while left:
        done = os.writev(descriptor, left)
        while left and done >= len(left[0]):
            done -= len(left.pop(0))
        if done:
            left[0] = left[0][done:]


class StreamLost(ConnectionError):
    """The other end, or the whole connection, is gone."""


class ProtocolError(ConnectionError):
    """The other end does not speak this protocol."""


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
        self._ending = self.lost = self.over = False

    # sending ------------------------------------------------------------------------
    def send(self, lane: int, data: bytes) -> None:
        """Send all of it, waiting for credit."""
        view = memoryview(data)
        while view:
            with self._changed:
                self._changed.wait_for(lambda: self._credit > 0 or self.lost)
                if self.lost:
                    raise StreamLost("the stream was given up")
                size = min(len(view), self._credit, PIECE)
                self._credit -= size
            self._mux.write(DATA, lane, self.number, view[:size])
            view = view[size:]

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
            self.taken(len(item[2]))
        return item

    def deliver(self, kind: int, lane: int, payload: Any) -> None:
        """Called by the reading thread for whatever arrived."""
        with self._changed:
            if kind == CREDIT:
                self._credit += payload
            elif kind == RESET:
                self.lost = True
            if kind != CREDIT and self._push is None:
                self._items.append((kind, lane, payload))
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


class Mux:
    """The streams of one connection; feed it what arrives."""

    def __init__(
        self,
        write: Callable[..., None],  # of the parts of a frame
        on_open: Callable[[Stream, Any], None] | None = None,
        later: Callable[[Callable[[], None]], None] = lambda job: job(),
    ) -> None:
        self._write, self._on_open, self.later = write, on_open, later
        self._streams: dict[int, Stream] = {}
        self._writing, self._numbering = threading.Lock(), threading.Lock()
        self._head = b""  # of the frame that comes in
        self._frame, self._missing = (0, 0, 0), 0  # its kind, lane and stream; bytes to come
        self._pieces: list[memoryview] = []  # of a message
        self._next = 1
        self.closed = False

    def open(self, request: Any, push: Push, *, views: bool = False) -> Stream:
        with self._numbering:
            if self.closed:
                raise StreamLost("the sandbox is gone")
            stream = Stream(self, self._next, push)
            stream.views = views
            self._streams[stream.number] = stream
            self._next += 1
        self.write(OPEN, 0, stream.number, json.dumps(request).encode())
        return stream

    def write(self, kind: int, lane: int, number: int, payload: bytes | memoryview = b"") -> None:
        if self.closed:  # the pipe's number may be another's by now
            raise StreamLost("the sandbox is gone")
        header = HEADER.pack(kind, lane, number, len(payload))
        try:
            with self._writing:
                self._write(header, payload)
        except (OSError, ValueError) as error:  # ValueError: the pipe is closed at our end
            raise StreamLost("the sandbox is gone") from error

    def forget(self, stream: Stream) -> None:
        self._streams.pop(stream.number, None)

    def feed(self, data: bytes) -> None:
        """Take in bytes of the other end; never blocks on a stream.

        Data is passed on as it comes, whole frame or not; a message once it is whole.

        Raises:
            ProtocolError: the bytes are no frames of ours.
        """
        at, view = 0, memoryview(data)
        while at < len(data):
            if self._missing == 0:
                wanted = HEADER.size - len(self._head)
                self._head += data[at : at + wanted]
                at += wanted
                if len(self._head) == HEADER.size:
                    self._begin()
                continue
            piece = view[at : at + self._missing]
            at += len(piece)
            self._missing -= len(piece)
            if self._frame[0] != DATA:
                self._pieces.append(piece)
                if self._missing:
                    continue
                piece, self._pieces = memoryview(b"".join(self._pieces)), []
            self._dispatch_checked(piece)

    def _begin(self) -> None:
        """A header is whole."""
        kind, lane, number, length = HEADER.unpack(self._head)
        if not OPEN <= kind <= CREDIT or length > MOST:
            raise ProtocolError(f"not a frame: kind {kind}, {length} bytes")
        self._head, self._missing, self._frame = b"", length, (kind, lane, number)
        if not length:
            self._dispatch_checked(memoryview(b""))

    def _dispatch_checked(self, payload: memoryview) -> None:
        try:
            self._dispatch(*self._frame, payload)
        except (struct.error, UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
            raise ProtocolError(str(error)) from error

    def _dispatch(self, kind: int, lane: int, number: int, payload: memoryview) -> None:
        if kind == OPEN:
            if self._on_open is None:
                raise ProtocolError("only the host opens streams")
            stream = self._streams[number] = Stream(self, number)
            return self._on_open(stream, json.loads(bytes(payload)))
        known = self._streams.get(number)
        if known is None:
            return None  # it was given up while this was under way
        item: Any = None
        if kind == DATA:
            item = payload if known.views else bytes(payload)
        elif kind == CREDIT:
            item = struct.unpack(">I", payload)[0]
        elif kind == MESSAGE:
            item = json.loads(bytes(payload))
        elif kind == RESET or (kind == END and self._on_open is None):
            self.forget(known)
            known.over = kind == END
        return known.deliver(kind, lane, item)

    def close(self) -> None:
        """The connection is gone: tell every stream."""
        with self._numbering:
            self.closed = True
            streams, self._streams = list(self._streams.values()), {}
        for stream in streams:
            stream.deliver(RESET, 0, None)
