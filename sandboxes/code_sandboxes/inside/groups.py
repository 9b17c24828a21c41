"""Which variables of a namespace belong together, since they share something."""

from __future__ import annotations

from types import BuiltinFunctionType, FunctionType, ModuleType

from .reducers import Keeper

TYPE_CHECKING = False  # not that of typing, which takes 10 ms to import
if TYPE_CHECKING:
    from typing import Any

MOST_SAID = 200  # characters of a reason
MOST_SHARED = 1_000_000  # objects that are looked at; beyond them, all is pickled together
# what cannot be changed, so that nobody can tell whether it is shared
ATOMS = {int, str, bytes, float, bool, complex, type(None), tuple, frozenset, range, slice}


class Failure(Exception):
    """It cannot be pickled; the text says why."""


def dump(pickler: Keeper, value: Any) -> None:
    try:
        pickler.dump(value)
    except Exception as error:  # noqa: BLE001 - the user's own __reduce__ may do anything
        raise Failure(reason(error)) from None


def reason(error: Exception) -> str:
    try:
        said = f"{type(error).__name__}: {error}"
    except Exception:  # noqa: BLE001 - the user's own __str__
        said = type(error).__name__
    return said[:MOST_SAID]


class Nowhere:
    """A file that keeps nothing."""

    def write(self, data: Any) -> int:
        return len(data)


class Looking(Keeper):
    """Notes what a variable is made of."""

    def __init__(self) -> None:
        super().__init__(Nowhere(), 5)
        self.seen: dict[int, Any] = {}  # by id; held, so that no later object has the same

    def persistent_id(self, item: Any) -> None:
        if type(item) not in ATOMS and not of_a_module(item):
            self.seen[id(item)] = item


def of_a_module(item: Any) -> bool:
    """Whether it is found by its name, and is nobody's variable."""
    kind = type(item)
    if kind is ModuleType or kind is BuiltinFunctionType:
        return True
    return (issubclass(kind, type) or kind is FunctionType) and item.__module__ != "__main__"


def grouped(names: dict[str, Any]) -> tuple[list[list[str]], list[list[str]]]:
    """The names of what belongs together, modules first; and what cannot be pickled, and why."""
    left_out: list[list[str]] = []
    owners: dict[int, str] = {}  # who holds an object, by its id
    leads: dict[str, str] = {}  # from a name to another one of its group, or itself

    def lead(name: str) -> str:
        while leads[name] != name:
            leads[name] = name = leads[leads[name]]
        return name

    held = []  # or another object could get the id of one that is gone
    for name, value in sorted(names.items(), key=lambda item: type(item[1]) is not ModuleType):
        looking = Looking()
        try:
            dump(looking, value)
        except Failure as failure:
            left_out.append([name, str(failure)])
            continue
        leads[name] = name
        if len(owners) <= MOST_SHARED:
            held.append(looking.seen)
            for number in looking.seen:
                leads[lead(name)] = lead(owners.setdefault(number, name))
    if len(owners) > MOST_SHARED:
        return [list(leads)], left_out
    groups: dict[str, list[str]] = {}
    for name in leads:
        groups.setdefault(lead(name), []).append(name)
    return list(groups.values()), left_out
