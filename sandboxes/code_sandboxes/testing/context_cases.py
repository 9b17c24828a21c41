"""Contexts, and several callers at once."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from code_sandboxes import ConfigurationError, Output, Sandbox

from .base import Case, Stopwatch, eventually


class ContextCases(Case):
    """Independent interpreters on one machine, and many callers of one."""

    def test_contexts_are_independent(self, sandbox: Sandbox) -> None:
        context = sandbox.create_context("second")
        sandbox.run_code("x = 1")
        sandbox.run_code("x = 2", context=context)
        assert sandbox.run_code("x").text == "1"
        assert sandbox.run_code("x", context="second").text == "2"
        assert [c.name for c in sandbox.list_contexts()] == ["default", "second"]
        with pytest.raises(ConfigurationError):
            sandbox.create_context("second")
        with pytest.raises(ConfigurationError):
            sandbox.create_context("a/b")
        sandbox.close_context(context)
        with pytest.raises(ConfigurationError, match="no context"):
            sandbox.run_code("x", context=context)
        with pytest.raises(ConfigurationError):
            sandbox.close_context("default")

    def test_contexts_run_in_parallel(self, sandbox: Sandbox) -> None:
        contexts = [sandbox.create_context() for _ in range(3)]
        for context in contexts:
            sandbox.run_code("import time", context=context)
        watch = Stopwatch()
        with ThreadPoolExecutor(3) as pool:
            list(pool.map(lambda c: sandbox.run_code("time.sleep(1)", context=c), contexts))
        assert watch.seconds < 2.5
        for context in contexts:
            sandbox.close_context(context)

    def test_two_callers_take_turns(self, sandbox: Sandbox) -> None:
        sandbox.run_code("log = []")
        code = "log.append('in'); import time; time.sleep(.02); log.append('out')"
        with ThreadPoolExecutor(4) as pool:
            results = list(pool.map(lambda _: sandbox.run_code(code), range(12)))
        assert all(ran.success for ran in results)
        assert sandbox.run_code("log == ['in', 'out'] * 12").text == "True"

    def test_a_queued_execution_can_be_given_up(self) -> None:
        async def main() -> None:
            async with await self.create_async() as box:
                first = asyncio.ensure_future(box.run_code("import time; time.sleep(1.5); a = 1"))
                await asyncio.sleep(0.5)
                second = asyncio.ensure_future(box.run_code("b = 1"))
                await asyncio.sleep(0.1)
                second.cancel()
                assert (await first).success
                assert (await box.run_code("a, 'b' in globals()")).text == "(1, False)"

        self.run_async(main)

    def test_async_streaming_is_live(self) -> None:
        async def main() -> None:
            async with await self.create_async() as box:
                times, watch = [], Stopwatch()
                code = "import time\nfor i in range(3):\n    print(i, flush=True); time.sleep(0.3)"
                async for event in box.stream_code(code):
                    if isinstance(event, Output):
                        times.append(watch.seconds)
                assert times[-1] - times[0] > 0.4

        self.run_async(main)

    def test_many_awaits_hold_no_thread(self) -> None:
        async def main() -> None:
            async with await self.create_async() as box:
                await box.run_code("1")
                await box.commands.run("true")
                before = threading.active_count()
                most = 0

                async def one(i: int) -> tuple[str, bool, str]:
                    nonlocal most
                    ran = await box.run_code(f"import time; time.sleep(.01); {i} * 2")
                    most = max(most, threading.active_count())
                    await box.files.write(f"f{i}", "x")
                    there = await box.files.exists(f"f{i}")
                    done = await box.commands.run("sleep .1; echo hi")
                    most = max(most, threading.active_count())
                    return ran.text, there, done.stdout

                got = await asyncio.gather(*(one(i) for i in range(20)))
                assert got == [(str(i * 2), True, "hi\n") for i in range(20)]
                assert most <= before, (most, before)

        self.run_async(main)

    def test_no_thread_is_left(self) -> None:
        with self.create() as box:
            box.run_code("1")
        before = threading.active_count()
        for _ in range(3):
            with self.create() as box:
                box.run_code("1")
        assert eventually(lambda: threading.active_count() <= before)
