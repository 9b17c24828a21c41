"""Pydantic AI: a sandbox as the workspace of an agent's runs, with tools, or as a toolset alone.

::

    agent = Agent("anthropic:claude-sonnet-4-5", capabilities=[CodeSandbox("local-jupyter")])
    first = agent.run_sync("Download the data and plot it")
    agent.run_sync("Now by month", message_history=first.all_messages())  # the same sandbox

    toolset = CodeSandboxToolset(variant="local-jupyter")  # each run of the agent has its own
    async with await AsyncSandbox.create() as sandbox:  # or one of yours, for as long as you like
        agent = Agent("...", toolsets=[CodeSandboxToolset(sandbox)])
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from typing import Any, Self

from code_sandboxes import ConfigurationError, Sandbox, UnknownVariantError

from ._extras import missing
from ._pydantic_toolset import (
    CodeOutputEvent,
    CodeSandboxOutputEvent,
    CodeSandboxToolset,
    WorkspaceToolset,
)
from ._pydantic_workspace import PROVIDER, CodeSandboxBackend

try:
    from pydantic_ai import RunContext
    from pydantic_ai.capabilities import AbstractCapability
    from pydantic_ai.tools import AgentDepsT
    from pydantic_ai.toolsets import AbstractToolset
    from pydantic_ai.workspaces import WorkspaceBackend, WorkspaceRef
except ImportError as error:
    raise missing("pydantic-ai", error) from error

__all__ = [
    "CodeOutputEvent",
    "CodeSandbox",
    "CodeSandboxBackend",
    "CodeSandboxOutputEvent",
    "CodeSandboxToolset",
]


@dataclass
class CodeSandbox(AbstractCapability[AgentDepsT]):
    """Gives each run a sandbox: as its workspace, and with tools to run code in it.

    Whatever works in a workspace (`ctx.workspace`, the tools of pydantic-ai-harness) and the tools
    of `CodeSandboxToolset` share one sandbox; output that comes while code runs is a
    `CodeSandboxOutputEvent` of the run. It is created by the first call that needs it. As
    with any workspace, it outlives the run: one that continues a message history works in the
    sandbox of that history. The sandboxes end with `destroy` or `aclose`, with their
    ``max_lifetime``, or with this process.

    Args:
        variant: the variant to create.
        create: further options for `AsyncSandbox.create`.
        include: the names of the tools wanted; None for all, ``[]`` for a workspace alone.
        max_output_chars: the most characters of output of one call.
        images: whether figures and picture files go to the model.
        any_ref: whether a message history may name any sandbox that `AsyncSandbox.from_id` finds,
            not only one made here. Durable execution needs that; whoever takes histories from
            strangers must not allow it.
        id: the capability's name, unique within an agent.

    Raises:
        ConfigurationError: there is no such tool, or no such variant.

    Example:
        >>> import asyncio
        >>> from pydantic_ai import Agent
        >>> from pydantic_ai.models.test import TestModel
        >>> async def main():
        ...     async with CodeSandbox("local-eval", include=["list_files"]) as capability:
        ...         agent = Agent(TestModel(), capabilities=[capability])
        ...         return (await agent.run("What is there?")).output
        >>> asyncio.run(main())
        '{"list_files":"(empty)"}'
    """

    variant: str | None = None
    _: KW_ONLY
    create: Mapping[str, Any] | None = None
    include: Iterable[str] | None = None
    max_output_chars: int = 50_000
    images: bool = True
    any_ref: bool = False
    id: str | None = "code_sandbox"
    _made: dict[str, Sandbox | None] = field(
        init=False, default_factory=dict, repr=False, compare=False
    )
    _toolset: AbstractToolset[AgentDepsT] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.variant is not None and "variant" in (self.create or {}):
            raise ConfigurationError("variant is given twice: by itself, and in create")
        if self.variant is not None and self.variant not in Sandbox.variants():
            known = ", ".join(Sandbox.variants())
            raise UnknownVariantError(f"no variant {self.variant!r}; there are: {known}")
        self._toolset = WorkspaceToolset(
            include=self.include,
            max_output_chars=self.max_output_chars,
            images=self.images,
            id=self.id or "code_sandbox",
        )

    @classmethod
    def combine(
        cls, capabilities: Sequence[AbstractCapability[AgentDepsT]]
    ) -> AbstractCapability[AgentDepsT]:
        """The last one alone: two of one `id` are two settings of one thing."""
        return capabilities[-1]

    def get_toolset(self) -> AbstractToolset[AgentDepsT]:
        """See AbstractCapability."""
        return self._toolset

    def get_workspace(
        self, ctx: RunContext[AgentDepsT], *, ref: WorkspaceRef | None
    ) -> WorkspaceBackend | None:
        """See AbstractCapability; None for the workspace of somebody else."""
        if ref is None:
            options = {"variant": self.variant, **(self.create or {})}
            return CodeSandboxBackend(create=options, on_create=self._keep)
        if ref.provider == PROVIDER and (self.any_ref or ref.id in self._made):
            return CodeSandboxBackend(ref=ref)
        return None

    def _keep(self, sandbox: Sandbox) -> None:
        self._made[sandbox.id] = sandbox  # one that nobody holds is terminated

    async def destroy(self, ref: WorkspaceRef) -> None:
        """End a sandbox that was made here, if it has not ended yet.

        Raises:
            CloudError: it could not be ended; call this again.
        """
        if sandbox := self._made.get(ref.id):
            await asyncio.to_thread(sandbox.terminate)
            self._made[ref.id] = None

    async def aclose(self) -> None:
        """End all sandboxes that were made here.

        Raises:
            CloudError: one could not be ended, the others are; call this again.
        """
        ends = [self.destroy(WorkspaceRef(provider=PROVIDER, id=id)) for id in list(self._made)]
        for result in await asyncio.gather(*ends, return_exceptions=True):
            if isinstance(result, BaseException):
                raise result

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()
