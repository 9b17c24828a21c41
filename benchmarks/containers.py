"""local-docker beside the engine's own command line, and a kernel's own client in a container."""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from code_sandboxes import Sandbox

from . import ours
from .measure import Row, side_by_side

VARIANT = "local-docker"
IMAGE = "code-sandboxes-jupyter:latest"
ALONE = ["--network", "none"]
SIZE = 10 << 20
# jupyter_client beside its kernel: a line is a cell, the answer the seconds that it took
RAW_CLIENT = """
import subprocess, sys, time
from jupyter_client.manager import start_new_kernel
manager, client = start_new_kernel(stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
for line in sys.stdin:
    began = time.perf_counter()
    client.execute_interactive(line, output_hook=lambda message: None, timeout=60)
    print(time.perf_counter() - began, flush=True)
manager.shutdown_kernel(now=True)
"""


def docker(*arguments: str) -> str:
    """A command of the engine's command line; what it says."""
    ran = subprocess.run(["docker", *arguments], check=True, capture_output=True, text=True)
    return ran.stdout.strip()


def bare_run() -> None:
    """A container that does nothing, from nothing to its end."""
    docker("run", "--rm", *ALONE, IMAGE, "true")


def bare_container() -> str:
    """A container that waits; its id."""
    return docker("run", "-d", "--rm", *ALONE, IMAGE, "sleep", "600")


@contextmanager
def kernel() -> Iterator[Callable[[], float]]:
    """Seconds that jupyter_client takes for a call, in a container of the same image."""
    command = ["docker", "run", "-i", "--rm", *ALONE, IMAGE, "python", "-c", RAW_CLIENT]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        sent, received = child.stdin, child.stdout
        assert sent is not None
        assert received is not None

        def call() -> float:
            sent.write("1+1\n")
            sent.flush()
            return float(received.readline())

        yield call
        sent.close()


def terminate() -> float:
    """Seconds that the end of a sandbox takes."""
    box = Sandbox.create(VARIANT, network_policy="none")
    box.run_code("1")
    began = time.perf_counter()
    box.terminate()
    return time.perf_counter() - began


def remove() -> float:
    """Seconds that the engine takes to end a container."""
    made = bare_container()
    began = time.perf_counter()
    docker("rm", "-f", made)
    return time.perf_counter() - began


def at_once(one: Callable[[], object], count: int = 8) -> None:
    """Several of the same."""
    with ThreadPoolExecutor(count) as pool:
        list(pool.map(lambda _: one(), range(count)))


def starts(few: int) -> list[Row]:
    """Rows about starting and ending."""
    bare, first = side_by_side(
        few, bare_run, ours.until_first_result(VARIANT, network_policy="none")
    )
    removed, ended = side_by_side(few, remove, terminate)
    raw_eight, eight = side_by_side(
        2, partial(at_once, bare_run), partial(at_once, ours.start(VARIANT, network_policy="none"))
    )
    return [
        ("create to first result", "docker run true", bare, {VARIANT: first}, "raw + 500 ms"),
        ("terminate", "docker rm -f", removed, {VARIANT: ended}, ""),
        ("8 in parallel", "docker run true", raw_eight, {VARIANT: eight}, ""),
    ]


def calls(box: Sandbox, container: str, many: int) -> list[Row]:
    """Rows about calls, files and commands."""
    rows: list[Row] = []
    with kernel() as raw_call:
        raw, warm = side_by_side(many, raw_call, partial(box.run_code, "1+1"))
    rows.append(("warm 1+1", "jupyter_client inside", raw, {VARIANT: warm}, "1.5"))
    with tempfile.TemporaryDirectory() as folder:
        there, back = Path(folder, "there"), Path(folder, "back")
        there.write_bytes(os.urandom(SIZE))
        raw, sent = side_by_side(
            many // 5,
            partial(docker, "cp", str(there), f"{container}:/tmp/f"),
            partial(box.files.upload, str(there), "/data/f"),
        )
        rows.append(("10 MB upload", "docker cp", raw, {VARIANT: sent}, "1"))
        raw, fetched = side_by_side(
            many // 5,
            partial(docker, "cp", f"{container}:/tmp/f", str(back)),
            partial(box.files.download, "/data/f", str(back)),
        )
        rows.append(("10 MB download", "docker cp", raw, {VARIANT: fetched}, "1"))
    raw, command = side_by_side(
        many // 5,
        partial(docker, "exec", container, "true"),
        partial(box.commands.run, ["true"]),
    )
    rows.append(("`true` as a command", "docker exec", raw, {VARIANT: command}, "1"))
    return rows


def rows(few: int, many: int) -> list[Row]:
    """All rows; none, and the reason printed, where no container can be had."""
    able = Sandbox.capabilities(VARIANT)["create"]
    if not able.supported:
        print(f"{VARIANT} is not measured: {able.reason}\n")
        return []
    made = starts(few)
    container = bare_container()
    try:
        with Sandbox.create(VARIANT, network_policy="none") as box:
            made += calls(box, container, many)
    finally:
        docker("rm", "-f", container)
    return made
