"""What the engine warns of, told on the page that it concerns."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from code_sandboxes import printable

MOST_TOLD = 5  # warnings; a snapshot may have any number
MOST_TEXT = 500  # characters of one

_lock = threading.Lock()
_heard: dict[int, list[str]] = {}  # by the thread that hears
_while_heard = ExitStack()


@contextmanager
def heard() -> Iterator[list[str]]:
    """The RuntimeWarnings that this thread is given meanwhile; those of others pass.

    `catch_warnings` alone is for the whole process: of two pages, each would hear both.

    Example:
        >>> with heard() as said:
        ...     warnings.warn("careful", RuntimeWarning)
        >>> said
        ['careful']
    """
    me, mine = threading.get_ident(), list[str]()
    with _lock:
        if not _heard:
            _while_heard.enter_context(warnings.catch_warnings())
            warnings.simplefilter("always", RuntimeWarning)  # also what was said before
            warnings.showwarning = _listener(warnings.showwarning)
        _heard[me] = mine
    try:
        yield mine
    finally:
        with _lock:
            del _heard[me]
            if not _heard:
                _while_heard.close()


def _listener(pass_on: Callable[..., None]) -> Callable[..., None]:
    def show(message: Warning | str, category: type[Warning], *where: Any) -> None:
        mine = _heard.get(threading.get_ident())
        if mine is not None and issubclass(category, RuntimeWarning):
            mine.append(str(message))
        else:
            pass_on(message, category, *where)

    return show


def told_of(warned: list[str]) -> list[str]:
    """What is told of warnings: the first of them, fit to be shown as text.

    Example:
        >>> told_of(["a\\x1b[31mb"])
        ['ab']
    """
    told = [printable(text)[:MOST_TEXT] for text in warned[:MOST_TOLD]]
    if (more := len(warned) - MOST_TOLD) > 0:
        told.append(f"and {more:,} more")
    return told
