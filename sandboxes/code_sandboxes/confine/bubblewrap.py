"""A command in namespaces of its own, through bubblewrap.

What holds there (`tests/confine` tries all of it):

- No network but a loopback of its own; no process, System V IPC object, abstract socket or
  host name of the host.
- Of the files, only the system's programs and libraries, this interpreter and what is named
  readable, all read-only; what is named writable; and an own /tmp, /dev, /proc.
- No capability, no new privilege through set-uid programs, no further user namespace.
- The user inside is `sandbox`, 65520. For a host user that is only another name of their own:
  the files that are written belong to them. For root it is another user, so that
  nothing inside runs as root: the writable directories are handed to it, and root, who may do
  everything to them anyway, sees them with that owner.

Not in there, since it must be set by the process itself: the filter of system calls
(`inside.seccomp`), without which a sandbox is not confined.
"""

from __future__ import annotations

import os
import signal
import stat
from collections.abc import Mapping, Sequence
from contextlib import suppress

from .arguments import IDENTITY, arguments, as_root
from .probe import executable, probe

__all__ = ["kill", "probe", "wrap"]


def wrap(
    command: Sequence[str],
    *,
    writable: Sequence[str],
    readable: Sequence[str] = (),
    env: Mapping[str, str] | None,
) -> list[str]:
    """The command line that runs `command` confined, as process 1 of its namespace.

    It starts in `/`. It does not end with its parent: whoever starts it gives it a session of
    its own, and a stream whose end it takes as its own.

    Args:
        command: program and arguments.
        writable: existing directories; each has the same path inside. As root, they and what
            root owns in them now belong to the user inside.
        readable: further files and directories that can be read, such as certificates.
        env: the whole environment inside. It stands in the host's list of processes. Where
            that must not be, None takes the environment that the command line is started
            with: `Popen` then has to be given one, which bubblewrap itself runs with too.

    Raises:
        UnsupportedError: it cannot be done here; the message says what to do.
    """
    argv = arguments(executable(), command, writable=writable, readable=readable, env=env)
    if as_root():
        for directory in writable:
            _hand_over(directory)
    return argv


def kill(pid: int) -> None:
    """End at once, by force, all that runs inside.

    Args:
        pid: the process that `wrap`'s command line was started as, or a parent of it; it is
            not killed itself. (To kill bubblewrap would leave the inside running.)
    """
    below = {pid}
    children = _children()
    while more := {child for parent in below for child in children.get(parent, ())} - below:
        below |= more
    for process in below - {pid}:
        with suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)


def _children() -> dict[int, list[int]]:
    found: dict[int, list[int]] = {}
    for entry in filter(str.isdigit, os.listdir("/proc")):
        with suppress(OSError), open(f"/proc/{entry}/stat", "rb") as file:
            parent = int(file.read().rpartition(b") ")[2].split()[1])
            found.setdefault(parent, []).append(int(entry))
    return found


def _hand_over(directory: str) -> None:
    """Give what root owns there to the user inside; nobody else is at work in it yet."""
    os.chown(directory, IDENTITY, IDENTITY)
    for _, folders, files, here in os.fwalk(directory):
        for name in (*folders, *files):
            found = os.stat(name, dir_fd=here, follow_symlinks=False)
            # a file of several names may be one of the host's as well
            if found.st_uid == 0 and (stat.S_ISDIR(found.st_mode) or found.st_nlink == 1):
                os.chown(name, IDENTITY, IDENTITY, dir_fd=here, follow_symlinks=False)
