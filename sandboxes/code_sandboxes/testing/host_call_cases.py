"""What the code asks of the host: input, and functions."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest

from code_sandboxes import Ask, ConfigurationError, Output, Sandbox

from .base import Case, Stopwatch

LARGE = 11_000_000  # bytes; many a server takes 10 MiB


class HostCallCases(Case):
    """`stdin=` and `host_functions=`."""

    def test_input(self, sandbox: Sandbox) -> None:
        ran = sandbox.run_code("input('name? ')", stdin=lambda prompt: prompt + "me")
        assert ran.text == "'name? me'"
        ran = sandbox.run_code("import getpass; getpass.getpass('secret? ')", stdin=str.upper)
        assert ran.text == "'SECRET? '" or ran.error is not None

    def test_a_large_answer(self, sandbox: Sandbox) -> None:
        sandbox.run_code("kept = 'kept'")
        offer = {"large": lambda: "x" * LARGE}
        ran = sandbox.run_code("len(large())", host_functions=offer, timeout=60)
        assert ran.text == str(LARGE), ran
        assert sandbox.run_code("kept").text == "'kept'"

    def test_input_without_an_answer(self, sandbox: Sandbox) -> None:
        ran = sandbox.run_code("input()")
        assert ran.error is not None
        assert ran.error.name == "StdinNotImplementedError"
        assert sandbox.run_code("1").text == "1"

    def test_a_host_function(self, sandbox: Sandbox) -> None:
        def search(query: str, *, most: int = 1) -> Any:
            if query == "bad":
                raise KeyError("nothing")
            if query == "own":
                raise ConfigurationError("ours")
            return {"hits": [query] * most, "none": None, "text": "é\u2028\x00"}

        functions = {"search": search}
        ran = sandbox.run_code("search('a', most=2)['hits']", host_functions=functions)
        assert ran.text == "['a', 'a']"
        code = "try:\n    search('bad')\nexcept KeyError as e:\n    print('caught', e)"
        assert sandbox.run_code(code, host_functions=functions).stdout == "caught 'nothing'\n"
        ran = sandbox.run_code("search('own')", host_functions=functions)
        assert ran.error is not None
        assert ran.error.name == "RuntimeError"
        assert "ConfigurationError" in ran.error.value
        ran = sandbox.run_code("search('a')")  # not offered to this execution
        assert ran.error is not None
        assert ran.error.name == "NameError"

    def test_an_answer_that_is_no_json(self, sandbox: Sandbox) -> None:
        functions = {"odd": object, "nan": lambda: float("nan")}
        for name in functions:
            ran = sandbox.run_code(f"{name}()", host_functions=functions)
            assert ran.error is not None
            assert ran.error.name == "TypeError"

    def test_a_host_function_in_the_middle_of_a_stream(self, sandbox: Sandbox) -> None:
        seen: list[Any] = []
        caller = threading.get_ident()

        def pause(n: int) -> int:
            assert threading.get_ident() == caller
            seen.append(("asked", n))
            time.sleep(1.2)  # longer than the timeout: the clock must stop
            return n

        code = "print('one', flush=True)\npause(1)\nprint('two')"
        for event in sandbox.stream_code(code, host_functions={"pause": pause}, timeout=1.0):
            if isinstance(event, Output) and event.text.strip():
                seen.append(event.text.strip())
            elif isinstance(event, Ask):
                seen.append("ask")
        assert seen == ["one", "ask", ("asked", 1), "two"]

    def test_functions_for_the_sandboxs_life(self) -> None:
        with self.create(host_functions={"double": lambda n: 2 * n}) as box:
            assert box.run_code("double(21)").text == "42"
            for _ in range(3):
                box.restart()
                ran = box.run_code("double(4)")
                assert ran.text == "8", ran

    def test_calls_from_threads_are_not_crossed(self, sandbox: Sandbox) -> None:
        code = """
import threading
wrong = []
def ask(k):
    for i in range(25):
        if echo([k, i]) != [k, i]: wrong.append((k, i))
threads = [threading.Thread(target=ask, args=(k,)) for k in range(8)]
for t in threads: t.start()
for t in threads: t.join()
wrong
"""
        ran = sandbox.run_code(code, host_functions={"echo": lambda x: x})
        assert ran.text == "[]", ran

    def test_code_that_waits_for_the_host_can_be_stopped(self, sandbox: Sandbox) -> None:
        def interrupt() -> None:
            sandbox.interrupt()
            time.sleep(0.3)

        watch = Stopwatch()
        ran = sandbox.run_code("stop()", host_functions={"stop": interrupt})
        assert watch.seconds < 10
        assert ran.error is not None
        assert ran.error.name == "KeyboardInterrupt"
        assert sandbox.run_code("1 + 1").text == "2"

    def test_a_call_back_into_the_same_context_is_refused(self, sandbox: Sandbox) -> None:
        functions = {"again": lambda: sandbox.run_code("1").text}
        ran = sandbox.run_code("again()", host_functions=functions)
        assert ran.error is not None
        assert "create_context" in ran.error.value

    def test_large_arguments(self, sandbox: Sandbox) -> None:
        ran = sandbox.run_code(
            "len(echo('x' * 3_000_000))", host_functions={"echo": lambda text: text}
        )
        assert ran.text == "3000000"

    def test_names_must_be_names(self, sandbox: Sandbox) -> None:
        for bad in ({"not a name": print}, {"f": 3}):
            with pytest.raises(ConfigurationError):
                sandbox.run_code("1", host_functions=bad)  # type: ignore[arg-type]

    def test_async_functions_run_on_the_callers_loop(self) -> None:
        async def main() -> None:
            import asyncio

            loop = asyncio.get_running_loop()

            async def slow(n: int) -> int:
                assert asyncio.get_running_loop() is loop
                await asyncio.sleep(0.01)
                return n + 1

            async with await self.create_async() as box:
                ran = await box.run_code("slow(1)", host_functions={"slow": slow})
                assert ran.text == "2"
                ran = await box.run_code("input()", stdin=lambda prompt: asyncio.sleep(0, "typed"))
                assert ran.text == "'typed'"

        self.run_async(main)
