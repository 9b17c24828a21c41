"""datalayer-runtime beside datalayer-core and jupyter-kernel-client, all on the tests' emulator."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from datalayer_core.client import DatalayerClient
from jupyter_kernel_client import JupyterKernelClient

from code_sandboxes import Sandbox

from . import ours
from .measure import Row, side_by_side
from .remote import Address, calls

VARIANT = "datalayer-runtime"
ENVIRONMENT = "python-cpu-env"


class Client(DatalayerClient):  # type: ignore[misc]  # it has no types
    """Datalayer's own, which has no verb for runtimes any more."""

    def create(self) -> dict[str, Any]:
        """A runtime."""
        body = {"environment": {"name": ENVIRONMENT}, "credits_limit": 1.0}
        answer = self._fetch(self._runtimes_url("/runtimes"), method="POST", json=body)
        runtime: dict[str, Any] = answer.json()["runtime"]
        return runtime

    def delete(self, runtime: dict[str, Any]) -> None:
        """Its end."""
        name = runtime["runtime_name"]
        self._fetch(self._runtimes_url(f"/runtimes/{name}"), method="DELETE")


@contextmanager
def running() -> Iterator[None]:
    """The emulator, in a process of its own, as the cloud of this one."""
    child = subprocess.Popen(
        [sys.executable, "-m", "tests.datalayer_emulator"], stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    before = dict(os.environ)
    try:
        while not os.environ.keys() >= {"DATALAYER_API_KEY", "DATALAYER_RUNTIMES_URL"}:
            _, said = shlex.split(child.stdout.readline())
            os.environ.update([said.split("=", 1)])
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
        child.terminate()
        child.wait(30)


def first_result() -> float:
    """Seconds that the raw clients take from nothing to the first result."""
    began = time.perf_counter()
    client = Client()
    runtime = client.create()
    try:
        with JupyterKernelClient(server_url=runtime["ingress"], token=runtime["token"]) as kernel:
            kernel.execute("1")
            return time.perf_counter() - began
    finally:
        client.delete(runtime)


def rows(few: int, many: int) -> list[Row]:
    """All rows."""
    with running():
        raw, first = side_by_side(few, first_result, ours.until_first_result(VARIANT))
        made: list[Row] = [("create to first result", "raw clients", raw, {VARIANT: first}, "")]
        client = Client()
        runtime = client.create()
        try:
            with Sandbox.create(VARIANT) as box:
                return made + calls(Address(runtime["ingress"], runtime["token"]), box, few, many)
        finally:
            client.delete(runtime)
