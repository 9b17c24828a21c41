"""The same things through a sandbox."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from code_sandboxes import Output, Sandbox, SandboxPool

from .raw import TWENTY


def start(variant: str, **options: Any) -> Callable[[], None]:
    """From nothing to the first result, and its end."""

    def once() -> None:
        with Sandbox.create(variant, **options) as sandbox:
            assert sandbox.run_code("1").text == "1"

    return once


def until_ready(variant: str, **options: Any) -> Callable[[], float]:
    """Seconds that `create` takes."""

    def once() -> float:
        began = time.perf_counter()
        with Sandbox.create(variant, **options):
            return time.perf_counter() - began

    return once


def until_first_result(variant: str, **options: Any) -> Callable[[], float]:
    """Seconds from nothing to the first result."""

    def once() -> float:
        began = time.perf_counter()
        with Sandbox.create(variant, **options) as sandbox:
            sandbox.run_code("1")
            return time.perf_counter() - began

    return once


@contextmanager
def pool(variant: str) -> Iterator[Callable[[], float]]:
    """One from a pool that is full, to its first result; not its end."""
    with SandboxPool.create(variant, size=2) as stocked:

        def once() -> float:
            while stocked.ready < 2:
                time.sleep(0.01)
            start = time.perf_counter()
            sandbox = stocked.take()
            assert sandbox.run_code("1+1").text == "2"
            taken = time.perf_counter() - start
            sandbox.terminate()
            return taken

        yield once


def new_context(sandbox: Sandbox) -> Callable[[], float]:
    """Seconds from asking for a context to its first result."""

    def once() -> float:
        began = time.perf_counter()
        context = sandbox.create_context()
        sandbox.run_code("1", context=context)
        taken = time.perf_counter() - began
        sandbox.close_context(context)
        return taken

    return once


def restart(sandbox: Sandbox) -> Callable[[], float]:
    """Seconds from a restart to the first result."""

    def once() -> float:
        began = time.perf_counter()
        sandbox.restart()
        assert sandbox.run_code("1").success
        return time.perf_counter() - began

    return once


def first_line(sandbox: Sandbox) -> Callable[[], float]:
    """Seconds until the first line of output is here."""

    def once() -> float:
        began = time.perf_counter()
        at = 0.0
        code = "import time\nprint('x', flush=True)\ntime.sleep(.05)"
        for event in sandbox.stream_code(code):
            if isinstance(event, Output) and not at:
                at = time.perf_counter()
        return at - began

    return once


def write_and_read(sandbox: Sandbox, data: bytes) -> Callable[[], None]:
    """A new file, there and back, and its removal."""

    def once() -> None:
        sandbox.files.write("f", data)
        assert len(sandbox.files.read_bytes("f")) == len(data)
        sandbox.files.remove("f")

    return once


def twenty_megabytes(sandbox: Sandbox) -> Callable[[], None]:
    """Output of code; all of it arrives, the middle is not kept."""

    def once() -> None:
        ran = sandbox.run_code(TWENTY)
        assert ran.dropped + len(ran.stdout) >= 20_000_000

    return once


def host_calls(sandbox: Sandbox, count: int) -> Callable[[], float]:
    """Seconds that one host call takes, of many in a loop."""

    def once() -> float:
        code = f"for i in range({count}): echo(i)"
        began = time.perf_counter()
        assert sandbox.run_code(code, host_functions={"echo": lambda x: x}).success
        return (time.perf_counter() - began) / count

    return once


def twenty(variant: str) -> Callable[[], None]:
    """Twenty sandboxes at once, one result each, ended."""

    def once() -> None:
        with ThreadPoolExecutor(20) as pool:
            list(pool.map(lambda _: start(variant)(), range(20)))

    return once


def memory(variant: str, count: int = 5) -> float:
    """MB (PSS) of one of several open sandboxes, their processes together."""
    boxes = [Sandbox.create(variant) for _ in range(count)]
    try:
        for box in boxes:
            box.run_code("1")
        marks = [f"CODE_SANDBOXES_ID={box.id}".encode() for box in boxes]
        return (
            sum(pss(process) for process in Path("/proc").glob("[0-9]*") if marked(process, marks))
            / count
        )
    finally:
        for box in boxes:
            box.terminate()


def marked(process: Path, marks: list[bytes]) -> bool:
    """Whether a process belongs to one of our sandboxes."""
    try:
        environment = (process / "environ").read_bytes()
    except OSError:
        return False
    return any(mark in environment for mark in marks)


def pss(process: Path) -> float:
    """MB of memory, what is shared counted by its share."""
    try:
        for line in (process / "smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) / 1024
    except OSError:
        return 0.0
    return 0.0
