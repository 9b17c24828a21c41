"""Running code: state, results, output, errors."""

from __future__ import annotations

import base64
import time
from collections.abc import Callable
from typing import Any

import pytest

from code_sandboxes import (
    ConfigurationError,
    Done,
    ExecutionFailedError,
    Output,
    OutputMessage,
    Sandbox,
    Started,
)

from .base import Case

TICKS = "import time\nfor i in range(3):\n    print(i, flush=True); time.sleep(0.3)"
PIXEL = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJ"
    "AAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)

WRONG: dict[str, Callable[[Any], object]] = {
    "functions": lambda box: box.run_code("1", host_functions=["a"]),
    "name-of-function": lambda box: box.run_code("1", host_functions={1: len}),
    "keyword": lambda box: box.run_code("1", host_functions={"for": len}),
    "callback": lambda box: box.run_code("1", on_stdout=5),
    "stdin": lambda box: box.run_code("1", stdin="text"),
    "context": lambda box: box.run_code("1", context=[]),
    "new-context": lambda box: box.create_context(5),
    "closed-context": lambda box: box.close_context(None),
    "command": lambda box: box.commands.run(None),
    "variables": lambda box: box.commands.run("true", env={"A": 5}),
}


class CodeCases(Case):
    """What `run_code` and `stream_code` do."""

    def test_state_and_last_expression(self, sandbox: Sandbox) -> None:
        assert sandbox.run_code("x = 20\nx + 22").text == "42"
        assert sandbox.run_code("x").text == "20"
        assert sandbox.run_code("x = 1").text == ""
        assert sandbox.run_code("print('only')").results == []
        assert sandbox.run_code("None").results == []

    def test_empty_code(self, sandbox: Sandbox) -> None:
        for code in ("", "\n", "# nothing", "   \n\n"):
            ran = sandbox.run_code(code)
            assert ran.success, ran
            assert (ran.stdout, ran.text) == ("", "")

    def test_code_must_be_text(self, sandbox: Sandbox) -> None:
        with pytest.raises(ConfigurationError):
            sandbox.run_code(b"1")  # type: ignore[arg-type]

    def test_an_exception_is_a_result(self, sandbox: Sandbox) -> None:
        ran = sandbox.run_code("print('before')\nraise ValueError('no')")
        assert not ran.success
        assert ran.error is not None
        assert (ran.error.name, ran.error.value, ran.stdout) == ("ValueError", "no", "before\n")
        assert "ValueError: no" in ran.error.traceback
        assert not ran.error.state_lost
        with pytest.raises(ExecutionFailedError, match="ValueError: no"):
            ran.raise_for_error()

    def test_a_traceback_has_the_users_frames_only(self, sandbox: Sandbox) -> None:
        ran = sandbox.run_code("def inner():\n    return 1 / 0\ninner()")
        assert ran.error is not None
        assert "inner" in ran.error.traceback
        for ours in ("_code_sandboxes", "supervisor", "ipykernel", "site-packages"):
            assert ours not in ran.error.traceback

    @pytest.mark.parametrize("code", ["1 +", "def f(:", "'open", "x = = 2", "\tif 1:\n2"])
    def test_a_syntax_error_is_a_result(self, sandbox: Sandbox, code: str) -> None:
        ran = sandbox.run_code(code)
        assert ran.error is not None
        assert ran.error.name in ("SyntaxError", "IndentationError", "TabError")

    def test_an_exception_group_is_a_result(self, sandbox: Sandbox) -> None:
        sandbox.run_code("1/0")
        ran = sandbox.run_code("raise ExceptionGroup('several', [ValueError('a'), KeyError('b')])")
        assert ran.error is not None
        assert ran.error.name == "ExceptionGroup"
        assert "ZeroDivisionError" not in ran.error.traceback

    def test_exits(self, sandbox: Sandbox) -> None:
        sandbox.run_code("kept = 1")
        for code in ("import sys; sys.exit()", "exit()", "exit(0)", "quit()", "raise SystemExit"):
            assert sandbox.run_code(code).success, code
        for code in ("import sys; sys.exit(3)", "exit(3)"):
            ran = sandbox.run_code(code)
            assert ran.error is not None
            assert (ran.error.name, ran.error.value) == ("SystemExit", "3")
        assert sandbox.run_code("kept").text == "1"
        assert sandbox.run_code("import sys; sys.exit()").stderr == ""

    def test_top_level_await(self, sandbox: Sandbox) -> None:
        ran = sandbox.run_code("import asyncio\nawait asyncio.sleep(0.01)\n'slept'")
        assert ran.text == "'slept'"

    def test_output_keeps_its_order(self, sandbox: Sandbox) -> None:
        code = "import sys\nfor i in range(20):\n    print(i)\n    print(-i, file=sys.stderr)"
        ran = sandbox.run_code(code)
        assert ran.stdout.split() == [str(i) for i in range(20)]
        assert ran.stderr.split() == [str(-i) for i in range(20)]

    def test_output_of_children_and_of_c_is_captured(self, sandbox: Sandbox) -> None:
        for _ in range(5):  # it used to come after the end now and then
            code = "import os\nn = os.system('echo child; echo wrong >&2')\nprint('after')"
            ran = sandbox.run_code(code)
            assert sorted(ran.stdout.split()) == ["after", "child"]
            assert ran.stderr == "wrong\n"
        ran = sandbox.run_code("import subprocess\n_ = subprocess.run(['echo', 'direct'])")
        assert ran.stdout == "direct\n"
        ran = sandbox.run_code("import sys\nprint('past us', file=sys.__stdout__)")
        assert ran.stdout == "past us\n"
        ran = sandbox.run_code("import os\n_ = os.write(1, b'raw \\xff bytes')")
        assert ran.stdout == "raw \ufffd bytes"

    def test_unicode_passes(self, sandbox: Sandbox) -> None:
        text = "höher, 日本語, 🎉, \\x00, \u2028"
        assert sandbox.run_code(f"print({text!r})").stdout == text + "\n"
        assert sandbox.run_code("print('\\ud800')").success  # a lone surrogate ends nothing
        assert sandbox.run_code("1").text == "1"

    def test_streaming_is_live(self, sandbox: Sandbox) -> None:
        start = time.monotonic()
        times = []
        events = []
        for event in sandbox.stream_code(TICKS):
            events.append(event)
            if isinstance(event, Output):
                times.append(time.monotonic() - start)
        assert times[-1] - times[0] > 0.4
        assert isinstance(events[0], Started)
        assert [isinstance(event, Done) for event in events].count(True) == 1
        assert isinstance(events[-1], Done)

    def test_callbacks_get_whole_lines_as_they_come(self, sandbox: Sandbox) -> None:
        got: list[OutputMessage] = []
        code = (
            "import sys, time\nprint('a', end='', flush=True); time.sleep(.1); print('b')\n"
            "print('one\\rtwo\\r\\nthree')\nsys.stderr.write('partial')"
        )
        ran = sandbox.run_code(code, on_stdout=got.append, on_stderr=got.append)
        assert [m.line for m in got if not m.error] == ["ab", "one", "two", "three"]
        assert [m.line for m in got if m.error] == ["partial"]
        assert ran.stdout == "ab\none\rtwo\r\nthree\n"
        assert all(abs(m.timestamp - time.time()) < 60 for m in got)

    def test_a_callbacks_exception_interrupts_and_propagates(self, sandbox: Sandbox) -> None:
        def fail(message: OutputMessage) -> None:
            raise LookupError("mine")

        with pytest.raises(LookupError, match="mine"):
            sandbox.run_code("print('x', flush=True)\nwhile True: pass", on_stdout=fail)
        assert sandbox.run_code("1 + 1", timeout=10).text == "2"

    def test_rich_results(self, sandbox: Sandbox) -> None:
        code = (
            "class Shown:\n    def _repr_html_(self): return '<b>x</b>'\n"
            "    def __repr__(self): return 'plain'\nShown()"
        )
        ran = sandbox.run_code(code)
        assert ran.text == "plain"
        assert ran.results[-1].html == "<b>x</b>"
        assert ran.results[-1].is_main

    def test_a_repr_that_fails_is_a_warning(self, sandbox: Sandbox) -> None:
        code = (
            "class Bad:\n    def _repr_html_(self): raise KeyError('inside')\n"
            "    def __repr__(self): return 'still'\nBad()"
        )
        ran = sandbox.run_code(code)
        assert ran.success
        assert ran.text == "still"
        assert "KeyError" in ran.stderr

    def test_displays(self, sandbox: Sandbox) -> None:
        code = f"""
import base64
class Picture:
    def _repr_png_(self): return base64.b64decode({PIXEL!r})
class Bundle:
    def _repr_mimebundle_(self, include=None, exclude=None):
        return {{"text/x": "y", "text/plain": "z"}}
display(Picture())
display(Bundle())
3
"""
        ran = sandbox.run_code(code)
        assert ran.success, ran
        picture, bundle, main = ran.results
        assert picture.png == base64.b64decode(PIXEL)
        assert (bundle.data["text/x"], bundle.text) == ("y", "z")
        assert (main.text, main.is_main, picture.is_main) == ("3", True, False)

    def test_display_can_be_updated_and_cleared(self, sandbox: Sandbox) -> None:
        code = "h = display('first', display_id='same')\ndisplay('other')\nh.update('second')"
        assert [r.text for r in sandbox.run_code(code).results] == ["'second'", "'other'"]
        code = (
            "from IPython.display import clear_output\nprint('gone')\nclear_output()\nprint('kept')"
        )
        assert sandbox.run_code(code).stdout == "kept\n"

    def test_a_figure_is_an_image(self, sandbox: Sandbox) -> None:
        found = sandbox.run_code(
            "import importlib.util\nimportlib.util.find_spec('matplotlib') is None"
        )
        if found.text == "True":
            pytest.skip("matplotlib is not installed in the sandbox")
        code = "import matplotlib.pyplot as plt\nplt.plot([1, 2])\nplt.show()\nplt.plot([3])\nNone"
        ran = sandbox.run_code(code, timeout=60)
        pictures = [result.png for result in ran.results if result.png]
        assert len(pictures) == 2, ran
        assert all(picture.startswith(b"\x89PNG") for picture in pictures)

    def test_lines_for_the_shell(self, sandbox: Sandbox) -> None:
        code = "print('before')\n!echo from the shell\nif True:\n    !echo indented\nprint('after')"
        ran = sandbox.run_code(code)
        assert ran.stdout.split("\n") == ["before", "from the shell", "indented", "after", ""]
        assert sandbox.run_code("%pip --version").stdout.startswith("pip ")

    def test_the_namespace_is_the_users(self, fresh: Sandbox) -> None:
        fresh.set_variable("mine", 1)
        fresh.run_code("other = 2", host_functions={"asked": lambda: 1})
        names = "sorted(n for n in globals() if not n.startswith('_'))"
        known = {"In", "Out", "exit", "quit", "get_ipython", "open", "asked", "mine", "other"}
        found = set(fresh.run_code(names).text.strip("[]").replace("'", "").split(", "))
        assert found <= known, found - known
        assert [variable.name for variable in fresh.list_variables()] == ["mine", "other"]
        assert fresh.run_code("__name__").text == "'__main__'"

    def test_variables(self, sandbox: Sandbox) -> None:
        values: list[Any] = [1, "text", None, [1, {"a": 2.5}], b"\x00\xff", True, ""]
        for value in values:
            sandbox.set_variable("v", value)
            assert sandbox.get_variable("v") == value
        sandbox.run_code("v = object(); t = (1, 2)")
        for name in ("v", "t", "no_such"):
            with pytest.raises(ConfigurationError):
                sandbox.get_variable(name)
        for bad in (object(), (1, 2), float("nan"), {1: 2}):
            with pytest.raises(ConfigurationError):
                sandbox.set_variable("v", bad)
        with pytest.raises(ConfigurationError):
            sandbox.set_variable("not a name", 1)
        before = sandbox.run_code("1").execution_count
        sandbox.get_variable("t2") if False else sandbox.list_variables()
        after = sandbox.run_code("1").execution_count
        assert before is not None
        assert after == before + 1  # silent requests do not count

    def test_environment_and_working_directory(self) -> None:
        with self.create(env={"MY_VAR": "väl ue"}, working_dir="/workspace") as box:
            assert box.run_code("import os; os.environ['MY_VAR']").text == "'väl ue'"
            assert box.commands.run("echo $MY_VAR").stdout == "väl ue\n"
            box.files.write("here.txt", "x")
            assert box.run_code("open('here.txt').read()").text == "'x'"
            assert box.files.read("/workspace/here.txt") == "x"
            assert box.commands.run("pwd").stdout.strip() == box.files.resolve("/workspace")

    def test_the_hosts_environment_stays_out(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("SECRET_API_KEY", "hunter2")
        with self.create() as box:
            code = "import os; 'SECRET_API_KEY' in os.environ"
            assert box.run_code(code).text == "False"
            assert "hunter2" not in box.commands.run("env").stdout

    def test_large_output_is_bounded_and_counted(self) -> None:
        with self.create(max_output=10_000) as box:
            ran = box.run_code("print('A' + 'x' * 300_000 + 'Z')")
            assert ran.success
            assert len(ran.stdout) < 11_000
            assert ran.stdout.startswith("Ax")
            assert ran.stdout.endswith("xZ\n")
            assert ran.dropped == 300_003 - 10_000
            seen = sum(
                len(event.text)
                for event in box.stream_code("print('x' * 300_000)")
                if isinstance(event, Output)
            )
            assert seen == 300_001  # streaming delivers all of it

    def test_large_results_are_bounded_and_counted(self) -> None:
        """JSON counts, and what takes the place of something shown before."""
        json = "for i in range(20): display({'application/json': ['y' * 100_000]}, raw=True)"
        first = "for i in range(20): display({'text/plain': 'x'}, raw=True, display_id=str(i))\n"
        text = "{'text/plain': 'x' * 100_000}, raw=True, display_id=str(i), update=True"
        with self.create(max_output=50_000) as box:
            for code in (json, f"{first}for i in range(20): display({text})"):
                ran = box.run_code(f"from IPython.display import display\n{code}")
                assert ran.success, ran
                shown = [result.text or result.json[0] for result in ran.results]
                assert 3 * 100_000 < sum(map(len, shown)) <= 500_000
                assert ran.dropped >= 1_500_000

    @pytest.mark.parametrize("call", WRONG.values(), ids=WRONG)
    def test_what_makes_no_sense_is_refused(
        self, sandbox: Sandbox, call: Callable[[Any], object]
    ) -> None:
        with pytest.raises(ConfigurationError):
            call(sandbox)
