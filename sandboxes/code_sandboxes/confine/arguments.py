"""The command line of bubblewrap: what a sandbox sees of the host, and as whom it runs."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from ..errors import UnsupportedError

# The user and group inside. No system hands this number out: it is between systemd's dynamic
# users and `nobody`, whom other services may run as.
IDENTITY = 65520
SCRATCH = 1 << 30  # bytes that /tmp, and /dev/shm, may take of the host's memory

ETC = Path(__file__).parent / "etc"
PROGRAMS = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")
# what programs need to run at all: no accounts, keys, addresses or names of the host
SETTINGS = (
    "/etc/alternatives",
    "/etc/ca-certificates/extracted",
    "/etc/crypto-policies",
    "/etc/fonts",
    "/etc/ld.so.cache",
    "/etc/localtime",
    "/etc/mime.types",
    "/etc/os-release",
    "/etc/pki/ca-trust/extracted",
    "/etc/pki/tls/certs",
    "/etc/pki/tls/openssl.cnf",
    "/etc/protocols",
    "/etc/services",
    "/etc/ssl/certs",
    "/etc/ssl/openssl.cnf",
    "/etc/timezone",
    # numeric libraries count cores and memory nodes there
    "/sys/devices/system/cpu",
    "/sys/devices/system/node",
)
# in a fresh /proc, these are still the host's
MASKED = ("kcore", "keys", "latency_stats", "sched_debug", "timer_list")

NAMESPACES = ("--unshare-net", "--unshare-pid", "--unshare-ipc", "--unshare-uts")


def arguments(
    bwrap: str,
    command: Sequence[str],
    *,
    writable: Sequence[str] = (),
    readable: Sequence[str] = (),
    env: Mapping[str, str] | None,
) -> list[str]:
    """The command line that runs `command` confined; see `bubblewrap.wrap`."""
    argv = [bwrap, *NAMESPACES, "--unshare-cgroup-try", "--hostname", "sandbox", "--as-pid-1"]
    argv += ["--cap-drop", "ALL"]
    if as_root():
        # A user namespace of root's would map root to root, whom the kernel lets write
        # /proc/sys even without any capability: so none, but another user (below).
        for name in ("CAP_SETUID", "CAP_SETGID", "CAP_SETPCAP"):
            argv += ["--cap-add", name]
        command = [*_become(), *command]
    else:
        argv += ["--unshare-user", "--disable-userns"]
        argv += ["--uid", str(IDENTITY), "--gid", str(IDENTITY)]
    if env is not None:
        argv += ["--clearenv"]
        argv += [word for item in env.items() for word in ("--setenv", *item)]
    argv += _system()
    shown = list(PROGRAMS)
    for path, option in sorted(_mounts(writable, readable).items()):
        argv += _parents(path, shown)
        argv += [option, path] if option == "--tmpfs" else [option, path, path]
        shown.append(path)
    for mount in ("/proc", "/dev", "/"):  # not what is mounted below them
        argv += ["--remount-ro", mount]
    # not to a writable directory: as root, bubblewrap itself may no longer enter it
    return [*argv, "--chdir", "/", "--", *command]


def as_root() -> bool:
    """Whether the sandbox must become somebody else to be nobody on the host."""
    return os.geteuid() == 0


def _become() -> list[str]:
    """A prefix that makes root the user inside, with nothing left of its powers."""
    found = shutil.which("setpriv")
    if found is None:
        raise UnsupportedError(
            "to confine a sandbox, root needs the program setpriv: install util-linux, "
            "or run as another user"
        )
    identity = str(IDENTITY)
    return [
        *(found, "--reuid", identity, "--regid", identity, "--clear-groups"),
        *("--inh-caps=-all", "--bounding-set=-all", "--no-new-privs", "--"),
    ]


def _system() -> list[str]:
    """A root with programs and libraries, and nothing in it that is the host's alone."""
    argv = []
    for path in PROGRAMS:
        if os.path.islink(path):
            argv += ["--symlink", os.readlink(path), path]
        elif os.path.exists(path):
            argv += ["--ro-bind", path, path]
    for path in filter(os.path.exists, SETTINGS):
        argv += [*_parents(path, PROGRAMS), "--ro-bind", path, path]
    for name in ("group", "hosts", "nsswitch.conf", "passwd"):
        argv += ["--ro-bind", str(ETC / name), f"/etc/{name}"]
    argv += ["--proc", "/proc", "--dev", "/dev"]
    for name in MASKED:
        if os.path.exists(f"/proc/{name}"):
            argv += ["--ro-bind", "/dev/null", f"/proc/{name}"]
    for path in ("/tmp", "/dev/shm"):
        argv += ["--perms", "1777", "--size", str(SCRATCH), "--tmpfs", path]
    return argv


def _parents(path: str, shown: Sequence[str]) -> list[str]:
    """Make the directories above a mount; by itself, bubblewrap lets only their owner in."""
    above = [str(parent) for parent in reversed(Path(path).parents)][1:]
    return [word for parent in above if not within(parent, shown) for word in ("--dir", parent)]


def _mounts(writable: Sequence[str], readable: Sequence[str]) -> dict[str, str]:
    """Path: option. Sorted, what lies in another comes after it."""
    mounts = dict.fromkeys(interpreter(), "--ro-bind")
    for path in map(os.path.abspath, readable):
        # what is there already may be a link to what is not: nothing can be mounted on a link
        there = within(path, (*PROGRAMS, *SETTINGS))
        mounts[os.path.realpath(path) if there else path] = "--ro-bind"
    mounts |= dict.fromkeys(map(os.path.abspath, writable), "--bind")
    home = os.path.expanduser("~")
    if within(home, PROGRAMS) and os.path.isdir(home):
        mounts.setdefault(home, "--tmpfs")
    return mounts


def interpreter() -> list[str]:
    """Where this Python lives, apart from the system's own directories.

    Raises:
        UnsupportedError: showing it would show the user's home.
    """
    prefixes = {sys.prefix, sys.exec_prefix, sys.base_prefix, sys.base_exec_prefix}
    prefixes |= {os.path.realpath(prefix) for prefix in prefixes}
    found = sorted(path for path in prefixes if not within(path, PROGRAMS))
    for path in found:
        if within(os.path.expanduser("~"), [path]):
            raise UnsupportedError(
                f"this Python is installed in {path}, which holds the whole home directory: "
                "to confine a sandbox, use a Python (or a venv) that has a directory of its own"
            )
    # a venv's python is a link, by way of links that may lie anywhere
    link = os.path.abspath(sys.executable)
    while os.path.islink(link):
        link = os.path.normpath(os.path.join(os.path.dirname(link), os.readlink(link)))
        if not within(link, [*PROGRAMS, *SETTINGS, *found]):
            found.append(link)
    return found


def within(path: str, directories: Sequence[str]) -> bool:
    """Whether `path` is one of them, or lies in one."""
    return any(path == place or path.startswith(place.rstrip("/") + "/") for place in directories)
