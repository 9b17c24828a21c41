"""The snapshots that are kept on this machine: one directory each, there whole or not at all."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
import uuid
from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO

from . import records
from .errors import ConfigurationError, SandboxError, SnapshotNotFoundError
from .infos import Snapshot

ABOUT, ARCHIVE = "snapshot.json", "files.tar"
MOST_BYTES = 64 << 30  # of a snapshot: what a sandbox sends may have no end
MOST_SAID, MOST_LINE = 100, 300  # lines of what was left out, and characters of one


@dataclass(frozen=True)
class Kept:
    """A snapshot of this machine.

    Attributes:
        info: what a caller may know of it.
        python: the version of the Python inside.
        isolation: what kept its code in.
        contexts: those whose variables it has.
        folder: where it is.
    """

    info: Snapshot
    python: str
    isolation: str
    contexts: tuple[str, ...]
    folder: Path

    def open(self) -> BinaryIO:
        """Its archive.

        Raises:
            SnapshotNotFoundError: it was deleted meanwhile.
        """
        try:
            return (self.folder / ARCHIVE).open("rb")
        except FileNotFoundError as error:
            raise SnapshotNotFoundError(
                f"snapshot {self.info.name!r} was deleted meanwhile"
            ) from error


def _folder() -> Path:
    path = records.home() / "snapshots"
    path.mkdir(mode=0o700, exist_ok=True)
    return path


def _id(name: str) -> str:
    """A snapshot's id follows from its name, so that two of one name cannot be."""
    return f"snap-{hashlib.sha256(name.encode()).hexdigest()[:16]}"


def listed() -> list[Kept]:
    """All of them, the oldest first; what writers that died have left is removed on the way."""
    found = []
    for path in _folder().iterdir():
        if path.suffix == ".part":
            if records.abandoned(path):
                shutil.rmtree(path, ignore_errors=True)
        elif (kept := _load(path)) is not None:
            found.append(kept)
    return sorted(found, key=lambda kept: kept.info.created or 0.0)


def _load(folder: Path) -> Kept | None:
    try:
        about = json.loads((folder / ABOUT).read_text())
        info = Snapshot(**{**about["info"], "skipped": tuple(about["info"]["skipped"])})
        return Kept(info, about["python"], about["isolation"], tuple(about["contexts"]), folder)
    except (OSError, ValueError, TypeError, KeyError):  # gone, or not one of ours
        return None


def find(name: str) -> Kept:
    """The snapshot of that name, or id.

    Raises:
        SnapshotNotFoundError: there is none; the message says which there are.
    """
    known = listed()
    for kept in known:
        if name in (kept.info.name, kept.info.id):
            return kept
    there = ", ".join(repr(kept.info.name) for kept in known[-20:]) or "none"
    raise SnapshotNotFoundError(f"no snapshot {name!r} on this machine; there are: {there}")


def delete(kept: Kept) -> None:
    """Remove it, whole."""
    gone = _part(kept.info.id)
    with suppress(FileNotFoundError):  # somebody else was faster
        os.rename(kept.folder, gone)
        shutil.rmtree(gone)


def _part(id: str) -> Path:
    """The name of something that is not whole, with that of its writer."""
    return _folder() / f"{id}-{uuid.uuid4().hex[:8]}.{os.getpid()}.part"


class Value:
    """Iterates over a generator, and has its value in the end."""

    def __init__(self, generator: Generator[bytes, None, Any]) -> None:
        self._generator, self.value = generator, None

    def __iter__(self) -> Iterator[bytes]:
        self.value = yield from self._generator


class Draft:
    """A snapshot that is being made.

    Attributes:
        skipped: what is not in it, a line each; hostile.
    """

    def __init__(self, folder: Path, id: str) -> None:
        self._folder, self._id = folder, id
        self.skipped: list[str] = []

    def fill(self, pieces: Generator[bytes, None, Any]) -> Any:
        """Write the archive; the generator's value.

        Raises:
            SandboxError: it has no end.
        """
        left, value = MOST_BYTES, Value(pieces)
        with (self._folder / ARCHIVE).open("xb") as file:
            for piece in value:
                left -= len(piece)
                if left < 0:
                    raise SandboxError(f"the sandbox has over {MOST_BYTES} bytes: too much to keep")
                file.write(piece)
            file.flush()
            os.fsync(file.fileno())
        return value.value

    def finish(self, about: dict[str, Any], **info: Any) -> Snapshot:
        """Make it one of those that there are.

        Raises:
            ConfigurationError: there is one of that name.
        """
        lines = [str(line)[:MOST_LINE] for line in self.skipped]
        if len(lines) > MOST_SAID:
            lines[MOST_SAID:] = [f"and {len(lines) - MOST_SAID} more"]
        size = (self._folder / ARCHIVE).stat().st_size
        made = Snapshot(id=self._id, created=time.time(), size=size, skipped=tuple(lines), **info)
        with (self._folder / ABOUT).open("x") as file:
            json.dump({"info": asdict(made), **about}, file)
            file.flush()
            os.fsync(file.fileno())
        try:
            os.rename(self._folder, self._folder.parent / self._id)
        except OSError as error:
            refuse_second(made.name)
            raise SandboxError(f"snapshot {made.name!r} cannot be kept: {error}") from error
        return made


def refuse_second(name: str) -> None:
    """Raise ConfigurationError where there is a snapshot of that name."""
    if (_folder() / _id(name)).exists():
        raise ConfigurationError(f"there is a snapshot {name!r} already; delete it first")


@contextmanager
def draft(name: str) -> Iterator[Draft]:
    """Make a snapshot; nothing stays of one that was not finished.

    Raises:
        ConfigurationError: there is one of that name.
    """
    refuse_second(name)
    folder = _part(_id(name))
    folder.mkdir(mode=0o700)
    try:
        yield Draft(folder, _id(name))
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
