"""What all cases share: the variant under test, a sandbox for the class, and waiting."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, ClassVar, TypeVar

import pytest

from code_sandboxes import AsyncSandbox, Sandbox

T = TypeVar("T")
# the promise: control is back within the timeout and this many seconds
PROMPT = 2.0
# on a busy machine a promise is kept a little later; still far from a hang
SLACK = 3.0


class Case:
    """The base of every group of cases.

    Attributes:
        variant: the name of the variant under test.
        options: further options for `Sandbox.create`.
    """

    variant: ClassVar[str]
    options: ClassVar[dict[str, Any]] = {}

    @classmethod
    def create(cls, **options: Any) -> Sandbox:
        """A sandbox of the variant under test."""
        return Sandbox.create(cls.variant, **{"timeout": 30, **cls.options, **options})

    @classmethod
    async def create_async(cls, **options: Any) -> AsyncSandbox:
        """The same, async."""
        return await AsyncSandbox.create(cls.variant, **{"timeout": 30, **cls.options, **options})

    @pytest.fixture(scope="class")
    @classmethod
    def sandbox(cls) -> Iterator[Sandbox]:
        """One sandbox for all cases of a class: each must leave it usable."""
        with cls.create() as made:
            yield made

    @pytest.fixture
    def fresh(self) -> Iterator[Sandbox]:
        """A sandbox of its own, for a case that breaks things."""
        with self.create() as made:
            yield made

    @classmethod
    def needs(cls, capability: str) -> None:
        """Skip where the variant does not claim a capability."""
        found = Sandbox.capabilities(cls.variant).get(capability)
        if found is None or not found.supported:
            pytest.skip(found.reason if found is not None else f"{cls.variant} has no {capability}")

    @staticmethod
    def run_async(make: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Run a coroutine in a loop of its own."""
        return asyncio.run(make())


def eventually(condition: Callable[[], object], seconds: float = 10.0) -> bool:
    """Whether a condition comes true in time."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if condition():
            return True
        time.sleep(0.02)
    return bool(condition())


class Stopwatch:
    """Seconds since it was made."""

    def __init__(self) -> None:
        self._start = time.monotonic()

    @property
    def seconds(self) -> float:
        """How long it has run."""
        return time.monotonic() - self._start
