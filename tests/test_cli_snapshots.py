"""`code-sandboxes snapshot`, and `run --snapshot` and `--keep`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cli_process import cli, complaint, on_terminal
from code_sandboxes import Sandbox


@pytest.fixture(autouse=True)
def own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No other test's snapshots are to be listed."""
    monkeypatch.setenv("CODE_SANDBOXES_HOME", str(tmp_path / "state"))


def test_keep_list_start_and_delete() -> None:
    assert cli("snapshot", "list").stdout == ""
    assert json.loads(cli("snapshot", "list", "--json").stdout) == []
    code = "import threading\nx, lock = 41, threading.Lock()\nprint('ran')"
    kept = cli("run", "--keep", "one", "-c", code)
    assert (kept.returncode, kept.stdout) == (0, "ran\n")
    assert kept.stderr.startswith("code-sandboxes: not kept: variable lock: TypeError")

    header, row = (line.split("\t") for line in cli("snapshot", "list").stdout.splitlines())
    assert header == ["NAME", "VARIANT", "AGE", "SIZE", "SKIPPED", "DESCRIPTION"]
    assert [*row[:2], *row[4:]] == ["one", "local-eval", "1", ""]
    assert row[3].endswith(" kB")
    (found,) = json.loads(cli("snapshot", "list", "--json").stdout)
    assert (found["name"], len(found["skipped"])) == ("one", 1)

    assert cli("run", "--snapshot", "one", "-c", "print(x + 1)").stdout == "42\n"
    assert "already" in complaint("run", "--keep", "one", "-c", "print('ran')", status=2)
    gone = cli("snapshot", "delete", "two", "one")
    assert (gone.returncode, gone.stdout) == (1, "one\n")  # as much as can be
    assert "no snapshot 'two'" in gone.stderr
    assert "no snapshot 'one'" in complaint("run", "--snapshot", "one", "-c", "1", status=1)


def test_what_failed_is_kept_too() -> None:
    failed = cli("run", "--keep", "half", "-c", "x = 1\n1 / 0")
    assert failed.returncode == 1
    assert "ZeroDivisionError" in failed.stderr
    assert cli("run", "--snapshot", "half", "-c", "print(x)").stdout == "1\n"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["snapshot"], "the following arguments are required: COMMAND"),
        (["snapshot", "delete"], "the following arguments are required: NAME"),
        (["run", "--keep", "a\nb", "-c", "1"], "a snapshot's name is printable text"),
    ],
)
def test_wrong_calls(arguments: list[str], said: str) -> None:
    assert said in complaint(*arguments, status=2)


def test_on_a_terminal_nothing_is_obeyed() -> None:
    assert on_terminal("snapshot", "list") == ("There are no snapshots.\n", 0)
    with Sandbox.create("local-eval") as sandbox:
        sandbox.create_snapshot("[bold]x[/bold]", description="\x1b[2J")
    screen, status = on_terminal("snapshot", "list")
    assert status == 0
    assert "[bold]x[/bold]" in screen
    assert "\x1b" not in screen.replace("\x1b[1m", "").replace("\x1b[0m", "")
