"""Jupyter Servers, one for each runtime, forked from the nursery."""

from __future__ import annotations

import asyncio
import json
import secrets
import socket
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

from .machine import Machine

START_SECONDS = 60.0
WORD_SECONDS = 15.0
BOOT = """
import sys
sys.path.insert(0, {folder!r})
from {package}.nursery import main
del sys.path[0]
main()
"""


class Server:
    """A Jupyter Server process, all that it has started, and the folder it lives in.

    Args:
        machine: its folder.
        control: leads to its keeper.
    """

    def __init__(self, machine: Machine, control: socket.socket) -> None:
        self.machine = machine
        self._socket = control
        self._writer: asyncio.StreamWriter | None = None
        self._said = {word: asyncio.Event() for word in ("stop", "cont", "died", "gone")}
        self._listener: asyncio.Task[None] | None = None
        self._ending = False

    @property
    def dead(self) -> bool:
        """Whether its process has ended."""
        return self._said["died"].is_set()

    async def connect(self) -> None:
        """Hear its keeper from here on."""
        reader, self._writer = await asyncio.open_unix_connection(sock=self._socket)
        self._listener = asyncio.create_task(self._listen(reader))

    async def _listen(self, reader: asyncio.StreamReader) -> None:
        try:
            while line := await reader.readline():
                self._said[line.decode().strip()].set()
        except ConnectionError:
            pass  # as good as an end of file
        for event in self._said.values():  # the keeper is gone, and all it kept
            event.set()

    async def await_ready(self) -> None:
        """Until it takes connections.

        Raises:
            RuntimeError: it has ended instead, or takes too long.
        """
        until = asyncio.get_running_loop().time() + START_SECONDS
        while not self.dead and asyncio.get_running_loop().time() < until:
            try:
                _, writer = await asyncio.open_unix_connection(self.machine.socket)
            except OSError:
                await asyncio.sleep(0.005)
            else:
                writer.close()
                return
        log = self.machine.log.read_text(errors="replace")[-2000:]
        raise RuntimeError(f"the runtime's Jupyter Server did not start: {log}")

    async def _tell(self, word: str, answer: str) -> None:
        assert self._writer is not None and self._listener is not None
        if self._ending or self._listener.done():
            return  # what it would do has happened
        self._said[answer].clear()
        self._writer.write(f"{word}\n".encode())
        async with asyncio.timeout(WORD_SECONDS):
            await self._said[answer].wait()

    async def pause(self) -> None:
        """Stop its processes where they are."""
        await self._tell("stop", "stop")

    async def resume(self) -> None:
        """Let them go on."""
        await self._tell("cont", "cont")

    async def kill(self) -> None:
        """Have the server process die, as if of itself."""
        await self._tell("kill", "died")

    async def end(self) -> None:
        """End all its processes and remove its folder."""
        assert self._writer is not None and self._listener is not None
        self._ending = True
        self._writer.write_eof()
        async with asyncio.timeout(WORD_SECONDS):
            await self._said["gone"].wait()
        self._writer.close()
        await self._listener


@dataclass
class Nursery:
    """Where servers are forked.

    Args:
        base: a folder that is removed when everything has ended.
    """

    base: Path
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    _socket: socket.socket | None = None
    _process: subprocess.Popen[bytes] | None = None
    _rooted: bool | None = None  # known when it is ready

    def open(self) -> None:
        """Start it; it is ready some seconds later."""
        self._socket, theirs = socket.socketpair()
        self._socket.setblocking(False)
        package = Path(__file__).parent
        code = BOOT.format(folder=str(package.parent), package=package.name)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-c", code, str(theirs.fileno()), str(self.base)],
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )

    async def start(self, machine: Machine, base_url: str, token: str) -> Server:
        """A server that takes connections.

        Args:
            machine: where it lives.
            base_url: begins and ends with a slash.
            token: its token.

        Raises:
            RuntimeError: it did not start.
        """
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        with theirs:
            rooted = await self.rooted()
            request = json.dumps(machine.server(base_url, token, rooted=rooted)).encode()
            await self._request(request, theirs.fileno())
        server = Server(machine, ours)
        await server.connect()
        try:
            await server.await_ready()
        except BaseException:
            await server.end()
            raise
        return server

    async def rooted(self) -> bool:
        """Whether it can give runtimes a root of their own; known when it is ready."""
        assert self._socket is not None
        async with self._lock:
            if self._rooted is None:
                said = await asyncio.get_running_loop().sock_recv(self._socket, 1)
                if not said:
                    raise RuntimeError("the nursery did not start")
                self._rooted = said == b"R"
        return self._rooted

    async def _request(self, request: bytes, descriptor: int) -> None:
        assert self._socket is not None
        async with self._lock:
            socket.send_fds(self._socket, [request], [descriptor])
            if not await asyncio.get_running_loop().sock_recv(self._socket, 1):
                raise RuntimeError("the nursery has ended")

    def close(self) -> None:
        """End it, and all that was forked from it."""
        assert self._socket is not None and self._process is not None
        self._socket.close()
        self._process.wait(WORD_SECONDS)


CROCKFORD = "0123456789abcdefghjkmnpqrstvwxyz"


def ulid(milliseconds: int) -> str:
    """A lower-case ULID, as the service names things."""
    number = (milliseconds << 80) | secrets.randbits(80)
    return "".join(CROCKFORD[number >> shift & 31] for shift in range(125, -1, -5))
