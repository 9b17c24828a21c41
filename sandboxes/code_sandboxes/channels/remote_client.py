"""A websocket to a kernel of a server that may be far away; it can be opened again."""

from __future__ import annotations

import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from queue import Empty
from typing import Any

from jupyter_kernel_client.utils import deserialize_msg_from_ws_default
from jupyter_kernel_client.wsclient import KernelWebSocketClient
from websocket import WebSocketException

from ..errors import SandboxStartError
from ..inside.sent import HEARD
from ..text import printable
from .bounded import Refused, TooLargeError, refusal
from .websocket import CLOSE_SECONDS, Client

READY_SECONDS = 60.0
REOPEN_SECONDS = 5.0
MOST_QUEUED = 256  # messages of output that wait here; beyond that, nothing is read
CHANNELS = ("shell", "iopub", "stdin", "control", "hb")


class RemoteClient(Client):
    """A connection to a kernel of a server that may be far away.

    Args:
        endpoint: the kernel's address, ``ws://.../api/kernels/<id>/channels``.
        token: goes into a header: an address is what gets logged.

    Attributes:
        heard: takes the IOPub messages on the client's thread, instead of the queue.
        acknowledged: the number of the last message that was heard; goes with each request.
    """

    heard: Callable[[Mapping[str, Any]], None] | None = None
    acknowledged = 0

    def __init__(self, endpoint: str, token: str) -> None:
        headers = {"Authorization": f"token {token}"} if token else {}
        super().__init__(endpoint, None, headers=headers)
        self._pid, self._error = os.getpid(), ""
        self._last: dict[str, Any] = {}  # request to execute
        self._stopping = threading.Lock()

    def open(self) -> None:
        """See Client.

        Raises:
            SandboxStartError: the server cannot be reached, or refuses; it says why.
        """
        try:
            self._dial()
        except SandboxStartError:
            self.stop_channels()
            raise

    def _dial(self) -> None:
        # from a daemon thread: see Client.open
        start = threading.Thread(target=self.start_channels, kwargs={"hb": False}, daemon=True)
        start.start()
        start.join()
        if self.closed or not self.connection_ready.is_set():
            why = printable(self._error or "no answer")
            raise SandboxStartError(f"no connection to the kernel: {why}")

    def reopen(self) -> None:
        """Connect again, after the connection was lost; what was received is kept.

        Raises:
            SandboxStartError: see `open`.
        """
        self._hang_up()
        # not the same: the server's sockets of the old connection may not be closed yet, and two
        # of one name take the kernel's answers from each other
        self.session.session = uuid.uuid4().hex
        self.connection_ready.clear()
        self.closed, self.timeout, self._error = False, REOPEN_SECONDS, ""
        try:
            self._dial()
        except SandboxStartError:
            self._hang_up()
            raise
        # not before: each would be made again with the socket that there is
        self._shell_channel = self._iopub_channel = self._stdin_channel = None
        self._control_channel = None
        with self._stopping:
            if self.stopping:
                self._hang_up()

    def drop(self) -> None:
        """Lose the connection."""
        if self._raw is not None:
            with suppress(OSError):
                self._raw.shutdown(socket.SHUT_RDWR)

    def _hang_up(self) -> None:
        app = self.kernel_socket
        if app is not None:
            app.keep_running = False
            with suppress(OSError, AttributeError):
                app.sock.sock.shutdown(socket.SHUT_RDWR)
        thread = self.connection_thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(CLOSE_SECONDS)
        if self._raw is not None:
            self._raw.close()

    def execute(self, code: str, **options: Any) -> str:
        """See KernelClientABC; a lost connection is told by `lost` alone."""
        content = {"silent": False, "store_history": True, "user_expressions": {}, **options}
        self._last = self.session.msg("execute_request", {"code": code, **content})
        return self.execute_again()

    def execute_again(self) -> str:
        """Send the last request to execute, which may not have arrived."""
        self._last["metadata"] = {HEARD: self.acknowledged}
        return self._post(self.shell_channel, self._last)

    def kernel_info(self) -> str:
        """See KernelClientABC."""
        return self._post(self.shell_channel, self.session.msg("kernel_info_request"))

    def control(self, kind: str, content: Mapping[str, Any]) -> str:
        """Send what is answered while code runs."""
        return self._post(self.control_channel, self.session.msg(kind, dict(content)))

    def _post(self, channel: Any, message: dict[str, Any]) -> str:
        try:
            channel.send(message)
        except (WebSocketException, OSError, AttributeError):  # AttributeError: closed meanwhile
            self.lost()
        return str(message["header"]["msg_id"])

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
                if isinstance(error, TooLargeError):
                    self._pass_on(Refused(self._error), 0)

            app.on_error = note
            # its own validation, in Python, takes 0.4 s a megabyte; json validates anyway
            app.run_forever = partial(app.run_forever, skip_utf8_validation=True)
        KernelWebSocketClient._run_websocket(self)

    def _on_open(self, app: Any) -> None:
        if app is self.kernel_socket:
            super()._on_open(app)
        else:  # one that was given up has come late
            app.close()

    def _on_close(self, app: Any, *arguments: Any) -> None:
        if app is self.kernel_socket:
            super()._on_close(app, *arguments)

    def _on_message(self, app: Any, message: Any) -> None:
        if app is not self.kernel_socket:
            return
        self._acknowledge(app)
        # text comes as bytes, unless it is validated; a binary message begins with a small number
        text = isinstance(message, str) or message[:1] == b"{"
        said = refusal(message)
        if said is None:
            said = json.loads(message) if text else deserialize_msg_from_ws_default(message)
        self._pass_on(said, len(message))
        while self._iopub_msg_queue.qsize() > MOST_QUEUED and not self.stopping:
            time.sleep(0.001)  # the server waits with us: the kernel may send without end

    def _pass_on(self, said: dict[str, Any], size: int) -> None:
        channel = said.get("channel", "iopub")
        if channel == "iopub" and self.heard is not None:
            self.heard(said)
        elif channel in CHANNELS:
            said["size"] = size
            getattr(self, f"_{channel}_msg_queue").put_nowait(said)
            self._message_received.set()

    def free(self) -> None:
        """Close this process's descriptor, without a word to the server."""
        self.shutting_down = True
        if self._raw is not None:
            self._raw.close()

    def stop_channels(self) -> None:
        """See Client."""
        with self._stopping:
            self.stopping = True
        if os.getpid() != self._pid:  # a forked child: the connection is the parent's
            self.free()
        else:
            super().stop_channels()
