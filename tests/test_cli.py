"""`code-sandboxes` on pipes: what it runs, prints and returns."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from cli_process import PROGRAM, cli, complaint, environment, fake_distribution, start, until
from code_sandboxes import __version__


@pytest.fixture(autouse=True)
def own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No other test's sandboxes are to be listed, or killed."""
    monkeypatch.setenv("CODE_SANDBOXES_HOME", str(tmp_path / "state"))


# run ------------------------------------------------------------------------------------
@pytest.mark.parametrize("variant", ["local-eval", "local-jupyter"])
def test_output_comes_while_the_code_runs(variant: str, tmp_path: Path) -> None:
    seen = tmp_path / "seen"
    code = f"""
import os, sys, time
print("first", *sys.argv[1:])
while not os.path.exists({str(seen)!r}): time.sleep(0.01)
print("second", file=sys.stderr)
sys.exit(7)
"""
    with start("run", "--variant", variant, "-c", code, "--", "-x", "y z") as process:
        assert process.stdout.readline() == "first -x y z\n"
        seen.touch()  # only now does the code go on
        assert process.communicate(timeout=30) == ("", "second\n")
    assert process.returncode == 7


@pytest.mark.parametrize(
    ("code", "status", "said"),
    [
        ("pass", 0, ""),
        ("raise SystemExit", 0, ""),
        ("import sys; sys.exit(3)", 3, ""),
        ("import sys; sys.exit(-1)", 255, ""),
        ("import sys; sys.exit('why')", 1, "why\n"),
        ("raise KeyboardInterrupt", 130, "KeyboardInterrupt\n"),
        ("1 / 0", 1, "ZeroDivisionError: division by zero\n"),
        ("def", 1, "SyntaxError: invalid syntax\n"),
        ("import os; os._exit(3)", 1, ""),
    ],
)
def test_the_exit_status_is_that_of_the_code(code: str, status: int, said: str) -> None:
    done = cli("run", "-c", code)
    assert (done.returncode, done.stdout) == (status, "")
    assert done.stderr.endswith(said)
    assert bool(done.stderr) == (status not in (0, 3, 255) or bool(said))


def test_what_takes_too_long_is_status_124() -> None:
    done = cli("run", "--timeout", "0.3", "-c", "print('began')\nwhile True: pass")
    assert (done.returncode, done.stdout) == (124, "began\n")
    assert done.stderr.startswith("code-sandboxes: ExecutionTimeout: stopped after 0.3 s")
    assert cli("run", "--timeout", "none", "-c", "1").returncode == 0


def test_a_file_is_run_as_if_alone(tmp_path: Path) -> None:
    """With its own encoding, and nothing of ours in its namespace or traceback."""
    file, names = tmp_path / "script.py", "print([n for n in globals() if n[0] != '_'], __name__)"
    file.write_bytes(f"# coding: latin-1\n{names}\nimport sys\nsys.argv, 'é'".encode("latin-1"))
    done = cli("run", str(file), "--", "--json", "--")
    assert done.stdout == f"[] __main__\n({[str(file), '--json', '--']!r}, 'é')\n"
    assert '"<cell 1>"' in cli("run", "-c", "1 / 0").stderr


def test_output_on_a_pipe_is_as_the_code_made_it() -> None:
    text = "\x1b[31mred\x1b[0m\r\n\x00\u202e é"
    done = cli("run", "-c", f"import sys\nsys.stdout.write({text!r})\nsys.stderr.write('\\x07');")
    assert (done.stdout, done.stderr) == (text, "\x07")


def test_results_are_shown_by_their_text_on_lines_of_their_own() -> None:
    code = """
class Image:
    def __repr__(self): return "an image"
    def _repr_png_(self): return b"0123456789"
class Table:
    def _repr_html_(self): return "<b>"
    def __repr__(self): return "a table"
print("no end of line", end="")
display(Table())
Image()
"""
    done = cli("run", "-c", code)
    assert done.stdout == "no end of line\na table\nan image [image/png, 10 bytes]\n"


def test_code_from_stdin() -> None:
    done = cli("run", "-", stdin=b"import sys\nprint(sys.argv)\ninput()", env={"LANG": "C"})
    assert (done.returncode, done.stdout) == (1, "['-']\n")
    assert "StdinNotImplementedError" in done.stderr  # stdin was the code, it has no answers


def test_input_is_answered_from_stdin() -> None:
    code = "names = input('a? '), input('b? ')\nprint(names)\ninput()"
    done = cli("run", "-c", code, stdin="é\n last".encode())
    assert done.stdout == "a? b? ('é', ' last')\n"
    assert done.stderr.endswith("EOFError: EOF when reading a line\n")


def test_json_is_the_whole_result() -> None:
    code = "import sys\nprint(input('? '))\nprint('e', file=sys.stderr)\ndisplay(1)\n'\x1b'"
    done = cli("run", "--json", "-c", code, stdin=b"answer\n")
    result = json.loads(done.stdout)
    assert result.pop("duration") > 0
    texts = [shown["data"]["text/plain"] for shown in result.pop("results")]
    assert texts == ["1", "'\\x1b'"]
    assert result == {
        "success": True,
        "stdout": "answer\n",
        "stderr": "e\n",
        "text": "'\\x1b'",
        "error": None,
        "execution_count": 1,
        "dropped": 0,
        "exit_status": 0,
        "variant": "local-eval",
    }
    assert done.stderr == "? "  # the prompt is no part of the JSON
    failed = cli("run", "--json", "-c", "import sys; sys.exit(4)")
    assert (failed.returncode, failed.stderr) == (4, "")
    assert json.loads(failed.stdout)["error"]["name"] == "SystemExit"


def test_options_reach_the_sandbox(tmp_path: Path) -> None:
    wheel = tmp_path / "tiny_thing-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("tiny_thing.py", "VALUE = 5")
        info = "tiny_thing-1.0.dist-info"
        archive.writestr(
            f"{info}/METADATA", "Metadata-Version: 2.1\nName: tiny-thing\nVersion: 1.0"
        )
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any")
        archive.writestr(f"{info}/RECORD", "")
    code = "import os, tiny_thing\nprint(tiny_thing.VALUE, os.environ['A'], os.environ['B'])"
    options = ("--env", "A=x=y", "--env", "B", "--package", str(wheel))
    assert cli("run", *options, "-c", code, env={"B": "b"}).stdout == "5 x=y b\n"

    done = cli("run", "--package", "./there-is-none", "-c", "print('ran')")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.endswith("code-sandboxes: could not install ./there-is-none\n")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "one of the arguments FILE -c is required"),
        (["x.py", "-c", "1"], "not allowed with argument"),
        (["x.py", "y"], "those for the code follow a `--`"),
        (["/no/such/file.py"], "cannot read '/no/such/file.py': No such file or directory"),
        (["/"], "cannot read '/': Is a directory"),
        (["-c", "1", "--variant", "nope"], "no variant 'nope'; there are: local-eval"),
        (["-c", "1", "--confined"], "local-eval has no boundary at all"),
        (["-c", "1", "--memory", "100"], "nothing bounds what it uses"),
        (["-c", "1", "--disk", "0"], "disk is a positive number of MB"),
        (["-c", "1", "--cpu", "much"], "invalid float value: 'much'"),
        (["-c", "1", "--environment", "x"], "there is nothing to choose"),
        (["-c", "1", "--server-url", "x"], "server_url is an address like"),
        (["-c", "1", "--network-policy", "none"], "local-eval has no boundary at all"),
        (["-c", "1", "--network-policy", "some"], "invalid choice: 'some'"),
        (["-c", "1", "--allowed-host", "a.b"], "allowed_hosts restricts nothing"),
        (["-c", "1", "--timeout", "-1"], "timeout is a positive number of seconds"),
        (["-c", "1", "--timeout", "soon"], "invalid number of seconds value: 'soon'"),
        (["-c", "1", "--env", "=x"], "'=x' is not NAME=VALUE"),
        (["-c", "1", "--env", "NO_SUCH_VARIABLE"], "'NO_SUCH_VARIABLE' has no value here"),
        (["-c", "1", "--package", "--user"], "--package"),
    ],
)
def test_wrong_usage_is_one_line_and_status_2(arguments: list[str], said: str) -> None:
    assert said in complaint("run", *arguments, status=2)


def test_a_file_that_is_no_text(tmp_path: Path) -> None:
    (tmp_path / "x.py").write_bytes(b"'\xff'")
    assert "is no Python source" in complaint("run", f"{tmp_path}/x.py", status=2)


# the ends of the pipes ------------------------------------------------------------------
def test_a_reader_that_goes_ends_the_sandbox() -> None:
    code = "import os\nprint(os.getcwd())\nwhile True: print('x' * 1000)"
    with start("run", "-c", code) as process:
        home = process.stdout.readline().strip()
        process.stdout.close()
        assert process.stderr.read() == ""
    assert process.returncode == 141
    assert until(lambda: not os.path.exists(home))


@pytest.mark.parametrize("arguments", [["--help"], ["list", "--json"], ["doctor", "--json"]])
def test_nobody_reads(arguments: list[str]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    argv, error = [*PROGRAM, *arguments], subprocess.PIPE
    done = subprocess.run(argv, stdout=writing, stderr=error, env=environment())
    os.close(writing)
    assert (done.returncode, done.stderr) == (141, b"")


@pytest.mark.skipif(sys.platform != "linux", reason="/dev/full is Linux's")
def test_a_full_disk() -> None:
    with open("/dev/full", "wb") as full:
        argv = [*PROGRAM, "run", "-c", "1"]
        done = subprocess.run(argv, stdout=full, stderr=subprocess.PIPE, env=environment())
    assert done.returncode == 1
    assert done.stderr == b"code-sandboxes: [Errno 28] No space left on device\n"


# the rest -------------------------------------------------------------------------------
def test_further_commands_are_listed_unseen_and_run(tmp_path: Path) -> None:
    points = "[code_sandboxes.commands]\ngood = good_command:main\nbad = bad_command:main\n"
    good = "def main(argv):\n    print(argv)\n    return 5\n"
    bad = "import no_such_module_at_all\n"
    points += "run = bad_command:main\n"  # ours cannot be replaced
    env = fake_distribution(tmp_path, points, good_command=good, bad_command=bad)
    listed = cli("--help", env=env)
    assert listed.returncode == 0
    assert "see good --help (from further-things)" in listed.stdout
    assert "see bad --help" in listed.stdout  # it was not imported
    assert "see run" not in listed.stdout
    done = cli("good", "--help", "--", "x", env=env)
    assert (done.returncode, done.stdout) == (5, "['--help', '--', 'x']\n")
    said = complaint("bad", status=2, env=env)
    assert said.endswith("'bad' cannot be loaded: No module named 'no_such_module_at_all'")
    assert "invalid choice: 'other'" in complaint("other", status=2, env=env)


def test_version_and_help() -> None:
    assert cli("--version").stdout == f"code-sandboxes {__version__}\n"
    done = cli()
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("usage: code-sandboxes")


def test_it_costs_nothing_before_it_is_used() -> None:
    script = "import sys, code_sandboxes; assert 'code_sandboxes.cli' not in sys.modules\n"
    script += "import code_sandboxes.cli; assert not {'rich', 'asyncio'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", script], check=True)
