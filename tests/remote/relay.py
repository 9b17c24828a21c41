"""A TCP relay between a sandbox and its server, whose connections a test can cut or hold."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress


class Relay:
    """Passes bytes between its own port, any if 0, and another one of this machine."""

    def __init__(self, port: int, own_port: int = 0) -> None:
        self._to = port
        self._listener = socket.create_server(("127.0.0.1", own_port))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._open: list[socket.socket] = []
        self._muted: set[socket.socket] = set()
        self.holding = threading.Event()
        self.holding.set()  # set: bytes pass
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                try:
                    far = socket.create_connection(("127.0.0.1", self._to))
                except OSError:
                    near.close()
                    continue
                self._open += [near, far]
                for ends in ((near, far), (far, near)):
                    threading.Thread(target=self._pass, args=ends, daemon=True).start()

    def _pass(self, source: socket.socket, sink: socket.socket) -> None:
        # the end of one side is not passed on: a test cuts the other side itself
        with suppress(OSError):
            while data := source.recv(1 << 16):
                self.holding.wait()
                if source not in self._muted:
                    sink.sendall(data)

    def hold(self) -> None:
        """Let nothing pass any more, and close nothing."""
        self.holding.clear()

    def mute(self) -> None:
        """Let nothing pass any more by the connections that there are; new ones are as before."""
        self._muted.update(self._open)

    def cut(self) -> None:
        """End all connections."""
        open_now, self._open = self._open, []
        for each in open_now:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def close(self) -> None:
        """Let nobody in any more, and end all connections."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.holding.set()
        self.cut()
