"""A channel to `inside/worker.py`, its pipes carried by the machine's stream."""

from __future__ import annotations

import codecs
import json
import os
from collections.abc import Mapping
from concurrent.futures import Future
from typing import Any, Literal

from ..events import Ask, Clear, Display, Done, Event, ExecutionError, Output, weight
from ..inside.helper import too_many_parts
from ..inside.processes import CONTROL, STDERR
from ..inside.stream import StreamLost
from ..kernel import Emit
from ..machine import Machine
from .child import InterpreterProcess, death

MOST_LINE = 64 << 20  # bytes of one event: the interpreter may be hostile


def event_of(message: Any, size: int) -> Event | None:
    """A line of the worker, as an event; None for what is no event.

    Args:
        size: the bytes of the line.
    """
    match message:
        case {"out": str(text), "stream": "stdout" | "stderr" as stream}:
            return Output(text, stream)
        case {"display": dict(data), "main": bool(main)}:
            name = message.get("id")
            update = bool(message.get("update"))
            return Display(data, main, name if isinstance(name, str) else None, update, size)
        case {"clear": bool(wait)}:
            return Clear(wait)
        case {"error": [str(name), str(value), str(trace)]}:
            return ExecutionError(name, value, trace, size=size)
        case {"ask": int(number), "kind": "input" | "call" as kind, "payload": dict(payload)}:
            return Ask(str(number), kind, payload, size)
        case {"done": int(count)}:
            return Done(count)
    return None


class WorkerChannel:
    """Everything arrives on the machine's reading thread and is emitted there."""

    def __init__(self, machine: Machine, name: str) -> None:
        self._rest = bytearray()
        self._emit: Emit | None = None
        self._run = int.from_bytes(os.urandom(4), "big")  # the number of the execution
        self._decoders = [codecs.getincrementaldecoder("utf-8")("replace") for _ in range(3)]
        self._process = InterpreterProcess(machine, name, "worker", {}, self._data, self._ended)
        self._process.start()
        self._process.wait_started()

    def submit(self, code: str, emit: Emit, *, silent: bool = False) -> None:
        """See Channel."""
        self._emit = emit
        if self._process.ended:
            self._ended(self._process.ended)
            return
        self._run += 1
        self._tell({"code": code, "silent": silent, "run": self._run})

    def reply(self, ask: str, answer: Mapping[str, Any]) -> None:
        """See Channel."""
        self._tell({"reply": int(ask), **answer})

    def taken(self, size: int) -> None:
        """See Channel."""
        self._process.taken(size)

    def interrupt(self, *, again: bool = False) -> Future[Any] | None:
        """See Channel."""
        return self._process.interrupt(again=again)

    def kill(self) -> None:
        """See Channel."""
        self._process.kill()

    def close(self, *, keep: bool = False) -> None:
        """See Channel."""
        self._process.close(keep=keep)

    def _tell(self, message: Mapping[str, Any]) -> None:
        try:
            self._process.write(json.dumps(message).encode() + b"\n")
        except StreamLost:
            self._ended("the sandbox is gone")

    def _data(self, lane: int, payload: bytes) -> None:
        held = self._lines(payload) if lane == CONTROL else self._raw(lane, payload)
        self._process.taken(len(payload) - held)

    def _raw(self, lane: int, payload: bytes) -> int:
        """What C code and children wrote. Returns the credit that waits for the reader."""
        text = self._decoders[1 if lane != STDERR else 2].decode(payload)
        name: Literal["stdout", "stderr"] = "stderr" if lane == STDERR else "stdout"
        return self._say(Output(text, name)) if text else 0

    def _lines(self, payload: bytes) -> int:
        """What the interpreter itself says; returns the credit that waits for the reader."""
        *whole, rest = payload.split(b"\n")
        if whole:
            whole[0] = bytes(self._rest + whole[0])
            self._rest.clear()
        self._rest += rest
        held = 0
        try:
            if len(self._rest) > MOST_LINE:
                raise ValueError("an event is too long")
            if any(map(too_many_parts, whole)):
                raise ValueError("an event has too many values")
            for line in whole:
                held += self._event(json.loads(line), len(line))
        except (ValueError, RecursionError) as error:
            # code has written to our descriptor: nothing more of this interpreter can be believed
            self._rest.clear()
            self._process.kill()
            self._ended(f"it broke the protocol: {error}")
        return held

    def _event(self, message: Any, size: int) -> int:
        event = event_of(message, size)
        if isinstance(event, Done) and message.get("run") != self._run:
            return 0  # a forged end came before this true one of an earlier execution
        if event is not None:
            return self._say(event)
        if not (isinstance(message, dict) and "ready" in message):
            raise ValueError("not an event")
        return 0

    def _say(self, event: Event) -> int:
        if (emit := self._emit) is None:
            return 0
        if isinstance(event, Done):
            self._emit = None
        emit(event)
        return weight(event)

    def _ended(self, why: str) -> None:
        self._say(death(why))
        self._say(Done(state_lost=True))
