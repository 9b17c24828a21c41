"""The files of a sandbox. They go past the interpreter: they work while code runs."""

from __future__ import annotations

import json
import os
import queue
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from . import bulk, transfer
from .core import Core
from .file_calls import Data, FileCalls, Progress, as_bytes, checked, pieces, text
from .infos import FileChange, FileInfo
from .inside.stream import Stream

Entries = list[FileInfo]  # `list` is a method below


class Files:
    """The files of a sandbox.

    Paths are strings inside the sandbox; a relative one starts where the code starts. In
    `local-eval` and `local-jupyter` everything is below the sandbox's home: ``/data/x`` is
    ``<home>/data/x``, and `resolve` gives the path that code must use.

    Errors are ours and the builtin at once: ``except FileNotFoundError`` works.
    """

    def __init__(self, core: Core) -> None:
        self._core = core
        self._calls = FileCalls(core)

    def read(self, path: str, *, encoding: str = "utf-8", errors: str = "strict") -> str:
        """The text of a file.

        Raises:
            FileNotFoundError, IsADirectoryError, PermissionError: as `open` would.
            UnicodeDecodeError: it is no text; `read_bytes` reads anything.
        """
        return self.read_bytes(path).decode(encoding, errors)

    def read_bytes(self, path: str) -> bytes:
        """The bytes of a file."""
        return b"".join(self._calls.read(path).result())

    def read_stream(self, path: str) -> Iterator[bytes]:
        """The bytes of a file, in pieces, without ever holding it whole."""
        return bulk.Pull(self._core.machine, "read", path=checked(path))

    def write(self, path: str, data: Data, *, encoding: str = "utf-8") -> None:
        """Write a file, whole or not at all; missing directories are made.

        Args:
            path: where.
            data: text, bytes, a binary file or an iterable of bytes (streamed, in flat memory).
            encoding: of text.
        """
        whole = as_bytes(data, encoding)
        if whole is not None:
            self._calls.write(path, whole).result()
            return
        bulk.pour(self._core.machine, "write", pieces(data), path=checked(path))

    def list(self, path: str = ".", *, depth: int | None = 1) -> Entries:
        """The entries of a directory, sorted by name.

        Args:
            path: the directory.
            depth: how many levels; None for all.
        """
        return self._calls.entries(path, depth).result()

    def glob(self, pattern: str) -> Entries:
        """What matches: ``*`` within a name, ``**`` across directories, ``?``, ``[...]``."""
        return self._calls.glob(pattern).result()

    def exists(self, path: str) -> bool:
        """Whether there is something; a link that leads nowhere is nothing."""
        return bool(self._calls.verb("exists", path).result())

    def stat(self, path: str, *, follow_symlinks: bool = False) -> FileInfo:
        """What is known of a path.

        Args:
            path: of what.
            follow_symlinks: of a link, tell of what it leads to, not of the link itself.
        """
        return self._calls.stat(path, follow_symlinks).result()

    def mkdir(self, path: str, *, exist_ok: bool = True) -> None:
        """Make a directory, and its parents."""
        self._calls.verb("mkdir", path, exist_ok=exist_ok).result()

    def remove(self, path: str) -> None:
        """Remove a file, a link, or a directory with all that is in it."""
        self._calls.verb("remove", path).result()

    def move(self, source: str, destination: str, *, overwrite: bool = False) -> None:
        """Rename; into the destination, if that is a directory.

        Raises:
            FileExistsError: there is something, and `overwrite` was not said.
        """
        self._calls.verb(
            "move", source, destination=checked(destination), overwrite=overwrite
        ).result()

    def resolve(self, path: str) -> str:
        """The path that code must use for what `path` is here; idempotent."""
        return text(self._calls.verb("resolve", path).result())

    def realpath(self, path: str) -> str:
        """Where a path leads, as `os.path.realpath`: links are followed, what is missing is kept.

        Raises:
            PermissionError: it leads out of the sandbox's home, where its files end.
        """
        return text(self._calls.verb("realpath", path).result())

    def upload(
        self, local: str | os.PathLike[str], path: str, *, on_progress: Progress | None = None
    ) -> None:
        """Copy a file of this machine, or a whole directory, into the sandbox.

        Args:
            local: where it is here.
            path: where it goes; of a directory, the name it gets.
            on_progress: called with the bytes so far, and in all.

        Raises:
            FileNotFoundError: there is no such local file.
        """
        transfer.upload(self, Path(local), path, on_progress)

    def download(
        self, path: str, local: str | os.PathLike[str], *, on_progress: Progress | None = None
    ) -> None:
        """Copy a file of the sandbox, or a whole directory, to this machine.

        Links inside are not followed and not copied. A local file is there whole or not at all.

        Args:
            path: where it is inside.
            local: where it goes; into it, if that is an existing directory.
            on_progress: called with the bytes so far, and in all.
        """
        transfer.download(self, path, Path(local), on_progress)

    def watch(self, path: str = ".", *, interval: float = 0.1) -> Iterator[FileChange]:
        """What changes below a directory, as it changes; leaving the loop ends it.

        Args:
            path: the directory.
            interval: seconds between two looks.
        """
        inbox: queue.SimpleQueue[bytes | Future[Any]] = queue.SimpleQueue()
        opened: list[Stream] = []

        def take(stream: Stream, data: bytes) -> None:
            inbox.put(data)
            stream.taken(len(data))

        call = self._core.machine.call(
            "watch", path=checked(path), interval=interval, on_data=take, on_open=opened.append
        )
        call.add_done_callback(inbox.put)
        changes = self._changes(inbox, opened[0])
        next(changes)  # it says that it watches: no later change is missed
        return changes

    @staticmethod
    def _changes(
        inbox: queue.SimpleQueue[bytes | Future[Any]], stream: Stream
    ) -> Iterator[FileChange]:
        rest = b""
        try:
            while not isinstance(item := inbox.get(), Future):
                *lines, rest = (rest + item).split(b"\n")
                for line in lines:
                    kind, name = json.loads(line)
                    yield FileChange(str(kind), str(name))
            item.result()
        finally:
            stream.reset()
