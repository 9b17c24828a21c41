"""`make demo` does what it says: the script asserts the rest itself."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def test_the_demo_works(tmp_path: Path) -> None:
    pytest.importorskip("smolagents")
    pytest.importorskip("matplotlib")
    roots = (ROOT / root for root in ("sandboxes", "integrations"))
    environment = {
        "PYTHONPATH": os.pathsep.join(map(str, roots)),
        "CODE_SANDBOXES_HOME": str(tmp_path / ".home"),
    }
    done = subprocess.run(
        [sys.executable, "-W", "error", ROOT / "examples" / "demo.py"],
        cwd=tmp_path,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    assert done.stderr == ""
    assert "Everything was as it should be." in done.stdout
    for variant in ("local-jupyter", "local-eval"):
        names = {path.name for path in (tmp_path / "demo-output" / variant).iterdir()}
        assert names == {"chart.png", "report.md"}
