"""`code-sandboxes list` and `kill`."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

from cli_process import cli, complaint, on_terminal, until
from code_sandboxes import Sandbox


@pytest.fixture(autouse=True)
def own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No other test's sandboxes are to be listed, or killed."""
    monkeypatch.setenv("CODE_SANDBOXES_HOME", str(tmp_path / "state"))


def test_list_and_kill_a_detached_sandbox() -> None:
    assert cli("list").stdout == ""
    assert json.loads(cli("list", "--json").stdout) == []
    sandbox = Sandbox.create("local-eval", tags={"of": "a\ttest"})
    home = sandbox.run_code("import os; print(os.getcwd(), end='')").stdout
    sandbox.detach(max_lifetime=90)
    header, row = (line.split("\t") for line in cli("list").stdout.splitlines())
    assert header == ["ID", "VARIANT", "OWNER", "AGE", "ENDS IN", "TAGS"]
    assert [*row[:3], row[5]] == [sandbox.id, "local-eval", "detached", "of=a test"]
    assert row[4] in ("1 min", "90 s", "89 s")
    (info,) = json.loads(cli("list", "--json").stdout)
    assert (info["id"], info["detached"], info["tags"]) == (sandbox.id, True, {"of": "a\ttest"})

    killed = cli("kill", "sb-000000000000", sandbox.id)
    assert (killed.returncode, killed.stdout) == (1, f"{sandbox.id}\n")  # as much as can be
    assert "no sandbox 'sb-000000000000' on this machine" in killed.stderr
    assert until(lambda: not os.path.exists(home))
    assert cli("list").stdout == ""
    assert f"no sandbox {sandbox.id!r}" in complaint("kill", sandbox.id, status=1)


def test_a_sandbox_of_a_live_process_is_not_killed() -> None:
    with Sandbox.create("local-eval") as ours, Sandbox.create("local-eval") as other:
        other.detach(60)
        said = complaint("kill", ours.id, status=1)
        assert f"sandbox {ours.id} belongs to process {os.getpid()}" in said
        assert sys.platform != "linux" or "python" in said
        done = cli("kill", "--all")
        assert (done.returncode, done.stdout, done.stderr) == (0, f"{other.id}\n", "")
        assert ours.run_code("1").text == "1"
        assert f"process {os.getpid()}" in cli("list").stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "one of the arguments ID --all is required"),
        (["sb-1", "--all"], "not allowed with argument"),
        (["../../x"], "'../../x' is no sandbox id"),
        (["--force", "x"], "unrecognized arguments: --force"),
    ],
)
def test_wrong_kills(arguments: list[str], said: str) -> None:
    assert said in complaint("kill", *arguments, status=2)


def test_on_a_terminal_nothing_is_obeyed() -> None:
    with Sandbox.create("local-eval", tags={"a": "\x1b[2J[bold]x[/bold]"}) as sandbox:
        screen, status = on_terminal("list")
        shown = screen.replace("\x1b[1m", "").replace("\x1b[0m", "")  # the header is bold
    assert status == 0
    assert sandbox.id in shown
    assert "a=[bold]x[/bold]" in shown
    assert "\x1b" not in shown
