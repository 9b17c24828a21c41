"""The Jupyter Server of a runtime, behind an ingress that may not know it yet."""

from __future__ import annotations

import time
import urllib.error
from itertools import count
from typing import Any

from ...channels.jupyter_server import REST_SECONDS, Server
from ...channels.remote_client import RemoteClient
from ...errors import SandboxGoneError, SandboxStartError

NOT_YET = (404, 429, 502, 503, 504)  # of a proxy that has nobody to pass a request to
SETTLE_SECONDS = 10.0
PAUSES = (0.1, 0.2, 0.4, 0.8, 1.5)


class Ingress(Server):
    """A server that is waited for: what a proxy answers in its place is not an answer.

    Args:
        url, token: see Server.
        seconds: how long to wait for it, from now on.
    """

    def __init__(self, url: str, token: str, seconds: float) -> None:
        super().__init__(url, token)
        self._until = time.monotonic() + seconds

    def await_ready(self) -> None:
        """Until the server itself answers.

        Raises:
            SandboxStartError: it does not in time; or it refuses the token.
        """
        for number in count():
            try:
                if isinstance(self.ask("GET", "/api/status"), dict):
                    return
                why = "what answers is no Jupyter Server"
            except SandboxGoneError as error:
                if not _not_yet(error):
                    raise SandboxStartError(f"the runtime cannot be used: {error}") from error
                why = str(error)
            if time.monotonic() > self._until:
                raise SandboxStartError(f"the runtime does not answer: {why}")
            time.sleep(PAUSES[min(number, len(PAUSES) - 1)])

    def settle(self, seconds: float = 0.0) -> None:
        """After so many seconds from now, no answer is the end."""
        self._until = min(self._until, time.monotonic() + seconds)

    def ask(
        self, method: str, path: str, body: Any = None, *, seconds: float = REST_SECONDS
    ) -> Any:
        """See Server; while it starts, again where only the proxy has answered."""
        if path == "/api/status":
            return super().ask(method, path, body, seconds=seconds)
        while True:
            try:
                return super().ask(method, path, body, seconds=seconds)
            except SandboxGoneError as error:
                if time.monotonic() > self._until or _status(error) not in (502, 503, 504):
                    raise
            time.sleep(PAUSES[-2])

    def client(self, kernel: str) -> RemoteClient:
        """See Server; while it starts, again where the connection does not open."""
        while True:
            try:
                return super().client(kernel)
            except SandboxStartError:
                if time.monotonic() > self._until:
                    raise
            time.sleep(PAUSES[-2])


def _status(error: SandboxGoneError) -> int | None:
    cause = error.__cause__
    return cause.code if isinstance(cause, urllib.error.HTTPError) else None


def _not_yet(error: SandboxGoneError) -> bool:
    """Whether a server that starts may give such an answer, or none."""
    if (status := _status(error)) is not None:
        return status in NOT_YET
    return isinstance(error.__cause__, OSError | ValueError)
