"""The sandbox's tools for agents that call tools, such as smolagents' `ToolCallingAgent`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, get_args

from smolagents import Tool  # type: ignore[import-untyped]

from code_sandboxes import Sandbox, SandboxError

from ._tooling import BadArgumentError, Parameter, SandboxTool, refused
from ._tools import chosen

_TYPES = {str: "string", int: "integer", float: "number"}


class _HostedTool(Tool):  # type: ignore[misc]
    """One of `_tools.TOOLS`, as smolagents wants it."""

    skip_forward_signature_validation = True  # the signature is in `inputs`
    output_type = "string"

    def __init__(self, tool: SandboxTool, sandbox: Sandbox, max_chars: int) -> None:
        self.name, self.description = tool.name, tool.description
        self.inputs = {name: _input(each) for name, each in tool.parameters.items()}
        self._tool, self._sandbox, self._max_chars = tool, sandbox, max_chars
        super().__init__()

    def forward(self, *args: Any, **kwargs: Any) -> str:
        """Use the tool; whatever goes wrong in the sandbox is said in the text."""
        given = dict(zip(self._tool.parameters, args, strict=False)) | kwargs
        arguments = {name: value for name, value in given.items() if value is not None}
        try:
            rendered = self._tool.run(self._sandbox, arguments, max_chars=self._max_chars)
        except (BadArgumentError, SandboxError) as error:
            rendered = refused(error)
        if rendered.images:
            return f"{rendered.text}\n[images shown: {len(rendered.images)}]"
        return rendered.text


def _input(parameter: Parameter) -> dict[str, Any]:
    kind = next((k for k in get_args(parameter.annotation)), parameter.annotation)
    described = {"type": _TYPES[kind], "description": parameter.description}
    return described if parameter.required else {**described, "nullable": True}


def sandbox_tools(
    sandbox: Sandbox, *, include: Iterable[str] | None = None, max_output_chars: int = 50_000
) -> list[Tool]:
    """Tools over a sandbox: `run_code`, `run_command`, `read_file`, `write_file`, `list_files`.

    Args:
        sandbox: where they work; it stays the caller's.
        include: the names of those wanted; None for all.
        max_output_chars: the most characters of output of one call.

    Returns:
        Tools for any agent of smolagents.

    Raises:
        ConfigurationError: there is no such tool.

    Example:
        >>> with Sandbox.create(variant="local-eval") as sandbox:
        ...     (run_code,) = sandbox_tools(sandbox, include=["run_code"])
        ...     print(run_code(code="1 + 1"))
        [result]
        2
    """
    return [_HostedTool(tool, sandbox, max_output_chars) for tool in chosen(include)]
