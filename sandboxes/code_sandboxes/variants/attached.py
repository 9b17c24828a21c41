"""The byte stream to a process in a container, as the engine passes it on: in frames."""

from __future__ import annotations

import socket
import struct
from contextlib import suppress
from typing import Any

PIECE = 1 << 18
STDOUT = 1


class AttachPipe:
    """The stdin and stdout of a process in a container; see Pipe.

    Args:
        attached: what the SDK gives for an attached connection.

    Attributes:
        socket: the connection itself.
        errors: the end of what came on stderr.
        heard: whether anything came on stdout.
    """

    def __init__(self, attached: Any) -> None:
        self._attached = attached
        self.socket: socket.socket = getattr(attached, "_sock", attached)
        self._buffer = bytearray()
        self.errors, self.heard = b"", False

    def read(self) -> bytes:
        """See Pipe."""
        while True:
            if data := self._parsed():
                self.heard = True
                return data
            piece = self.socket.recv(PIECE)
            if not piece:
                return b""
            self._buffer += piece

    def _parsed(self) -> bytes:
        """The stdout of the whole frames that there are."""
        found, at, buffer = [], 0, self._buffer
        while len(buffer) - at >= 8:
            (size,) = struct.unpack_from(">I", buffer, at + 4)
            if len(buffer) - at - 8 < size:
                break
            data = bytes(buffer[at + 8 : at + 8 + size])
            if buffer[at] == STDOUT:
                found.append(data)
            else:
                self.errors = (self.errors + data)[-4000:]
            at += 8 + size
        del buffer[:at]
        return b"".join(found)

    def write(self, *parts: bytes | memoryview) -> None:
        """See Pipe."""
        self.socket.sendall(b"".join(parts))  # it may be TLS

    def close(self) -> None:
        """See Pipe."""
        with suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)  # a mere close keeps it open for a `recv`

    def free(self) -> None:
        """See Pipe."""
        response = getattr(self._attached, "_response", None)
        if response is not None:  # it holds the connection: whole, or it complains when collected
            response.close()
        self._attached.close()
        self.socket.close()
