"""A kernel of a Jupyter Server as an interpreter: steered by pid and by REST."""

from __future__ import annotations

import json
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from contextlib import suppress
from queue import Empty
from typing import Any

from ..errors import SandboxGoneError, SandboxStartError
from ..events import Done, ExecutionError
from ..inside.foreign import OUTPUT
from ..inside.helper import AGAIN
from ..inside.stream import MESSAGE, WINDOW, Stream, StreamLost
from ..kernel import Emit
from ..machine import Machine
from ..text import printable
from .comm import DEAD
from .jupyter import JupyterChannel
from .jupyter_server import RemoteClient
from .messages import MARK
from .websocket import EventWaiter

INJECT_SECONDS = 60.0
MOST_MESSAGE = 8 << 20  # bytes; a server hangs up at a message of 10 MiB
PIECE = 2 << 20  # characters of a large answer
PATIENCE = 2.0  # seconds that a request waits for output that was sent before it


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
        self._machine, self._kernel, self._pid = machine, kernel, pid
        self._delete = delete
        self._channel: JupyterChannel | None = None
        self.ended = ""

    def attach(self, channel: JupyterChannel) -> None:
        """Tell the channel of the kernel's end."""
        self._channel = channel
        self._machine.open(self._push, "guard", pid=self._pid, kernel=self._kernel)

    def _push(self, stream: Stream, kind: int, lane: int, payload: Any) -> None:
        if kind == MESSAGE and isinstance(payload, dict) and "pid" in payload:
            return
        why = "the kernel's process has ended"
        if kind != MESSAGE:
            why = str(self._machine.loss())
        elif isinstance(payload, dict) and "error" in payload:
            why = "the supervisor cannot see the kernel's process"
        self.died(why)

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
            self._delete(self._kernel)


class RemoteChannel(JupyterChannel):
    """Understands `inside/foreign.py`: output as displays, numbered requests, credit."""

    def __init__(self, client: RemoteClient, steering: RemoteKernel) -> None:
        self._heard = 0  # pieces of output
        self._request_now: tuple[dict[str, Any], dict[str, Any]] | None = None
        self._patience = 0.0
        self._answered = (0, "")
        self._rest: deque[str] = deque()
        self._remote = steering
        client.lost = lambda: steering.died("the connection to the kernel was lost")
        super().__init__(client, steering, EventWaiter(client._message_received))

    def submit(self, code: str, emit: Emit, *, silent: bool = False) -> None:
        """See Channel."""
        size = len(code.encode("utf-8", "surrogatepass"))
        if size > MOST_MESSAGE:
            why = f"code of {size} bytes: a Jupyter Server takes {MOST_MESSAGE}; write it to a file"
            emit(ExecutionError("ValueError", why))
            emit(Done())
            return
        super().submit(code, emit, silent=silent)

    def reply(self, ask: str, answer: Mapping[str, Any]) -> None:
        """See Channel."""

        def send() -> None:
            if ask == self._pending:
                self._pending = ""
                text = json.dumps(answer)
                if len(text) < PIECE:
                    self._answer(dict(answer))
                    return
                self._rest.extend(text[at : at + PIECE] for at in range(0, len(text), PIECE))
                self._answer({"pieces": len(self._rest)})

        self._in_thread(send)

    # on the channel's thread --------------------------------------------------------
    def _submit(self, code: str, emit: Emit, silent: bool) -> None:
        self._rest.clear()
        super()._submit(code, emit, silent)

    def _receive(self) -> None:
        super()._receive()
        if self._request_now is not None:
            self._consider()

    def _take(self, message: dict[str, Any]) -> None:
        kind, content = message["header"]["msg_type"], message["content"]
        if kind == "status" and content.get("execution_state") in DEAD:
            self._remote.died("the server has restarted the kernel, which had died")
        elif kind == "shutdown_reply":
            self._remote.died("the server has ended the kernel")
        elif kind == "input_request" and str(content["prompt"]).startswith(MARK):
            self._requested(json.loads(str(content["prompt"])[len(MARK) :]), message)
        elif kind == "display_data" and OUTPUT in content["data"]:
            about = content["metadata"]
            self._heard = int(about["n"])
            said = {"name": about["name"], "text": content["data"][OUTPUT]}
            stream = {**message, "header": {**message["header"], "msg_type": "stream"}}
            super()._take({**stream, "content": said})
        else:
            super()._take(message)

    def _requested(self, asked: dict[str, Any], message: dict[str, Any]) -> None:
        number = int(asked["n"])
        if number == self._answered[0]:  # it was asked again: the kernel took an older answer
            self._client.input(self._answered[1])
            return
        if self._request_now is None or self._request_now[0]["n"] != number:
            self._request_now, self._patience = (asked, message), time.monotonic() + PATIENCE
            self._pending = ""

    def _consider(self) -> None:
        """Act on a request, once the output that was sent before it is there."""
        assert self._request_now is not None
        asked, message = self._request_now
        if self._heard < int(asked["after"]) and time.monotonic() < self._patience:
            timer = threading.Timer(0.1, self._waiter.wake)
            timer.daemon = True
            timer.start()
            return
        if asked["kind"] == "credit":
            if self._emit is None or self._unread < WINDOW:
                self._answer({})
        elif asked["kind"] == "more":
            self._answer({"piece": self._rest.popleft() if self._rest else ""})
        elif self._pending:
            return  # it is with the caller
        elif message["parent_header"].get("msg_id") != self._request or self._emit is None:
            self._answer({"error": ["RuntimeError", "nothing runs that could answer this"]})
        else:
            self._say(self._ask(message["content"]))

    def _answer(self, answer: dict[str, Any]) -> None:
        if self._request_now is not None:
            number = self._request_now[0]["n"]
            self._request_now = None
            self._answered = (number, json.dumps({**answer, "n": number}))
            self._client.input(self._answered[1])
