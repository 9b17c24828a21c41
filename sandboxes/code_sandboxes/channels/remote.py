"""A channel to a kernel of a Jupyter Server, over a connection that can be lost and made again."""

from __future__ import annotations

import json
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from queue import Empty
from typing import Any

from ..events import Done, ExecutionError, Output, StreamName
from ..inside.foreign import OUTPUT
from ..inside.sent import ASK_MISSED, MISSED, NUMBER
from ..inside.stream import WINDOW
from ..kernel import Emit
from .comm import DEAD
from .jupyter import JupyterChannel
from .messages import MARK
from .reconnect import Lifeline
from .remote_client import RemoteClient
from .remote_kernel import RemoteKernel, made
from .websocket import EventWaiter

MOST_MESSAGE = 8 << 20  # bytes; a server hangs up at a message of 10 MiB
PIECE = 2 << 20  # characters of a large answer
MOST_HELD = 64 << 20  # bytes; a kernel of ours has 1 MiB under way, and one display
AGAIN_SECONDS = 1.0  # between two requests for what is missing
SOON = 0.1


class RemoteChannel(JupyterChannel):
    """Understands `inside/foreign.py`: numbered messages and requests, output as displays, credit.

    Args:
        client: its connection, opened.
        steering: the kernel.
        why_lost: see Lifeline.
        adopted: whether a former owner has used the kernel, and may have left code running.
    """

    def __init__(
        self,
        client: RemoteClient,
        steering: RemoteKernel,
        why_lost: Callable[[], str],
        *,
        adopted: bool = False,
    ) -> None:
        self._heard: int | None = None if adopted else 0  # the last message's number
        self._away = adopted  # from a loss until it is known what was missed
        self._connected, self._asked_at, self._waiting_since = True, 0.0, 0.0
        # requests for what is missing: whether what was published then has reached us
        self._asks: dict[str, bool] = {}
        self._missed: tuple[str, dict[str, Any]] | None = None  # the answer to one of them
        self._held_messages, self._held_bytes = deque[dict[str, Any]](), 0
        self._held_jobs: deque[Callable[[], None]] = deque()
        self._request_now: tuple[dict[str, Any], dict[str, Any]] | None = None
        self._answered, self._rest = (0, ""), deque[str]()
        self._remote = steering
        super().__init__(client, steering, EventWaiter(client._message_received))
        Lifeline(client, why_lost, self._lose, self._regain, steering.died)
        self._waiter.wake()

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

    def last_words(self, text: str, stream: StreamName) -> None:
        """See JupyterChannel; it comes another way, which is open."""
        super()._in_thread(lambda: self._say(Output(text, stream)))

    def _in_thread(self, job: Callable[[], None]) -> None:
        def now_or_later() -> None:
            self._held_jobs.append(job) if self._away and not self._dead else job()

        super()._in_thread(now_or_later)

    def _wake_later(self, seconds: float) -> None:
        timer = threading.Timer(seconds, self._waiter.wake)
        timer.daemon = True
        timer.start()

    def _lose(self) -> None:
        self._connected, self._away, self._asks = False, True, {}

    def _regain(self) -> None:
        self._connected, self._away, self._asks, self._asked_at = True, True, {}, 0.0
        self._waiter.wake()

    # on the channel's thread --------------------------------------------------------
    def _submit(self, code: str, emit: Emit, silent: bool) -> None:
        self._rest.clear()
        self._client.acknowledged = self._heard or 0
        super()._submit(code, emit, silent)

    def _receive(self) -> None:
        super()._receive()
        with suppress(Empty):
            while self._open:
                self._take(self._client.control_channel.get_msg(timeout=0))
        if self._dead:
            self._run_held()
        elif self._away:
            self._recover()
        elif self._request_now is not None:
            self._consider()

    def _take(self, message: dict[str, Any]) -> None:
        number, kind = message["metadata"].get(NUMBER), message["header"]["msg_type"]
        parent = (message.get("parent_header") or {}).get("msg_id")
        if parent in self._asks:
            self._asks[parent] |= number is not None
            if kind == MISSED:
                self._missed = parent, message["content"]
        if number is None and kind in ("status", "shutdown_reply"):
            self._understand(message)  # the server's own
        elif self._away:
            self._hold(message)
        elif number is None or self._heard is None:
            if kind != "stream":  # that is the server's, on what it has dropped
                self._understand(message)
        elif number == self._heard + 1:
            self._heard = number
            self._understand(message)
        elif number > self._heard:  # a server drops what is too much for it
            self._away = True
            self._hold(message)

    def _hold(self, message: dict[str, Any]) -> None:
        self._held_messages.append(message)
        self._held_bytes += int(message["size"])
        if self._held_bytes > MOST_HELD:
            raise ValueError("it sends, and does not say what was missed")

    def _understand(self, message: dict[str, Any]) -> None:
        kind, content = message["header"]["msg_type"], message["content"]
        if kind == "status" and content.get("execution_state") in DEAD:
            self._remote.died("the server has restarted the kernel, which had died")
        elif kind == "shutdown_reply":
            self._remote.died("the server has ended the kernel")
        elif kind == "input_request" and str(content["prompt"]).startswith(MARK):
            asked = json.loads(str(content["prompt"])[len(MARK) :])
            self._requested(asked, message)
        elif kind == "display_data" and OUTPUT in content["data"]:
            said = {"name": content["metadata"]["name"], "text": content["data"][OUTPUT]}
            stream = {**message, "header": {**message["header"], "msg_type": "stream"}}
            super()._take({**stream, "content": said})
        else:
            super()._take(message)

    def _recover(self) -> None:
        """Ask the kernel for what it has sent and we have not got."""
        if self._missed is not None and self._asks.get(self._missed[0]):
            missed = self._missed[1]
            self._missed, self._asks = None, {}
            self._catch_up(missed)
        elif self._connected and time.monotonic() - self._asked_at > AGAIN_SECONDS:
            self._asked_at = time.monotonic()
            wanted = {"heard": self._heard, "request": self._request}
            self._asks[self._client.control(ASK_MISSED, wanted)] = False
            self._wake_later(AGAIN_SECONDS * 1.1)
        elif self._connected and not self._asks:
            self._wake_later(SOON)

    def _catch_up(self, missed: dict[str, Any]) -> None:
        heard, self._heard, self._away = self._heard, int(missed["count"]), False
        self._fence = ""
        for number, kind, parent, content in missed["missed"]:
            if heard is not None and number > heard:
                self._understand(made(kind, parent, content))
        if missed["reply"] is not None:
            self._understand(made("execute_reply", *missed["reply"]))
        if self._emit is not None and self._request and not missed["known"]:
            self._client.execute_again()
        held, self._held_messages, self._held_bytes = self._held_messages, deque(), 0
        for message in held:
            self._take(message)
        if missed["asked"] is not None:
            asked, parent = missed["asked"]
            prompt = MARK + json.dumps(asked)
            self._requested(asked, made("input_request", parent, {"prompt": prompt}))
        self._run_held()

    def _run_held(self) -> None:
        while self._held_jobs and (self._dead or not self._away):
            self._held_jobs.popleft()()

    def _requested(self, asked: dict[str, Any], message: dict[str, Any]) -> None:
        number = int(asked["n"])
        if number == self._answered[0]:  # it was asked again: the kernel took an older answer
            self._client.input(self._answered[1])
            return
        if self._request_now is None or self._request_now[0]["n"] < number:
            self._request_now, self._pending = (asked, message), ""

    def _consider(self) -> None:
        """Act on a request, once the output that was sent before it is there."""
        assert self._request_now is not None
        asked, message = self._request_now
        if self._heard is not None and self._heard < int(asked["after"]):
            # it goes another way; and a server may have dropped it
            self._waiting_since = self._waiting_since or time.monotonic()
            self._away = time.monotonic() - self._waiting_since > AGAIN_SECONDS
            self._wake_later(SOON)
            return
        self._waiting_since = 0.0
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
