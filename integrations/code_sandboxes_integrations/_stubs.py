"""The tools of an agent as its code sees them: this source runs inside the sandbox only.

Calling a stub calls the tool on the host, where its state, its keys and its connections are.
"""

from __future__ import annotations

from collections.abc import Callable, MutableMapping
from typing import Any


class FinalAnswer(BaseException):
    """Ends the code once the host has the answer; no `except Exception` holds it up."""


class HostTool:
    """A function that the host runs.

    Args:
        name: what the tool is called.
        text: its description.
        ask: the function of the host that runs tools, looked up at each call.
        codec: `encode` and `decode` for arguments and results.
    """

    def __init__(self, name: str, text: str, ask: Callable[..., Any], codec: Any) -> None:
        self.name = self.__name__ = self.__qualname__ = name
        self.description = self.__doc__ = text
        self._ask, self._codec = ask, codec

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        encode, decode = self._codec
        sent = [encode(each) for each in args], {key: encode(each) for key, each in kwargs.items()}
        reply = self._ask(self.name, *sent)
        if reply["final"]:
            raise FinalAnswer
        return decode(reply["value"])

    def __repr__(self) -> str:
        return f"<tool {self.name}>"


def define(
    namespace: MutableMapping[str, Any], tools: dict[str, str], channel: str, codec: Any
) -> None:
    """Put a stub for each of `tools` (name and description) into the namespace of the code."""

    def ask(*sent: Any) -> Any:
        if channel not in namespace:
            raise RuntimeError("tools can be called only while the agent's own code runs")
        return namespace[channel](*sent)

    for name, text in tools.items():
        namespace[name] = HostTool(name, text, ask, codec)
