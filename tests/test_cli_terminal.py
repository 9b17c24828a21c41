"""`code-sandboxes` on a terminal: Ctrl-C, prompts, and what a terminal must not obey."""

from __future__ import annotations

import json
import os
import signal
import sys
import tempfile
import time
from pathlib import Path

import pytest

from cli_process import PROGRAM, cli, on_terminal, start, until

CTRL_C = "\x03"
# In short sleeps: a signal right before a long one would wait for its end, as in any Python
STUBBORN = """
import time
said = "go"
while True:
    try:
        print(said, flush=True)
        while True: time.sleep(0.05)
    except BaseException:
        said = "no"
"""
WAITING = """
import os, time
try:
    print(os.environ["HOME"], flush=True)
    while True: time.sleep(0.05)
finally: print("cleaned")
"""


@pytest.fixture(autouse=True)
def own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CODE_SANDBOXES_HOME", str(tmp_path / "state"))


# what the terminal gets -----------------------------------------------------------------
def test_control_sequences_are_stripped() -> None:
    hostile = "\x1b[31mred\x1b[0m \x1b]0;title\x07\x1bc\x9b2J\x08\u202e\x00done\n"
    screen, status = on_terminal("run", "-c", f"import sys\nsys.stdout.write({hostile!r});")
    assert (screen, status) == ("red c2Jdone\n", 0)


def test_a_sequence_in_two_pieces_is_stripped_too() -> None:
    code = """
import sys, time
for piece in ("a\\x1b", "[3", "1mb\\x1b]0;ti", "tle\\x07c\\x1b["):
    sys.stderr.write(piece)
    sys.stderr.flush()
    time.sleep(0.05)
"""
    assert on_terminal("run", "-c", code) == ("abc[", 0)


def test_everything_else_that_is_shown_is_stripped() -> None:
    code = """
class Shown:
    def __repr__(self): return "\\x1b[2Jresult"
input("\\x1b[2Jprompt ")
display(Shown())
raise ValueError("\\x1b[2Jerror")
"""
    screen, status = on_terminal("run", "-c", code, typed=[("prompt ", "x\n")])
    assert status == 1
    assert "\x1b" not in screen
    assert screen.startswith("prompt x\nresult\nTraceback")
    assert screen.endswith("ValueError: error\n")


def test_progress_bars_still_work() -> None:
    code = "print('10%', end='\\r'); print('20%')"
    assert on_terminal("run", "-c", code) == ("10%\r20%\n", 0)


def test_json_is_all_ascii() -> None:
    screen, _ = on_terminal("run", "--json", "-c", "print('\\x1b[2J\\x9b\u202e')")
    assert screen.isascii()
    assert "\x1b" not in screen
    assert json.loads(screen)["stdout"] == "\x1b[2J\x9b\u202e\n"


def test_an_error_begins_a_line_of_its_own() -> None:
    code = "print('no end', end='')\nraise SystemExit('why')"
    assert on_terminal("run", "-c", code) == ("no end\nwhy\n", 1)


def test_passwords_are_not_seen() -> None:
    code = "import getpass\nprint(len(getpass.getpass('Key: ')))"
    assert on_terminal("run", "-c", code, typed=[("Key: ", "secret\n")]) == ("Key: \n6\n", 0)


def test_lists() -> None:
    assert on_terminal("list") == ("There are no sandboxes.\n", 0)


# Ctrl-C ---------------------------------------------------------------------------------
@pytest.mark.parametrize("variant", ["local-eval", "local-jupyter"])
def test_ctrl_c_interrupts_the_code_and_ends_the_sandbox(variant: str) -> None:
    screen, status = on_terminal("run", "--variant", variant, "-c", WAITING, typed=[("/", CTRL_C)])
    home, rest = screen.split("\n", 1)
    assert status == 130
    assert rest.startswith("^Ccleaned\n")  # what the code does on its way out is still seen
    assert "KeyboardInterrupt" in rest
    assert "code_sandboxes" not in rest
    assert until(lambda: not os.path.exists(home))
    assert cli("list").stdout == ""


def test_ctrl_c_while_it_waits_for_an_answer() -> None:
    code = "try: input('name? ')\nfinally: print('cleaned')"
    screen, status = on_terminal("run", "-c", code, typed=[("name? ", CTRL_C)])
    assert status == 130
    assert screen.startswith("name? ^Ccleaned\nTraceback")
    # where the interrupt takes longer than _ARRIVAL, the answer is there first
    assert screen.endswith(("KeyboardInterrupt\n", "EOFError: interrupted\n"))


def test_a_second_ctrl_c_ends_code_that_will_not_stop() -> None:
    keys = [("go", CTRL_C), ("no", CTRL_C)]
    assert on_terminal("run", "-c", STUBBORN, typed=keys) == ("go\n^Cno\n^C", 130)


def test_code_that_will_not_stop_is_ended_anyway() -> None:
    screen, status = on_terminal("run", "-c", STUBBORN, typed=[("go", CTRL_C)])
    assert status == 130
    assert screen.endswith("code-sandboxes: the code did not stop, so the sandbox was ended\n")


def test_an_interrupt_that_is_ignored_stays_ignored(tmp_path: Path) -> None:
    """As with nohup, or a job in the background of a script."""
    seen = tmp_path / "seen"
    code = f"""
import os, time
print(1, flush=True)
while not os.path.exists({str(seen)!r}): time.sleep(0.01)
"""
    shell = ["/bin/sh", "-c", 'trap "" INT; exec "$@"', "sh", *PROGRAM]
    with start("run", "-c", code, program=shell) as process:
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
        seen.touch()
        assert process.communicate(timeout=30) == ("", "")
    assert process.returncode == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_the_sandbox_ends_with_the_program(number: signal.Signals) -> None:
    with start("run", "-c", WAITING) as process:
        home = process.stdout.readline().strip()
        process.send_signal(number)
        assert process.wait(20) == -number
    assert until(lambda: not os.path.exists(home))


@pytest.mark.parametrize("delay", [0.02, 0.1, 0.3])
def test_ctrl_c_while_the_sandbox_starts(delay: float) -> None:
    plain = [sys.executable, "-m", "code_sandboxes"]  # what was not closed is no matter here
    code = "import time; time.sleep(60)"
    # not in tmp_path, which is too long for the path of a socket
    with tempfile.TemporaryDirectory(prefix="t", ignore_cleanup_errors=True) as folder:
        options = ("run", "--variant", "local-jupyter", "-c", code)
        with start(*options, program=plain, env={"TMPDIR": folder}) as process:
            assert until(lambda: bool(os.listdir(folder)))
            time.sleep(delay)
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=30)
        assert (out, process.returncode) == ("", 130)
        assert "code_sandboxes" not in err
