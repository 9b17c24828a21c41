"""The tools over a sandbox as a toolset of Pydantic AI."""

from __future__ import annotations

import asyncio
import copy
import inspect
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Self

from code_sandboxes import (
    AsyncSandbox,
    ConfigurationError,
    OutputMessage,
    Sandbox,
)

from ._aio import use
from ._extras import missing
from ._pydantic_workspace import CodeSandboxBackend
from ._render import Rendered
from ._tooling import BadArgumentError, SandboxTool
from ._tools import chosen

try:
    import anyio
    from pydantic_ai import (
        BinaryContent,
        CapabilityEvent,
        CustomEvent,
        ModelRetry,
        RunContext,
        ToolFailed,
        ToolReturn,
        UserError,
    )
    from pydantic_ai.tools import AgentDepsT
    from pydantic_ai.toolsets import AbstractToolset, FunctionToolset
except ImportError as error:
    raise missing("pydantic-ai", error) from error


@dataclass(kw_only=True)
class CodeSandboxOutputEvent(CapabilityEvent, namespace="code_sandbox"):
    """The same as CodeOutputEvent, from the tools of the `CodeSandbox` capability.

    Attributes:
        text: the line, without its end.
        stream: ``"stdout"`` or ``"stderr"``.
    """

    text: str
    stream: str = "stdout"


READING = {"read_file", "list_files"}  # the tools that change nothing


@dataclass(kw_only=True)
class CodeOutputEvent(CustomEvent):
    """A line of output, while the code or the command still runs; never sent to the model.

    Attributes:
        text: the line, without its end.
        stream: ``"stdout"`` or ``"stderr"``.
    """

    text: str
    stream: str = "stdout"


class CodeSandboxToolset(FunctionToolset[AgentDepsT]):
    """Tools over a sandbox: `run_code`, `run_command`, `read_file`, `write_file`, `list_files`.

    `run_code` keeps its variables from call to call and returns figures as images. An error of
    the code is a failed tool call, which costs no retry; a wrong argument asks the model to try
    again; a sandbox that has ended ends the run. Cancelling a run interrupts its code.

    Args:
        sandbox: where to work; it stays the caller's, and all runs share it. Without one, each
            run creates its own at its first call and terminates it when it ends.
        variant: the variant to create.
        create: further options for `AsyncSandbox.create`.
        include: the names of the tools wanted; None for all.
        max_output_chars: the most characters of output of one call.
        images: whether figures and picture files go to the model.
        id: names the toolset in durable execution; unique within an agent.

    Raises:
        ConfigurationError: `variant` or `create` are given besides a sandbox, or there is no such
            tool.

    Example:
        >>> import asyncio
        >>> from pydantic_ai import Agent
        >>> from pydantic_ai.models.test import TestModel
        >>> toolset = CodeSandboxToolset(variant="local-eval", include=["list_files"])
        >>> agent = Agent(TestModel(), toolsets=[toolset])
        >>> asyncio.run(agent.run("What is there?")).output
        '{"list_files":"(empty)"}'
    """

    event: type[CustomEvent | CapabilityEvent] = CodeOutputEvent

    def __init__(
        self,
        sandbox: Sandbox | AsyncSandbox | None = None,
        *,
        variant: str | None = None,
        create: Mapping[str, Any] | None = None,
        include: Iterable[str] | None = None,
        max_output_chars: int = 50_000,
        images: bool = True,
        id: str = "code_sandbox",
    ) -> None:
        if sandbox is not None and (variant is not None or create):
            raise ConfigurationError("give either a sandbox or the options to create one")
        super().__init__(id=id)
        self._borrowed, self._create = sandbox, {"variant": variant, **(create or {})}
        self._chosen, self._max_chars, self._images = chosen(include), max_output_chars, images
        self._begin()

    def _begin(self) -> None:
        self._own: AsyncSandbox | None = None
        self._creating = asyncio.Lock()
        for tool in self._chosen:
            self.tools.pop(tool.name, None)
            # one interpreter: calls at the same time would only wait for each other
            self.add_function(self._function(tool), sequential=tool.name == "run_code")

    async def for_run(self, ctx: RunContext[AgentDepsT]) -> AbstractToolset[AgentDepsT]:
        """The toolset of one run: this one if it has a sandbox to share, else a fresh one."""
        if self._borrowed is not None:
            return self
        fresh = copy.copy(self)
        fresh.tools = dict(self.tools)
        fresh._begin()
        return fresh

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *args: Any) -> bool | None:
        own, self._own = self._own, None
        if own is not None:
            with anyio.CancelScope(shield=True):  # a cancelled run must not leave it behind
                await own.terminate()
        return None

    async def _sandbox(self, ctx: RunContext[AgentDepsT]) -> Sandbox | AsyncSandbox:
        if self._borrowed is not None:
            return self._borrowed
        async with self._creating:
            if self._own is None:
                self._own = await AsyncSandbox.create(**self._create)
            return self._own

    def _function(self, tool: SandboxTool) -> Any:
        """The function of one tool, with the signature that Pydantic AI reads its schema from."""

        async def call(ctx: RunContext[AgentDepsT], **arguments: Any) -> ToolReturn[Any]:
            return await self._use(tool, ctx, arguments)

        kind, kinds = inspect.Parameter.POSITIONAL_OR_KEYWORD, {"ctx": RunContext[Any]}
        signature = [inspect.Parameter("ctx", kind, annotation=RunContext[Any])]
        for name, each in tool.parameters.items():
            kinds[name] = each.annotation
            signature.append(
                inspect.Parameter(name, kind, default=each.default, annotation=each.annotation)
            )
        call.__name__ = call.__qualname__ = tool.name
        call.__doc__ = inspect.getdoc(tool.steps)
        call.__annotations__ = kinds
        call.__signature__ = inspect.Signature(signature)  # type: ignore[attr-defined]
        return call

    async def _use(
        self, tool: SandboxTool, ctx: RunContext[AgentDepsT], arguments: dict[str, Any]
    ) -> ToolReturn[Any]:
        options: dict[str, Any] = {"max_chars": self._max_chars}
        if tool.streams:
            options |= dict.fromkeys(("on_stdout", "on_stderr"), _emitter(ctx, self.event))
        sandbox = await self._sandbox(ctx)
        try:
            rendered = await use(tool, sandbox, arguments, **options)
        except (BadArgumentError, ConfigurationError) as error:
            # the last one would end the run
            raise (ToolFailed if ctx.last_attempt else ModelRetry)(str(error)) from error
        return self._returned(rendered)

    def _returned(self, rendered: Rendered) -> ToolReturn[Any]:
        images = [BinaryContent(each.data, media_type=each.mime) for each in rendered.images]
        if rendered.failed and not (images and self._images):
            raise ToolFailed(rendered.text)
        # a failure with figures cannot be a ToolFailed, which has only text
        content: Any = [rendered.text, *images] if images and self._images else rendered.text
        return ToolReturn(content, metadata=dict(rendered.details))


class WorkspaceToolset(CodeSandboxToolset[AgentDepsT]):
    """The same tools over the sandbox that is the run's workspace."""

    event = CodeSandboxOutputEvent

    async def for_run(self, ctx: RunContext[AgentDepsT]) -> AbstractToolset[AgentDepsT]:
        """This one: it has nothing of its own."""
        return self

    async def _sandbox(self, ctx: RunContext[AgentDepsT]) -> Sandbox | AsyncSandbox:
        backend = ctx.workspace.backend
        if not isinstance(backend, CodeSandboxBackend):
            other = type(backend).__name__
            raise UserError(f"the tools of CodeSandbox need the workspace it gives, not {other}")
        return await backend.sandbox()

    async def _use(
        self, tool: SandboxTool, ctx: RunContext[AgentDepsT], arguments: dict[str, Any]
    ) -> ToolReturn[Any]:
        if ctx.workspace.read_only and tool.name not in READING:
            raise ToolFailed(f"the workspace is read-only: {tool.name} could change it")
        return await super()._use(tool, ctx, arguments)


def _emitter(ctx: RunContext[Any], kind: Any) -> Any:
    async def emit(message: OutputMessage) -> None:
        event = kind(text=str(message), stream="stderr" if message.error else "stdout")
        with suppress(UserError):  # this run has no events
            await ctx.emit(event)

    return emit
