"""The cloud of these tests: an emulator of its service, one for the whole run of a process."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

for package in ("datalayer_core", "jupyter_kernel_client", "jupyter_server", "psutil"):
    pytest.importorskip(package, reason=f"{package} is not installed")

from datalayer.service import RUNTIMES, ask  # noqa: E402 - it needs these packages
from datalayer_emulator import Emulator  # noqa: E402

if TYPE_CHECKING:
    from datalayer.official import Official


@pytest.fixture(scope="session")
def emulator() -> Iterator[Emulator]:
    with Emulator() as found:
        body = {"environment": {"name": "python-cpu-env"}, "credits_limit": 1.0}
        warm = ask(found, "POST", RUNTIMES, body)  # the first one takes seconds
        ask(found, "DELETE", f"{RUNTIMES}/{warm['runtime']['runtime_name']}")
        yield found


@pytest.fixture
def official(emulator: Emulator) -> Iterator[Official]:
    """Datalayer's own client, of an account that has nothing; without faults."""
    from datalayer.official import Official

    emulator.requests.clear()
    yield Official(emulator)
    emulator.faults.clear()
    emulator.delete_all()
    gc.collect()  # a client that was forgotten ends its kernel when it is collected: not in between


@pytest.fixture(scope="module")
def cloud(emulator: Emulator) -> Iterator[Emulator]:
    """The same, as the cloud that this process and its children know."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in emulator.variables.items():
            patch.setenv(name, value)
        yield emulator
