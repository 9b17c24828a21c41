"""What goes wrong on demand, and what is left when everything ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil  # type: ignore[import-untyped]
import pytest
import requests

from datalayer.official import Kernel, Official, eventually, status
from datalayer_emulator import Emulator

TESTS = Path(__file__).parents[1]
sample = 2  # every second test, since it is but a tool of others; `make soak` has all


# faults ---------------------------------------------------------------------------------
def test_statuses_come_as_often_as_they_shall(emulator: Emulator, official: Official) -> None:
    for code in (500, 502, 503, 504, 429):
        emulator.faults.fail("POST", "/runtimes", code, times=2)
        assert [status(official.create) for _ in range(2)] == [code, code]
    assert official.names() == []
    official.create()
    emulator.faults.fail("GET", "/runtimes", 429, retry_after="3")
    url = emulator.url + "/api/runtimes/v1/runtimes"
    answer = requests.get(url, headers={"Authorization": f"Bearer {emulator.key}"}, timeout=10)
    assert (answer.status_code, answer.headers["Retry-After"]) == (429, "3")


def test_an_answer_that_never_comes_was_still_done(emulator: Emulator, official: Official) -> None:
    emulator.faults.drop_answer("POST", "/runtimes")
    with pytest.raises(requests.ConnectionError):
        official.create(given_name="paid")
    (found,) = official.ask("GET", "/runtimes")["runtimes"]
    assert found["given_name"] == "paid"


def test_a_slow_answer(emulator: Emulator, official: Official) -> None:
    emulator.faults.delay("POST", "/runtimes", 1.0, times=1)
    with pytest.raises(requests.Timeout):
        official._fetch(official._runtimes_url("/runtimes"), method="POST", json={}, timeout=0.3)
    began = time.monotonic()
    emulator.faults.delay("GET", "/runtimes", 0.5, times=1)
    official.names()
    assert time.monotonic() - began >= 0.5


def test_an_answer_that_is_no_json(emulator: Emulator, official: Official) -> None:
    emulator.faults.garble("GET", "/runtimes", b"<html>")
    with pytest.raises(ValueError):
        official.names()
    assert official.names() == []


def test_an_ingress_that_warms_up(emulator: Emulator, official: Official) -> None:
    emulator.faults.warm_up(requests=2, status=502)
    runtime = official.create()
    address = runtime["ingress"] + "/api/status"
    headers = {"Authorization": f"token {runtime['token']}"}
    said = [requests.get(address, headers=headers, timeout=10).status_code for _ in range(3)]
    assert said == [502, 502, 200]


def test_dropped_websockets(emulator: Emulator, official: Official) -> None:
    runtime = official.create()
    kernel = Kernel(runtime)
    kernel.start()
    assert kernel.value("x = 1\nx") == "1"
    emulator.faults.drop_websockets(runtime["runtime_name"])
    with pytest.raises(Exception, match=r"(?i)closed|lost|timeout"):
        kernel.execute("x", timeout=3)
    with Kernel(runtime, kernel_id=kernel.id) as again:
        assert again.value("x") == "1"
    kernel.stop()


def test_a_key_that_is_refused_midway_leaves_what_runs_alone(
    emulator: Emulator, official: Official
) -> None:
    runtime = official.create()
    with Kernel(runtime) as kernel:
        emulator.faults.refuse_key()
        assert status(official.names) == 401
        assert status(lambda: official.delete(runtime)) == 401
        assert kernel.value("6 * 7") == "42"  # a runtime has a token of its own
        emulator.faults.clear()
        assert official.names() == [runtime["runtime_name"]]


def test_the_ingress_does_not_know_the_key(emulator: Emulator, official: Official) -> None:
    runtime = official.create()
    headers = {"Authorization": f"Bearer {emulator.key}"}
    answer = requests.get(runtime["ingress"] + "/api/kernels", headers=headers, timeout=10)
    assert answer.status_code == 403
    headers = {"Authorization": f"Bearer {runtime['token']}"}
    answer = requests.get(official._runtimes_url("/runtimes"), headers=headers, timeout=10)
    assert answer.status_code == 401


def test_one_connection_serves_two_runtimes(official: Official) -> None:
    with requests.Session() as session:  # it keeps a connection, as a proxy's clients do
        for runtime in (official.create(), official.create()):
            session.headers["Authorization"] = f"token {runtime['token']}"
            address = runtime["ingress"] + "/api/status"
            assert session.get(address, timeout=10).json()["kernels"] == 0
            assert session.get(address, timeout=10).status_code == 200


def test_faults_at_the_ingress(emulator: Emulator, official: Official) -> None:
    runtime = official.create()
    address = runtime["ingress"] + "/api/kernels"
    headers = {"Authorization": f"token {runtime['token']}"}
    emulator.faults.fail("POST", "/api/kernels", 504)
    assert requests.post(address, json={}, headers=headers, timeout=10).status_code == 504
    emulator.faults.drop_answer("POST", "/api/kernels")
    with pytest.raises(requests.ConnectionError):
        requests.post(address, json={}, headers=headers, timeout=30)
    assert len(requests.get(address, headers=headers, timeout=10).json()) == 1
    emulator.faults.garble("GET", "/api/kernels", b"<html>")
    assert requests.get(address, headers=headers, timeout=10).text == "<html>"


def test_a_runtime_that_dies(emulator: Emulator, official: Official) -> None:
    runtime = official.create()
    with Kernel(runtime) as kernel:
        pid = int(kernel.value("import os; os.getpid()"))
        emulator.faults.kill_runtime(runtime["runtime_name"])
        assert not psutil.pid_exists(pid)
        answer = requests.get(runtime["ingress"] + "/api/status", timeout=10)
        assert answer.status_code == 502
        assert official.names() == [runtime["runtime_name"]]
        official.delete(runtime)


def test_requests_are_remembered_without_their_secrets(
    emulator: Emulator, official: Official
) -> None:
    official.authenticate()
    runtime = official.create(given_name="demo")
    address = f"{runtime['ingress']}/api/status?token={runtime['token']}"
    requests.get(address, timeout=10)
    login, create, ingress = emulator.requests
    assert login.body == {"token": "***"}
    assert (create.method, create.path) == ("POST", "/api/runtimes/v1/runtimes")
    assert create.body["given_name"] == "demo"
    assert create.headers["authorization"] == "Bearer ***"
    assert (create.secret, create.status) == ("key", 200)
    assert ingress.secret == "token"
    said = repr(emulator.requests)
    assert emulator.key not in said
    assert runtime["token"] not in said


def test_a_forgotten_client_does_not_hold_the_emulator_up(
    emulator: Emulator, official: Official
) -> None:
    runtime = official.create()
    for _ in range(3):
        kernel = Kernel(runtime)
        kernel.start()
        kernel.itself = kernel  # only the garbage collector finds it; its finalizer asks the server
        del kernel
    headers = {"Authorization": f"token {runtime['token']}"}
    address = runtime["ingress"] + "/api/kernels"
    until = time.monotonic() + 20
    while requests.get(address, headers=headers, timeout=5).json():
        assert time.monotonic() < until
        [[] for _ in range(10_000)]  # what makes the interpreter collect, in any thread
        time.sleep(0.05)


# the end --------------------------------------------------------------------------------
STUBBORN = (
    "import os, subprocess, sys\n"
    "code = 'import os, time; os.fork() and os._exit(0); os.setsid(); time.sleep(300)'\n"
    "p = subprocess.Popen([sys.executable, '-c', code], start_new_session=True)\n"
    "p.wait()"
)


def test_nothing_is_left_behind() -> None:
    before = {one.pid for one in psutil.Process().children(recursive=True)}
    with Emulator() as emulator:
        official, folder = Official(emulator), emulator.folder
        kernels = [Kernel(official.create()) for _ in range(3)]
        for kernel in kernels:
            kernel.start()
        kernels[-1].execute(STUBBORN)
        names = [one["runtime_name"] for one in official.ask("GET", "/runtimes")["runtimes"]]
        official.ask("POST", f"/runtimes/{names[0]}/pause", {})
        started = {one.pid for one in psutil.Process().children(recursive=True)} - before
        assert len(started) >= 11  # a nursery; a keeper, a server and a kernel of each; one more
    for kernel in kernels:
        kernel.stop(shutdown_kernel=False)
    assert not folder.exists()
    eventually(lambda: not [pid for pid in started if psutil.pid_exists(pid)])
    with pytest.raises(requests.ConnectionError):
        requests.get(emulator.url, timeout=5)


OWNER = f"""
import json, psutil, sys, time
sys.path.insert(0, {str(TESTS)!r})
from datalayer_emulator import Emulator
from datalayer.official import Kernel, Official, eventually, status
emulator = Emulator().start()
kernel = Kernel(Official(emulator).create())
kernel.start()
kernel.execute({STUBBORN!r})
pids = [one.pid for one in psutil.Process().children(recursive=True)]
print(json.dumps([str(emulator.folder), pids]), flush=True)
time.sleep(300)
"""


def test_nothing_is_left_behind_by_an_owner_that_is_killed() -> None:
    with subprocess.Popen([sys.executable, "-c", OWNER], stdout=subprocess.PIPE) as owner:
        assert owner.stdout is not None
        folder, pids = json.loads(owner.stdout.readline())
        assert Path(folder).exists()
        assert len(pids) >= 5
        owner.kill()
    eventually(lambda: not [pid for pid in pids if psutil.pid_exists(pid)])
    eventually(lambda: not Path(folder).exists())


def test_the_command_serves_until_ctrl_c() -> None:
    command = [sys.executable, "-m", "tests.datalayer_emulator"]
    with subprocess.Popen(command, cwd=TESTS.parent, stdout=subprocess.PIPE, text=True) as served:
        assert served.stdout is not None
        lines = [served.stdout.readline() for _ in range(3)]
        exports = dict(line.removeprefix("export ").strip().split("=", 1) for line in lines)
        code = (
            "from datalayer_core.client import DatalayerClient\n"
            "client = DatalayerClient()\n"
            "print(client.authenticate(), len(client.list_environments()))"
        )
        said = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", code],
            env=os.environ | exports,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert said.stdout.strip() == "True 3", said.stderr
        served.send_signal(signal.SIGINT)
        assert served.wait(20) == 0
