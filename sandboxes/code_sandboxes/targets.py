"""A command, as something that a driver can run."""

from __future__ import annotations

import codecs
import signal
import threading
from collections.abc import Mapping
from typing import Any, Literal

from .ctrl_c import Whole
from .errors import SandboxError
from .events import Done, ExecutionError, Output, Started
from .inside.processes import STDERR, STDIN
from .inside.stream import DATA, END, MESSAGE, RESET, Stream, StreamLost
from .kernel import Emit
from .machine import Machine

NOT_EXECUTABLE, MISSING = 126, 127  # exit codes, as a shell has them


class Command:
    """One process; its events are those of an execution."""

    kept = ""

    def __init__(self, machine: Machine, op: str = "spawn", **spec: Any) -> None:
        self._machine, self._op, self._spec = machine, op, spec
        self._emit: Emit = lambda event: None
        self._decoders = [codecs.getincrementaldecoder("utf-8")("replace") for _ in range(3)]
        self._stream: Stream | None = None
        self._started = threading.Event()
        self.pid: int | None = None
        self.input: bytes | None = None  # sent at the start, then end of file
        self.over = self._killed = False

    def begin(self, emit: Emit) -> None:
        """Start the process."""
        self._emit = emit
        self._emit(Started())
        with Whole():
            self._stream = self._machine.open(self._push, self._op, **self._spec)
        if self.input is not None:
            self.write(self.input, end=True)

    def wait_started(self, timeout: float | None = None) -> int | None:
        """The pid, once the sandbox has told it; None if it did not start."""
        self._started.wait(timeout)
        return self.pid

    def reply(self, ask: str, answer: Mapping[str, Any]) -> None:
        """A command asks nothing."""

    def write(self, data: bytes, *, end: bool = False) -> Any:
        """Send to its standard input; a Future that is done when all of it is under way."""
        if self._stream is None:
            raise SandboxError("the command has not started")
        try:
            self._stream.post(STDIN, data, end=end)
        except StreamLost as error:
            raise self._machine.loss() from error
        return self._stream.drained()

    def taken(self, size: int) -> None:
        """Give credit back."""
        if self._stream is not None:
            try:
                self._stream.taken(size)
            except StreamLost:
                return  # the end of the stream says so too

    def signal(self, number: int, *, whole: bool = True) -> None:
        """Signal its whole tree; a process that has not started yet is killed when it does."""
        if self.pid is not None and not self.over:
            self._machine.signal(self.pid, number, whole=whole)
        self._killed = self._killed or self.pid is None

    def interrupt(self) -> None:
        """Ask it to end."""
        self.signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it."""
        self.signal(signal.SIGKILL)

    def give_up(self) -> None:
        """Let go of it, whatever it does."""
        self._end(None)

    def _push(self, stream: Stream, kind: int, lane: int, payload: Any) -> None:
        if kind == DATA:
            name: Literal["stdout", "stderr"] = "stderr" if lane == STDERR else "stdout"
            text = self._decoders[lane if lane == STDERR else 1].decode(payload)
            self._emit(Output(text, name, raw=payload))
        elif kind == MESSAGE and "pid" in payload:
            self.pid = payload["pid"]
            self._started.set()
            if self._killed:
                self.kill()
        elif kind == MESSAGE and "error" in payload:
            name_of, _, text = payload["error"]
            self._emit(ExecutionError(str(name_of), str(text)))
            self._end(MISSING if name_of == "FileNotFoundError" else NOT_EXECUTABLE)
        elif kind == MESSAGE and "exit" in payload:
            code = payload["exit"]
            self._end(128 - code if code < 0 else code)
        elif kind in (RESET, END) and not self.over:
            self._emit(ExecutionError("SandboxGoneError", str(self._machine.loss())))
            self._end(None)

    def _end(self, code: int | None) -> None:
        self._started.set()
        if not self.over:
            self.over = True
            self._emit(Done(exit_code=code))
