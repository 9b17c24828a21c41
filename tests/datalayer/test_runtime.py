"""What only a cloud can do to a sandbox: lose it, keep it, tell others of it."""

from __future__ import annotations

import asyncio
import inspect
import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import markdown_code
from code_sandboxes import (
    AsyncSandbox,
    CloudError,
    ExecutionError,
    OutputMessage,
    Sandbox,
    SandboxExpiredError,
    SandboxGoneError,
)
from code_sandboxes.cli import main
from code_sandboxes.testing.base import Stopwatch, eventually
from code_sandboxes.variants.datalayer.fields import Environment, Kept, Runtime, moment
from datalayer.service import RUNTIMES, VARIANT, ask, paid
from datalayer_emulator import Emulator

AT_ONCE = 8.0  # seconds, on a busy machine


@pytest.fixture(autouse=True)
def nothing_is_left(cloud: Emulator) -> Iterator[None]:
    yield
    cloud.faults.clear()
    assert paid(cloud) == []


def running(box: Sandbox, ended: list[ExecutionError | None]) -> threading.Thread:
    """Code that runs for ever, in a thread of the test's."""
    thread = threading.Thread(
        target=lambda: ended.append(box.run_code("while True: pass", timeout=None).error)
    )
    thread.start()
    time.sleep(1)
    return thread


# losing it --------------------------------------------------------------------------------
@pytest.mark.parametrize("how", ["server", "runtime"])
def test_a_runtime_that_dies(cloud: Emulator, how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("code_sandboxes.channels.reconnect.SILENCE", 3.0)  # it may come back
    with Sandbox.create(VARIANT) as box:
        ended: list[ExecutionError | None] = []
        thread = running(box, ended)
        (runtime,) = paid(cloud)
        watch = Stopwatch()
        if how == "server":
            cloud.faults.kill_runtime(runtime["runtime_name"])
        else:
            ask(cloud, "DELETE", f"{RUNTIMES}/{runtime['runtime_name']}")
        thread.join(30)
        assert ended[0] is not None
        assert (ended[0].name, ended[0].state_lost) == ("InterpreterDied", True)
        with pytest.raises(SandboxGoneError, match="create another") as raised:
            while watch.seconds < 30:
                box.files.exists("x")
        assert how != "runtime" or "the cloud has ended the runtime" in str(raised.value)
        later = box._core._machine.gone
        assert later


def test_a_connection_that_is_cut(cloud: Emulator) -> None:
    with Sandbox.create(VARIANT) as box:
        code = "import time\nfor n in range(20):\n    print(n)\n    time.sleep(0.1)"
        seen: list[str] = []

        def cut(message: OutputMessage) -> None:
            seen.append(message.line)
            if message.line in ("3", "12"):
                cloud.faults.drop_websockets()

        ran = box.run_code(code, on_stdout=cut)
        assert ran.success, ran
        assert seen == [str(n) for n in range(20)]  # nothing is lost by it
        box.files.write("x", "y")
        assert box.files.read("x") == "y"


def test_a_reservation_that_is_over(cloud: Emulator) -> None:
    with Sandbox.create(VARIANT, max_lifetime=5) as box:
        ran = box.run_code("while True: pass", timeout=None)
        assert ran.error is not None
        assert ran.error.name == "InterpreterDied"
        with pytest.raises(SandboxExpiredError, match="max_lifetime"):
            box.run_code("1")
        assert eventually(lambda: paid(cloud) == [])


# its system -------------------------------------------------------------------------------
def test_it_is_a_machine_of_its_own(cloud: Emulator) -> None:
    with Sandbox.create(VARIANT, working_dir="/workspace/deep", env={"A": "b"}) as box:
        assert box.run_code("import os; os.getcwd()").text == "'/workspace/deep'"
        box.files.write("/data/test.txt", "Hello World")
        assert box.run_code("open('/data/test.txt').read()").text == "'Hello World'"
        assert box.files.resolve("/etc") == "/etc"
        ran = box.commands.run("pwd; echo $A; command -v python")
        where = box.run_code("import sys; print(sys.executable)").stdout
        assert ran.stdout == f"/workspace/deep\nb\n{where}"


def test_packages_of_its_system(cloud: Emulator) -> None:
    """The emulated one is read-only: a package manager of the test's own says what it was told."""
    with Sandbox.create(VARIANT, env={"PATH": "/data/bin:/usr/bin:/bin"}) as box:
        box.files.write("/data/bin/apt-get", '#!/bin/sh\necho "$(id -u): $*"\n')
        box.commands.run("chmod +x /data/bin/apt-get")
        ran = box.commands.install_system_packages(["curl", "wget"])
        first, second = ran.stdout.splitlines()
        assert first == "0: -qq update"
        assert second.startswith("0: -qq -o")
        assert second.endswith("--no-install-recommends curl wget")
        box.files.write("/data/bin/apt-get", "#!/bin/sh\nexit 100\n")
        assert box.commands.install_system_packages(["curl"]).exit_code == 100


# what others know of it -------------------------------------------------------------------
def test_another_machine_sees_it(
    cloud: Emulator, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with Sandbox.create(VARIANT, tags={"a": "b"}) as box:
        (info,) = Sandbox.list()
        assert (info.id, dict(info.tags), info.detached) == (box.id, {"a": "b"}, False)
        assert info.expires is not None
        assert 590 < info.expires - info.created < 610
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("CODE_SANDBOXES_HOME", str(tmp_path))
            (info,) = Sandbox.list()
            assert (info.id, info.variant, info.owner_pid) == (box.id, VARIANT, None)
            assert main(["list", "--json"]) == 0
            (shown,) = json.loads(capsys.readouterr().out)
            assert shown["id"] == box.id
    assert Sandbox.list() == []


def test_a_cloud_that_cannot_be_asked(cloud: Emulator, capsys: pytest.CaptureFixture[str]) -> None:
    with Sandbox.create("local-eval") as local, Sandbox.create(VARIANT) as box:
        cloud.faults.fail("GET", "/runtimes", 500, times=10)
        with pytest.warns(RuntimeWarning, match="not known now.*HTTP 500"):
            found = Sandbox.list()
        assert {info.id for info in found} == {local.id, box.id}
        assert main(["list"]) == 0
        out, error = capsys.readouterr()
        assert local.id in out
        assert "code-sandboxes: the sandboxes of datalayer-runtime are not known now" in error
        cloud.faults.clear()


def test_doctor(cloud: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    from code_sandboxes.cli.doctor import examine_variant

    monkeypatch.setenv("DATALAYER_API_KEY", "")
    report = examine_variant(VARIANT, False)
    assert (report.runs, report.remedies) == (False, ["export DATALAYER_API_KEY=..."])
    assert "set DATALAYER_API_KEY" in report.reason
    monkeypatch.setenv("DATALAYER_API_KEY", "some")
    report = examine_variant(VARIANT, False)
    assert report.runs is None  # it would cost
    assert "costs credits" in report.isolates


# keeping it -------------------------------------------------------------------------------
def test_snapshots_that_fail(cloud: Emulator) -> None:
    with Sandbox.create(VARIANT) as box:
        cloud.faults.fail("POST", "/sandbox-snapshots", 500)
        with pytest.raises(CloudError, match="HTTP 500"):
            box.create_snapshot("one")
        cloud.faults.drop_answer("POST", "/sandbox-snapshots")
        made = box.create_snapshot("two", description="d")  # it was made all the same
        assert (made.name, made.environment) == ("two", "python-cpu-env")
        assert made.created is not None
        assert abs(made.created - time.time()) < 60
        assert box.run_code("1").text == "1"
    assert [kept.name for kept in Sandbox.list_snapshots(VARIANT)] == ["two"]
    Sandbox.delete_snapshot(made.id, variant=VARIANT)  # by its id, too
    assert Sandbox.list_snapshots() == []


def test_what_a_snapshot_skips(cloud: Emulator) -> None:
    with Sandbox.create(VARIANT) as box:
        box.run_code("lines = (n for n in range(3))")
        made = box.create_snapshot("three")
        Sandbox.delete_snapshot("three")
    assert any("lines" in skipped for skipped in made.skipped)


def test_async(cloud: Emulator) -> None:
    async def main() -> None:
        async with await AsyncSandbox.create(VARIANT) as box:
            assert (await box.run_code("x = 41\nx + 1")).text == "42"
            made = await box.create_snapshot("four")
            assert made in await AsyncSandbox.list_snapshots(VARIANT)
            assert [info.id for info in await AsyncSandbox.list()] == [box.id]
        async with await AsyncSandbox.create(VARIANT, snapshot_name="four") as box:
            assert (await box.run_code("x + 1")).text == "42"
        await AsyncSandbox.delete_snapshot("four")

    asyncio.run(main())


# what the service says --------------------------------------------------------------------
def test_fields() -> None:
    ours = {"uid": "a", "given_name": "code-sandboxes-sb-0123456789ab"}
    assert Runtime.of(ours).sandbox == "sb-0123456789ab"
    for other in ("code-sandboxes-sb-0123456789ab\n", "sb-0123456789ab", "code-sandboxes-../x", 5):
        assert Runtime.of(ours | {"given_name": other}).sandbox == ""
    for bad in ("../x", "a/b", "", ".", "a?b", "é", 5, None, "x" * 200):
        with pytest.raises(CloudError):
            Runtime.of({"runtime_name": bad})
        with pytest.raises(CloudError):
            Kept.of({"uid": bad})
    old = {"pod_name": "p", "environment_name": "e"}
    new = {"runtime_name": "p", "environment": {"name": "e"}}
    assert Runtime.of(old) == Runtime.of(new)
    assert moment("1795435380.36") == moment(1795435380.36) == 1795435380.36
    assert moment("2026-11-23T12:03:01Z") == 1795435381.0
    for value in ("nan", "inf", True, [], "yesterday", -5, "1e300", "9" * 400):
        assert moment(value) is None
    assert Environment.of({"name": "a", "burning_rate": -1}).burning_rate is None
    gpu = Environment.of({"name": "b", "title": "One T4.", "resources": {"nvidia.com/gpu": "1"}})
    assert gpu.has_gpu("t4") and gpu.has_gpu() and not gpu.has_gpu("A100")
    none = Environment.of({"name": "no-t4", "resources": {"nvidia.com/gpu": "0"}})
    assert not none.has_gpu("T4")
    assert "secret" not in repr(Runtime.of(ours | {"token": "secret", "ingress": "secret"}))


def test_the_seam_to_datalayer_core(cloud: Emulator) -> None:
    """What we use of it, some of it private: another version may not have it."""
    from datalayer_core.client.client import DatalayerClient
    from datalayer_core.utils.urls import DatalayerURLs

    taken: Any = inspect.signature(DatalayerClient.__init__).parameters
    assert {"urls", "api_key"} <= set(taken)
    assert callable(DatalayerClient._fetch) and callable(DatalayerClient._runtimes_url)
    assert DatalayerURLs.from_environment().runtimes_url == cloud.url


def test_the_example_of_the_readme(cloud: Emulator) -> None:
    root = Path(__file__).parents[2]
    text = (root / "README.md").read_text("utf-8").partition("\n## Datalayer")[2]
    assert text.startswith("\n")
    example = text.partition("```python\n")[2].partition("```")[0]
    markdown_code.run(example, "README.md")
