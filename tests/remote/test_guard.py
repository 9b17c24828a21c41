"""What the supervisor on a server does for a kernel that is not its child."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

from code_sandboxes.inside.guard import Guard

WITH_PIPES = """
import os, time
for text in (b"out", b"err"):
    reading, writing = os.pipe()
    os.write(writing, text * 20_000)  # less than a pipe holds
    print(reading, flush=True)
time.sleep(60)
"""


class Recorder:
    """Takes what would go to the host."""

    def __init__(self) -> None:
        self.lanes: dict[int, bytes] = {}

    def send(self, lane: int, data: bytes) -> None:
        self.lanes[lane] = self.lanes.get(lane, b"") + data


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux opens another process's pipes")
def test_it_reads_what_a_dead_kernel_has_left() -> None:
    with subprocess.Popen([sys.executable, "-c", WITH_PIPES], stdout=subprocess.PIPE) as kernel:
        assert kernel.stdout is not None
        raw = [int(kernel.stdout.readline()) for _ in range(2)]
        guard = Guard(kernel.pid, "id", "default", raw, lambda job, *args: None)
        assert not guard.wait(200)
        guard.signal(signal.SIGKILL, whole=True)
        assert guard.wait(5000)
    with pytest.raises(ProcessLookupError):  # by now its number may be another's
        guard.signal(signal.SIGKILL, whole=True)
    left = Recorder()
    guard.pass_on_rest(left)  # type: ignore[arg-type]
    guard.close()
    assert left.lanes == {1: b"out" * 20_000, 2: b"err" * 20_000}
