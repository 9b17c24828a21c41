"""Kernels of ours behind a Jupyter Server that runs beside them in the sandbox."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from queue import Empty
from typing import Any

from ..errors import SandboxError, SandboxGoneError, SandboxStartError
from ..inside.services import SERVICE
from ..inside.stream import DATA, MESSAGE, Stream, StreamLost
from ..machine import Machine
from ..text import printable
from .child import START_SECONDS
from .door import Door
from .jupyter import JupyterChannel
from .kernel_process import KernelProcess
from .websocket import Client, EventWaiter, Server

NAME = f"{SERVICE}server"  # of the process that the supervisor keeps
DOUBT_SECONDS = 2.0
MOST_QUEUED = 64  # messages of output that the host holds; the rest waits inside


class KernelServer:
    """The Jupyter Server of a sandbox, as the host sees it.

    Args:
        machine: whose supervisor is its parent.
        place: where it is: {"socket": path, "kernels": folder, "token": text}.
        kept: whether it runs already, left by a former owner.
    """

    def __init__(self, machine: Machine, place: Mapping[str, str], *, kept: bool) -> None:
        self.place, self._ended = dict(place), threading.Event()
        self._doubted = False  # whether a connection was lost, for a reason not known yet
        self._said = b""
        if kept:
            machine.open(self._push, "attach", keep=NAME)
        else:
            machine.open(self._push, "spawn", main="server", options=self.place, keep=NAME)
        self._door = Door(machine, place["socket"])
        self._server = Server(f"http://127.0.0.1:{self._door.port}", place["token"])

    @property
    def ended(self) -> bool:
        """Whether the server has ended; a lost connection comes a moment before the word of it."""
        if self._doubted:
            self._doubted = False
            self._ended.wait(DOUBT_SECONDS)
        return self._ended.is_set()

    def close(self) -> None:
        """Let go of it; the sandbox's end is its end."""
        self._door.close()

    def connect(self, machine: Machine, name: str, info: Mapping[str, Any]) -> JupyterChannel:
        """Start, or find again, the kernel of a context; speak to it through the server.

        Args:
            info: its connection, with a `kernel_name` that no other kernel has.

        Raises:
            SandboxStartError: it does not run, or the server does not.
        """
        kernel = KernelProcess(machine, name, info)
        kernel.start()
        try:
            client = self._client(str(info["kernel_name"]))
        except SandboxError:
            kernel.kill()
            raise
        channel = JupyterChannel(client, kernel, EventWaiter(client._message_received))

        def lost() -> None:
            self._doubted = not client.stopping
            channel.died("the connection to the kernel's server was lost")

        client.lost = lost
        kernel.attach(channel)
        if client.closed:
            client.lost()
        return channel

    def _client(self, wanted: str) -> Client:
        until = time.monotonic() + START_SECONDS
        while not self._ended.is_set() and time.monotonic() < until:
            try:
                found = self._server.kernels().get(wanted)
            except SandboxGoneError as error:
                raise SandboxStartError(self._failure(str(error))) from error
            if found is not None:
                return self._connected(found)
            time.sleep(0.01)
        raise SandboxStartError(self._failure("it does not know the kernel"))

    def _connected(self, kernel: str) -> Client:
        if not kernel.replace("-", "").isalnum():  # it becomes part of an address
            raise SandboxStartError(self._failure("it sent what is no id of a kernel"))
        client = self._server.client(kernel)
        client.most_queued = MOST_QUEUED
        client.open()
        # Once there is an answer the server passes everything on; output before would be lost.
        # On the control channel, since the kernel that a former owner left may be busy.
        request = client.session.msg("kernel_info_request")
        with suppress(Empty, KeyError):
            client.control_channel.send(request)
            until = time.monotonic() + START_SECONDS
            while (left := until - time.monotonic()) > 0:
                reply = client.control_channel.get_msg(timeout=left)
                if reply["parent_header"]["msg_id"] == request["header"]["msg_id"]:
                    return client
        client.stop_channels()
        raise SandboxStartError(self._failure("the kernel does not answer"))

    def _failure(self, why: str) -> str:
        said = printable(self._said.decode("utf-8", "replace").strip()[-2000:])
        return f"the Jupyter Server inside failed: {why} {said}".strip()

    def _push(self, stream: Stream, kind: int, lane: int, payload: Any) -> None:
        if kind == DATA:
            self._said = (self._said + payload)[-4000:]
            with suppress(StreamLost):
                stream.taken(len(payload))
        elif kind != MESSAGE or "exit" in payload or "error" in payload:
            self._ended.set()
