"""What a container is kept from, each asked from inside."""

from __future__ import annotations

import json
from typing import Any

import pytest

from code_sandboxes import Sandbox
from code_sandboxes.config import SandboxConfig
from code_sandboxes.variants.container import ROOTS, arguments
from code_sandboxes.variants.engine import IMAGE
from containers.helpers import by_code, by_command, unique

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


def test_a_probe_finds_what_an_ordinary_container_can(engine: Any) -> None:
    """Without this one, the two tests above could pass for probes that do not work."""
    for probe, least in ((CALLS, 6), (PATHS, 12)):
        code = f"import json\n{probe}\nprint(json.dumps(found))"
        rights = engine.create_host_config(
            network_mode="none", security_opt=["seccomp=unconfined"], cap_add=["SYS_ADMIN"]
        )
        made = engine.create_container(
            IMAGE, ["python", "-c", code], user="0", host_config=rights, name=f"cs-{unique()}"
        )["Id"]
        try:
            engine.start(made)
            assert engine.wait(made)["StatusCode"] == 0
            found = json.loads(engine.logs(made, stderr=False))
        finally:
            engine.remove_container(made, force=True)
        done = [name for name, outcome in found.items() if outcome == "done"]
        assert len(done) >= least, found


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
