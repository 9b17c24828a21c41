"""What the owner of a sandbox can ask of its supervisor: one request for each stream."""

from __future__ import annotations

import _socket as socket  # all that is needed of socket, which takes 4 ms to import
import errno
import json
import os
import sys
import threading
import time
from collections.abc import Iterable
from contextlib import suppress

from .entries import changes
from .files import Files
from .forkserver import ForkServer, launch
from .processes import Process, execute
from .proctable import Threads
from .stream import DATA, END, RESET, Stream, StreamLost
from .writing import BLOCK, BlockWriter

TYPE_CHECKING = False  # not that of typing, which takes 10 ms to import
if TYPE_CHECKING:
    from typing import Any

    from .egress import Egress
    from .processes import Spawn

PIECE = 1 << 17
BATCH = 1000  # entries of a listing in one message
SERVICE = "."  # how the names of kept processes begin that are no interpreters


class Services:
    """Files and processes; every `do_` method is a verb of the protocol.

    Args:
        options: those of the supervisor.
    """

    def __init__(self, options: dict[str, Any]) -> None:
        self.options = options
        self.cwd = options["cwd"]
        self.files = Files(options["home"], self.cwd, rooted=options["rooted"])
        self.threads = Threads()
        self.forks: ForkServer | None = None
        self.kept: dict[str, Process] = {}
        self.processes: dict[int, Process] = {}
        self.adopting = threading.Event()  # set when orphans come to us
        self.egress: Egress | None = None

    def answer(self, stream: Stream, request: dict[str, Any]) -> None:
        try:
            reply = getattr(self, "do_" + request.pop("op"))(stream, **request)
        except StreamLost:
            return
        except (OSError, ValueError, TypeError, AttributeError, KeyError, RecursionError) as error:
            reply = {"error": self._said(error)}
        except BaseException as error:  # a mistake of ours: nobody must wait for its answer
            self._reply(stream, {"error": [type(error).__name__, None, str(error)]})
            raise
        self._reply(stream, reply)

    @staticmethod
    def _reply(stream: Stream, reply: dict[str, Any] | None) -> None:
        with suppress(StreamLost):
            if reply is not None:
                stream.tell(reply)
                stream.finish()

    def _said(self, error: Exception) -> list[Any]:
        """An error as the host is told of it: its class, its number, its text."""
        if not isinstance(error, OSError):
            return [type(error).__name__, None, str(error)]
        if error.errno == errno.EROFS and "writable" in self.options:
            places = ", ".join(self.options["writable"])
            return ["PermissionError", errno.EACCES, f"what can be written to is below {places}"]
        return [type(error).__name__, error.errno, error.strerror or ""]

    def do_hello(self, stream: Stream) -> dict[str, Any]:
        kept = sorted(name for name in self.kept if not name.startswith(SERVICE))
        about = {"pid": os.getpid(), "kept": kept, "python": sys.version.split()[0]}
        return {"ok": {**about, "home": self.options["home"], "cwd": self.cwd}}

    # files ------------------------------------------------------------------------
    def do_file(self, stream: Stream, verb: str, path: str, **options: Any) -> dict[str, Any]:
        if verb not in ("stat", "exists", "mkdir", "remove", "move", "resolve", "realpath"):
            raise ValueError(f"no verb {verb!r}")
        if verb == "move":
            self.files.move(path, **options)
            return {"ok": None}
        return {"ok": getattr(self.files, verb)(path, **options)}

    def do_entries(self, stream: Stream, path: str, depth: int | None) -> dict[str, Any]:
        return self._batches(stream, self.files.entries(path, depth))

    def do_glob(self, stream: Stream, path: str) -> dict[str, Any]:
        return self._batches(stream, self.files.glob(path))

    @staticmethod
    def _batches(stream: Stream, entries: Iterable[dict[str, Any]]) -> dict[str, Any]:
        batch: list[dict[str, Any]] = []
        for entry in entries:
            batch.append(entry)
            if len(batch) == BATCH:
                # as data, not as a message: a listing of millions waits for credit too
                stream.send(0, json.dumps(batch).encode() + b"\n")
                batch = []
        stream.send(0, json.dumps(batch).encode() + b"\n")
        return {"ok": None}

    def do_read(self, stream: Stream, path: str) -> dict[str, Any]:
        with self.files.open(path) as file:
            size = os.fstat(file.fileno()).st_size
            stream.tell({"size": size})
            if size > PIECE:
                stream.send_file(0, file.fileno())
            while data := file.read(PIECE):
                stream.send(0, data)
        return {"ok": None}

    def do_write(self, stream: Stream, path: str) -> dict[str, Any]:
        stream.views = True
        with self.files.replace(path) as file:
            blocks = BlockWriter(file.fileno())
            while (received := stream.receive_data(BLOCK))[0] == DATA:
                blocks.add(received[1])
            if received[0] != END:
                raise StreamLost("the owner gave up")
            blocks.flush()
        return {"ok": None}

    def do_watch(self, stream: Stream, path: str, interval: float) -> dict[str, Any]:
        """Tell what changes below a path, until the owner has enough."""

        def state() -> dict[str, tuple[Any, ...]]:
            return {
                entry["path"]: (entry["modified"], entry["size"], entry["type"])
                for entry in self.files.entries(path, None)
            }

        before = state()
        stream.send(0, b'["ready", ""]\n')
        while not stream.lost:
            began = time.monotonic()
            after = state()
            for change in changes(before, after):
                stream.send(0, json.dumps(change).encode() + b"\n")
            before = after
            time.sleep(max(interval, 5 * (time.monotonic() - began)))  # big trees: 1/6 of a core
        return {"ok": None}

    # snapshots --------------------------------------------------------------------
    def do_archive(self, stream: Stream, verb: str, **options: Any) -> dict[str, Any]:
        from . import archive  # with tarfile, when it is wanted

        if verb not in ("variables", "pack", "unpack"):
            raise ValueError(f"no verb {verb!r}")
        return {"ok": getattr(archive, verb)(self, stream, **options)}

    # processes --------------------------------------------------------------------
    def do_spawn(self, stream: Stream, **spec: Any) -> None:
        spec["cwd"] = self.files.resolve(spec.get("cwd") or ".")
        spawn: Spawn = execute
        if "main" in spec:
            spawn = self.forks.spawn if self.forks else launch
        else:
            self.adopting.wait()
        try:
            process = Process(spec, self.threads.start, self._ended, spawn)
        except ConnectionError:  # somebody killed the fork server: interpreters still start
            self.forks = None
            process = Process(spec, self.threads.start, self._ended, launch)
        self.processes[process.pid] = process
        if process.keep:
            self.kept[process.keep] = process
        process.attach(stream)

    def _ended(self, process: Process) -> None:
        self.processes.pop(process.pid, None)
        if process.keep and self.kept.get(process.keep) is process:
            del self.kept[process.keep]

    def do_attach(self, stream: Stream, keep: str | None = None, pid: int = 0) -> None:
        process = self.kept.get(keep) if keep else self.processes.get(pid)
        if process is None:
            raise ProcessLookupError(3, "no such process")
        process.attach(stream)

    def do_processes(self, stream: Stream) -> dict[str, Any]:
        """The commands that run, not the interpreters."""
        commands = [p for p in self.processes.values() if not p.keep]
        return {
            "ok": [
                {
                    "pid": p.pid,
                    "command": p.spec.get("argv") or p.spec["shell"],
                    "started": p.started,
                }
                for p in commands
            ]
        }

    def do_signal(self, stream: Stream, pid: int, number: int, whole: bool) -> dict[str, Any]:
        if pid not in self.processes:
            raise ProcessLookupError(3, "no such process")
        self.processes[pid].signal(number, whole=whole)
        return {"ok": None}

    def do_egress(self, stream: Stream, port: int) -> None:
        """Be the way out; the stream tells of each connection, which `carry` then has."""
        from .egress import Egress  # with socket, when it is wanted

        if self.egress is None:
            self.egress = Egress(self.threads.start, port)
        self.egress.attend(stream)

    def do_carry(self, stream: Stream, number: int) -> dict[str, Any]:
        if self.egress is None:
            raise ProcessLookupError(3, "no such connection")
        self.egress.carry(stream, number)
        return {"ok": None}

    def do_connect(self, stream: Stream, path: str, wait: float) -> dict[str, Any]:
        """Splice a unix socket in here to the stream."""
        until = time.monotonic() + wait
        while True:
            peer = socket.socket(socket.AF_UNIX)
            try:
                peer.connect(path)
                break
            except OSError:
                peer.close()
                if time.monotonic() > until:
                    raise
                time.sleep(0.01)
        self.threads.start(self._to_socket, stream, peer)
        with suppress(OSError):
            while data := peer.recv(PIECE):
                stream.send(0, data)
        stream.deliver(RESET, 0, None)  # wakes the thread that waits for more
        return {"ok": None}

    @staticmethod
    def _to_socket(stream: Stream, peer: socket.socket) -> None:
        with suppress(OSError):
            while (item := stream.receive())[0] == DATA:
                peer.sendall(item[2])
            peer.shutdown(socket.SHUT_WR if item[0] == END else socket.SHUT_RDWR)
