"""Too much of everything: output, displays, errors, calls."""

from __future__ import annotations

import re
import time
from collections.abc import Callable

import pytest

from code_sandboxes import Display, Output, OutputMessage, Sandbox

from .base import PROMPT, SLACK, Stopwatch
from .promise import MEGABYTES, SCALE, Survivor, bounded_memory

MIB = 1 << 20
SIZE = MEGABYTES * 1_000_000
FLOODS = {
    "lines": f"for _ in range({SIZE} // 1000): print('x' * 999)",
    "one-print": f"print('x' * {SIZE - 1})",
    "raw": f"import os\nfor _ in range({SIZE} // 100_000): os.write(1, b'x' * 100_000)",
    "zeros-of-a-child": "import subprocess\n"
    f"_ = subprocess.run(['head', '-c', '{SIZE // 4}', '/dev/zero'])",
}
ENDLESS = {
    "lines": "while True: print('x' * 1000)",
    "flushed": "while True: print('x', flush=True)",
    "displays": "while True: display('x' * 1000)",
}
CALLS = 10_000 if SCALE >= 200 else 1_600


class FloodCases(Survivor):
    """What a sandbox sends without end, and who reads it slowly or not at all."""

    @pytest.mark.parametrize("code", FLOODS.values(), ids=FLOODS)
    def test_flood_of_output_is_bounded(self, sandbox: Sandbox, code: str) -> None:
        size = SIZE // 4 if "zero" in code else SIZE
        sandbox.run_code("kept = 'kept'")
        with bounded_memory(150 * MIB):
            ran = sandbox.run_code(f"print('head')\n{code}\nprint('tail')", timeout=100)
        assert ran.success, ran
        assert ran.stdout.startswith("head\n")
        assert ran.stdout.endswith("tail\n")
        assert 0 <= len(ran.stdout) - sandbox.config.max_output < 100
        note = re.search(r"\n\[\.\.\. ([\d,]+) bytes left out \.\.\.\]\n", ran.stdout)
        assert note is not None
        assert int(note[1].replace(",", "")) == ran.dropped
        # a print of nothing but a newline more, where the flood ends without one
        assert 0 <= ran.dropped + sandbox.config.max_output - size - len("head\ntail\n") <= 1
        assert sandbox.run_code("kept").text == "'kept'"

    def test_flood_into_a_small_result(self) -> None:
        with self.create(max_output=10) as box:
            ran = self.survive(box, "import sys\nprint('0123456789abcdef')\nsys.stderr.write('e')")
            assert ran.stdout.startswith("01234\n[... ")
            assert ran.dropped == 8
            lines: list[OutputMessage] = []
            ran = box.run_code("for i in range(100): print(i)", on_stdout=lines.append)
            assert [message.line for message in lines] == list(map(str, range(100)))

    @pytest.mark.parametrize("code", ENDLESS.values(), ids=ENDLESS)
    def test_flood_can_be_interrupted(self, sandbox: Sandbox, code: str) -> None:
        sandbox.run_code("kept = 'kept'")
        watch = Stopwatch()
        ran = sandbox.run_code(code, timeout=0.7)
        assert watch.seconds < 0.7 + PROMPT + SLACK
        assert ran.error is not None
        assert (ran.error.name, ran.error.state_lost) == ("ExecutionTimeout", False)
        assert sandbox.run_code("kept").text == "'kept'"

    @pytest.mark.parametrize("code", ENDLESS.values(), ids=ENDLESS)
    def test_flood_that_nobody_reads_any_more(self, sandbox: Sandbox, code: str) -> None:
        """What was under way must not stall the interpreter for those who come next."""
        for _ in range(3):
            sandbox.run_code("kept = 'kept'")
            events = sandbox.stream_code(code)
            for event in events:
                if isinstance(event, Output | Display):
                    break
            time.sleep(0.2)
            events.close()  # type: ignore[attr-defined]
            assert sandbox.run_code("kept", timeout=10).text == "'kept'"

    def test_flood_for_a_callback_that_fails(self, sandbox: Sandbox) -> None:
        def fail(message: OutputMessage) -> None:
            time.sleep(0.3)
            raise LookupError

        sandbox.run_code("kept = 'kept'")
        for _ in range(3):
            with pytest.raises(LookupError):
                sandbox.run_code(ENDLESS["lines"], on_stdout=fail)
            assert sandbox.run_code("kept", timeout=10).text == "'kept'"

    @pytest.mark.parametrize(
        "code",
        ["print('x' * 300, flush=True)", "display('x' * 300)"],
        ids=["prints", "displays"],
    )
    def test_flood_for_a_slow_reader_loses_nothing(self, sandbox: Sandbox, code: str) -> None:
        """More messages than any queue between holds."""
        count = 0
        for event in sandbox.stream_code(f"for _ in range(2500): {code}", timeout=60):
            if isinstance(event, Output | Display):
                time.sleep(1.5 if not count else 0)
                text = event.text if isinstance(event, Output) else event.data["text/plain"]
                count += text.count("x")
        assert count == 2500 * 300

    def test_flood_of_displays_is_bounded(self, sandbox: Sandbox) -> None:
        ran = self.survive(sandbox, "for i in range(1500): display(i)", timeout=60)
        assert (ran.success, len(ran.results)) == (True, 1000)
        assert ran.dropped > 0
        code = "from IPython.display import clear_output\n"
        code += "for i in range(300): clear_output(); print(i)"
        assert self.survive(sandbox, code).stdout == "299\n"

    def test_flood_in_an_error_is_bounded(self, sandbox: Sandbox) -> None:
        ran = self.survive(sandbox, "raise ValueError('x' * 5_000_000)")
        assert ran.error is not None
        assert ran.error.name == "ValueError"
        assert len(ran.error.value) < 2 * MIB
        assert len(ran.error.traceback) < 2 * MIB
        assert "left out" in ran.error.value

    def test_flood_in_one_result_is_refused(self, sandbox: Sandbox) -> None:
        """The interpreter, and all that it knows, outlives a result that is too large."""
        with bounded_memory(400 * MIB):
            ran = self.survive(sandbox, "'x' * 70_000_000")
        assert not self.lost(ran)

    def test_flood_from_many_threads(self, sandbox: Sandbox) -> None:
        code = """
import sys, threading
def say(k):
    for i in range(100): sys.stdout.write(f'<{k}:{i}>\\n')
threads = [threading.Thread(target=say, args=(k,)) for k in range(50)]
for t in threads: t.start()
for t in threads: t.join()
"""
        lines = self.survive(sandbox, code).stdout.split()
        assert sorted(lines) == sorted(f"<{k}:{i}>" for k in range(50) for i in range(100))

    def test_threads_that_outlive_their_cell(self, sandbox: Sandbox) -> None:
        """They disturb nothing; what they print is part of a later result, or of none."""
        code = """
import threading, time
def late():
    for i in range(20):
        time.sleep(0.02); print('late', i, flush=True)
for _ in range(5): threading.Thread(target=late).start()
"""
        self.survive(sandbox, code)
        for n in range(10):
            ran = sandbox.run_code(f"import time; time.sleep(0.05)\nprint('cell {n}')\n{n}")
            assert ran.text == str(n)
            assert f"cell {n}" in ran.stdout
        self.answers(sandbox)

    def test_flood_of_host_calls(
        self, sandbox: Sandbox, record_property: Callable[[str, object], None]
    ) -> None:
        code = f"""
import threading
wrong = []
def ask(k):
    for i in range({CALLS // 8}):
        if echo([k, i]) != [k, i]: wrong.append((k, i))
threads = [threading.Thread(target=ask, args=(k,)) for k in range(8)]
for t in threads: t.start()
for t in threads: t.join()
wrong
"""
        watch = Stopwatch()
        ran = sandbox.run_code(code, host_functions={"echo": lambda x: x}, timeout=100)
        assert ran.text == "[]", ran
        record_property("milliseconds_a_call", watch.seconds * 1000 / CALLS)

    def test_input_from_a_thread(self, sandbox: Sandbox) -> None:
        code = "import threading\ngot = []\n"
        code += "t = threading.Thread(target=lambda: got.append(input('?')))\nt.start(); t.join()\n"
        assert sandbox.run_code(code + "got", stdin=lambda prompt: "typed").text == "['typed']"
