"""All browser sessions of one server: who has which sandbox, and that none is left over."""

from __future__ import annotations

import secrets
import threading
from concurrent.futures import ThreadPoolExecutor

from code_sandboxes import Sandbox

from .session import Create, PageError, Session, SessionEndedError
from .variants import Place, places, preferred

MOST_SESSIONS = 32


class TooManySessionsError(PageError):
    """There are as many sessions as one server keeps."""


class Sessions:
    """Sessions by the key of their page.

    A page that was closed cannot come back: an event of it that arrives late makes no sandbox.

    Attributes:
        places: every variant, those that cannot run here with the reason.
        start: the place where a new session begins.

    Args:
        variant: the place to start with; None for the default.
        create: makes a sandbox; for tests.

    Raises:
        LookupError: the variant cannot run here.

    Example:
        >>> sessions = Sessions("local-eval")
        >>> session = sessions.get("page-1")
        >>> sessions.end("page-1"); session.ended
        True
    """

    def __init__(self, variant: str | None = None, create: Create = Sandbox.create) -> None:
        self.places = places()
        self.start: Place = preferred(self.places, variant)
        self._create = create
        self._lock = threading.Lock()
        self._open: dict[str, Session] = {}
        self._gone: set[str] = set()
        self._stopped = False

    def get(self, key: str) -> Session:
        """The session of the page `key`, made if there is none.

        Raises:
            SessionEndedError: that page was closed, or the server stops.
            TooManySessionsError: there are `MOST_SESSIONS` already.
        """
        with self._lock:
            if key in self._open:
                return self._open[key]
            if self._stopped or key in self._gone:
                raise SessionEndedError
            if len(self._open) >= MOST_SESSIONS:
                raise TooManySessionsError(f"{MOST_SESSIONS} pages are open; close one.")
            self._open[key] = session = Session(self.start, self._create)
            return session

    def by_ticket(self, ticket: str) -> Session:
        """The session of that ticket.

        Raises:
            SessionEndedError: it has ended, or there is none.
        """
        given = ticket.encode("utf-8", "replace")
        with self._lock:
            for session in self._open.values():
                if secrets.compare_digest(session.ticket.encode(), given):
                    return session
        raise SessionEndedError

    def end(self, key: str) -> Session | None:
        """The page `key` was closed: end its sandbox, and let it make no other.

        Returns:
            its session, which has ended; None if it had none.
        """
        with self._lock:
            self._gone.add(key)
            session = self._open.pop(key, None)
        if session is not None:
            session.end()
        return session

    def end_all(self) -> None:
        """The server stops: end every sandbox."""
        with self._lock:
            self._stopped = True
            keys = list(self._open)
        if keys:
            with ThreadPoolExecutor(max_workers=8) as pool:
                list(pool.map(self.end, keys))
