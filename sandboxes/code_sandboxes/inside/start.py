"""The supervisor's first steps: what must be done before it has threads."""

from __future__ import annotations

import os
import signal

from .forkserver import ForkServer

TYPE_CHECKING = False  # not that of typing, which takes 10 ms to import
if TYPE_CHECKING:
    from typing import Any


def main(**options: Any) -> None:
    """The supervisor of a process of its own, speaking over its stdin and stdout."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: None)  # not SIG_IGN, which children would inherit
    source, sink = os.dup(0), os.dup(1)
    nowhere = os.open(os.devnull, os.O_RDWR)
    for fd in (0, 1):
        os.dup2(nowhere, fd)
    os.close(nowhere)
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


def has_descriptors() -> bool:
    """Whether a process can be had as a descriptor: Linux 5.3 and later."""
    try:
        os.close(os.pidfd_open(os.getpid()))
    except (AttributeError, OSError):
        return False
    return True
