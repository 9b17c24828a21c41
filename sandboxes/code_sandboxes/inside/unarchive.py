"""An archive of `archive.py`, put back into a sandbox.

It is taken for hostile: each path is walked by `Files`, below its place.
"""

from __future__ import annotations

import errno
import os
import sys
import tarfile

from .archive import INTERPRETER, MOST_LEFT_OUT, MOST_SCRIPT, PIECE
from .files import Files
from .stream import DATA, END, StreamLost, write_all

TYPE_CHECKING = False  # not that of typing, which takes 10 ms to import
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from .services import Services
    from .stream import Stream

NO_SPACE = (errno.ENOSPC, errno.EDQUOT)


def unpack(supervisor: Services, stream: Stream, only: list[str], shown: bool) -> list[str]:
    """Write the files of an archive to their places, which may have others already.

    Args:
        only: the places that count; one that this sandbox does not have is below its home.
        shown: whether to leave out what hides at the top of the home: programs read some of it
            when they start.

    Returns:
        What could not be written, and why.
    """
    home, known = supervisor.options["home"], supervisor.options["places"]
    places = {name: known.get(name, f"{home}/{name}") for name in only}
    unpacked = Unpacked(supervisor.files, places)
    try:
        unpacked.take(Arriving(stream), shown)
    except tarfile.TarError as error:
        raise ValueError(f"it is no archive of ours: {error}") from error
    return unpacked.left_out


class Arriving:
    """An archive as it comes, as a file."""

    def __init__(self, stream: Stream) -> None:
        self._stream, self._rest = stream, b""
        self._ended = False

    def read(self, most: int) -> bytes:
        if not self._rest and not self._ended:
            kind, _, payload = self._stream.receive()
            if kind == DATA:
                self._rest = bytes(payload)
            elif kind == END:
                self._ended = True
            else:
                raise StreamLost("the owner gave up")
        data, self._rest = self._rest[:most], self._rest[most:]
        return data

    def drain(self) -> None:
        """What follows the archive's end."""
        while self.read(PIECE):
            pass


class Unpacked:
    """Writes an archive's files.

    Args:
        files: those of the sandbox.
        places: where what is of each place goes.
    """

    def __init__(self, files: Files, places: Mapping[str, str]) -> None:
        self._files, self._places = files, places
        self._roots: dict[str, Files] = {}
        self.left_out: list[str] = []

    def _root(self, place: str) -> Files:
        """The files of a place, which is made with the first one."""
        if place not in self._roots:
            os.makedirs(self._places[place], mode=0o700, exist_ok=True)
            self._roots[place] = self._files.below(self._places[place])
        return self._roots[place]

    def take(self, arriving: Arriving, shown: bool) -> None:
        modes: list[tuple[Files, str, int]] = []
        with tarfile.open(fileobj=arriving, mode="r|", bufsize=PIECE) as archive:  # type: ignore[call-overload]
            for member in wanted(archive, self._places, shown):
                place, _, below = member.name.partition("/")
                try:
                    put(archive, member, self._root(place), below)
                except (OSError, ValueError) as error:
                    if getattr(error, "errno", 0) in NO_SPACE:
                        raise
                    why = getattr(error, "strerror", "") or error
                    if len(self.left_out) < MOST_LEFT_OUT:
                        self.left_out.append(f"{member.name}: {why}")
                else:
                    if member.isdir():
                        modes.append((self._roots[place], below, member.mode & 0o777))
        arriving.drain()
        for files, below, mode in reversed(modes):  # last: a directory may be read-only
            with files.parent(below) as (parent, name):
                os.chmod(name, mode, dir_fd=parent)


def wanted(
    archive: tarfile.TarFile, places: Mapping[str, str], shown: bool
) -> Iterator[tarfile.TarInfo]:
    for member in archive:
        place, _, below = member.name.partition("/")
        if place in places and below and not (shown and place == "home" and below[0] == "."):
            yield member


def put(archive: tarfile.TarFile, member: tarfile.TarInfo, files: Files, below: str) -> None:
    """Write one entry."""
    if member.isdir():
        files.mkdir(below)
    elif member.issym():
        with files.parent(below, make=True, follow=False) as (parent, name):
            os.symlink(member.linkname, name, dir_fd=parent)
    elif member.isreg() and (source := archive.extractfile(member)) is not None:
        with files.replace(below) as file:
            while data := source.read(PIECE):
                if member.name.startswith("scripts/") and member.size <= MOST_SCRIPT:
                    data = data.replace(INTERPRETER, os.fsencode(sys.executable))
                write_all(file.fileno(), data)
            os.fchmod(file.fileno(), member.mode & 0o777)
            os.utime(file.fileno(), (member.mtime, member.mtime))
    else:
        raise ValueError("no file, link or directory")
