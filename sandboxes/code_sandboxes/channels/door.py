"""A loopback port here that leads to a unix socket inside a sandbox, over the machine's stream."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from queue import SimpleQueue
from typing import Any

from ..errors import SandboxGoneError
from ..inside.stream import DATA, Stream, StreamLost
from ..machine import Machine

PIECE = 1 << 16
WAIT_SECONDS = 30.0  # for the socket inside to be there


class Door:
    """Listens until it is closed. Whoever connects must still show what the server asks for.

    Args:
        machine: where the socket is.
        path: the socket's path inside.
    """

    def __init__(self, machine: Machine, path: str) -> None:
        self._machine, self._path = machine, path
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, name="sandbox-door", daemon=True).start()

    def close(self) -> None:
        """Let nobody in any more; connections that are open stay so."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # or `accept` would go on waiting
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                peer, _ = self._listener.accept()
                peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                threading.Thread(target=self._inward, args=(peer,), daemon=True).start()

    def _inward(self, peer: socket.socket) -> None:
        """Pass on what comes from here; a second thread passes on what comes from there."""
        coming: SimpleQueue[tuple[Stream, bytes]] = SimpleQueue()

        def push(stream: Stream, kind: int, lane: int, payload: Any) -> None:
            # never sent from here: this thread serves the whole sandbox
            coming.put((stream, payload if kind == DATA else b""))

        with peer, suppress(OSError, SandboxGoneError):
            stream = self._machine.open(push, "connect", path=self._path, wait=WAIT_SECONDS)
            outward = threading.Thread(target=self._outward, args=(peer, coming), daemon=True)
            outward.start()
            with suppress(OSError):
                while data := peer.recv(PIECE):
                    stream.post(0, data)
            with suppress(StreamLost):
                stream.reset()  # a client that is done wants no answer any more
            outward.join()

    @staticmethod
    def _outward(peer: socket.socket, coming: SimpleQueue[tuple[Stream, bytes]]) -> None:
        with suppress(OSError):
            while True:
                stream, data = coming.get()
                if not data:
                    break
                peer.sendall(data)
                stream.taken(len(data))
        with suppress(OSError):
            peer.shutdown(socket.SHUT_RDWR)
