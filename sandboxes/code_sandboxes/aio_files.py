"""`Files`, awaited."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, TypeVar

from .core import Core
from .file_calls import Data, FileCalls, Progress, as_bytes, checked, pieces, text
from .files import Entries, Files
from .infos import FileChange, FileInfo

T = TypeVar("T")
MOST_AT_ONCE = 16 << 20  # bytes that the loop's thread copies: some milliseconds


class AsyncFiles:
    """The files of a sandbox; see Files for what each method does."""

    def __init__(self, core: Core) -> None:
        self._files, self._calls = Files(core), FileCalls(core)

    async def read(self, path: str, *, encoding: str = "utf-8", errors: str = "strict") -> str:
        """See Files.read."""
        return (await self.read_bytes(path)).decode(encoding, errors)

    async def read_bytes(self, path: str) -> bytes:
        """See Files.read_bytes."""
        parts = await asyncio.wrap_future(self._calls.read(path))
        if sum(map(len, parts)) > MOST_AT_ONCE:
            return await asyncio.to_thread(b"".join, parts)
        return b"".join(parts)

    def read_stream(self, path: str) -> AsyncIterator[bytes]:
        """See Files.read_stream; an async iterator."""
        return each(lambda: self._files.read_stream(path))

    async def write(self, path: str, data: Data, *, encoding: str = "utf-8") -> None:
        """See Files.write."""
        whole = as_bytes(data, encoding)
        if whole is not None:
            await asyncio.wrap_future(self._calls.write(path, whole))
        else:
            parts = pieces(data)
            await _transfer(lambda tell: self._files.write(path, told_of(parts, tell)), None)

    async def list(self, path: str = ".", *, depth: int | None = 1) -> Entries:
        """See Files.list."""
        return await asyncio.wrap_future(self._calls.entries(path, depth))

    async def glob(self, pattern: str) -> Entries:
        """See Files.glob."""
        return await asyncio.wrap_future(self._calls.glob(pattern))

    async def exists(self, path: str) -> bool:
        """See Files.exists."""
        return bool(await asyncio.wrap_future(self._calls.verb("exists", path)))

    async def stat(self, path: str, *, follow_symlinks: bool = False) -> FileInfo:
        """See Files.stat."""
        return await asyncio.wrap_future(self._calls.stat(path, follow_symlinks))

    async def mkdir(self, path: str, *, exist_ok: bool = True) -> None:
        """See Files.mkdir."""
        await asyncio.wrap_future(self._calls.verb("mkdir", path, exist_ok=exist_ok))

    async def remove(self, path: str) -> None:
        """See Files.remove."""
        await asyncio.wrap_future(self._calls.verb("remove", path))

    async def move(self, source: str, destination: str, *, overwrite: bool = False) -> None:
        """See Files.move."""
        options = {"destination": checked(destination), "overwrite": overwrite}
        await asyncio.wrap_future(self._calls.verb("move", source, **options))

    async def realpath(self, path: str) -> str:
        """See Files.realpath."""
        return text(await asyncio.wrap_future(self._calls.verb("realpath", path)))

    async def resolve(self, path: str) -> str:
        """See Files.resolve."""
        return text(await asyncio.wrap_future(self._calls.verb("resolve", path)))

    async def upload(
        self, local: str | os.PathLike[str], path: str, *, on_progress: Progress | None = None
    ) -> None:
        """See Files.upload; `on_progress` is called on another thread."""
        await _transfer(lambda tell: self._files.upload(local, path, on_progress=tell), on_progress)

    async def download(
        self, path: str, local: str | os.PathLike[str], *, on_progress: Progress | None = None
    ) -> None:
        """See Files.download; `on_progress` is called on another thread."""
        await _transfer(
            lambda tell: self._files.download(path, local, on_progress=tell), on_progress
        )

    def watch(self, path: str = ".", *, interval: float = 0.1) -> AsyncIterator[FileChange]:
        """See Files.watch; an async iterator."""
        return each(lambda: self._files.watch(path, interval=interval))


async def _blocking(call: Callable[[], T]) -> T:
    from .aio import blocking

    return await blocking(call)


async def _transfer(call: Callable[[Progress], T], on_progress: Progress | None) -> T:
    """A transfer on a thread of ours, which ends with the next piece where it is cancelled.

    Args:
        call: is given what it must call with each piece.
    """
    from .aio import cancellable

    def transfer(cancelled: threading.Event) -> T:
        def tell(so_far: int, total: int | None) -> None:
            if cancelled.is_set():
                raise asyncio.CancelledError
            if on_progress is not None:
                on_progress(so_far, total)

        return call(tell)

    return await cancellable(transfer)


def told_of(parts: Iterator[bytes], tell: Progress) -> Iterator[bytes]:
    """The same, telling of each part."""
    so_far = 0
    for part in parts:
        tell(so_far, None)
        yield part
        so_far += len(part)


async def each(make: Callable[[], Iterator[T]]) -> AsyncIterator[T]:
    """A blocking iterator, each step of it on a thread of ours."""
    iterator = make()
    end: Any = object()
    try:
        while (item := await _blocking(lambda: next(iterator, end))) is not end:
            yield item
    finally:
        iterator.close()  # type: ignore[attr-defined]
