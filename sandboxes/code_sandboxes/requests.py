"""Silent requests to `inside/helper.py` in an interpreter, and what may go in and out."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any

from .errors import ConfigurationError, ExecutionFailedError, SandboxError
from .events import Display, Event, ExecutionError
from .inside.helper import CALL

LARGE = 1 << 16  # bytes of JSON
FETCH = "\0fetch"  # no host function has this name


def helper_code(op: str, **arguments: Any) -> str:
    """A silent request to `inside/helper.py`: one expression, which binds no name."""
    request = json.dumps({"op": op, **arguments})
    return f"{CALL}{json.dumps(request)})"


def helper_call(op: str, **arguments: Any) -> tuple[str, dict[str, Callable[[], Any]]]:
    """The same, and the handlers that it needs: a large request is fetched by a host call.

    A literal of megabytes takes an interpreter seconds to compile.
    """
    if len(json.dumps(arguments)) < LARGE:
        return helper_code(op, **arguments), {}
    return helper_code("fetch", wanted=op), {FETCH: lambda: arguments}


class Answer:
    """Folds the events of a silent request into the helper's answer."""

    MIME = "application/vnd.code-sandboxes.answer+json"

    def __init__(self) -> None:
        self.text: str | None = None
        self.error: ExecutionError | None = None

    def add(self, event: Event) -> None:
        """Note what matters of an event."""
        if isinstance(event, Display) and self.MIME in event.data:
            self.text = str(event.data[self.MIME])
        elif isinstance(event, ExecutionError):
            self.error = event


def encode(value: Any) -> dict[str, Any]:
    """A value for `set_variable`: JSON, or bytes.

    Raises:
        ConfigurationError: it is neither.
    """
    if isinstance(value, bytes | bytearray):
        return {"value": base64.b64encode(value).decode(), "encoded": True}
    try:
        text = json.dumps(value, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise ConfigurationError(f"a variable's value is JSON or bytes: {error}") from error
    if json.loads(text) != value:
        raise ConfigurationError(
            "a variable's value is JSON or bytes: this would not arrive as it is"
        )
    return {"value": value, "encoded": False}


def decode(answer: Answer) -> Any:
    """What the helper answered.

    Raises:
        ConfigurationError: it refused.
        ExecutionFailedError: it could not be asked.
    """
    if answer.text is None:
        error = answer.error
        name, value = (error.name, error.value) if error else ("InterpreterDied", "no answer")
        raise ExecutionFailedError(name, value)
    try:
        said = json.loads(answer.text)
        if "error" in said:
            raise ConfigurationError(": ".join(map(str, said["error"])))
        return said["ok"]
    except (KeyError, TypeError, json.JSONDecodeError, RecursionError) as error:
        raise SandboxError("the interpreter sent an answer that makes no sense") from error


def value_of(said: Any) -> Any:
    """A variable's value, as `do_get` sends it."""
    if said.get("encoded"):
        return base64.b64decode(said["value"])
    return said["value"]
