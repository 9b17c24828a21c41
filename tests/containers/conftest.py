"""What the tests of containers share; all of them skip, with the reason, where none can be had."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from code_sandboxes import Sandbox
from containers.helpers import VARIANT

CREATE = Sandbox.capabilities(VARIANT)["create"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        ours = "containers" in item.path.parts and not CREATE.supported
        # what is called so is about an engine or an image that is not there
        if ours and not item.name.startswith("test_without_"):
            item.add_marker(pytest.mark.skip(reason=CREATE.reason))


@pytest.fixture(scope="session")
def engine() -> Iterator[Any]:
    """The engine's own API."""
    docker = pytest.importorskip("docker")
    client = docker.from_env()
    yield client.api
    client.close()


@pytest.fixture(scope="module")
def alone() -> Iterator[Sandbox]:
    """A sandbox without a network, for all tests of a module."""
    with Sandbox.create(VARIANT, network_policy="none") as made:
        yield made
