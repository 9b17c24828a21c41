"""A kernel that a supervisor watches over, though it is not its child; and its server."""

from __future__ import annotations

import errno
import json
import os
import select
import signal
import time
import urllib.request
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial

from .proctable import exit_notice, kill_tree
from .stream import Stream

REST_SECONDS = 10.0
MOST_LEFT = 1 << 20  # bytes that are read of what it left in its raw pipes


class Guard:
    """One kernel.

    Args:
        pid: its process.
        kernel: its id at the server.
        name: of its context.
        raw: its descriptors of the pipes that its children's stdout and stderr lead into. Where
            the system lets us (Linux) we hold them too: what is in them when it dies, we read.
        start: runs a job on a thread.
    """

    def __init__(
        self,
        pid: int,
        kernel: str,
        name: str,
        raw: Sequence[int],
        start: Callable[..., None],
    ) -> None:
        self.pid, self.kernel, self.name = pid, kernel, name
        # from now on: when it has ended, its number may become another's
        self._ended = exit_notice(pid, start, partial(until_gone, pid))
        self._raw: list[int] = []
        with suppress(OSError):
            for number in raw:
                path = f"/proc/{pid}/fd/{number}"
                self._raw.append(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC))

    def wait(self, timeout: float | None = None) -> bool:
        """Until it has ended, or milliseconds are over; whether it has."""
        poll = select.poll()
        poll.register(self._ended, select.POLLIN | select.POLLHUP)
        return bool(poll.poll(timeout))

    def pass_on_rest(self, stream: Stream) -> None:
        """Send what it has left: stdout is lane 1, stderr lane 2."""
        for lane, descriptor in enumerate(self._raw, 1):
            left = MOST_LEFT
            with suppress(OSError):  # a child of it may hold the other end: no end of file then
                while left > 0 and (data := os.read(descriptor, 1 << 16)):
                    stream.send(lane, data)
                    left -= len(data)

    def close(self) -> None:
        for descriptor in (*self._raw, self._ended):
            os.close(descriptor)
        self._raw.clear()

    def signal(self, number: int, *, whole: bool) -> None:
        """Send a signal; to the whole tree, or to it alone."""
        if self.wait(0):
            raise ProcessLookupError(errno.ESRCH, os.strerror(errno.ESRCH))
        if whole:
            kill_tree(self.pid, number)
        else:
            os.kill(self.pid, number)
            os.kill(self.pid, signal.SIGCONT)  # a stopped process takes no signal but this one


def until_gone(pid: int) -> None:
    """Wait for a process that is not our child."""
    with suppress(OSError):
        while True:
            os.kill(pid, 0)
            time.sleep(0.1)


def delete_kernel(url: str, token: str, kernel: str) -> None:
    """Have the server end a kernel: it would start a dead one again."""
    headers = {"Authorization": f"token {token}"} if token else {}
    request = urllib.request.Request(f"{url}api/kernels/{kernel}", headers=headers, method="DELETE")
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with suppress(OSError):
        direct.open(request, timeout=REST_SECONDS).close()


def find_server(connection_file: str) -> tuple[str, str] | None:
    """The server that started this kernel, as it describes itself to its own user's processes.

    No owner sends its token in here. A stock server writes its own beside the connection files
    of its kernels; where there is no such description, its kernels cannot be deleted from inside.
    """
    folder = os.path.dirname(connection_file)
    with suppress(OSError, ValueError, KeyError, TypeError):
        with open(f"{folder}/jpserver-{os.getppid()}.json", "rb") as file:
            known = json.load(file)
        if not known.get("sock"):
            return str(known["url"]), str(known["token"])
    return None
