"""What a sandbox in the cloud is made of, what it costs, and why it is refused."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from code_sandboxes import (
    CloudError,
    CloudUnavailableError,
    CredentialsError,
    CreditsError,
    QuotaError,
    Sandbox,
    SandboxError,
    SandboxStartError,
    SnapshotNotFoundError,
    UnsupportedError,
)
from datalayer.service import VARIANT, asked, paid
from datalayer_emulator import Emulator

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def nothing_is_left(cloud: Emulator) -> Iterator[None]:
    cloud.requests.clear()
    yield
    cloud.faults.clear()
    assert paid(cloud) == []


# what is asked for ------------------------------------------------------------------------
def test_what_is_reserved(cloud: Emulator) -> None:
    with Sandbox.create(VARIANT) as box:
        (runtime,) = paid(cloud)
        assert runtime["given_name"] == f"code-sandboxes-{box.id}"
        assert box.config.max_lifetime == 600
    with Sandbox.create(VARIANT, gpu="T4", max_lifetime=100):
        pass
    first, second = (request.body for request in asked(cloud, "POST", "/runtimes"))
    assert first["environment"] == {"name": "python-cpu-env"}
    assert first["credits_limit"] == pytest.approx(0.008 * 600)
    assert second["environment"] == {"name": "ai-env"}
    assert second["credits_limit"] == pytest.approx(0.05 * 100)
    assert first["given_name"] != second["given_name"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"environment": "none"}, r"'none'; this account has: python-cpu-env, ai-env, ada/geo"),
        ({"environment": "ada/geo"}, r"does not say what it costs"),
        ({"gpu": "H100"}, r"no environment has a GPU 'H100'.*ai-env \(AI Environment \(NVIDIA T4"),
        ({"gpu": "T"}, r"no environment has a GPU 'T'"),
        ({"gpu": "T4", "environment": "python-cpu-env"}, r"'python-cpu-env' is none with.*ai-env"),
        ({"cpu": 1.0, "memory": 512}, r"memory_limit: .*environment=.*cpu_limit: "),
        ({"network_policy": "none"}, r"network_policy=none: .*supported by"),
        ({"confined": True, "disk": 5}, r"disk_limit.*confined"),
        ({"token": "x"}, "token: .*does not know it"),
    ],
)
def test_what_cannot_be_had(cloud: Emulator, options: dict[str, object], said: str) -> None:
    with pytest.raises(UnsupportedError, match=said):
        Sandbox.create(VARIANT, **options)  # type: ignore[arg-type]
    assert not asked(cloud, "POST", "/runtimes")


def test_unknown_snapshots(cloud: Emulator) -> None:
    with pytest.raises(SnapshotNotFoundError, match="'never' in the cloud; there are: none"):
        Sandbox.create(VARIANT, snapshot_name="never")
    with pytest.raises(SnapshotNotFoundError):
        Sandbox.delete_snapshot("never", variant=VARIANT)
    assert not asked(cloud, "POST", "/runtimes")


def test_too_few_credits(cloud: Emulator) -> None:
    with pytest.raises(CreditsError, match=r"need 8000 credits.*max_lifetime of \d+ s at most"):
        Sandbox.create(VARIANT, max_lifetime=1e6)
    assert not asked(cloud, "POST", "/runtimes")


# the key ----------------------------------------------------------------------------------
def test_no_key(cloud: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    for key, said in (("", "set DATALAYER_API_KEY"), ("a b", "spaces"), ("a\nb", "spaces")):
        monkeypatch.setenv("DATALAYER_API_KEY", key)
        able = Sandbox.capabilities(VARIANT)["create"]
        assert not able.supported
        assert said in able.reason
        with pytest.raises(CredentialsError, match=said) as raised:
            Sandbox.create(VARIANT, environment="python-cpu-env")
        assert not key or key not in str(raised.value)
    Sandbox.list()
    assert not cloud.requests  # it was not worth asking


def test_a_wrong_key(cloud: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    cloud.faults.refuse_key()
    with pytest.raises(CredentialsError, match="wrong or has expired: set it to another"):
        Sandbox.create(VARIANT)
    with pytest.raises(CredentialsError):
        Sandbox.from_id("sb-000000000000")
    cloud.faults.clear()
    monkeypatch.setenv("DATALAYER_API_KEY", "another")
    with pytest.raises(CredentialsError):
        Sandbox.list_snapshots(VARIANT)


def test_without_the_extra() -> None:
    code = f"""
import sys
sys.path.insert(0, {str(ROOT / "sandboxes")!r})
from code_sandboxes import Sandbox, SandboxError
found = Sandbox.capabilities("datalayer-runtime")["create"]
print(found.supported, found.reason)
try:
    Sandbox.create("datalayer-runtime")
except SandboxError as error:
    print(type(error).__name__, error)
print(Sandbox.list())
"""
    ran = subprocess.run(  # -S: no site-packages
        [sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0 or "platformdirs" in ran.stderr, ran.stderr
    first, second = ran.stdout.splitlines()[:2]
    assert first.startswith("False")
    assert first.endswith("`code-sandboxes[datalayer]`")
    assert second.startswith("MissingExtraError")


def test_capabilities_ask_nobody(cloud: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("no network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    began = time.monotonic()
    able = Sandbox.capabilities(VARIANT)
    assert time.monotonic() - began < 1
    assert able["create"] and able["snapshots"] and able["pause"] and able["detach"]
    assert not any(each.reason == "" for each in able.values() if not each.supported)


# what the service answers -----------------------------------------------------------------
@pytest.mark.parametrize(
    ("status", "error", "said"),
    [
        (401, CredentialsError, "set it to another"),
        (402, CreditsError, "not enough credits"),
        (403, CredentialsError, "may not create a runtime"),
        (404, CloudError, "did not create a runtime .HTTP 404"),
        (409, CloudError, "HTTP 409"),
        (422, CloudError, "HTTP 422"),
        (429, QuotaError, "may have no more of this now"),
    ],
)
def test_refusals(cloud: Emulator, status: int, error: type[SandboxError], said: str) -> None:
    cloud.faults.fail("POST", "/runtimes", status)
    began = time.monotonic()
    with pytest.raises(error, match=said) as raised:
        Sandbox.create(VARIANT)
    assert isinstance(raised.value, CloudError)
    assert raised.value.status == status
    assert len(asked(cloud, "POST", "/runtimes")) == 1  # a refusal is not tried again
    assert time.monotonic() - began < 3


def test_a_quota(cloud: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cloud._account, "most_runtimes", 1)
    with Sandbox.create(VARIANT) as box:
        with pytest.raises(QuotaError, match="terminate a sandbox"):
            Sandbox.create(VARIANT)
        assert box.run_code("1").text == "1"


@pytest.mark.parametrize(("path", "status"), [("/environments", 500), ("/usage/credits", 503)])
def test_a_service_that_is_out_of_order(
    cloud: Emulator, path: str, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("code_sandboxes.variants.datalayer.client.PAUSES", (0.0, 0.0))
    cloud.faults.fail("GET", path, status, times=3)
    with pytest.raises(CloudUnavailableError, match=f"HTTP {status}.*try later"):
        Sandbox.create(VARIANT)
    assert not asked(cloud, "POST", "/runtimes")
    cloud.faults.fail("GET", path, status, times=2)
    Sandbox.create(VARIANT).terminate()  # the third time it answers


@pytest.mark.parametrize("body", [b"<html>", b"[]", b"null", b"{}", b'{"environments": 5}'])
def test_answers_that_make_no_sense(cloud: Emulator, body: bytes) -> None:
    cloud.faults.garble("GET", "/environments", body)
    with pytest.raises(CloudError, match="API may have changed"):
        Sandbox.create(VARIANT)


def test_a_service_that_is_too_slow(cloud: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("code_sandboxes.variants.datalayer.client.PAUSES", (0.0, 0.0))
    monkeypatch.setattr("code_sandboxes.variants.datalayer.client.REST_SECONDS", 0.2)
    cloud.faults.delay("GET", "/environments", 1, times=3)
    began = time.monotonic()
    with pytest.raises(CloudUnavailableError, match=r"did not list its environments within 0\.2 s"):
        Sandbox.create(VARIANT)
    assert time.monotonic() - began < 3
    assert not asked(cloud, "POST", "/runtimes")


def test_nobody_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    monkeypatch.setenv("DATALAYER_RUNTIMES_URL", f"http://127.0.0.1:{port}")
    with pytest.raises(CloudUnavailableError, match="nobody answers for Datalayer at http://127"):
        Sandbox.create(VARIANT)


# the ingress ------------------------------------------------------------------------------
def test_an_ingress_that_is_cold(cloud: Emulator) -> None:
    for status in (502, 503, 504):
        cloud.faults.warm_up(3, status)
        with Sandbox.create(VARIANT) as box:
            assert box.run_code("6 * 7").text == "42"


def test_an_ingress_that_stays_cold(cloud: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("code_sandboxes.variants.datalayer_runtime.READY_SECONDS", 1.0)
    cloud.faults.warm_up(10**6)
    with pytest.raises(SandboxStartError, match="the runtime does not answer"):
        Sandbox.create(VARIANT)


def test_an_ingress_that_hesitates(cloud: Emulator) -> None:
    cloud.faults.fail("POST", "/api/kernels", 503, times=2)
    cloud.faults.fail("GET", "/channels", 502, times=2)
    with Sandbox.create(VARIANT) as box:
        assert box.run_code("6 * 7").text == "42"
