"""Who reads slowly loses nothing, and costs no memory: neither here nor in a small container."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from code_sandboxes import Display, Output, Sandbox
from code_sandboxes.testing.promise import bounded_memory
from containers.helpers import VARIANT

MEMORY = 320  # MB
MIB = 1 << 20
# more than is free of the memory, or than any queue on the way holds
CODES = {
    "displays": ("for _ in range(170): display('x' * 2_000_000)", 340_000_000),
    "displays-of-threads": (
        "import threading\n"
        "def show():\n"
        "    for _ in range(45): display('x' * 1_000_000)\n"
        "threads = [threading.Thread(target=show) for _ in range(4)]\n"
        "for thread in threads: thread.start()\n"
        "for thread in threads: thread.join()",
        180_000_000,
    ),
    "prints": ("for _ in range(300): print('x' * 100_000)", 30_000_000),
    "flushed-lines": ("for _ in range(2000): print('x' * 300, flush=True)", 600_000),
    # six characters of JSON for each
    "zeros-of-a-child": (
        "import subprocess\n_ = subprocess.run(['head', '-c', '6000000', '/dev/zero'])",
        6_000_000,
    ),
}
USED = "cat /sys/fs/cgroup/memory.current /sys/fs/cgroup/memory/memory.usage_in_bytes 2>/dev/null"


@pytest.fixture(scope="module")
def small() -> Iterator[Sandbox]:
    with Sandbox.create(VARIANT, network_policy="none", memory=MEMORY, timeout=60) as made:
        yield made


def used(sandbox: Sandbox) -> int:
    """Bytes of its memory that are in use."""
    return int(sandbox.commands.run(USED).stdout)


@pytest.mark.parametrize(("code", "size"), CODES.values(), ids=CODES)
def test_a_slow_reader(small: Sandbox, code: str, size: int) -> None:
    small.run_code("kept = 'kept'")
    before, most, count, slept = used(small), 0, 0, False
    with bounded_memory(200 * MIB):
        for event in small.stream_code(code):
            if isinstance(event, Output | Display):
                if not slept:
                    slept = True
                    time.sleep(1)
                    most = used(small)
                text = event.text if isinstance(event, Output) else event.data["text/plain"]
                count += text.count("x") + text.count("\0")
    assert count == size
    assert most - before < 170 * MIB
    assert small.run_code("kept").text == "'kept'"
