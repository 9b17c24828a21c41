"""The filter of system calls: read as the kernel would read it, and felt in a child."""

from __future__ import annotations

import errno
import json
import os
import re
from pathlib import Path

import pytest

from code_sandboxes.inside import seccomp
from code_sandboxes.inside.seccomp import ALLOW, FAIL, KILL, MACHINES, Step, program
from confine.running import FILTERED, python

MACHINE = os.uname().machine
HEADERS = {
    "x86_64": Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h"),
    "aarch64": Path("/usr/include/asm-generic/unistd.h"),
}
NAMES = seccomp.FORBIDDEN | {
    "clone": seccomp.CLONE,
    "clone3": seccomp.CLONE3,
    "socket": seccomp.SOCKET,
    "socketpair": seccomp.SOCKETPAIR,
    "ioctl": seccomp.IOCTL,
    "personality": seccomp.PERSONALITY,
    "seccomp": seccomp.SECCOMP,
}
needs_machine = pytest.mark.skipif(MACHINE not in MACHINES, reason="no filter for this machine")


def decide(steps: list[Step], audit: int, call: int, *arguments: int) -> int:
    """What the kernel would answer to a call."""
    data = {0: call & 0xFFFFFFFF, 4: audit}
    data |= {16 + 8 * i: value & 0xFFFFFFFF for i, value in enumerate(arguments)}
    data |= {20 + 8 * i: value >> 32 & 0xFFFFFFFF for i, value in enumerate(arguments)}
    accumulator = at = 0
    while True:
        code, yes, no, operand = steps[at]
        at += 1
        if code == seccomp.RETURN:
            return operand
        if code == seccomp.LOAD:
            accumulator = data.get(operand, 0)
            continue
        true = {
            seccomp.EQUAL: accumulator == operand,
            seccomp.AT_LEAST: accumulator >= operand,
            seccomp.ANY_BIT: bool(accumulator & operand),
        }[code]
        at += yes if true else no


@pytest.fixture(params=list(MACHINES))
def machine(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def answer(machine: str, name: str, *arguments: int) -> int:
    number = NAMES[name][list(MACHINES).index(machine)]
    return decide(program(machine), MACHINES[machine], number, *arguments)


def test_numbers_are_those_of_the_kernel(machine: str) -> None:
    header = HEADERS[machine]
    if not header.exists():
        pytest.skip("no headers of the kernel")
    found = re.findall(r"#define __NR(?:3264)?_(\w+)\s+(\d+)", header.read_text())
    numbers = {name: int(number) for name, number in found}
    ours = {name: pair[list(MACHINES).index(machine)] for name, pair in NAMES.items()}
    assert {name: numbers.get(name, -1) for name in ours} == ours
    assert max(numbers.values()) < seccomp.FIRST_UNKNOWN or machine == "aarch64"


def test_every_path_ends(machine: str) -> None:
    steps = program(machine)
    assert steps[-1][0] == seccomp.RETURN
    assert len(steps) < 4096  # the kernel takes no more
    for at, (code, yes, no, _) in enumerate(steps):
        if code not in (seccomp.LOAD, seccomp.RETURN):
            assert max(yes, no) < 256
            assert at + 1 + max(yes, no) < len(steps)


def test_every_number(machine: str) -> None:
    here = list(MACHINES).index(machine)
    forbidden = {pair[here] for pair in seccomp.FORBIDDEN.values()}
    looked_into = {
        NAMES[n][here] for n in ("clone", "socket", "socketpair", "ioctl", "personality")
    }
    steps = program(machine)
    for call in (*range(1200), *range(0x40000000, 0x40000000 + 600), 0xFFFFFFFF):
        if call in looked_into:
            continue
        expected = ALLOW
        if call in forbidden:
            expected = FAIL | errno.EPERM
        if call >= seccomp.FIRST_UNKNOWN or call == seccomp.CLONE3[here]:
            expected = FAIL | errno.ENOSYS
        assert decide(steps, MACHINES[machine], call) == expected, call


def test_other_architectures(machine: str) -> None:
    for audit in (0x40000003, 0x40000028, 0, *MACHINES.values()):  # i386, arm
        if audit != MACHINES[machine]:
            assert decide(program(machine), audit, 0) == KILL


def test_clone(machine: str) -> None:
    assert answer(machine, "clone", 0x3D0F00) == ALLOW  # a thread
    assert answer(machine, "clone", 0x1200011) == ALLOW  # a process
    for bit in (17, 25, 26, 27, 28, 29, 30):
        assert answer(machine, "clone", 1 << bit | 17) == FAIL | errno.EPERM


@pytest.mark.parametrize("high", [0, 1 << 32])
def test_sockets(machine: str, high: int) -> None:
    # the kernel takes an int: what stands above it changes nothing
    allowed = {1: range(30), 2: (0, 6, 17), 10: (0, 6, 17), 16: (0,)}
    for family in range(64):
        for protocol in range(30):
            said = answer(machine, "socket", family | high, 1, protocol)
            if protocol in allowed.get(family, ()):
                assert said == ALLOW
            elif family in allowed:
                assert said == FAIL | errno.EPROTONOSUPPORT
            else:
                assert said == FAIL | errno.EAFNOSUPPORT
        pair = ALLOW if family == 1 else FAIL | errno.EAFNOSUPPORT
        assert answer(machine, "socketpair", family | high, 1, 0) == pair


@pytest.mark.parametrize("high", [0, 1 << 32])
def test_terminals(machine: str, high: int) -> None:
    for request in range(0x5400, 0x5480):
        expected = FAIL | errno.EPERM if request in (0x5412, 0x541C, 0x5423) else ALLOW
        assert answer(machine, "ioctl", 1, request | high) == expected


def test_personality(machine: str) -> None:
    assert answer(machine, "personality", 0xFFFFFFFF) == ALLOW
    assert answer(machine, "personality", 0) == ALLOW
    assert answer(machine, "personality", 0x40000) == FAIL | errno.EPERM


# felt ------------------------------------------------------------------------------------
CALL = """
import ctypes, errno, json, os, socket, sys
libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long
def call(number, *arguments):
    arguments = [ctypes.c_ulong(a % 2**64) for a in arguments]
    result = libc.syscall(ctypes.c_long(number), *arguments)
    return errno.errorcode[ctypes.get_errno()] if result < 0 else result
"""


@needs_machine
def test_each_call_is_refused() -> None:
    here = list(MACHINES).index(MACHINE)
    numbers = {n: p[here] for n, p in seccomp.FORBIDDEN.items() if p[here] >= 0}
    # arguments that no call can use, should one get through
    code = f"""{FILTERED}{CALL}
seccomp.apply()
print(json.dumps({{n: call(c, *[-1] * 6) for n, c in {numbers}.items()}}))
"""
    assert json.loads(python(code)) == dict.fromkeys(numbers, "EPERM")


@needs_machine
def test_calls_get_through_without_the_filter() -> None:
    here = list(MACHINES).index(MACHINE)
    harmless = ("ptrace", "process_vm_readv", "pidfd_getfd", "kcmp", "keyctl", "unshare", "add_key")
    numbers = {n: NAMES[n][here] for n in harmless}
    code = f"{CALL}\nprint(json.dumps({{n: call(c, *[-1] * 6) for n, c in {numbers}.items()}}))"
    assert "EPERM" not in json.loads(python(code)).values()


@needs_machine
def test_what_is_looked_into() -> None:
    here = list(MACHINES).index(MACHINE)
    clone, clone3, socket, pair, ioctl, personality = (
        NAMES[n][here] for n in ("clone", "clone3", "socket", "socketpair", "ioctl", "personality")
    )
    code = f"""{FILTERED}{CALL}
seccomp.apply()
import pty
main, sub = pty.openpty()
print(json.dumps([
    call({clone}, 0x10000011, 0, 0, 0, 0), call({clone3}, 0, 0),
    call({socket}, 40, 1, 0), call({socket}, 17, 3, 0), call({socket}, 2**32 + 40, 1, 0),
    call({socket}, 2, 3, 1), call({socket}, 16, 3, 12), call({pair}, 30, 1, 0, 0),
    call({ioctl}, sub, 0x5412, id(b"x")), call({ioctl}, sub, 2**32 + 0x5412, id(b"x")),
    call({personality}, 0x40000), call({personality}, 0xFFFFFFFF), call(9999), call(-1),
    call(0x40000000 + 39),
]))
"""
    assert json.loads(python(code)) == [
        *("EPERM", "ENOSYS"),
        *("EAFNOSUPPORT", "EAFNOSUPPORT", "EAFNOSUPPORT"),
        *("EPROTONOSUPPORT", "EPROTONOSUPPORT", "EAFNOSUPPORT"),
        *("EPERM", "EPERM"),
        *("EPERM", 0, "ENOSYS", "ENOSYS"),
        "ENOSYS",
    ]


@pytest.mark.skipif(MACHINE != "x86_64", reason="32-bit calls of x86")
def test_a_32_bit_call_is_death() -> None:
    code = f"""{FILTERED}
import ctypes, mmap, os
page = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
page.write(b"\\xb8\\x14\\x00\\x00\\x00\\xcd\\x80\\xc3")  # getpid as the 20th of int 0x80
ask = ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(page)))
def status():
    pid = os.fork()
    if pid == 0:
        os._exit(0 if ask() == os.getpid() else 1)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
before = status()
seccomp.apply()
print(before, status())
"""
    before, after = python(code).split()
    if before != "0":
        pytest.skip("this kernel has no 32-bit calls")
    assert after == "-31"  # SIGSYS


@needs_machine
def test_children_and_earlier_threads_are_under_it() -> None:
    code = f"""{FILTERED}
import socket, subprocess, threading
go, said = threading.Event(), []
def late():
    go.wait()
    try:
        socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
    except OSError as error:
        said.append(error.errno)
thread = threading.Thread(target=late)
thread.start()
seccomp.apply()
go.set()
thread.join()
code = "import socket; socket.socket(socket.AF_VSOCK)"
done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
print(said[0], done.stderr.splitlines()[-1])
"""
    said = python(code)
    assert said.startswith(f"{errno.EAFNOSUPPORT} OSError: [Errno {errno.EAFNOSUPPORT}]")


@needs_machine
def test_it_can_be_applied_again() -> None:
    assert python(f"{FILTERED}\nseccomp.apply()\nseccomp.apply()\nprint('twice')") == "twice\n"


@needs_machine
def test_a_thread_that_cannot_be_brought_under_it() -> None:
    # the kernel answers with the number of the thread then, which is not below zero
    code = f"""{FILTERED}
import ctypes, struct, threading
number = seccomp.SECCOMP[{list(MACHINES).index(MACHINE)}]
ready, end = threading.Event(), threading.Event()
def own_filter():
    libc = ctypes.CDLL(None)
    libc.prctl(38, *map(ctypes.c_ulong, (1, 0, 0, 0)))
    steps = ctypes.create_string_buffer(struct.pack("=HBBI", 6, 0, 0, seccomp.ALLOW), 8)
    head = ctypes.create_string_buffer(struct.pack("@HP", 1, ctypes.addressof(steps)), 16)
    assert libc.syscall(number, 1, 0, head) == 0
    ready.set()
    end.wait()
thread = threading.Thread(target=own_filter)
thread.start()
ready.wait()
try:
    seccomp.apply()
except OSError as error:
    print(error)
end.set()
"""
    assert "does not hold for every thread" in python(code)


def test_an_unknown_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    class Uname:
        machine = "riscv64"

    monkeypatch.setattr(os, "uname", Uname)
    with pytest.raises(OSError, match="no filter of system calls for riscv64"):
        seccomp.apply()


@needs_machine
def test_honest_code_feels_nothing() -> None:
    code = f"""{FILTERED}
seccomp.apply()
import asyncio, concurrent.futures, multiprocessing, os, pty, socket, sqlite3, subprocess
import tempfile, threading
from multiprocessing import shared_memory

def work():
    assert list(concurrent.futures.ThreadPoolExecutor(2).map(abs, [-1, 2])) == [1, 2]
    with multiprocessing.get_context("fork").Pool(2) as pool:
        assert pool.map(abs, [-1, 2]) == [1, 2]
    assert subprocess.check_output(["/bin/sh", "-c", "echo hi | cat"]) == b"hi\\n"
    memory = shared_memory.SharedMemory(create=True, size=16)
    memory.close()
    memory.unlink()
    os.memfd_create("x")
    os.pidfd_open(os.getpid())
    main, sub = pty.openpty()
    assert os.get_terminal_size(sub) is not None
    sqlite3.connect(tempfile.mktemp()).execute("create table t (x)")
    assert socket.if_nameindex()
    for family, host in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
        with socket.create_server((host, 0), family=family) as server:
            with socket.create_connection(server.getsockname()[:2]) as client:
                client.sendall(b"x")
                assert server.accept()[0].recv(1) == b"x"
    socket.socketpair()

async def talk():
    server = await asyncio.start_server(lambda r, w: w.close(), "127.0.0.1", 0)
    process = await asyncio.create_subprocess_exec("/bin/true")
    assert await process.wait() == 0
    server.close()

work()
asyncio.run(talk())
print("done")
"""
    assert python(code) == "done\n"
