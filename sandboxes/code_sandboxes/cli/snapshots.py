"""``code-sandboxes snapshot list`` and ``delete``."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from dataclasses import asdict

from ..errors import SandboxError
from ..infos import Snapshot
from ..sandbox import Sandbox
from .output import complain, complaining, print_json, table
from .sandboxes import span

_NAMES = ("NAME", "VARIANT", "AGE", "SIZE", "SKIPPED", "DESCRIPTION")
_UNITS = (("GB", 1e9), ("MB", 1e6), ("kB", 1e3))


def list_snapshots(options: argparse.Namespace) -> int:
    """Show the snapshots that there are."""
    with complaining():
        found = Sandbox.list_snapshots()
    if options.json:
        print_json([asdict(snapshot) for snapshot in found])
    elif found:
        table(_NAMES, map(_row, found))
    elif sys.stdout is not None and sys.stdout.isatty():
        print("There are no snapshots.")
    return 0


def _row(snapshot: Snapshot) -> tuple[str, ...]:
    return (
        snapshot.name,
        snapshot.variant,
        "" if snapshot.created is None else span(time.time() - snapshot.created),
        "" if snapshot.size is None else _size(snapshot.size),
        str(len(snapshot.skipped) or ""),
        snapshot.description,
    )


def _size(count: float) -> str:
    """Bytes, roughly.

    >>> _size(2_340_000)
    '2.3 MB'
    """
    for unit, size in _UNITS:
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count:.0f} B"


def delete_snapshots(options: argparse.Namespace) -> int:
    """Remove those that can be removed; 1 if any could not."""
    status = 0
    for name in dict.fromkeys(options.names):
        try:
            Sandbox.delete_snapshot(name, variant=options.variant)
        except SandboxError as error:
            status = 1
            complain(error)
        else:
            print(name, flush=True)
    return status


def add_snapshot(new: Callable[..., argparse.ArgumentParser]) -> None:
    """The parsers of the commands."""
    about = "show what is kept of sandboxes, or remove it"
    commands = new("snapshot", help=about, description=about, allow_abbrev=False)
    verbs = commands.add_subparsers(title="commands", metavar="COMMAND", required=True)
    about = "show the snapshots of this machine, and of a cloud whose key is set"
    listing = verbs.add_parser("list", help=about, description=about, allow_abbrev=False)
    listing.add_argument("--json", action="store_true", help="as a JSON array")
    listing.set_defaults(run=list_snapshots, parser=listing)
    about = "remove snapshots"
    deleting = verbs.add_parser("delete", help=about, description=about, allow_abbrev=False)
    deleting.add_argument("names", nargs="+", metavar="NAME", help="as `snapshot list` shows it")
    deleting.add_argument("--variant", help="where several variants have one of that name")
    deleting.set_defaults(run=delete_snapshots, parser=deleting)
