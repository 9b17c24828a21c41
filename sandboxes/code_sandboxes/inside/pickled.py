"""The variables of an interpreter, in a file and back. Only ever done inside a sandbox.

The user's functions and classes go along by value, by cloudpickle where the interpreter has it.
Variables that share something mutable, or a class of the user's, are pickled together; all others
alone, so that what cannot be loaded later takes nothing along.
"""

from __future__ import annotations

import os
import pickle
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from struct import Struct
from types import FunctionType

from . import helper
from .groups import Failure, dump, grouped, reason
from .reducers import Keeper

TYPE_CHECKING = False  # not that of typing, which takes 10 ms to import
if TYPE_CHECKING:
    from typing import Any, BinaryIO

# former results and inputs, and what every module has
NOT_KEPT = re.compile(
    r"_+|_i+|_i?\d+|__(name|doc|package|loader|spec|builtins?|annotations|cached|file)__"
)
DEEP = 10_000  # what may hold what may hold what: more could end the process
SIZE = Struct(">Q")


def keep(path: str, home: str) -> list[list[str]]:
    """Write the variables to a file; those that cannot be kept, and why.

    Raises:
        OSError: the file cannot be written.
    """
    names = dict(helper.world.names)  # at once: a thread may add to it
    for name in list(names):
        if name in helper.world.hidden or NOT_KEPT.fullmatch(name):
            del names[name]
    about = {
        "count": getattr(helper.world, "count", 0),
        "cwd": below(os.getcwd(), home),
        "path": [below(entry, home) for entry in sys.path if entry and isinstance(entry, str)],
    }
    with open(path, "wb", opener=private) as file:
        section(file, pickle.dumps(about))
        with deep():
            groups, left_out = grouped(names)
            for group in groups:
                left_out += write(file, {name: names[name] for name in group})
    return left_out


@contextmanager
def deep() -> Iterator[None]:
    """Let values hold others so deep as the interpreter survives."""
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(DEEP)
    try:
        yield
    finally:
        sys.setrecursionlimit(limit)


def private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def below(path: str, home: str) -> str | None:
    """A path as seen from the home; None for one outside."""
    relative = os.path.relpath(path, home)
    return None if relative.startswith("..") else relative


def section(file: BinaryIO, data: bytes) -> None:
    file.write(SIZE.pack(len(data)))
    file.write(data)


def write(file: BinaryIO, group: dict[str, Any]) -> list[list[str]]:
    """Append a group: its names, then each variable; functions and classes first."""
    order = sorted(group, key=lambda name: not isinstance(group[name], type | FunctionType))
    begin = file.tell()
    section(file, "\0".join(order).encode("utf-8", "surrogatepass"))
    size = file.tell()
    file.write(SIZE.pack(0))  # known in the end
    start = file.tell()
    writer = Writer(file)
    pickler = Keeper(writer, 5)
    try:
        for name in order:
            dump(pickler, group[name])
    except Failure as failure:  # one by one they could be
        if writer.error is not None:
            raise writer.error from None
        file.seek(begin)
        file.truncate()
        return [[name, str(failure)] for name in order]
    end = file.tell()
    file.seek(size)
    file.write(SIZE.pack(end - start))
    file.seek(end)
    return []


class Writer:
    """A file that remembers what went wrong with it: a pickler's error may be of its own."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.error: OSError | None = None

    def write(self, data: Any) -> int:
        try:
            return self._file.write(data)
        except OSError as error:
            self.error = error
            raise


def restore(path: str, home: str) -> list[list[str]]:
    """Take the variables of a file, and remove it; those that cannot be loaded, and why."""
    try:
        with open(path, "rb") as file:
            return take(file, home)
    finally:
        os.unlink(path)


def take(file: BinaryIO, home: str) -> list[list[str]]:
    about = pickle.loads(read(file))
    if about["cwd"] and os.path.isdir(os.path.join(home, about["cwd"])):
        os.chdir(os.path.join(home, about["cwd"]))
    there = {os.path.abspath(entry) for entry in sys.path if isinstance(entry, str)}
    own = [os.path.join(home, entry) for entry in about["path"] if entry]
    sys.path += [entry for entry in own if os.path.abspath(entry) not in there]
    if hasattr(helper.world, "count"):  # or lines of new cells would stand for those of old ones
        helper.world.count = max(helper.world.count, about["count"])
    groups = list(sections(file))
    with deep():
        while True:  # one may need another one's class or module while it is loaded
            failed = [(group, why) for group in groups if (why := load(file, *group))]
            if not failed or len(failed) == len(groups):
                return [[", ".join(group[0]), why] for group, why in failed]
            groups = [group for group, _ in failed]


def read(file: BinaryIO) -> bytes:
    (size,) = SIZE.unpack(file.read(SIZE.size))
    return file.read(size)


def sections(file: BinaryIO) -> Iterator[tuple[list[str], int]]:
    """The names of each group, and where its pickles are."""
    while head := file.read(SIZE.size):
        names = file.read(SIZE.unpack(head)[0]).decode("utf-8", "surrogatepass").split("\0")
        (size,) = SIZE.unpack(file.read(SIZE.size))
        yield names, file.tell()
        file.seek(size, os.SEEK_CUR)


def load(file: BinaryIO, names: list[str], at: int) -> str:
    """Load a group; why it cannot be done, or ``""``."""
    file.seek(at)
    unpickler = pickle.Unpickler(file)
    try:
        for name in names:
            helper.world.names[name] = unpickler.load()
            helper.world.hidden.discard(name)
    except Exception as error:  # noqa: BLE001 - the user's own __setstate__ may do anything
        return reason(error)
    return ""
