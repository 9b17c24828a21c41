"""Messages of a Jupyter kernel, as events."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from ..events import Ask, Clear, Display, Event, ExecutionError, Output
from ..inside.helper import too_many_parts
from ..text import shortened

COLOUR = re.compile(r"\x1b\[[0-9;]*m")
OURS = "<_code_sandboxes."  # how the frames of our own modules are named
MARK = "\x1ecode-sandboxes:"  # the same as in inside/kernel.py
MOST_ERROR = 1 << 20  # characters of an error's message, and of its traceback


def event_of(kind: str, content: Mapping[str, Any]) -> Event | None:
    """An IOPub message as an event, if it is one."""
    match kind:
        case "stream":
            return Output(
                str(content["text"]), "stderr" if content["name"] == "stderr" else "stdout"
            )
        case "execute_result" | "display_data" | "update_display_data":
            shown = content.get("transient", {}).get("display_id")
            update = kind == "update_display_data"
            data = content["data"]
            texts = (v if isinstance(v, str) else json.dumps(v) for v in data.values())
            size = 100 + sum(map(len, texts))
            return Display(data, kind == "execute_result", shown, update, size)
        case "clear_output":
            return Clear(bool(content.get("wait")))
        case "error":
            return error_of(content)
    return None


def bounded(content: Mapping[str, Any]) -> Mapping[str, Any]:
    """An error message that can be kept for later, however large it is."""
    said = error_of({**content, "ename": shortened(str(content["ename"]), 1000)})
    if said is None:
        return {"ename": "SystemExit", "evalue": "0", "traceback": []}
    return {"ename": said.name, "evalue": said.value, "traceback": [said.traceback]}


def error_of(content: Mapping[str, Any]) -> ExecutionError | None:
    """An error message as an event; None for an exit that is none."""
    name, value = str(content["ename"]), str(content["evalue"])
    if name == "SystemExit" and value in ("", "0", "None"):
        return None
    frames = [text for frame in content["traceback"] if OURS not in (text := str(frame))]
    trace = COLOUR.sub("", shortened("\n".join(frames), MOST_ERROR))
    return ExecutionError(name, shortened(value, MOST_ERROR), trace)


def ask_of(id: str, prompt: str) -> Ask:
    """A request for input, which may be one of ours."""
    asked: Any = {}
    if prompt.startswith(MARK):
        with suppress(ValueError, RecursionError):
            asked = json.loads(prompt[len(MARK) :])
    match asked:
        case {"kind": "call", "payload": dict(payload)}:
            return Ask(id, "call", payload, len(prompt))
        case {"kind": "input", "payload": dict(payload)}:
            return Ask(id, "input", payload, len(prompt))
    return Ask(id, "input", {"prompt": prompt, "password": False}, len(prompt))


def unpack(data: bytes) -> Any:
    """A part of a message.

    Raises:
        ValueError: it is no JSON, or would take many times its size.
    """
    if too_many_parts(bytes(data)):
        raise ValueError("a message has too many values")
    return json.loads(data)
