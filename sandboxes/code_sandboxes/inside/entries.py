"""The entries of a directory, and the patterns that they match."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator

TYPE_CHECKING = False  # not that of typing, which takes 10 ms to import
if TYPE_CHECKING:
    from typing import Any

KINDS = {stat.S_IFDIR: "directory", stat.S_IFLNK: "symlink", stat.S_IFREG: "file"}


def sorted_entries(directory: int) -> Iterator[os.DirEntry[str]]:
    with os.scandir(directory) as scanned:
        return iter(sorted(scanned, key=lambda entry: entry.name))


def known(entry: os.DirEntry[str]) -> os.stat_result | None:
    """What is known of an entry; None if it was removed meanwhile."""
    try:
        return entry.stat(follow_symlinks=False)
    except FileNotFoundError:
        return None
    except PermissionError:  # its directory may be read, and nothing in it be looked at
        directory = entry.is_dir(follow_symlinks=False)
        kind = stat.S_IFLNK * entry.is_symlink() or stat.S_IFDIR * directory or stat.S_IFREG
        return os.stat_result((kind, *[0] * 9))


def describe(name: str, path: str, status: os.stat_result) -> dict[str, Any]:
    """One entry, as JSON."""
    return {
        "name": name,
        "path": path,
        "size": status.st_size,
        "type": KINDS.get(stat.S_IFMT(status.st_mode), "other"),
        "modified": status.st_mtime,
        "mode": stat.S_IMODE(status.st_mode),
    }


def changes(before: dict[str, Any], after: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """What differs between two states of a tree: the kind of each change, and where."""
    for path in sorted(before.keys() | after.keys()):
        if path not in before:
            yield "added", path
        elif path not in after:
            yield "removed", path
        elif before[path] != after[path]:
            yield "changed", path


def translate(pattern: str) -> str:
    """A glob pattern as a regular expression (`glob.translate` came with Python 3.13)."""
    import re

    out, at = "", 0
    while at < len(pattern):
        if pattern.startswith("**/", at):
            out, at = out + "(?:[^/]+/)*", at + 3
        elif pattern.startswith("**", at):
            out, at = out + ".*", at + 2
        elif pattern[at] in "*?":
            out, at = out + ("[^/]*" if pattern[at] == "*" else "[^/]"), at + 1
        elif found := re.compile(r"\[(!?)([^/][^]]*)\]").match(pattern, at):
            inner = re.sub(r"([\\\[\]^&~|])", r"\\\1", found[2])
            out, at = f"{out}(?!/)[{found[1] and '^'}{inner}]", found.end()
        else:
            out, at = out + re.escape(pattern[at]), at + 1
    return out
