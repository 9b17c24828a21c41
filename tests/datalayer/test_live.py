"""The README's example in the real cloud: for whoever has an account. It costs a few credits,
and the account must have no other sandbox and no snapshot of that name at the time.

`DATALAYER_API_KEY=... pytest tests/datalayer/test_live.py`
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
SECONDS = 600
RUN = "import sys; from markdown_code import run; run(sys.argv[1], 'README.md')"

# as the developer has set it: not what a fixture of another test sets for an emulator
ENVIRONMENT = dict(os.environ)


@pytest.mark.skipif(
    not ENVIRONMENT.get("DATALAYER_API_KEY"),
    reason="DATALAYER_API_KEY is not set: nothing was tried in the real cloud",
)
@pytest.mark.timeout(SECONDS + 30)
def test_the_example_of_the_readme_in_the_cloud_that_the_environment_names(
    tmp_path: Path,
) -> None:
    readme = (TESTS.parent / "README.md").read_text("utf-8")
    section = readme.partition("\n## Datalayer\n")[2]
    example = section.partition("```python\n")[2].partition("```")[0]
    assert "datalayer-runtime" in example
    folders = os.pathsep.join([str(TESTS.parent / "sandboxes"), str(TESTS)])
    ran = subprocess.run(
        [sys.executable, "-W", "error", "-c", RUN, example],
        env=ENVIRONMENT | {"PYTHONPATH": folders, "CODE_SANDBOXES_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )
    assert ran.returncode == 0, f"{ran.stdout}\n{ran.stderr}"
