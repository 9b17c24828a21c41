"""The first code that runs inside: takes our modules from the wire, and enters one of them.

It is passed as `python -c`, so its text is what the process shows in a process list.
"""

from __future__ import annotations

import os
import sys
from typing import Any


def take(size: int) -> bytes:
    """Exactly so many bytes from the wire; the end of this process where it ends before."""
    data = b""
    while len(data) < size:
        piece = os.read(wire, size - len(data))
        if not piece:
            os._exit(0)
        data += piece
    return data


def boot(sources: Any, module: str, function: str, options: Any, text: str) -> Any:
    """Make our modules, and enter one.

    Args:
        sources: text or code by name, in the order of their imports.
        text: the text of this file, for `launch` in forkserver.py.
    """
    import builtins
    import types

    package: Any = types.ModuleType("_code_sandboxes")
    package.__path__ = []
    sys.modules["_code_sandboxes"] = package
    private = dict(vars(builtins))  # code that replaces a builtin must not replace ours
    for name, code in sources.items():
        full = "_code_sandboxes." + name
        made = types.ModuleType(full)
        made.__package__ = "_code_sandboxes"
        made.__dict__["__builtins__"] = private
        sys.modules[full] = made
        setattr(package, name, made)
        if isinstance(code, str):
            code = compile(code, "<" + full + ">", "exec", dont_inherit=True)
        exec(code, made.__dict__)

    def start_message(module: str, function: str, options: Any) -> bytes:
        import marshal  # to pass all of this on to a child

        blob = marshal.dumps((sources, module, function, options, text))
        return b"M" + len(blob).to_bytes(4, "big") + blob

    package.start_message, package.boot = start_message, text
    return getattr(sys.modules["_code_sandboxes." + module], function)(**options)


wire = int(os.environ.pop("CODE_SANDBOXES_BOOT", 0))
kind = take(1)
blob = take(int.from_bytes(take(4), "big"))
if kind == b"M":
    import marshal

    arguments = marshal.loads(blob)
else:
    import json

    arguments = json.loads(blob)
if wire:
    os.close(wire)
boot(*arguments)
