"""Ctrl-C while code runs, and answers to its `input()`."""

from __future__ import annotations

import os
import select
import signal
import sys
import threading
import time
from contextlib import suppress
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
        self._read, self._write = os.pipe()
        os.set_blocking(self._write, False)
        self._thread = threading.Thread(target=self._watch, daemon=True, name="ctrl-c")
        self._before: Any = None
        self._woke = -1

    def __enter__(self) -> Self:
        main = threading.current_thread() is threading.main_thread()
        # who ignores it (nohup, a background job) goes on ignoring it
        if main and signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
            # The signal itself writes to the pipe. A handler in Python would not do: it runs
            # when the main thread comes to it, which may be about to wait for the code.
            self._woke = signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)
            self._before = signal.signal(signal.SIGINT, self._press)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)
            signal.set_wakeup_fd(self._woke)
        os.write(self._write, b"\0")
        self._thread.join()
        os.close(self._read)
        os.close(self._write)

    def _press(self, number: int, frame: FrameType | None) -> None:
        self.pressed += 1
        if self.pressed > 1 or self.reading:
            raise KeyboardInterrupt

    def _watch(self) -> None:
        if not self._next():
            return
        with suppress(SandboxError):  # it has ended by itself
            self._sandbox.interrupt()
        again = self._next(GRACE)
        if again is not False:
            self.killed = again is None
            self._sandbox.kill()

    def _next(self, seconds: float | None = None) -> bool | None:
        """Wait: True for Ctrl-C, False for the end of all this, None if nothing came in time."""
        while select.select([self._read], [], [], seconds)[0]:
            number = os.read(self._read, 1)[0]
            if number in (0, signal.SIGINT):  # not another signal, which this process handles
                return number != 0
        return None


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
