"""The emulator, driven by Datalayer's own clients."""

from __future__ import annotations

import time
from functools import partial
from typing import Any

import pytest
import requests

from datalayer.official import Kernel, Official, eventually, status
from datalayer_emulator import Emulator

sample = 2  # every second test, since it is but a tool of others; `make soak` has all


# the account ----------------------------------------------------------------------------
def test_who_has_the_key_is_known(emulator: Emulator, official: Official) -> None:
    assert official.authenticate()
    assert official.get_profile().handle_s == "tester"
    assert not Official(emulator, key="another").authenticate()
    assert status(Official(emulator, key="another").list_environments) == 401
    emulator.faults.refuse_key()
    assert status(official.list_environments) == 401


def test_environments_are_told_apart_by_what_the_service_lists(official: Official) -> None:
    found = {one["name"]: one for one in official.list_environments()}
    assert found["python-cpu-env"]["burning_rate"] == 0.008
    assert found["python-cpu-env"]["resources"] is None
    assert found["ai-env"]["resources"]["nvidia.com/gpu"] == "1"
    assert "burning_rate" not in found["ada/geo"]


def test_credits_are_reserved_burnt_and_spent(official: Official) -> None:
    def usage() -> tuple[float, float]:
        said = official.get_usage_credits()
        assert said["credits"]["quota"] == 100.0
        return said["credits"]["credits"], sum(one["credits"] for one in said["reservations"])

    assert usage() == (0.0, 0.0)
    runtime = official.create(credits_limit=60.0)
    eventually(lambda: usage()[0] > 0.0)
    assert usage()[1] == 60.0
    assert status(lambda: official.create(credits_limit=60.0)) == 402
    official.delete(runtime)
    burnt, reserved = usage()
    assert 0.0 < burnt < 1.0
    assert reserved == 0.0
    for wrong in (0, -1, "much"):
        assert status(partial(official.create, credits_limit=wrong)) == 422


def test_an_account_has_so_many_runtimes_and_no_more() -> None:
    with Emulator(most_runtimes=1) as emulator:
        official = Official(emulator)
        official.create()
        assert status(official.create) == 429


# runtimes -------------------------------------------------------------------------------
def test_a_runtime_runs_code(official: Official) -> None:
    runtime = official.create(given_name="demo")
    with Kernel(runtime) as kernel:
        assert kernel.value("x = 6\nx * 7") == "42"
        assert kernel.value("1 / 0") == "ZeroDivisionError"
        assert kernel.value("import os; os.path.expanduser('~') == os.getcwd()") == "True"
        assert kernel.value("'PYTEST_CURRENT_TEST' in os.environ") == "False"
        ours = "getattr(importlib.util.find_spec('code_sandboxes'), 'loader', None)"
        assert kernel.value(f"import importlib.util; {ours}") == ""


def test_both_generations_of_names_and_times_as_strings(official: Official) -> None:
    official.create(given_name="demo")
    (runtime,) = official.ask("GET", "/runtimes")["runtimes"]
    name = runtime["runtime_name"]
    assert runtime["pod_name"] == runtime["uid"] == name
    assert runtime["environment"] == {"name": runtime["environment_name"]}
    assert runtime["given_name"] == "demo"
    lives = float(runtime["expired_at"]) - float(runtime["started_at"])
    assert lives == pytest.approx(4.8 / 0.008)
    assert isinstance(runtime["started_at"], str)
    assert official.ask("GET", f"/runtimes/{name}")["runtime"] == runtime
    assert status(lambda: official.ask("GET", "/runtimes/nope")) == 404


def test_the_same_given_name_twice_makes_two(official: Official) -> None:
    made = [official.create(given_name="demo")["runtime_name"] for _ in range(2)]
    assert len(set(made)) == 2
    assert official.names() == made


def test_what_cannot_be_created(official: Official) -> None:
    assert status(lambda: official.create("no-such-env")) == 404
    assert status(lambda: official.create(**{"from": "no-such-snapshot"})) == 404
    assert official.names() == []


def test_an_own_environment_and_the_old_request(official: Official) -> None:
    assert official.create("ada/geo")["burning_rate"] > 0
    old = {"environment_name": "ai-env", "credits_limit": 1}
    assert official.ask("POST", "/runtimes", old)["runtime"]["environment"] == {"name": "ai-env"}


def test_a_runtime_is_a_machine_of_its_own(emulator: Emulator, official: Official) -> None:
    if not emulator.rooted:
        pytest.skip("no mount namespace can be had here")
    one, other = official.create(), official.create()
    with Kernel(one) as kernel:
        assert kernel.value("import os; os.mkdir('/data'); open('/data/x', 'w').write('1')") == "1"
        assert kernel.value("open('/usr/x', 'w')") == "OSError"
    with Kernel(other) as kernel:
        assert kernel.value("import os; os.path.exists('/data/x'), os.getcwd()") == (
            "(False, '/home/jovyan')"
        )


def test_packages_stay_in_the_runtime(official: Official) -> None:
    with Kernel(official.create()) as kernel:
        assert "site-packages" in kernel.value(
            "import site, subprocess, sys, sysconfig\n"
            "where = sysconfig.get_path('purelib')\n"
            "open(where + '/mine.py', 'w').write('x = 5')\n"
            "where"
        )
        code = "subprocess.run(['python', '-c', 'import mine, tornado; print(mine.x)'])"
        assert "5" in kernel.execute(code)["outputs"][0]["text"]
        tell = "subprocess.run(['pip', '--version'], capture_output=True, text=True)"
        assert "returncode=0" in kernel.value(tell)
    with Kernel(official.create()) as kernel:
        assert kernel.value("import mine") == "ModuleNotFoundError"


# the raw client may leave the socket of a connection that was cut to the garbage collector
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_a_stock_server_drops_a_flood_and_large_messages(official: Official) -> None:
    with Kernel(official.create()) as kernel:
        outputs = kernel.execute("print('x' * 5_000_000)")["outputs"]
        text = "".join(one["text"] for one in outputs)
        assert "IOPub data rate exceeded" in text
    other = Kernel(official.create())
    other.start()
    with pytest.raises(Exception, match=r"(?i)closed|lost|reset|broken|pipe"):
        other.execute("#" * (11 << 20), timeout=10)
        other.execute("1", timeout=10)
    other.stop()


def test_the_files_of_a_runtime_through_the_contents_api(official: Official) -> None:
    runtime = official.create()
    address = f"{runtime['ingress']}/api/contents/big.bin"
    headers = {"Authorization": f"token {runtime['token']}"}
    data = "x" * (20 << 20)
    body = {"type": "file", "format": "text", "content": data}
    assert requests.put(address, json=body, headers=headers, timeout=60).status_code == 201
    assert requests.get(address, headers=headers, timeout=60).json()["content"] == data
    wrong = {"Authorization": "token wrong"}
    assert requests.get(address, headers=wrong, timeout=60).status_code == 403


def test_expiry_by_credits(official: Official) -> None:
    runtime = official.create(credits_limit=0.008 * 2)
    assert official.names() == [runtime["runtime_name"]]
    eventually(lambda: not official.names())
    lived = time.time() - float(runtime["started_at"])
    assert 2 <= lived < 10
    answer = requests.get(runtime["ingress"] + "/api/status", timeout=10)
    assert answer.status_code == 404


# pauses ---------------------------------------------------------------------------------
def test_a_paused_runtime_keeps_everything_and_answers_nothing(official: Official) -> None:
    runtime = official.create()
    path = f"/runtimes/{runtime['runtime_name']}"
    kernel = Kernel(runtime)
    kernel.start()
    kernel.value("x = 41")
    said = official.ask("POST", f"{path}/pause", {})

    def checkpoint() -> str:
        where = f"/runtime-checkpoints/{runtime['uid']}/{said['checkpoint_id']}"
        return str(official.ask("GET", where)["checkpoint"]["status"])

    eventually(lambda: checkpoint() == "paused")
    headers = {"Authorization": f"token {runtime['token']}"}
    address = runtime["ingress"] + "/api/kernels"
    assert requests.get(address, headers=headers, timeout=10).status_code == 503
    assert status(lambda: official.ask("POST", f"{path}/pause", {})) == 409
    assert official.names() == [runtime["runtime_name"]]
    expires = float(official.ask("GET", path)["runtime"]["expired_at"])
    eventually(lambda: float(official.ask("GET", path)["runtime"]["expired_at"]) > expires)

    official.ask("POST", f"{path}/resume", {})
    eventually(lambda: requests.get(address, headers=headers, timeout=10).status_code == 200)
    with Kernel(runtime, kernel_id=kernel.id) as again:
        assert again.value("x + 1") == "42"
    assert status(lambda: official.ask("POST", f"{path}/resume", {})) == 409
    kernel.stop()


# snapshots ------------------------------------------------------------------------------
def test_a_snapshot_has_files_and_variables(official: Official) -> None:
    runtime = official.create()
    code = (
        "import os, socket\n"
        "x, f, gone = {'a': 41}, (lambda: x['a'] + 1), socket.socket()\n"
        "os.mkdir('sub'); open('sub/f.txt', 'w').write('hi'); os.mkfifo('pipe')"
    )
    with Kernel(runtime) as kernel, Kernel(runtime) as second, Kernel(runtime):
        kernel.value(code)
        second.value("y = 2")
        names = "sorted(name for name in globals() if name[0] != '_')"
        before = kernel.value(names)
        snapshot = official.snapshot(runtime, "mine")
        assert kernel.value(names) == before
    assert snapshot["status"] == "completed"
    assert {"x", "f", "y"} <= set(snapshot["metadata"]["saved"])
    assert [one.rpartition("/")[2] for one in snapshot["metadata"]["skipped"]] == ["gone", "pipe"]
    official.delete(runtime)

    restored = official.create(**{"from": snapshot["uid"]})
    with Kernel(restored) as silent, Kernel(restored) as kernel, Kernel(restored) as second:
        silent.execute("z = 1", silent=True)
        assert kernel.value("f(), open('sub/f.txt').read()") == "(42, 'hi')"
        assert second.value("y, 'x' in globals()") == "(2, False)"
        assert [one["name"] for one in official.ask("GET", "/sandbox-snapshots")["snapshots"]]
    official.ask("DELETE", f"/sandbox-snapshots/{snapshot['uid']}")
    assert official.ask("GET", "/sandbox-snapshots")["snapshots"] == []
    assert status(lambda: official.ask("GET", f"/sandbox-snapshots/{snapshot['uid']}")) == 404


def test_a_snapshot_may_stop_its_runtime_and_may_fail(
    emulator: Emulator, official: Official
) -> None:
    runtime = official.create()
    emulator.faults.fail_snapshots()
    assert official.snapshot(runtime, "first", stop=True)["status"] == "failed"
    assert official.names()
    failed = official.ask("GET", "/sandbox-snapshots")["snapshots"][0]["uid"]
    assert status(lambda: official.create(**{"from": failed})) == 409
    assert official.snapshot(runtime, "second", stop=True)["status"] == "completed"
    eventually(lambda: not official.names())


def test_a_pickle_is_loaded_in_the_runtime_only(official: Official) -> None:
    runtime = official.create()
    code = "import os\nclass Evil:\n    def __reduce__(self): return os.getpid, ()\nevil = Evil()"
    with Kernel(runtime) as kernel:
        kernel.value(code)
        snapshot = official.snapshot(runtime, "evil")
    with Kernel(official.create(**{"from": snapshot["uid"]})) as kernel:
        assert kernel.value("evil == os.getpid()") == "True"


def test_a_busy_kernel_is_named(official: Official, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("datalayer_emulator.snapshots.BUSY_SECONDS", 0.5)
    runtime = official.create()
    with Kernel(runtime) as kernel:
        with pytest.raises(TimeoutError):
            kernel.execute("import time; time.sleep(30)", timeout=0.5)
        snapshot = official.snapshot(runtime, "busy")
        assert snapshot["status"] == "completed"
        (skipped,) = snapshot["metadata"]["skipped"]
        assert kernel.id in skipped
        kernel.interrupt()


def test_what_has_no_runtime_or_no_name_has_no_snapshot(official: Official) -> None:
    nothing: dict[str, Any] = {"runtime_name": "nope"}
    assert status(lambda: official.snapshot(nothing, "mine")) == 404
    assert status(lambda: official.snapshot(official.create(), "")) == 422
