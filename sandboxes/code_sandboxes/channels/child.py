"""An interpreter as a child of the supervisor: its pipes, its signals, its end."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from contextlib import suppress
from typing import Any

from ..errors import SandboxGoneError, SandboxStartError
from ..events import ExecutionError
from ..inside.helper import AGAIN
from ..inside.processes import CONTROL
from ..inside.stream import DATA, END, MESSAGE, RESET, Stream, StreamLost
from ..machine import Machine

START_SECONDS = 60.0
OUT_OF_MEMORY = "the interpreter was ended: the sandbox has no memory left"


def death(why: str) -> ExecutionError:
    """What an execution is told of its interpreter's end."""
    name = "OutOfMemory" if why == OUT_OF_MEMORY else "InterpreterDied"
    return ExecutionError(name, why, state_lost=True)


class InterpreterProcess:
    """The interpreter of a name: started, or taken over from a former owner.

    Args:
        machine: whose supervisor is its parent.
        name: the context's name; one that a former owner kept is taken over.
        main: which module of ours it runs.
        options: what that is given.
        on_data: (lane, bytes), on the reading thread; gives credit back with `taken`.
        on_end: called once, with the reason, on the reading thread.
    """

    def __init__(
        self,
        machine: Machine,
        name: str,
        main: str,
        options: Mapping[str, Any],
        on_data: Callable[[int, bytes], None],
        on_end: Callable[[str], None],
        **spec: Any,
    ) -> None:
        self._machine, self._on_data, self._on_end = machine, on_data, on_end
        self._started = threading.Event()
        self._pid: int | None = None
        self.ended = ""
        self._name, self._spec = name, {"main": main, "options": dict(options), **spec}

    def start(self) -> None:
        """Ask for it; from here on the callbacks are called."""
        name, machine = self._name, self._machine
        if name in machine.kept:
            machine.kept.remove(name)
            self._stream = machine.open(self._push, "attach", keep=name)
        else:
            self._stream = machine.open(self._push, "spawn", control=True, keep=name, **self._spec)

    def wait_started(self) -> None:
        """Until the sandbox has told its pid.

        Raises:
            SandboxStartError: it did not start.
        """
        self._started.wait(START_SECONDS)
        if self._pid is None:
            raise SandboxStartError(f"the interpreter did not start: {self.ended or 'no answer'}")

    def write(self, data: bytes) -> None:
        """Send to its control socket, without waiting."""
        self._stream.post(CONTROL, data)

    def taken(self, size: int) -> None:
        """Give credit back."""
        if size:
            with suppress(StreamLost):  # the end of the stream says so too
                self._stream.taken(size)

    def interrupt(self, *, again: bool) -> Future[Any] | None:
        """Raise KeyboardInterrupt in it; see Channel."""
        return self._signal(AGAIN if again else signal.SIGINT, whole=False)

    def kill(self) -> None:
        """End it and its children."""
        self._signal(signal.SIGKILL, whole=True)

    def close(self, *, keep: bool) -> None:
        """Let go; without `keep`, end it."""
        if not keep and not self.ended:
            self.kill()

    def _signal(self, number: int, *, whole: bool) -> Future[Any] | None:
        if self._pid is not None and not self.ended:
            with suppress(SandboxGoneError, StreamLost):
                return self._machine.signal(self._pid, number, whole=whole)
        return None

    def _push(self, stream: Stream, kind: int, lane: int, payload: Any) -> None:
        self._stream = stream  # what it says can come before `open` has returned
        if kind == DATA:
            self._on_data(lane, payload)
        elif kind == MESSAGE and isinstance(payload, dict) and "pid" in payload:
            self._pid = int(payload["pid"])
            self._started.set()
        elif not self.ended:
            self.ended = self._reason(kind, payload)
            self._started.set()
            self._on_end(self.ended)

    def _reason(self, kind: int, payload: Any) -> str:
        if kind == MESSAGE and isinstance(payload, dict) and "exit" in payload:
            code = payload["exit"]
            if payload.get("out_of_memory") is True:
                return OUT_OF_MEMORY
            if isinstance(code, int) and code < 0:
                return f"the interpreter was ended by signal {-code}"
            return f"the interpreter ended with exit code {code}"
        if kind in (RESET, END):
            return str(self._machine.loss())
        return f"the interpreter could not be started: {payload}"
