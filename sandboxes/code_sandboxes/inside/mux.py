"""Many streams over one byte pipe; the same code at both ends.

A frame is (kind, lane, stream, length) and its payload. The host opens every stream; the
supervisor ends it. Data counts against the credit of its stream, so a stream that nobody
reads stalls only itself. One rule keeps the pipe free of deadlock: inside a sandbox the
thread that calls `feed` never writes.
"""

from __future__ import annotations

import json
import struct
import threading

from .stream import CREDIT, DATA, END, MESSAGE, OPEN, RESET, Stream, StreamLost

TYPE_CHECKING = False  # not that of typing, which takes 10 ms to import
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from .stream import Push
    from .writing import Held

HEADER = struct.Struct(">BBII")
MOST = 64 << 20  # bytes of a message at most: the other end may be hostile


class ProtocolError(ConnectionError):
    """The other end does not speak this protocol."""


class Mux:
    """The streams of one connection; feed it what arrives."""

    def __init__(
        self,
        write: Callable[..., None],  # of the parts of a frame
        on_open: Callable[[Stream, Any], None] | None = None,
        later: Callable[[Callable[[], None]], None] = lambda job: job(),
        *,
        splices: bool = False,  # whether `write` takes Held, too
    ) -> None:
        self._write, self._on_open, self.later, self.splices = write, on_open, later, splices
        self._streams: dict[int, Stream] = {}
        self._writing, self._numbering = threading.Lock(), threading.Lock()
        self._head = b""  # of the frame that comes in
        self._frame, self._missing = (0, 0, 0), 0  # its kind, lane and stream; bytes to come
        self._pieces: list[memoryview] = []  # of a message
        self._next = 1
        self.closed = False

    make = Stream  # the host's own kind takes its place

    def open(self, request: Any, push: Push, *, views: bool = False) -> Stream:
        with self._numbering:
            if self.closed:
                raise StreamLost("the sandbox is gone")
            stream = self.make(self, self._next, push)
            stream.views = views
            self._streams[stream.number] = stream
            self._next += 1
        self.write(OPEN, 0, stream.number, json.dumps(request).encode())
        return stream

    def write(
        self, kind: int, lane: int, number: int, payload: bytes | memoryview | Held = b""
    ) -> None:
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
