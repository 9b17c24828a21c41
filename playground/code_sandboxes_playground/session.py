"""One browser session: its sandbox, made when it is first needed, and its two consoles."""

from __future__ import annotations

import secrets
import shutil
import tempfile
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from code_sandboxes import (
    Process,
    Sandbox,
    SandboxClosedError,
    SandboxError,
    SandboxGoneError,
    printable,
)

from .console import Console, Outcome
from .execute import execute, follow
from .feed import note
from .variants import Place

Create = Callable[..., Sandbox]
MOST_RESTORING = 120.0  # seconds for the variables of a snapshot
_OVER = "This session has ended; reload the page for a new one."
_CHANGED = "The sandbox was changed."


class PageError(Exception):
    """What the user of the page is told; the message is for people."""


class SessionEndedError(PageError):
    """The page was closed, or the server stops: nothing new may start."""

    def __init__(self, text: str = _OVER) -> None:
        super().__init__(text)


class Session:
    """A sandbox and what a page shows of it. Any method may be called from any thread.

    Attributes:
        place: where the sandbox is, or will be once it is needed.
        ticket: a secret by which the scripts of the page name this session.
        code: the console of code.
        shell: the console of commands.

    Example:
        >>> from code_sandboxes_playground.variants import places, preferred
        >>> session = Session(preferred(places(), "local-eval"))
        >>> session.run("print(1 + 1)")
        True
        >>> session.code.join(30); session.end()
    """

    def __init__(self, place: Place, create: Create = Sandbox.create) -> None:
        self.place = place
        self.ticket = secrets.token_urlsafe(24)
        self.code, self.shell = Console(), Console()
        self._create = create
        self._making = threading.Lock()  # held while a sandbox is made: one at a time
        self._lock = threading.Lock()
        self._sandbox: Sandbox | None = None
        self._ended = False
        self._stops = 0
        self._process: Process | None = None
        self._scratch: Path | None = None

    @property
    def ended(self) -> bool:
        """Whether `end` was called."""
        return self._ended

    def state(self) -> str:
        """One line about the sandbox, for the page."""
        sandbox = self._sandbox
        if self._ended:
            return "session ended"
        if sandbox is not None:
            return f"{self.place.name} · {sandbox.id}"
        how = "starting" if self._making.locked() else "starts on first use"
        return f"{self.place.name} · {how}"

    def sandbox(self) -> Sandbox:
        """The sandbox, made now if there is none.

        Raises:
            SessionEndedError: the session is over, or its place another, while it was made.
            SandboxError: it could not be started.
        """
        with self._making:
            sandbox = self._sandbox
            if self._ended or sandbox is None or sandbox.closed:
                return self._make(timeout=None)
            return sandbox

    def start_from(self, snapshot: str) -> None:
        """Leave the sandbox for a fresh one from a snapshot; where that fails, it stays.

        Args:
            snapshot: its name.

        Raises:
            SessionEndedError, SandboxError: as of `sandbox`.
        """
        with self._making:
            # what code has left in the variables runs as they are restored: it may have no end
            self._make(timeout=MOST_RESTORING, snapshot_name=snapshot).set_timeout(None)
        self.code.answer(None)

    def _make(self, **options: Any) -> Sandbox:
        """A new sandbox in place of the one before; `_making` is held."""
        with self._lock:
            if self._ended:
                raise SessionEndedError
            place = self.place
        gone: Sandbox | None
        gone = made = self._create(variant=place.variant, **place.options, **options)
        with self._lock:
            if wanted := not self._ended and self.place is place:
                gone, self._sandbox = self._sandbox, made
        if gone is not None:
            gone.terminate()
        if not wanted:
            raise SessionEndedError(_OVER if self._ended else _CHANGED)
        return made

    def run(self, code: str) -> bool:
        """Run `code` in the console of code.

        Returns:
            whether it was started: False while other code runs.
        """
        work = partial(self._guarded, self.code, partial(self._execute, code))
        return self.code.start(work)

    def command(self, command: str) -> bool:
        """Run a shell command in the console of commands.

        Returns:
            whether it was started: False while another command runs.
        """
        work = partial(self._guarded, self.shell, partial(self._shell, command))
        return self.shell.start(work, clear=False)

    def stop(self) -> None:
        """Stop the code that runs; the variables stay.

        Raises:
            SandboxError: the sandbox could not be told.
        """
        self._stops += 1
        if self.code.running and (sandbox := self._sandbox) is not None:
            sandbox.interrupt()
        self.code.answer(None)

    def stop_command(self) -> None:
        """Kill the command that runs, and all that it started."""
        if (process := self._process) is not None:
            process.kill()

    def restart(self) -> None:
        """A new interpreter in the same sandbox: files stay, variables go.

        Raises:
            SandboxError: the sandbox could not be told.
        """
        if (sandbox := self._sandbox) is None:
            return
        sandbox.restart()
        self.code.answer(None)
        self.code.feed.add(note("The interpreter was restarted; files are still there."))

    def scratch(self) -> Path:
        """An empty directory of this machine that ends with the session.

        Raises:
            SessionEndedError: the session is over.
        """
        with self._lock:
            if self._ended:
                raise SessionEndedError
            if self._scratch is not None:
                shutil.rmtree(self._scratch, ignore_errors=True)
            self._scratch = Path(tempfile.mkdtemp(prefix="code-sandboxes-download-"))
            return self._scratch

    def move(self, place: Place) -> bool:
        """Leave the sandbox for one of another kind, made when it is needed.

        Returns:
            whether that is another place than before.
        """
        if place is self.place:
            return False
        self._leave(place)
        return True

    def end(self) -> None:
        """End the sandbox and everything in it, now and for good."""
        self._ended = True
        self._leave(self.place)
        with self._lock:
            scratch, self._scratch = self._scratch, None
        if scratch is not None:
            shutil.rmtree(scratch, ignore_errors=True)

    def _leave(self, place: Place) -> None:
        with self._lock:
            sandbox, self._sandbox, self.place = self._sandbox, None, place
        if sandbox is not None:
            sandbox.terminate()
        self.code.answer(None)

    def _guarded(self, console: Console, work: Callable[[], Outcome]) -> Outcome:
        try:
            return work()
        except SessionEndedError as error:
            console.feed.add(note(str(error)))
            return Outcome("stopped", "ended")
        except SandboxClosedError:
            console.feed.add(note("The sandbox was ended."))
            return Outcome("stopped", "ended")
        except SandboxError as error:
            console.feed.add({"kind": "error", "parts": [(printable(str(error)), {})]})
            if isinstance(error, SandboxGoneError):
                self._leave(self.place)
                console.feed.add(note("The sandbox is gone; the next run starts a new one."))
            return Outcome("failed", "sandbox error")

    def _execute(self, code: str) -> Outcome:
        stops = self._stops
        sandbox = self.sandbox()
        if stops != self._stops:
            return Outcome("stopped", "stopped before it began")
        return execute(sandbox, code, self.code)

    def _shell(self, command: str) -> Outcome:
        self.shell.feed.add({"kind": "command", "text": printable(command)})
        try:
            self._process = self.sandbox().commands.exec("sh", "-c", command)
            return follow(self._process, self.shell.feed)
        finally:
            self._process = None
