"""The Files tab of one session: a directory at a time, and one file open."""

from __future__ import annotations

import posixpath
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from code_sandboxes import FileInfo, SandboxError, printable

from .render import size
from .session import PageError, Session, SessionEndedError

MOST_ROWS = 1_000
MOST_VIEWED = 200_000  # bytes of a file that are shown
MOST_FETCHED = 512 << 20  # bytes of a file that is downloaded


class Browser:
    """What a page sees of the files of its sandbox; the sandbox is made if there is none.

    Args:
        session: whose files.

    Example:
        >>> from code_sandboxes_playground.variants import places, preferred
        >>> session = Session(preferred(places(), "local-eval"))
        >>> Browser(session).listing()["rows"]
        []
        >>> session.end()
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._path = "."
        self._serial = 0
        self._entries: list[FileInfo] = []
        self._open: FileInfo | None = None

    def listing(self, path: str | None = None) -> dict[str, Any]:
        """The value of the table: serial, path, rows, note; a path that fails is a note.

        Args:
            path: a directory, relative to the home or absolute; None for the same as before.
        """
        wanted = posixpath.normpath((self._path if path is None else path).strip() or ".")
        self._serial += 1
        told: dict[str, Any] = {"serial": self._serial, "path": printable(wanted), "rows": []}
        try:
            found = list(self._session.sandbox().files.list(wanted))
        except (SandboxError, SessionEndedError) as error:
            self._entries = []
            return {**told, "note": printable(str(error))}
        self._path = wanted
        self._entries = sorted(found, key=_place)
        told["rows"] = [_row(entry) for entry in self._entries[:MOST_ROWS]]
        told["note"] = "" if found else "This directory is empty."
        if len(found) > MOST_ROWS:
            told["note"] = f"{len(found) - MOST_ROWS:,} more are not shown."
        return told

    def up(self) -> dict[str, Any]:
        """The directory above; the home and the root have none."""
        return self.listing(posixpath.dirname(self._path) or ".")

    def pick(self, serial: int, index: int) -> FileInfo | None:
        """The entry of a row, or None if the table has changed since.

        Args:
            serial: of the listing that the page shows.
            index: of the row.
        """
        if serial != self._serial or not 0 <= index < len(self._entries):
            return None
        self._open = self._entries[index]
        return self._open

    def inside(self, entry: FileInfo) -> dict[str, Any]:
        """The listing of a directory that was picked."""
        return self.listing(posixpath.join(self._path, entry.name))

    def text(self, entry: FileInfo) -> str:
        """The beginning of a file as text.

        Raises:
            SandboxError: it cannot be read.
        """
        head = bytearray()
        stream = self._session.sandbox().files.read_stream(entry.path)
        for piece in stream:
            head += piece
            if len(head) > MOST_VIEWED:
                break
        del stream
        if b"\0" in head[:8192]:
            return f"(binary, {size(entry.size)}: download it to look inside)"
        text = printable(head[:MOST_VIEWED].decode("utf-8", "replace"))
        if len(head) > MOST_VIEWED:
            text += f"\n[... the first {size(MOST_VIEWED)} of {size(entry.size)} ...]"
        return text

    def fetch(self) -> Path:
        """The file that is open, copied to this machine for the browser to load.

        Raises:
            PageError: none is open, or it is too large.
            SandboxError: it cannot be read.
        """
        if (entry := self._open) is None or entry.type == "directory":
            raise PageError("Choose a file first.")
        if entry.size > MOST_FETCHED:
            raise PageError(f"The limit of a download is {size(MOST_FETCHED)}.")
        local = self._session.scratch() / (
            printable(entry.name).replace("/", "_").strip(". ") or "file"
        )
        self._session.sandbox().files.download(entry.path, str(local))
        return local

    def upload(self, paths: Sequence[str]) -> dict[str, Any]:
        """Copy files of this machine into the directory that is shown, and list it.

        Args:
            paths: where the server put what the browser sent.

        Raises:
            SandboxError: one cannot be written.
        """
        files = self._session.sandbox().files
        for path in paths:
            files.upload(path, posixpath.join(self._path, Path(path).name))
        return self.listing()


def _place(entry: FileInfo) -> tuple[bool, bool, str]:
    """Directories first, hidden ones last."""
    return entry.name.startswith("."), entry.type != "directory", entry.name


def _row(entry: FileInfo) -> dict[str, str]:
    when = time.strftime("%Y-%m-%d %H:%M", time.localtime(float(entry.modified)))
    shown = "" if entry.type == "directory" else size(entry.size)
    return {"name": printable(entry.name)[:200], "type": entry.type, "size": shown, "when": when}
