"""A Jupyter Server that is somebody else's: the few REST calls that an execution needs."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from typing import Any

from ..errors import SandboxGoneError
from ..text import printable
from .messages import unpack
from .remote_client import RemoteClient
from .websocket import MOST_ANSWER

REST_SECONDS = 30.0
LOST_SECONDS = 5.0  # for the server to say why a connection has ended
REFUSALS = (301, 302, 303, 401, 403)


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirect would carry the token elsewhere; the API has none."""

    def redirect_request(self, *arguments: Any) -> None:
        """See the base class."""


class Server:
    """The few REST calls that an execution needs.

    Args:
        url: the server's address.
        token: its token; it is in no message and no repr of ours.

    Attributes:
        started: when it was, as it says; "" where it does not.
    """

    def __init__(self, url: str, token: str) -> None:
        self.url, self._token, self.started = url.rstrip("/"), token, ""
        self._open = urllib.request.build_opener(_NoRedirect()).open

    def ask(
        self, method: str, path: str, body: Any = None, *, seconds: float = REST_SECONDS
    ) -> Any:
        """One request; its answer as JSON, None for an empty one.

        Raises:
            SandboxGoneError: the server cannot be reached, or refuses; `status` of an
                `HTTPError`, if there was one, is the cause's.
        """
        headers = {"Content-Type": "application/json"}
        if self._token:
            headers["Authorization"] = f"token {self._token}"
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, headers, method=method)
        try:
            with self._open(request, timeout=seconds) as response:
                said = response.read(MOST_ANSWER)
            return unpack(said) if said else None
        except urllib.error.HTTPError as error:
            error.close()
            why = f"answers HTTP {error.code} to {method} {path}"
            if error.code in REFUSALS:
                said = f"HTTP {error.code} {printable(str(error.reason))}".strip()
                why = f"refuses the token ({said})" if self._token else f"wants a token ({said})"
            raise SandboxGoneError(f"the server at {self.url} {why}") from error
        except ValueError as error:
            raise SandboxGoneError(f"what answers at {self.url} is no Jupyter Server") from error
        except OSError as error:
            why = printable(str(getattr(error, "reason", error)))
            raise SandboxGoneError(f"nobody answers at {self.url}: {why}") from error

    def read_started(self, seconds: float = REST_SECONDS) -> str:
        """When it was started, as it says; "" where it does not (a gateway).

        Raises:
            SandboxGoneError: see `ask`.
        """
        try:
            return str(self.ask("GET", "/api/status", seconds=seconds).get("started", ""))
        except SandboxGoneError as error:
            if status_of(error) != 404:
                raise
            return ""

    def why_lost(self, kernel: str) -> str:
        """Why the connection to a kernel has ended; "" where another one may be had."""
        try:
            if self.read_started(LOST_SECONDS) != self.started:
                return f"the server at {self.url} was restarted"
            self.ask("GET", f"/api/kernels/{kernel}", seconds=LOST_SECONDS)
        except SandboxGoneError as error:
            if status_of(error) == 404:
                return "the server has ended the kernel"
            reason = getattr(error.__cause__, "reason", None)
            hopeless = isinstance(reason, ConnectionRefusedError) or status_of(error) in REFUSALS
            return str(error) if hopeless else ""
        return ""

    def client(self, kernel: str) -> RemoteClient:
        """A connection to a kernel that runs.

        Raises:
            SandboxStartError: see `RemoteClient.open`.
        """
        endpoint = self.url.replace("http", "ws", 1) + f"/api/kernels/{kernel}/channels"
        client = RemoteClient(endpoint, self._token)
        client.open()
        return client


def status_of(error: SandboxGoneError) -> int | None:
    """The HTTP status that was the cause."""
    cause = error.__cause__
    return cause.code if isinstance(cause, urllib.error.HTTPError) else None
