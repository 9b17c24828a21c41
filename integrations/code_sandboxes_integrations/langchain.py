"""LangChain and LangGraph: a sandbox as tools of an agent.

::

    with Sandbox.create(variant="local-jupyter") as sandbox:
        agent = create_agent(model, tools=create_sandbox_tools(sandbox))
        agent.invoke({"messages": [("user", "Plot sin(x)")]})

Output streams while the code runs: ``agent.stream(..., stream_mode=["tools", "custom"])`` yields
``tool-output-delta`` events with ``{"type": "stdout" | "stderr", "text": line}``. (Without
``"custom"`` or ``"messages"`` LangGraph keeps events until the step has ended.)
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable
from typing import Any

from code_sandboxes import (
    AsyncSandbox,
    ConfigurationError,
    OutputMessage,
    Sandbox,
    SandboxError,
)

from ._aio import use
from ._extras import missing
from ._render import Rendered
from ._tooling import BadArgumentError, SandboxTool, refused
from ._tools import chosen

try:
    from langchain_core.messages import ToolMessage
    from langchain_core.messages.content import create_image_block, create_text_block
    from langchain_core.runnables import RunnableConfig
    from langchain_core.tools import BaseTool, StructuredTool, ToolException
    from langgraph.prebuilt import ToolRuntime
    from pydantic import BaseModel, Field, create_model
except ImportError as error:
    raise missing("langchain", error) from error

__all__ = ["Source", "create_run_code_tool", "create_sandbox_tools"]

Source = Sandbox | AsyncSandbox | Callable[[RunnableConfig], Sandbox | AsyncSandbox]


def create_run_code_tool(
    sandbox: Source, *, name: str = "run_code", max_output_chars: int = 8_000, images: bool = True
) -> BaseTool:
    """A tool that runs Python in a sandbox: state lasts from call to call.

    What the model gets is text in labelled blocks, bounded, and the figures that the code showed
    as image blocks. An error of the code is a message with ``status="error"``, so the run goes on.
    The message's `artifact` says the same for programs, and is small JSON.

    Args:
        sandbox: where to run; it stays the caller's. Or a function that finds it from the
            `RunnableConfig` of the call, say by ``config["configurable"]["thread_id"]``.
            An `AsyncSandbox` serves ``ainvoke`` and ``astream`` only.
        name: what the model calls the tool.
        max_output_chars: the most characters of output of one call.
        images: whether figures go to the model; turn it off for models that read only text.

    Returns:
        A tool for `create_agent`, `ToolNode` or `bind_tools`.

    Example:
        >>> with Sandbox.create(variant="local-eval") as sandbox:
        ...     print(create_run_code_tool(sandbox).invoke({"code": "1 + 1"}))
        [result]
        2
    """
    (tool,) = chosen(["run_code"])
    return _Adapter(tool, sandbox, max_output_chars, images).tool(name)


def create_sandbox_tools(
    sandbox: Source,
    *,
    include: Iterable[str] | None = None,
    prefix: str = "",
    max_output_chars: int = 8_000,
    images: bool = True,
) -> list[BaseTool]:
    """Tools over a sandbox: `run_code`, `run_command`, `read_file`, `write_file`, `list_files`.

    Args:
        sandbox: as for `create_run_code_tool`.
        include: the names of those wanted; None for all.
        prefix: put before each name, for agents with more than one sandbox.
        max_output_chars: the most characters of output of one call.
        images: whether figures and picture files go to the model.

    Raises:
        ConfigurationError: there is no such tool.

    Example:
        >>> with Sandbox.create(variant="local-eval") as sandbox:
        ...     [tool.name for tool in create_sandbox_tools(sandbox, include=["read_file"])]
        ['read_file']
    """
    return [
        _Adapter(tool, sandbox, max_output_chars, images).tool(prefix + tool.name)
        for tool in chosen(include)
    ]


class _Adapter:
    """One tool over one source of sandboxes."""

    def __init__(self, tool: SandboxTool, source: Source, max_chars: int, images: bool) -> None:
        self._tool, self._source, self._max_chars, self._images = tool, source, max_chars, images

    def tool(self, name: str) -> BaseTool:
        """The LangChain tool, named `name`."""
        tracing = {"ls_code_input_language": "python"} if self._tool.name == "run_code" else None
        return StructuredTool.from_function(
            func=self._run,
            coroutine=self._arun,
            name=name,
            description=self._tool.description,
            args_schema=_schema(self._tool, name),
            # else `runtime` would have to be in the schema; this way LangGraph still injects it
            infer_schema=False,
            response_format="content_and_artifact",
            handle_tool_error=True,
            metadata=tracing,
        )

    def _run(
        self,
        config: RunnableConfig,
        runtime: ToolRuntime = None,  # type: ignore[assignment] # `| None` is not injected
        **arguments: Any,
    ) -> tuple[Any, Any]:
        sandbox = self._find(config)
        if isinstance(sandbox, AsyncSandbox):
            raise ConfigurationError("an AsyncSandbox needs ainvoke() or astream()")
        try:
            rendered = self._tool.run(sandbox, arguments, **self._options(runtime))
        except (BadArgumentError, SandboxError) as error:
            rendered = refused(error)
        return self._message(rendered, runtime)

    async def _arun(
        self,
        config: RunnableConfig,
        runtime: ToolRuntime = None,  # type: ignore[assignment] # `| None` is not injected
        **arguments: Any,
    ) -> tuple[Any, Any]:
        sandbox = self._find(config)
        try:
            rendered = await use(self._tool, sandbox, arguments, **self._options(runtime))
        except (BadArgumentError, SandboxError) as error:
            rendered = refused(error)
        return self._message(rendered, runtime)

    def _find(self, config: RunnableConfig) -> Sandbox | AsyncSandbox:
        source = self._source
        return source if isinstance(source, Sandbox | AsyncSandbox) else source(config)

    def _options(self, runtime: ToolRuntime | None) -> dict[str, Any]:
        options: dict[str, Any] = {"max_chars": self._max_chars}
        if self._tool.streams and runtime is not None:

            def emit(message: OutputMessage) -> None:
                stream = "stderr" if message.error else "stdout"
                runtime.emit_output_delta({"type": stream, "text": str(message)})

            options |= {"on_stdout": emit, "on_stderr": emit}
        return options

    def _message(self, rendered: Rendered, runtime: ToolRuntime | None) -> tuple[Any, Any]:
        content: Any = rendered.text
        if self._images and rendered.images:
            pictures = [
                create_image_block(base64=base64.b64encode(each.data).decode(), mime_type=each.mime)
                for each in rendered.images
            ]
            content = [create_text_block(rendered.text), *pictures]
        artifact = dict(rendered.details)
        if not rendered.failed:
            return content, artifact
        if runtime is None or runtime.tool_call_id is None:
            raise ToolException(rendered.text)
        # a message that is made already passes through: the only way to an error with an artifact
        message = ToolMessage(
            content, tool_call_id=runtime.tool_call_id, status="error", artifact=artifact
        )
        return message, artifact


def _schema(tool: SandboxTool, name: str) -> type[BaseModel]:
    fields: dict[str, Any] = {
        each: (
            parameter.annotation,
            Field(
                ... if parameter.required else parameter.default, description=parameter.description
            ),
        )
        for each, parameter in tool.parameters.items()
    }
    return create_model(name, **fields)
