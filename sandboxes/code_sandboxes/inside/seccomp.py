"""A filter of system calls that this process and all of its children carry, for good.

The namespaces around a confined sandbox take away what it could reach; this takes away the
parts of the kernel that nobody needs for computing and that namespaces do not cover: sockets
that know no network namespace (vsock), tracing, key rings, io_uring, mounts, further
namespaces. Standard library only; Linux on x86_64 and aarch64.

It lists what is forbidden, not what is allowed, since any program may run here. Two things
keep that list from ageing: calls newer than `FIRST_UNKNOWN` do not exist, and every family
of sockets but four does not either.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
import sys

Step = tuple[int, int, int, int]  # BPF: operation, steps to skip if true, if false, operand

LOAD, EQUAL, AT_LEAST, ANY_BIT, RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
ALLOW, FAIL, KILL = 0x7FFF0000, 0x00050000, 0x80000000
NUMBER, ARCHITECTURE, ARGUMENTS = 0, 4, 16  # offsets in struct seccomp_data

MACHINES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}  # as AUDIT_ARCH_*
# name: number on x86_64, on aarch64 (-1: it has no such call)
FORBIDDEN = {
    # into other processes
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "process_madvise": (440, 440),
    "pidfd_getfd": (438, 438),
    "kcmp": (312, 272),
    "move_pages": (279, 239),
    "migrate_pages": (256, 238),
    # ways to run much of the kernel, and the source of many of its holes
    "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
    "modify_ldt": (154, -1),
    # key rings belong to a user, not to a namespace
    "add_key": (248, 217),
    "request_key": (249, 218),
    "keyctl": (250, 219),
    # mounts, roots, namespaces
    "mount": (165, 40),
    "umount2": (166, 39),
    "pivot_root": (155, 41),
    "chroot": (161, 51),
    "open_tree": (428, 428),
    "move_mount": (429, 429),
    "fsopen": (430, 430),
    "fsconfig": (431, 431),
    "fsmount": (432, 432),
    "fspick": (433, 433),
    "mount_setattr": (442, 442),
    "unshare": (272, 97),
    "setns": (308, 268),
    # a handle opens files past the mounts that hide them
    "open_by_handle_at": (304, 265),
    "fanotify_init": (300, 262),
    # the machine itself
    "syslog": (103, 116),
    "kexec_load": (246, 104),
    "kexec_file_load": (320, 294),
    "init_module": (175, 105),
    "finit_module": (313, 273),
    "delete_module": (176, 106),
    "reboot": (169, 142),
    "swapon": (167, 224),
    "swapoff": (168, 225),
    "acct": (163, 89),
    "quotactl": (179, 60),
    "quotactl_fd": (443, 443),
    "settimeofday": (164, 170),
    "clock_settime": (227, 112),
    "sethostname": (170, 161),
    "setdomainname": (171, 162),
    "vhangup": (153, 58),
    "lookup_dcookie": (212, 18),
    "nfsservctl": (180, 42),
    "iopl": (172, -1),
    "ioperm": (173, -1),
    "uselib": (134, -1),
    "sysfs": (139, -1),
    "ustat": (136, -1),
}
# these are looked into
CLONE, CLONE3 = (56, 220), (435, 435)
SOCKET, SOCKETPAIR = (41, 198), (53, 199)
IOCTL, PERSONALITY = (16, 29), (135, 92)
SECCOMP = (317, 277)

# The first call after those that were looked at (mseal was the last). Also ends x32, whose
# numbers have bit 30 set.
FIRST_UNKNOWN = 463
NAMESPACES = 0x7E020000  # CLONE_NEW*; CLONE_NEWTIME has no bit in clone()
UNIX, INET, INET6, NETLINK = 1, 2, 10, 16
TRANSPORTS = (0, 6, 17)  # default, TCP, UDP; no SCTP, DCCP, ICMP, raw
ROUTE = 0  # what getifaddrs() asks; no netfilter, no audit, no generic netlink
# feign keyboard input (TIOCSTI, TIOCLINUX), load a line discipline (TIOCSETD)
TERMINAL = (0x5412, 0x541C, 0x5423)
PERSONALITIES = (0, 0xFFFFFFFF)  # Linux, and the question which; not: no address randomisation

PR_GET_SECCOMP, PR_SET_NO_NEW_PRIVS = 21, 38
SET_FILTER, ALL_THREADS, FILTERED = 1, 1, 2


def program(machine: str) -> list[Step]:
    """The filter for `machine`, as steps of classic BPF.

    What needs no look at arguments comes first: the kernel then knows at once, without
    running the filter, the calls that are always allowed.
    """
    here = list(MACHINES).index(machine)
    # a 32-bit program would have other numbers for the same calls
    steps = [(LOAD, 0, 0, ARCHITECTURE), (EQUAL, 1, 0, MACHINES[machine]), (RETURN, 0, 0, KILL)]
    steps += [(LOAD, 0, 0, NUMBER), (AT_LEAST, 0, 1, FIRST_UNKNOWN), *_fail(errno.ENOSYS)]
    # its flags are in memory, where a filter cannot look; the C library then uses clone()
    steps += _when(CLONE3[here], _fail(errno.ENOSYS))
    for numbers in FORBIDDEN.values():
        if numbers[here] >= 0:
            steps += _when(numbers[here], _fail(errno.EPERM))
    steps += _when(
        CLONE[here],
        [(LOAD, 0, 0, ARGUMENTS), (ANY_BIT, 0, 1, NAMESPACES), *_fail(errno.EPERM), _OK],
    )
    steps += _when(SOCKET[here], _sockets())
    steps += _when(SOCKETPAIR[here], _switch(0, (UNIX,), [_OK], _fail(errno.EAFNOSUPPORT)))
    steps += _when(IOCTL[here], _switch(1, TERMINAL, _fail(errno.EPERM), [_OK]))
    steps += _when(PERSONALITY[here], _switch(0, PERSONALITIES, [_OK], _fail(errno.EPERM)))
    return [*steps, _OK]


_OK: Step = (RETURN, 0, 0, ALLOW)


def _fail(number: int) -> list[Step]:
    return [(RETURN, 0, 0, FAIL | number)]


def _when(call: int, then: list[Step]) -> list[Step]:
    """Run `then`, which must return, for one call; the accumulator holds its number."""
    return [(EQUAL, 0, len(then), call), *then]


def _switch(index: int, values: tuple[int, ...], then: list[Step], other: list[Step]) -> list[Step]:
    """`then` if an argument is one of `values`. Its low half only: so the kernel reads an int."""
    tests = [(EQUAL, len(values) - 1 - i + len(other), 0, value) for i, value in enumerate(values)]
    return [(LOAD, 0, 0, ARGUMENTS + 8 * index), *tests, *other, *then]


def _sockets() -> list[Step]:
    bad_protocol = _fail(errno.EPROTONOSUPPORT)
    netlink = _switch(
        0, (NETLINK,), _switch(2, (ROUTE,), [_OK], bad_protocol), _fail(errno.EAFNOSUPPORT)
    )
    internet = _switch(0, (INET, INET6), _switch(2, TRANSPORTS, [_OK], bad_protocol), netlink)
    return _switch(0, (UNIX,), [_OK], internet)


def apply() -> None:
    """Put every thread of this process under the filter, and all that it will start.

    Raises:
        OSError: this machine or kernel cannot do it; then nothing must run here.
    """
    machine = os.uname().machine
    if machine not in MACHINES or sys.maxsize < 2**32 or sys.byteorder != "little":
        raise OSError(errno.ENOSYS, f"no filter of system calls for {machine}")
    libc = ctypes.CDLL(None, use_errno=True)
    libc.syscall.restype = ctypes.c_long
    code = b"".join(struct.pack("=HBBI", *step) for step in program(machine))
    steps = ctypes.create_string_buffer(code, len(code))
    head = struct.pack("@HP", len(code) // 8, ctypes.addressof(steps))  # struct sock_fprog
    one, zero = ctypes.c_ulong(1), ctypes.c_ulong(0)
    if libc.prctl(PR_SET_NO_NEW_PRIVS, one, zero, zero, zero) != 0:
        raise OSError(ctypes.get_errno(), "no_new_privs cannot be set")
    number = SECCOMP[list(MACHINES).index(machine)]
    done: int = libc.syscall(
        ctypes.c_long(number),
        ctypes.c_ulong(SET_FILTER),
        ctypes.c_ulong(ALL_THREADS),
        ctypes.create_string_buffer(head, len(head)),
    )
    if done < 0:
        raise OSError(ctypes.get_errno(), "the filter of system calls cannot be set")
    # above zero: the thread that could not be brought under it
    if done > 0 or libc.prctl(PR_GET_SECCOMP, zero, zero, zero, zero) != FILTERED:
        raise OSError(errno.EINVAL, "the filter of system calls does not hold for every thread")
