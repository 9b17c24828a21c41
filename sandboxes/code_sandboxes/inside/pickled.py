"""The variables of an interpreter, in a file and back. Only ever done inside a sandbox.

The user's functions and classes go along by value, by cloudpickle where the interpreter has it;
functions keep the namespace as their globals.
"""

from __future__ import annotations

import os
import pickle
import re
import sys
from types import CellType, CodeType, FunctionType

from . import helper

TYPE_CHECKING = False  # not that of typing, which takes 10 ms to import
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

OF_THE_SHELL = re.compile(r"__\w*__|_+|_i+|_i?\d+")  # former results and inputs, and Python's own
MOST_SAID = 200  # characters of a reason
OF_A_FUNCTION = (
    *("__dict__", "__defaults__", "__kwdefaults__", "__qualname__", "__doc__", "__module__"),
    *("__annotate__" if sys.version_info >= (3, 14) else "__annotations__", "__type_params__"),
)

try:
    from cloudpickle import Pickler  # type: ignore[import-untyped]
except ImportError:  # then what the code has defined is left out, and named
    from pickle import Pickler


def fill_cell(cell: CellType, state: tuple[Any]) -> None:
    cell.cell_contents = state[0]


def make_function(code: CodeType, name: str, closure: tuple[CellType, ...]) -> FunctionType:
    return FunctionType(code, helper.world.names, name, None, closure)


def fill_function(function: FunctionType, state: dict[str, Any]) -> None:
    function.__dict__.update(state.pop("__dict__"))
    for name, value in state.items():
        setattr(function, name, value)


class Keeper(Pickler):  # type: ignore[misc]
    """Pickles functions of the user's so that they come back to the namespace."""

    def reducer_override(self, item: Any) -> Any:
        # both are made first and filled later: they may hold themselves, and share cells
        if type(item) is FunctionType and item.__globals__ is helper.world.names:
            state = {name: getattr(item, name) for name in OF_A_FUNCTION if hasattr(item, name)}
            made = (item.__code__, item.__name__, item.__closure__)
            return make_function, made, state, None, None, fill_function
        if type(item) is CellType:
            try:
                return CellType, (), (item.cell_contents,), None, None, fill_cell
            except ValueError:  # nothing is in it
                return CellType, ()
        return getattr(super(), "reducer_override", lambda _: NotImplemented)(item)


class Nowhere:
    """A file that keeps nothing."""

    def write(self, data: Any) -> int:
        return len(data)


def attempt(file: Any, found: Any) -> str:
    """Pickle; why it cannot be done, or ``""``."""
    try:
        Keeper(file, 5).dump(found)
    except Exception as error:  # noqa: BLE001 - the user's own __reduce__ may do anything
        try:
            said = f"{type(error).__name__}: {error}"
        except Exception:  # noqa: BLE001 - the user's own __str__
            said = type(error).__name__
        return said[:MOST_SAID]
    return ""


def keep(path: str) -> list[list[str]]:
    """Write the variables to a file; those that cannot be kept, and why."""
    world = helper.world
    count = getattr(world, "count", 0)
    names = dict(world.names)  # at once: a thread may add to it
    for name in list(names):
        if name in world.hidden or OF_THE_SHELL.fullmatch(name):
            del names[name]
    left_out: list[list[str]] = []
    with open(path, "wb", opener=private) as file:
        if attempt(file, (names, count)):
            for name, value in names.items():
                if why := attempt(Nowhere(), value):
                    left_out.append([name, why])
            for name, _ in left_out:
                del names[name]
            file.seek(0)
            file.truncate()
            if why := attempt(file, (names, count)):  # one by one they could be
                raise ValueError(why)
    return left_out


def private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def restore(path: str) -> None:
    """Take the variables of a file, and remove it."""
    try:
        with open(path, "rb") as file:
            found, count = pickle.load(file)
    finally:
        os.unlink(path)
    helper.world.names.update(found)
    helper.world.hidden.difference_update(found)
    if hasattr(
        helper.world, "count"
    ):  # or the lines of new cells would stand for those of old ones
        helper.world.count = max(helper.world.count, count)


def told(do: Callable[[str], Any], path: str) -> Any:
    """Call; whatever the user's own classes raise is the request's error."""
    try:
        return do(path)
    except Exception as error:  # the user's own __setstate__ may do anything
        raise ValueError(f"{type(error).__name__}: {error}"[:MOST_SAID]) from error
