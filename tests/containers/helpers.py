"""What the tests of containers share."""

from __future__ import annotations

import json
import subprocess
import sys
import uuid
from typing import Any

from code_sandboxes import Sandbox

VARIANT = "local-docker"


def by_code(sandbox: Sandbox, code: str) -> Any:
    """What `code` leaves in `found`, run by the interpreter."""
    ran = sandbox.run_code(f"{code}\nimport json\nprint('>>' + json.dumps(found))")
    ran.raise_for_error()
    return json.loads(ran.stdout.rpartition(">>")[2])


def by_command(sandbox: Sandbox, code: str) -> Any:
    """The same, run by a command."""
    code = f"{code}\nimport json\nprint('>>' + json.dumps(found))"
    ran = sandbox.commands.run(["python", "-"], stdin=code)
    assert ran.success, ran.stderr
    return json.loads(ran.stdout.rpartition(">>")[2])


def containers(engine: Any, id: str) -> list[dict[str, Any]]:
    """The containers of a sandbox, running or not."""
    found: list[dict[str, Any]] = engine.containers(
        all=True, filters={"label": f"io.code-sandboxes={id}"}
    )
    return found


def unique() -> str:
    """A name that nothing else has."""
    return uuid.uuid4().hex[:12]


def owner(code: str, *arguments: str) -> subprocess.Popen[str]:
    """A process that owns a sandbox; it says one line."""
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def create(**options: Any) -> Sandbox:
    """A sandbox without a network."""
    return Sandbox.create(VARIANT, network_policy="none", **options)
