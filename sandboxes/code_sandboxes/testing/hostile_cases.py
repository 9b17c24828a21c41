"""Code that breaks its own interpreter: its names, its streams, its signals, its process."""

from __future__ import annotations

import textwrap
import time
from typing import Any

import pytest

from code_sandboxes import ExecutionFailedError, Sandbox, SandboxError

from .hostile_code import DAMAGE, ENDS, ERRORS, STAYS, STR_RAISES
from .promise import Survivor


class HostileCases(Survivor):
    """Whatever code does to itself, control comes back and the sandbox answers again."""

    @pytest.mark.parametrize("code", DAMAGE.values(), ids=DAMAGE)
    def test_damage_ends_with_the_interpreter(self, victim: Sandbox, code: str) -> None:
        self.survive(victim, code, timeout=2)

    @pytest.mark.parametrize("code", ENDS.values(), ids=ENDS)
    def test_an_interpreter_that_ends_is_replaced(self, victim: Sandbox, code: str) -> None:
        ran = self.survive(victim, "import os; os.write(1, b'last words\\n')\n" + code)
        assert ran.error is not None
        assert (ran.error.name, ran.error.state_lost) == ("InterpreterDied", True)
        assert "last words\n" in ran.stdout

    @pytest.mark.parametrize("code", STAYS.values(), ids=STAYS)
    def test_what_does_not_want_to_end_is_ended(self, victim: Sandbox, code: str) -> None:
        ran = self.survive(victim, code, timeout=0.5)
        assert ran.error is not None
        assert ran.error.name == "ExecutionTimeout"

    @pytest.mark.parametrize(("code", "name"), ERRORS.values(), ids=ERRORS)
    def test_an_odd_error_is_a_result(self, sandbox: Sandbox, code: str, name: str) -> None:
        ran = self.survive(sandbox, code)
        assert ran.error is not None
        assert ran.error.name
        assert name in ("", ran.error.name)
        assert not ran.error.state_lost
        shown = f"{ran.error} {ran.error!r} {ran!r}"
        assert "\x1b" not in shown
        assert shown.encode()

    @pytest.mark.parametrize("error", ["RuntimeError", "KeyboardInterrupt", "SystemExit(4)"])
    def test_an_error_that_cannot_be_shown(self, sandbox: Sandbox, error: str) -> None:
        ran = self.survive(sandbox, STR_RAISES.format(error))
        assert not ran.success
        assert not self.lost(ran)

    def test_a_limit_of_its_own(self, sandbox: Sandbox) -> None:
        """Code that has left itself no memory may not work any more; a fresh interpreter does."""
        code = "import resource; resource.setrlimit(resource.RLIMIT_AS, (300 << 20, 300 << 20))\n"
        ran = sandbox.run_code(code + "len(bytearray(500 << 20))", timeout=2)
        assert not ran.success
        sandbox.restart()
        self.answers(sandbox)

    def test_an_interrupt_between_two_cells(self, sandbox: Sandbox) -> None:
        code = "import os, signal, threading\nkept = 'kept'\n"
        code += "threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()"
        assert sandbox.run_code(code).success
        time.sleep(0.6)
        self.answers(sandbox)
        assert sandbox.run_code("kept").text == "'kept'"

    def test_deleted_home_and_full_tmp(self, fresh: Sandbox) -> None:
        code = "import os, shutil; shutil.rmtree(os.path.expanduser('~'), ignore_errors=True)"
        self.survive(fresh, code)
        code = """
            import tempfile
            for _ in range(20): tempfile.NamedTemporaryFile(delete=False).write(b'x' * 1_000_000)
            None
        """
        self.survive(fresh, textwrap.dedent(code))

    @pytest.mark.parametrize("method", ["fork", "spawn"])
    def test_multiprocessing_works(self, sandbox: Sandbox, method: str) -> None:
        code = f"""
            import multiprocessing, warnings
            warnings.simplefilter('ignore')
            with multiprocessing.get_context({method!r}).Pool(2) as pool:
                found = pool.map(abs, [-1, -2])
            found
        """
        assert self.survive(sandbox, textwrap.dedent(code)).text == "[1, 2]"

    def test_a_helper_that_was_changed_gives_an_error(self, fresh: Sandbox) -> None:
        """Code that changes our own module gets an error, within the sandbox's timeout."""
        fresh.run_code("import sys; del sys.modules['_code_sandboxes.helper'].do_get")
        with pytest.raises(SandboxError, match="do_get"):
            fresh.get_variable("x")
        fresh.set_timeout(1)
        fresh.run_code(
            "import sys, time\n"
            "sys.modules['_code_sandboxes.helper'].do_get = lambda **k: time.sleep(600)"
        )
        with pytest.raises(ExecutionFailedError, match="ExecutionTimeout"):
            fresh.get_variable("x")
        fresh.restart()
        self.answers(fresh)

    @pytest.mark.parametrize(
        "shown",
        [
            "{'text/x': {1, 2}}",
            "{'application/json': object()}",
            "{3: 'x', None: 'y', ('a',): 'z'}",
            "{'text/html': 3, 'image/png': [1, [2]]}",
            "{'text/plain': '\\ud800\\x00'}",
            "[]",
            "self",
        ],
    )
    def test_a_bundle_of_anything(self, sandbox: Sandbox, shown: str) -> None:
        code = (
            "class A:\n    def _repr_mimebundle_(self, include=None, exclude=None):\n"
            f"        return {shown}\nA()"
        )
        ran = self.survive(sandbox, code)
        assert not self.lost(ran)
        for result in ran.results:
            seen: list[Any] = [result.text, result.html, result.png, result.svg, repr(result)]
            assert all(value is None or isinstance(value, str | bytes) for value in seen)

    @pytest.mark.parametrize(
        "body",
        [
            "def __repr__(self): return 3",
            "def __repr__(self): raise ValueError",
            "def __repr__(self): return repr(self)",
            "def __getattr__(self, name): return self\n    def __call__(self, *a): return self",
            "def __getattr__(self, name): raise RuntimeError(name)",
        ],
    )
    def test_an_object_that_cannot_be_shown(self, sandbox: Sandbox, body: str) -> None:
        ran = self.survive(sandbox, f"class A:\n    {body}\nA()")
        assert ran.success, ran
