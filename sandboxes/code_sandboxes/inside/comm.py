"""The supervisor in a kernel of its own: its frames travel as comm messages.

No connection carries the lease here, so silence ends it. A server drops IOPub messages past a
rate (1,000 a second as it comes): frames are gathered, and numbered so that a loss is noticed.
"""

from __future__ import annotations

import atexit
import json
import os
import select
import signal
import sys
import threading
import time
import urllib.request
from contextlib import suppress
from functools import partial

from .place import OwnMachine, Place, kill_marked, move_in
from .proctable import exit_notice, kill_tree
from .stream import Stream
from .supervisor import Supervisor

TYPE_CHECKING = False  # not that of typing, which takes 10 ms to import
if TYPE_CHECKING:
    from typing import Any

TARGET = "code_sandboxes"
GATHER = 0.003  # seconds between two messages, at least
SILENCE = 20.0  # seconds without a word of the owner that end the lease
REST_SECONDS = 10.0
OLDEST = (3, 10)


class Batches:
    """Sends at once when it is quiet, in batches when it is not."""

    def __init__(self, comm: Any) -> None:
        self._comm, self._number, self._last = comm, 0, 0.0
        self._pending = bytearray()
        self._changed = threading.Condition()
        threading.Thread(target=self._flush, daemon=True).start()

    def write(self, *parts: bytes | memoryview) -> None:
        with self._changed:
            for part in parts:
                self._pending += part
            if time.monotonic() - self._last > GATHER:
                self._send()
            else:
                self._changed.notify()

    def _send(self) -> None:
        data, self._pending = bytes(self._pending), bytearray()
        self._comm.send({"n": self._number}, buffers=[data])
        self._number += 1
        self._last = time.monotonic()

    def _flush(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._pending)
            time.sleep(GATHER)
            with self._changed:
                if self._pending:
                    self._send()


class CommSupervisor(Supervisor):
    """Its interpreters are kernels of the server: it is told their pids, and steers them.

    Args:
        options: those of the supervisor.
        place: what it removes at the end.
        server: the address and the token of the server that started this kernel; None where
            they are not known in here.
        kernel: the id of this kernel.
    """

    here: CommSupervisor  # the one of this process; for an owner whose connection was cut

    def __init__(
        self, options: dict[str, Any], place: Place, server: tuple[str, str] | None, kernel: str
    ) -> None:
        super().__init__(options)
        self.place = place
        self._server, self._kernel = server, kernel
        self._comm: Any = None
        self._guarded: dict[int, str] = {}  # kernels by pid
        self._one_end = threading.Lock()
        self._heard = time.monotonic()

    # what only it can be asked --------------------------------------------------------
    def do_place(self, stream: Stream) -> dict[str, Any]:
        return {"ok": self.place.described()}

    def do_guard(self, stream: Stream, pid: int, kernel: str) -> None:
        """Watch over a kernel: the stream ends when it does."""
        self._guarded[pid] = kernel
        ended = exit_notice(pid, self.threads.start, partial(until_gone, pid))
        stream.tell({"pid": pid})
        poll = select.poll()
        poll.register(ended, select.POLLIN | select.POLLHUP)
        poll.poll()
        os.close(ended)
        self._guarded.pop(pid, None)
        stream.tell({"exit": True})
        stream.finish()

    def do_signal(self, stream: Stream, pid: int, number: int, whole: bool) -> dict[str, Any]:
        if pid not in self._guarded:
            return super().do_signal(stream, pid, number, whole)
        if whole:
            kill_tree(pid, number)
        else:
            os.kill(pid, number)
            os.kill(pid, signal.SIGCONT)  # a stopped process takes no signal but this one
        return {"ok": None}

    # the lease ------------------------------------------------------------------------
    def opened(self, comm: Any, _: Any) -> None:
        """The owner is there; called by the kernel."""
        if self._comm is not None:
            comm.close()  # one owner, once
            return
        self._comm = comm
        mux = self.connection(Batches(comm).write)

        def take(message: dict[str, Any]) -> None:
            self._heard = time.monotonic()
            if (beat := message["content"]["data"].get("beat")) is not None:
                comm.send({"beat": beat})
            for data in message["buffers"]:
                mux.feed(bytes(data))

        def left(_: Any) -> None:
            self.threads.start(self.finish, False)

        comm.on_msg(take)
        comm.on_close(left)

    def watch(self) -> None:
        """End when nobody has spoken for too long."""
        while time.monotonic() - self._heard < SILENCE:
            time.sleep(1)
        self.end()

    def end(self) -> None:
        """End everything, and have the server delete the kernels."""
        self.finish(True)

    def finish(self, delete: bool) -> None:
        """End everything.

        Args:
            delete: whether the kernels are to be deleted from here: their owner has not said
                that it will.
        """
        if not self._one_end.acquire(blocking=False):
            return
        if self._comm is not None:
            self._comm.send({"end": True})  # first, or it were the death of an interpreter
        kernels = dict(self._guarded)
        for pid in (*kernels, os.getpid()):
            kill_tree(pid, with_root=pid != os.getpid())
        kill_marked(self.place.id)
        os.chdir("/")
        self.place.remove()
        if self._comm is not None:
            self._comm.send({"finished": True})  # `close` is silent where the owner was first
        if delete and self._server is not None:
            for kernel in (*kernels.values(), self._kernel):
                delete_kernel(*self._server, kernel)


def delete_kernel(url: str, token: str, kernel: str) -> None:
    """Have the server end a kernel: it would start a dead one again."""
    headers = {"Authorization": f"token {token}"} if token else {}
    request = urllib.request.Request(f"{url}api/kernels/{kernel}", headers=headers, method="DELETE")
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with suppress(OSError):
        direct.open(request, timeout=REST_SECONDS).close()


def until_gone(pid: int) -> None:
    """Wait for a process that is not our child."""
    with suppress(OSError):
        while True:
            os.kill(pid, 0)
            time.sleep(0.1)


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


def main(
    id: str,
    kernel: str,
    working_dir: str | None,
    env: dict[str, str],
    own_machine: bool = False,
    **options: Any,
) -> None:
    """Called by the code that the owner has this kernel execute.

    Args:
        own_machine: whether all of this machine is the sandbox's: then paths are the machine's.
    """
    if sys.version_info < OLDEST:
        raise RuntimeError(f"the server's Python is {sys.version.split()[0]}, and too old")
    shell = sys.modules["IPython"].get_ipython()
    app, kernel_app = shell.kernel, shell.kernel.parent
    connection_file = getattr(kernel_app, "abs_connection_file", "")
    server = find_server(connection_file)
    place = (OwnMachine if own_machine else Place)(id, working_dir, env)
    # ours may die of an interrupt no more than start.py's; and children must not ignore it
    app.pre_handler_hook = app.post_handler_hook = lambda: None
    signal.signal(signal.SIGINT, lambda *_: None)
    move_in(place.env, place.cwd)
    settings = {"home": place.home, "cwd": place.cwd, "rooted": not own_machine, **options}
    supervisor = CommSupervisor(settings, place, server, kernel)
    CommSupervisor.here = supervisor
    atexit.register(supervisor.finish, False)  # somebody else has the server end this kernel
    supervisor.expire_in(options.get("max_lifetime"))
    supervisor.threads.start(supervisor.adopt)
    shell.history_manager.enabled = False
    app.comm_manager.register_target(TARGET, supervisor.opened)
    for job in (supervisor.reap, supervisor.watch):
        threading.Thread(target=job, daemon=True).start()
