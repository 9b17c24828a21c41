"""The requests behind `Files` and `AsyncFiles`, and what may go in and out."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from typing import IO, Any, TypeVar

from .core import Core
from .errors import ConfigurationError, SandboxError
from .infos import FileInfo
from .inside.stream import Stream

Data = str | bytes | bytearray | memoryview | IO[bytes] | Iterable[bytes]
Pieces = tuple[memoryview | bytearray, ...]  # JSON gives no tuple: these are bytes that came
Progress = Callable[[int, int | None], Any]  # bytes so far, bytes in all where known
PIECE = 1 << 20
T = TypeVar("T")
S = TypeVar("S")


def then(future: Future[S], change: Callable[[S], T]) -> Future[T]:
    """A future with the changed value of another; to cancel it cancels that."""
    made: Future[T] = Future()

    def give_up(made: Future[T]) -> None:
        if made.cancelled():
            future.cancel()

    def pass_on(done: Future[S]) -> None:
        if not made.set_running_or_notify_cancel():
            return
        try:
            made.set_result(change(done.result()))
        except BaseException as error:  # noqa: BLE001 - it belongs to whoever waits
            made.set_exception(error)

    made.add_done_callback(give_up)
    future.add_done_callback(pass_on)
    return made


class FileCalls:
    """The requests behind `Files` and `AsyncFiles`: each gives a Future."""

    def __init__(self, core: Core) -> None:
        self._core = core

    def verb(self, verb: str, path: str, **options: Any) -> Future[Any]:
        """One small request."""
        return self._core.machine.call("file", verb=verb, path=checked(path), **options)

    def stat(self, path: str, follow_symlinks: bool) -> Future[FileInfo]:
        """What is known of a path."""
        return then(self.verb("stat", path, follow_symlinks=follow_symlinks), info)

    def entries(self, path: str, depth: int | None) -> Future[list[FileInfo]]:
        """A listing."""
        if depth is not None and (isinstance(depth, bool) or depth < 1):
            raise ConfigurationError(f"depth is 1 or more, or None for all; not {depth!r}")
        call = self._core.machine.call("entries", path=checked(path), depth=depth)
        return then(call, infos)

    def glob(self, pattern: str) -> Future[list[FileInfo]]:
        """What matches a pattern."""
        return then(self._core.machine.call("glob", path=checked(pattern)), infos)

    def read(self, path: str) -> Future[Pieces]:
        """A whole file, in pieces."""
        return then(self._core.machine.call("read", path=checked(path)), body)

    def write(self, path: str, data: bytes | bytearray | memoryview) -> Future[None]:
        """A whole file, from memory."""

        def send(stream: Stream) -> None:
            stream.post(0, data, end=True)  # type: ignore[arg-type]

        return self._core.machine.call("write", path=checked(path), on_open=send)


def checked(path: str) -> str:
    """`path`, if it can be one.

    Raises:
        ConfigurationError: it cannot.
    """
    if not isinstance(path, str):
        raise ConfigurationError(f"a path inside a sandbox is a string, not {type(path).__name__}")
    if not path or "\0" in path:
        raise ConfigurationError(f"{path!r} is no path")
    return path


def info(said: Any) -> FileInfo:
    """An entry, as the supervisor sends it."""
    try:
        return FileInfo(
            name=str(said["name"]),
            path=str(said["path"]),
            size=int(said["size"]),
            type=str(said["type"]),
            modified=float(said["modified"]),
            mode=int(said["mode"]),
        )
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise SandboxError("the supervisor sent an entry that makes no sense") from error


def infos(said: Any) -> list[FileInfo]:
    """Batches of entries."""
    lines = b"".join(body(said)).splitlines()
    try:
        return [info(entry) for line in lines for entry in json.loads(line)]
    except (ValueError, TypeError, RecursionError) as error:
        raise SandboxError("the supervisor sent a listing that makes no sense") from error


def text(said: Any) -> str:
    """A path, as the supervisor sends it."""
    if not isinstance(said, str):
        raise SandboxError("the supervisor sent a path that makes no sense")
    return said


def body(said: Any) -> Pieces:
    """The bytes before a reply; see Answer."""
    if said is not None and not isinstance(said, tuple):
        raise SandboxError("the supervisor sent bytes that make no sense")
    return said or ()


def as_bytes(data: Data, encoding: str) -> bytes | bytearray | memoryview | None:
    """`data`, if it is in memory already."""
    if isinstance(data, str):
        try:
            return data.encode(encoding)
        except UnicodeEncodeError as error:
            raise ConfigurationError(f"that text has no {encoding}: {error}") from error
    if isinstance(data, memoryview):  # of items of any size
        return data.cast("B") if data.c_contiguous else data.tobytes()
    return data if isinstance(data, bytes | bytearray) else None


def pieces(data: Any) -> Iterator[bytes]:
    """What a binary file or an iterable holds.

    Raises:
        ConfigurationError: it is neither.
    """
    if hasattr(data, "read"):
        read = data.read
        data = iter(lambda: read(PIECE), b"")
    if not hasattr(data, "__iter__"):
        raise ConfigurationError(
            f"data is text, bytes, a binary file or an iterable of bytes, not {type(data).__name__}"
        )
    for piece in data:
        if not isinstance(piece, bytes | bytearray | memoryview):
            raise ConfigurationError(f"a piece of a file is bytes, not {type(piece).__name__}")
        yield bytes(piece)
