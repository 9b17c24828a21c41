"""Datalayer's own client, with the runtimes verbs that it has no more, as a user writes them."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
import requests
from datalayer_core.client import DatalayerClient
from datalayer_core.utils.urls import DatalayerURLs
from jupyter_kernel_client import JupyterKernelClient
from websocket import WebSocketException

from datalayer_emulator import Emulator

SECONDS = 20.0


class Official(DatalayerClient):  # type: ignore[misc]  # it has no types
    """The client of one emulator."""

    def __init__(self, emulator: Emulator, key: str | None = None) -> None:
        super().__init__(DatalayerURLs.from_single_origin(emulator.url), key or emulator.key)

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        """One request below the runtimes' API."""
        answer = self._fetch(self._runtimes_url(path), method=method, json=body)
        return answer.json() if answer.content else None

    def create(self, environment: str = "python-cpu-env", **more: Any) -> dict[str, Any]:
        """A runtime."""
        body = {"type": "notebook", "environment": {"name": environment}, "credits_limit": 4.8}
        runtime: dict[str, Any] = self.ask("POST", "/runtimes", body | more)["runtime"]
        return runtime

    def names(self) -> list[str]:
        """Of the runtimes there are."""
        return [one["runtime_name"] for one in self.ask("GET", "/runtimes")["runtimes"]]

    def delete(self, *runtimes: dict[str, Any]) -> None:
        """End runtimes."""
        for one in runtimes:
            self.ask("DELETE", f"/runtimes/{one['runtime_name']}")

    def snapshot(self, runtime: dict[str, Any], name: str, **more: Any) -> dict[str, Any]:
        """A snapshot, when it is there, or has failed."""
        body = {"runtime_name": runtime["runtime_name"], "name": name, "description": "", **more}
        uid = self.ask("POST", "/sandbox-snapshots", body)["snapshot"]["uid"]
        until = time.monotonic() + SECONDS
        while time.monotonic() < until:
            found: dict[str, Any] = self.ask("GET", f"/sandbox-snapshots/{uid}")["snapshot"]
            if found["status"] != "pending":
                return found
            time.sleep(0.02)
        raise TimeoutError(f"snapshot {uid} is still pending")


class Kernel(JupyterKernelClient):  # type: ignore[misc]  # it has no types
    """A kernel in a runtime, with the value of an expression."""

    def __init__(self, runtime: dict[str, Any], **more: Any) -> None:
        super().__init__(server_url=runtime["ingress"], token=runtime["token"], **more)

    def stop(self, *arguments: Any, **more: Any) -> None:
        """Say goodbye first: without that, it often waits ten seconds for its own thread."""
        client = self._manager.client
        socket, thread = client.kernel_socket, client.connection_thread
        if socket is not None and socket.sock is not None and thread is not None:
            raw = socket.sock.sock
            with suppress(WebSocketException, OSError):
                socket.sock.send_close()
            thread.join(1)
            if raw is not None:
                raw.close()
        super().stop(*arguments, **more)

    def value(self, code: str) -> str:
        """The text of the last expression; the error's name if there was one."""
        outputs = self.execute(code)["outputs"]
        if not outputs:
            return ""
        last = outputs[-1]
        return str(last.get("ename") or last.get("data", {}).get("text/plain") or last.get("text"))


def eventually(happens: Callable[[], object], seconds: float = SECONDS) -> None:
    """Wait until it does."""
    until = time.monotonic() + seconds
    while not happens():
        assert time.monotonic() < until, "it did not happen"
        time.sleep(0.02)


def status(call: Callable[[], object]) -> int:
    """The HTTP status with which a call of the client's fails."""
    with pytest.raises(RuntimeError) as caught:
        call()
    cause = caught.value.__cause__
    assert isinstance(cause, requests.HTTPError) and cause.response is not None
    return int(cause.response.status_code)
