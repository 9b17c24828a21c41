"""The sandbox: what a caller holds."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from typing import Any, Self, TypedDict, Unpack

from . import pausing, records, registry, snapshots
from .commands import Commands
from .config import NetworkPolicy, SandboxConfig, check_timeout
from .core import DEFAULT, Core, Unset
from .events import Event
from .files import Files
from .fold import Callbacks, Fold, OnOutput
from .infos import Context, SandboxInfo, Snapshot, VariableInfo
from .kernel import Capability
from .models import CommandResult, ExecutionResult
from .packages import pip_command
from .requests import Answer, decode, encode, value_of
from .run import drive

Names = list[str]  # `list` is a method below
Contexts = list[Context]
Variables = list[VariableInfo]
Snapshots = list[Snapshot]


class CreateOptions(TypedDict, total=False):
    """The keywords of `create()`; see SandboxConfig. `memory` and `disk` are in MB."""

    timeout: float | None
    environment: str | None
    gpu: str | None
    cpu: float | None
    memory: float | None
    disk: float | None
    env: Mapping[str, str] | None
    network_policy: NetworkPolicy | None
    allowed_hosts: Sequence[str] | None
    tags: Mapping[str, str] | None
    snapshot_name: str | None
    working_dir: str | None
    max_lifetime: float | None
    max_output: int | None
    confined: bool | None
    writable_root: bool | None
    runtime: str | None
    server_url: str | None
    token: str | None


class Sandbox:
    """A place to run code. Make one with `Sandbox.create`.

    It belongs to this process, and ends with it: by `terminate()`, at the end of a `with`
    block, or when the process dies, however it dies.

    Example:
        >>> with Sandbox.create("local-eval") as sandbox:
        ...     sandbox.run_code("x = 20\\nx + 22").text
        '42'
    """

    def __init__(self, core: Core) -> None:
        self._core = core
        self.files = Files(core)
        self.commands = Commands(core)

    # making and finding -----------------------------------------------------------------
    @classmethod
    def create(
        cls,
        variant: str | None = None,
        *,
        config: SandboxConfig | None = None,
        host_functions: Mapping[str, Callable[..., Any]] | None = None,
        **options: Unpack[CreateOptions],
    ) -> Self:
        """Start a sandbox.

        Args:
            variant: one of `Sandbox.variants()`; without one, what the environment variable
                ``CODE_SANDBOXES_VARIANT`` says, else ``local-jupyter``.
            config: options as one value; each can be given here or by keyword, not both.
            host_functions: functions that code inside can call by name, for the sandbox's life.
                They run here, on the thread that waits for the code; arguments and results
                are JSON.
            **options: see SandboxConfig; ``env``, ``cpu``, ``memory`` and ``disk`` (MB) are its
                ``env_vars``, ``cpu_limit``, ``memory_limit`` and ``disk_limit``.

        Raises:
            UnknownVariantError: there is no such variant.
            ConfigurationError: an option is unknown, wrong, or given twice.
            UnsupportedError: the variant cannot honour an option; the message says which can.
            SandboxStartError: it did not start.
            SnapshotNotFoundError: there is no snapshot of that name.
            CloudError: the service of a cloud variant refused, or cannot be reached; its
                subclasses say why.
        """
        name = variant or registry.default()
        return cls(Core.create(name, config, options, host_functions))

    @classmethod
    def from_id(cls, id: str) -> Self:
        """Adopt a detached sandbox, or get this process's own by its id.

        A sandbox in a cloud can be adopted from any machine that has the account's key.

        Raises:
            SandboxNotFoundError: there is none, or it has ended.
            SandboxInUseError: another live process owns it.
        """
        return cls(Core.adopt(id))

    @classmethod
    def list(cls) -> list[SandboxInfo]:
        """The sandboxes of this user on this machine, and those of the account in a cloud.

        Clouds are asked only where their key is set. One that cannot be asked is a RuntimeWarning;
        of its sandboxes, those that this machine has made are told.
        """
        infos, troubles = registry.listed(records.living())
        for trouble in troubles:
            warnings.warn(trouble, RuntimeWarning, stacklevel=2)
        return infos

    @classmethod
    def variants(cls) -> Names:
        """The names of the variants that `create` takes."""
        return registry.variants()

    @classmethod
    def capabilities(cls, variant: str) -> dict[str, Capability]:
        """What a variant can on this machine, by option and verb; probed now, not assumed.

        Example:
            >>> Sandbox.capabilities("local-eval")["network_policy=none"].supported
            False
        """
        return dict(registry.capabilities(variant))

    # what it is -------------------------------------------------------------------------
    @property
    def id(self) -> str:
        """Its name on this machine, for `from_id`."""
        return self._core.id

    @property
    def variant(self) -> str:
        """The name of its variant."""
        return self._core.variant.name

    @property
    def config(self) -> SandboxConfig:
        """What it was created with."""
        return self._core.config

    @property
    def tags(self) -> Mapping[str, str]:
        """Its labels."""
        return self._core.config.tags

    @property
    def closed(self) -> bool:
        """Whether it was terminated or detached here."""
        return bool(self._core.closed)

    def __repr__(self) -> str:
        state = self._core.closed or "open"
        return f"<{type(self).__name__} {self.id} {self.variant} {state}>"

    # running code -----------------------------------------------------------------------
    def run_code(
        self,
        code: str,
        *,
        timeout: float | None | Unset = DEFAULT,
        context: Context | str | None = None,
        on_stdout: OnOutput | None = None,
        on_stderr: OnOutput | None = None,
        stdin: Callable[[str], str] | None = None,
        host_functions: Mapping[str, Callable[..., Any]] | None = None,
    ) -> ExecutionResult:
        """Run a piece of code, and wait for its end.

        What the code does wrong is in the result, never raised. Variables stay for the next call.
        What its threads print after its end is output of the execution that runs then, or of none.

        Args:
            code: Python source, of any number of lines.
            timeout: seconds from the start of the execution; None for no limit.
            context: where, if not in the default interpreter.
            on_stdout, on_stderr: called with each whole line, while the code runs. What they
                raise interrupts the code and propagates.
            stdin: answers `input(prompt)`.
            host_functions: for this execution, beside the sandbox's own; they replace variables.

        Raises:
            SandboxClosedError, SandboxGoneError: there is no sandbox any more.
            ConfigurationError: a wrong argument.
        """
        fold = Fold(self._core.config.max_output)
        callbacks = Callbacks(on_stdout, on_stderr)
        run = self._core.run(
            code, timeout=timeout, context=context, stdin=stdin, host_functions=host_functions
        )
        with closing(drive(run)) as events:
            for event in events:
                fold.add(event)
                for callback, message in callbacks.of(event):
                    callback(message)
        return fold.execution()

    def stream_code(
        self,
        code: str,
        *,
        timeout: float | None | Unset = DEFAULT,
        context: Context | str | None = None,
        stdin: Callable[[str], str] | None = None,
        host_functions: Mapping[str, Callable[..., Any]] | None = None,
    ) -> Iterator[Event]:
        """The events of an execution, as they happen; leaving the loop interrupts the code.

        Example:
            >>> with Sandbox.create("local-eval") as sandbox:
            ...     [event.text for event in sandbox.stream_code("print('hi')")
            ...      if isinstance(event, Output)]
            ['hi\\n']
        """
        run = self._core.run(
            code, timeout=timeout, context=context, stdin=stdin, host_functions=host_functions
        )
        return drive(run)

    def interrupt(self, context: Context | str | None = None) -> None:
        """Raise KeyboardInterrupt in the code that runs, if any; from any thread."""
        turn = self._core.interpreter(context).current
        if turn is not None:
            turn.interrupt()

    def restart(self, context: Context | str | None = None) -> None:
        """End the interpreter, and what it runs; the next execution gets a fresh one."""
        self._core.restart(context)

    def set_timeout(self, timeout: float | None) -> None:
        """The seconds allowed to each later execution; None for no limit."""
        check_timeout(timeout)
        self._core.timeout = timeout

    # contexts ---------------------------------------------------------------------------
    def create_context(self, name: str | None = None) -> Context:
        """A further independent interpreter on the same machine."""
        return self._core.create_context(name)

    def list_contexts(self) -> Contexts:
        """All contexts, the default one first."""
        return self._core.contexts()

    def close_context(self, context: Context | str) -> None:
        """End a context's interpreter, with what it runs."""
        self._core.close_context(context)

    # variables and packages ---------------------------------------------------------------
    def set_variable(self, name: str, value: Any, *, context: Context | str | None = None) -> None:
        """Put JSON or bytes into a variable.

        Raises:
            ConfigurationError: the name is no identifier, or the value neither JSON nor bytes.
        """
        self._request(context, "set", name=name, **encode(value))

    def get_variable(self, name: str, *, context: Context | str | None = None) -> Any:
        """A variable that holds JSON or bytes. Nothing is unpickled.

        Raises:
            ConfigurationError: there is none of that name, or it holds something else.
        """
        return value_of(self._request(context, "get", name=name))

    def list_variables(self, *, context: Context | str | None = None) -> Variables:
        """The variables of the code that ran."""
        return [VariableInfo(**found) for found in self._request(context, "list")]

    def _request(self, context: Context | str | None, op: str, **arguments: Any) -> Any:
        answer = Answer()
        for event in drive(self._core.request(context, op, **arguments)):
            answer.add(event)
        return decode(answer)

    def install_packages(
        self, packages: Sequence[str], *, timeout: float | None = 300.0
    ) -> CommandResult:
        """Install Python packages for the interpreters, into the sandbox's own directory.

        Args:
            packages: requirement specifiers, for example ``["pandas>=2"]``.
            timeout: seconds.

        Raises:
            ConfigurationError: a package is an option or an empty string.
        """
        return self.commands.run(pip_command(packages), timeout=timeout)

    # snapshots and pauses -----------------------------------------------------------------
    def create_snapshot(self, name: str, *, description: str = "") -> Snapshot:
        """Keep what the sandbox is now, to start others from: ``create(snapshot_name=name)``.

        A local sandbox's are kept on this machine: the files of its home (and ``/data``), its own
        packages, and the variables of every context, as soon as its code has ended. Any local
        variant starts from them, with two exceptions, each of which is a RuntimeWarning: in one
        that isolates its code less than the one that it was made on (its network counts), or
        with another Python, it has the files alone. What cannot be kept (a lock, a generator, an
        open file) is named in `Snapshot.skipped`, what cannot be loaded later in a warning.

        Processes, environment variables, the state of modules and the system are no part of it.
        Hard links become copies, and files with holes are filled.

        Args:
            name: its name, which no other snapshot of this machine (of a cloud: there) has.
            description: free text.

        Raises:
            UnsupportedError: the variant keeps no snapshots; the message says which do.
            ConfigurationError: there is one of that name.
            ExecutionFailedError: the variables could not be had: their own code ended the
                interpreter, or took longer than the timeout (a minute at least). Nothing was kept.
            SandboxError: it cannot be written, here or inside (no space is left, for example).

        Example:
            >>> with Sandbox.create("local-eval") as sandbox:
            ...     _ = sandbox.run_code("x = 41")
            ...     made = sandbox.create_snapshot("doctest")
            >>> with Sandbox.create("local-eval", snapshot_name="doctest") as sandbox:
            ...     sandbox.run_code("x + 1").text
            '42'
            >>> Sandbox.delete_snapshot("doctest")
        """
        return snapshots.create(self._core, name, description)

    @classmethod
    def list_snapshots(cls, variant: str | None = None) -> Snapshots:
        """The snapshots that there are.

        Args:
            variant: only those of this one.

        Raises:
            UnsupportedError: that variant keeps no snapshots.
            CloudError: its service cannot be asked; without `variant`, that is a RuntimeWarning.
        """
        return snapshots.listed(variant)

    @classmethod
    def delete_snapshot(cls, name: str, *, variant: str | None = None) -> None:
        """Remove a snapshot, by its name or id.

        Raises:
            SnapshotNotFoundError: there is none.
        """
        snapshots.delete(name, variant)

    def pause(self) -> None:
        """Stop the sandbox where it is, for as long as you like, until `resume()`.

        Everything in it stays. An execution under way ends here with `InterpreterDied`; inside,
        its code goes on after the pause. Until then calls raise SandboxPausedError.

        Raises:
            UnsupportedError: the variant cannot; the message says which can.
        """
        pausing.pause(self._core)

    def resume(self) -> None:
        """Let a paused sandbox go on; one that is not paused is left alone."""
        pausing.resume(self._core)

    @property
    def paused(self) -> bool:
        """Whether it is paused, by this process."""
        return self._core.paused is not None

    # the end ------------------------------------------------------------------------------
    def detach(self, max_lifetime: float | None = None) -> str:
        """Let the sandbox live on without this process; `from_id` adopts it.

        Args:
            max_lifetime: seconds until it ends itself; 3600 without one, in a cloud those that
                were reserved when it was created, which cannot be made more.

        Returns:
            Its id.
        """
        return self._core.detach(max_lifetime)

    def terminate(self) -> None:
        """End the sandbox and everything in it; a second time does nothing.

        Raises:
            CloudError: the cloud could not be told; what the sandbox has reserved there ends in
                time. It can be tried again.
        """
        self._core.end()

    def kill(self) -> None:
        """The same, for a sandbox that does not answer: nothing is asked of it."""
        self._core.end("killed")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.terminate()
