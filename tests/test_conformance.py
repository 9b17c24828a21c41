"""The one suite, over every variant that runs on this machine."""

from typing import Any, ClassVar

import pytest

from code_sandboxes import Sandbox
from code_sandboxes.testing import Conformance, Hostile


class TestLocalEval(Conformance):
    """A plain child."""

    variant = "local-eval"


class TestLocalJupyter(Conformance):
    """A Jupyter kernel."""

    variant = "local-jupyter"


class TestHostileLocalEval(Hostile):
    """Hostile code in a plain child."""

    variant = "local-eval"


class TestHostileLocalJupyter(Hostile):
    """Hostile code in a Jupyter kernel."""

    variant = "local-jupyter"


CONFINED = Sandbox.capabilities("local-jupyter")["confined"]


@pytest.mark.skipif(not CONFINED.supported, reason=CONFINED.reason)
class TestConfined(Conformance):
    """A Jupyter kernel in namespaces of its own."""

    variant = "local-jupyter"
    options: ClassVar[dict[str, Any]] = {"confined": True}
