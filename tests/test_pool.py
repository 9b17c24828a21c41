"""Pools: what is handed out is fresh, there at once, and nobody's when it is not taken."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar

import pytest

from code_sandboxes import (
    AsyncSandboxPool,
    ConfigurationError,
    Sandbox,
    SandboxClosedError,
    SandboxGoneError,
    SandboxPool,
    SandboxStartError,
    UnknownVariantError,
    UnsupportedError,
    registry,
)
from code_sandboxes.kernel import Pipe
from code_sandboxes.testing.base import eventually
from code_sandboxes.variants.local_eval import LocalEval


def mine() -> set[str]:
    """The ids of this process's sandboxes."""
    return {each.id for each in Sandbox.list() if each.owner_pid == os.getpid()}


@pytest.fixture(autouse=True)
def nothing_stays() -> Iterator[None]:
    before = mine()
    yield
    assert eventually(lambda: mine() <= before)


class Difficult(LocalEval):
    """Starts as a test wants it."""

    name = "local-difficult"
    start: ClassVar[Callable[[], Any]] = staticmethod(lambda: None)

    def provision(self) -> Pipe:
        type(self).start()
        return super().provision()


@pytest.fixture
def difficult(monkeypatch: pytest.MonkeyPatch) -> type[Difficult]:
    monkeypatch.setitem(registry._added, Difficult.name, Difficult)
    monkeypatch.setattr(Difficult, "start", staticmethod(lambda: None))
    return Difficult


def refuse() -> None:
    raise SandboxStartError("not today")


@pytest.mark.parametrize("variant", ["local-eval", "local-jupyter"])
def test_each_is_fresh_and_handed_out_once(variant: str) -> None:
    with SandboxPool.create(variant, size=2, env={"A": "1"}) as pool:
        assert eventually(lambda: pool.ready == 2)
        ids = set()
        for _ in range(4):
            with pool.take() as box:
                ids.add(box.id)
                ran = box.run_code("import os\n'left' in globals() or os.environ['A']")
                assert ran.text == "'1'"
                box.run_code("left = 1")
        assert len(ids) == 4
        assert eventually(lambda: pool.ready == 2)  # it is filled up again
        assert repr(pool) == f"<SandboxPool {variant} 2 of 2 ready>"
    assert (pool.closed, pool.ready) == (True, 0)
    with pytest.raises(SandboxClosedError, match="make another"):
        pool.take()
    pool.close()  # again


def test_many_at_once() -> None:
    with SandboxPool.create("local-eval", size=2) as pool, ThreadPoolExecutor(10) as threads:
        boxes = [future.result() for future in [threads.submit(pool.take) for _ in range(10)]]
        assert len({box.id for box in boxes}) == 10
        for box in boxes:
            assert box.run_code("1").text == "1"
            box.terminate()
        assert eventually(lambda: pool.ready == 2)


def test_what_create_refuses_is_refused_at_once() -> None:
    for error, variant, options in (
        (UnsupportedError, "local-eval", {"network_policy": "none"}),
        (ConfigurationError, "local-eval", {"timeout": -1}),
        (ConfigurationError, "local-eval", {"no_such_option": 1}),
        (UnknownVariantError, "local-nothing", {}),
        *((ConfigurationError, "local-eval", {"size": size}) for size in (0, -1, 1.5, True, "2")),
    ):
        with pytest.raises(error):
            SandboxPool.create(variant, **options)  # type: ignore[arg-type]


def test_one_that_ended_while_it_waited_is_replaced() -> None:
    with SandboxPool.create("local-eval", size=1) as pool:
        assert eventually(lambda: pool.ready == 1)
        waiting = pool._stock._ready[0]
        with suppress(SandboxGoneError):
            Sandbox(waiting).commands.run("kill -9 $PPID")
        assert eventually(lambda: waiting._machine.gone)
        with pool.take() as box:
            assert box.id != waiting.id
            assert box.run_code("1").text == "1"


def test_a_lifetime_counts_from_the_taking() -> None:
    with SandboxPool.create("local-eval", size=1, max_lifetime=3) as pool:
        assert eventually(lambda: pool.ready == 1)
        time.sleep(2)
        with pool.take() as box:
            time.sleep(2)
            assert box.run_code("1").text == "1"
        assert eventually(lambda: pool.ready == 1)
        time.sleep(3.5)
        with pool.take() as box:  # another one: that which waited is over
            assert box.run_code("1").text == "1"


def test_a_start_that_fails_is_told_to_who_asks(difficult: type[Difficult]) -> None:
    difficult.start = staticmethod(refuse)
    with SandboxPool.create(difficult.name, size=1) as pool:
        for _ in range(2):
            with pytest.raises(SandboxStartError, match="not today"):
                pool.take()
        difficult.start = staticmethod(lambda: None)
        with pool.take() as box:
            assert box.run_code("1").text == "1"
        assert eventually(lambda: pool.ready == 1)


def test_a_start_that_fails_in_any_way_hangs_nobody(difficult: type[Difficult]) -> None:
    def fail() -> None:
        raise ValueError("a mistake of the variant's")

    difficult.start = staticmethod(fail)
    with SandboxPool.create(difficult.name, size=1) as pool, pytest.raises(ValueError, match="mis"):
        pool.take()


def test_many_wait_while_starts_fail(difficult: type[Difficult]) -> None:
    difficult.start = staticmethod(lambda: (time.sleep(0.1), refuse()))
    with SandboxPool.create(difficult.name, size=1) as pool, ThreadPoolExecutor(20) as threads:
        asked = [threads.submit(pool.take) for _ in range(20)]
        for each in asked:
            with pytest.raises(SandboxStartError, match="not today"):
                each.result(20)


def test_a_thread_that_cannot_be_started(monkeypatch: pytest.MonkeyPatch) -> None:
    with SandboxPool.create("local-eval", size=1) as pool:
        assert eventually(lambda: pool.ready == 1)
        taken = pool.take()
        assert eventually(lambda: pool.ready == 1)
        other = pool.take()
        assert eventually(lambda: pool.ready == 1)
        pool._stock._ready.popleft().end()
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", no_thread)
            with pytest.raises(SandboxStartError, match="no thread"):
                pool.take()
        for box in (taken, other, pool.take()):
            box.terminate()


def no_thread(thread: threading.Thread) -> None:
    raise RuntimeError("can't start new thread")


def test_no_more_are_kept_than_were_asked_for(difficult: type[Difficult]) -> None:
    difficult.start = staticmethod(lambda: time.sleep(0.3))
    before = mine()  # other tests' too
    with SandboxPool.create(difficult.name, size=2) as pool, ThreadPoolExecutor(10) as threads:
        for late in [threads.submit(pool.take, 0.01) for _ in range(10)]:
            with pytest.raises(SandboxStartError):
                late.result(10)
        assert eventually(lambda: pool.ready == 2)
        assert eventually(lambda: pool._stock._starting == 0)
        assert eventually(lambda: len(mine() - before) == 2)
        for wrong in (-1, float("nan"), "2"):
            with pytest.raises(ConfigurationError):
                pool.take(wrong)  # type: ignore[arg-type]
        pool.take(0).terminate()  # what is ready needs no time


def test_closing_waits_for_those_that_start(difficult: type[Difficult]) -> None:
    difficult.start = staticmethod(lambda: time.sleep(0.3))
    before = mine()
    SandboxPool.create(difficult.name, size=3).close()
    assert mine() == before


def test_waiting_has_an_end(difficult: type[Difficult]) -> None:
    go = threading.Event()
    difficult.start = staticmethod(lambda: go.wait(20))
    with SandboxPool.create(difficult.name, size=1) as pool:
        with pytest.raises(SandboxStartError, match=r"within 0\.2 s"):
            pool.take(timeout=0.2)
        go.set()
        with pool.take(timeout=20) as box:
            assert box.run_code("1").text == "1"


def test_closed_while_it_starts(difficult: type[Difficult]) -> None:
    go = threading.Event()
    difficult.start = staticmethod(lambda: go.wait(20))
    pool = SandboxPool.create(difficult.name, size=3)
    with ThreadPoolExecutor(2) as threads:
        asked = threads.submit(pool.take)
        assert eventually(lambda: len(pool._stock._waiting) == 1)
        closing = threads.submit(pool.close)
        with pytest.raises(SandboxClosedError):
            asked.result(10)
        assert not closing.done()  # it waits for those that are being started
        go.set()
        closing.result(20)
    assert pool.ready == 0


def test_a_pool_that_is_forgotten_leaves_nothing() -> None:
    pools = [SandboxPool.create("local-eval", size=2)]
    assert eventually(lambda: pools[0].ready == 2)
    before = mine()
    pools.clear()
    assert eventually(lambda: len(mine()) == len(before) - 2)


def test_host_functions_reach_all() -> None:
    with SandboxPool.create(
        "local-eval", size=1, host_functions={"double": lambda x: 2 * x}
    ) as pool:
        for _ in range(2):
            with pool.take() as box:
                assert box.run_code("double(21)").text == "42"


def test_awaited() -> None:
    async def go() -> None:
        async with await AsyncSandboxPool.create("local-eval", size=2) as pool:
            boxes = await asyncio.gather(*(pool.take() for _ in range(5)))
            assert len({box.id for box in boxes}) == 5
            for box in boxes:
                async with box:
                    assert (await box.run_code("1")).text == "1"
        assert pool.closed
        with pytest.raises(SandboxClosedError):
            await pool.take()

    asyncio.run(go())


def test_an_await_that_is_given_up_loses_nothing(difficult: type[Difficult]) -> None:
    go = threading.Event()
    difficult.start = staticmethod(lambda: go.wait(20))

    async def run() -> None:
        async with await AsyncSandboxPool.create(difficult.name, size=1) as pool:
            with pytest.raises(SandboxStartError, match="within"):
                await pool.take(timeout=0.2)
            cancelled = asyncio.ensure_future(pool.take())
            await asyncio.sleep(0.1)
            cancelled.cancel()
            with pytest.raises(asyncio.CancelledError):
                await cancelled
            go.set()
            async with await pool.take() as box:
                assert (await box.run_code("1")).text == "1"
            # what comes in the moment of the cancellation is ended
            while not pool.ready:
                await asyncio.sleep(0.05)
            for _ in range(20):
                late = asyncio.ensure_future(pool.take())
                await asyncio.sleep(0)
                late.cancel()
                await asyncio.gather(late, return_exceptions=True)

    asyncio.run(run())

    async def ready_and_no_time() -> None:
        async with await AsyncSandboxPool.create("local-eval", size=1) as pool:
            while not pool.ready:
                await asyncio.sleep(0.05)
            assert repr(pool) == "<AsyncSandboxPool local-eval 1 of 1 ready>"
            async with await pool.take(0) as box:
                assert (await box.run_code("1")).text == "1"
            with pytest.raises(ConfigurationError):
                await pool.take(-1)

    asyncio.run(ready_and_no_time())


LEFT = """
import os, pathlib, tempfile
from code_sandboxes import SandboxPool
pool = SandboxPool.create("local-jupyter", size=3)
taken = pool.take()
print(len(list(pathlib.Path(tempfile.gettempdir()).glob("cs-*"))) > 0)
"""


def test_a_process_that_ends_while_it_starts_some_leaves_nothing(tmp_path: Path) -> None:
    env = os.environ | {"TMPDIR": str(tmp_path)}
    for _ in range(3):
        done = subprocess.run(
            [sys.executable, "-c", LEFT], capture_output=True, text=True, env=env, check=False
        )
        assert (done.stdout, done.stderr) == ("True\n", "")
        assert eventually(lambda: list(tmp_path.glob("cs-*")) == [])


FORKED = """
import os, sys, time
from code_sandboxes import SandboxPool
pool = SandboxPool.create("local-eval", size=2)
child = os.fork()  # while it starts them
if child == 0:
    with pool.take(20) as box:
        os._exit(0 if box.run_code("1 + 1").text == "2" else 3)
status = os.waitpid(child, 0)[1]
with pool.take(20) as box:
    print(status, box.run_code("1 + 1").text)
pool.close()
"""
INTERRUPTED = """
import os, signal, threading
from code_sandboxes import Sandbox, SandboxPool
with SandboxPool.create("local-jupyter", size=1) as pool:
    threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGINT)).start()
    try:
        pool.take()
    except KeyboardInterrupt:
        print("interrupted")
    print(pool.take().run_code("1 + 1").text)
"""


@pytest.mark.parametrize(
    ("code", "said"), [(FORKED, "0 2\n"), (INTERRUPTED, "interrupted\n2\n")], ids=["fork", "ctrl-c"]
)
def test_in_a_process_of_its_own(code: str, said: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.stdout, done.stderr) == (said, "")
