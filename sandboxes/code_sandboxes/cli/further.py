"""Commands of other packages, by entry point."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from ..errors import MissingExtraError
from .arguments import BUILT_IN

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

GROUP = "code_sandboxes.commands"


def further_commands() -> Mapping[str, EntryPoint]:
    """The commands that installed packages add, by name; none of them is imported."""
    from importlib.metadata import entry_points  # 20 ms that most need not pay

    found: dict[str, EntryPoint] = {}
    for point in entry_points(group=GROUP):
        if point.name not in BUILT_IN:
            found.setdefault(point.name, point)
    return found


def run_further(point: EntryPoint, argv: Sequence[str]) -> int:
    """Import a command and run it.

    Raises:
        MissingExtraError: it cannot be imported.
    """
    try:
        command = point.load()
    except (ImportError, AttributeError) as error:
        raise MissingExtraError(f"the command {point.name!r} cannot be loaded: {error}") from error
    return int(command(list(argv)) or 0)
