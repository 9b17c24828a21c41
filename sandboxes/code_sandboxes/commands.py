"""Commands in a sandbox: programs beside the interpreters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from typing import Any

from .core import DEFAULT, Core, Unset
from .errors import UnsupportedError
from .fold import Callbacks, Fold, OnOutput
from .infos import ProcessInfo
from .kernel import Administered, OwnSystem
from .machine import Machine
from .models import CommandResult
from .packages import system_install
from .process import Process
from .registry import that_can
from .run import Run, drive
from .targets import Command


class Commands:
    """The commands of a sandbox: a string goes to its shell, a list is run as it is."""

    def __init__(self, core: Core) -> None:
        self._core = core

    def run(
        self,
        command: str | Sequence[str],
        *,
        timeout: float | None | Unset = DEFAULT,
        cwd: str | None = None,
        env: Mapping[str, str] | None = None,
        stdin: str | bytes | None = None,
        on_stdout: OnOutput | None = None,
        on_stderr: OnOutput | None = None,
    ) -> CommandResult:
        """Run a command, and wait for its end.

        A command that fails is a result, never raised: exit code 127 for a missing program,
        124 where it was stopped for its time, what it printed kept.

        Args:
            command: text for the shell, or a program and its arguments.
            timeout: seconds; None for no limit.
            cwd: where it starts, if not where code does.
            env: variables beside the sandbox's own.
            stdin: what it reads; without it, nothing.
            on_stdout, on_stderr: called with each whole line, while it runs.

        Raises:
            SandboxClosedError, SandboxGoneError: there is no sandbox any more.
        """
        target = start(self._core, command, cwd=cwd, env=env, stdin=stdin)
        fold = Fold(self._core.config.max_output)
        callbacks = Callbacks(on_stdout, on_stderr)
        with closing(drive(Run(target, self._core.limit(timeout), {}))) as events:
            for event in events:
                fold.add(event)
                for callback, message in callbacks.of(event):
                    callback(message)
        return fold.command()

    def exec(
        self,
        program: str,
        *arguments: str,
        cwd: str | None = None,
        env: Mapping[str, str] | None = None,
    ) -> Process:
        """Start a program with live pipes; it runs until it ends or is killed.

        Example:
            >>> from code_sandboxes import Sandbox
            >>> with Sandbox.create("local-eval") as sandbox:
            ...     process = sandbox.commands.exec("sh", "-c", "echo one; echo two")
            ...     list(process.stdout)
            ['one\\n', 'two\\n']
        """
        command = self._core.command([program, *arguments], cwd=cwd, env=env, stdin=True)
        return Process(command, self._core.config.max_output)

    def list(self) -> list[ProcessInfo]:
        """The commands that run now."""
        found = self._core.machine.call("processes").result()
        return [process_info(item) for item in found]

    def connect(self, pid: int) -> Process:
        """Take over a running command, from another handle or process, by its pid.

        Raises:
            ProcessLookupError: there is none.
        """
        command = Command(self._core.machine, "attach", pid=pid)
        return Process(command, self._core.config.max_output, attached=True)

    def kill(self, pid: int) -> None:
        """Kill a command and everything that it started.

        Raises:
            ProcessLookupError: there is none of that pid.
        """
        self._core.machine.signal(pid, 9, whole=True).result()

    def install_system_packages(
        self, packages: Sequence[str], *, timeout: float | None = 300.0
    ) -> CommandResult:
        """Install packages of the sandbox's operating system, by its own package manager.

        In a cloud, whether code may do that is up to the environment: the result says so.

        Args:
            packages: their names, for example ``["curl"]``.
            timeout: seconds.

        Raises:
            ConfigurationError: a package is an option or an empty string.
            UnsupportedError: its system is not its own to change.
        """
        self._core.machine.cwd  # noqa: B018 - raises where the sandbox is closed
        variant = self._core.variant
        if isinstance(variant, OwnSystem):
            return self.run(variant.as_root(system_install(packages)), timeout=timeout)
        if not isinstance(variant, Administered):
            able = variant.capabilities()["install_system_packages"]
            others = ", ".join(that_can("install_system_packages")) or "none on this machine"
            raise UnsupportedError(f"{able.reason}; variants that can: {others}")
        argv = system_install(packages)
        machine = Machine(variant.administrator())
        try:
            machine.wait_ready()
            fold = Fold(self._core.config.max_output)
            for event in drive(Run(Command(machine, argv=argv), self._core.limit(timeout), {})):
                fold.add(event)
            return fold.command()
        finally:
            machine.close()
            machine.pipe.free()


def start(core: Core, command: str | Sequence[str], **options: Any) -> Command:
    """A command whose input, if there is any, follows its start."""
    stdin = options.pop("stdin")
    data = stdin.encode() if isinstance(stdin, str) else stdin
    made = core.command(command, stdin=data is not None, **options)
    if data is not None:
        made.input = data
    return made


def process_info(said: Any) -> ProcessInfo:
    """A running command, as the supervisor tells it."""
    command = said["command"]
    if not isinstance(command, str):
        command = tuple(map(str, command))
    return ProcessInfo(int(said["pid"]), command, float(said["started"]))
