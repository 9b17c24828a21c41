"""What `Sandbox` and `AsyncSandbox` share: one machine, its contexts, its end."""

from __future__ import annotations

import os
import sys
import threading
import time
import uuid
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from typing import Any
from weakref import WeakValueDictionary

from . import keeping, records, registry
from .checks import check_callback, command_of, context_name, functions_of
from .config import DETACHED_LIFETIME, SandboxConfig, check_timeout, configure
from .contexts import Interpreter, Turn
from .ctrl_c import Whole
from .errors import (
    CloudError,
    ConfigurationError,
    SandboxClosedError,
    SandboxInUseError,
    SandboxNotFoundError,
    SandboxPausedError,
    SandboxStartError,
    UnsupportedError,
)
from .infos import Context
from .kernel import Detachable, Hosted, Pipe, Variant
from .machine import Machine
from .requests import helper_call
from .run import INPUT, Run, answering
from .targets import Command

MAIN = "default"  # the context that every sandbox has
_here: WeakValueDictionary[str, Core] = WeakValueDictionary()  # the sandboxes of this process


def _disown() -> None:
    """In a forked child: the sandboxes stay the parent's, and so does their lease."""
    for core in list(_here.values()):
        core.closed = core.closed or "made by the parent process, before a fork"
        core.free()
    _here.clear()


os.register_at_fork(after_in_child=_disown)


class Unset:
    """The type of `DEFAULT`."""

    def __repr__(self) -> str:
        return "DEFAULT"


DEFAULT = Unset()  # "whatever the sandbox has": None already means no limit


class Core:
    """One open sandbox. Nothing here waits for code."""

    def __init__(
        self,
        variant: Variant,
        pipe: Pipe,
        id: str,
        host_functions: Mapping[str, Callable[..., Any]],
        *,
        fresh: bool,
        restoring: keeping.Restoring | None = None,
    ) -> None:
        self.variant, self.id = variant, id
        self.config: SandboxConfig = variant.config
        self.timeout = self.config.timeout
        self.host_functions = dict(host_functions)
        self.closed = ""  # why
        self.paused: dict[str, Any] | None = None  # how it is reached again
        self._closing, self._ending = threading.Lock(), False  # whether it could not be ended
        self.keeping = threading.Lock()  # while a snapshot is made: one at a time
        self._interpreters: dict[str, Interpreter] = {}
        self._numbering = 0
        try:
            self._machine = Machine(pipe, variant.diagnosis)
            if fresh and restoring is None:
                self._add(MAIN).warm()  # while the supervisor starts
            kept = self._machine.wait_ready()
            if self.config.network_policy == "allowlist":
                from .egress.proxy import Proxy  # when it is wanted

                Proxy(self._machine, self.config.allowed_hosts, id)
            if restoring is not None:
                restoring.put_files(self._machine)
            self._machine.kept = [] if fresh else kept
        except BaseException:
            self.closed = "never started"
            pipe.close()
            variant.stop()
            raise
        for name in (MAIN, *self._machine.kept):
            self._add(name)
        _here[id] = self

    @classmethod
    def create(
        cls,
        variant: str,
        config: SandboxConfig | None,
        keywords: Mapping[str, Any],
        host_functions: Mapping[str, Callable[..., Any]] | None,
    ) -> Core:
        """Start a sandbox."""
        settings = configure(config, keywords)
        registry.refuse_unsupported(variant, settings)
        functions = functions_of(host_functions)
        id = f"sb-{uuid.uuid4().hex[:12]}"
        kind = registry.variant_class(variant)(settings, id)  # type: ignore[call-arg]
        restoring = keeping.restoring(kind)
        core = None
        try:
            core = cls(kind, kind.provision(), id, functions, fresh=True, restoring=restoring)
            core._machine.set_lifetime(
                kind.time_left() if isinstance(kind, Hosted) else settings.max_lifetime
            )
            records.write(core.record())
            if restoring is not None:
                restoring.put_variables(core)
        except BaseException:  # no state directory, or Ctrl-C at any moment
            with Whole():
                if core is not None:
                    core.end("never recorded")
                else:
                    kind.stop()
            raise
        for trouble in restoring.troubles if restoring is not None else ():
            warnings.warn(trouble, RuntimeWarning, stacklevel=3)
        return core

    @classmethod
    def adopt(cls, id: str) -> Core:
        """The sandbox of that id: this process's own, or a detached one."""
        if (own := _here.get(id)) is not None and not own.closed:
            return own
        record = records.find(id) or registry.record_at_a_service(id)
        if record is None:
            raise SandboxNotFoundError(
                f"no sandbox {id!r} on this machine, nor in a cloud; `Sandbox.list()` shows all"
            )
        if not record.detached:
            if record.owner_lives():
                raise SandboxInUseError(f"sandbox {id!r} belongs to process {record.owner_pid}")
            registry.end_orphan(record)
            raise SandboxNotFoundError(f"sandbox {id!r} has ended")
        settings = SandboxConfig(**record.config)
        kind = registry.variant_class(record.variant)(settings, id)  # type: ignore[call-arg]
        if not isinstance(kind, Detachable):
            raise UnsupportedError(registry.refusal(record.variant, "detach"))
        try:
            pipe = kind.adopt(record.place)
        except SandboxNotFoundError:
            records.remove(id)
            raise
        try:
            core = cls(kind, pipe, id, {}, fresh=False)
        except SandboxStartError as error:
            raise SandboxInUseError(f"sandbox {id!r} has another owner") from error
        left = record.expires - time.time() if record.expires is not None else None
        core._machine.set_lifetime(kind.time_left() if isinstance(kind, Hosted) else left)
        records.write(core.record())
        return core

    def record(self, *, detached: bool = False) -> records.Record:
        """What other processes may know of this sandbox."""
        expires = self._machine.expires
        place = self.variant.record() if isinstance(self.variant, Detachable) else {}
        return records.Record(
            id=self.id,
            variant=self.variant.name,
            config={k: v for k, v in self.config.given().items() if k not in ("env_vars", "token")},
            place=place,
            detached=detached,
            expires=None if expires is None else time.time() + expires - time.monotonic(),
        )

    # what it is made of ---------------------------------------------------------------
    @property
    def machine(self) -> Machine:
        """The machine.

        Raises:
            SandboxClosedError: the caller has let go of the sandbox.
            SandboxGoneError: it has ended.
        """
        if self.closed:
            raise SandboxClosedError(f"sandbox {self.id} was {self.closed}; create another one")
        if self.paused is not None:
            raise SandboxPausedError(f"sandbox {self.id} is paused; resume() it first")
        if self._machine.gone or self._machine.expired:
            raise self._machine.loss()
        return self._machine

    def _add(self, name: str) -> Interpreter:
        # no cycle through this object: a sandbox that is forgotten must end at once
        variant, machine = self.variant, self._machine
        made = Interpreter(lambda: variant.interpreter(machine, name))
        return self._interpreters.setdefault(name, made)

    def interpreter(self, context: Context | str | None) -> Interpreter:
        """The interpreter of a context.

        Raises:
            ConfigurationError: there is no such context.
        """
        name = MAIN if context is None else context_name(context)
        if name == MAIN:
            return self._add(MAIN)
        if name not in self._interpreters:
            known = ", ".join(self._interpreters)
            raise ConfigurationError(f"no context {name!r}; there are: {known}")
        return self._interpreters[name]

    def create_context(self, name: str | None) -> Context:
        """A further interpreter; it starts in the background."""
        self.machine.cwd  # noqa: B018 - raises where the sandbox is closed
        with self._closing:
            name = self._new_name() if name is None else context_name(name)
            if not name.replace("-", "").replace("_", "").isalnum() or len(name) > 40:
                raise ConfigurationError(
                    f"a context's name is letters, digits, - and _, not {name!r}"
                )
            if name in self._interpreters:
                raise ConfigurationError(f"there is a context {name!r} already")
            self._add(name).warm()
        return Context(name)

    def _new_name(self) -> str:
        while True:  # a snapshot may have brought some
            self._numbering += 1
            if (name := f"context-{self._numbering}") not in self._interpreters:
                return name

    def contexts(self) -> list[Context]:
        """All of them, the default one first."""
        return [Context(name) for name in self._interpreters]

    def close_context(self, context: Context | str) -> None:
        """End its interpreter."""
        name = context_name(context)
        interpreter = self.interpreter(name)
        if name == MAIN:
            raise ConfigurationError("the default context lives as long as the sandbox; restart it")
        del self._interpreters[name]
        interpreter.close()

    def restart(self, context: Context | str | None) -> None:
        """End an interpreter; the next execution gets a fresh one."""
        self.machine.cwd  # noqa: B018 - raises where the sandbox is closed
        self.interpreter(context).kill()

    # what runs ------------------------------------------------------------------------
    def run(
        self,
        code: str,
        *,
        timeout: float | None | Unset = DEFAULT,
        context: Context | str | None = None,
        stdin: Callable[[str], Any] | None = None,
        host_functions: Mapping[str, Callable[..., Any]] | None = None,
    ) -> Run:
        """An execution, not started."""
        self.machine.cwd  # noqa: B018 - raises where the sandbox is closed
        if not isinstance(code, str):
            raise ConfigurationError(f"code is a string, not {type(code).__name__}")
        check_callback("stdin", stdin)
        offered = self.host_functions | functions_of(host_functions)
        interpreter = self._free_interpreter(context)
        turn = Turn(interpreter, code, offer=tuple(offered))
        handlers = {**offered, **({INPUT: stdin} if stdin else {})}
        return Run(turn, self.limit(timeout), handlers, interpreter)

    def _free_interpreter(self, context: Context | str | None) -> Interpreter:
        """The same as `interpreter`, if it can run anything.

        Raises:
            ConfigurationError: it waits for whoever asks for it.
        """
        interpreter = self.interpreter(context)
        if interpreter in answering.get():
            raise ConfigurationError(
                "that context waits for the host function that runs now; use create_context()"
            )
        return interpreter

    def limit(self, timeout: float | None | Unset) -> float | None:
        """The seconds that an execution may take."""
        if isinstance(timeout, Unset):
            return self.timeout
        check_timeout(timeout)
        return timeout

    def request(
        self,
        context: Context | str | None,
        op: str,
        *,
        timeout: float | None | Unset = DEFAULT,
        **arguments: Any,
    ) -> Run:
        """A silent request to the helper in an interpreter, not started."""
        self.machine.cwd  # noqa: B018 - raises where the sandbox is closed
        code, handlers = helper_call(op, **arguments)
        turn = Turn(self._free_interpreter(context), code, silent=True)
        return Run(turn, self.limit(timeout), handlers)

    def command(
        self,
        command: str | Sequence[str],
        *,
        cwd: str | None = None,
        env: Mapping[str, str] | None = None,
        stdin: bool = False,
    ) -> Command:
        """A command, not started."""
        spec = command_of(command, env) | {"cwd": cwd, "stdin": stdin}
        return Command(self.machine, **spec)

    # the end --------------------------------------------------------------------------
    def free(self) -> None:
        """Close this process's descriptors, and touch nothing else."""
        self._machine.pipe.free()

    def end(self, why: str = "terminated") -> None:
        """End the sandbox; a second time does nothing, unless the first one failed."""
        with Whole():
            self._end(why)

    def _end(self, why: str) -> None:
        with self._closing:
            again, self._ending = self._ending, False
            if self.closed and not again:
                return
            self.closed = self.closed or why
        if not again:
            for interpreter in list(self._interpreters.values()):
                interpreter.close()
            self._machine.close()
        try:
            self.variant.stop()
        except CloudError:
            self._ending = True
            raise
        records.remove(self.id)

    def detach(self, max_lifetime: float | None) -> str:
        """Let it live on without an owner."""
        check_timeout(max_lifetime)
        machine, variant = self.machine, self.variant
        if not isinstance(variant, Detachable):
            raise UnsupportedError(registry.refusal(variant.name, "detach"))
        lifetime = DETACHED_LIFETIME if max_lifetime is None else max_lifetime
        if isinstance(variant, Hosted):
            lifetime = within(max_lifetime, variant.time_left())
        with self._closing, ExitStack() as stack:
            interpreters = list(self._interpreters.values())
            for interpreter in interpreters:  # or the record would not know of one
                stack.enter_context(interpreter.opening)
            machine.set_lifetime(lifetime)
            records.write(self.record(detached=True))
            self.stay(variant, lifetime)
            self.closed = "detached"
            for interpreter in interpreters:
                interpreter.left = True
        self.hang_up(variant)
        return self.id

    def stay(self, variant: Detachable, lifetime: float) -> None:
        """Have the supervisor stay when we hang up, for so many seconds."""
        call = self._machine.call("detach", path=variant.detach_at(), max_lifetime=lifetime)
        call.result(10)

    def hang_up(self, variant: Detachable) -> None:
        """Leave the supervisor, the interpreters and what they run to themselves."""
        for interpreter in list(self._interpreters.values()):
            interpreter.close(keep=True)
        self._machine.close()
        variant.let_go()

    def expire_in(self, seconds: float) -> None:
        """Let it end itself in so many seconds from now."""
        self._machine.set_lifetime(seconds)
        self._machine.call("lifetime", seconds=seconds).result(10)

    def come_back(self, pipe: Pipe) -> None:
        """Hold what was left, again."""
        machine = Machine(pipe, self.variant.diagnosis)
        machine.kept = machine.wait_ready()
        names = dict.fromkeys((*self._interpreters, *machine.kept))
        self._machine, self._interpreters = machine, {}
        for name in names:
            self._add(name)

    def __del__(self) -> None:
        with suppress(Exception):  # the interpreter may be shutting down: then no thread starts
            if not self.closed and not sys.is_finalizing():
                self.end("forgotten")


def within(wanted: float | None, left: float) -> float:
    """The seconds that a sandbox may live on, of those that were reserved for it.

    Raises:
        ConfigurationError: they are fewer than wanted.
    """
    if wanted is not None and wanted > left + 1:
        raise ConfigurationError(
            f"the time of this sandbox is reserved, and {left:.0f} s of it are left: nothing makes "
            "them more than the max_lifetime that it was created with"
        )
    return left if wanted is None else min(wanted, left)
