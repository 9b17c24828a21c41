"""What a container is kept from, each asked from inside."""

from __future__ import annotations

from typing import Any

import pytest

from code_sandboxes import ConfigurationError, Sandbox
from code_sandboxes.config import SandboxConfig
from code_sandboxes.variants.container import ROOTS, arguments, file_systems, sizes
from containers.helpers import VARIANT, by_code, by_command

STATUS = """
with open("/proc/self/status") as file:
    found = dict(line.strip().split(":\\t", 1) for line in file if ":\\t" in line)
"""
CALLS = """
import ctypes, errno, os
libc = ctypes.CDLL(None, use_errno=True)
found = {}
def call(name, function, *arguments):
    ctypes.set_errno(0)
    result = function(*arguments)
    found[name] = "done" if result >= 0 else errno.errorcode[ctypes.get_errno()]
for name, flag in {"user": 1 << 28, "mount": 1 << 17, "net": 1 << 30, "pid": 1 << 29}.items():
    call("unshare " + name, libc.unshare, flag)
call("mount", libc.mount, b"none", b"/tmp", b"tmpfs", 0, None)
call("remount", libc.mount, b"none", b"/", None, 32, None)
call("chroot", libc.chroot, b"/tmp")
call("ptrace 1", libc.ptrace, 16, 1, 0, 0)
call("setuid", libc.setuid, 0)
call("reboot", libc.reboot, 0)
call("io_uring", libc.syscall, 425, 1, ctypes.create_string_buffer(256))
call("keyctl", libc.syscall, 250, 0, -3)
call("bpf", libc.syscall, 321, 0, None, 0)
call("perf", libc.syscall, 298, None, 0, -1, -1, 0)
call("userfaultfd", libc.syscall, 323, 0)
call("sethostname", libc.sethostname, b"x", 1)
"""
PATHS = """
import os
found = {}
def attempt(name, call):
    try:
        call()
        found[name] = "done"
    except OSError as error:
        found[name] = type(error).__name__
for path in ("/etc/passwd", "/usr/bin/env", "/proc/sys/kernel/core_pattern", "/proc/sysrq-trigger",
             "/proc/sys/net/ipv4/ip_forward", "/proc/1/oom_score_adj", "/sys/kernel/uevent_helper"):
    attempt("write " + path, lambda: os.close(os.open(path, os.O_WRONLY)))
for path in ("/proc/1/environ", "/proc/1/mem", "/proc/1/fd", "/proc/1/maps", "/dev/mem",
             "/dev/kmsg", "/dev/kvm", "/dev/fuse", "/dev/net/tun", "/var/run/docker.sock",
             "/run/docker.sock", "/proc/kcore", "/root", "/etc/shadow"):
    attempt("read " + path, lambda: os.listdir(path) if os.path.isdir(path) else
            os.close(os.open(path, os.O_RDONLY)))
for path in ("/made", "/usr/made", "/etc/made", "/home/made", "/var/made", "/opt/made"):
    attempt("make " + path, lambda: os.close(os.open(path, os.O_CREAT | os.O_WRONLY)))
attempt("device", lambda: os.mknod("/tmp/device", 0o60600, os.makedev(254, 0)))
attempt("nice", lambda: os.nice(-5))
attempt("real time", lambda: os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(50)))
"""
BOTH = pytest.mark.parametrize("run", [by_code, by_command])


@BOTH
def test_no_capability_and_no_way_to_one(alone: Sandbox, run: Any) -> None:
    status = run(alone, STATUS)
    for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
        assert int(status[name], 16) == 0, name
    assert status["NoNewPrivs"] == "1"
    assert status["Seccomp"] == "2"
    # the engine's filter and ours; kernels before 5.9 do not count them
    assert int(status.get("Seccomp_filters", 2)) >= 2
    assert status["Uid"].split() == ["1000"] * 4
    assert status["Gid"].split() == ["1000"] * 4


@BOTH
def test_system_calls(alone: Sandbox, run: Any) -> None:
    found = run(alone, CALLS)
    assert len(found) == 16
    assert not [name for name, outcome in found.items() if outcome == "done"]


@BOTH
def test_files_of_the_machine(alone: Sandbox, run: Any) -> None:
    found = run(alone, PATHS)
    assert len(found) > 25
    assert not [name for name, outcome in found.items() if outcome == "done"]


def test_no_program_has_other_rights(alone: Sandbox) -> None:
    ran = alone.commands.run("find / -xdev -type f -perm /6000 2>/dev/null")
    assert ran.stdout == ""
    assert not alone.commands.run("command -v sudo").success


def test_pid_1_cannot_be_ended_or_stopped(alone: Sandbox) -> None:
    code = """
import os, signal
for number in (signal.SIGKILL, signal.SIGSTOP, signal.SIGTERM + 0):
    if number != signal.SIGTERM:
        os.kill(1, number)
found = os.getppid() != 1 or True
"""
    assert by_code(alone, code) is True
    assert alone.run_code("6 * 7").text == "42"


def test_namespaces_are_its_own(alone: Sandbox) -> None:
    code = """
import os
found = {"pids": max(int(p) for p in os.listdir("/proc") if p.isdigit()),
         "cgroup": open("/proc/self/cgroup").read(), "name": os.uname().nodename,
         "mounts": open("/proc/self/mountinfo").read()}
"""
    found = by_command(alone, code)
    assert found["pids"] < 1000
    assert "docker" not in found["cgroup"]
    assert found["name"] == "sandbox"
    assert not [line for line in found["mounts"].splitlines() if "docker.sock" in line]


@pytest.mark.parametrize("root", ROOTS)
def test_what_can_be_written_to(alone: Sandbox, root: str) -> None:
    alone.files.write(f"{root}/there", "x")
    assert alone.commands.run(f"cat {root}/there && rm {root}/there").stdout == "x"
    # compiled packages are mapped executable, and scripts are run
    alone.files.write(f"{root}/run", "#!/bin/sh\necho ran")
    ran = alone.commands.run(f"chmod +x {root}/run && {root}/run && rm {root}/run")
    assert ran.stdout == "ran\n"


@pytest.mark.parametrize("path", ["/file", "/etc/file", "/usr/lib/deeper/file", "/new/file"])
def test_elsewhere_is_a_permission_error_that_says_where(alone: Sandbox, path: str) -> None:
    for call in (lambda: alone.files.write(path, "x"), lambda: alone.files.mkdir(path)):
        with pytest.raises(PermissionError) as caught:
            call()
        for root in ROOTS:
            assert root in str(caught.value)


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


def test_no_argument_opens_the_host() -> None:
    """Whatever is asked for, these are never given."""
    for options in ({}, {"writable_root": True}, {"network_policy": "none"}, {"runtime": "runsc"}):
        config = SandboxConfig(**options)
        made = arguments(config, "sb-x", ["python"], {"Id": "x", "Config": {}}, None)
        host = made["HostConfig"]
        for name in ("Privileged", "Binds", "Mounts", "Devices", "PortBindings", "VolumesFrom"):
            assert not host.get(name)
        for name in ("PidMode", "UTSMode", "UsernsMode", "CgroupParent"):
            assert not host.get(name)
        assert host["CapDrop"] == ["ALL"]
        assert set(host["CapAdd"]) <= {
            *("CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "SETGID", "SETUID")
        }
        assert host["SecurityOpt"] == ["no-new-privileges:true"]
        assert host["NetworkMode"] in ("none", "code-sandboxes")
        assert host["LogConfig"]["Type"] == "none"


def test_disk_is_a_part_of_memory() -> None:
    for options in ({}, {"memory_limit": 1 << 30}, {"disk_limit": 3 << 30}):
        memory, disk = sizes(SandboxConfig(**options))  # type: ignore[arg-type]
        assert disk < memory
        given = [part.partition("size=")[2] for part in file_systems(disk).values()]
        assert sum(int(size.partition(",")[0]) for size in given) <= disk
    for options in ({"memory_limit": 1 << 20}, {"memory_limit": 1 << 30, "disk_limit": 1 << 30}):
        with pytest.raises(ConfigurationError):
            sizes(SandboxConfig(**options))  # type: ignore[arg-type]
