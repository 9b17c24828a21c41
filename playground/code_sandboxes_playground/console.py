"""One console of a session: at most one run at a time, in a thread, and what the page asks."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

from .feed import Feed


class Outcome(NamedTuple):
    """How a run ended.

    Attributes:
        kind: decides the colour.
        text: for people.
    """

    kind: Literal["ok", "stopped", "failed"]
    text: str


class Console:
    """Runs one thing at a time and tells the page about it.

    Attributes:
        feed: what it shows.

    Example:
        >>> console = Console()
        >>> console.start(lambda: Outcome("ok", "done"))
        True
        >>> console.join(5)
        >>> console.poll(0, 0)["outcome"]
        'ok'
    """

    def __init__(self) -> None:
        self.feed = Feed()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._running = False
        self._runs = 0
        self._outcome, self._status, self._since = "idle", "", 0.0
        self._question: dict[str, Any] | None = None
        self._answer: str | None = None
        self._answered = threading.Event()

    @property
    def running(self) -> bool:
        """Whether something runs."""
        return self._running

    def start(self, work: Callable[[], Outcome], *, clear: bool = True) -> bool:
        """Do `work` in a thread of its own.

        Args:
            work: what to do; it returns how it ended.
            clear: whether what the console showed before goes.

        Returns:
            whether it was started: False while something else runs.
        """
        with self._lock:
            if self._running:
                return False
            self._running, self._since = True, time.monotonic()
            self._runs += 1
            self._status = ""
        self.feed.begin(clear=clear)
        self._thread = threading.Thread(target=self._run, args=(work,), daemon=True)
        self._thread.start()
        return True

    def join(self, timeout: float) -> None:
        """Wait until nothing runs, at most `timeout` seconds."""
        if (thread := self._thread) and thread is not threading.current_thread():
            thread.join(timeout)

    def poll(self, epoch: int, seen: int) -> dict[str, Any]:
        """What the page needs to be up to date.

        Args:
            epoch: which filling of the console the page shows.
            seen: how many of its items the page has.

        Returns:
            what `Feed.since` says, and running, run, seconds, outcome, status, question.
        """
        with self._lock:
            state = {
                "running": self._running,
                "run": self._runs,
                "seconds": round(time.monotonic() - self._since, 1) if self._running else 0,
                "outcome": self._outcome,
                "status": self._status,
                "question": self._question,
            }
        return {**self.feed.since(epoch, seen), **state}  # the state first: no item is missed

    def ask(self, prompt: str, *, password: bool = False) -> str:
        """Put a question of the code to the page and wait for the answer; on the run's thread.

        Raises:
            EOFError: the run was stopped instead.
        """
        with self._lock:
            self._answer = None
            self._answered.clear()
            self._question = {"prompt": prompt[:2000], "password": password}
        self._answered.wait()
        with self._lock:
            self._question = None
            if self._answer is None:
                raise EOFError("stopped")
            return self._answer

    def answer(self, text: str | None) -> None:
        """Answer the question that is open, if one is; None takes it back."""
        with self._lock:
            if self._question is not None:
                self._answer = text
                self._answered.set()

    def _run(self, work: Callable[[], Outcome]) -> None:
        outcome = Outcome("failed", "failed")
        try:
            outcome = work()
        finally:
            self.feed.end()
            seconds = time.monotonic() - self._since
            with self._lock:
                self._running, self._outcome = False, outcome.kind
                self._status = f"{outcome.text} · {seconds:.2f} s"
