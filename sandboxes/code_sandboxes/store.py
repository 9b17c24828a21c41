"""The snapshots that are kept on this machine: one directory each, there whole or not at all."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import threading
import time
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO

from . import records
from .errors import ConfigurationError, SandboxError, SandboxGoneError, SnapshotNotFoundError
from .infos import Snapshot
from .inside.stream import StreamLost

ABOUT, ARCHIVE, UNFINISHED = "snapshot.json", "files.tar", ".part"


@dataclass(frozen=True)
class Kept:
    """A snapshot of this machine.

    Attributes:
        info: what a caller may know of it.
        python: the version of the Python inside.
        isolation: what kept its code in.
        hosts: those that its code could reach; None for any.
        runtime: the container runtime that was asked for.
        contexts: those whose variables it has.
        folder: where it is.
    """

    info: Snapshot
    python: str
    isolation: str
    hosts: list[str] | None
    runtime: str | None
    contexts: list[str]
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
        if path.suffix == UNFINISHED:
            _sweep(path)
        elif (kept := _load(path)) is not None:
            found.append(kept)
    return sorted(found, key=lambda kept: kept.info.created or 0.0)


def _load(folder: Path) -> Kept | None:
    try:
        about = json.loads((folder / ABOUT).read_text())
        info = about.pop("info")
        return Kept(Snapshot(**{**info, "skipped": tuple(info["skipped"])}), folder=folder, **about)
    except (OSError, ValueError, TypeError, KeyError, AttributeError):  # gone, or not one of ours
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


def discard(name: str) -> bool:
    """Remove what there is of that name, be it damaged; whether there was anything."""
    gone = _unfinished(_id(name))
    try:
        os.rename(_folder() / _id(name), gone)
    except FileNotFoundError:  # somebody else was faster
        return False
    shutil.rmtree(gone)
    return True


def _unfinished(id: str) -> Path:
    """A name for something that is not whole."""
    return _folder() / f"{id}-{uuid.uuid4().hex[:8]}{UNFINISHED}"


@contextmanager
def _held(folder: Path) -> Iterator[None]:
    """While its writer lives, in whatever namespace, nobody sweeps it."""
    lock = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def _sweep(folder: Path) -> None:
    """Remove what a writer that died has left."""
    try:
        lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):  # it is done with, or none of ours
        return
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(folder, ignore_errors=True)
    except BlockingIOError:
        pass
    finally:
        os.close(lock)


class Draft:
    """A snapshot that is being made.

    Attributes:
        skipped: what is not in it, a line each.
    """

    def __init__(self, folder: Path, id: str) -> None:
        self._folder, self._id = folder, id
        self.skipped: list[str] = []

    def fill(self, pieces: Iterable[bytes], most: int, cancelled: threading.Event) -> None:
        """Write the archive.

        Args:
            most: the bytes that it may have.
            cancelled: once it is set, no more is written.

        Raises:
            SandboxError: it has more.
        """
        size = 0
        with (self._folder / ARCHIVE).open("xb") as file:
            for piece in pieces:
                size += len(piece)
                if size > most:
                    raise SandboxError(f"the sandbox has over {most} bytes: too much to keep")
                if cancelled.is_set():
                    return
                file.write(piece)
            file.flush()
            os.fsync(file.fileno())

    def finish(self, about: dict[str, Any], **info: Any) -> Snapshot:
        """Make it one of those that there are.

        Raises:
            ConfigurationError: there is one of that name.
        """
        size = (self._folder / ARCHIVE).stat().st_size
        skipped = tuple(self.skipped)
        made = Snapshot(id=self._id, created=time.time(), size=size, skipped=skipped, **info)
        with (self._folder / ABOUT).open("x") as file:
            json.dump({"info": asdict(made), **about}, file)
            file.flush()
            os.fsync(file.fileno())
        try:
            os.rename(self._folder, self._folder.parent / self._id)
        except OSError:
            refuse_second(made.name)
            raise
        return made


def refuse_second(name: str) -> None:
    """Raise ConfigurationError where there is a snapshot of that name."""
    if not (folder := _folder() / _id(name)).exists():
        return
    damaged = "" if _load(folder) is not None else ", a damaged one"
    raise ConfigurationError(f"there is a snapshot {name!r} already{damaged}; delete it first")


@contextmanager
def draft(name: str) -> Iterator[Draft]:
    """Make a snapshot; nothing stays of one that was not finished.

    Raises:
        ConfigurationError: there is one of that name.
        SandboxGoneError: the sandbox has ended, or was detached, meanwhile.
        SandboxError: it cannot be written.
    """
    refuse_second(name)
    folder = _unfinished(_id(name))
    try:
        folder.mkdir(mode=0o700)
        with _held(folder):
            yield Draft(folder, _id(name))
    except BaseException as error:
        shutil.rmtree(folder, ignore_errors=True)
        if isinstance(error, StreamLost):
            raise SandboxGoneError("the sandbox has ended, or was detached, meanwhile") from error
        if isinstance(error, OSError) and not isinstance(error, SandboxError):
            raise SandboxError(f"snapshot {name!r} cannot be kept: {error}") from error
        raise
