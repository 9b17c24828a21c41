"""The one suite, over containers."""

import pytest

from code_sandboxes import Sandbox
from code_sandboxes.testing import Conformance

CREATE = Sandbox.capabilities("local-docker")["create"]


@pytest.mark.skipif(not CREATE.supported, reason=CREATE.reason)
class TestLocalDocker(Conformance):
    """A container."""

    variant = "local-docker"
    sample = 3  # `make soak` has all
    short_lifetime = 6.0
