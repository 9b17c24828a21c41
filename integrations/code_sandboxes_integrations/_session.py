"""An interpreter made ready for an agent, and made ready again after it was lost."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from code_sandboxes import (
    Context,
    ExecutionResult,
    Sandbox,
    SandboxClosedError,
    SandboxError,
    SandboxGoneError,
)

from ._setup import define_tools, install_missing, load_variables

# (thread, sandbox, context) where code may be waiting for a tool that runs in that thread
_running: set[tuple[int, str, str]] = set()


class SessionLostError(SandboxError):
    """The sandbox has ended; the message says what that means for the next step."""


class SessionBusyError(SandboxError, RuntimeError):
    """A tool wants to run code in the interpreter that waits for this very tool."""


class Session:
    """A sandbox, borrowed or of its own, with what the agent gave it.

    Attributes:
        tools: what the code may call.
        variables: all that were sent so far.

    Args:
        sandbox: the one to borrow; without it, the first use creates one.
        context: which interpreter of it.
        create: options to create one.
        imports: modules that it must have.
        channel: the host function behind the tools.
        log: told about what is installed.
    """

    def __init__(
        self,
        sandbox: Sandbox | None,
        context: Context | None,
        create: Mapping[str, Any],
        imports: Iterable[str],
        channel: str,
        log: Callable[[str], Any],
    ) -> None:
        self.tools: Mapping[str, Any] = {}
        self.variables: dict[str, Any] = {}
        self._sandbox, self._context, self._create = sandbox, context, create
        self._imports, self._channel, self._log = tuple(imports), channel, log
        self._finalizer: weakref.finalize[[], Session] | None = None
        self._ready = False

    def send_tools(self, tools: Mapping[str, Any]) -> None:
        """Define the tools that the code may call, in the place of earlier ones."""
        self.tools = dict(tools)
        with self._noticing():
            self._prepare(tools=True)

    def send_variables(self, variables: Mapping[str, Any]) -> None:
        """Define variables, beside earlier ones."""
        with self._noticing():
            self._prepare(variables=variables)
        self.variables.update(variables)  # not before: one that cannot be sent is not kept

    def run(self, code: str, answer: Callable[..., Any], **options: Any) -> ExecutionResult:
        """Run code that may call the tools.

        Args:
            code: what to run.
            answer: the host function behind the tools.
            options: for `Sandbox.run_code`.

        Raises:
            SessionLostError: the sandbox has ended.
        """
        with self._noticing():
            sandbox = self._prepare()
            offered, key = {self._channel: answer}, self._key(sandbox)
            _running.add(key)
            try:
                result = sandbox.run_code(
                    code, context=self._context, host_functions=offered, **options
                )
            finally:
                _running.discard(key)
        if result.error is not None and result.error.state_lost:
            self._ready = False
        return result

    def check(self) -> None:
        """See that this thread may run code.

        Raises:
            SessionBusyError: it would wait for itself, for ever.
        """
        if self._sandbox is not None and self._key(self._sandbox) in _running:
            raise SessionBusyError(
                "This interpreter is waiting for the very tool that wants to run code in it. "
                "Give the managed agent an executor with a sandbox or a context of its own."
            )

    def _key(self, sandbox: Sandbox) -> tuple[int, str, str]:
        context = self._context or sandbox.list_contexts()[0]  # the first is the default one
        return threading.get_ident(), sandbox.id, context.name

    def install(self, imports: Iterable[str]) -> list[str]:
        """Install the packages of those modules that the sandbox lacks; returns their names."""
        with self._noticing():
            return self._install(self._prepare(), imports)

    def _install(self, sandbox: Sandbox, imports: Iterable[str]) -> list[str]:
        packages = install_missing(sandbox, self._context, imports)
        if packages:
            self._log(f"Installed in the sandbox: {', '.join(packages)}")
        return packages

    def end(self) -> None:
        """Terminate the sandbox, if it is our own; the next use creates another."""
        if self._finalizer is not None and self._sandbox is not None:
            self._sandbox.terminate()
            self._finalizer.detach()
            self._sandbox = self._finalizer = None
        self._ready = False

    def _prepare(
        self, *, tools: bool = False, variables: Mapping[str, Any] | None = None
    ) -> Sandbox:
        """Start what is not there yet, then define what is asked for, or everything if new."""
        self.check()
        if self._sandbox is None:
            self._sandbox = Sandbox.create(**self._create)
            self._finalizer = weakref.finalize(self, self._sandbox.terminate)
            self._ready = False
        sandbox = self._sandbox
        if not self._ready:
            tools, variables = True, self.variables | dict(variables or {})
            self._install(sandbox, self._imports)
        # in this order: a tool hides a variable of the same name
        if variables:
            load_variables(sandbox, self._context, variables)
        if tools:
            texts = {
                name: str(getattr(each, "description", "")) for name, each in self.tools.items()
            }
            define_tools(sandbox, self._context, texts, self._channel)
        self._ready = True
        return sandbox

    @contextmanager
    def _noticing(self) -> Iterator[None]:
        """Notice it if the sandbox has ended; never replace it without a word."""
        try:
            yield
        except (SandboxGoneError, SandboxClosedError) as error:
            raise self._lost(error) from error

    def _lost(self, error: SandboxError) -> SessionLostError:
        self._ready = False
        if self._finalizer is None:
            return SessionLostError(f"The sandbox has ended ({error}); no code can run in it.")
        self._finalizer.detach()
        self._sandbox = self._finalizer = None
        return SessionLostError(
            f"The sandbox has ended ({error}). The next step or run starts in a new one: "
            "variables, imports and files are gone; tools and the given variables are there again."
        )
