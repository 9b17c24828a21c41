"""A Jupyter Server that is somebody else's: its REST calls, and a websocket to each kernel."""

from __future__ import annotations

import json
import os
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from queue import Empty
from typing import Any

from jupyter_kernel_client.utils import deserialize_msg_from_ws_default
from jupyter_kernel_client.wsclient import KernelWebSocketClient
from websocket import WebSocketException

from ..errors import SandboxGoneError, SandboxStartError
from ..text import printable
from .websocket import Client

REST_SECONDS = 30.0
READY_SECONDS = 60.0
CHANNELS = ("shell", "iopub", "stdin", "control", "hb")


class RemoteClient(Client):
    """A connection to a kernel of a server that may be far away.

    Args:
        endpoint: the kernel's address, ``ws://.../api/kernels/<id>/channels``.
        token: goes into a header: an address is what gets logged.

    Attributes:
        heard: takes the IOPub messages on the client's thread, instead of the queue.
    """

    heard: Callable[[Mapping[str, Any]], None] | None = None

    def __init__(self, endpoint: str, token: str) -> None:
        headers = {"Authorization": f"token {token}"} if token else {}
        super().__init__(endpoint, None, headers=headers)
        self._pid, self._error = os.getpid(), ""

    def open(self) -> None:
        """See Client.

        Raises:
            SandboxStartError: the server cannot be reached, or refuses; it says why.
        """
        try:
            super().open()
        except SandboxStartError as error:
            why = printable(self._error or "no answer")
            raise SandboxStartError(f"no connection to the kernel: {why}") from error

    def await_ready(self) -> None:
        """Until the kernel has answered by both ways: what it says from now on is not lost.

        Raises:
            SandboxStartError: it does not answer.
        """
        until = time.monotonic() + READY_SECONDS
        while time.monotonic() < until and not self.closed:
            with suppress(Empty, KeyError):
                asked = self.kernel_info()
                while True:
                    message = self.shell_channel.get_msg(timeout=1)
                    if message["parent_header"].get("msg_id") == asked:
                        break
                while True:
                    message = self.iopub_channel.get_msg(timeout=1)
                    idle = message["content"].get("execution_state") == "idle"
                    if idle and message["parent_header"].get("msg_id") == asked:
                        return
        raise SandboxStartError("the kernel does not answer")

    def send_shell(self, kind: str, content: Mapping[str, Any], data: bytes | None = None) -> None:
        """Send a message that has no answer.

        Raises:
            OSError: the connection is lost.
        """
        message = self.session.msg(kind, dict(content))
        message["buffers"] = [] if data is None else [data]
        try:
            self.shell_channel.send(message)
        except (WebSocketException, AttributeError) as error:  # AttributeError: closed meanwhile
            raise ConnectionResetError(str(error)) from error

    def _run_websocket(self) -> None:
        if (app := self.kernel_socket) is not None:

            def note(_: Any, error: object) -> None:
                self._error = str(error)

            app.on_error = note
            # its own validation, in Python, takes 0.4 s a megabyte; json validates anyway
            app.run_forever = partial(app.run_forever, skip_utf8_validation=True)
        KernelWebSocketClient._run_websocket(self)

    def _on_message(self, app: Any, message: Any) -> None:
        self._acknowledge(app)
        # text comes as bytes, unless it is validated; a binary message begins with a small number
        text = isinstance(message, str) or message[:1] == b"{"
        said = json.loads(message) if text else deserialize_msg_from_ws_default(message)
        channel = said["channel"]
        if channel == "iopub" and self.heard is not None:
            self.heard(said)
        elif channel in CHANNELS:
            getattr(self, f"_{channel}_msg_queue").put_nowait(said)
            self._message_received.set()

    def free(self) -> None:
        """Close this process's descriptor, without a word to the server."""
        self.shutting_down = True
        if self._raw is not None:
            self._raw.close()

    def stop_channels(self) -> None:
        """See Client."""
        if os.getpid() != self._pid:  # a forked child: the connection is the parent's
            self.free()
        else:
            super().stop_channels()


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirect would carry the token elsewhere; the API has none."""

    def redirect_request(self, *arguments: Any) -> None:
        """See the base class."""


class Server:
    """The few REST calls that an execution needs.

    Args:
        url: the server's address.
        token: its token; it is in no message and no repr of ours.
    """

    def __init__(self, url: str, token: str) -> None:
        self.url, self._token = url.rstrip("/"), token
        self._open = urllib.request.build_opener(_NoRedirect()).open

    def ask(self, method: str, path: str, body: Any = None) -> Any:
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
            with self._open(request, timeout=REST_SECONDS) as response:
                said = response.read()
            return json.loads(said) if said else None
        except urllib.error.HTTPError as error:
            error.close()
            why = f"answers HTTP {error.code} to {method} {path}"
            if error.code in (301, 302, 303, 401, 403):
                why = f"refuses the token (HTTP {error.code})" if self._token else "wants a token"
            raise SandboxGoneError(f"the server at {self.url} {why}") from error
        except ValueError as error:
            raise SandboxGoneError(f"what answers at {self.url} is no Jupyter Server") from error
        except OSError as error:
            why = printable(str(getattr(error, "reason", error)))
            raise SandboxGoneError(f"nobody answers at {self.url}: {why}") from error

    def client(self, kernel: str) -> RemoteClient:
        """A connection to a kernel that runs.

        Raises:
            SandboxStartError: see `RemoteClient.open`.
        """
        endpoint = self.url.replace("http", "ws", 1) + f"/api/kernels/{kernel}/channels"
        client = RemoteClient(endpoint, self._token)
        client.open()
        return client
