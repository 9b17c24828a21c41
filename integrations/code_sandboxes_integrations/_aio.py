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
    if not isinstance(sandbox, AsyncSandbox):
        if sandbox.closed:
            return tool.run(sandbox, arguments, **options)  # raises, with the reason
        # in the process of its owner, this is the same sandbox
        sandbox = await AsyncSandbox.from_id(sandbox.id)
    return await tool.arun(sandbox, arguments, **options)
