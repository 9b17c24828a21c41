"""What a container may take, and what happens to what asks for more."""

from __future__ import annotations

import pytest

from code_sandboxes import ConfigurationError, Sandbox
from code_sandboxes.config import SandboxConfig
from code_sandboxes.variants.container import ROOTS, file_systems, sizes
from containers.helpers import VARIANT, by_code


def test_limits() -> None:
    with Sandbox.create(VARIANT, network_policy="none", memory=512, disk=100, cpu=0.5) as sandbox:
        code = """
import os, resource
def first(*paths):
    for path in paths:
        if os.path.exists(path):
            return open(path).read().split()
found = {
    "data": resource.getrlimit(resource.RLIMIT_DATA), "core": resource.getrlimit(4),
    "files": resource.getrlimit(resource.RLIMIT_NOFILE),
    "memory": first("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"),
    "swap": first("/sys/fs/cgroup/memory.swap.max",
                  "/sys/fs/cgroup/memory/memory.memsw.limit_in_bytes"),
    "pids": first("/sys/fs/cgroup/pids.max", "/sys/fs/cgroup/pids/pids.max"),
    "cpu": first("/sys/fs/cgroup/cpu.max", "/sys/fs/cgroup/cpu/cpu.cfs_quota_us"),
    "disk": sum(os.statvfs(root).f_blocks * os.statvfs(root).f_frsize for root in ROOTS),
}
"""
        found = by_code(sandbox, f"ROOTS = {list(ROOTS)!r}\n{code}")
    memory = 512 << 20
    assert found["data"] == [int(memory * 0.82)] * 2
    assert found["core"] == [0, 0]
    assert found["files"] == [4096, 4096]
    assert found["memory"] == [str(memory)]
    assert found["swap"] in (["0"], [str(memory)], None)  # of v2: beside; of v1: both together
    assert found["pids"] == ["512"]
    assert found["cpu"][0] == "50000"
    assert 99 << 20 < found["disk"] <= 100 << 20


def test_a_full_disk_is_an_error_and_no_more(alone: Sandbox) -> None:
    ran = alone.run_code("open('/remote/full', 'wb').write(bytes(400 << 20))")
    assert ran.error is not None
    assert ran.error.name == "OSError"
    assert "No space" in ran.error.value
    alone.files.remove("/remote/full")
    with pytest.raises(OSError, match="No space"):
        alone.files.write("/remote/full", bytes(400 << 20))
    assert alone.files.list("/remote") == []
    assert alone.run_code("6 * 7").text == "42"


def test_too_much_memory_is_a_memory_error(alone: Sandbox) -> None:
    alone.run_code("kept = 1")
    ran = alone.run_code("held = bytearray(3 << 30)")
    assert ran.error is not None
    assert ran.error.name == "MemoryError"
    assert alone.run_code("kept").text == "1"


def test_a_process_without_memory_is_told_of(alone: Sandbox) -> None:
    with Sandbox.create(VARIANT, network_policy="none", memory=300) as sandbox:
        # several processes, each within its own bound; the kernel ends the largest
        code = """
import os, time
if os.fork() == 0:
    other = bytearray(b'x') * (60 << 20)
    time.sleep(20)
    os._exit(0)
held = [bytearray(b'x') * (1 << 20) for _ in range(230)]
time.sleep(10)
"""
        ran = sandbox.run_code(code)
        assert ran.error is not None
        assert ran.error.name in ("OutOfMemory", "MemoryError"), ran
        assert sandbox.run_code("6 * 7").text == "42"


def test_too_many_processes_are_refused(alone: Sandbox) -> None:
    with Sandbox.create(VARIANT, network_policy="none") as sandbox:
        code = """
import subprocess
started = []
try:
    for _ in range(1000):
        started.append(subprocess.Popen(["sleep", "60"]))
    found = "no bound"
except OSError as error:
    found = type(error).__name__
for process in started:
    process.kill()
"""
        assert by_code(sandbox, code) == "BlockingIOError"


def test_disk_is_a_part_of_memory() -> None:
    for options in ({}, {"memory_limit": 1 << 30}, {"disk_limit": 3 << 30}):
        memory, disk = sizes(SandboxConfig(**options))  # type: ignore[arg-type]
        assert disk < memory
        given = [part.partition("size=")[2] for part in file_systems(disk).values()]
        assert sum(int(size.partition(",")[0]) for size in given) <= disk
    for options in ({"memory_limit": 1 << 20}, {"memory_limit": 1 << 30, "disk_limit": 1 << 30}):
        with pytest.raises(ConfigurationError):
            sizes(SandboxConfig(**options))  # type: ignore[arg-type]
