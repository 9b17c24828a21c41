"""The Snapshots tab of one session: what there is to start from, and one of them chosen."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any

from code_sandboxes import (
    ExecutionFailedError,
    Sandbox,
    SandboxError,
    Snapshot,
    SnapshotNotFoundError,
    printable,
)

from .console import Outcome
from .feed import note
from .notices import heard, told_of
from .render import size
from .session import PageError, Session

MOST_ROWS = 1_000

_NONE = "There are no snapshots yet. One keeps files, packages and variables, to start from again."


class Shelf:
    """The snapshots as one page sees them. They belong to the machine: each page sees all.

    Example:
        >>> from code_sandboxes_playground.variants import places, preferred
        >>> session, shelf = Session(preferred(places(), "local-eval")), Shelf()
        >>> shelf.keep(session, "first", "").name
        'first'
        >>> shelf.listing()["rows"][0]["name"]
        'first'
        >>> shelf.delete("first"); session.end()
    """

    def __init__(self) -> None:
        self._serial = 0
        self._entries: list[Snapshot] = []
        self._chosen: Snapshot | None = None

    def listing(self) -> dict[str, Any]:
        """The value of the table: serial, rows, chosen, note; the newest come first."""
        self._serial += 1
        told: dict[str, Any] = {"serial": self._serial, "rows": [], "chosen": -1}
        try:
            with heard() as troubles:
                found = Sandbox.list_snapshots()
        except (SandboxError, OSError) as error:
            self._entries, self._chosen = [], None
            return {**told, "note": printable(str(error))}
        found.sort(key=lambda each: each.created or 0.0, reverse=True)
        self._entries = found
        keys = [_key(each) for each in found]
        at = keys.index(_key(self._chosen)) if self._chosen and _key(self._chosen) in keys else -1
        self._chosen = found[at] if at >= 0 else None
        notes = told_of(troubles) or ([] if found else [_NONE])
        if len(found) > MOST_ROWS:
            notes.append(f"{len(found) - MOST_ROWS:,} more are not shown.")
        rows = [_row(each) for each in found[:MOST_ROWS]]
        return {**told, "rows": rows, "chosen": at, "note": "\n".join(notes)}

    def pick(self, serial: int, index: int) -> bool:
        """Choose the snapshot of a row.

        Args:
            serial: of the listing that the page shows.
            index: of the row.

        Returns:
            whether it was: False if the table has changed since.
        """
        if serial != self._serial or not 0 <= index < len(self._entries):
            return False
        self._chosen = self._entries[index]
        return True

    def about(self) -> tuple[str, str]:
        """The name of the one that is chosen, and what there is to know of it; hostile text."""
        if (chosen := self._chosen) is None:
            return "", ""
        parts = [f"Made on {chosen.variant}, {_when(chosen)}, {_size(chosen)}.", chosen.description]
        parts.append("\n".join(["Not in it:", *chosen.skipped]) if chosen.skipped else "")
        return _name(chosen), printable("\n\n".join(part for part in parts if part))

    def keep(self, session: Session, name: str, description: str) -> Snapshot:
        """Keep the sandbox of a session, made if there is none; the snapshot is the chosen one.

        To the console of code it is a run: it needs the variables, and what pickles them may be
        code that has no end. Stop and Restart end it.

        Raises:
            PageError: code runs, or this machine cannot write it.
            SandboxError: it cannot be kept.
        """
        kept: Future[Snapshot] = Future()

        def work() -> Outcome:
            try:
                made = session.sandbox().create_snapshot(name, description=description)
                kept.set_result(made)
            except (SandboxError, PageError, OSError) as error:
                if isinstance(error, ExecutionFailedError) and error.name == "KeyboardInterrupt":
                    kept.set_exception(PageError("Stopped; nothing was kept."))
                    return Outcome("stopped", "stopped")
                kept.set_exception(error)
                return Outcome("failed", "not kept")
            finally:
                kept.cancel()  # whatever else went wrong: nobody waits for ever
            session.code.feed.add(note(f"Kept as snapshot {printable(name)!r}."))
            return Outcome("ok", "kept")

        if not session.code.start(work, clear=False):
            raise PageError("Code is still running; stop it first.")
        try:
            self._chosen = kept.result()
        finally:
            session.code.join(10)  # until the next run can start
        return self._chosen

    def start(self, session: Session, name: str) -> list[str]:
        """Start a fresh sandbox from the chosen one, in place of the session's.

        Args:
            session: whose sandbox.
            name: of the one that the page shows as chosen.

        Returns:
            what could not be restored, a line each; hostile text.

        Raises:
            PageError: none is chosen, it is gone, or the session is over.
            SandboxError: the sandbox could not be started; the sandbox before is still there.
        """
        chosen = self._asked(name)
        with heard() as troubles, _missing(f"{session.place.name} has no snapshot", chosen):
            session.start_from(chosen.id)
        told = told_of(troubles)
        started = f"Started from snapshot {_name(chosen)!r}, with nothing else of before."
        for console in (session.code, session.shell):
            for line in (started, *told):
                console.feed.add(note(line))
        return told

    def delete(self, name: str) -> None:
        """Remove the one that is chosen.

        Args:
            name: of the one that the page shows as chosen.

        Raises:
            PageError: none is chosen, or it is gone already.
            SandboxError: its service refuses.
        """
        chosen = self._asked(name)
        with _missing("There is no snapshot", chosen):
            Sandbox.delete_snapshot(chosen.id, variant=chosen.variant)
        self._chosen = None

    def _asked(self, name: str) -> Snapshot:
        """The chosen one, if the page shows the same: a click on another may be under way."""
        if self._chosen is None or _name(self._chosen) != name:
            raise PageError("Choose a snapshot first.")
        return self._chosen


@contextmanager
def _missing(what: str, snapshot: Snapshot) -> Iterator[None]:
    """Name the snapshot as the page does: it is asked for by its id, which is never two's."""
    try:
        yield
    except SnapshotNotFoundError as error:
        why = "it was deleted meanwhile, or is kept elsewhere"
        raise PageError(f"{what} {_name(snapshot)!r}: {why}.") from error


def _key(snapshot: Snapshot) -> tuple[str, str]:
    return snapshot.variant, snapshot.id


def _name(snapshot: Snapshot) -> str:
    """Its name as the page shows it: one line, which an input of the page does not change."""
    return " ".join(printable(snapshot.name).split())[:200]


def _when(snapshot: Snapshot) -> str:
    if snapshot.created is None:
        return "at an unknown time"
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(float(snapshot.created)))


def _size(snapshot: Snapshot) -> str:
    return "of unknown size" if snapshot.size is None else size(snapshot.size)


def _row(snapshot: Snapshot) -> dict[str, str]:
    return {
        "type": "snapshot",
        "name": _name(snapshot),
        "variant": printable(snapshot.variant)[:60],
        "when": "" if snapshot.created is None else _when(snapshot),
        "size": "" if snapshot.size is None else size(snapshot.size),
        "skipped": str(len(snapshot.skipped) or ""),
    }
