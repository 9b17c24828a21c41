"""The one suite, over every variant that runs on this machine."""

from typing import Any, ClassVar

import pytest

from code_sandboxes import Sandbox
from code_sandboxes.testing import Conformance, Hostile
from code_sandboxes.testing.attack_cases import AttackCases
from code_sandboxes.testing.flood_cases import FloodCases
from code_sandboxes.testing.forged_cases import ForgedCases
from code_sandboxes.testing.hostile_cases import HostileCases
from code_sandboxes.testing.promise import SCALE


class TestLocalEval(Conformance):
    """A plain child."""

    variant = "local-eval"


class TestLocalJupyter(Conformance):
    """A Jupyter kernel."""

    variant = "local-jupyter"
    short_lifetime = 3.0


class TestHostileLocalEval(Hostile):
    """Hostile code in a plain child."""

    variant = "local-eval"
    sample = 3  # `make soak` has all


class TestHostileLocalJupyter(Hostile):
    """Hostile code in a Jupyter kernel."""

    variant = "local-jupyter"
    sample = 3


CONFINED = Sandbox.capabilities("local-jupyter")["confined"]


@pytest.mark.skipif(not CONFINED.supported, reason=CONFINED.reason)
class TestConfined(Conformance):
    """A Jupyter kernel in namespaces of its own."""

    variant = "local-jupyter"
    sample = 2
    short_lifetime = 3.0
    options: ClassVar[dict[str, Any]] = {"confined": True}


@pytest.mark.skipif(not CONFINED.supported, reason=CONFINED.reason)
class TestAttackedConfined(AttackCases, ForgedCases):
    """Code in the namespaces against the protocol with the host."""

    variant = "local-jupyter"
    sample = 6
    options: ClassVar[dict[str, Any]] = {"confined": True}


@pytest.mark.skipif(not CONFINED.supported, reason=CONFINED.reason)
@pytest.mark.skipif(SCALE < 200, reason="the code below the namespaces is the same: `make soak`")
class TestHostileConfined(HostileCases, FloodCases):
    """All else that hostile code does."""

    variant = "local-jupyter"
    options: ClassVar[dict[str, Any]] = {"confined": True}
