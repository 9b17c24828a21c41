"""Answers what a sandbox without a network asks of its only way out."""

from __future__ import annotations

import logging
import queue
import select
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import closing, suppress
from functools import partial
from http import HTTPStatus
from time import monotonic
from typing import Any

from ..errors import SandboxError, SandboxStartError
from ..inside.stream import DATA, END, RESET, Stream, StreamLost
from ..machine import Machine
from ..text import printable
from . import PORT
from .request import MOST_HEAD, Request, parsed
from .rules import Refused, Rules

HEAD_SECONDS, CONNECT_SECONDS, START_SECONDS = 30.0, 10.0, 20.0
SILENCE = 5.0  # that a server may keep, once the client has sent all: it may have left
PIECE = 1 << 16
MOST = 400  # connections at once, of a sandbox that says of more than it can have
log = logging.getLogger("code_sandboxes.egress")


class Proxy:
    """The allowlist of one sandbox, for as long as its machine is there.

    Denied requests are logged, as ``code_sandboxes.egress``.

    Args:
        machine: the sandbox's; nothing in it can go out before this has returned.
        allowed: `SandboxConfig.allowed_hosts`.

    Raises:
        SandboxStartError: the sandbox has no way out to offer.
    """

    def __init__(self, machine: Machine, allowed: Sequence[str]) -> None:
        self._machine, self._rules = machine, Rules(allowed)
        self._places = threading.BoundedSemaphore(MOST)
        self._ready: Future[None] = Future()
        machine.open(self._hear, "egress", port=PORT)
        try:
            self._ready.result(START_SECONDS)
        except TimeoutError as error:
            raise SandboxStartError("the sandbox did not open its way out in time") from error

    def _hear(self, stream: Stream, kind: int, lane: int, payload: Any) -> None:
        """On the reading thread."""
        if not self._ready.done():
            if isinstance(payload, dict) and payload.get("ready") is True:
                self._ready.set_result(None)
            else:
                why = f"the sandbox has no way out for its allowlist: {payload}"
                self._ready.set_exception(SandboxStartError(printable(why)))
            return
        match payload:
            case {"connection": int(number)} if self._places.acquire(blocking=False):
                threading.Thread(
                    target=self._serve, args=(number,), daemon=True, name="sandbox-egress"
                ).start()

    def _serve(self, number: int) -> None:
        try:
            with suppress(SandboxError, OSError), closing(Link(self._machine)) as link:
                link.carry(number)
                try:
                    request, rest = link.request()
                    upstream = self._connect(request)
                except Refused as refused:
                    log.info("refused: %s", refused)
                    link.say(_response(refused))
                    return
                with upstream:
                    _relay(link, upstream, request, rest)
        finally:
            self._places.release()

    def _connect(self, request: Request) -> socket.socket:
        """A connection to whom the request names, if it may be reached."""
        why = "no address"
        for address in self._rules.addresses(request.host, request.port):
            try:
                return socket.create_connection((address, request.port), CONNECT_SECONDS)
            except OSError as error:
                why = error.strerror or str(error)
        raise Refused(502, f"{request.host}:{request.port} cannot be reached: {why}")


class Link:
    """One connection of the sandbox's."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._inbox: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._stream: Stream | None = None
        self.said_all = False  # whether the sandbox has
        self.on_end: Callable[[], None] = lambda: None  # called when nothing more can be sent

    @property
    def stream(self) -> Stream:
        """What carries it."""
        assert self._stream is not None
        return self._stream

    def carry(self, number: int) -> None:
        """Have it carried here."""
        self._stream = self._machine.open(self._hear, "carry", number=number)

    def _hear(self, stream: Stream, kind: int, lane: int, payload: Any) -> None:
        self._inbox.put(bytes(payload) if kind == DATA else None)
        if kind in (END, RESET):
            self.on_end()

    def pieces(self, seconds: float | None = None) -> Iterator[bytes]:
        """What the sandbox sends, until it has sent all.

        Raises:
            queue.Empty: it has sent nothing for so long.
        """
        while (piece := self._inbox.get(timeout=seconds)) is not None:
            self.stream.taken(len(piece))
            yield piece
        self.said_all = True

    def request(self) -> tuple[Request, bytes]:
        """What is asked for, and what came after it.

        Raises:
            Refused: nothing that a proxy is asked, or not in time.
        """
        data, until = b"", monotonic() + HEAD_SECONDS
        with suppress(queue.Empty):
            for piece in self.pieces(HEAD_SECONDS):
                data += piece
                head, end, rest = data.partition(b"\r\n\r\n")
                if end:
                    return parsed(head + end), rest
                if len(data) > MOST_HEAD or monotonic() > until:
                    break
        raise Refused(400, "that was no request, or not all of it")

    def send(self, data: bytes) -> None:
        """Send, waiting until it is under way.

        Raises:
            StreamLost: nobody is there any more.
        """
        if self.stream.over or self.stream.lost:
            raise StreamLost("the connection was closed inside")
        self.stream.post(0, data)
        self.stream.drained().result()

    def say(self, data: bytes) -> None:
        """Send the last there is to say, and wait until the other end has closed."""
        self.stream.post(0, data, end=True)
        with suppress(queue.Empty):
            for _ in self.pieces(HEAD_SECONDS):
                pass

    def close(self) -> None:
        """Give it up, if it is not over."""
        if self._stream is not None:
            with suppress(StreamLost):
                self._stream.reset()


def _relay(link: Link, upstream: socket.socket, request: Request, rest: bytes) -> None:
    """Pass bytes on, both ways, until both have said all."""
    upstream.settimeout(None)
    if request.tunnel:
        link.send(b"HTTP/1.1 200 Connection established\r\n\r\n")
    upstream.sendall(request.head + rest)
    back = threading.Thread(target=_back, args=(link, upstream), daemon=True)
    back.start()
    link.on_end = partial(_cut, upstream)
    if link.stream.over or link.stream.lost:
        _cut(upstream)
    try:
        for piece in link.pieces():
            upstream.sendall(piece)
        upstream.shutdown(socket.SHUT_WR)
    except OSError:
        _cut(upstream)
    back.join()


def _cut(upstream: socket.socket) -> None:
    with suppress(OSError):  # it is closed already
        upstream.shutdown(socket.SHUT_RDWR)


def _back(link: Link, upstream: socket.socket) -> None:
    with suppress(OSError):  # StreamLost too
        for data in _answered(link, upstream):
            link.send(data)
        link.stream.post(0, b"", end=True)
        return
    link.close()


def _answered(link: Link, upstream: socket.socket) -> Iterator[bytes]:
    poll = select.poll()
    poll.register(upstream, select.POLLIN)
    while True:
        if poll.poll(SILENCE * 1000):
            if not (data := upstream.recv(PIECE)):
                return
            yield data
        elif link.said_all:
            raise TimeoutError


def _response(refused: Refused) -> bytes:
    """The proxy's own answer: clients show its first line, which therefore has the reason."""
    text = "".join(c if c.isascii() and c.isprintable() else "?" for c in str(refused))
    phrase = f"{HTTPStatus(refused.status).phrase}: {text}"
    body = f"{text}\n".encode()
    head = f"HTTP/1.1 {refused.status} {phrase}\r\nContent-Type: text/plain\r\n"
    return f"{head}Content-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode() + body
