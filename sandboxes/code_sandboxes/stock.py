"""The sandboxes of a pool: those that are ready, and who waits for one."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from contextlib import suppress
from typing import Any
from weakref import WeakSet

from . import registry
from .checks import functions_of
from .config import SandboxConfig, configure
from .core import Core
from .ctrl_c import Whole
from .errors import ConfigurationError, SandboxClosedError, SandboxError
from .kernel import Hosted
from .run import drive

MOST_STARTING = 8  # at once: more would only slow each other down
FORK_SECONDS = 20.0  # that a fork waits for what is being started
_here: WeakSet[Stock] = WeakSet()  # of this process
_held: list[Stock] = []  # during a fork


def _settle() -> None:
    """Before a fork: whoever starts a sandbox may hold locks, and the child would wait for them."""
    for stock in list(_here):
        stock.changed.acquire()
        _held.append(stock)
        stock.changed.wait_for(stock.quiet, FORK_SECONDS)


def _go_on() -> None:
    while _held:
        _held.pop().changed.release()


def _disown() -> None:
    """In a forked child: what was ready is the parent's."""
    _held.clear()
    for stock in list(_here):
        stock.begin()


os.register_at_fork(before=_settle, after_in_parent=_go_on, after_in_child=_disown)


class Stock:
    """What `SandboxPool` and `AsyncSandboxPool` share.

    Args:
        variant, config, keywords, host_functions: as for `Core.create`.
        size: how many are kept ready.

    Raises:
        ConfigurationError, UnsupportedError: what `create` would refuse.
    """

    def __init__(
        self,
        variant: str | None,
        size: int,
        config: SandboxConfig | None,
        keywords: Mapping[str, Any],
        host_functions: Mapping[str, Callable[..., Any]] | None,
    ) -> None:
        if isinstance(size, bool) or not isinstance(size, int) or size < 1:
            raise ConfigurationError(f"size is a number of sandboxes, 1 or more; not {size!r}")
        self.variant = variant or os.environ.get("CODE_SANDBOXES_VARIANT") or registry.DEFAULT
        self.size, self._functions = size, functions_of(host_functions)
        self._settings = configure(config, keywords)
        registry.refuse_unsupported(self.variant, self._settings)
        self.closed = False
        self.begin()
        _here.add(self)
        with self.changed:
            self._fill()

    def begin(self) -> None:
        """With nothing."""
        self._ready: deque[Core] = deque()
        self._waiting: deque[Future[Core]] = deque()
        self._starting, self.changed = 0, threading.Condition()

    def quiet(self) -> bool:
        """Whether nothing is being started."""
        return self._starting == 0

    @property
    def ready(self) -> int:
        """How many can be had at once."""
        return len(self._ready)

    def ask(self) -> Future[Core]:
        """One of them; to cancel this gives up, or else what came is to be given to `end`."""
        asked: Future[Core] = Future()
        lost = []
        with Whole(), self.changed:
            if self.closed:
                raise SandboxClosedError("the pool was closed; make another one")
            while self._ready and not asked.done():
                core = self._ready.popleft()
                if usable(core):
                    asked.set_result(core)
                else:
                    lost.append(core)
            if not asked.done():
                self._waiting.append(asked)
            self._fill()
        for core in lost:
            self.end(core)
        return asked

    def _fill(self) -> None:
        """Start what is missing; the lock is held."""
        wanted = self.size + len(self._waiting) - len(self._ready) - self._starting
        for _ in range(min(wanted, MOST_STARTING - self._starting)):
            self._starting += 1
            threading.Thread(target=self._start, name="sandbox-pool", daemon=True).start()

    def _start(self) -> None:
        core, failed = None, None
        try:
            core = Core.create(self.variant, self._settings, {}, self._functions)
            for _ in drive(core.request(None, "list")):
                pass  # the interpreter answers: the first execution need not wait for it
        except (SandboxError, OSError) as error:
            failed = error
            if core is not None:
                self.end(core)
                core = None
        with self.changed:
            self._starting -= 1
            if core is not None and not self.closed:
                self._hand_over(core)
                self._fill()
                core = None
            elif failed is not None and self._starting < len(self._waiting):
                self._tell(failed)  # no other start can make up for it; who asks next, tries again
            self.changed.notify_all()
        if core is not None:
            self.end(core)

    def _hand_over(self, core: Core) -> None:
        """To whoever waits, or to those that are ready."""
        while self._waiting:
            asked = self._waiting.popleft()
            if asked.set_running_or_notify_cancel():
                asked.set_result(core)
                return
        self._ready.append(core)

    def _tell(self, failed: SandboxError | OSError) -> None:
        while self._waiting:
            asked = self._waiting.popleft()
            if asked.set_running_or_notify_cancel():
                asked.set_exception(failed)
                return

    def give(self, core: Core) -> bool:
        """Hand one out; whether it is still there. Its lifetime counts from here."""
        lifetime = core.config.max_lifetime
        if lifetime is not None and not isinstance(core.variant, Hosted):
            try:
                core.expire_in(lifetime)
            except SandboxError:
                self.end(core)
                return False
        return True

    def give_up(self, asked: Future[Core]) -> bool:
        """Do not wait any longer; whether it had not come yet. If it had, it is ended."""

        def end(done: Future[Core]) -> None:
            if not done.cancelled() and done.exception() is None:
                threading.Thread(target=self.end, args=(done.result(),)).start()

        with Whole(), self.changed, suppress(ValueError):  # it may have come
            self._waiting.remove(asked)
        asked.add_done_callback(end)
        return asked.cancel()

    @staticmethod
    def end(core: Core) -> None:
        """End one that nobody has used."""
        with suppress(SandboxError):  # it has ended by itself
            core.end()

    def close(self) -> None:
        """End those that nobody has taken; returns when that is done."""
        with Whole(), self.changed:
            self.closed = True
            idle, self._ready = list(self._ready), deque()
            waiting, self._waiting = list(self._waiting), deque()
        for asked in waiting:
            if asked.set_running_or_notify_cancel():
                asked.set_exception(SandboxClosedError("the pool was closed"))
        for core in idle:
            self.end(core)
        with self.changed:
            self.changed.wait_for(self.quiet)


def usable(core: Core) -> bool:
    """Whether a sandbox that has waited is still there."""
    try:
        return bool(core.machine)
    except SandboxError:
        return False
