"""One connection of a sandbox's, and its bytes to and from a server."""

from __future__ import annotations

import queue
import select
import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from http import HTTPStatus
from time import monotonic
from typing import Any

from ..inside.egress import CUT
from ..inside.stream import DATA, END, MESSAGE, RESET, Stream, StreamLost
from ..machine import Machine
from .request import MOST_HEAD, Request, answered, parsed
from .rules import Refused

HEAD_SECONDS = 30.0
SILENCE = 60.0  # seconds that the one end may keep, once the other has said all: it may have left
PIECE = 1 << 16


class Link:
    """One connection of the sandbox's.

    Args:
        machine: the sandbox's.
        number: that it was told by.
    """

    def __init__(self, machine: Machine, number: int) -> None:
        # bytes; None once it has said all; what was raised where it was cut
        self._inbox: queue.SimpleQueue[bytes | ConnectionError | None] = queue.SimpleQueue()
        self.said_all: float | None = None  # when the sandbox has
        self.cut = threading.Event()
        self.stream = machine.open(self._hear, "carry", number=number)

    def _hear(self, stream: Stream, kind: int, lane: int, payload: Any) -> None:
        if kind == DATA:
            self._inbox.put(bytes(payload))
        elif kind == MESSAGE and payload.get("eof") is True:
            self._inbox.put(None)
        elif kind in (END, RESET):  # where all was said, nobody listens any more
            self.cut.set()
            self._inbox.put(ConnectionResetError("the connection was cut inside"))

    def pieces(self, seconds: float | None = None) -> Iterator[bytes]:
        """What the sandbox sends, until it has sent all.

        Raises:
            queue.Empty: it has sent nothing for so long.
            ConnectionError: the connection was cut.
        """
        while (piece := self._inbox.get(timeout=seconds)) is not None:
            if isinstance(piece, ConnectionError):
                raise piece
            self.stream.taken(len(piece))
            yield piece
        self.said_all = monotonic()

    def request(self) -> tuple[Request, bytes]:
        """What is asked for, and what came after it.

        Raises:
            Refused: nothing that a proxy is asked, or not in time.
            ConnectionError: the connection was cut.
        """
        data, until = b"", monotonic() + HEAD_SECONDS
        try:
            for piece in self.pieces(HEAD_SECONDS):
                data += piece
                head, end, rest = data.partition(b"\r\n\r\n")
                if len(head) > MOST_HEAD:
                    raise Refused(431, "that request has too long a head")
                if end:
                    return parsed(head + end), rest
                if monotonic() > until:
                    break
        except queue.Empty:
            pass
        else:
            if not data:
                raise ConnectionResetError("nothing was asked")
        raise Refused(408, "that was no request, or not all of it in time")

    def send(self, data: bytes) -> None:
        """Send, waiting until it is under way.

        Raises:
            StreamLost: nobody is there any more.
        """
        if self.cut.is_set():
            raise StreamLost("the connection was cut inside")
        self.stream.post(0, data)
        self.stream.drained().result()

    def end(self) -> None:
        """Nothing more will be sent."""
        self.stream.post(0, b"", end=True)

    def say(self, data: bytes) -> None:
        """Send the last there is to say, and wait until the other end has closed."""
        self.stream.post(0, data, end=True)
        with suppress(queue.Empty, ConnectionError):
            for _ in self.pieces(HEAD_SECONDS):
                pass

    def close(self) -> None:
        """Give it up, if it is not over."""
        with suppress(StreamLost):
            self.stream.reset()


class Relay:
    """Passes bytes on, both ways, until both ends have said all; a cut of one cuts the other."""

    def __init__(self, link: Link, upstream: socket.socket, request: Request) -> None:
        self._link, self._upstream, self._request = link, upstream, request
        self._over = threading.Event()  # the server has said all, or was cut

    def run(self, rest: bytes) -> None:
        """Until the end.

        Args:
            rest: what the sandbox has sent after its request.
        """
        if self._request.tunnel:
            self._link.send(b"HTTP/1.1 200 Connection established\r\n\r\n")
        self._upstream.sendall(self._request.head + rest)
        back = threading.Thread(target=self._back, daemon=True, name="sandbox-egress-back")
        back.start()
        try:
            self._forth()
        except OSError:
            self._cut()
        back.join()

    def _forth(self) -> None:
        pieces = self._link.pieces(SILENCE)
        while True:
            try:
                for piece in pieces:
                    self._upstream.sendall(piece)
                self._upstream.shutdown(socket.SHUT_WR)
                return
            except queue.Empty:
                if self._over.is_set():
                    return  # a client keeps what nobody answers any more
                pieces = self._link.pieces(SILENCE)

    def _cut(self) -> None:
        with suppress(OSError):
            self._upstream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, CUT)
            self._upstream.shutdown(socket.SHUT_RD)  # wakes the thread that reads

    def _back(self) -> None:
        try:
            data = self._received()
            for piece in data if self._request.tunnel else answered(data):
                self._link.send(piece)
            if not self._link.cut.is_set():
                self._link.end()
        except Refused as refused:
            with suppress(OSError):
                self._link.say(response(refused))
            self._link.close()
        except OSError:
            self._link.close()
            self._cut()
        finally:
            self._over.set()

    def _received(self) -> Iterator[bytes]:
        poll = select.poll()
        poll.register(self._upstream, select.POLLIN)
        last = monotonic()
        while not self._link.cut.is_set():
            if poll.poll(1000):
                if not (data := self._upstream.recv(PIECE)):
                    return
                yield data
                last = monotonic()
            elif self._link.said_all is not None:
                if monotonic() - max(last, self._link.said_all) > SILENCE:
                    raise TimeoutError


def response(refused: Refused) -> bytes:
    """The proxy's own answer: clients show its first line, which therefore has the reason."""
    text = "".join(c if c.isascii() and c.isprintable() else "?" for c in str(refused))
    phrase = f"{HTTPStatus(refused.status).phrase}: {text}"
    body = f"{text}\n".encode()
    head = f"HTTP/1.1 {refused.status} {phrase}\r\nContent-Type: text/plain\r\n"
    return f"{head}Content-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode() + body
