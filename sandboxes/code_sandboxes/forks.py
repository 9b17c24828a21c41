"""What a fork must not come between.

A thread that is not there in the child may have held a lock (of `tempfile`, of a module that is
just imported, ...), which the child then waits for, for ever.
"""

from __future__ import annotations

import concurrent.futures.thread  # noqa: F401 - its own fork handler is to be run after ours
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

FORK_SECONDS = 20.0  # that a fork waits, at most


class _Gate:
    """Who is at work, and who forks."""

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self.forking = self.busy = self.both = 0
        self.mine = threading.local()  # whether this thread is at work


_gate = _Gate()


@contextmanager
def unforked() -> Iterator[None]:
    """A fork by another thread waits for the end of this, and this for the end of a fork."""
    gate = _gate
    with gate.changed:
        gate.changed.wait_for(lambda: not gate.forking)
        gate.busy += 1
    gate.mine.busy = True
    try:
        yield
    finally:
        gate.mine.busy = False
        with gate.changed:
            gate.busy -= 1
            gate.changed.notify_all()


def _at_work() -> bool:
    return bool(getattr(_gate.mine, "busy", False))


def _before() -> None:
    with _gate.changed:
        _gate.forking += 1
        _gate.both += _at_work()  # who forks at work cannot wait for itself, nor another for it
        _gate.changed.notify_all()
        _gate.changed.wait_for(lambda: _gate.busy <= _gate.both, FORK_SECONDS)


def _after_in_parent() -> None:
    with _gate.changed:
        _gate.forking -= 1
        _gate.both -= _at_work()
        _gate.changed.notify_all()


def _after_in_child() -> None:
    global _gate
    _gate = _Gate()


os.register_at_fork(
    before=_before, after_in_parent=_after_in_parent, after_in_child=_after_in_child
)
