"""A kernel of a Jupyter Server, steered by the supervisor that sits beside it, and by REST."""

from __future__ import annotations

import json
import signal
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from queue import Empty
from typing import Any

from ..errors import SandboxError, SandboxGoneError, SandboxNotFoundError, SandboxStartError
from ..inside.helper import AGAIN
from ..inside.processes import STDERR
from ..inside.stream import DATA, MESSAGE, Stream, StreamLost
from ..machine import Machine
from ..text import printable
from ..wire import FOREIGN, PLACE, inject
from .jupyter import JupyterChannel
from .jupyter_server import Server
from .remote_client import RemoteClient

INJECT_SECONDS = PLACE_SECONDS = 60.0
SUPERVISES = "'_code_sandboxes.comm' in __import__('sys').modules"
FINISH = "__import__('sys').modules['_code_sandboxes.comm'].CommSupervisor.here.finish(False)"
WHO = "[__import__('os').getpid(), *__import__('sys').modules['_code_sandboxes.foreign'].raw_pipes]"
LAST_SECONDS = 0.3  # that a dead kernel's last messages may take, which go another way


def run_silently(client: RemoteClient, code: str, wanted: str = "None") -> str:
    """Execute our own code in a kernel that nobody else uses yet.

    Args:
        wanted: an expression, evaluated afterwards.

    Returns:
        The repr of its value.

    Raises:
        SandboxStartError: the code failed, or the kernel does not answer.
    """
    asked = client.execute(code, silent=True, allow_stdin=True, user_expressions={"wanted": wanted})
    until = time.monotonic() + INJECT_SECONDS
    while time.monotonic() < until and not client.closed:
        with suppress(Empty):
            message = client.shell_channel.get_msg(timeout=0.5)
            if message["parent_header"].get("msg_id") != asked:
                continue
            said = message["content"]
            if said.get("status") != "ok":
                why = f"{said.get('ename')}: {said.get('evalue')}"
                raise SandboxStartError(printable(f"the kernel cannot be used: {why}"))
            return str(said["user_expressions"]["wanted"]["data"]["text/plain"])
    raise SandboxStartError("the kernel does not answer")


def move_in(machine: Machine, client: RemoteClient) -> list[int]:
    """Make a fresh kernel one of the sandbox's; its pid, and its raw pipes.

    Raises:
        SandboxStartError: it cannot be used.
    """
    place = machine.call("place").result(PLACE_SECONDS)
    options = {
        **{name: place[name] for name in ("base", "cwd", "env", "python")},
        "machine_name": place["machine"],
        "own": place["site"],
    }
    said = run_silently(client, inject("foreign", FOREIGN, options), WHO)
    return [int(number) for number in json.loads(said)]


def check_supervisor(client: RemoteClient) -> None:
    """See that a kernel is a supervisor's: a server starts a killed one again, empty.

    Raises:
        SandboxNotFoundError: it is not.
    """
    if run_silently(client, "None", SUPERVISES) != "True":
        raise SandboxNotFoundError("its supervisor was killed")


def find_kept(machine: Machine, name: str) -> tuple[int, str]:
    """The kernel of a context that a former owner has left: its process, and its id."""
    found = machine.call("guarded", name=name).result(PLACE_SECONDS)
    return int(found["pid"]), str(found["kernel"])


def finish(server: Server, supervisor: str, id: str) -> None:
    """Have everything ended, though the connection to the supervisor was lost, or it died.

    Args:
        supervisor: its kernel, which the server may have restarted.
        id: the sandbox's.
    """
    for code in (FINISH, inject("place", PLACE, {"id": id})):
        with suppress(SandboxError, OSError):
            server.ask("GET", f"/api/kernels/{supervisor}")
            again = server.client(supervisor)
            try:
                run_silently(again, code)
                return
            finally:
                again.stop_channels()


class RemoteKernel:
    """Steers a kernel through the supervisor, which sits beside it; REST ends it for good.

    Args:
        kernel: its id at the server.
        pid: its process, as the supervisor sees it.
        delete: has the server end a kernel, in the background.
    """

    def __init__(
        self, machine: Machine, kernel: str, pid: int, delete: Callable[[str], None]
    ) -> None:
        self._machine, self.kernel, self._pid = machine, kernel, pid
        self._delete, self._killed, self._exiting = delete, False, False
        self._channel: JupyterChannel | None = None
        self.ended = ""

    def attach(self, channel: JupyterChannel, name: str, raw: Sequence[int] | None) -> None:
        """Tell the channel of the kernel's end.

        Args:
            name: the context's.
            raw: the kernel's descriptors of its raw pipes; None where a former owner has told.
        """
        self._channel = channel
        pid, kernel = self._pid, self.kernel
        self._machine.open(self._push, "guard", pid=pid, kernel=kernel, name=name, raw=raw)

    def _push(self, stream: Stream, kind: int, lane: int, payload: Any) -> None:
        if kind == DATA:
            with suppress(StreamLost):
                stream.taken(len(payload))
            if self._channel is not None:
                text = payload.decode("utf-8", "replace")
                self._channel.last_words(text, "stderr" if lane == STDERR else "stdout")
        elif kind != MESSAGE:  # the stream's end, after an exit or without one
            if not self._exiting:
                self.died(str(self._machine.loss()))
        elif "error" in payload:
            self.died("the supervisor cannot see the kernel's process")
        elif "exit" in payload:
            self._exited()

    def _exited(self) -> None:
        why, self._exiting = "the kernel's process has ended", True
        if self._killed:
            self.died(why)
        else:
            timer = threading.Timer(LAST_SECONDS, self.died, [why])
            timer.daemon = True
            timer.start()

    def died(self, why: str) -> None:
        """It is gone; the first reason counts."""
        if not self.ended and self._channel is not None:
            self.ended = why
            self._channel.died(why)

    def interrupt(self, *, again: bool) -> Future[Any] | None:
        """See Steering."""
        return self._signal(AGAIN if again else signal.SIGINT, whole=False)

    def kill(self) -> None:
        """See Steering."""
        self._killed = True
        self._signal(signal.SIGKILL, whole=True)

    def _signal(self, number: int, *, whole: bool) -> Future[Any] | None:
        if not self.ended:
            with suppress(SandboxGoneError, StreamLost):
                return self._machine.signal(self._pid, number, whole=whole)
        return None

    def close(self, *, keep: bool) -> None:
        """See Steering."""
        if not keep:
            self.kill()
            self._delete(self.kernel)


def made(kind: str, parent: str, content: Any) -> dict[str, Any]:
    """A message, of what the kernel has kept of it."""
    about = {"metadata": {}, "parent_header": {"msg_id": parent}, "buffers": []}
    return {**about, "header": {"msg_type": kind}, "content": content}
