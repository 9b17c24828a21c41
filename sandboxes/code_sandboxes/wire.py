"""Our own code, made ready to be sent inside: versions cannot drift, and any image works."""

from __future__ import annotations

import json
import marshal
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

INSIDE = Path(__file__).parent / "inside"
# each is executed where it is first imported
SUPERVISOR = (
    *("start", "forkserver", "mux", "proctable"),
    *("files", "processes", "services", "supervisor"),
)
INTERPRETER = ("helper", "rawoutput", "textio", "shown", "worker")
KERNEL = ("helper", "rawoutput", "kernel")


@cache
def source(name: str) -> str:
    """The text of a module of `inside/`."""
    return (INSIDE / f"{name}.py").read_text(encoding="utf-8")


@cache
def compiled(name: str) -> Any:
    """The same as code, for an interpreter of exactly our version."""
    return compile(source(name), f"<_code_sandboxes.{name}>", "exec", dont_inherit=True)


def boot() -> str:
    """The program that `python -c` is given."""
    return source("boot")


def start_message(
    module: str,
    modules: Sequence[str],
    options: Mapping[str, Any],
    *,
    same_python: bool,
    function: str = "main",
) -> bytes:
    """The first bytes on the wire: modules, which to enter, and its options.

    Args:
        same_python: whether the interpreter inside is our own, so that it can take compiled code.
    """
    if same_python:
        code = {name: compiled(name) for name in modules}
        blob = marshal.dumps((code, module, function, dict(options), boot()))
        return b"M" + len(blob).to_bytes(4, "big") + blob
    texts = {name: source(name) for name in modules}
    text = json.dumps([texts, module, function, dict(options), boot()]).encode()
    return b"J" + len(text).to_bytes(4, "big") + text
