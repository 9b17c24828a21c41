"""Values that are hard to keep, and what becomes of the others beside them."""

from __future__ import annotations

import asyncio
import threading
import time
from pathlib import Path

import pytest

from code_sandboxes import AsyncSandbox, ConfigurationError, Sandbox, SnapshotNotFoundError
from code_sandboxes.testing.base import eventually

both = pytest.mark.parametrize("variant", ["local-eval", "local-jupyter"])

pytestmark = pytest.mark.usefixtures("store")


HARD = """
import functools, io, threading, typing, enum, math
from functools import lru_cache
@functools.cache
def cached(n): return n * 2
class Counted:
    @lru_cache(maxsize=7)
    def double(self, n): return n * 2
UserId = typing.NewType('UserId', int)
P = typing.ParamSpec('P')
class OwnError(Exception):
    def __init__(self, one, two): super().__init__(f'{one} {two}'); self.one = one
try: raise OwnError(1, 2)
except OwnError as error: failure = error
class Service:
    def __init__(self): self.lock, self.name = threading.Lock(), 'service'
    def __getstate__(self): return {'name': self.name}
    def __setstate__(self, state): self.__dict__.update(state); self.lock = threading.Lock()
service = Service()
class Key:
    def __init__(self, n): self.n = n
    def __hash__(self): return hash(math.floor(self.n))
    def __eq__(self, other): return math.floor(self.n) == math.floor(other.n)
table = {Key(1.5): 'found'}
class Registered:
    def __init_subclass__(cls): registry.append(cls.__name__)
registry = []
class First(Registered): pass
class Color(enum.Enum): RED = 1
red = Color.RED
nested = None
for _ in range(2000): nested = [nested]
__version__ = '1.2'
opened = open('text.txt', 'w')
in_memory = io.StringIO('memory')
precious = {'a': 1}
"""


@both
def test_hard_values(variant: str) -> None:
    with Sandbox.create(variant) as box:
        assert box.run_code(HARD).success
        made = box.create_snapshot("hard")
        assert {line.partition(":")[0] for line in made.skipped} == {"variable opened"}
    with Sandbox.create(variant, snapshot_name="hard") as box:
        asked = (
            "cached(4), cached.cache_info().currsize, Counted().double(3), UserId(3), P.__name__",
            "failure.one, str(failure), type(failure) is OwnError, service.name, service.lock",
            "table[Key(1.2)], red is Color.RED, __version__, in_memory.getvalue(), precious",
            "registry[0], issubclass(First, Registered)",
        )
        said = [box.run_code(f"str(({code}))") for code in asked]
        assert [each.error for each in said] == [None] * len(asked)
        assert said[0].text == "\"(8, 1, 6, 3, 'P')\""
        assert "(1, '1 2', True, 'service', <unlocked" in said[1].text
        assert "('found', True, '1.2', 'memory', {'a': 1})" in said[2].text
        depth = "n, d = nested, 0\nwhile n is not None: n, d = n[0], d + 1\nd"
        assert box.run_code(depth).text == "2000"


@both
def test_one_that_cannot_be_loaded_takes_nothing_along(variant: str) -> None:
    code = """
class Picky:
    def __setstate__(self, state): raise LookupError('no, thanks')
    def __getstate__(self): return {'a': 1}
shared = [1]
picky, beside, other = Picky(), shared, {'precious': 1}
"""
    with Sandbox.create(variant) as box:
        box.run_code(code)
        box.create_snapshot("picky")
    with pytest.warns(RuntimeWarning, match="not restored: Picky, picky: LookupError: no, thanks"):
        box = Sandbox.create(variant, snapshot_name="picky")
    with box:
        assert box.run_code("other, beside is shared").text == "({'precious': 1}, True)"
        assert box.run_code("'picky' in globals()").text == "False"


@both
def test_modules_of_the_home_and_where_code_was(variant: str) -> None:
    with Sandbox.create(variant) as box:
        box.files.write("lib/mine.py", "VALUE = 42")
        box.files.mkdir("work")
        code = (
            "import os, sys\nsys.path.append(os.path.abspath('lib'))\nimport mine\nos.chdir('work')"
        )
        assert box.run_code(code).success
        box.create_snapshot("moved")
    with Sandbox.create(variant, snapshot_name="moved") as box:
        assert box.run_code("mine.VALUE, os.path.basename(os.getcwd())").text == "(42, 'work')"
        assert box.run_code("mine.__file__.startswith(os.path.dirname(os.getcwd()))").text == "True"


def test_two_at_once_of_one_sandbox() -> None:
    with Sandbox.create("local-eval") as box:
        box.run_code("x = bytes(5_000_000)")
        box.run_code("y = bytes(5_000_000)", context=box.create_context("second"))
        threads = [threading.Thread(target=box.create_snapshot, args=(f"{n}",)) for n in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    for n in range(4):
        with Sandbox.create("local-eval", snapshot_name=f"{n}") as box:
            assert box.run_code("len(x)").text == "5000000"
            assert box.run_code("len(y)", context="second").text == "5000000"


def test_the_timeout_of_executions_is_none_of_its_business() -> None:
    code = """
import time
class Slow:
    def __reduce__(self): time.sleep(1); return Slow, ()
    def __init__(self): time.sleep(1)
slow, x = Slow(), 1
"""
    with Sandbox.create("local-eval") as box:
        box.run_code(code)
        box.set_timeout(0.3)
        assert box.create_snapshot("slow").skipped == ()
    with Sandbox.create("local-eval", snapshot_name="slow", timeout=0.3) as box:
        assert box.run_code("x, type(slow).__name__").text == "(1, 'Slow')"


def test_in_a_host_function_of_the_same_context() -> None:
    made: list[Sandbox] = []
    functions = {"keep": lambda: made[0].create_snapshot("inner").name}
    with Sandbox.create("local-eval", host_functions=functions) as box:
        made.append(box)
        ran = box.run_code("keep()", timeout=5)
        assert ran.error is not None
        assert "waits for the host function" in ran.error.value
        ran = box.run_code("keep()", context=box.create_context("other"))
        assert ran.error is not None
        assert Sandbox.list_snapshots() == []


def test_odd_directories() -> None:
    with Sandbox.create("local-eval") as box:
        deep = "import os\nfor _ in range(400):\n    os.mkdir('d'); os.chdir('d')\nopen('end', 'w')"
        assert box.run_code(f"{deep}\nos.chdir(os.environ['HOME'])").success
        box.commands.run("mkdir shut; touch shut/a; ln -s a shut/l; chmod 444 shut")
        made = box.create_snapshot("odd")
        assert made.skipped == ()
        assert len(box.files.list("shut")) == 2
        box.commands.run("chmod 755 shut")
    with Sandbox.create("local-eval", snapshot_name="odd") as box:
        box.run_code("import os\nn = 0\nwhile os.path.isdir('d'): os.chdir('d'); n += 1")
        assert box.run_code("n, os.path.exists('end')").text == "(400, True)"
        assert box.files.stat("shut").mode == 0o444


def test_a_damaged_one_can_be_deleted(store: Path) -> None:
    with Sandbox.create("local-eval") as box:
        made = box.create_snapshot("damaged")
        (store / made.id / "snapshot.json").write_text("{")
        (store / "stray.part").write_text("")
        assert Sandbox.list_snapshots() == []
        with pytest.raises(ConfigurationError, match="already, a damaged one; delete it first"):
            box.create_snapshot("damaged")
        Sandbox.delete_snapshot("damaged")
        box.create_snapshot("damaged")
        with pytest.raises(ConfigurationError, match="looks like the id"):
            box.create_snapshot(made.id)
        with pytest.raises(SnapshotNotFoundError):
            Sandbox.delete_snapshot("never")


def test_a_context_that_is_closed_meanwhile() -> None:
    with Sandbox.create("local-eval") as box:
        busy = box.create_context("busy")
        running = threading.Thread(
            target=box.run_code, args=("import time; time.sleep(2)",), kwargs={"context": busy}
        )
        running.start()
        time.sleep(0.3)
        keeping = threading.Thread(target=box.create_snapshot, args=("closed",))
        keeping.start()
        time.sleep(0.3)
        box.close_context(busy)
        running.join()
        keeping.join()
    with Sandbox.create("local-eval", snapshot_name="closed") as box:
        assert [context.name for context in box.list_contexts()] == ["default"]


def test_cancelled(store: Path) -> None:
    async def main() -> None:
        async with await AsyncSandbox.create("local-eval") as box:
            running = asyncio.ensure_future(box.run_code("import time; time.sleep(1.5)"))
            await asyncio.sleep(0.3)
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(box.create_snapshot("cancelled"), 0.3)
            await running
            assert (await box.create_snapshot("after")).name == "after"

    asyncio.run(main())
    assert eventually(lambda: len(list(store.iterdir())) == 1)
    assert [kept.name for kept in Sandbox.list_snapshots()] == ["after"]


def test_more_objects_than_are_told_apart() -> None:
    with Sandbox.create("local-eval") as box:
        assert box.run_code("many = [[n] for n in range(1_100_000)]").success
        assert box.run_code("import threading\nlock = threading.Lock()\nx = 1").success
        made = box.create_snapshot("many")
        assert [line.partition(":")[0] for line in made.skipped] == ["variable lock"]
    with Sandbox.create("local-eval", snapshot_name="many") as box:
        assert box.run_code("x, len(many), threading.__name__").text == "(1, 1100000, 'threading')"
