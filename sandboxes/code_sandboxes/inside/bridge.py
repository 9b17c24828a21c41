"""Splices its stdin and stdout to the socket of a supervisor that waits for its next owner.

Run by the engine as `python -c`, in the container, with the socket's path. What it reads is
the lease: when that ends, the connection to the supervisor ends, and so does the sandbox.
"""

from __future__ import annotations

import ctypes
import os
import socket
import sys
import threading
from contextlib import suppress

PR_SET_DUMPABLE = 4
PIECE = 1 << 18


def inward(peer: socket.socket) -> None:
    """What the owner says, until the owner is gone."""
    with suppress(OSError):
        while data := os.read(0, PIECE):
            peer.sendall(data)
    with suppress(OSError):
        peer.shutdown(socket.SHUT_RDWR)


def main(path: str) -> None:
    """Splice until either side ends."""
    # code in here has the same user: it must not take our descriptors
    ctypes.CDLL(None).prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)
    peer = socket.socket(socket.AF_UNIX)
    peer.connect(path)
    threading.Thread(target=inward, args=(peer,), daemon=True).start()
    with suppress(OSError):
        while data := peer.recv(PIECE):
            view = memoryview(data)
            while view:
                view = view[os.write(1, view) :]


if __name__ == "__main__":
    main(sys.argv[1])
