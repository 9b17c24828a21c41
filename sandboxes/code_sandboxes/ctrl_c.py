"""Ctrl-C in this process: noticed soon, and never in the middle of what must be done whole."""

from __future__ import annotations

import threading

# what the module signal does above these, names as enums, takes ten times as long
from _signal import SIGINT, getsignal, signal
from types import FrameType
from typing import Any, Self

# Seconds that the main thread waits at a time. A signal that comes right before a wait begins is
# noticed only when that wait ends: CPython has looked already, and the system call starts after it.
LOOK = 0.25


def patience(seconds: float | None) -> float | None:
    """How long to wait at a time, for a wait of so many seconds (None: without end)."""
    if threading.current_thread() is not threading.main_thread():
        return seconds  # signals are not handled here
    return LOOK if seconds is None else min(seconds, LOOK)


class Whole:
    """While it is open, Ctrl-C waits: half a frame, or a lock never released, would be the end.

    A second one does not wait.

    Example:
        >>> with Whole():
        ...     pass  # a few milliseconds at most
    """

    def __enter__(self) -> Self:
        self._before: Any = None
        self._came: FrameType | None = None
        if threading.current_thread() is threading.main_thread():
            handler = getsignal(SIGINT)
            if callable(handler) and getattr(handler, "__func__", None) is not Whole._note:
                self._before = handler
                signal(SIGINT, self._note)
        return self

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self._came is None:
            self._came = frame
        else:  # somebody insists: what should be whole may wait for ever
            self._came = None
            self._before(number, frame)

    def __exit__(self, *_: object) -> None:
        if self._before is not None:
            signal(SIGINT, self._before)
            if self._came is not None:
                self._before(SIGINT, self._came)
