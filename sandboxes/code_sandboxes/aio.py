"""The sandbox, awaited: the same core, another driver. No await holds a thread."""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from functools import partial
from typing import Any, Self, TypeVar, Unpack

from . import pausing, registry, snapshots
from .aio_commands import AsyncCommands
from .aio_files import AsyncFiles
from .config import SandboxConfig, check_timeout
from .core import DEFAULT, Core, Unset
from .events import Event
from .fold import Callbacks, Fold, OnOutput
from .infos import Context, SandboxInfo, Snapshot, VariableInfo
from .kernel import Capability
from .models import CommandResult, ExecutionResult
from .packages import pip_command
from .requests import Answer, decode, encode, value_of
from .run import drive_async
from .sandbox import Contexts, CreateOptions, Names, Sandbox, Snapshots, Variables

T = TypeVar("T")
# only what must block: asyncio's own executor has six threads on two cores
_starting = ThreadPoolExecutor(32, thread_name_prefix="sandbox-start")


async def blocking(call: Callable[..., T], *args: Any) -> T:
    """Run what must block on a thread of ours."""
    return await asyncio.get_running_loop().run_in_executor(_starting, call, *args)


async def cancellable(call: Callable[[threading.Event], T]) -> T:
    """The same; `call` is given what is set once nobody waits for it any more."""
    cancelled = threading.Event()
    try:
        return await blocking(call, cancelled)
    except asyncio.CancelledError:
        cancelled.set()
        raise


class AsyncSandbox:
    """`Sandbox` for async code: the same methods, awaited; see there for what they do.

    Cancelling an await interrupts the code. Callbacks and host functions may be coroutines.

    Example:
        >>> async def main():
        ...     async with await AsyncSandbox.create("local-eval") as sandbox:
        ...         return (await sandbox.run_code("6 * 7")).text
        >>> asyncio.run(main())
        '42'
    """

    def __init__(self, core: Core) -> None:
        self._core = core
        self.files = AsyncFiles(core)
        self.commands = AsyncCommands(core)

    @classmethod
    async def create(
        cls,
        variant: str | None = None,
        *,
        config: SandboxConfig | None = None,
        host_functions: Mapping[str, Callable[..., Any]] | None = None,
        **options: Unpack[CreateOptions],
    ) -> Self:
        """See Sandbox.create."""
        name = variant or registry.default()
        starting = asyncio.ensure_future(
            blocking(Core.create, name, config, options, host_functions)
        )
        try:
            return cls(await asyncio.shield(starting))
        except asyncio.CancelledError:
            starting.add_done_callback(_discard)  # it starts all the same: end it then
            raise

    @classmethod
    async def from_id(cls, id: str) -> Self:
        """See Sandbox.from_id."""
        return cls(await blocking(Core.adopt, id))

    @classmethod
    async def list(cls) -> list[SandboxInfo]:
        """See Sandbox.list."""
        return await blocking(Sandbox.list)

    @classmethod
    def variants(cls) -> Names:
        """See Sandbox.variants."""
        return registry.variants()

    @classmethod
    async def capabilities(cls, variant: str) -> dict[str, Capability]:
        """See Sandbox.capabilities."""
        return await blocking(Sandbox.capabilities, variant)

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

    async def run_code(
        self,
        code: str,
        *,
        timeout: float | None | Unset = DEFAULT,
        context: Context | str | None = None,
        on_stdout: OnOutput | None = None,
        on_stderr: OnOutput | None = None,
        stdin: Callable[[str], str | Awaitable[str]] | None = None,
        host_functions: Mapping[str, Callable[..., Any]] | None = None,
    ) -> ExecutionResult:
        """See Sandbox.run_code."""
        fold = Fold(self._core.config.max_output)
        callbacks = Callbacks(on_stdout, on_stderr)
        stream = self.stream_code(
            code, timeout=timeout, context=context, stdin=stdin, host_functions=host_functions
        )
        async with aclosing(stream) as events:  # type: ignore[type-var]
            async for event in events:
                fold.add(event)
                for callback, message in callbacks.of(event):
                    called = callback(message)
                    if inspect.isawaitable(called):
                        await called
        return fold.execution()

    async def stream_code(
        self,
        code: str,
        *,
        timeout: float | None | Unset = DEFAULT,
        context: Context | str | None = None,
        stdin: Callable[[str], str | Awaitable[str]] | None = None,
        host_functions: Mapping[str, Callable[..., Any]] | None = None,
    ) -> AsyncIterator[Event]:
        """See Sandbox.stream_code; an async iterator."""
        run = self._core.run(
            code, timeout=timeout, context=context, stdin=stdin, host_functions=host_functions
        )
        async with aclosing(drive_async(run)) as events:  # type: ignore[type-var]
            async for event in events:
                yield event

    async def interrupt(self, context: Context | str | None = None) -> None:
        """See Sandbox.interrupt."""
        Sandbox(self._core).interrupt(context)

    async def restart(self, context: Context | str | None = None) -> None:
        """See Sandbox.restart."""
        await blocking(self._core.restart, context)

    def set_timeout(self, timeout: float | None) -> None:
        """See Sandbox.set_timeout."""
        check_timeout(timeout)
        self._core.timeout = timeout

    async def create_context(self, name: str | None = None) -> Context:
        """See Sandbox.create_context."""
        return self._core.create_context(name)

    async def list_contexts(self) -> Contexts:
        """See Sandbox.list_contexts."""
        return self._core.contexts()

    async def close_context(self, context: Context | str) -> None:
        """See Sandbox.close_context."""
        await blocking(self._core.close_context, context)

    async def set_variable(
        self, name: str, value: Any, *, context: Context | str | None = None
    ) -> None:
        """See Sandbox.set_variable."""
        await self._request(context, "set", name=name, **encode(value))

    async def get_variable(self, name: str, *, context: Context | str | None = None) -> Any:
        """See Sandbox.get_variable."""
        return value_of(await self._request(context, "get", name=name))

    async def list_variables(self, *, context: Context | str | None = None) -> Variables:
        """See Sandbox.list_variables."""
        return [VariableInfo(**found) for found in await self._request(context, "list")]

    async def _request(self, context: Context | str | None, op: str, **arguments: Any) -> Any:
        answer = Answer()
        async for event in drive_async(self._core.request(context, op, **arguments)):
            answer.add(event)
        return decode(answer)

    async def install_packages(
        self, packages: Sequence[str], *, timeout: float | None = 300.0
    ) -> CommandResult:
        """See Sandbox.install_packages."""
        return await self.commands.run(pip_command(packages), timeout=timeout)

    async def create_snapshot(self, name: str, *, description: str = "") -> Snapshot:
        """See Sandbox.create_snapshot."""
        return await cancellable(partial(snapshots.create, self._core, name, description))

    @classmethod
    async def list_snapshots(cls, variant: str | None = None) -> Snapshots:
        """See Sandbox.list_snapshots."""
        return await blocking(snapshots.listed, variant)

    @classmethod
    async def delete_snapshot(cls, name: str, *, variant: str | None = None) -> None:
        """See Sandbox.delete_snapshot."""
        await blocking(snapshots.delete, name, variant)

    async def pause(self) -> None:
        """See Sandbox.pause."""
        await blocking(pausing.pause, self._core)

    async def resume(self) -> None:
        """See Sandbox.resume."""
        await blocking(pausing.resume, self._core)

    @property
    def paused(self) -> bool:
        """See Sandbox.paused."""
        return self._core.paused is not None

    async def detach(self, max_lifetime: float | None = None) -> str:
        """See Sandbox.detach."""
        return await blocking(self._core.detach, max_lifetime)

    async def terminate(self) -> None:
        """See Sandbox.terminate."""
        await asyncio.shield(blocking(self._core.end))

    async def kill(self) -> None:
        """See Sandbox.kill."""
        await asyncio.shield(blocking(self._core.end, "killed"))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.terminate()


def _discard(started: asyncio.Future[Core]) -> None:
    if not started.cancelled() and started.exception() is None:
        _starting.submit(started.result().end)
