"""Writing what came out of a sandbox: as it is to a file or pipe, cleaned to a terminal."""

from __future__ import annotations

import os
import re
import sys
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TextIO

from ..text import printable, shortened

if TYPE_CHECKING:
    from rich.console import Console

# An escape sequence that the next piece of text may complete
_UNFINISHED = re.compile(r"\x1b(?:\[[0-?]*[ -/]*|\][^\x07\x1b]*\x1b?)?\Z")
_MOST_HELD = 4096
_MOST_COMPLAINT = 2000
WIDE = 10_000  # columns where nobody looks: nothing is wrapped for a pipe


class Stream:
    """Our stdout or stderr, unbuffered.

    Attributes:
        tty: whether a terminal, which would obey control sequences, is at the other end.
        fresh: whether what was written so far ends a line.
    """

    def __init__(self, file: TextIO | None) -> None:
        self._file = file or open(os.devnull, "w")  # noqa: SIM115 - it stands for a closed stream
        self.tty = self._file.isatty()
        self.fresh = True
        self._held = ""

    def write(self, text: str) -> None:
        """Write text as it came.

        A carriage return stays on a terminal: progress bars live by it, and no line but the
        code's own can be overwritten.
        """
        if self.tty:
            text = self._held + text
            unfinished = _UNFINISHED.search(text)
            held = unfinished[0] if unfinished and len(unfinished[0]) <= _MOST_HELD else ""
            self._held = held
            text = text[: len(text) - len(held)]
            text = "\r".join(map(printable, text.split("\r")))
        self._put(text)

    def line(self, text: str) -> None:
        """Write text that has lines of its own."""
        self.write(("" if self.fresh else "\n") + text + ("" if text.endswith("\n") else "\n"))

    def end(self) -> None:
        """Nothing follows: write what waited for more."""
        held, self._held = self._held, ""
        self._put(printable(held))

    def _put(self, text: str) -> None:
        if not text:
            return
        self.fresh = text.endswith("\n")
        encoding = self._file.encoding if self.tty else "utf-8"
        self._file.flush()
        self._file.buffer.write(text.encode(encoding or "utf-8", "backslashreplace"))
        self._file.buffer.flush()


def complain(error: object) -> None:
    """One line on stderr about what went wrong."""
    text = " ".join(printable(str(error)).split())
    Stream(sys.stderr).line(f"code-sandboxes: {shortened(text, _MOST_COMPLAINT)}")


@contextmanager
def complaining() -> Iterator[None]:
    """A warning of ours is a complaint, as soon as it is over."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", RuntimeWarning)
        yield
    for warning in caught:
        complain(str(warning.message))


def console() -> Console:
    """Rich, for text of ours; what else comes must be `printable` and in a `Text`, not markup."""
    from rich.console import Console

    file = sys.stdout or open(os.devnull, "w")  # noqa: SIM115 - it stands for a closed stream
    width = None if file.isatty() else WIDE
    return Console(file=file, width=width, highlight=False, emoji=False, markup=False)


def table(names: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print rows: aligned on a terminal, else separated by tabs, for other programs."""
    clean = [[" ".join(printable(cell).split()) for cell in row] for row in rows]
    if sys.stdout is None or not sys.stdout.isatty():
        for row in (names, *clean):
            print("\t".join(row))
        return
    from rich.table import Table
    from rich.text import Text

    grid = Table(box=None, pad_edge=False, header_style="bold")
    for name in names:
        grid.add_column(name, overflow="fold")
    for row in clean:
        grid.add_row(*(Text(cell) for cell in row))
    console().print(grid)


def print_json(value: Any) -> None:
    """Print a value as JSON, all ASCII; what JSON has no number for becomes null."""
    import json

    try:
        text = json.dumps(value, allow_nan=False)
    except ValueError:
        text = json.dumps(json.loads(json.dumps(value), parse_constant=lambda _: None))
    Stream(sys.stdout).line(text)
