"""Kernels of a Jupyter Server: jupyter-kernel-client's websocket client, cured, and REST."""

from __future__ import annotations

import json
import socket
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from jupyter_kernel_client.wsclient import KernelWebSocketClient

from ..errors import SandboxGoneError
from ..text import printable
from .jupyter import JupyterChannel

REST_SECONDS = 30.0
READY_SECONDS = 60.0
CLOSE_SECONDS = 1.0


class EventWaiter:
    """See Waiter; for a client that fills queues from a thread of its own and sets an event."""

    def __init__(self, event: threading.Event) -> None:
        self._event = event

    def wait(self, *, output: bool) -> None:
        """See Waiter."""
        self._event.wait()
        self._event.clear()

    def wake(self) -> None:
        """See Waiter."""
        self._event.set()

    def close(self) -> None:
        """See Waiter."""


class Client(KernelWebSocketClient):  # type: ignore[misc]
    """Acknowledges at once (Linux), notices a lost connection, stops in time."""

    lost: Callable[[], None] = staticmethod(lambda: None)

    def _acknowledge(self, app: Any) -> None:
        # a delayed acknowledgement against the server's small frames costs 40 ms a message
        if sys.platform == "linux" and app.sock is not None:
            with suppress(OSError, AttributeError):
                app.sock.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)

    def _on_open(self, app: Any) -> None:
        self._acknowledge(app)
        super()._on_open(app)

    def _on_message(self, app: Any, message: Any) -> None:
        self._acknowledge(app)
        super()._on_message(app, message)

    def _on_close(self, *arguments: Any) -> None:
        super()._on_close(*arguments)
        self.lost()

    def stop_channels(self) -> None:
        """Close the connection, and wait for its thread, but not for ever."""
        app, thread = self.kernel_socket, self.connection_thread
        if app is not None and thread is not None and not self.shutting_down:
            with suppress(OSError, AttributeError):
                app.sock.send_close()  # the answer wakes the thread, which closes its own socket
            thread.join(CLOSE_SECONDS)
            if thread.is_alive():
                app.keep_running = False
                with suppress(OSError, AttributeError):
                    app.sock.sock.shutdown(socket.SHUT_RDWR)
                thread.join(CLOSE_SECONDS)
        super().stop_channels()


class Server:
    """The few REST calls that an execution needs.

    Args:
        url: the server's address.
        token: its token; it is in no message and no repr of ours.
    """

    def __init__(self, url: str, token: str) -> None:
        self.url, self._token = url.rstrip("/"), token

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        """One request; its answer as JSON, None for an empty one.

        Raises:
            SandboxGoneError: the server cannot be reached, or refuses.
        """
        headers = {"Content-Type": "application/json"}
        if self._token:
            headers["Authorization"] = f"token {self._token}"
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=REST_SECONDS) as response:
                said = response.read()
        except (OSError, urllib.error.URLError) as error:
            raise SandboxGoneError(printable(f"{method} {path}: {error}")) from error
        return json.loads(said) if said else None

    def channel(self, kernel: str) -> JupyterChannel:
        """A channel to a kernel that runs."""
        endpoint = self.url.replace("http", "ws", 1) + f"/api/kernels/{kernel}/channels"
        client = Client(endpoint, self._token)
        client.start_channels(hb=False)
        client.wait_for_ready(timeout=READY_SECONDS)
        steering = ServerKernel(self, kernel)
        channel = JupyterChannel(client, steering, EventWaiter(client._message_received))
        steering.died = channel.died
        client.lost = lambda: channel.died("the connection to the server was lost")
        return channel


class ServerKernel:
    """Steers a kernel by REST, on threads: the caller never waits."""

    def __init__(self, server: Server, kernel: str) -> None:
        self._server, self._path = server, f"/api/kernels/{kernel}"
        self.died: Callable[[str], None] = lambda why: None

    def _later(self, method: str, path: str) -> None:
        def call() -> None:
            with suppress(SandboxGoneError):  # the loss is told by the connection's end
                self._server.ask(method, path)

        threading.Thread(target=call, daemon=True).start()

    def interrupt(self) -> None:
        """See Steering."""
        self._later("POST", self._path + "/interrupt")

    def kill(self) -> None:
        """See Steering."""
        self.died("the kernel was ended")  # the server may take 5 s over it
        self._later("DELETE", self._path)

    def close(self, *, keep: bool) -> None:
        """See Steering."""
        if not keep:
            self._later("DELETE", self._path)
