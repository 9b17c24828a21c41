"""A Jupyter Server beside our kernels: it finds them by their connection files.

It starts none itself: they are children of the supervisor, which steers and buries them, and
so is it: forked like a kernel, it shares what both have imported. The image has jupyter_server.
"""

from __future__ import annotations

import asyncio
import os
import sys

TYPE_CHECKING = False  # not that of typing, which takes 10 ms to import
if TYPE_CHECKING:
    from typing import Any

    from jupyter_server.serverapp import ServerApp

BACKLOG = 4 << 20  # bytes that may wait for the host; more stays with the kernel
QUEUE = 16  # messages that may wait for us: ZeroMQ's own is 1,000, however large they are
MOST_MESSAGE = 256 << 20  # bytes: code and answers of the host, quoted; tornado's own is 10 MiB
RCVHWM = 24  # ZeroMQ's number

# 0.9 s of import, and 20 ms, for parts of JSON schemas that no schema of Jupyter uses
for name in ("rfc3987_syntax", "isoduration"):
    sys.modules[name] = None  # type: ignore[assignment]


def connection_class() -> Any:
    """A websocket that loses no output, and does not collect it either."""
    from jupyter_server.services.kernels.connection.channels import ZMQChannelsWebsocketConnection

    class Connection(ZMQChannelsWebsocketConnection):  # type: ignore[misc,unused-ignore]
        _backlog = 0
        _paused = False

        @property
        def write_message(self) -> Any:
            return self._write

        def _write(self, message: Any, binary: bool = False) -> None:
            sending = asyncio.ensure_future(self._send(message, binary))
            sending.add_done_callback(lambda sent: sent.cancelled() or sent.exception())
            self._backlog += len(message)
            if self._backlog > BACKLOG and not self._paused:
                self._paused = True
                self.channels["iopub"].stop_on_recv()

        async def _send(self, message: Any, binary: bool) -> None:
            await self.websocket_handler.write_message(message, binary)
            self._backlog -= len(message)
            if self._paused and self._backlog < BACKLOG // 2 and "iopub" in self.channels:
                self._paused = False
                self.channels["iopub"].on_recv_stream(self.handle_outgoing_message)

    return Connection


def application(socket: str, token: str, kernels: str) -> ServerApp:
    """The server, ready to start.

    Args:
        socket: the unix socket that it listens at.
        token: what a request must show.
        kernels: the folder of the kernels' connection files.
    """
    from jupyter_server.serverapp import ServerApp

    app = ServerApp.instance()
    app.external_connection_dir, app.allow_external_kernels = kernels, True
    app.kernel_websocket_connection_class = connection_class()
    app.tornado_settings = {"websocket_max_message_size": MOST_MESSAGE}
    flags = [f"--ServerApp.sock={socket}", f"--IdentityProvider.token={token}"]
    flags += ["--ServerApp.allow_remote_access=True", "--ServerApp.open_browser=False"]
    flags += ["--ServerApp.terminals_enabled=False", "--ServerApp.log_level=WARN"]
    flags += ["--ZMQChannelsWebsocketConnection.limit_rate=False"]
    # the host's end may be slow on purpose: it reads when its caller does
    flags += ["--ServerApp.websocket_ping_interval=0"]
    app.initialize(flags, find_extensions=False)
    app.kernel_manager.context.setsockopt(RCVHWM, QUEUE)  # of its sockets to the kernels
    return app


def main(socket: str, token: str, kernels: str) -> None:
    """Serve until it is killed; see `application`."""
    os.makedirs(kernels, mode=0o700, exist_ok=True)
    application(socket, token, kernels).start()
