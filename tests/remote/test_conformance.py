"""The suite over remote-jupyter, on a stock server with its stock limits."""

from collections.abc import Iterator
from typing import Any, ClassVar

import pytest

from code_sandboxes.testing import Conformance
from remote.server import running

for package in ("jupyter_kernel_client", "jupyter_server"):
    pytest.importorskip(package, reason=f"{package} is not installed")


@pytest.fixture(scope="module")
def options(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    with running(tmp_path_factory.mktemp("server")) as server:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("JUPYTER_TOKEN", server.token)  # for `from_id` in another process
            yield {"server_url": server.url, "token": server.token}


class TestRemoteJupyter(Conformance):
    """Kernels of a server that somebody else runs."""

    variant = "remote-jupyter"
    sample = 3  # `make soak` has all
    owner_death_seconds = 40.0  # 20 s of silence, and the time that ending takes
    options: ClassVar[dict[str, Any]] = {}

    @pytest.fixture(scope="class", autouse=True)
    @classmethod
    def server(cls, options: dict[str, Any]) -> None:
        """Where to attach to."""
        cls.options = options
