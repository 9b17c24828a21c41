"""Our own code, made ready to be sent inside: versions cannot drift, and any image works."""

from __future__ import annotations

import base64
import json
import marshal
import zlib
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

INSIDE = Path(__file__).parent / "inside"
# each is executed where it is first imported
SUPERVISOR = (
    *("start", "forkserver", "writing", "stream", "mux", "proctable", "entries", "files"),
    *("archive", "unarchive", "egress", "processes", "services", "supervisor"),
)
VARIABLES = ("helper", "reducers", "groups", "pickled")
INTERPRETER = (
    *(*VARIABLES, "rawoutput", "whole", "textio", "shown", "cell", "report"),
    *("host", "worker"),
)
KERNEL = (
    *(*VARIABLES, "rawoutput", "report", "streams"),
    *("interrupts", "preloaded", "kernel"),
)
# in the kernels of a server that is not ours
IN_A_KERNEL = (*SUPERVISOR, "place", "line", "guard", "comm")
FOREIGN = (*KERNEL, "textio", "place", "sent", "foreign")
PLACE = ("place",)


@cache
def source(name: str) -> str:
    """The text of a module of `inside/`."""
    return (INSIDE / f"{name}.py").read_text(encoding="utf-8")


@cache
def compiled(name: str) -> bytes:
    """The same as marshal writes its code, for an interpreter of exactly our version."""
    code = compile(source(name), f"<_code_sandboxes.{name}>", "exec", dont_inherit=True)
    return marshal.dumps(code)


def boot() -> str:
    """The program that `python -c` is given."""
    return source("boot")


def inject(module: str, modules: Sequence[str], options: Mapping[str, Any]) -> str:
    """Code that makes an interpreter which runs already load our modules, and enter one.

    It is one expression, which binds no name.
    """
    program = boot().partition("\nwire = ")[0] + "\nboot(*arguments)\n"
    texts = {name: source(name) for name in modules}
    packed = zlib.compress(json.dumps([texts, module, "main", dict(options), program]).encode())
    text = base64.b85encode(packed).decode()
    unpack = f"__import__('zlib').decompress(__import__('base64').b85decode({text!r}))"
    names = f"{{'__name__': '_code_sandboxes.boot', 'arguments': {unpack}}}"
    unpacked = "names['arguments'] = __import__('json').loads(names['arguments'])"
    start = "exec(names['arguments'][4], names)"
    return f"(lambda names: exec({unpacked + chr(10) + start!r}, {{'names': names}}))({names})"


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
