"""What comes out of an execution, piece by piece, as it happens."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from .text import printable, shortened

StreamName = Literal["stdout", "stderr"]


@dataclass(frozen=True, slots=True)
class Started:
    """The execution left its queue: its clock runs from here."""


@dataclass(frozen=True, slots=True)
class Output:
    """A piece of output, as it came.

    Attributes:
        text: decoded as UTF-8, invalid bytes replaced.
        stream: ``"stdout"`` or ``"stderr"``.
        raw: the bytes themselves, for a command; None for code.
        timestamp: when the host received it, in seconds since the epoch.
    """

    text: str
    stream: StreamName = "stdout"
    raw: bytes | None = None
    timestamp: float = field(default_factory=time.time)

    @property
    def size(self) -> int:
        """Its weight in the flow control between sandbox and host: about its bytes there."""
        return len(self.text) + 32 if self.raw is None else len(self.raw)


@dataclass(frozen=True, slots=True)
class Display:
    """A value was shown: one representation for each MIME type.

    Attributes:
        data: MIME type to text, or to base64 text for binary types, or to JSON.
        is_main: whether it is the value of the last expression.
        id: the display id, where the code gave one.
        is_update: whether it takes the place of what was shown under `id`.
        size: its weight in the flow control, as for Output.
    """

    data: Mapping[str, Any]
    is_main: bool = False
    id: str | None = None
    is_update: bool = False
    size: int = field(default=0, repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class Clear:
    """`clear_output()`: what was shown so far goes, at once or with the next output."""

    wait: bool = False
    size: ClassVar[int] = 16


@dataclass(frozen=True)
class ExecutionError:
    """Why an execution failed; raw, as the sandbox sent it.

    Attributes:
        name: the exception's class, or one of ours: ``ExecutionTimeout``,
            ``KeyboardInterrupt`` (interrupted), ``InterpreterDied``, ``OutOfMemory``.
        value: its message.
        traceback: the frames of the code that ran, then the message; ``""`` where none is known.
        state_lost: whether the variables are gone.
        size: its weight in the flow control, as for Output.
    """

    name: str
    value: str
    traceback: str = ""
    state_lost: bool = False
    size: int = field(default=0, repr=False, compare=False)

    def __str__(self) -> str:
        return printable(f"{self.name}: {self.value}")

    def __repr__(self) -> str:
        lost = ", state_lost=True" if self.state_lost else ""
        return f"ExecutionError({printable(self.name)!r}, {shortened(self.value, 200)!r}{lost})"


@dataclass(frozen=True, slots=True)
class Ask:
    """The code waits for an answer of the host.

    Attributes:
        id: what to answer to.
        kind: ``"input"`` (payload: prompt, password) or ``"call"`` (function, args, kwargs).
        payload: JSON that the sandbox sent; hostile.
        size: its weight in the flow control, as for Output.
    """

    id: str
    kind: Literal["input", "call"]
    payload: Mapping[str, Any]
    size: int = field(default=0, repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class Done:
    """The last event of every execution, once."""

    execution_count: int | None = None
    exit_code: int | None = None
    state_lost: bool = False


Event = Started | Output | Display | Clear | ExecutionError | Ask | Done


def weight(event: Event) -> int:
    """What the sandbox may send again once this event was dealt with."""
    return 0 if isinstance(event, Started | Done) else event.size
