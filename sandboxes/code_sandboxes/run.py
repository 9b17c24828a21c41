"""One execution: what is done with its events, and who waits for them."""

from __future__ import annotations

import inspect
import json
import threading
from collections.abc import AsyncIterator, Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from queue import Empty, SimpleQueue
from time import monotonic
from typing import Any, Protocol, TypeGuard

from .ctrl_c import Whole, patience
from .deadline import Deadline, Step
from .events import Ask, Done, Event, ExecutionError, Started, weight
from .kernel import Emit
from .text import shortened

answering: ContextVar[frozenset[object]] = ContextVar("answering", default=frozenset())
MOST_JSON = 64 << 20  # bytes of an answer to the sandbox


class Target(Protocol):
    """What runs: a turn on a context, or a command."""

    kept: str  # when it was stopped: the end of an error's text

    def begin(self, emit: Emit) -> None: ...
    def reply(self, ask: str, answer: Mapping[str, Any]) -> None: ...
    def taken(self, size: int) -> None: ...
    def interrupt(self) -> None: ...
    def kill(self) -> None: ...
    def give_up(self) -> None: ...  # it does not end even when killed: emit its `Done` without it


Handlers = Mapping[str, Callable[..., Any]]  # host functions by name; "input" answers input()
INPUT = "\0input"  # no function has this name


class Run:
    """The state of one execution that both drivers share."""

    def __init__(
        self, target: Target, timeout: float | None, handlers: Handlers, busy: object = None
    ) -> None:
        self.target, self.handlers, self._busy = target, handlers, busy
        self.deadline = Deadline(timeout)
        self.began: float | None = None
        self._done = threading.Event()
        self._owing = threading.Lock()
        self._unhandled, self._abandoned, self._free = 0, False, False

    def begin(self, emit: Emit) -> None:
        """Start it; `emit` gets its events."""

        def watched(event: Event) -> None:
            if isinstance(event, Done):
                self._done.set()
            with self._owing:
                seen, free = not self._abandoned, self._free
                self._unhandled += 0 if free else weight(event)
            if free:
                self._give_back(weight(event))
            if seen:
                emit(event)

        self.target.begin(watched)

    def see(self, event: Event) -> list[Event]:
        """Note an event; the events that the caller is to see for it."""
        if isinstance(event, Started):
            self.began = monotonic()
            self.deadline.started(self.began)
        elif isinstance(event, ExecutionError) and self.deadline.expired:
            return []  # the interrupt is ours, not the code's
        elif isinstance(event, Done) and self.deadline.expired:
            kept = "; the interpreter was restarted" if event.state_lost else self.target.kept
            said = f"stopped after {self.deadline.timeout:g} s{kept}"
            return [ExecutionError("ExecutionTimeout", said, state_lost=event.state_lost), event]
        return [event]

    def handled(self, event: Event) -> None:
        """The caller is done with an event: its credit goes back."""
        with self._owing:
            size = 0 if self._free else weight(event)
            self._unhandled -= size
        self._give_back(size)

    def _set_free(self) -> None:
        """Wait for the caller no more: the code could not say that it has ended."""
        with self._owing:
            owed, self._unhandled, self._free = self._unhandled, 0, True
        self._give_back(owed)

    def _give_back(self, size: int) -> None:
        if size:
            with Whole():
                self.target.taken(size)

    def check(self) -> float | None:
        """Do what is due, however slow the caller is; the seconds until something else is."""
        if self._done.is_set():  # though the caller may not have come to it yet
            return None
        if self.deadline.left(monotonic()) == 0.0:
            with Whole():
                self._set_free()
                self.act(self.deadline.due(monotonic()))
        return self.deadline.left(monotonic())

    def act(self, step: Step | None) -> None:
        """Take a step of the deadline."""
        if step is Step.INTERRUPT:
            self.target.interrupt()
        elif step is Step.KILL:
            self.target.kill()
        elif step is Step.GIVE_UP:
            self.target.give_up()

    @contextmanager
    def asked(self) -> Iterator[None]:
        """While a host function runs: what waits for it can run nothing else, and has time."""
        token = answering.set(answering.get() | {self._busy})
        self.deadline.paused(monotonic())  # not before: code that only asks would have no end
        try:
            yield
        finally:
            self.deadline.resumed(monotonic())
            answering.reset(token)

    def waits(self, event: Event) -> TypeGuard[Ask]:
        """Whether the code waits for an answer; where it has ended, thousands may be left."""
        return isinstance(event, Ask) and not self._done.is_set()

    def call(self, ask: Ask) -> Any:
        """The handler's value (or an awaitable); raises what it raises."""
        if self.deadline.expired:
            raise TimeoutError("the time of this execution is over")
        if ask.kind == "input":
            if INPUT not in self.handlers:
                raise StdinNotImplementedError("input() was called, and no stdin= was given")
            return self.handlers[INPUT](str(ask.payload.get("prompt", "")))
        match ask.payload:  # hostile
            case {"function": str(name), "args": list(args), "kwargs": dict(kwargs)}:
                if name in self.handlers and name != INPUT:
                    return self.handlers[name](*args, **kwargs)
        wanted = shortened(str(ask.payload.get("function")), 100)
        raise NameError(f"the host offers no function {wanted!r} to this execution")

    def answer(self, ask: Ask, value: Any, error: Exception | None) -> None:
        """Send a handler's value, or its error, to the code that waits."""
        answer: dict[str, Any] = {"value": value}
        if error is None:
            try:
                if len(json.dumps(value, allow_nan=False)) > MOST_JSON:
                    error = ValueError(f"the host's answer is over {MOST_JSON} bytes")
            except (TypeError, ValueError, RecursionError) as problem:
                error = TypeError(f"the host's answer is no JSON: {problem}")
        if error is not None:
            alone = len(error.args) == 1 and isinstance(error.args[0], str)
            text = error.args[0] if alone else str(error)  # str() of a KeyError adds quotes
            answer = {"error": [type(error).__name__, text]}
        self.target.reply(ask.id, answer)

    def abandon(self) -> None:
        """Nobody looks any more: interrupt, and kill what does not end."""
        self._abandoned = True
        self._set_free()
        if self._done.is_set():
            return
        self.act(self.deadline.next_step(monotonic()))
        threading.Thread(target=self._finish, daemon=True, name="sandbox-abandoned").start()

    def _finish(self) -> None:
        while not self._done.wait(self.deadline.grace):
            step = self.deadline.next_step(monotonic())
            if step is None:
                return
            self.act(step)


class StdinNotImplementedError(NotImplementedError):
    """Raised inside, by `input()`, where nobody is there to answer."""


def drive(run: Run) -> Generator[Event, None, None]:
    """Yield the events of a run, as they happen; leaving the loop stops the code."""
    inbox: SimpleQueue[Event] = SimpleQueue()
    try:
        with Whole():
            run.begin(inbox.put)
        while True:
            try:
                event = inbox.get(timeout=patience(run.check()))
            except Empty:
                continue
            yield from run.see(event)
            run.handled(event)
            if isinstance(event, Done):
                return
            if run.waits(event):
                value, error = None, None
                try:
                    with run.asked():
                        value = run.call(event)
                except Exception as problem:  # noqa: BLE001 - raised inside, at the call site
                    error = problem
                with Whole():
                    run.answer(event, value, error)
    finally:
        with Whole():
            run.abandon()


async def drive_async(run: Run) -> AsyncIterator[Event]:
    """The same; between events it holds no thread."""
    import asyncio  # 30 ms that a synchronous caller need not pay

    loop = asyncio.get_running_loop()
    inbox: asyncio.Queue[Event] = asyncio.Queue()

    def emit(event: Event) -> None:
        if not loop.is_closed():
            loop.call_soon_threadsafe(inbox.put_nowait, event)

    try:
        run.begin(emit)
        while True:
            try:
                async with asyncio.timeout(run.check()):
                    event = await inbox.get()
            except TimeoutError:
                continue
            for shown in run.see(event):
                yield shown
            run.handled(event)
            if isinstance(event, Done):
                return
            if run.waits(event):
                value = error = None
                try:
                    with run.asked():
                        value = run.call(event)
                        value = await value if inspect.isawaitable(value) else value
                except Exception as problem:  # noqa: BLE001 - raised inside, at the call site
                    error = problem
                run.answer(event, value, error)
    finally:
        run.abandon()
