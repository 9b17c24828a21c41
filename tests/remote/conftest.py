"""What the tests of remote kernels share."""

import pytest

from remote.lease import SECONDS


@pytest.fixture
def short_lease(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sandboxes that are created in this test end after a few seconds without their owner."""
    monkeypatch.setattr("code_sandboxes.channels.reconnect.SILENCE", SECONDS)
