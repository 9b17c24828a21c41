"""What the operating system knows of processes: the one place that differs between systems."""

from __future__ import annotations

import _signal as signal  # without the names as enums, which take a millisecond
import os
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress

TASKS = "/proc/self/task"
PR_SET_DUMPABLE, PR_SET_CHILD_SUBREAPER = 4, 36


def adopt_orphans() -> None:
    """Make every orphan below us our child, and us untraceable by code of the same user.

    Only Linux can: elsewhere a process that daemonises escapes the tree.
    """
    if sys.platform == "linux":
        import ctypes  # 3 ms that other systems need not pay

        libc = ctypes.CDLL(None)
        libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        libc.prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)


def table() -> dict[int, tuple[int, int, str]]:
    """pid -> (parent, session, state) of every process that we can see."""
    return _from_proc() if sys.platform == "linux" else _from_ps()


def _from_proc() -> dict[int, tuple[int, int, str]]:
    found = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            with suppress(OSError), open(f"/proc/{entry}/stat", "rb") as file:
                fields = file.read().rpartition(b") ")[2].split()
                found[int(entry)] = int(fields[1]), int(fields[3]), fields[0].decode()
    return found


def _from_ps() -> dict[int, tuple[int, int, str]]:
    import subprocess

    listed = subprocess.run(
        ["ps", "-axo", "pid=,ppid=,sess=,state="], capture_output=True, text=True, check=False
    )
    rows = (line.split() for line in listed.stdout.splitlines())
    return {int(pid): (int(parent), 0, state[0]) for pid, parent, _, state in rows}


def tree(root: int, *, with_root: bool) -> set[int]:
    """All living descendants of `root`, and what shares a session with one of them."""
    processes = table()
    found, sessions = {root}, {root} if with_root else set()
    while True:
        more = {
            pid
            for pid, (parent, session, _) in processes.items()
            if parent in found or (session and session in sessions)
        }
        if more <= found:
            break
        found |= more
        sessions |= {processes[pid][1] for pid in more if processes[pid][1] == pid}
    living = {pid for pid in found if pid in processes and processes[pid][2] != "Z"}
    return living - {os.getpid()} - (set() if with_root else {root})


def kill_tree(
    root: int,
    number: int = signal.SIGKILL,
    *,
    with_root: bool = True,
    spare: frozenset[int] = frozenset(),
) -> None:
    """Signal a process and all below it; for SIGKILL until none is left, 5 s at most."""
    if number == signal.SIGKILL and with_root and not spare:
        # all of its group at once: while a table is read, what forks without end goes on
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(root, number)
    until = time.monotonic() + 5
    while (alive := tree(root, with_root=with_root) - spare) and time.monotonic() < until:
        for pid in alive:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, number)
        if number != signal.SIGKILL:
            return
        time.sleep(0.002)
    if number == signal.SIGKILL and with_root:
        bury(root)


def may_have_dead() -> bool:
    """Whether a child waits for its burial; True where the system does not say."""
    if not hasattr(os, "waitid"):
        return True
    try:
        return os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
    except ChildProcessError:  # there are none
        return False


def bury(session: int) -> None:
    """Wait for the dead orphans of a session: they count as processes until somebody has.

    Not for its leader, which is a child that somebody waits for.
    """
    for pid, (parent, of, state) in table().items():
        if state == "Z" and parent == os.getpid() and of == session != pid:
            with suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)


def kill_children(seconds: float = 5.0) -> None:
    """Kill all that is below this process, which orphans come to, and bury it.

    What forks and exits faster than a table is read is never found in one: but it is always a
    child of ours, since its parent has ended. Nothing else may wait for children any more.
    """
    me, until = os.getpid(), time.monotonic() + seconds
    with suppress(OSError):  # ChildProcessError: none is left
        while time.monotonic() < until:
            if not os.waitpid(-1, os.WNOHANG)[0]:
                for pid in _children(me) or set().union(*map(_children, os.listdir(TASKS))):
                    with suppress(ProcessLookupError, PermissionError):
                        os.kill(pid, signal.SIGKILL)


def _children(thread: int | str) -> set[int]:
    """The children of a thread of ours; orphans are the main thread's."""
    with open(f"{TASKS}/{thread}/children", encoding="ascii") as children:
        return set(map(int, children.read().split()))


def out_of_memory() -> int:
    """How often the kernel has killed something here for the memory limit; 0 if that is unknown."""
    for path in ("memory.events", "memory/memory.oom_control"):  # of cgroup v2; of v1
        with suppress(OSError, ValueError), open(f"/sys/fs/cgroup/{path}") as file:
            for line in file:
                name, _, count = line.partition(" ")
                if name == "oom_kill":
                    return int(count)
    return 0


def exit_notice(pid: int, start: Callable[..., None], wait: Callable[[], object]) -> int:
    """A descriptor that becomes readable when the child `pid` has ended.

    Args:
        pid: a child.
        start: runs a job on a thread.
        wait: waits for the child; only called where the system has no process descriptors.
    """
    with suppress(AttributeError, OSError):
        return os.pidfd_open(pid)
    ours, theirs = os.pipe()

    def watch() -> None:
        wait()
        os.close(theirs)

    start(watch)
    return ours


class Threads:
    """Runs each job at once: on an idle thread, or on a new one."""

    def __init__(self) -> None:
        from _queue import SimpleQueue  # without the rest of queue, which takes 1 ms

        self._jobs: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._idle, self._lock = 0, threading.Lock()

    def start(self, job: Callable[..., None], *args: object) -> None:
        with self._lock:
            reuse = self._idle > 0
            self._idle -= reuse
        if reuse:
            self._jobs.put(lambda: job(*args))
            return
        try:
            threading.Thread(target=self._work, args=(job, *args), daemon=True).start()
        except RuntimeError:  # no memory for one more, or too many: the next that is free does it
            with self._lock:
                self._idle -= 1
            self._jobs.put(lambda: job(*args))

    def _work(self, job: Callable[..., None], *args: object) -> None:
        job(*args)
        while True:
            with self._lock:
                self._idle += 1
            self._jobs.get()()
