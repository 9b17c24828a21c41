"""jupyter-kernel-client's websocket client, cured, and the one question asked of its server."""

from __future__ import annotations

import socket
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from http.client import HTTPException
from typing import Any

from jupyter_kernel_client.wsclient import KernelWebSocketClient
from websocket import WebSocketException

from ..errors import SandboxGoneError, SandboxStartError
from ..text import printable
from .bounded import bound, refusal
from .messages import unpack

REST_SECONDS = 30.0
CLOSE_SECONDS = 1.0
LOOPBACK = ["localhost", "127.0.0.1"]
MOST_ANSWER = 64 << 20  # bytes


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


class Client(KernelWebSocketClient):  # type: ignore[misc,unused-ignore]
    """Acknowledges at once (Linux), notices a lost connection, stops in time, holds no program up.

    Attributes:
        lost: called when the connection is gone, from any thread, perhaps twice.
        most_queued: messages of output that wait here; beyond that, nothing is read.
        closed: whether the connection has ended.
        stopping: whether it was we who wanted that.
    """

    lost: Callable[[], None] = staticmethod(lambda: None)
    most_queued: int | None = None
    closed = stopping = False
    _raw: Any = None  # its socket

    def open(self) -> None:
        """Connect.

        Raises:
            SandboxStartError: the server cannot be reached, or refuses.
        """
        # from a daemon thread, so that the connection's own is one too: it must not keep a
        # program from ending
        start = threading.Thread(target=self.start_channels, kwargs={"hb": False}, daemon=True)
        start.start()
        start.join()
        if self.closed or not self.connection_ready.is_set():
            self.stop_channels()
            raise SandboxStartError("the kernel's server accepts no connection")

    def execute(self, *arguments: Any, **options: Any) -> str:
        """See KernelClientABC; a lost connection is told by `lost` alone."""
        with self._losing():
            return str(super().execute(*arguments, **options))
        return ""

    def input(self, string: str) -> None:
        """See KernelClientABC."""
        with self._losing():
            super().input(string)

    @contextmanager
    def _losing(self) -> Iterator[None]:
        try:
            yield
        except (WebSocketException, OSError):
            self.lost()

    def _acknowledge(self, app: Any) -> None:
        # a delayed acknowledgement against the server's small frames costs 40 ms a message
        if sys.platform == "linux" and app.sock is not None:
            with suppress(OSError, AttributeError):
                app.sock.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)

    def _run_websocket(self) -> None:
        if self.kernel_socket is not None:
            # a proxy of this machine cannot reach its loopback; and validation in Python takes
            # 0.4 s a megabyte, where `json` validates anyway
            options = {"http_no_proxy": LOOPBACK, "skip_utf8_validation": True}
            run = partial(self.kernel_socket.run_forever, **options)
            self.kernel_socket.run_forever = run
        super()._run_websocket()

    def _on_open(self, app: Any) -> None:
        self._acknowledge(app)
        self._raw = app.sock.sock if app.sock is not None else None
        if app.sock is not None:
            bound(app.sock)
        super()._on_open(app)

    def _on_message(self, app: Any, message: Any) -> None:
        self._acknowledge(app)
        # what was not validated comes as bytes; a binary message begins with a small number
        text = isinstance(message, bytes) and message[:1] == b"{"
        if (refused := refusal(message)) is not None:
            self._iopub_msg_queue.put_nowait(refused)
            self._message_received.set()
            return
        super()._on_message(app, message.decode() if text else message)
        most, queued = self.most_queued, self._iopub_msg_queue.qsize
        while most is not None and queued() > most and not self.stopping:
            time.sleep(0.001)  # the server, and then the kernel, waits with us

    def _on_close(self, *arguments: Any) -> None:
        super()._on_close(*arguments)
        self.closed = True
        self.connection_ready.set()  # `start_channels` would wait for it for 30 s
        self.lost()

    def stop_channels(self) -> None:
        """Close the connection, and wait for its thread, but not for ever."""
        self.stopping = True
        app, thread = self.kernel_socket, self.connection_thread
        if app is not None and thread is not None and not self.shutting_down:
            with suppress(OSError, AttributeError, WebSocketException):
                app.sock.send_close()  # the answer wakes the thread, which closes its own socket
            thread.join(CLOSE_SECONDS)
            if thread.is_alive():
                app.keep_running = False
                with suppress(OSError, AttributeError):
                    app.sock.sock.shutdown(socket.SHUT_RDWR)
                thread.join(CLOSE_SECONDS)
        super().stop_channels()
        if self._raw is not None:
            self._raw.close()  # the library leaves it to the garbage collector


class Server:
    """A Jupyter Server behind a loopback address.

    Args:
        url: the server's address.
        token: its token; it is in no message and no repr of ours.
    """

    def __init__(self, url: str, token: str) -> None:
        self.url, self._token = url.rstrip("/"), token
        self._open = urllib.request.build_opener(urllib.request.ProxyHandler({})).open

    def kernels(self) -> dict[str, str]:
        """The ids of its kernels, by the name of each.

        Raises:
            SandboxGoneError: the server cannot be reached, refuses, or makes no sense.
        """
        headers = {"Authorization": f"token {self._token}"}
        request = urllib.request.Request(f"{self.url}/api/kernels", headers=headers)
        try:
            with self._open(request, timeout=REST_SECONDS) as response:
                listed = unpack(response.read(MOST_ANSWER))
            return {str(found["name"]): str(found["id"]) for found in listed}
        except (OSError, HTTPException, ValueError, TypeError, KeyError) as error:
            raise SandboxGoneError(printable(f"GET /api/kernels: {error}")) from error

    def client(self, kernel: str) -> Client:
        """A client of a kernel, not connected yet."""
        endpoint = self.url.replace("http", "ws", 1) + f"/api/kernels/{kernel}/channels"
        return Client(endpoint, self._token)
