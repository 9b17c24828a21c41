"""Detaching on a server that is somebody else's: what it needs, and what goes wrong."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from code_sandboxes import (
    Output,
    Sandbox,
    SandboxError,
    SandboxNotFoundError,
    SandboxStartError,
)
from code_sandboxes.testing.base import eventually
from remote.lease import SECONDS, SHORT_LEASE
from remote.relay import Relay
from remote.server import JupyterServer, running

for package in ("jupyter_kernel_client", "jupyter_server"):
    pytest.importorskip(package, reason=f"{package} is not installed")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[JupyterServer]:
    with running(tmp_path_factory.mktemp("server")) as found:
        yield found


@pytest.fixture
def detached(server: JupyterServer) -> Iterator[str]:
    """The id of a detached sandbox with a variable."""
    box = Sandbox.create("remote-jupyter", server_url=server.url, token=server.token)
    box.run_code("kept = 41")
    id = box.detach(120)
    yield id
    with suppress(SandboxError):
        Sandbox.from_id(id).terminate()
    assert server.kernels() == []


def elsewhere(id: str, token: str) -> subprocess.CompletedProcess[str]:
    """Adopt in another process, with a token in its environment."""
    code = """
import sys
from code_sandboxes import Sandbox
box = Sandbox.from_id(sys.argv[1])
print(box.run_code("kept + 1").text)
box.detach(120)
"""
    env = os.environ | {"JUPYTER_TOKEN": token}
    return subprocess.run(
        [sys.executable, "-c", code, id], env=env, capture_output=True, text=True, check=False
    )


def test_the_token_comes_from_the_environment(
    server: JupyterServer, detached: str, state_directory: Path
) -> None:
    assert elsewhere(detached, server.token).stdout == "42\n"
    for path in state_directory.rglob("*"):
        assert path.is_dir() or server.token not in path.read_text()
    for wrong in ("", "wrong"):
        said = elsewhere(detached, wrong).stderr.splitlines()[-1]
        assert "SandboxStartError" in said
        assert "JUPYTER_TOKEN" in said
    assert Sandbox.from_id(detached).run_code("kept").text == "41"  # no harm was done


def test_a_server_that_cannot_be_reached_is_not_the_end(server: JupyterServer) -> None:
    relay = Relay(server.port)
    box = Sandbox.create("remote-jupyter", server_url=relay.url, token=server.token)
    box.run_code("kept = 1")
    id = box.detach(120)
    relay.hold()
    relay.cut()
    holding = relay.url.rpartition(":")[2]
    relay.close()
    with pytest.raises(SandboxStartError, match="nobody answers at"):
        Sandbox.from_id(id)
    assert id in [info.id for info in Sandbox.list()]
    again = Relay(server.port, int(holding))
    with Sandbox.from_id(id) as box:
        assert box.run_code("kept").text == "1"
    again.close()
    assert server.kernels() == []


def test_one_that_the_server_has_ended(server: JupyterServer, detached: str) -> None:
    assert detached in [info.id for info in Sandbox.list()]
    for kernel in server.kernels():
        server.ask("DELETE", f"/api/kernels/{kernel}")
    assert detached not in [info.id for info in Sandbox.list()]
    with pytest.raises(SandboxNotFoundError, match="has ended"):
        Sandbox.from_id(detached)


def test_an_interpreter_that_died_without_an_owner(server: JupyterServer, detached: str) -> None:
    box = Sandbox.from_id(detached)
    pid = int(box.run_code("import os; os.getpid()").text)
    box.detach(120)
    os.kill(pid, signal.SIGKILL)
    time.sleep(5)  # the server starts its kernel again
    with Sandbox.from_id(detached) as box:
        ran = box.run_code("kept", timeout=20)
        assert ran.error is not None
        assert (ran.error.name, ran.error.state_lost) == ("InterpreterDied", True)
        assert box.run_code("1 + 1").text == "2"


def test_one_whose_supervisor_was_killed(server: JupyterServer) -> None:
    box = Sandbox.create("remote-jupyter", server_url=server.url, token=server.token)
    pid = box.commands.run("echo $PPID").stdout.strip()
    home = box.files.resolve(".")
    id = box.detach(120)
    os.kill(int(pid), signal.SIGKILL)
    time.sleep(5)  # the server starts its kernel again
    with pytest.raises(SandboxNotFoundError, match="has ended"):
        Sandbox.from_id(id)
    assert server.kernels() == []
    assert not os.path.exists(home)


@pytest.mark.usefixtures("short_lease")
def test_it_lives_on_in_silence(server: JupyterServer, detached: str) -> None:
    box = Sandbox.from_id(detached)
    home = Path(box.files.resolve("."))
    box.detach(120)
    time.sleep(SECONDS + 3)  # longer than an owner may be silent
    with Sandbox.from_id(detached) as box:
        assert box.run_code("kept").text == "41"
    assert not home.exists()


def test_code_goes_on_without_an_owner(server: JupyterServer) -> None:
    box = Sandbox.create("remote-jupyter", server_url=server.url, token=server.token)
    code = "import time\nfor i in range(30): print('x' * 100_000); time.sleep(.02)\ndone = True"
    events = box.stream_code(code)
    next(event for event in events if isinstance(event, Output))
    id = box.detach(60)
    with Sandbox.from_id(id) as box:  # its output was for the former owner
        assert box.run_code("done", timeout=30).text == "True"
        assert box.run_code("print('hi')").stdout == "hi\n"
        assert box.run_code("f(2)", host_functions={"f": lambda x: x * 2}).text == "4"
    assert server.kernels() == []


@pytest.mark.usefixtures("short_lease")
def test_an_owner_that_adopted_and_was_killed_leaves_nothing(
    server: JupyterServer, detached: str
) -> None:
    code = SHORT_LEASE + "import sys, time\nfrom code_sandboxes import Sandbox\n"
    code += "box = Sandbox.from_id(sys.argv[1]); print('mine', flush=True); time.sleep(600)"
    env = os.environ | {"JUPYTER_TOKEN": server.token}
    argv = [sys.executable, "-c", code, detached]
    with subprocess.Popen(argv, env=env, stdout=subprocess.PIPE) as owner:
        assert owner.stdout is not None
        assert owner.stdout.readline() == b"mine\n"
        owner.kill()
    assert eventually(lambda: server.kernels() == [], 40)
    with pytest.raises(SandboxNotFoundError):
        Sandbox.from_id(detached)
