"""The way out of a sandbox without a network: a port of its own loopback, that its owner answers.

What connects there is numbered, and told to the owner, who has each connection carried over a
stream of its own. Nothing of what is said is looked at in here: the code could change it.
"""

from __future__ import annotations

import socket
import struct
import threading
import time
from contextlib import suppress

from .stream import DATA, END, Stream, StreamLost

TYPE_CHECKING = False  # not that of typing, which takes 10 ms to import
if TYPE_CHECKING:
    from collections.abc import Callable

PIECE = 1 << 16
MOST = 100  # connections at once, each with two threads; the next ones wait
CUT = struct.pack("ii", 1, 0)  # SO_LINGER: closing is an error at the other end, not an end


class Egress:
    """Listens; whoever owns the sandbox attends to it.

    Args:
        start: starts a thread.
        port: where to listen.

    Raises:
        OSError: the port is taken.
    """

    def __init__(self, start: Callable[..., None], port: int) -> None:
        self._start = start
        self._owner: Stream | None = None
        self._waiting: dict[int, socket.socket] = {}
        self._count, self._lock = 0, threading.Lock()
        self._places = threading.BoundedSemaphore(MOST)
        self._listener = socket.create_server(("127.0.0.1", port), backlog=MOST)
        start(self._accept)

    def attend(self, owner: Stream) -> None:
        """Tell this owner from now on."""
        with self._lock:
            self._owner, left, self._waiting = owner, self._waiting, {}
        for peer in left.values():  # the former owner never came for them
            self._close(peer, cut=True)
        owner.tell({"ready": True})

    def _accept(self) -> None:
        while True:
            self._places.acquire()
            try:
                peer, _ = self._listener.accept()
            except OSError:  # no descriptors are left, perhaps for a moment
                self._places.release()
                time.sleep(0.1)
                continue
            with self._lock:
                owner, self._count = self._owner, self._count + 1
                number = self._count
                if owner is not None and not owner.lost:
                    self._waiting[number] = peer
                else:
                    owner = None
            if owner is None:
                self._close(peer, cut=True)
                continue
            with suppress(StreamLost):  # then nobody comes for it: see `attend`
                owner.tell({"connection": number})

    def _close(self, peer: socket.socket, *, cut: bool) -> None:
        if cut:
            with suppress(OSError):
                peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, CUT)
        peer.close()
        self._places.release()

    def carry(self, stream: Stream, number: int) -> None:
        """Pass a connection's bytes on, both ways, until both ends have said all.

        Raises:
            ProcessLookupError: there is none of that number.
        """
        with self._lock:
            peer = self._waiting.pop(number, None)
        if peer is None:
            raise ProcessLookupError(3, "no such connection")
        done = threading.Event()
        try:
            self._start(self._outward, stream, peer, done)
            self._inward(stream, peer)
            done.wait()
        finally:
            self._close(peer, cut=stream.lost)

    @staticmethod
    def _outward(stream: Stream, peer: socket.socket, done: threading.Event) -> None:
        try:
            while data := peer.recv(PIECE):
                stream.send(0, data)
            stream.tell({"eof": True})
        except OSError:  # either end was cut: so is the other
            with suppress(StreamLost):
                stream.reset()
        finally:
            done.set()

    @staticmethod
    def _inward(stream: Stream, peer: socket.socket) -> None:
        try:
            while (item := stream.receive())[0] == DATA:
                peer.sendall(item[2])
            if item[0] == END:
                peer.shutdown(socket.SHUT_WR)
                return
        except OSError:
            with suppress(StreamLost):
                stream.reset()
        with suppress(OSError):
            peer.shutdown(socket.SHUT_RD)  # wakes the thread that reads
