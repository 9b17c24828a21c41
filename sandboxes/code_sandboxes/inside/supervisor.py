"""The one process that all of a sandbox hangs from. Standard library only; sent at start.

Its byte stream is the lease: end of file ends the whole tree, unless the owner said
`detach` before; then a unix socket waits for the next one until `max_lifetime`.
"""

from __future__ import annotations

import _signal as signal  # without the names as enums, which take a millisecond
import os
import threading
import time
from _queue import SimpleQueue  # without the rest of queue, which takes 1 ms
from collections.abc import Callable
from contextlib import suppress
from functools import partial

from .forkserver import ForkServer
from .mux import Mux
from .proctable import adopt_orphans, kill_children, kill_tree, may_have_dead, table
from .services import Services
from .stream import Stream
from .writing import write_all

STACK = 1 << 19  # bytes of a thread's: there may be hundreds, where memory is bounded
AT_ONCE = 120_000  # bytes that are read at once: from 128 KiB on, each time memory is mapped for it
TYPE_CHECKING = False  # not that of typing, which takes 10 ms to import
if TYPE_CHECKING:
    import socket
    from typing import Any

    from .writing import Held


def nothing() -> None:
    """Hang up on nobody."""


class Supervisor(Services):
    """Answers one owner at a time; `serve` returns when the sandbox is to end."""

    def __init__(self, options: dict[str, Any]) -> None:
        super().__init__(options)
        self.detached = self.vacant = False  # vacant: from `detach` until somebody comes
        self.owners: SimpleQueue[socket.socket] = SimpleQueue()
        self.mux = Mux(lambda *parts: None)
        self._expiry: threading.Timer | None = None

    def expire_in(self, seconds: float | None) -> None:
        if self._expiry is not None:
            self._expiry.cancel()
        if seconds is not None:
            self._expiry = threading.Timer(seconds, self.end)
            self._expiry.daemon = True
            self._expiry.start()

    def hang_up(self) -> None:
        """Close the connection to the owner; `serve` sets it."""

    def connection(self, write: Callable[..., None], *, splices: bool = False) -> Mux:
        """A fresh multiplexer towards the owner."""
        start = self.threads.start
        self.mux = Mux(
            write, lambda stream, ask: start(self.answer, stream, ask), start, splices=splices
        )
        return self.mux

    def end(self) -> None:
        """End everything, and this process."""
        try:
            self.hang_up()  # first, or the owner would take it for the death of an interpreter
            kill_tree(os.getpid(), with_root=False)
            kill_children()
        finally:
            os._exit(0)

    def do_lifetime(self, stream: Stream, seconds: float | None) -> dict[str, Any]:
        self.expire_in(seconds)
        return {"ok": None}

    # the lease ----------------------------------------------------------------------
    def do_detach(self, stream: Stream, path: str, max_lifetime: float) -> dict[str, Any]:
        self.detached = self.vacant = True
        self.expire_in(max_lifetime)
        if not os.path.exists(path):
            import socket  # 4 ms that a start need not pay

            listener = socket.socket(socket.AF_UNIX)
            listener.bind(path)
            os.chmod(path, 0o600)
            listener.listen(8)
            self.threads.start(self._doorman, listener)
        return {"ok": None}

    def _doorman(self, listener: socket.socket) -> None:
        """One owner at a time: who comes while there is one is hung up on."""
        while True:
            peer, _ = listener.accept()
            if self.vacant:  # even while the former owner is still hanging up
                self.vacant = False
                self.owners.put(peer)
            else:
                peer.close()

    def serve(
        self,
        read: Callable[[], bytes],
        write: Callable[..., None],
        hang_up: Callable[[], None],
    ) -> None:
        """Serve one owner after another, until one leaves without detaching."""
        while True:
            self.hang_up = hang_up  # type: ignore[method-assign]
            mux = self.connection(write, splices=True)
            with suppress(OSError):
                while data := read():
                    mux.feed(data)
            mux.close()
            if not self.detached:
                return
            self.detached = False
            self.hang_up = nothing  # type: ignore[method-assign]  # its number is used again
            hang_up()
            peer = self.owners.get()
            read = partial(peer.recv, AT_ONCE)
            write, hang_up = partial(send, peer), peer.close

    def adopt(self) -> None:
        """What takes too long for the start; commands wait for it."""
        adopt_orphans()
        self.adopting.set()

    def reap(self) -> None:
        """Orphans are ours (subreaper, or PID 1): bury them."""
        dead: set[int] = set()
        while True:
            time.sleep(1)
            if not may_have_dead():  # a table of all processes takes milliseconds
                dead = set()
                continue
            known = self.processes.keys() | {self.forks.pid if self.forks else 0}
            found = {
                pid
                for pid, (parent, _, state) in table().items()
                if state == "Z" and parent == os.getpid() and pid not in known
            }
            for pid in found & dead:  # seen twice: not a child that `Process` is about to wait for
                with suppress(ChildProcessError):
                    os.waitpid(pid, os.WNOHANG)
            dead = found


def send(peer: socket.socket, *parts: bytes | memoryview | Held) -> None:
    """To the owner, or nowhere: the number of a closed socket may be another's by now."""
    write_all(peer.fileno(), *parts)


def supervise(options: dict[str, Any], forks: ForkServer | None, source: int, sink: int) -> None:
    """Serve the owner at the other end of two descriptors; returns when the sandbox has ended."""
    threading.stack_size(STACK)
    supervisor = Supervisor(options)
    supervisor.forks = forks
    supervisor.expire_in(options.get("max_lifetime"))
    signal.signal(signal.SIGTERM, lambda *_: supervisor.end())
    supervisor.threads.start(supervisor.adopt)
    threading.Thread(target=supervisor.reap, daemon=True).start()

    def hang_up() -> None:
        with suppress(OSError):  # a second time
            os.close(sink)

    supervisor.serve(partial(os.read, source, AT_ONCE), partial(write_all, sink), hang_up)
    supervisor.end()
