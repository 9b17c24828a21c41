"""`SandboxPool`, awaited."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, Self, Unpack

from .aio import AsyncSandbox, blocking
from .config import SandboxConfig, check_timeout
from .core import Core
from .sandbox import CreateOptions
from .stock import Stock, late_error


class AsyncSandboxPool:
    """Keeps sandboxes ready for async code; see SandboxPool.

    Example:
        >>> async def main():
        ...     async with await AsyncSandboxPool.create("local-eval", size=2) as pool:
        ...         async with await pool.take() as sandbox:
        ...             return (await sandbox.run_code("6 * 7")).text
        >>> asyncio.run(main())
        '42'
    """

    def __init__(self, stock: Stock) -> None:
        self._stock = stock

    @classmethod
    async def create(
        cls,
        variant: str | None = None,
        *,
        size: int = 2,
        config: SandboxConfig | None = None,
        host_functions: Mapping[str, Callable[..., Any]] | None = None,
        **options: Unpack[CreateOptions],
    ) -> Self:
        """See SandboxPool.create."""
        return cls(await blocking(Stock, variant, size, config, options, host_functions))

    async def take(self, timeout: float | None = None) -> AsyncSandbox:
        """See SandboxPool.take."""
        if timeout != 0:
            check_timeout(timeout)
        while True:
            core: Core | None
            asked = self._stock.ask()
            try:
                if asked.done():
                    core = asked.result()
                else:
                    waiting = asyncio.shield(asyncio.wrap_future(asked))
                    core = await asyncio.wait_for(waiting, timeout)
            except BaseException as error:
                if not isinstance(error, TimeoutError):
                    self._stock.give_up(asked)
                    raise
                core = self._stock.late(asked)
            if core is None:
                raise late_error(timeout)
            if await blocking(self._stock.give, core):
                return AsyncSandbox(core)

    @property
    def ready(self) -> int:
        """See SandboxPool.ready."""
        return self._stock.ready

    @property
    def closed(self) -> bool:
        """See SandboxPool.closed."""
        return self._stock.closed

    async def close(self) -> None:
        """See SandboxPool.close."""
        await asyncio.shield(blocking(self._stock.close))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._stock}>"
