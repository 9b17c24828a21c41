"""A kernel of ours below the supervisor, and the ZMQ client that speaks to it."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from concurrent.futures import Future
from queue import Empty
from typing import Any

import zmq
from jupyter_client.blocking.client import BlockingKernelClient

from ..errors import SandboxStartError
from ..inside.processes import CONTROL, STDERR
from ..machine import Machine
from .child import START_SECONDS, InterpreterProcess
from .jupyter import JupyterChannel, ZmqWaiter
from .messages import unpack

MOST_MESSAGE = 64 << 20  # bytes: the kernel may be hostile; its connection is cut for more
MOST_QUEUED = 16  # messages that are held here; the others wait in the kernel
UNWELCOME = 0.5  # seconds without a word of the kernel's
MOST_LEFT = 1 << 20  # bytes that are read of what a kernel leaves in its raw pipes


class KernelProcess:
    """Steers the kernel by signals; what it says on its raw pipes is kept for a diagnosis."""

    def __init__(self, machine: Machine, name: str, info: Mapping[str, Any]) -> None:
        self.channel: JupyterChannel | None = None
        self._kept = name in machine.kept
        self._listening = threading.Event()
        self._said = b""
        self._left = 0
        options = {"connection": dict(info)}
        self._child = InterpreterProcess(machine, name, "kernel", options, self._data, self._ended)

    def start(self) -> None:
        """Start it, and wait until its sockets are bound.

        Raises:
            SandboxStartError: it ended before, or took too long.
        """
        self._child.start()
        self._child.wait_started()
        if not self._kept and not self._listening.wait(START_SECONDS):
            self._child.kill()
        if self._child.ended or not (self._kept or self._listening.is_set()):
            said = self._said.decode("utf-8", "replace").strip()[-2000:]
            raise SandboxStartError(f"the kernel did not start: {self._child.ended} {said}".strip())

    def attach(self, channel: JupyterChannel) -> None:
        """Tell the channel of the kernel's end, which may have come already."""
        self.channel = channel
        if self._child.ended:
            channel.died(self._child.ended)

    def interrupt(self, *, again: bool) -> Future[Any] | None:
        """See Steering."""
        return self._child.interrupt(again=again)

    def kill(self) -> None:
        """See Steering."""
        self._child.kill()

    def close(self, *, keep: bool) -> None:
        """See Steering."""
        self._child.close(keep=keep)

    def _data(self, lane: int, payload: bytes) -> None:
        self._child.taken(len(payload))
        if lane == CONTROL:
            self._listening.set()
            return
        if lane == STDERR:
            self._said = (self._said + payload)[-4000:]
        self._left += len(payload)
        if self.channel is not None and self._left <= MOST_LEFT:
            text = payload.decode("utf-8", "replace")
            self.channel.last_words(text, "stderr" if lane == STDERR else "stdout")

    def _ended(self, why: str) -> None:
        self._listening.set()
        if self.channel is not None:
            self.channel.died(why)


def connect(machine: Machine, name: str, info: Mapping[str, Any]) -> JupyterChannel:
    """Start, or find again, the kernel of a context.

    Args:
        info: its connection, as a connection file has it. It goes to the kernel over the
            machine's own stream: a file that both sides open is one that code could swap.

    Raises:
        SandboxStartError: it does not run.
    """
    kernel = KernelProcess(machine, name, info)
    kernel.start()
    client: Any = BlockingKernelClient()
    for option, most in ((zmq.MAXMSGSIZE, MOST_MESSAGE), (zmq.RCVHWM, MOST_QUEUED)):
        client.context.setsockopt(option, most)  # of the sockets that it will make
    client.load_connection_info(dict(info))
    client.session.unpack = unpack
    client.start_channels(hb=False)
    try:
        _await_welcome(client)
    except SandboxStartError:
        client.stop_channels()
        kernel.kill()
        raise
    channel = JupyterChannel(client, kernel, ZmqWaiter(client))
    kernel.attach(channel)
    return channel


def _await_welcome(client: Any) -> None:
    """Until the kernel knows of our subscription: output before that would be lost.

    It welcomes each subscriber, and now and then does not: what it sends at that moment can keep
    it from noticing one. So it is asked for something, by the channel that it always answers.
    """
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until:
        try:
            client.iopub_channel.get_msg(timeout=UNWELCOME)
            return
        except Empty:
            client.control_channel.send(client.session.msg("kernel_info_request"))
    raise SandboxStartError("the kernel does not answer")
