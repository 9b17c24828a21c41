"""What we use of datalayer-core and jupyter-kernel-client, some of it private: an upgrade that
takes any of it away fails here, and says what it was."""

from __future__ import annotations

import importlib.metadata
import inspect
import json
import queue
import threading
import tomllib
from pathlib import Path

import pytest
import requests
from datalayer_core.client.client import DatalayerClient
from datalayer_core.utils.urls import DatalayerURLs
from jupyter_client.clientabc import KernelClientABC
from jupyter_kernel_client.utils import (
    deserialize_msg_from_ws_default,
    serialize_msg_to_ws_default,
)
from jupyter_kernel_client.wsclient import KernelWebSocketClient
from packaging.requirements import Requirement

from datalayer.official import Official, status
from datalayer_emulator import Emulator

PROJECT = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text("utf-8"))


def parameters(function: object) -> dict[str, inspect.Parameter]:
    """By name."""
    assert callable(function)
    return dict(inspect.signature(function).parameters)


@pytest.mark.parametrize(
    ("extra", "package"),
    [("datalayer", "datalayer-core"), ("server", "jupyter-kernel-client")],
)
def test_the_installed_version_is_one_that_the_extra_allows(extra: str, package: str) -> None:
    needed = map(Requirement, PROJECT["project"]["optional-dependencies"][extra])
    (requirement,) = [one for one in needed if one.name == package]
    assert requirement.specifier.contains(importlib.metadata.version(package))


# datalayer-core -------------------------------------------------------------------------
def test_a_client_is_made_of_addresses_and_a_key() -> None:
    taken = parameters(DatalayerClient.__init__)
    assert list(taken) == ["self", "urls", "api_key"]
    urls = DatalayerURLs.from_single_origin("http://127.0.0.1:9/")
    client = DatalayerClient(urls=urls, api_key="a-key")
    assert client.urls is urls
    assert client._runtimes_url("/runtimes") == "http://127.0.0.1:9/api/runtimes/v1/runtimes"
    assert not [name for name in vars(DatalayerClient) if name.startswith("create_runtime")]


def test_without_a_key_there_is_no_client(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DATALAYER_API_KEY", "TEST_DATALAYER_API_KEY", "DATALAYER_EXTERNAL_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(DatalayerClient, "_get_api_key", lambda self: None)  # no keyring either
    with pytest.raises(ValueError, match="API key is required"):
        DatalayerClient(urls=DatalayerURLs.from_single_origin("http://127.0.0.1:9"))


def test_two_variables_say_where_the_service_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATALAYER_IAM_URL", "http://iam.test/")
    monkeypatch.setenv("DATALAYER_RUNTIMES_URL", "http://runtimes.test/")
    found = DatalayerURLs.from_environment()
    assert (found.iam_url, found.runtimes_url) == ("http://iam.test", "http://runtimes.test")


def test_a_request_carries_the_key_and_a_refusal_its_status(
    emulator: Emulator, official: Official
) -> None:
    url = official._runtimes_url("/runtimes")
    assert official._fetch(url).json()["runtimes"] == []
    assert emulator.requests[-1].headers["authorization"] == "Bearer ***"
    answer = official._fetch(url, method="POST", json={"environment_name": "ai-env"})
    assert answer.status_code == 200
    assert status(lambda: official._fetch(f"{url}/nope")) == 404
    with pytest.raises(RuntimeError) as caught:
        official._fetch(f"{url}/nope")
    cause = caught.value.__cause__
    assert isinstance(cause, requests.HTTPError) and cause.response is not None
    assert cause.response.json()["message"] == "Runtime nope not found."


def test_no_answer_is_an_exception_of_requests(emulator: Emulator, official: Official) -> None:
    url = official._runtimes_url("/runtimes")
    emulator.faults.delay("GET", "/runtimes", 2.0, times=1)
    with pytest.raises(requests.Timeout):
        official._fetch(url, timeout=(5.0, 0.2))
    emulator.faults.drop_answer("GET", "/runtimes")
    with pytest.raises(requests.ConnectionError):
        official._fetch(url)


def test_what_tells_of_the_account(official: Official) -> None:
    assert official.authenticate() is True
    assert official.get_profile().uid
    assert set(official.get_usage_credits()) >= {"credits", "reservations"}
    assert isinstance(official.list_environments(), list)


# jupyter-kernel-client ------------------------------------------------------------------
def test_a_websocket_client_is_a_kernel_client_with_these_parts() -> None:
    assert issubclass(KernelWebSocketClient, KernelClientABC)
    assert list(parameters(KernelWebSocketClient.__init__))[1:3] == ["endpoint", "token"]
    client = KernelWebSocketClient("ws://127.0.0.1:9/", None, headers={"Authorization": "token x"})
    assert client._headers == {"Authorization": "token x"}
    assert isinstance(client._message_received, threading.Event)
    assert isinstance(client.connection_ready, threading.Event)
    assert client.kernel_socket is client.connection_thread is None
    assert client.shutting_down is False
    for channel in ("shell", "iopub", "stdin", "control", "hb"):
        assert isinstance(getattr(client, f"_{channel}_msg_queue"), queue.Queue)
    assert "hb" in parameters(client.start_channels)
    for name in ("_on_open", "_on_message", "_on_close", "_run_websocket", "stop_channels"):
        assert callable(getattr(client, name))
    asked = {"silent", "store_history", "user_expressions", "allow_stdin", "stop_on_error"}
    assert asked <= set(parameters(client.execute))
    # of all that jupyter-kernel-client has, this is what unpickles: what we use must not have it
    assert not hasattr(client, "get_variable")


def test_a_message_goes_into_the_queue_of_its_channel() -> None:
    client = KernelWebSocketClient("ws://127.0.0.1:9/", None)
    message = {"channel": "iopub", "msg_id": "1", "msg_type": "status", "content": {}}
    message["header"] = {"msg_type": "status", "msg_id": "1"}
    client._on_message(None, json.dumps(message))
    assert client._iopub_msg_queue.get_nowait()["header"]["msg_id"] == "1"
    assert client._message_received.is_set()


def test_a_message_with_bytes_is_read_as_it_was_written() -> None:
    message = {"channel": "shell", "header": {"date": None}, "buffers": [b"one", b"\0two"]}
    read = deserialize_msg_from_ws_default(serialize_msg_to_ws_default(dict(message)))
    assert [bytes(part) for part in read["buffers"]] == message["buffers"]
    assert read["channel"] == "shell"
