"""How values are pickled that pickle and cloudpickle lose, or bring back as something else."""

from __future__ import annotations

import io
import pickle
import sys
from functools import _lru_cache_wrapper, lru_cache
from types import CellType, CodeType, FunctionType

from . import helper

TYPE_CHECKING = False  # not that of typing, which takes 10 ms to import
if TYPE_CHECKING:
    from typing import Any

OF_A_FUNCTION = (
    *("__dict__", "__defaults__", "__kwdefaults__", "__qualname__", "__doc__", "__module__"),
    *("__annotate__" if sys.version_info >= (3, 14) else "__annotations__", "__type_params__"),
)
BY_NAME = ("NewType", "ParamSpec", "TypeVarTuple")  # of typing: pickle only keeps their name

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


def make_cached(function: FunctionType, maxsize: int | None, typed: bool) -> Any:
    return lru_cache(maxsize, typed)(function)


def make_error(kind: type[BaseException], args: tuple[Any, ...]) -> BaseException:
    made = kind.__new__(kind, *args)
    made.args = args
    return made


def make_typing(kind: str, *args: Any) -> Any:
    import typing

    made = getattr(typing, kind)(*args)
    made.__module__ = "__main__"
    return made


class Keeper(Pickler):  # type: ignore[misc]
    """Pickles functions of the user's so that they come back to the namespace, and more."""

    def reducer_override(self, item: Any) -> Any:
        kind = type(item)
        if kind is FunctionType and item.__globals__ is helper.world.names:
            return function(item)
        if kind is CellType:
            return cell(item)
        if kind is _lru_cache_wrapper and item.__module__ == "__main__":
            options = item.cache_parameters()
            return make_cached, (item.__wrapped__, options["maxsize"], options["typed"])
        if isinstance(item, BaseException) and plain(kind):
            return make_error, (kind, item.args), item.__dict__ or None
        if isinstance(item, io.IOBase) and not isinstance(item, io.BytesIO | io.StringIO):
            raise pickle.PicklingError("it is an open file")
        if kind.__module__ == "typing" and kind.__name__ in BY_NAME:
            if item.__module__ == "__main__":
                more = (item.__supertype__,) if kind.__name__ == "NewType" else ()
                return make_typing, (kind.__name__, item.__name__, *more)
        return getattr(super(), "reducer_override", lambda _: NotImplemented)(item)


# functions and cells are made first and filled later: they may hold themselves, and share cells
def function(item: FunctionType) -> Any:
    state = {name: getattr(item, name) for name in OF_A_FUNCTION if hasattr(item, name)}
    made = (item.__code__, item.__name__, item.__closure__)
    return make_function, made, state, None, None, fill_function


def cell(item: CellType) -> Any:
    try:
        return CellType, (), (item.cell_contents,), None, None, fill_cell
    except ValueError:  # nothing is in it
        return CellType, ()


def plain(kind: type[BaseException]) -> bool:
    """Whether it is pickled by its arguments alone, which its own __init__ may not take."""
    return kind.__reduce__ is BaseException.__reduce__ and kind.__init__ is not OSError.__init__
