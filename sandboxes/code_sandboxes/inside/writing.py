"""Bytes to a descriptor: all of them, at the least cost."""

from __future__ import annotations

import os
from contextlib import suppress

BLOCK = 1 << 18  # bytes
MOST_PARTS = 200  # that are written at once: a system takes no more than 1,024


def write_all(descriptor: int, *parts: bytes | memoryview | Held) -> None:
    """Write all of them, one after the other, without joining them first."""
    left = [memoryview(part) for part in parts if not isinstance(part, Held)]
    while left:
        done = os.writev(descriptor, left)
        while left and done >= len(left[0]):
            done -= len(left.pop(0))
        if done:
            left[0] = left[0][done:]
    if isinstance(parts[-1], Held):  # nothing ever comes after it
        parts[-1].pour(descriptor)


class Held:
    """Bytes of a file on their way through a pipe of ours: the system moves them, uncopied.

    Args:
        size: the bytes that it is to hold at once.
    """

    def __init__(self, size: int) -> None:
        from fcntl import F_SETPIPE_SZ, fcntl  # where there is splice, there is this

        self._out, self._in = os.pipe()
        self._size = 0
        with suppress(OSError):  # above the system's limit: it stays as it is
            fcntl(self._in, F_SETPIPE_SZ, size)

    def __len__(self) -> int:
        return self._size

    def fill(self, source: int, most: int) -> int:
        """Take bytes of a file; 0 where it has no more, or where the system cannot do it."""
        try:
            self._size = os.splice(source, self._in, most)
        except OSError:  # a read would say why
            self._size = 0
        return self._size

    def pour(self, descriptor: int) -> None:
        while self._size:
            self._size -= os.splice(self._out, descriptor, self._size)

    def close(self) -> None:
        os.close(self._out)
        os.close(self._in)


class BlockWriter:
    """Writes what comes in pieces of any size: one that begins inside a page costs twice as much.

    Args:
        descriptor: of a file, at its beginning.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._parts: list[memoryview] = []
        self._room = BLOCK  # bytes up to the end of the block

    def add(self, pieces: list[bytes | memoryview]) -> None:
        """Take pieces; write, as they complete blocks."""
        for piece in pieces:
            self._add(memoryview(piece))

    def _add(self, view: memoryview) -> None:
        if len(view) >= self._room:
            whole = len(view) - (len(view) - self._room) % BLOCK
            self._parts.append(view[:whole])
            self.flush()
            view, self._room = view[whole:], BLOCK
        if view:
            self._parts.append(view)
            self._room -= len(view)
        if len(self._parts) >= MOST_PARTS:
            self.flush()

    def flush(self) -> None:
        """Write what is left."""
        parts, self._parts = self._parts, []
        if parts:
            write_all(self._descriptor, *parts)
