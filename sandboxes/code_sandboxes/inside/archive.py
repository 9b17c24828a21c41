"""What is kept of a sandbox, as one tar stream: files, packages, variables."""

from __future__ import annotations

import os
import re
import shutil
import stat
import sys
import tarfile

TYPE_CHECKING = False  # not that of typing, which takes 10 ms to import
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import BinaryIO

    from .files import Files
    from .services import Services
    from .stream import Stream

PIECE = 1 << 17
READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
# what a sandbox has without anybody's doing, by place
OURS = {
    "home": {".code-sandboxes"},
    "packages": {"_host.pth", "_server.pth"},
    "scripts": {"python", "python3", "pip"},
}
# scripts that were installed name their interpreter; in the archive it has this name
INTERPRETER = b"@code-sandboxes-python@"
MOST_SCRIPT = 1 << 16  # bytes of a file that names it
MOST_LEFT_OUT = 100  # that are named


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
    packed.send(supervisor.options["places"])
    return packed.left_out


def unpack(supervisor: Services, stream: Stream, only: list[str], trusted: bool) -> list[str]:
    """See unarchive.py."""
    from .unarchive import unpack

    return unpack(supervisor, stream, only, trusted)


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
        with tarfile.open(  # type: ignore[call-overload]
            fileobj=self, mode="w|", bufsize=PIECE, copybufsize=PIECE
        ) as archive:
            for place, root in places.items():
                if os.path.isdir(root):
                    self._send(archive, place, self._files.below(root))

    def _send(self, archive: tarfile.TarFile, place: str, files: Files) -> None:
        for directory, path, status in files.walk("/", None):
            below = path[len(files.root) :].lstrip("/")
            if below.partition("/")[0] in OURS.get(place, ()):
                continue
            member = tarfile.TarInfo(f"{place}/{below}")
            member.mode, member.mtime = stat.S_IMODE(status.st_mode) & 0o777, status.st_mtime
            try:
                self._add(archive, member, directory, status)
            except OSError as error:
                self.leave_out(f"{member.name}: {error.strerror or error}")

    def _add(
        self,
        archive: tarfile.TarFile,
        member: tarfile.TarInfo,
        directory: int,
        status: os.stat_result,
    ) -> None:
        name = member.name.rpartition("/")[2]
        if stat.S_ISDIR(status.st_mode):
            os.close(os.open(name, READ | os.O_DIRECTORY, dir_fd=directory))
            member.type = tarfile.DIRTYPE
            archive.addfile(member)
        elif stat.S_ISLNK(status.st_mode):
            member.type = tarfile.SYMTYPE
            member.linkname = os.readlink(name, dir_fd=directory)
            archive.addfile(member)
        elif stat.S_ISREG(status.st_mode):
            with os.fdopen(os.open(name, READ, dir_fd=directory), "rb", 0) as file:
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
