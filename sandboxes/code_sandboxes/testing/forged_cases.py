"""Code that wants more of the host than its due: its time, its memory, its functions."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from typing import Any

import pytest

from code_sandboxes import Sandbox

from .attack_cases import TOOLS, linux
from .base import PROMPT, SLACK, Stopwatch, eventually
from .promise import Survivor, bounded_memory

MIB = 1 << 20
# what goes to the host past all that would bound it, on a plain interpreter and in a kernel
SAY = f"""{TOOLS}
import sys
kernel = get_ipython().kernel if 'IPython' in sys.modules else None
def tell(line, kind, content):
    if kernel:
        kernel.session.send(kernel.iopub_socket, kind, content, kernel.get_parent('shell'))
        return
    for fd in control:
        with socket.socket(fileno=os.dup(fd)) as s: s.sendall(line + b'\\n')
"""
ASKS = f"""{TOOLS}
helper = sys.modules['_code_sandboxes.helper'] if (sys := __import__('sys')) else None
while True:
    try: helper.ask('call', {{'function': 'no_such', 'args': [], 'kwargs': {{}}}})
    except BaseException: pass
"""
FORGED_ASKS = f"""{SAY}
line = b'{{"ask": 1, "kind": "call", "payload": {{"function": "x", "args": [], "kwargs": {{}}}}}}'
line = b'\\n'.join([line] * 500)
while True: tell(line, 'nothing', {{}})
"""
ERRORS = f"""{SAY}
print('begun', flush=True)
text = 'x' * 5_000_000
line = b'{{"error": ["a", "b", "' + text.encode() + b'"]}}'
for _ in range(100): tell(line, 'error', {{'ename': 'a', 'evalue': 'b', 'traceback': [text]}})
"""
MILLIONS = f"""{SAY}
value = {{'text/plain': 'x', 'application/json': [[]] * 12_000_000}}
line = b'{{"display": {{"application/json": [' + b'[],' * 12_000_000 + b'1]}}, "main": true}}'
if kernel: kernel.session.serialize = type(kernel.session).serialize.__get__(kernel.session)
tell(line, 'display_data', {{'data': value, 'metadata': {{}}, 'transient': {{}}}})
"""
A_RESULT_OF_MILLIONS = """
class Large:
    def _repr_mimebundle_(self, **_): return {'application/json': [[]] * 5_000_000}
Large()
"""
COMET = """
import ctypes, os, time
if os.fork() == 0:
    os.setsid()
    ctypes.CDLL(None).prctl(15, b'{name}', 0, 0, 0)
    end, generation = time.time() + 15, 0
    while time.time() < end:
        if os.fork(): os._exit(0)
        os.setsid()
        generation += 1
        if generation == 30: open('flies', 'w').close()
    os._exit(0)
None
"""


def named(name: str) -> list[str]:
    """The living processes of a name."""
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            with suppress(OSError), open(f"/proc/{entry}/stat", encoding="utf-8") as file:
                if f"({name}) Z" not in (about := file.read()) and f"({name})" in about:
                    found.append(entry)
    return found


class ForgedCases(Survivor):
    """The host's time and memory are bounded, and its functions get what they may."""

    @linux
    @pytest.mark.parametrize("code", [ASKS, FORGED_ASKS], ids=["asks", "forged"])
    def test_asking_without_end_stops_no_clock(self, victim: Sandbox, code: str) -> None:
        watch = Stopwatch()
        ran = victim.run_code(code, timeout=1)
        assert watch.seconds < 1 + PROMPT + SLACK
        assert ran.error is not None
        assert ran.error.name == "ExecutionTimeout"
        self.answers(victim)

    @pytest.mark.parametrize(
        "payload",
        [
            {"function": "\0input", "args": [[1]], "kwargs": {}},
            {"function": "offered", "args": "text", "kwargs": {}},
            {"function": "offered", "args": [], "kwargs": [["a", 1]]},
            {"function": ["offered"], "args": [], "kwargs": {}},
            {"function": "x" * 100_000},
            {},
        ],
        ids=["input", "text", "pairs", "list", "long", "empty"],
    )
    def test_a_forged_call_reaches_no_function(
        self, sandbox: Sandbox, payload: dict[str, Any]
    ) -> None:
        called: list[object] = []

        def answer(prompt: str) -> str:
            called.append(prompt)
            return ""

        code = f"import sys\nsys.modules['_code_sandboxes.helper'].ask('call', {payload!r})"
        functions = {"offered": lambda *args, **_: called.append(args)}
        ran = sandbox.run_code(code, stdin=answer, host_functions=functions)
        assert not called
        assert ran.error is not None
        assert ran.error.name == "NameError"
        assert len(ran.error.value) < 1000

    def test_code_that_is_past_its_time_reaches_no_function(self, victim: Sandbox) -> None:
        code = "import time\ntry: time.sleep(60)\nexcept KeyboardInterrupt: hold()"
        watch = Stopwatch()
        ran = victim.run_code(code, timeout=0.5, host_functions={"hold": lambda: time.sleep(8)})
        assert watch.seconds < 0.5 + PROMPT + SLACK
        assert ran.error is not None
        assert ran.error.name == "ExecutionTimeout"

    @linux
    def test_errors_without_end_fill_no_memory(self, victim: Sandbox) -> None:
        """The reader is slow: what it has not seen waits inside, or is dropped."""
        with bounded_memory(250 * MIB):
            victim.run_code(ERRORS, timeout=4, on_stdout=lambda _: time.sleep(2))

    @linux
    def test_a_value_of_millions_fills_no_memory(self, victim: Sandbox) -> None:
        with bounded_memory(250 * MIB):
            ran = victim.run_code(A_RESULT_OF_MILLIONS, timeout=20)
            assert not any("application/json" in result.data for result in ran.results)
            assert not self.lost(ran)
            ran = victim.run_code(MILLIONS, timeout=20)
        assert self.lost(ran)
        self.answers(victim)

    @linux
    def test_no_comet_is_left(self) -> None:
        """It forks and exits faster than anybody lists processes."""
        name = f"comet{time.time_ns() % 10**7}"
        with self.create() as box:
            assert box.run_code(COMET.replace("{name}", name)).success
            assert eventually(lambda: box.files.exists("flies"))
        # a single look finds it seldom
        assert not eventually(lambda: named(name), 2), named(name)
