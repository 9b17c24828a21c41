"""Over time: nothing is left, nothing grows, and the programs around notice nothing.

``CODE_SANDBOXES_SOAK`` says how long: 10 by default, 200 by `make soak`.
"""

from __future__ import annotations

import asyncio
import gc
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from code_sandboxes import AsyncSandbox, Sandbox
from code_sandboxes.testing.base import eventually
from code_sandboxes.testing.promise import bounded_memory, memory

SCALE = int(os.environ.get("CODE_SANDBOXES_SOAK", "10"))
CONFINED = Sandbox.capabilities("local-jupyter")["confined"].supported
KINDS: dict[str, dict[str, Any]] = {
    "local-eval": {"variant": "local-eval"},
    "local-jupyter": {"variant": "local-jupyter"},
}
if CONFINED:
    KINDS["confined"] = {"variant": "local-jupyter", "confined": True}
MIB = 1 << 20


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> Iterator[dict[str, Any]]:
    yield KINDS[request.param]


class Held:
    """What this process holds: children, threads, descriptors."""

    def __init__(self) -> None:
        gc.collect()
        me = psutil.Process()
        self.children = {child.pid for child in me.children(recursive=True)}
        self.threads, self.descriptors = threading.active_count(), me.num_fds()

    def is_no_more_than(self, before: Held) -> bool:
        """Whether nothing was added."""
        return (
            self.children <= before.children
            and self.threads <= before.threads
            and self.descriptors <= before.descriptors
        )

    def __repr__(self) -> str:
        return f"{self.children} {self.threads} threads, {self.descriptors} descriptors"


def use(kind: dict[str, Any], n: int) -> str:
    """Use a sandbox in every way; where its home was."""
    with Sandbox.create(**kind, timeout=30) as box:
        home = box.files.resolve(".")
        assert box.run_code(f"x = {n}; print(x)").stdout == f"{n}\n"
        assert box.commands.run("echo command").stdout == "command\n"
        box.files.write("file", "text")
        if n % 5 == 0:  # in the ways that end badly, too
            box.create_context("second")
            box.run_code("import os; os._exit(1)", context="second")
            box.commands.exec("sleep", "100")
            box.run_code("import subprocess; p = subprocess.Popen(['sleep', '100'])")
            next(iter(box.stream_code("while True: print('x')")))
    return home


def test_sandboxes_leave_nothing(kind: dict[str, Any]) -> None:
    use(kind, 0)  # what is made once stays: caches, a pool of threads
    before, size = Held(), memory()
    homes = [use(kind, n) for n in range(SCALE)]
    assert eventually(lambda: not any(map(os.path.exists, homes)))
    assert eventually(lambda: Held().is_no_more_than(before)), f"{before} -> {Held()}"
    assert memory() - size < (8 + SCALE / 20) * MIB
    assert not [info for info in Sandbox.list() if info.owner_pid == os.getpid()]


def test_executions_make_nothing_grow(kind: dict[str, Any]) -> None:
    code = "import sys\nfor i in range(20): print(i, 'x' * 100)\nsys.stderr.write('e'); 'value'"
    with Sandbox.create(**kind, timeout=30, host_functions={"ask": lambda n: n}) as box:

        def work(times: int) -> None:
            for n in range(times):
                assert box.run_code(code).text == "'value'"
                if n % 10 == 0:
                    assert box.run_code("ask(1)\n1/0").error is not None
                    box.set_variable("v", n)
                    assert box.commands.run("true").exit_code == 0

        work(100)
        gc.collect()
        before, size = Held(), memory()
        work(min(1000, 30 * SCALE))
        gc.collect()
        assert eventually(lambda: Held().is_no_more_than(before)), f"{before} -> {Held()}"
        assert memory() - size < 5 * MIB


def test_many_at_once(kind: dict[str, Any]) -> None:
    use(kind, 0)
    before = Held()
    failed: list[BaseException] = []

    def worker(n: int) -> None:
        try:
            for k in range(max(1, SCALE // 10)):
                use(kind, n + 10 * k)
        except BaseException as error:
            failed.append(error)
            raise

    threads = [threading.Thread(target=worker, args=(n,)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed
    assert eventually(lambda: Held().is_no_more_than(before)), f"{before} -> {Held()}"


def test_a_large_file_streams_in_flat_memory(kind: dict[str, Any], tmp_path: Path) -> None:
    size = 2048 * MIB if SCALE >= 200 else 128 * MIB
    marks = {0: b"head", size // 2 + 1: b"middle", size - 4: b"tail"}
    up, down = tmp_path / "up", tmp_path / "down"
    with up.open("wb") as file:
        for at, mark in marks.items():
            file.seek(at)
            file.write(mark)
    told = [0]
    before = set(psutil.Process().children())
    with Sandbox.create(**kind, timeout=30) as box:
        box.run_code("1")
        (ours,) = set(psutil.Process().children()) - before
        with bounded_memory(48 * MIB):
            box.files.upload(up, "large", on_progress=lambda n, of: told.append(n))
            assert box.files.stat("large").size == told[-1] == size
            up.unlink()
            box.files.download("large", down, on_progress=lambda n, of: told.append(n))
        supervisor = ours.children(recursive=True)
        assert max(each.memory_info().rss for each in supervisor) < 150 * MIB
    assert down.stat().st_size == told[-1] == size
    with down.open("rb") as file:
        for at, mark in marks.items():
            file.seek(at)
            assert file.read(len(mark)) == mark


# in other people's programs -----------------------------------------------------------------
def run(script: str, *arguments: str, options: tuple[str, ...] = ()) -> tuple[str, str]:
    """The output and the errors of a program."""
    ran = subprocess.run(
        [sys.executable, *options, "-c", script, *arguments],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    return ran.stdout, ran.stderr


STRICT = """
import asyncio, sys
from code_sandboxes import AsyncSandbox, Sandbox
variant = sys.argv[1]
with Sandbox.create(variant) as box:
    print(box.run_code("print('one')").stdout, end='')
    box.files.write('a', 'b'); box.commands.run('true'); box.set_variable('v', 1)
    box.run_code("while True: pass", timeout=0.3)
    box.create_context('c'); box.run_code('1', context='c'); box.close_context('c')
    process = box.commands.exec('sleep', '50')
    box.run_code("import os; os._exit(1)")
async def main():
    async with await AsyncSandbox.create(variant) as box:
        print((await box.run_code("print('two')")).stdout, end='')
asyncio.run(main())
forgotten = Sandbox.create(variant)
forgotten.run_code('1')
del forgotten
left = Sandbox.create(variant)
left.run_code('1')
"""


@pytest.mark.parametrize("variant", ["local-eval", "local-jupyter"])
def test_a_strict_interpreter_finds_nothing_to_say(variant: str) -> None:
    out, errors = run(STRICT, variant, options=("-X", "dev", "-W", "error"))
    assert (out, errors) == ("one\ntwo\n", "")


IGNORED = """
import signal, sys
from code_sandboxes import Sandbox
assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
with Sandbox.create(sys.argv[1]) as box:
    box.run_code('kept = 1')
    for code in ('while True: pass', 'import time; time.sleep(60)'):
        print(box.run_code(code, timeout=0.5).error.name, box.run_code('kept').text)
    code = "import signal; signal.getsignal(signal.SIGINT) is signal.SIG_IGN"
    shown = box.commands.run(['python', '-c', code.replace('; ', '; print(') + ')']).stdout
    print(box.run_code(code).text, shown)
"""


@pytest.mark.parametrize("variant", ["local-eval", "local-jupyter"])
def test_a_server_that_ignores_interrupts(variant: str) -> None:
    """What a shell does to a job in the background (`&`), or `nohup`."""
    shell = ["/bin/sh", "-c", 'trap "" INT; exec "$@"', "sh"]
    shell += [sys.executable, "-c", IGNORED, variant]
    ran = subprocess.run(shell, capture_output=True, text=True, timeout=100, check=False)
    assert ran.stdout.split() == [*["ExecutionTimeout", "1"] * 2, "False", "False"], ran.stderr


PREFORK = """
import os, sys, threading, time
from code_sandboxes import Sandbox, SandboxError
variant = sys.argv[1]
shared = Sandbox.create(variant)
shared.run_code('x = 1')
busy = threading.Thread(target=shared.run_code, args=('import time; time.sleep(0.5)',))
busy.start()
time.sleep(0.1)
workers = []
for n in range(3):
    pid = os.fork()
    if pid == 0:
        try:
            shared.run_code('x')
        except SandboxError:
            pass
        with Sandbox.create(variant) as own:
            answer = own.run_code(f'{n} + 1').text
        os.write(1, f'worker {n}: {answer}\\n'.encode())
        os._exit(0)
    workers.append(pid)
for pid in workers:
    os.waitpid(pid, 0)
busy.join()
print('shared:', shared.run_code('x').text, flush=True)
shared.terminate()
"""


@pytest.mark.parametrize("variant", ["local-eval", "local-jupyter"])
def test_a_server_that_forks_its_workers(variant: str) -> None:
    out, errors = run(PREFORK, variant)
    wanted = ["shared: 1", "worker 0: 1", "worker 1: 2", "worker 2: 3"]
    assert sorted(out.splitlines()) == wanted, errors


@pytest.mark.parametrize("variant", ["local-eval", "local-jupyter"])
def test_in_a_running_event_loop(variant: str) -> None:
    """The sync face in async code blocks its loop, as it must, and works."""

    async def main() -> None:
        with Sandbox.create(variant) as box:
            assert box.run_code("1 + 1").text == "2"
            assert list(box.stream_code("print(1)"))
            box.files.write("a", "b")
            assert box.commands.run("cat a").stdout == "b"
        boxes = await asyncio.gather(*(AsyncSandbox.create(variant) for _ in range(3)))
        ran = await asyncio.gather(*(box.run_code(f"{n}") for n, box in enumerate(boxes)))
        assert [result.text for result in ran] == ["0", "1", "2"]
        await asyncio.gather(*(box.terminate() for box in boxes))

    asyncio.run(main())


@pytest.mark.parametrize("variant", ["local-eval", "local-jupyter"])
def test_in_a_notebook(variant: str, tmp_path: Path) -> None:
    """A kernel has a running loop, its own standard streams, and no terminal."""
    with Sandbox.create("local-jupyter", timeout=60, env={"PYTHONPATH": _source()}) as notebook:
        code = (
            "from code_sandboxes import Sandbox\n"
            f"with Sandbox.create({variant!r}) as box:\n"
            "    ran = box.run_code('import sys; print(1); sys.executable')\n"
            "print(ran.stdout, ran.success)"
        )
        ran = notebook.run_code(code)
        assert ran.stdout == "1\n True\n", ran


def _source() -> str:
    import code_sandboxes

    return str(Path(code_sandboxes.__file__).parents[1])
