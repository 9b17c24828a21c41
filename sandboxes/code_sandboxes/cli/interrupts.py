"""Ctrl-C while code runs, and answers to its `input()`."""

from __future__ import annotations

import signal
import sys
import threading
import time
from contextlib import suppress
from queue import Empty, SimpleQueue
from types import FrameType
from typing import Any, Self

from ..errors import SandboxError
from ..sandbox import Sandbox
from ..text import printable
from .output import Stream

GRACE = 5.0  # seconds that interrupted code has for its own end
_ARRIVAL = 0.2  # seconds in which an interrupt reaches the code


class CtrlC:
    """While it is open, Ctrl-C interrupts the code; again, or after `GRACE`, the sandbox ends.

    Attributes:
        pressed: how often.
        killed: whether the code did not stop, and the sandbox was ended.
        reading: whether this process waits for its own stdin.
    """

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox
        self.pressed, self.killed, self.reading = 0, False, False
        # a signal handler may come at any moment: it may touch no lock, and only put() is safe
        self._presses: SimpleQueue[bool] = SimpleQueue()
        self._thread = threading.Thread(target=self._watch, daemon=True, name="ctrl-c")
        self._before: Any = None

    def __enter__(self) -> Self:
        main = threading.current_thread() is threading.main_thread()
        # who ignores it (nohup, a background job) goes on ignoring it
        if main and signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
            self._before = signal.signal(signal.SIGINT, self._press)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)
        self._presses.put(False)
        self._thread.join()

    def _press(self, number: int, frame: FrameType | None) -> None:
        self.pressed += 1
        if self.pressed > 1 or self.reading:
            raise KeyboardInterrupt
        self._presses.put(True)

    def interrupt(self) -> None:
        """What the first Ctrl-C does."""
        self._presses.put(True)

    def _watch(self) -> None:
        if not self._presses.get():
            return
        with suppress(SandboxError):  # it has ended by itself
            self._sandbox.interrupt()
        try:
            self._presses.get(timeout=GRACE)
        except Empty:
            self.killed = True
            self._sandbox.kill()


class Answers:
    """Answers `input()` and `getpass()` from this process's stdin.

    Args:
        ctrl_c: learns that we read.
        shown: where prompts go.

    Attributes:
        password: whether the answer must not be seen; set before each call.
    """

    def __init__(self, ctrl_c: CtrlC, shown: Stream) -> None:
        self._ctrl_c, self._shown = ctrl_c, shown
        self.password = False

    def __call__(self, prompt: str) -> str:
        """One line, without its end.

        Raises:
            EOFError: there is none; it is raised inside.
        """
        self._ctrl_c.reading = True
        try:
            return self._read(prompt)
        except KeyboardInterrupt:
            if self._ctrl_c.pressed > 1:
                raise
            self._ctrl_c.interrupt()
            time.sleep(_ARRIVAL)  # so that the code sees the interrupt, and not an end of file
            raise EOFError("interrupted") from None
        finally:
            self._ctrl_c.reading = False

    def _read(self, prompt: str) -> str:
        if sys.stdin is None:
            raise EOFError("there is no stdin")
        if self.password and sys.stdin.isatty():
            from getpass import getpass

            return getpass(printable(prompt))
        self._shown.write(prompt)
        line = sys.stdin.readline()
        if not line:
            raise EOFError("EOF when reading a line")
        self._shown.fresh = self._shown.fresh or sys.stdin.isatty()  # Enter was echoed
        return line.removesuffix("\n")
