"""The supervisor in a kernel of its own: its frames travel as comm messages.

No connection carries the lease here, so silence ends it; a connection that is cut may be made
again until then.
"""

from __future__ import annotations

import atexit
import os
import select
import signal
import sys
import threading
import time
from functools import partial

from .guard import Guard, delete_kernel, find_server, until_gone
from .line import Line
from .mux import Mux
from .place import OwnMachine, Place, kill_marked, move_in
from .proctable import exit_notice, kill_tree
from .stream import Stream
from .supervisor import Supervisor

TYPE_CHECKING = False  # not that of typing, which takes 10 ms to import
if TYPE_CHECKING:
    from typing import Any

TARGET = "code_sandboxes"
OLDEST = (3, 10)


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
        self._line: Line | None = None  # to the owner, the last one where there is none
        self._guards: dict[int, Guard] = {}  # kernels by pid
        self._started: set[str] = set()  # kernels' ids, guarded or not yet
        self._one_end = threading.Lock()
        self._heard = time.monotonic()

    # what only it can be asked --------------------------------------------------------
    def do_hello(self, stream: Stream) -> dict[str, Any]:
        said = super().do_hello(stream)
        said["ok"]["kept"] = sorted(guard.name for guard in list(self._guards.values()))
        return said

    def do_place(self, stream: Stream) -> dict[str, Any]:
        return {"ok": self.place.described()}

    def do_started(self, stream: Stream, kernel: str) -> dict[str, Any]:
        """The owner has had a kernel started: if it dies now, nobody else knows of it."""
        self._started.add(kernel)
        return {"ok": None}

    def do_deleted(self, stream: Stream, kernel: str) -> dict[str, Any]:
        """The owner has had it deleted."""
        self._started.discard(kernel)
        return {"ok": None}

    def do_guarded(self, stream: Stream, name: str) -> dict[str, Any]:
        """The kernel of a context that a former owner has left."""
        for guard in list(self._guards.values()):
            if guard.name == name:
                return {"ok": {"pid": guard.pid, "kernel": guard.kernel}}
        raise ProcessLookupError(3, "no such kernel")

    def do_guard(
        self, stream: Stream, pid: int, kernel: str, name: str, raw: list[int] | None
    ) -> None:
        """Watch over a kernel: the stream ends when it does.

        Args:
            raw: see Guard; None for a kernel that is guarded already.
        """
        if raw is not None:
            self._guards[pid] = Guard(pid, kernel, name, raw, self.threads.start)
        guard = self._guards[pid]
        stream.tell({"pid": pid})
        guard.wait()
        if stream.lost:  # that owner has left: the next one is told, and reads the rest
            return
        self._guards.pop(pid, None)
        guard.pass_on_rest(stream)
        guard.close()
        stream.tell({"exit": True})
        stream.finish()

    def do_signal(self, stream: Stream, pid: int, number: int, whole: bool) -> dict[str, Any]:
        if pid not in self._guards:
            return super().do_signal(stream, pid, number, whole)
        self._guards[pid].signal(number, whole=whole)
        return {"ok": None}

    # the lease ------------------------------------------------------------------------
    def do_detach(self, stream: Stream, path: str, max_lifetime: float) -> dict[str, Any]:
        """Live on without an owner: the next one opens a comm, as the first did."""
        self.vacant = True
        self.expire_in(max_lifetime)
        return {"ok": None}

    def opened(self, comm: Any, _: Any) -> None:
        """The owner is there; called by the kernel."""
        if self._line is not None and not self.vacant:
            comm.close()  # one owner at a time
            return
        self._heard = time.monotonic()
        before, self._line = (self._line, self.mux), Line(comm)
        mux = self.connection(self._line.write)
        self.vacant = False
        hang_up(*before)  # it has detached, and not said goodbye
        comm.on_msg(partial(self._take, self._line, mux))
        comm.on_close(partial(self._left, self._line, mux))

    def _take(self, line: Line, mux: Mux, message: dict[str, Any]) -> None:
        if line.closed:
            return
        self._heard = time.monotonic()
        said = message["content"]["data"]
        line.forget(said["got"])
        if said.get("n") == line.got:  # else it is here already, or comes again
            line.got += 1
            for data in message["buffers"]:
                mux.feed(bytes(data))
        if "resume" in said:
            line.again(said["resume"])
        elif "beat" in said:
            line.tell({"beat": said["beat"]})

    def _left(self, line: Line, mux: Mux, _: Any) -> None:
        if line is not self._line:
            return
        if self.vacant:
            self.threads.start(hang_up, line, mux)
        else:
            self.threads.start(self.finish, False)

    def watch(self) -> None:
        """End when nobody has spoken for too long."""
        while self.vacant or time.monotonic() - self._heard < self.options["silence"]:
            time.sleep(1)
        self.end()

    def outlive_no_server(self, server: int) -> None:
        """End with the server: a kernel that finds itself an orphan ends, and sweeps nothing."""
        poll = select.poll()
        poll.register(exit_notice(server, self.threads.start, partial(until_gone, server)))
        poll.poll()
        self.finish(False)

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
        if self._line is not None:
            self._line.tell({"end": True})  # first, or it were the death of an interpreter
        for pid in (*self._guards, os.getpid()):
            kill_tree(pid, with_root=pid != os.getpid())
        kill_marked(self.place.id)
        os.chdir("/")
        self.place.remove()
        if self._line is not None:
            self._line.tell({"finished": True})  # `close` is silent where the owner was first
        if delete and self._server is not None:
            for kernel in (*self._started - {self._kernel}, self._kernel):
                delete_kernel(*self._server, kernel)


def hang_up(line: Line | None, mux: Mux) -> None:
    """The owner has left: nothing that it asked for goes on."""
    if line is not None:
        line.close()
    mux.close()


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
    parent = os.getppid()
    started_us = os.environ.get("JPY_PARENT_PID") == str(parent)
    move_in(place.env, place.cwd)
    settings = {"home": place.home, "cwd": place.cwd, "rooted": not own_machine, **options}
    supervisor = CommSupervisor(settings, place, server, kernel)
    CommSupervisor.here = supervisor
    atexit.register(supervisor.finish, False)  # somebody else has the server end this kernel
    supervisor.expire_in(options.get("max_lifetime"))
    supervisor.threads.start(supervisor.adopt)
    shell.history_manager.enabled = False
    app.comm_manager.register_target(TARGET, supervisor.opened)
    if started_us:
        supervisor.threads.start(supervisor.outlive_no_server, parent)
    for job in (supervisor.reap, supervisor.watch):
        threading.Thread(target=job, daemon=True).start()
