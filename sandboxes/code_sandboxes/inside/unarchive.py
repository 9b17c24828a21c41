"""An archive of `archive.py`, put back into a sandbox in which nothing runs yet.

It is taken for hostile. Each path is walked from its place by directory descriptors that follow
no link, and links come last; nothing takes the place of anything.
"""

from __future__ import annotations

import errno
import os
import sys
import tarfile
from contextlib import contextmanager, suppress

from .archive import INTERPRETER, MOST_LEFT_OUT, MOST_SCRIPT, PIECE
from .stream import DATA, END, StreamLost
from .writing import write_all

TYPE_CHECKING = False  # not that of typing, which takes 10 ms to import
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from .services import Services
    from .stream import Stream

DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
NO_SPACE = (errno.ENOSPC, errno.EDQUOT)
CODE = (".py", ".pyc", ".so", ".pth")


def unpack(supervisor: Services, stream: Stream, only: list[str], trusted: bool) -> list[str]:
    """Write the files of an archive to their places.

    Args:
        only: the places that count; one that this sandbox does not have is below its home.
        trusted: whether programs may load from it what they load without being asked: what hides
            at the top of the home, modules where code starts, and what links lead to.

    Returns:
        What could not be written, and why.
    """
    home, known = supervisor.options["home"], supervisor.options["places"]
    places = {name: (known[name], ()) if name in known else (home, (name,)) for name in only}
    unpacked = Unpacked(places, None if trusted else (home, supervisor.options["cwd"]))
    try:
        unpacked.take(Arriving(stream))
    except tarfile.TarError as error:
        raise ValueError(f"it is no archive of ours: {error}") from error
    finally:
        unpacked.close()
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


class Tree:
    """A directory, and what is made below it; follows no link."""

    def __init__(self, root: str) -> None:
        os.makedirs(root, mode=0o700, exist_ok=True)
        # the directory that was asked for last, and those above it
        self._open = [("", os.open(root, DIRECTORY))]

    def directory(self, parts: Sequence[str]) -> int:
        """The descriptor of a directory, which is made if it is not there."""
        same = 0
        while same < min(len(parts), len(self._open) - 1):
            if self._open[same + 1][0] != parts[same]:
                break
            same += 1
        self._close(same + 1)
        for part in parts[same:]:
            above = self._open[-1][1]
            with suppress(FileExistsError):
                os.mkdir(part, 0o700, dir_fd=above)
            self._open.append((part, os.open(part, DIRECTORY, dir_fd=above)))
        return self._open[-1][1]

    def _close(self, keep: int) -> None:
        while len(self._open) > keep:
            os.close(self._open.pop()[1])

    def close(self) -> None:
        self._close(0)


class Unpacked:
    """Writes an archive's files.

    Args:
        places: the directory that each place is in, and its path there.
        start: where code may start, if the archive is not trusted.
    """

    def __init__(
        self, places: Mapping[str, tuple[str, Sequence[str]]], start: tuple[str, ...] | None
    ) -> None:
        self._places, self._start = places, start
        self._trees: dict[str, Tree] = {}
        self.left_out: list[str] = []

    def close(self) -> None:
        for tree in self._trees.values():
            tree.close()

    def take(self, arriving: Arriving) -> None:
        links: list[tarfile.TarInfo] = []
        folders: list[tarfile.TarInfo] = []
        with tarfile.open(fileobj=arriving, mode="r|", bufsize=PIECE) as archive:  # type: ignore[call-overload]
            while (member := archive.next()) is not None:
                archive.members.clear()  # it keeps all that it has seen
                if member.issym():
                    links.append(member)
                    continue
                if member.isdir():
                    folders.append(member)
                with self._naming(member):
                    self._put(archive, member)
        arriving.drain()
        for member in links:  # last: nothing can be written through them
            with self._naming(member):
                self._link(member)
        for member in reversed(folders):  # they may be read-only
            with self._naming(member):
                if (where := self._where(member)) is not None:
                    os.fchmod(where[0].directory(where[1]), member.mode & 0o777)

    @contextmanager
    def _naming(self, member: tarfile.TarInfo) -> Iterator[None]:
        try:
            yield
        except (OSError, ValueError) as error:
            if getattr(error, "errno", 0) in NO_SPACE:
                raise
            line = f"{member.name}: {getattr(error, 'strerror', '') or error}"
            if len(self.left_out) < MOST_LEFT_OUT and line not in self.left_out:
                self.left_out.append(line)

    def _where(self, member: tarfile.TarInfo) -> tuple[Tree, list[str]] | None:
        """The tree that an entry goes to, and its path there; None for what is passed over."""
        place, *parts = (part for part in member.name.split("/") if part not in ("", "."))
        if place not in self._places or not parts:
            return None
        if ".." in parts:
            raise ValueError("the path leads out of the sandbox")
        root, above = self._places[place]
        if self._start is not None:
            if place == "home" and parts[0].startswith("."):
                return None
            path = os.path.join(root, *above, *parts)
            if any(loaded_unasked(path, start) for start in self._start):
                raise ValueError("Python would load it where code starts")
        if root not in self._trees:
            self._trees[root] = Tree(root)
        return self._trees[root], [*above, *parts]

    def _put(self, archive: tarfile.TarFile, member: tarfile.TarInfo) -> None:
        """Make a directory, or write a file."""
        where = self._where(member)
        if where is None:
            return
        tree, (*above, name) = where
        if member.isdir():
            tree.directory([*above, name])
            return
        source = archive.extractfile(member) if member.isreg() else None
        if source is None or member.issparse():  # what has holes could be of any size
            raise ValueError("no file, link or directory")
        with os.fdopen(os.open(name, NEW, 0o600, dir_fd=tree.directory(above)), "wb", 0) as file:
            while data := source.read(PIECE):
                if member.name.startswith("scripts/") and member.size <= MOST_SCRIPT:
                    data = data.replace(INTERPRETER, os.fsencode(sys.executable))
                write_all(file.fileno(), data)
            os.fchmod(file.fileno(), member.mode & 0o777)
            os.utime(file.fileno(), (member.mtime, member.mtime))

    def _link(self, member: tarfile.TarInfo) -> None:
        if (where := self._where(member)) is None:
            return
        tree, (*above, name) = where
        if self._start is not None and leads_out(member.linkname, len(above)):
            raise ValueError("the link leads out of what was restored")
        os.symlink(member.linkname, name, dir_fd=tree.directory(above))


def loaded_unasked(path: str, start: str) -> bool:
    """Whether an import may find it where code starts, in place of another module."""
    names = os.path.relpath(path, start).split("/")
    if len(names) == 2 and names[0] != "..":
        return names[1].startswith("__init__.")
    return len(names) == 1 and names[0].endswith(CODE)


def leads_out(target: str, depth: int) -> bool:
    """Whether a link, so deep in a tree, may lead out of it, by way of other links perhaps."""
    parts = [part for part in target.split("/") if part not in ("", ".")]
    while parts and parts[0] == ".." and depth:
        del parts[0]
        depth -= 1
    return target.startswith("/") or ".." in parts
