"""Runtimes that outlive their owner, or stand still for a while."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from code_sandboxes import (
    CloudError,
    ConfigurationError,
    Sandbox,
    SandboxInUseError,
    SandboxNotFoundError,
)
from code_sandboxes.cli import main
from code_sandboxes.variants import datalayer_runtime
from datalayer.service import VARIANT, paid
from datalayer_emulator import Emulator


@pytest.fixture(autouse=True)
def nothing_is_left(cloud: Emulator) -> Iterator[None]:
    yield
    cloud.faults.clear()
    assert paid(cloud) == []


@pytest.fixture
def elsewhere(tmp_path: Path) -> Iterator[dict[str, str]]:
    """The environment of another machine, which has the key and knows nothing."""
    yield os.environ | {"CODE_SANDBOXES_HOME": str(tmp_path / "elsewhere")}


ADOPT = """
import sys
from code_sandboxes import Sandbox, SandboxInUseError
try:
    Sandbox.from_id(sys.argv[1])
except SandboxInUseError:
    print("it has an owner", flush=True)
input()
with Sandbox.from_id(sys.argv[1]) as box:
    print(box.run_code("kept + 1").text, box.files.read("kept.txt"))
    print(box.run_code("two", context="second").text)
"""


def test_another_machine_adopts_it(cloud: Emulator, elsewhere: dict[str, str]) -> None:
    box = Sandbox.create(VARIANT, max_lifetime=120)
    box.run_code("kept = 41")
    box.create_context("second")
    box.run_code("two = 2", context="second")
    box.files.write("kept.txt", "here")
    with subprocess.Popen(
        [sys.executable, "-c", ADOPT, box.id],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=elsewhere,
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "it has an owner\n"
        with pytest.raises(ConfigurationError, match="time of this sandbox is reserved"):
            box.detach(3600)
        assert box.run_code("kept").text == "41"  # the other one has done nothing to it
        id = box.detach()
        (info,) = Sandbox.list()
        assert (info.id, info.detached) == (id, True)
        out, _ = other.communicate("go\n", timeout=60)
    assert out.split() == ["42", "here", "2"]
    assert paid(cloud) == []
    with pytest.raises(SandboxNotFoundError):
        Sandbox.from_id(id)


def test_it_is_killed_from_the_command_line(
    cloud: Emulator, capsys: pytest.CaptureFixture[str]
) -> None:
    id = Sandbox.create(VARIANT).detach(60)
    assert main(["kill", id]) == 0
    assert capsys.readouterr().out == f"{id}\n"
    assert paid(cloud) == []


def test_an_orphan_is_ended(cloud: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its supervisor is gone, as after its owner's death; the runtime is still there."""
    id = Sandbox.create(VARIANT).detach(60)
    (runtime,) = paid(cloud)
    for kernel in kernels(runtime):
        kernels(runtime, f"/{kernel['id']}", "DELETE")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(datalayer_runtime, "YOUNG", 60.0)
        with pytest.raises(SandboxInUseError, match="being made, or its owner has just died"):
            Sandbox.from_id(id)
    assert len(paid(cloud)) == 1
    monkeypatch.setattr(datalayer_runtime, "YOUNG", 0.0)
    with pytest.raises(SandboxNotFoundError):
        Sandbox.from_id(id)
    assert paid(cloud) == []


def kernels(runtime: dict[str, Any], path: str = "", method: str = "GET") -> Any:
    """Ask the server of a runtime."""
    headers = {"Authorization": f"token {runtime['token']}"}
    url = f"{runtime['ingress']}/api/kernels{path}"
    with urllib.request.urlopen(
        urllib.request.Request(url, headers=headers, method=method), timeout=10
    ) as response:
        said = response.read()
    return json.loads(said) if said else None


def test_an_owner_that_was_killed(cloud: Emulator, elsewhere: dict[str, str]) -> None:
    code = (
        "import os\nfrom code_sandboxes import Sandbox\n"
        f"box = Sandbox.create({VARIANT!r})\nprint(box.id, flush=True)\nos.kill(os.getpid(), 9)"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as owner:
        assert owner.stdout is not None
        id = owner.stdout.read().decode().strip()
    assert len(paid(cloud)) == 1
    with pytest.raises(SandboxNotFoundError):  # this machine knows that its owner is dead
        Sandbox.from_id(id)
    assert paid(cloud) == []


def test_a_pause_burns_nothing(cloud: Emulator) -> None:
    with Sandbox.create(VARIANT, max_lifetime=30) as box:
        box.run_code("kept = 1")
        left = box._core.variant.time_left()  # type: ignore[attr-defined]
        box.pause()
        time.sleep(3)
        box.resume()
        assert box._core.variant.time_left() > left - 2.5  # type: ignore[attr-defined]
        assert box.run_code("kept").text == "1"


def test_a_pause_that_fails(cloud: Emulator) -> None:
    with Sandbox.create(VARIANT) as box:
        box.run_code("kept = 1")
        cloud.faults.fail("POST", "/pause", 500)
        with pytest.raises(CloudError, match="cannot pause a runtime now"):
            box.pause()
        assert not box.paused
        assert box.run_code("kept").text == "1"
        box.pause()
        cloud.faults.fail("POST", "/resume", 500)
        with pytest.raises(CloudError, match="cannot resume a runtime now"):
            box.resume()
        assert box.paused
        box.resume()
        assert box.run_code("kept").text == "1"
