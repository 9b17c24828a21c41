"""Deadlines, interrupts, and interpreters that die."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest

from code_sandboxes import (
    ConfigurationError,
    Display,
    ExecutionResult,
    Output,
    OutputMessage,
    Sandbox,
    Started,
)
from code_sandboxes.deadline import GRACE

from .base import PROMPT, SLACK, Case, Stopwatch

MOMENTS = 30
STUBBORN = """
import time
while True:
    try: time.sleep(0.01)
    except KeyboardInterrupt: pass
"""
# What happens when a signal comes right before a call that waits: Python has noted it, and does
# not look. Here another thread takes it while the main one waits.
UNNOTICED = """
import signal, time
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
try:
    time.sleep(600)
finally:
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
"""
DEAF = "sum(range(10**13))"  # C code that looks at no signal


class StoppingCases(Case):
    """Code that does not end by itself."""

    @pytest.mark.parametrize(
        "code",
        [
            "while True: pass",
            "import time; time.sleep(600)",
            "import threading; threading.Event().wait()",
            "import os; os.read(os.pipe()[0], 1)",
            "import subprocess; subprocess.run(['sleep', '600'])",
            "import asyncio; await asyncio.sleep(600)",
            UNNOTICED,
        ],
        ids=["loop", "sleep", "lock", "read", "child", "await", "unnoticed"],
    )
    def test_a_timeout_keeps_the_state(self, sandbox: Sandbox, code: str) -> None:
        sandbox.run_code("kept = 7")
        watch = Stopwatch()
        ran = sandbox.run_code(f"print('partial', flush=True)\n{code}", timeout=0.7)
        assert watch.seconds < 0.7 + PROMPT + SLACK
        assert ran.error is not None
        assert (ran.error.name, ran.error.state_lost) == ("ExecutionTimeout", False), ran
        assert ran.stdout == "partial\n"
        assert sandbox.run_code("kept").text == "7"

    @pytest.mark.parametrize("code", [STUBBORN, DEAF], ids=["stubborn", "deaf"])
    def test_code_that_will_not_stop_loses_its_interpreter(
        self, sandbox: Sandbox, code: str
    ) -> None:
        sandbox.run_code("kept = 7")
        watch = Stopwatch()
        ran = sandbox.run_code(f"print('partial', flush=True)\n{code}", timeout=0.7)
        assert watch.seconds < 0.7 + PROMPT + SLACK
        assert ran.error is not None
        assert (ran.error.name, ran.error.state_lost) == ("ExecutionTimeout", True)
        assert ran.stdout == "partial\n"
        assert sandbox.run_code("1 + 1").text == "2"
        lost = sandbox.run_code("kept").error
        assert lost is not None
        assert lost.name == "NameError"

    def test_a_stopped_interpreter_is_woken(self, sandbox: Sandbox) -> None:
        code = "import os, signal; os.kill(os.getpid(), signal.SIGSTOP)"
        ran = sandbox.run_code(code + "; import time; time.sleep(60)", timeout=0.7)
        assert ran.error is not None
        assert ran.error.name == "ExecutionTimeout"
        assert sandbox.run_code("1 + 1").text == "2"

    def test_output_without_end(self, sandbox: Sandbox) -> None:
        watch = Stopwatch()
        ran = sandbox.run_code("while True: print('x' * 1000)", timeout=0.7)
        assert watch.seconds < 0.7 + PROMPT + SLACK
        assert ran.error is not None
        assert ran.error.name == "ExecutionTimeout"
        assert sandbox.run_code("1 + 1", timeout=10).text == "2"

    @pytest.mark.parametrize(
        "code",
        [
            "import os; os._exit(3)",
            "import os, signal; os.kill(os.getpid(), signal.SIGKILL)",
            "import ctypes; ctypes.string_at(0)",
        ],
        ids=["exit", "kill", "crash"],
    )
    def test_a_dead_interpreter_is_a_result(self, sandbox: Sandbox, code: str) -> None:
        watch = Stopwatch()
        ran = sandbox.run_code(f"print('last words', flush=True)\n{code}")
        assert watch.seconds < PROMPT + SLACK  # noticed at once, not at the timeout
        assert ran.error is not None
        assert (ran.error.name, ran.error.state_lost) == ("InterpreterDied", True)
        assert sandbox.run_code("1 + 1").text == "2"

    def test_an_interrupt_is_a_result(self, sandbox: Sandbox) -> None:
        sandbox.run_code("kept = 7")
        done: list[ExecutionResult] = []
        runner = threading.Thread(
            target=lambda: done.append(sandbox.run_code("print(1, flush=True)\nwhile True: pass"))
        )
        runner.start()
        time.sleep(0.5)
        sandbox.interrupt()
        runner.join(10)
        assert done[0].error is not None
        assert done[0].error.name == "KeyboardInterrupt"
        assert (done[0].stdout, sandbox.run_code("kept").text) == ("1\n", "7")
        sandbox.interrupt()  # nothing runs: nothing happens
        assert sandbox.run_code("kept").text == "7"

    def test_an_interrupt_comes_through_whenever_it_comes(self, sandbox: Sandbox) -> None:
        """Before the code begins, at any of its first steps, right before it waits."""
        assert sandbox.run_code("import time; kept = 7").success
        for n in range(MOMENTS):
            events = sandbox.stream_code("time.sleep(60)")
            assert isinstance(next(events), Started)
            time.sleep(n * 0.0002)
            events.close()  # type: ignore[attr-defined]
            watch = Stopwatch()
            assert sandbox.run_code("kept").text == "7"  # else it was killed, past its grace
            assert watch.seconds < GRACE

    def test_an_interrupt_hits_nothing_that_follows(self, sandbox: Sandbox) -> None:
        assert sandbox.run_code("import time").success
        for n in range(MOMENTS):
            events = sandbox.stream_code("time.sleep(0.003)")
            assert isinstance(next(events), Started)
            turn = sandbox._core.interpreter(None).current
            assert turn is not None
            # of this execution, whatever runs when the time has come
            timer = threading.Timer(n * 0.0003, turn.interrupt)
            timer.start()
            list(events)
            assert sandbox.run_code("time.sleep(0.01); 'whole'").text == "'whole'"
            timer.join()

    def test_code_that_cleans_up_is_interrupted_once(self, sandbox: Sandbox) -> None:
        code = (
            "import time\ntry: time.sleep(60)\nexcept KeyboardInterrupt: time.sleep(0.9)\n'clean'"
        )
        watch = Stopwatch()
        events = sandbox.stream_code(code)
        assert isinstance(next(events), Started)
        time.sleep(0.3)
        sandbox.interrupt()
        shown = [event for event in events if isinstance(event, Display)]
        assert watch.seconds < 10
        assert [event.data["text/plain"] for event in shown] == ["'clean'"]

    def test_leaving_the_stream_stops_the_code(self, sandbox: Sandbox) -> None:
        events = sandbox.stream_code("kept = 9\nfor i in range(10**9): print(i, flush=True)")
        for event in events:
            if isinstance(event, Output):
                break
        events.close()  # type: ignore[attr-defined]
        assert sandbox.run_code("kept", timeout=10).text == "9"

    def test_restart(self, sandbox: Sandbox) -> None:
        sandbox.run_code("kept = 1")
        sandbox.restart()
        gone = sandbox.run_code("kept").error
        assert gone is not None
        assert gone.name == "NameError"

    def test_the_clock_starts_with_the_execution(self, sandbox: Sandbox) -> None:
        slow = threading.Thread(target=lambda: sandbox.run_code("import time; time.sleep(1.5)"))
        slow.start()
        time.sleep(0.2)
        assert sandbox.run_code("'queued'", timeout=0.8).text == "'queued'"
        slow.join()

    def test_set_timeout(self, fresh: Sandbox) -> None:
        fresh.set_timeout(0.5)
        ran = fresh.run_code("while True: pass")
        assert ran.error is not None
        assert ran.error.name == "ExecutionTimeout"
        for bad in (0, -1, "1", float("inf"), float("nan")):
            with pytest.raises(ConfigurationError):
                fresh.set_timeout(bad)  # type: ignore[arg-type]
            with pytest.raises(ConfigurationError):
                fresh.run_code("1", timeout=bad)  # type: ignore[arg-type]

    def test_a_fork_outlives_its_parent(self, sandbox: Sandbox) -> None:
        code = "import os, time\nif os.fork() == 0:\n    time.sleep(30)\n    os._exit(0)\n'parent'"
        watch = Stopwatch()
        assert sandbox.run_code(code).text == "'parent'"
        assert watch.seconds < 10
        assert sandbox.run_code("1 + 1").text == "2"

    def test_cancelling_an_await_interrupts(self) -> None:
        async def main() -> None:
            async with await self.create_async() as box:
                await box.run_code("kept = 1")
                with pytest.raises(asyncio.TimeoutError):
                    await asyncio.wait_for(box.run_code("while True: pass"), 0.5)
                watch = Stopwatch()
                assert (await box.run_code("kept", timeout=10)).text == "1"
                assert watch.seconds < PROMPT + SLACK

        self.run_async(main)

    def test_a_slow_reader_stops_no_clock(self, sandbox: Sandbox) -> None:
        """Code is stopped in time, and what it has printed until then is delivered."""
        code = "import itertools\nfor n in itertools.count(): print(n, 'x' * 20_000, flush=True)"
        seen: list[int] = []

        def slow(message: OutputMessage) -> None:
            seen.append(int(message.line.split()[0]))
            time.sleep(0.02)

        sandbox.run_code("kept = 'kept'")
        watch = Stopwatch()
        ran = sandbox.run_code(code, on_stdout=slow, timeout=0.7)
        assert watch.seconds < 0.7 + PROMPT + SLACK + len(seen) * 0.03
        assert ran.error is not None
        assert (ran.error.name, ran.error.state_lost) == ("ExecutionTimeout", False)
        assert seen == list(range(len(seen)))
        assert len(seen) > 10
        assert sandbox.run_code("kept").text == "'kept'"

    def test_code_that_ended_in_time_waits_for_its_reader(self, sandbox: Sandbox) -> None:
        ran = sandbox.run_code(
            "for i in range(30): print(i)", on_stdout=lambda _: time.sleep(0.05), timeout=1
        )
        assert ran.success, ran
        assert len(ran.stdout.split()) == 30
