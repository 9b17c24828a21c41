"""What a tool is: a description for a model, and steps on a sandbox."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from typing import Any, get_type_hints

from code_sandboxes import AsyncSandbox, FileError, Sandbox, UnsupportedError

from ._render import Rendered, bounded, clean
from ._steps import arun, run

Steps = Generator[Any, Any, Rendered]


class BadArgumentError(ValueError):
    """The model gave an argument that cannot be; it may try again with a better one."""


@dataclass(frozen=True)
class Parameter:
    """One argument of a tool.

    Attributes:
        annotation: its type: `str`, `int`, or `float | None`.
        description: what it means, for the model.
        default: its default; `inspect.Parameter.empty` if it must be given.
    """

    annotation: Any
    description: str
    default: Any = inspect.Parameter.empty

    @property
    def required(self) -> bool:
        """Whether it must be given."""
        return self.default is inspect.Parameter.empty


@dataclass(frozen=True)
class SandboxTool:
    """A tool: what a model is told about it, and how it works on a sandbox.

    Attributes:
        name: the name that the model calls.
        description: what the model is told.
        parameters: its arguments by name.
        steps: the generator function behind it.
        streams: whether it takes `on_stdout` and `on_stderr`.
    """

    name: str
    description: str
    parameters: Mapping[str, Parameter]
    steps: Callable[..., Steps]
    streams: bool

    def run(self, sandbox: Sandbox, arguments: Mapping[str, Any], **options: Any) -> Rendered:
        """Use it.

        Args:
            sandbox: where.
            arguments: what the model gave.
            options: `max_chars`; `on_stdout` and `on_stderr` where `streams`.

        Raises:
            BadArgumentError: an argument cannot be.
            SandboxError: the sandbox itself failed, not what runs in it.
        """
        try:
            return run(self.steps(sandbox, **arguments, **options))
        except (FileError, UnsupportedError) as error:
            return refused(error)

    async def arun(
        self, sandbox: AsyncSandbox, arguments: Mapping[str, Any], **options: Any
    ) -> Rendered:
        """The same, awaited; cancelling it interrupts the code."""
        try:
            return await arun(self.steps(sandbox, **arguments, **options))
        except (FileError, UnsupportedError) as error:
            return refused(error)


def refused(error: Exception) -> Rendered:
    """An error that the model should see, as a result."""
    text = clean(f"{type(error).__name__}: {error}")
    value = bounded(str(error), 2000)
    details = {"success": False, "error": {"name": type(error).__name__, "value": value}}
    return Rendered(f"[error]\n{bounded(text, 2000)}", (), True, details)


_ARGUMENT = re.compile(r"^    (\w+): (.*(?:\n {5,}.*)*)", re.MULTILINE)


def described(steps: Callable[..., Steps]) -> SandboxTool:
    """The tool behind a generator function, from its signature and its Google-style docstring.

    What the model gives are the parameters before the `*`, without the sandbox.
    """
    prose, _, arguments = (inspect.getdoc(steps) or "").partition("\n\nArgs:\n")
    described = {name: " ".join(text.split()) for name, text in _ARGUMENT.findall(arguments)}
    kinds, signature = get_type_hints(steps), inspect.signature(steps).parameters
    given = [p for p in signature.values() if p.kind is p.POSITIONAL_OR_KEYWORD][1:]
    return SandboxTool(
        name=steps.__name__,
        description=prose,
        parameters={p.name: Parameter(kinds[p.name], described[p.name], p.default) for p in given},
        steps=steps,
        streams="options" in signature,
    )
