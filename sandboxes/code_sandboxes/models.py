"""The result that the events of an execution fold into."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .errors import ExecutionFailedError
from .events import ExecutionError
from .text import printable, shortened


@dataclass(frozen=True, slots=True)
class OutputMessage:
    """One line of output, for the `on_stdout` and `on_stderr` callbacks.

    Attributes:
        line: the line without its end.
        timestamp: when the host received its last piece, in seconds since the epoch.
        error: True for a line of stderr.
    """

    line: str
    timestamp: float
    error: bool = False

    def __str__(self) -> str:
        return printable(self.line)


@dataclass(frozen=True)
class Result:
    """One rich result: a display, or the value of the last expression.

    Attributes:
        data: MIME type to text (base64 text for binary types, JSON values for JSON types).
        is_main: whether it is the value of the last expression.

    Example:
        >>> Result({"text/plain": "3", "text/html": "<b>3</b>"}).html
        '<b>3</b>'
    """

    data: Mapping[str, Any]
    is_main: bool = False

    def _text(self, mime: str) -> str | None:
        value = self.data.get(mime)
        if isinstance(value, list):  # the notebook format allows lists of lines
            value = "".join(map(str, value))
        return None if value is None else str(value)

    def _bytes(self, mime: str) -> bytes | None:
        text = self._text(mime)
        try:
            return None if text is None else base64.b64decode(text, validate=False)
        except (binascii.Error, ValueError):
            return None

    @property
    def text(self) -> str:
        """The ``text/plain`` representation, ``""`` without one."""
        return self._text("text/plain") or ""

    @property
    def html(self) -> str | None:
        """Untrusted HTML: show it only in a sandboxed frame."""
        return self._text("text/html")

    @property
    def markdown(self) -> str | None:
        """Untrusted Markdown."""
        return self._text("text/markdown")

    @property
    def latex(self) -> str | None:
        """LaTeX source."""
        return self._text("text/latex")

    @property
    def svg(self) -> str | None:
        """Untrusted SVG, which can hold scripts: show it as an image only."""
        return self._text("image/svg+xml")

    @property
    def png(self) -> bytes | None:
        """The bytes of a PNG image."""
        return self._bytes("image/png")

    @property
    def jpeg(self) -> bytes | None:
        """The bytes of a JPEG image."""
        return self._bytes("image/jpeg")

    @property
    def json(self) -> Any:
        """The ``application/json`` representation, or None."""
        return self.data.get("application/json")

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        return dict(self.data)

    def __repr__(self) -> str:
        shown = shortened(printable(self.text), 200)
        return f"Result({shown!r}, mime={sorted(map(printable, self.data))})"

    def __str__(self) -> str:
        return printable(self.text)


@dataclass(frozen=True)
class ExecutionResult:
    """Everything that one piece of code had to say.

    Attributes:
        stdout, stderr: what was printed, raw; bounded by the sandbox's `max_output`.
        results: displays and the value of the last expression, in order.
        error: why it failed, or None.
        execution_count: the interpreter's own count, where it has one.
        dropped: how many bytes of output were cut out between head and tail.
        duration: seconds from the start of the execution (not from queueing) to its end.
    """

    stdout: str = ""
    stderr: str = ""
    results: list[Result] = field(default_factory=list)
    error: ExecutionError | None = None
    execution_count: int | None = None
    dropped: int = 0
    duration: float = 0.0

    @property
    def success(self) -> bool:
        """Whether the code ran to its end without an error."""
        return self.error is None

    @property
    def text(self) -> str:
        """The ``text/plain`` of the last expression, ``""`` without one."""
        main = next((shown for shown in reversed(self.results) if shown.is_main), None)
        return main.text if main else ""

    def raise_for_error(self) -> ExecutionResult:
        """This result, if the code succeeded.

        Raises:
            ExecutionFailedError: it did not.
        """
        if self.error is not None:
            raise ExecutionFailedError(self.error.name, self.error.value, self.error.traceback)
        return self

    def __repr__(self) -> str:
        return _repr(self, stdout=self.stdout, stderr=self.stderr, text=self.text, error=self.error)

    def __str__(self) -> str:
        pieces = (self.stdout, self.stderr, self.text, str(self.error) if self.error else "")
        return printable("\n".join(piece.rstrip("\n") for piece in pieces if piece))


@dataclass(frozen=True)
class CommandResult:
    """What a command left.

    Attributes:
        stdout, stderr: decoded as UTF-8, invalid bytes replaced; bounded by `max_output`.
        stdout_bytes, stderr_bytes: the same, raw.
        exit_code: its exit status; 127 missing program, 126 not executable, 124 timed out,
            128 + N killed by signal N.
        error: why it did not run to its own end, or None.
        dropped: how many bytes of output were cut out between head and tail.
        duration: seconds that it ran.
    """

    stdout: str = ""
    stderr: str = ""
    exit_code: int = 0
    error: ExecutionError | None = None
    stdout_bytes: bytes = b""
    stderr_bytes: bytes = b""
    dropped: int = 0
    duration: float = 0.0

    @property
    def success(self) -> bool:
        """Whether it exited with 0."""
        return self.exit_code == 0 and self.error is None

    def raise_for_error(self) -> CommandResult:
        """This result, if the command succeeded.

        Raises:
            ExecutionFailedError: it did not.
        """
        if self.error is not None:
            raise ExecutionFailedError(self.error.name, self.error.value)
        if self.exit_code:
            raise ExecutionFailedError("CommandFailed", f"exit code {self.exit_code}", self.stderr)
        return self

    def __repr__(self) -> str:
        return _repr(
            self,
            exit_code=self.exit_code,
            stdout=self.stdout,
            stderr=self.stderr,
            error=self.error,
        )

    def __str__(self) -> str:
        pieces = (self.stdout, self.stderr, str(self.error) if self.error else "")
        return printable("\n".join(piece.rstrip("\n") for piece in pieces if piece))


def _repr(of: object, **fields: Any) -> str:
    shown = ", ".join(
        f"{name}={shortened(printable(value), 200)!r}"
        if isinstance(value, str)
        else f"{name}={value!r}"
        for name, value in fields.items()
        if value not in ("", None)
    )
    return f"{type(of).__name__}({shown})"
