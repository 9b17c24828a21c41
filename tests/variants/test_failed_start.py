"""A supervisor that does not start says why, and leaves nothing."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from code_sandboxes import Sandbox, SandboxStartError, registry
from code_sandboxes.testing.base import eventually
from code_sandboxes.variants.local_eval import LocalEval

# at once; after the folders are gone, the log among them; with more than is kept
WHY = {
    "at-once": "echo why >&2; exit 1",
    "swept": 'rm -rf "$HOME/.."; echo why >&2; exit 1',
    "late": "sleep 0.2; echo why >&2; exit 1",
    "long": "head -c 5000000 /dev/zero | tr '\\0' x >&2; echo why >&2; exit 1",
}


class Failing(LocalEval):
    """Its supervisor is a command that fails."""

    name = "failing"
    script = ""

    def command(self, plain: list[str]) -> list[str]:
        return ["/bin/sh", "-c", self.script]


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where sandboxes make their folders."""
    registry.register(Failing)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    yield tmp_path
    del registry._added[Failing.name]


@pytest.mark.parametrize("script", WHY.values(), ids=WHY)
def test_why_it_failed_is_told(folders: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    monkeypatch.setattr(Failing, "script", script)
    children = set(psutil.Process().children())
    for _ in range(5):
        with pytest.raises(SandboxStartError, match="why") as failed:
            Sandbox.create("failing")
        assert len(str(failed.value)) < 3000
    assert not list(folders.iterdir())
    assert eventually(lambda: set(psutil.Process().children()) <= children)
    assert not [info for info in Sandbox.list() if info.variant == "failing"]
