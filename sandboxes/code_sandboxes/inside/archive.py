"""What is kept of a sandbox, as one tar stream: files, packages, variables."""

from __future__ import annotations

import os
import re
import shutil
import sys
import tarfile

from .files import Files

TYPE_CHECKING = False  # not that of typing, which takes 10 ms to import
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import BinaryIO

    from .services import Services
    from .stream import Stream

PIECE = 1 << 17
# what a sandbox has without anybody's doing, by place
OURS = {
    "packages": {"_host.pth", "_server.pth"},
    "scripts": {"python", "python3", "pip"},
}
# scripts that were installed name their interpreter; in the archive it has this name
INTERPRETER = b"@code-sandboxes-python@"
MOST_SCRIPT = 1 << 16  # bytes of a file that names it
MOST_LEFT_OUT = 100  # that are named


class Packed:
    """Sends an archive of some places.

    Args:
        files: those of the sandbox.
        stream: where to.
    """

    def __init__(self, files: Files, stream: Stream) -> None:
        self._files, self._stream = files, stream
        self.left_out: list[str] = []
        named = re.escape(os.fsencode(os.path.dirname(sys.executable)))
        self._interpreter = re.compile(named + rb"/python[0-9.]*")

    def write(self, data: bytes) -> int:
        self._stream.send(0, data)
        return len(data)

    def send(self, places: Mapping[str, str]) -> None:
        with tarfile.open(fileobj=self, mode="w|", bufsize=PIECE, copybufsize=PIECE) as archive:  # type: ignore[call-overload]
            for place, root in places.items():
                if os.path.isdir(root):
                    self._send(archive, place, self._files.below(root))

    def _send(self, archive: tarfile.TarFile, place: str, files: Files) -> None:
        for entry in files.entries("/", None):
            below = entry["path"][len(files.root) :].lstrip("/")
            if below in OURS.get(place, ()):
                continue
            member = tarfile.TarInfo(f"{place}/{below}")
            member.mode, member.mtime = entry["mode"] & 0o777, entry["modified"]
            try:
                self._add(archive, member, entry["type"], files, below)
            except OSError as error:
                self.leave_out(f"{member.name}: {error.strerror or error}")

    def _add(
        self, archive: tarfile.TarFile, member: tarfile.TarInfo, kind: str, files: Files, below: str
    ) -> None:
        if kind == "directory":
            member.type = tarfile.DIRTYPE
            archive.addfile(member)
            if not os.access(f"{files.root}/{below}", os.R_OK | os.X_OK):
                self.leave_out(f"{member.name}: what is in it cannot be read")
        elif kind == "symlink":
            member.type = tarfile.SYMTYPE
            with files.parent(below, follow=False) as (parent, name):
                member.linkname = os.readlink(name, dir_fd=parent)
            archive.addfile(member)
        elif kind == "file":
            with files.open(below) as file:
                self._add_file(archive, member, file)
        else:
            self.leave_out(f"{member.name}: no file, but a socket, a pipe or a device")

    def _add_file(self, archive: tarfile.TarFile, member: tarfile.TarInfo, file: BinaryIO) -> None:
        member.size = os.fstat(file.fileno()).st_size
        reader = Exactly(file, member.size)
        if member.name.startswith("scripts/") and member.size <= MOST_SCRIPT:
            reader.replace(self._interpreter, INTERPRETER)
            member.size = reader.left
        archive.addfile(member, reader)  # type: ignore[arg-type]
        if reader.short:
            self.leave_out(f"{member.name}: it became shorter while it was read")

    def leave_out(self, line: str) -> None:
        """Note what is not in the archive."""
        if len(self.left_out) < MOST_LEFT_OUT:
            self.left_out.append(line)
        elif len(self.left_out) == MOST_LEFT_OUT:
            self.left_out.append("and more")


class Exactly:
    """Reads a file that somebody else may change: so many bytes, whatever happens to it."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file, self.left, self.short = file, size, False
        self._data: bytes | None = None

    def replace(self, pattern: re.Pattern[bytes], by: bytes) -> None:
        """Have the file read with something replaced."""
        self._data = pattern.sub(by, self.read(self.left))
        self.left = len(self._data)

    def read(self, most: int) -> bytes:
        most = min(most, self.left)
        if self._data is not None:
            data, self._data = self._data[:most], self._data[most:]
        else:
            data = self._file.read(most) or b""
            if most and not data:
                data, self.short = bytes(most), True
        self.left -= len(data)
        return data


def variables(supervisor: Services, stream: Stream, clear: bool) -> str:
    """Where the variables of interpreters are, before `pack` and after `unpack`."""
    folder: str = supervisor.options["places"]["variables"]
    if clear:
        shutil.rmtree(folder, ignore_errors=True)
        os.makedirs(folder, mode=0o700)
    return folder


def pack(supervisor: Services, stream: Stream) -> list[str]:
    """Send all that is to be kept; what could not be, a line each."""
    packed = Packed(supervisor.files, stream)
    try:
        packed.send(supervisor.options["places"])
    finally:
        variables(supervisor, stream, clear=True)
    return packed.left_out


def unpack(supervisor: Services, stream: Stream, only: list[str], shown: bool) -> list[str]:
    """See unarchive.py."""
    from .unarchive import unpack

    return unpack(supervisor, stream, only, shown)
