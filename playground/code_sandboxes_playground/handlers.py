"""What happens when something on the page is used: from Gradio's events to the session."""

from __future__ import annotations

import html
import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from weakref import WeakKeyDictionary

import gradio as gr

from code_sandboxes import SandboxError, printable

from .feed import note
from .files import Browser
from .session import PageError, Session, SessionEndedError
from .sessions import Sessions
from .snapshots import Shelf
from .variants import isolation_line

Value = dict[str, Any]  # of one of our components: what its script gets

_BUSY = "Something is still running here; stop it first."
_ENDED = {"running": False, "outcome": "stopped", "status": "session ended; reload the page"}


class Handlers:
    """The functions behind the components of one app.

    Args:
        sessions: where the sandboxes of its pages are kept.

    Each method that Gradio calls raises `gr.Error`, which the page shows, and no other.
    """

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions
        self._serial = itertools.count(1)
        self._browsers: WeakKeyDictionary[Session, Browser] = WeakKeyDictionary()
        self._shelves: WeakKeyDictionary[Session, Shelf] = WeakKeyDictionary()

    def begin(self, request: gr.Request) -> tuple[Any, ...]:
        """The page was opened: chosen place, isolation, both consoles."""
        with _told():
            session = self._session(request)
            line = isolation_line(session.place, self._sessions.places)
            return session.place.name, line, self._value(session), self._value(session)

    def bye(self, request: gr.Request) -> None:
        """The page was closed."""
        session = self._sessions.end(str(request.session_hash))
        if session is not None:
            self._browsers.pop(session, None)  # it holds the session, which would never go
            self._shelves.pop(session, None)

    def move(self, name: str, request: gr.Request) -> tuple[Any, ...]:
        """Another variant was chosen: isolation, both consoles, an empty table of files."""
        with _told():
            session = self._session(request)
            usable = [p for p in self._sessions.places if p.name == name and not p.refusal]
            if not usable:
                raise PageError(f"{name} cannot run here.")
            if session.move(usable[0]):
                self._browsers.pop(session, None)
                for console in (session.code, session.shell):
                    console.feed.add(note(f"Now on {name}, with nothing of before."))
            line = isolation_line(session.place, self._sessions.places)
            return line, self._value(session), self._value(session), {}

    def run(self, code: str | None, request: gr.Request) -> Value:
        """Run was pressed."""
        with _told():
            session = self._session(request)
            if not session.run(code or ""):
                session.code.feed.add(note(_BUSY))
            return self._value(session)

    def stop(self, request: gr.Request) -> Value:
        """Stop was pressed."""
        with _told():
            session = self._session(request)
            session.stop()
            return self._value(session)

    def restart(self, request: gr.Request) -> Value:
        """Restart was pressed."""
        with _told():
            session = self._session(request)
            session.restart()
            return self._value(session)

    def command(self, command: str, request: gr.Request) -> tuple[Value, Any]:
        """A command was entered: console, and the line, which is emptied if it was taken."""
        with _told():
            session = self._session(request)
            if not command.strip():
                return self._value(session), gr.skip()
            if not session.command(command):
                session.shell.feed.add(note(_BUSY))
                return self._value(session), gr.skip()
            return self._value(session), ""

    def stop_command(self, request: gr.Request) -> Value:
        """Stop of the commands was pressed."""
        with _told():
            session = self._session(request)
            session.stop_command()
            return self._value(session)

    def listing(self, path: str, request: gr.Request) -> tuple[Value, str]:
        """A directory was asked for: table and path."""
        with _told():
            return _listed(self._browser(request).listing(path))

    def up(self, request: gr.Request) -> tuple[Value, str]:
        """The directory above was asked for: table and path."""
        with _told():
            return _listed(self._browser(request).up())

    def pick(self, event: gr.EventData, request: gr.Request) -> tuple[Any, ...]:
        """A row was chosen: table, path, the file's name, its text."""
        with _told():
            browser = self._browser(request)
            entry = browser.pick(int(event.serial), int(event.index))
            if entry is None:
                return *_listed(browser.listing()), gr.skip(), gr.skip()
            if entry.type == "directory":
                return *_listed(browser.inside(entry)), "", ""
            return gr.skip(), gr.skip(), printable(entry.name), browser.text(entry)

    def upload(self, paths: list[str] | None, request: gr.Request) -> tuple[Value, str]:
        """Files were sent: table and path."""
        with _told():
            return _listed(self._browser(request).upload(paths or []))

    def fetch(self, request: gr.Request) -> str:
        """The file that is open shall be downloaded: its copy."""
        with _told():
            return str(self._browser(request).fetch())

    def snapshots(self, request: gr.Request) -> tuple[Value, str, str]:
        """The list is looked at: table, the name of the chosen one, what is known of it."""
        with _told():
            shelf = self._shelf(request)
            return shelf.listing(), *shelf.about()

    def choose(self, event: gr.EventData, request: gr.Request) -> tuple[Any, str, str]:
        """A snapshot was chosen: table, its name, what is known of it."""
        with _told():
            shelf = self._shelf(request)
            picked = shelf.pick(int(event.serial), int(event.index))
            return gr.skip() if picked else shelf.listing(), *shelf.about()

    def keep(self, name: str, description: str, request: gr.Request) -> tuple[Value, str, str]:
        """The sandbox is to be kept: console of code, and the two lines, emptied."""
        with _told():
            session = self._session(request)
            self._shelf(request).keep(session, name.strip(), description.strip())
            return self._value(session), "", ""

    def start(self, name: str, request: gr.Request) -> tuple[Value, ...]:
        """The chosen snapshot is to be started from: both consoles, an empty table of files."""
        with _told():
            session = self._session(request)
            troubles = self._shelf(request).start(session, name)
            self._browsers.pop(session, None)
            if troubles:
                gr.Warning("<br>".join(html.escape(line) for line in troubles), duration=30)
            else:
                gr.Info("A fresh sandbox was started from the snapshot.")
            return self._value(session), self._value(session), {}

    def delete(self, name: str | None, request: gr.Request) -> None:
        """The chosen snapshot is to be deleted; None says that the user thought better of it."""
        with _told():
            if name is not None:
                self._shelf(request).delete(name)

    def for_scripts(self) -> list[Callable[..., Any]]:
        """What the script of a console calls; a page names its session by its ticket."""

        async def poll(asked: list[Any]) -> Value:
            ticket, kind, epoch, seen = asked
            try:
                session = self._sessions.by_ticket(str(ticket))
            except SessionEndedError:
                return {**_ENDED, "epoch": epoch, "next": seen, "items": [], "where": ""}
            console = session.code if kind == "code" else session.shell
            return {**console.poll(int(epoch), int(seen)), "where": session.state()}

        async def answer(given: list[Any]) -> bool:
            ticket, kind, text = given
            session = self._sessions.by_ticket(str(ticket))
            (session.code if kind == "code" else session.shell).answer(str(text))
            return True

        return [poll, answer]

    def _session(self, request: gr.Request) -> Session:
        return self._sessions.get(str(request.session_hash))

    def _browser(self, request: gr.Request) -> Browser:
        session = self._session(request)
        return self._browsers.setdefault(session, Browser(session))

    def _shelf(self, request: gr.Request) -> Shelf:
        return self._shelves.setdefault(self._session(request), Shelf())

    def _value(self, session: Session) -> Value:
        """What makes a console ask the server again: it differs every time."""
        return {"ticket": session.ticket, "serial": next(self._serial)}


def _listed(listing: Value) -> tuple[Value, str]:
    return listing, listing["path"]


@contextmanager
def _told() -> Iterator[None]:
    """Errors that are for the user of the page, as Gradio shows them."""
    try:
        yield
    except (PageError, SandboxError, OSError) as error:  # OSError: this machine's disk is full
        text = html.escape(printable(str(error)))
        raise gr.Error(text, print_exception=False) from error
