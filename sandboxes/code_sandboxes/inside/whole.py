"""What an interrupt must not cut in two."""

from __future__ import annotations

from _thread import get_ident

TYPE_CHECKING = False  # not that of typing, which takes 10 ms to import
if TYPE_CHECKING:
    from typing import Self


class Whole:
    """While it is open, KeyboardInterrupt waits; only in the thread that made it, the main one.

    An interrupt can come at any call or loop of Python code: in the middle of a line to the host,
    or of a lock of `threading` that is written in Python (Event, Condition), which is then never
    released. So those are not used where code may be interrupted.
    """

    def __init__(self) -> None:
        self._main, self._depth, self._came = get_ident(), 0, False

    def __enter__(self) -> Self:
        if get_ident() == self._main:
            self._depth += 1
        return self

    def __exit__(self, *_: object) -> None:
        if get_ident() == self._main:
            self._depth -= 1
            if self._came and not self._depth:
                self._came = False
                raise KeyboardInterrupt

    def interrupt(self) -> None:
        """Called by the handler of a signal: raise KeyboardInterrupt, now or at the end."""
        if self._depth:
            self._came = True
        else:
            raise KeyboardInterrupt

    def forget(self) -> None:
        """An interrupt that came so late belongs to nothing that follows."""
        self._came = False
