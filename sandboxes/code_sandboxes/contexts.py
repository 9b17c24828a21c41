"""An interpreter, and the executions that queue for it."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import replace
from typing import Any

from .errors import SandboxError
from .events import Done, Event, ExecutionError, Started, weight
from .kernel import Channel, Emit
from .requests import helper_code

AGAIN = 0.05, 0.1, 0.2, 0.4  # seconds between an interrupt and its repetitions


def after(waiting: Sequence[Future[Any]], do: Callable[[], None]) -> None:
    """Call `do` when all of these are done, at once or on the thread that ends the last one."""
    if not waiting:
        do()
    else:
        waiting[0].add_done_callback(lambda _: after(waiting[1:], do))


class Interpreter:
    """One interpreter and the executions that queue for it; replaced when it died."""

    def __init__(self, open_channel: Callable[[], Channel]) -> None:
        self._open_channel = open_channel
        self.channel: Channel | None = None
        self.offered: set[str] = set()
        self.current: Turn | None = None
        self.closed = self.left = False
        self._waiting: deque[Callable[[], None]] = deque()
        self._busy, self._lock = False, threading.Lock()
        self.opening = threading.Lock()  # held while a channel is opened, or let go of
        self.signals: list[Future[Any]] = []  # interrupts of former executions, under way

    @property
    def ready(self) -> bool:
        """Whether `prepare` would return at once."""
        return self.channel is not None

    def prepare(self) -> Channel:
        """The channel; blocks while an interpreter starts (async callers use a thread)."""
        with self.opening:
            if self.channel is None:
                if self.left:
                    raise SandboxError("the sandbox was detached")
                self.offered.clear()
                self.channel = self._open_channel()
            return self.channel

    def warm(self) -> None:
        """Start an interpreter in the background; a failure is told to the first execution."""

        def start() -> None:
            try:
                self.prepare()
            except (SandboxError, OSError):
                return  # the first execution tries again, and reports it

        threading.Thread(target=start, daemon=True, name="sandbox-warm").start()

    def drop(self, channel: Channel | None) -> None:
        """That interpreter is dead: let go of it, not on the thread that says so."""
        if channel is not None and channel is self.channel:
            self.channel = None
            threading.Thread(target=channel.close, daemon=True).start()

    def enter(self, start: Callable[[], None]) -> None:
        """Start when all that entered before has left."""
        with self._lock:
            if self._busy:
                self._waiting.append(start)
                return
            self._busy = True
        start()

    def leave(self) -> None:
        """Let the next one start."""
        with self._lock:
            following = self._waiting.popleft() if self._waiting else None
            self._busy = following is not None
        if following is not None:
            following()

    def kill(self) -> None:
        """End the interpreter; the next execution gets a new one."""
        with self.opening:
            channel = self.channel
        if channel is not None:
            channel.kill()
            if self.current is None:
                self.drop(channel)

    def close(self, *, keep: bool = False) -> None:
        """Let go of the channel, if there is one."""
        self.closed = not keep
        with self.opening:
            channel, self.channel = self.channel, None
        if channel is not None:
            channel.close(keep=keep)


class Turn:
    """One execution on an interpreter: queued, then submitted."""

    def __init__(
        self,
        interpreter: Interpreter,
        code: str,
        *,
        silent: bool = False,
        offer: Sequence[str] = (),
    ) -> None:
        self._interpreter, self._code = interpreter, code
        self._silent, self._offer, self.kept = silent, offer, "; variables are kept"
        self._channel: Channel | None = None
        self._cancelled = self._killed = self._over = False
        self._ending, self._finished = threading.Lock(), threading.Event()
        self._emit: Emit = lambda event: None

    def begin(self, emit: Emit) -> None:
        """Queue for the interpreter; `emit` gets the events."""
        self._emit = emit
        self._interpreter.enter(self._start)

    def _start(self) -> None:
        self._interpreter.current = self
        if self._cancelled:
            self._emit(ExecutionError("KeyboardInterrupt", "cancelled before it started"))
            self._ended(Done())
        elif self._interpreter.ready:
            self._submit()
        else:
            # its predecessor was lost: never start one on the thread that emits
            threading.Thread(target=self._submit, daemon=True, name="sandbox-start").start()

    def _submit(self) -> None:
        try:
            if self._interpreter.closed:
                raise SandboxError("the context is closed")
            self._channel = channel = self._interpreter.prepare()
        except (SandboxError, OSError) as error:
            self._fail(str(error))
            return
        self._emit(Started())
        signals, self._interpreter.signals = self._interpreter.signals, []
        after(signals, lambda: self._make_offers(channel))

    def _make_offers(self, channel: Channel) -> None:
        new = [name for name in self._offer if name not in self._interpreter.offered]
        if not new:
            self._run(channel)
            return

        def offered(event: Event) -> None:
            if isinstance(event, Done) and event.state_lost:
                self._fail("the interpreter ended")
            elif isinstance(event, Done):
                if not self._cancelled:
                    self._interpreter.offered.update(new)
                self._run(channel)
            else:  # what a thread of former code prints belongs to no execution
                channel.taken(weight(event))

        channel.submit(helper_code("offer", names=new), offered, silent=True)

    def _run(self, channel: Channel) -> None:
        if self._cancelled:
            self._emit(ExecutionError("KeyboardInterrupt", "cancelled before it started"))
            self._ended(Done())
        elif not self._over:
            channel.submit(self._code, self._pass_on, silent=self._silent)

    def _pass_on(self, event: Event) -> None:
        if isinstance(event, Done):
            self._ended(event)
        elif not self._over:
            self._emit(event)
        else:
            self.taken(weight(event))

    def _fail(self, why: str) -> None:
        self._emit(ExecutionError("InterpreterDied", why, state_lost=True))
        self._ended(Done(state_lost=True))

    def _ended(self, event: Done) -> None:
        with self._ending:
            if self._over:
                return
            self._over = True
        self._finished.set()
        if self._killed and not event.state_lost:  # its last word; the signal is under way
            event = replace(event, state_lost=True)
        if event.state_lost:
            self._interpreter.drop(self._channel)
        self._interpreter.current = None
        self._emit(event)
        self._interpreter.leave()

    def reply(self, ask: str, answer: Mapping[str, Any]) -> None:
        """Answer what the code asked."""
        if self._channel is not None and not self._over:
            self._channel.reply(ask, answer)

    def taken(self, size: int) -> None:
        """Give credit back."""
        if self._channel is not None:
            self._channel.taken(size)

    def interrupt(self) -> None:
        """Interrupt the code, or see that it never starts."""
        self._cancelled = True
        if self._signal(again=False):
            threading.Thread(target=self._insist, daemon=True, name="sandbox-interrupt").start()

    def _signal(self, *, again: bool) -> bool:
        """Send an interrupt, if the execution is not over."""
        with self._ending:  # held: none that is sent later can be missed by `_submit`
            if self._channel is None or self._over:
                return False
            if (sent := self._channel.interrupt(again=again)) is not None:
                self._interpreter.signals.append(sent)
            return True

    def _insist(self) -> None:
        """Interrupt again while it runs.

        The first can be lost: it came before the code began, or right before a call that waits.
        """
        for pause in AGAIN:
            if self._finished.wait(pause) or not self._signal(again=True):
                return

    def kill(self) -> None:
        """End the interpreter."""
        if self._channel is not None and not self._over:
            self._killed = True
            self._channel.kill()

    def give_up(self) -> None:
        """End the execution without the interpreter's word."""
        if self._channel is not None:
            self._fail("the interpreter does not answer")
