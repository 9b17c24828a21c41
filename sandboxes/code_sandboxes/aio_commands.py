"""`Commands`, awaited."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import aclosing
from typing import TypeVar

from .aio_files import each
from .commands import Commands, process_info, start
from .core import DEFAULT, Core, Unset
from .events import Output
from .fold import Callbacks, Fold, OnOutput
from .infos import ProcessInfo
from .models import CommandResult
from .process import Process, Reader
from .run import Run, drive_async

T = TypeVar("T")


class AsyncCommands:
    """The commands of a sandbox; see Commands for what each method does."""

    def __init__(self, core: Core) -> None:
        self._core, self._commands = core, Commands(core)

    async def run(
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
        """See Commands.run."""
        target = start(self._core, command, cwd=cwd, env=env, stdin=stdin)
        fold, callbacks = Fold(self._core.config.max_output), Callbacks(on_stdout, on_stderr)
        run = Run(target, self._core.limit(timeout), {})
        async with aclosing(drive_async(run)) as events:  # type: ignore[type-var]
            async for event in events:
                fold.add(event)
                for callback, message in callbacks.of(event):
                    called = callback(message)
                    if inspect.isawaitable(called):
                        await called
        return fold.command()

    async def exec(
        self,
        program: str,
        *arguments: str,
        cwd: str | None = None,
        env: Mapping[str, str] | None = None,
    ) -> AsyncProcess:
        """See Commands.exec."""
        made = await _blocking(lambda: self._commands.exec(program, *arguments, cwd=cwd, env=env))
        return AsyncProcess(made)

    async def list(self) -> list[ProcessInfo]:
        """See Commands.list."""
        found = await asyncio.wrap_future(self._core.machine.call("processes"))
        return [process_info(item) for item in found]

    async def connect(self, pid: int) -> AsyncProcess:
        """See Commands.connect."""
        return AsyncProcess(await _blocking(lambda: self._commands.connect(pid)))

    async def kill(self, pid: int) -> None:
        """See Commands.kill."""
        call = self._core.machine.signal(pid, 9, whole=True)
        await asyncio.wrap_future(call)

    async def install_system_packages(
        self, packages: Sequence[str], *, timeout: float | None = 300.0
    ) -> CommandResult:
        """See Commands.install_system_packages."""
        return await _blocking(
            lambda: self._commands.install_system_packages(packages, timeout=timeout)
        )


class AsyncProcess:
    """A command with live pipes; see Process."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self.stdin = AsyncProcessInput(process)
        self.stdout, self.stderr = AsyncReader(process.stdout), AsyncReader(process.stderr)

    def __aiter__(self) -> AsyncIterator[Output]:
        return each(lambda: iter(self._process))

    @property
    def pid(self) -> int | None:
        """See Process.pid."""
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """See Process.exit_code."""
        return self._process.exit_code

    def poll(self) -> int | None:
        """See Process.poll."""
        return self._process.poll()

    async def wait(self, timeout: float | None = None) -> CommandResult:
        """See Process.wait."""
        return await _blocking(lambda: self._process.wait(timeout))

    def terminate(self) -> None:
        """See Process.terminate."""
        self._process.terminate()

    def kill(self) -> None:
        """See Process.kill."""
        self._process.kill()

    async def __aenter__(self) -> AsyncProcess:
        return self

    async def __aexit__(self, *_: object) -> None:
        await _blocking(self._process.__exit__)


class AsyncProcessInput:
    """See ProcessInput."""

    def __init__(self, process: Process) -> None:
        self._input = process.stdin

    async def write(self, data: str | bytes) -> int:
        """See ProcessInput.write."""
        return await _blocking(lambda: self._input.write(data))

    async def close(self) -> None:
        """See ProcessInput.close."""
        self._input.close()


class AsyncReader:
    """See Reader; iterate with `async for`."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    def __aiter__(self) -> AsyncIterator[str]:
        return each(lambda: iter(self._reader))

    async def read(self) -> str:
        """See Reader.read."""
        return await _blocking(self._reader.read)


async def _blocking(call: Callable[[], T]) -> T:
    from .aio import blocking

    return await blocking(call)
