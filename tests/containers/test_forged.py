"""Code in a container against the time, the memory and the functions of the host."""

import pytest

from code_sandboxes import Sandbox
from code_sandboxes.testing.flood_cases import FloodCases
from code_sandboxes.testing.forged_cases import ForgedCases

CREATE = Sandbox.capabilities("local-docker")["create"]


@pytest.mark.skipif(not CREATE.supported, reason=CREATE.reason)
class TestForgedInContainer(ForgedCases):
    """What no code of ours has sent."""

    variant = "local-docker"
    sample = 2  # `make soak` has all


@pytest.mark.skipif(not CREATE.supported, reason=CREATE.reason)
class TestFloodsOfContainer(FloodCases):
    """Too much of it."""

    variant = "local-docker"
    sample = 6
