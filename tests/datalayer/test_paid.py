"""One runtime for one call, and none after it: whatever the network and the caller do."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest

from code_sandboxes import (
    AsyncSandbox,
    CloudError,
    CloudUnavailableError,
    Sandbox,
    SandboxStartError,
)
from code_sandboxes.testing.base import eventually
from datalayer.service import RUNTIMES, VARIANT, ask, asked, paid
from datalayer_emulator import Emulator


@pytest.fixture(autouse=True)
def quick_and_clean(cloud: Emulator, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Less patience than with a real cloud; and nothing is left, ever."""
    package = "code_sandboxes.variants.datalayer"
    monkeypatch.setattr(f"{package}.client.PAUSES", (0.05, 0.05))
    monkeypatch.setattr(f"{package}.making.PAUSES", (0.05, 0.05, 0.05))
    monkeypatch.setattr(f"{package}.making.LATE_SECONDS", 4.0)
    monkeypatch.setattr(f"{package}.making.LOOK_SECONDS", 0.1)
    cloud.requests.clear()
    yield
    cloud.faults.clear()
    assert paid(cloud) == []


def creations(cloud: Emulator) -> list[str]:
    """The names that were asked for, in order."""
    return [request.body["given_name"] for request in asked(cloud, "POST", "/runtimes")]


def works_alone(cloud: Emulator, box: Sandbox) -> None:
    """It works, and there is no other."""
    assert box.run_code("6 * 7").text == "42"
    assert [one["given_name"] for one in paid(cloud)] == [f"code-sandboxes-{box.id}"]


# one runtime ------------------------------------------------------------------------------
def test_a_service_that_is_out_of_order_is_asked_again(cloud: Emulator) -> None:
    cloud.faults.fail("POST", "/runtimes", 503, times=2)
    with Sandbox.create(VARIANT) as box:
        works_alone(cloud, box)
    assert creations(cloud) == [f"code-sandboxes-{box.id}"] * 3
    steps = [one.method for one in cloud.requests if one.path == RUNTIMES]
    assert steps[:5] == ["POST", "GET", "POST", "GET", "POST"]  # it looks before it asks again


def test_a_service_that_stays_out_of_order(cloud: Emulator) -> None:
    cloud.faults.fail("POST", "/runtimes", 503, times=10)
    with pytest.raises(CloudUnavailableError, match="cannot create a runtime now .HTTP 503"):
        Sandbox.create(VARIANT)
    assert len(creations(cloud)) == 4


@pytest.mark.parametrize("how", ["dropped", "no JSON", "no runtime", "nonsense"])
def test_an_answer_that_was_lost(cloud: Emulator, how: str) -> None:
    if how == "dropped":
        cloud.faults.drop_answer("POST", "/runtimes")
    else:
        bodies = {"no JSON": b"<html>", "no runtime": b'{"success": true}'}
        cloud.faults.garble("POST", "/runtimes", bodies.get(how, b'{"runtime": {"uid": "../x"}}'))
    with Sandbox.create(VARIANT) as box:
        works_alone(cloud, box)
    assert len(creations(cloud)) == 1  # what the answer was about was found


def test_an_answer_that_comes_too_late(cloud: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("code_sandboxes.variants.datalayer.client.CREATE_SECONDS", 1.5)
    cloud.faults.delay("POST", "/runtimes", 2.5, times=1)
    with Sandbox.create(VARIANT) as box:
        works_alone(cloud, box)
    assert len(creations(cloud)) == 1


def test_a_twin_that_appears_is_ended(cloud: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first request is carried out after all, when the second has been made."""
    monkeypatch.setattr("code_sandboxes.variants.datalayer.client.CREATE_SECONDS", 1.5)
    monkeypatch.setattr("code_sandboxes.variants.datalayer.making.LATE_SECONDS", 0.0)
    cloud.faults.delay("POST", "/runtimes", 2.5, times=1)
    with Sandbox.create(VARIANT) as box:
        assert eventually(lambda: len(creations(cloud)) >= 2)
        assert box.run_code("6 * 7").text == "42"
        time.sleep(2)  # or, on a quick machine, it would appear after the end
    assert eventually(lambda: paid(cloud) == [])


# none after it ----------------------------------------------------------------------------
@pytest.mark.parametrize(
    "field",
    [
        {"ingress": "file:///etc/passwd"},
        {"ingress": "http://user:word@127.0.0.1/"},
        {"ingress": "http://127.0.0.1:99999/"},
        {"ingress": "http://127.0.0.1/?a=b"},
        {"ingress": 5},
        {"token": "a\r\nX-Other: b"},
        {"token": ""},
        {"token": None},
        {"runtime_name": "another"},
    ],
)
def test_a_runtime_that_cannot_be_reached(cloud: Emulator, field: dict[str, Any]) -> None:
    said = {
        "runtime_name": "01m88b4xnk0zbc9e1k7n5zvwp5",
        "ingress": f"{cloud.url}/jupyter/server/python-cpu-pool/none",
        "token": "abc",
        "started_at": "nan",
        "expired_at": [],
        **field,
    }
    cloud.faults.garble("POST", "/runtimes", json.dumps({"runtime": said}).encode())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("code_sandboxes.variants.datalayer_runtime.READY_SECONDS", 0.5)
        with pytest.raises((CloudError, SandboxStartError)) as raised:
            Sandbox.create(VARIANT)
    assert "\r" not in str(raised.value)
    assert not hasattr(raised.value, "__notes__")


def test_a_server_that_fails_half_way(cloud: Emulator) -> None:
    cloud.faults.fail("POST", "/api/kernels", 500, times=10)
    with pytest.raises(SandboxStartError, match="HTTP 500"):
        Sandbox.create(VARIANT)


def test_a_runtime_that_cannot_be_ended(cloud: Emulator) -> None:
    cloud.faults.fail("DELETE", "/runtimes/*", 503, times=2)
    Sandbox.create(VARIANT).terminate()  # the third time it is
    cloud.faults.fail("DELETE", "/runtimes/*", 503, times=100)
    box = Sandbox.create(VARIANT)
    with pytest.raises(CloudUnavailableError, match="cannot end a runtime now"):
        box.terminate()
    assert len(paid(cloud)) == 1
    cloud.faults.clear()
    box.terminate()  # it was not, so it can be tried again
    box.terminate()


def test_a_cancelled_creation(cloud: Emulator) -> None:
    async def main() -> None:
        import asyncio

        cloud.faults.delay("POST", "/runtimes", 0.5, times=1)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await AsyncSandbox.create(VARIANT)

    import asyncio

    asyncio.run(main())
    assert eventually(lambda: len(creations(cloud)) == 1)
    assert eventually(lambda: asked(cloud, "DELETE", ""), 20)
    assert eventually(lambda: paid(cloud) == [])


CREATE = """
import os, sys
from code_sandboxes import Sandbox
box = Sandbox.create("datalayer-runtime", max_lifetime=float(sys.argv[1]))
print(box.run_code("6 * 7").text, flush=True)
if os.fork() == 0:
    sys.exit(0)  # a child's end is not the sandbox's
os.wait()
print(box.run_code("6 * 7").text, flush=True)
"""


def test_a_process_that_forgets_its_sandbox(cloud: Emulator) -> None:
    ran = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", CREATE, "60"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (ran.stdout, ran.stderr, ran.returncode) == ("42\n42\n", "", 0)
    assert paid(cloud) == []


def test_ctrl_c_while_it_is_made(cloud: Emulator) -> None:
    cloud.faults.delay("POST", "/runtimes", 1.5, times=1)
    with subprocess.Popen(
        [sys.executable, "-c", CREATE, "60"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert eventually(lambda: creations(cloud), 30)
        process.send_signal(signal.SIGINT)
        out, error = process.communicate(timeout=30)
    assert out == b""
    assert b"KeyboardInterrupt" in error
    assert cloud.key.encode() not in error
    assert paid(cloud) == []  # though the answer came after Ctrl-C


def test_what_is_not_ours_is_left_alone(cloud: Emulator) -> None:
    body = {"environment": {"name": "python-cpu-env"}, "credits_limit": 1.0}
    names = ["somebody's", "code-sandboxes-sb-../../x", "code-sandboxes-"]
    made = [ask(cloud, "POST", RUNTIMES, body | {"given_name": name}) for name in names]
    try:
        with Sandbox.create(VARIANT) as box:
            assert [info.id for info in Sandbox.list()] == [box.id]
        assert len(paid(cloud)) == 3
    finally:
        for each in made:
            ask(cloud, "DELETE", f"{RUNTIMES}/{each['runtime']['runtime_name']}")
