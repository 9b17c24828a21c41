"""``code-sandboxes list`` and ``kill``."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

from ..errors import ConfigurationError, SandboxError, SandboxInUseError
from ..infos import SandboxInfo
from ..sandbox import Sandbox
from ..text import printable, shortened
from .output import complain, complaining, print_json, table

_NAMES = ("ID", "VARIANT", "OWNER", "AGE", "ENDS IN", "TAGS")
_UNITS = (("d", 86400), ("h", 3600), ("min", 60))


def list_sandboxes(options: argparse.Namespace) -> int:
    """Show the sandboxes that there are."""
    infos = _listed()
    if options.json:
        print_json([asdict(info) for info in infos])
    elif infos:
        table(_NAMES, map(_row, infos))
    elif sys.stdout is not None and sys.stdout.isatty():
        print("There are no sandboxes.")
    return 0


def _listed() -> list[SandboxInfo]:
    """All there are; a service that cannot be asked is a complaint."""
    with complaining():
        return Sandbox.list()


def _row(info: SandboxInfo) -> tuple[str, ...]:
    now = time.time()
    return (
        info.id,
        info.variant,
        "detached" if info.detached else f"process {info.owner_pid}",
        span(now - info.created),
        "" if info.expires is None else span(info.expires - now),
        ", ".join(f"{name}={value}" for name, value in info.tags.items()),
    )


def span(seconds: float) -> str:
    """A length of time, roughly.

    >>> span(7260)
    '2 h'
    """
    for unit, size in _UNITS:
        if seconds >= size:
            return f"{seconds // size:.0f} {unit}"
    return f"{max(0.0, seconds):.0f} s"


def kill_sandboxes(options: argparse.Namespace) -> int:
    """End those that can be ended; 1 if any could not, 2 if one was no id."""
    known = {info.id: info for info in _listed()}
    ids: Iterable[str] = options.ids
    if options.all:
        ids = [info.id for info in known.values() if info.detached]
    status = 0
    for id in dict.fromkeys(ids):
        try:
            Sandbox.from_id(id).terminate()
        except SandboxInUseError as error:
            status = max(status, 1)
            complain(_in_use(known.get(id), error))
        except SandboxError as error:
            status = max(status, 2 if isinstance(error, ConfigurationError) else 1)
            complain(error)
        else:
            print(id, flush=True)
    return status


def _in_use(info: SandboxInfo | None, error: SandboxInUseError) -> str:
    if info is None or info.owner_pid is None:  # it was adopted a moment ago
        return str(error)
    what = _command_of(info.owner_pid)
    return (
        f"sandbox {info.id} belongs to process {info.owner_pid}{f' ({what})' if what else ''}, "
        "and ends with it; only detached ones can be killed"
    )


def _command_of(pid: int) -> str:
    """The command line of a process, where the system tells it."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return ""
    text = b" ".join(words).decode(errors="replace")
    return shortened(" ".join(printable(text).split()), 100)
