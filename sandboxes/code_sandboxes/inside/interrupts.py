"""SIGINT in a Jupyter kernel: it reaches the user's code, and nothing else."""

from __future__ import annotations

import signal

from . import helper

TYPE_CHECKING = False  # not that of typing, which takes 10 ms to import
if TYPE_CHECKING:
    from typing import Any


class Interrupts:
    """SIGINT stops the user's code, and nothing of the kernel's own: that would be its end."""

    def __init__(self, kernel: Any) -> None:
        self._kernel, self.running, self._early, self._noticed = kernel, False, False, False
        kernel.pre_handler_hook = self._expect
        signal.signal(helper.AGAIN, self._again)

    def _expect(self) -> None:
        self._early = self._noticed = False
        self._kernel.saved_sigint_handler = signal.signal(signal.SIGINT, self._take)

    def _take(self, *_: Any) -> None:
        if self.running:
            self._noticed = True
            raise KeyboardInterrupt
        self._early = True

    def _again(self, number: int, frame: Any) -> None:
        handler: Any = signal.getsignal(signal.SIGINT)
        # the user's own may count; ipykernel's, for a cell that awaits, acts but once
        if not self._noticed and (handler == self._take or _is_ipykernels(handler)):
            handler(number, frame)

    def begin(self) -> None:
        """The user's code starts."""
        if not self.running:
            self.running, self._noticed = True, self._early
            if self._early:
                raise KeyboardInterrupt

    def begin_before(self, run: Any) -> Any:
        """`run`, with `begin` before it: what IPython does first would swallow an interrupt."""

        async def begin_and_run(*args: Any, **options: Any) -> Any:
            self.begin()
            return await run(*args, **options)

        return begin_and_run


def _is_ipykernels(handler: object) -> bool:
    return str(getattr(handler, "__module__", "")).startswith("ipykernel.")
