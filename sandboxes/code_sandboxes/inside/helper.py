"""Silent requests to an interpreter: variables in and out, host functions, none of it visible.

Loaded into every interpreter of ours, plain or Jupyter, and never into the user's namespace.
What goes to the host is JSON; bytes travel as base64. Nothing is pickled.
"""

from __future__ import annotations

import builtins
import re
import sys
import types
from _signal import SIGURG
from binascii import a2b_base64, b2a_base64
from collections.abc import Callable, Mapping
from json import dumps, loads  # by name: code that replaces the module's must not replace ours

TYPE_CHECKING = False  # not that of typing, which takes 10 ms to import
if TYPE_CHECKING:
    from typing import Any, Protocol

    class World(Protocol):
        """What differs between a plain interpreter and a Jupyter kernel."""

        names: dict[str, Any]
        hidden: set[str]

        def answer(self, bundle: dict[str, Any]) -> None:
            """Send a display that only the host's request sees."""

        def ask(self, kind: str, payload: Mapping[str, Any]) -> dict[str, Any]:
            """Wait for the host's reply: {"value": ...} or {"error": [name, text]}."""


ANSWER = "application/vnd.code-sandboxes.answer+json"
# how the code of a silent request begins; its argument is a string, as JSON writes it
CALL = "__import__('sys').modules['_code_sandboxes.helper'].serve("
# the signal for "interrupt, unless SIGINT has come through"; it harms nobody who does not know it
AGAIN: int = SIGURG
MOST_ASKED = 16 << 20  # bytes of one request to the host
PREVIEW = 200
MOST_PARTS = 2_000_000  # values of one message: each takes up to a hundred bytes once it is parsed
_STRING = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)


world: World = None  # type: ignore[assignment]  # set by the interpreter that loads us


def too_many_parts(text: bytes) -> bool:
    """Whether JSON text would take many times its size once it is parsed."""
    if text.count(b",") <= MOST_PARTS:
        return False
    return _STRING.sub(b"", text).count(b",") > MOST_PARTS


def run(code: str) -> None:
    """A silent request, past whatever the user's code has put in the place of builtins."""
    if code.startswith(CALL):
        serve(loads(code[len(CALL) : -1]))
    else:
        exec(code, {"__builtins__": builtins})


def serve(request: str) -> None:
    """One request of the host, as JSON; its answer is a display of our own type."""
    asked = loads(request)
    try:
        value = globals()["do_" + asked.pop("op")](**asked)
        answer = {"ok": value}
        text = dumps(answer)
    except (KeyError, ValueError, TypeError, NameError, RecursionError, OSError) as error:
        text = dumps({"error": [type(error).__name__, str(error)]})
    world.answer({ANSWER: text})


def do_offer(names: list[str]) -> None:
    """Put host functions into the namespace; what the code makes of a name later is its own."""
    for name in names:
        world.names[name] = offered(name)
        world.hidden.add(name)


def do_fetch(wanted: str) -> Any:
    """A request whose arguments are too large to be part of the code."""
    arguments = ask("call", {"function": "\0fetch", "args": [], "kwargs": {}})
    return globals()["do_" + wanted](**arguments)


def base64(data: bytes | bytearray) -> str:
    """Bytes as the host takes them."""
    return b2a_base64(data, newline=False).decode()


def do_set(name: str, value: Any, encoded: bool) -> None:
    if not name.isidentifier():
        raise ValueError(f"{name!r} cannot be the name of a variable")
    world.names[name] = a2b_base64(value) if encoded else value
    world.hidden.discard(name)


def do_get(name: str) -> dict[str, Any]:
    if name not in world.names:
        raise NameError(f"no variable {name!r}")
    value = world.names[name]
    if isinstance(value, bytes | bytearray):
        return {"value": base64(value), "encoded": True}
    return {"value": plain(value), "encoded": False}


def plain(value: Any) -> Any:
    """`value` if JSON gives back the same; TypeError otherwise."""
    try:
        if loads(dumps(value, allow_nan=False)) == value:
            return value
        problem = "it would not come back as it is"
    except (TypeError, ValueError, RecursionError) as error:
        problem = str(error)
    raise TypeError(f"a {type(value).__name__} cannot leave the sandbox as JSON: {problem}")


def do_keep(path: str, home: str) -> list[list[str]]:
    """Write the variables to a file; those that cannot be kept, and why."""
    from . import pickled  # with pickle, when it is wanted

    return pickled.keep(path, home)


def do_restore(path: str, home: str) -> list[list[str]]:
    """Take them back; those that cannot be loaded, and why."""
    from . import pickled

    return pickled.restore(path, home)


def do_list() -> list[dict[str, Any]]:
    """The user's variables."""
    return [
        {"name": name, "type": type(value).__name__, "size": size(value), "preview": preview(value)}
        for name, value in sorted(world.names.items())
        if not name.startswith("_")
        and name not in world.hidden
        and not isinstance(value, types.ModuleType)
    ]


def size(value: Any) -> int | None:
    try:
        return len(value)
    except Exception:  # noqa: BLE001 - the user's own __len__ may do anything
        return None


def preview(value: Any) -> str:
    try:
        if isinstance(value, str | bytes):
            value = value[: PREVIEW + 1]
        text = repr(value)
    except Exception as error:  # noqa: BLE001 - the user's own __repr__ may do anything
        return f"<{type(value).__name__}: repr failed: {type(error).__name__}>"
    return text if len(text) <= PREVIEW else text[:PREVIEW] + "..."


def offered(name: str) -> Callable[..., Any]:
    """A function that is run by the host."""

    def call(*args: Any, **kwargs: Any) -> Any:
        return ask("call", {"function": name, "args": args, "kwargs": kwargs})

    call.__name__ = call.__qualname__ = name
    call.__doc__ = f"Ask the host to run {name}(); its arguments and its result are JSON."
    return call


def ask(kind: str, payload: Mapping[str, Any]) -> Any:
    """The host's answer; its exception is raised here."""
    if len(dumps(payload)) > MOST_ASKED:
        raise ValueError(f"a request to the host is at most {MOST_ASKED} bytes of JSON")
    answer = world.ask(kind, payload)
    if "error" in answer:
        name, text = answer["error"]
        raise failure(name, text)
    return answer["value"]


def failure(name: str, text: str) -> BaseException:
    """The host's exception, by name; only builtins are looked up."""
    if name == "StdinNotImplementedError":
        module = sys.modules.get("IPython.core.error")
        return getattr(module, name, StdinNotImplementedError)(text)
    found = getattr(builtins, name, None)
    if isinstance(found, type) and issubclass(found, Exception):
        try:
            return found(text)
        except TypeError:  # UnicodeDecodeError wants five arguments
            pass
    return RuntimeError(f"{name}: {text}")


class StdinNotImplementedError(NotImplementedError):
    """Nobody is there to answer input()."""


StdinNotImplementedError.__module__ = "builtins"


def read_line(prompt: object = "", password: bool = False) -> str:
    """What `input()` and `getpass()` do here."""
    return str(ask("input", {"prompt": str(prompt), "password": password}))
