"""What the emulated service itself says, to a test that asks it past the engine."""

from __future__ import annotations

import json
import urllib.request
from typing import Any

from datalayer_emulator import Emulator
from datalayer_emulator.recorded import Request

RUNTIMES = "/api/runtimes/v1/runtimes"
VARIANT = "datalayer-runtime"


def ask(cloud: Emulator, method: str, path: str, body: Any = None) -> Any:
    """A request of the test's own."""
    headers = {"Authorization": f"Bearer {cloud.key}", "Content-Type": "application/json"}
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(cloud.url + path, data, headers, method=method)
    with urllib.request.urlopen(request, timeout=30) as response:
        said = response.read()
    return json.loads(said) if said else None


def paid(cloud: Emulator) -> list[dict[str, Any]]:
    """The runtimes that cost credits now."""
    found: list[dict[str, Any]] = ask(cloud, "GET", RUNTIMES)["runtimes"]
    return found


def asked(cloud: Emulator, method: str, end: str) -> list[Request]:
    """The requests that were made to a path with that end."""
    return [one for one in cloud.requests if one.method == method and one.path.endswith(end)]
