"""The way out of a sandbox without a network: a port of its own loopback, that its owner answers.

What connects there is numbered, and told to the owner, who has each connection carried over a
stream of its own. Nothing of what is said is looked at in here: the code could change it.
"""

from __future__ import annotations

import socket
import threading
import time
from contextlib import suppress

from .stream import DATA, END, RESET, Stream, StreamLost

TYPE_CHECKING = False  # not that of typing, which takes 10 ms to import
if TYPE_CHECKING:
    from collections.abc import Callable

PIECE = 1 << 16
MOST = 200  # connections at once: each takes two threads here


class Egress:
    """Listens; whoever owns the sandbox attends to it.

    Args:
        start: starts a thread.
        port: where to listen.

    Raises:
        OSError: the port is taken.
    """

    def __init__(self, start: Callable[..., None], port: int) -> None:
        self._start, self._owner = start, None
        self._waiting: dict[int, socket.socket] = {}
        self._open, self._count = 0, 0
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", port), backlog=MOST)
        start(self._accept)

    _owner: Stream | None

    def attend(self, owner: Stream) -> None:
        """Tell this owner from now on."""
        with self._lock:
            self._owner, left, self._waiting = owner, self._waiting, {}
            self._open -= len(left)
        for peer in left.values():  # the former owner never came for them
            peer.close()
        owner.tell({"ready": True})

    def _accept(self) -> None:
        while True:
            try:
                peer, _ = self._listener.accept()
            except OSError:  # no descriptors are left, perhaps for a moment
                time.sleep(0.1)
                continue
            with self._lock:
                owner = self._owner
                if owner is None or owner.lost or self._open >= MOST:
                    peer.close()
                    continue
                self._open, self._count = self._open + 1, self._count + 1
                number = self._count
                self._waiting[number] = peer
            with suppress(StreamLost):  # then nobody comes for it: see `attend`
                owner.tell({"connection": number})

    def carry(self, stream: Stream, number: int) -> None:
        """Pass a connection's bytes on, both ways, until both ends have said all.

        Raises:
            ProcessLookupError: there is none of that number.
        """
        with self._lock:
            peer = self._waiting.pop(number, None)
        if peer is None:
            raise ProcessLookupError(3, "no such connection")
        try:
            done = threading.Event()
            self._start(self._outward, stream, peer, done)
            self._inward(stream, peer)
            done.wait()
        finally:
            peer.close()
            with self._lock:
                self._open -= 1

    @staticmethod
    def _outward(stream: Stream, peer: socket.socket, done: threading.Event) -> None:
        try:
            while data := peer.recv(PIECE):
                stream.send(0, data)
            stream.tell({"eof": True})
        except OSError:  # either end was cut: so is the other
            stream.deliver(RESET, 0, None)
        finally:
            done.set()

    @staticmethod
    def _inward(stream: Stream, peer: socket.socket) -> None:
        with suppress(OSError):
            while (item := stream.receive())[0] == DATA:
                peer.sendall(item[2])
            if item[0] == END:
                peer.shutdown(socket.SHUT_WR)
                return
        with suppress(OSError):
            peer.shutdown(socket.SHUT_RDWR)  # wakes the thread that reads
