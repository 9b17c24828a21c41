"""The raw ways: a plain child over a pipe, jupyter_client alone, plain files, subprocess."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

from jupyter_client.manager import start_new_kernel

ECHO = """
import sys
names = {}
for line in sys.stdin:
    exec(line, names)
    print("done", flush=True)
"""
TWENTY = "for i in range(200_000): print('x' * 99)"


@contextmanager
def plain_child() -> Iterator[Callable[[str], None]]:
    """A Python that executes lines: `call(code)` waits for its answer."""
    child = subprocess.Popen(
        [sys.executable, "-c", ECHO], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert child.stdin is not None
    assert child.stdout is not None
    sent, received = child.stdin, child.stdout

    def call(code: str) -> None:
        sent.write(code + "\n")
        sent.flush()
        received.readline()

    with child:
        yield call
        sent.close()


@contextmanager
def kernel() -> Iterator[Callable[..., dict[str, Any]]]:
    """A kernel by jupyter_client: `call(code, output_hook=...)` waits for its end."""
    manager, client = start_new_kernel(stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def call(code: str, **hooks: Any) -> dict[str, Any]:
        hooks.setdefault("output_hook", lambda message: None)
        reply: dict[str, Any] = client.execute_interactive(code, timeout=60, **hooks)
        return reply

    try:
        call("1")
        yield call
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)


def start_kernel() -> None:
    """From nothing to the first result."""
    with kernel():
        pass


def first_line() -> Callable[[], float]:
    """Seconds until the first line of a kernel's output is here; for a kernel that runs."""
    manager, client = start_new_kernel(stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    seen = threading.Event()
    at = 0.0

    def hook(message: dict[str, Any]) -> None:
        nonlocal at
        if message["msg_type"] == "stream" and not seen.is_set():
            at = time.perf_counter()
            seen.set()

    def measure() -> float:
        seen.clear()
        start = time.perf_counter()
        code = "import time\nprint('x', flush=True)\ntime.sleep(.05)"
        client.execute_interactive(code, output_hook=hook, timeout=60)
        return at - start

    measure.close = lambda: (client.stop_channels(), manager.shutdown_kernel(now=True))  # type: ignore[attr-defined]
    return measure


def write_and_read(data: bytes) -> None:
    """A file, there and back."""
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "f")
        with open(path, "wb") as file:
            file.write(data)
        with open(path, "rb") as file:
            file.read()


def list_thousand(folder: str) -> None:
    """Names and sizes."""
    with os.scandir(folder) as entries:
        assert len([(entry.name, entry.stat().st_size) for entry in entries]) == 1000


def twenty_megabytes() -> None:
    """Captured output of a fresh Python."""
    ran = subprocess.run([sys.executable, "-c", TWENTY], capture_output=True, check=True)
    assert len(ran.stdout) == 20_000_000


def twenty_kernels() -> None:
    """Started at once, one result each, ended."""
    with ThreadPoolExecutor(20) as pool:
        list(pool.map(lambda _: start_kernel(), range(20)))
