"""Answers what a sandbox without a network asks of its only way out."""

from __future__ import annotations

import logging
import resource
import socket
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from contextlib import closing, suppress
from typing import Any

from ..errors import SandboxError, SandboxStartError
from ..inside.stream import MESSAGE, Stream, StreamLost
from ..machine import Machine
from ..text import printable
from . import PORT
from .relay import Link, Relay, response
from .request import Request
from .rules import Refused, Rules

CONNECT_SECONDS, START_SECONDS = 10.0, 20.0
STALLED = 600.0  # seconds that a server may take to read anything
MOST = 200  # connections of a sandbox at once: it has half of them, and the rest are ending
# of all sandboxes: a quarter of what this process may open
_places = threading.BoundedSemaphore(
    max(16, min(1000, resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 4))
)
log = logging.getLogger("code_sandboxes.egress")


class Proxy:
    """The allowlist of one sandbox, for as long as its machine is there.

    Refused requests are logged, as ``code_sandboxes.egress``.

    Args:
        machine: the sandbox's; nothing in it can go out before this has returned.
        allowed: `SandboxConfig.allowed_hosts`.
        id: the sandbox's id, for the log.

    Raises:
        SandboxStartError: the sandbox has no way out to offer.
    """

    def __init__(self, machine: Machine, allowed: Sequence[str], id: str) -> None:
        self._machine, self._rules, self._id = machine, Rules(allowed), id
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
            elif kind == MESSAGE:
                why = f"the sandbox has no way out for its allowlist: {payload.get('error')}"
                self._ready.set_exception(SandboxStartError(printable(why)))
            else:
                self._ready.set_exception(SandboxStartError(str(self._machine.loss())))
            return
        match payload:
            case {"connection": int(number)}:
                self._take(number)

    def _take(self, number: int) -> None:
        """Serve a connection, on a thread of its own; where there is no place, hang up."""
        if self._places.acquire(blocking=False):
            if _places.acquire(blocking=False):
                serve = threading.Thread(
                    target=self._serve, args=(number,), daemon=True, name="sandbox-egress"
                )
                try:
                    serve.start()
                    return
                except RuntimeError:  # no memory for one more
                    _places.release()
            self._places.release()
        log.warning("%s: too many connections at once", self._id)
        with suppress(SandboxError, StreamLost):
            self._machine.open(lambda *_: None, "carry", number=number).reset()

    def _serve(self, number: int) -> None:
        try:
            with suppress(SandboxError, OSError), closing(Link(self._machine, number)) as link:
                try:
                    request, rest = link.request()
                    upstream = self._connect(request)
                except Refused as refused:
                    log.info("%s: refused: %s", self._id, refused)
                    link.say(response(refused))
                    return
                with upstream:
                    Relay(link, upstream, request).run(rest)
        finally:
            _places.release()
            self._places.release()

    def _connect(self, request: Request) -> socket.socket:
        """A connection to whom the request names, if it may be reached."""
        why = "no address"
        for address in self._rules.addresses(request.host, request.port):
            try:
                made = socket.create_connection((address, request.port), CONNECT_SECONDS)
            except OSError as error:
                why = error.strerror or str(error)
                continue
            if is_here(made):
                made.close()
                raise Refused(
                    403, f"{request.host} is this machine, which a sandbox must not reach"
                )
            made.settimeout(STALLED)
            return made
        raise Refused(502, f"{request.host}:{request.port} cannot be reached: {why}")


def is_here(connected: socket.socket) -> bool:
    """Whether the other end is this very machine, by whichever of its addresses."""
    return bool(connected.getsockname()[0] == connected.getpeername()[0])
