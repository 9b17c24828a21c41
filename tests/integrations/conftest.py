"""Sandboxes for the adapters' tests."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

import pytest

from code_sandboxes import Sandbox


@pytest.fixture(scope="module", params=["local-eval", "local-jupyter"])
def variant(request: pytest.FixtureRequest) -> str:
    """Every variant that needs nothing but this machine."""
    return str(request.param)


@pytest.fixture(scope="module")
def sandbox(variant: str) -> Iterator[Sandbox]:
    """One sandbox for all tests of a module: each uses names of its own."""
    with Sandbox.create(variant=variant, timeout=30) as sandbox:
        yield sandbox


@pytest.fixture
def mine() -> Callable[[], set[str]]:
    """The ids of the sandboxes that this process has now."""

    def ids() -> set[str]:
        return {each.id for each in Sandbox.list() if each.owner_pid == os.getpid()}

    return ids
