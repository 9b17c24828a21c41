"""A tool, awaited, on either kind of sandbox."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from code_sandboxes import AsyncSandbox, Sandbox

from ._render import Rendered
from ._tooling import SandboxTool


async def use(
    tool: SandboxTool, sandbox: Sandbox | AsyncSandbox, arguments: Mapping[str, Any], **options: Any
) -> Rendered:
    """Use `tool` without blocking the loop; cancelling it interrupts the code.

    Args:
        tool: what to use.
        sandbox: where.
        arguments: what the model gave.
        options: as for `SandboxTool.run`.
    """
    return await tool.arun(await as_async(sandbox), arguments, **options)


async def as_async(sandbox: Sandbox | AsyncSandbox) -> AsyncSandbox:
    """The same sandbox, to be awaited.

    Raises:
        SandboxClosedError: it has been closed here.
    """
    if isinstance(sandbox, AsyncSandbox):
        return sandbox
    if sandbox.closed:
        sandbox.files.exists(".")  # raises, with the reason
    # in the process of its owner, this is the same sandbox
    return await AsyncSandbox.from_id(sandbox.id)
