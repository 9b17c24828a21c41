"""The control socket of a plain interpreter: events to the host, its messages back."""

from __future__ import annotations

import _socket as socket  # all that is needed of socket, which takes 4 ms to import
import os
import threading
from _queue import SimpleQueue  # without the rest of queue, which takes 1 ms
from collections.abc import Mapping
from contextlib import suppress

# by name: code that replaces the module's must not replace ours
from json import dumps, loads
from os import getpid

from . import helper
from .whole import Whole

TYPE_CHECKING = False  # not that of typing, which takes 10 ms to import
if TYPE_CHECKING:
    from typing import Any

MOST_EVENT = 60 << 20  # bytes of an event: the host takes little more


def line(event: dict[str, Any]) -> bytes:
    """An event as the host reads it."""
    data = dumps(event).encode() + b"\n"
    if len(data) > MOST_EVENT or helper.too_many_parts(data):
        most = f"{MOST_EVENT} bytes and {helper.MOST_PARTS} values"
        raise ValueError(f"a result is at most {most} of JSON")
    return data


class Host:
    """The other end of the control socket."""

    def __init__(self, descriptor: int) -> None:
        self._socket = socket.socket(fileno=descriptor)
        self._send, self._sending = self._socket.sendall, threading.Lock()
        self.whole = Whole()
        self._answers: dict[int, SimpleQueue[dict[str, Any]]] = {}
        self._asked, self._held = 0, b""
        self.pid = getpid()
        self.runs: SimpleQueue[dict[str, Any]] = SimpleQueue()

    def tell(self, **event: Any) -> None:
        data = line(event)
        if getpid() != self.pid:  # a forked child must not speak for us
            return
        with self.whole, self._sending:  # half a line would be the end of us
            data, self._held = self._held + data, b""
            self._send(data)

    def tell_with_next(self, **event: Any) -> None:
        """The same, where another event follows at once: two would wake everybody twice."""
        data = line(event)
        with self.whole, self._sending:
            self._held += data

    def ask(self, kind: str, payload: Mapping[str, Any]) -> dict[str, Any]:
        if getpid() != self.pid:
            raise RuntimeError("only the interpreter itself can ask the host, not a forked child")
        with self._sending:
            self._asked += 1
            number = self._asked
        answers = self._answers[number] = SimpleQueue()
        try:
            self.tell(ask=number, kind=kind, payload=payload)
            return answers.get()
        finally:
            del self._answers[number]

    def listen(self) -> None:
        with suppress(OSError), open(self._socket.fileno(), "rb", closefd=False) as lines:
            for line in lines:
                message = loads(line)
                if "reply" not in message:
                    self.runs.put(message)
                elif waiting := self._answers.get(message["reply"]):
                    waiting.put(message)
        os._exit(1)  # the supervisor is gone, or has let go of us

    def after_fork(self) -> None:
        """In a child: our socket is the parent's, plain output is the child's own."""
        self._socket.close()
        self._sending = threading.Lock()
