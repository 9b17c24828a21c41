"""The suite over datalayer-runtime, in an emulated cloud."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest

from code_sandboxes.testing import Conformance
from datalayer_emulator import Emulator


class TestDatalayerRuntime(Conformance):
    """Runtimes whose file system and Python are their own."""

    variant = "datalayer-runtime"
    sample = 7  # the rest is remote-jupyter's; `make soak` has all
    owner_death_seconds = 40.0  # 20 s of silence, and the time that ending takes
    short_lifetime = 8.0  # which begins before the machine does
    options: ClassVar[dict[str, Any]] = {}

    @pytest.fixture(scope="class", autouse=True)
    @classmethod
    def service(cls, cloud: Emulator) -> None:
        """The cloud is there."""

    # a runtime stays until its reservation is over, where nobody ends it
    def test_the_owners_death_leaves_nothing(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(type(self), "options", {"max_lifetime": 12.0})
        super().test_the_owners_death_leaves_nothing()

    def test_a_detached_sandbox_ends_in_time(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(type(self), "options", {"max_lifetime": 6.0})
        super().test_a_detached_sandbox_ends_in_time()
