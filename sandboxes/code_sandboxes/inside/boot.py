"""The first code that runs inside: takes our modules from the wire, and enters one of them.

It is passed as `python -c`, so its text is what the process shows in a process list.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False  # not that of typing, which takes 10 ms to import
if TYPE_CHECKING:
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


class Ours:
    """Finds and loads the modules that were sent, each when it is first imported."""

    def __init__(self, sources: Any) -> None:
        import builtins
        from marshal import loads

        self._sources, self._loads = sources, loads
        self._builtins = dict(vars(builtins))  # code that replaces one must not replace ours

    def find_spec(self, name: str, path: Any, target: Any = None) -> Any:
        """See importlib."""
        package, _, module = name.rpartition(".")
        if package == "_code_sandboxes" and module in self._sources:
            # importlib.machinery has it by name, and takes a millisecond to import
            return type(sys.__spec__)(name, self)  # type: ignore[arg-type]
        return None

    def create_module(self, spec: Any) -> None:
        """See importlib."""

    def exec_module(self, module: Any) -> None:
        """See importlib."""
        code = self._sources[module.__name__.rpartition(".")[2]]
        if isinstance(code, str):
            code = compile(code, f"<{module.__name__}>", "exec", dont_inherit=True)
        else:
            code = self._loads(code)
        module.__dict__["__builtins__"] = self._builtins
        exec(code, module.__dict__)


def boot(sources: Any, module: str, function: str, options: Any, text: str) -> Any:
    """Make our modules known, and enter one.

    Args:
        sources: text, or code as marshal writes it, by name.
        text: the text of this file, for `launch` in forkserver.py.
    """
    package: Any = type(sys)("_code_sandboxes")
    package.__path__ = []
    sys.modules["_code_sandboxes"] = package
    sys.meta_path.insert(0, Ours(sources))

    def start_message(module: str, function: str, options: Any) -> bytes:
        import marshal  # to pass all of this on to a child

        blob = marshal.dumps((sources, module, function, options, text))
        return b"M" + len(blob).to_bytes(4, "big") + blob

    package.start_message, package.boot = start_message, text
    __import__(name := "_code_sandboxes." + module)
    return getattr(sys.modules[name], function)(**options)


wire = int(os.environ.pop("CODE_SANDBOXES_BOOT", 0))
if sys.path[:1] == [""]:
    del sys.path[0]  # what lies in the home must not take the place of what we import
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
