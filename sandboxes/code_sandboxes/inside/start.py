"""The supervisor's first steps: what must be done before it has threads."""

from __future__ import annotations

import _signal as signal  # without the names as enums, which take a millisecond
import os
import sys

from .forkserver import ForkServer

TYPE_CHECKING = False  # not that of typing, which takes 10 ms to import
if TYPE_CHECKING:
    from typing import Any


def main(**options: Any) -> None:
    """The supervisor of a process of its own, speaking over its stdin and stdout."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: None)  # not SIG_IGN, which children would inherit
    if options.get("become"):
        become(options["become"])
    source, sink = os.dup(0), os.dup(1)
    nowhere = os.open(os.devnull, os.O_RDWR)
    for fd in (0, 1):
        os.dup2(nowhere, fd)
    os.close(nowhere)
    os.environ.update(options.get("env") or {})
    if options.get("own_packages"):
        options["places"] |= own_packages()
    for folder in (options["cwd"], *options.get("folders", ())):
        os.makedirs(folder, mode=0o700, exist_ok=True)
    os.chdir(options["cwd"])
    if options.get("seccomp"):
        from . import seccomp  # sent only when it is asked for

        seccomp.apply()
    forks = None
    if options.get("fork") and has_descriptors():
        # before our own imports: it makes its own on the other core meanwhile
        forks = ForkServer(options.get("preload") or [])
    from .supervisor import supervise

    supervise(options, forks, source, sink)


def become(user: int) -> None:
    """Give up root for good: no capability is left to us or to what we start."""
    import ctypes

    os.setgroups([])
    os.setresgid(user, user, user)
    os.setresuid(user, user, user)
    ctypes.CDLL(None).prctl(4, 1, 0, 0, 0)  # PR_SET_DUMPABLE: or our own /proc would be root's


def own_packages() -> dict[str, str]:
    """Put the user's own packages first: those that are installed later count too.

    Returns:
        The directories that they have.
    """
    import site

    folder = site.getusersitepackages()
    os.makedirs(folder, exist_ok=True)
    if folder in sys.path:
        sys.path.remove(folder)
    insert_before_packages(folder)
    base = site.getuserbase()
    return {"packages": folder, "scripts": f"{base}/bin", "shared": f"{base}/share"}


def insert_before_packages(folder: str) -> None:
    """Have imports look there after the standard library, and before what is installed."""
    installed = (at for at, path in enumerate(sys.path) if path.endswith("-packages"))
    sys.path.insert(next(installed, len(sys.path)), folder)


def has_descriptors() -> bool:
    """Whether a process can be had as a descriptor: Linux 5.3 and later."""
    try:
        os.close(os.pidfd_open(os.getpid()))
    except (AttributeError, OSError):
        return False
    return True
