"""Sandboxes that are started before they are asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Self, Unpack

from .config import SandboxConfig, check_timeout
from .core import Core
from .sandbox import CreateOptions, Sandbox
from .stock import Stock, late_error


class SandboxPool:
    """Keeps sandboxes ready, so that one can be had at once.

    Each is fresh and is handed out once: nobody meets what another one's code has left. Whoever
    takes it owns it, and ends it. What was taken is made again in the background; one that has
    ended while it waited is replaced.

    A `max_lifetime` counts from when a sandbox is taken; in a cloud, where its time is reserved
    and paid for, from its start.

    Example:
        >>> with SandboxPool.create("local-eval", size=2) as pool:
        ...     with pool.take() as sandbox:
        ...         sandbox.run_code("6 * 7").text
        '42'
    """

    def __init__(self, stock: Stock) -> None:
        self._stock = stock

    @classmethod
    def create(
        cls,
        variant: str | None = None,
        *,
        size: int = 2,
        config: SandboxConfig | None = None,
        host_functions: Mapping[str, Callable[..., Any]] | None = None,
        **options: Unpack[CreateOptions],
    ) -> Self:
        """Start a pool; its sandboxes start in the background.

        Args:
            variant, config, host_functions, **options: see `Sandbox.create`.
            size: how many are kept ready.

        Raises:
            UnknownVariantError, ConfigurationError, UnsupportedError: see `Sandbox.create`.
        """
        return cls(Stock(variant, size, config, options, host_functions))

    def take(self, timeout: float | None = None) -> Sandbox:
        """One of the sandboxes: at once, if one is ready.

        Args:
            timeout: seconds to wait for one that still starts; None for no limit.

        Raises:
            ConfigurationError: `timeout` is no number of seconds.
            SandboxStartError: none was ready in time, or it could not be started.
            SandboxClosedError: the pool was closed.
            CloudError: the service of a cloud variant refused, or cannot be reached.
        """
        if timeout != 0:
            check_timeout(timeout)
        while True:
            core: Core | None
            asked = self._stock.ask()
            try:
                core = asked.result(timeout)
            except BaseException as error:
                if not isinstance(error, TimeoutError):
                    self._stock.give_up(asked)
                    raise
                core = self._stock.late(asked)
            if core is None:
                raise late_error(timeout)
            if self._stock.give(core):
                return Sandbox(core)

    @property
    def ready(self) -> int:
        """How many can be had at once."""
        return self._stock.ready

    @property
    def closed(self) -> bool:
        """Whether it was closed."""
        return self._stock.closed

    def close(self) -> None:
        """End the sandboxes that nobody has taken, and start no more."""
        self._stock.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._stock}>"
