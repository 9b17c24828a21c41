"""A Kernel Gateway that already runs: it has kernels, and neither contents nor a status."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from code_sandboxes import Sandbox, SandboxStartError
from code_sandboxes.testing.base import eventually
from remote.relay import Relay
from remote.server import JupyterServer, KernelGateway, running

for package in ("jupyter_kernel_client", "kernel_gateway"):
    pytest.importorskip(package, reason=f"{package} is not installed")

VARIANT = "remote-jupyter"


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[JupyterServer]:
    with running(tmp_path_factory.mktemp("gateway"), kind=KernelGateway) as found:
        yield found


def test_every_verb(gateway: JupyterServer, monkeypatch: pytest.MonkeyPatch) -> None:
    launch = {"KERNEL_USERNAME": "somebody"}  # what an Enterprise Gateway asks for
    with Sandbox.create(
        VARIANT, server_url=gateway.url, token=gateway.token, env=launch, timeout=30
    ) as box:
        code = "print('hello')\nkept = 6\nf(kept)"
        ran = box.run_code(code, host_functions={"f": lambda x: x * 7})
        assert (ran.stdout, ran.text) == ("hello\n", "42")
        ran = box.run_code("import time; time.sleep(30)", timeout=1)
        assert ran.error is not None
        assert (ran.error.name, ran.error.state_lost) == ("ExecutionTimeout", False)
        box.files.write("data/a.txt", "here")
        assert box.commands.run("cat data/a.txt").stdout == "here"
        context = box.create_context("second")
        assert box.run_code("1 + 1", context=context).text == "2"
        monkeypatch.setenv("JUPYTER_TOKEN", gateway.token)
        id = box.detach(60)
        with Sandbox.from_id(id) as box:
            assert box.run_code("kept").text == "6"
            assert box.run_code("import os; os._exit(1)").error is not None
            assert box.run_code("1").text == "1"
            home = Path(box.files.resolve("."))
    assert eventually(lambda: gateway.kernels() == [])
    assert not home.exists()


def test_a_cut_connection(gateway: JupyterServer) -> None:
    relay = Relay(gateway.port)
    with Sandbox.create(VARIANT, server_url=relay.url, token=gateway.token) as box:
        seen = []
        for message in box.stream_code("import time\nfor i in range(20): print(i); time.sleep(.1)"):
            seen.append(getattr(message, "text", ""))
            if len(seen) == 4:
                relay.cut()
        assert "".join(seen).split() == [str(i) for i in range(20)]
    relay.close()
    assert eventually(lambda: gateway.kernels() == [])


def test_a_wrong_token(gateway: JupyterServer) -> None:
    with pytest.raises(SandboxStartError, match="refuses the token"):
        Sandbox.create(VARIANT, server_url=gateway.url, token="wrong")
