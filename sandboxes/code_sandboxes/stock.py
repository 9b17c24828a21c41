"""The sandboxes of a pool: those that are ready, and who waits for one."""

from __future__ import annotations

import atexit
import os
import threading
import warnings
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from typing import Any
from weakref import WeakSet

from . import registry
from .checks import functions_of
from .config import SandboxConfig, configure
from .core import Core
from .ctrl_c import Whole
from .errors import ConfigurationError, SandboxClosedError, SandboxError, SandboxStartError
from .forks import unforked
from .kernel import Hosted
from .run import drive

MOST_STARTING = 8  # at once: more would only slow each other down
_here: WeakSet[Stock] = WeakSet()  # of this process


def _disown() -> None:
    """In a forked child: what was ready is the parent's."""
    for stock in list(_here):
        if stock.pid != os.getpid():
            stock.begin()


def _close_all() -> None:
    """At the end of the process: what is being started would be left half made."""
    for stock in list(_here):
        if stock.pid == os.getpid():
            stock.close()


os.register_at_fork(after_in_child=_disown)
atexit.register(_close_all)


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
        self.variant = variant or registry.default()
        self.size, self._functions = size, functions_of(host_functions)
        self._settings = configure(config, keywords)
        registry.refuse_unsupported(self.variant, self._settings)
        self.closed = False
        self.begin()
        _here.add(self)
        with self._changed:
            self._fill()

    def begin(self) -> None:
        """With nothing."""
        self.pid = os.getpid()
        self._ready: deque[Core] = deque()
        self._waiting: deque[Future[Core]] = deque()
        self._starting, self._changed = 0, threading.Condition()

    @property
    def ready(self) -> int:
        """How many can be had at once."""
        return len(self._ready)

    def __str__(self) -> str:
        state = "closed" if self.closed else f"{self.ready} of {self.size} ready"
        return f"{self.variant} {state}"

    # taking ---------------------------------------------------------------------------
    def ask(self) -> Future[Core]:
        """One of them. Whoever will not wait for it says so by `give_up`.

        Raises:
            SandboxClosedError: the pool was closed.
        """
        asked: Future[Core] = Future()
        lost = []
        with Whole(), self._changed:
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
            later(core)
        return asked

    def late(self, asked: Future[Core]) -> Core | None:
        """The time is over: what has come in the very last moment, or None.

        Raises:
            SandboxError, OSError: what the start has failed with, in that moment.
        """
        return None if self._forget(asked) else asked.result()

    def _forget(self, asked: Future[Core]) -> bool:
        with Whole(), self._changed:
            if asked in self._waiting:
                self._waiting.remove(asked)
        return asked.cancel()

    def give_up(self, asked: Future[Core]) -> None:
        """Nobody waits for it any more; if it comes, or has come, it is ended."""

        def end_it(done: Future[Core]) -> None:
            if not done.cancelled() and done.exception() is None:
                later(done.result())

        self._forget(asked)
        asked.add_done_callback(end_it)

    def give(self, core: Core) -> bool:
        """Hand one out; whether it is still there. Its lifetime counts from here."""
        lifetime = core.config.max_lifetime
        if lifetime is not None and not isinstance(core.variant, Hosted):
            try:
                core.expire_in(lifetime)
            except SandboxError:
                later(core)
                return False
        return True

    # making ---------------------------------------------------------------------------
    def _fill(self, *, ready: bool = True) -> None:
        """Start what is missing for those who wait, and to be ready; the lock is held."""
        wanted = len(self._waiting) - self._starting
        if ready:
            wanted += self.size - len(self._ready)
        for _ in range(min(wanted, MOST_STARTING - self._starting)):
            try:
                threading.Thread(target=self._start, name="sandbox-pool", daemon=True).start()
            except RuntimeError as error:
                if not self._starting:
                    self._tell(SandboxStartError(f"no thread can be started: {error}"))
                return
            self._starting += 1

    def _start(self) -> None:
        core, failed = None, None
        try:
            with unforked():
                core = Core.create(self.variant, self._settings, {}, self._functions)
                for _ in drive(core.request(None, "list")):
                    pass  # the interpreter answers: the first execution need not wait for it
        except BaseException as error:  # noqa: BLE001 - it belongs to whoever waits
            failed = error
        with self._changed:
            wanted = self._waiting or len(self._ready) < self.size
            if core is not None and failed is None and wanted and not self.closed:
                self._hand_over(core)
                core = None
        if core is not None:
            end(core)  # before it counts as over: `close` waits for that
        with self._changed:
            self._starting -= 1
            if failed is not None and self._starting < len(self._waiting):
                self._tell(failed)  # no other start can make up for it
            if not self.closed:
                self._fill(ready=failed is None)  # else not before somebody asks
            self._changed.notify_all()

    def _hand_over(self, core: Core) -> None:
        """To whoever waits, or to those that are ready."""
        if (asked := self._first()) is not None:
            asked.set_result(core)
        else:
            self._ready.append(core)

    def _tell(self, failed: BaseException) -> None:
        if (asked := self._first()) is not None:
            asked.set_exception(failed)

    def _first(self) -> Future[Core] | None:
        """Who has waited longest, and still does."""
        while self._waiting:
            asked = self._waiting.popleft()
            if asked.set_running_or_notify_cancel():
                return asked
        return None

    def close(self) -> None:
        """End those that nobody has taken; returns when that is done."""
        with Whole(), self._changed:
            self.closed = True
            idle, self._ready = list(self._ready), deque()
            while self._waiting:
                self._tell(SandboxClosedError("the pool was closed"))
        for core in idle:
            end(core)
        with self._changed:
            self._changed.wait_for(lambda: self._starting == 0)


def usable(core: Core) -> bool:
    """Whether a sandbox that has waited is still there."""
    try:
        return bool(core.machine)
    except SandboxError:
        return False


def late_error(timeout: float | None) -> SandboxStartError:
    """What is raised where none came in time."""
    return SandboxStartError(f"no sandbox was ready within {timeout:g} s")


def end(core: Core) -> None:
    """End one that nobody has used; a failure is a warning, since nobody waits for it."""
    try:
        core.end()
    except (SandboxError, OSError) as error:
        warnings.warn(f"sandbox {core.id} of a pool is not ended: {error}", RuntimeWarning, 2)


def later(core: Core) -> None:
    """The same, on a thread of its own: it may take a while."""
    threading.Thread(target=end, args=(core,), name="sandbox-pool-end").start()
