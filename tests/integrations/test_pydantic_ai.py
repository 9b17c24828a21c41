"""Pydantic AI's own agent over a sandbox, with a scripted model."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterable, Callable
from typing import Any

import pytest
from pydantic_ai import (
    Agent,
    BinaryContent,
    ModelMessage,
    ModelResponse,
    RunContext,
    TextPart,
    ToolCallPart,
    ToolReturnPart,
    models,
)
from pydantic_ai.models.function import AgentInfo, FunctionModel
from pydantic_ai.models.test import TestModel

from code_sandboxes import AsyncSandbox, ConfigurationError, Sandbox, SandboxError
from code_sandboxes_integrations.pydantic_ai import CodeOutputEvent, CodeSandboxToolset

models.ALLOW_MODEL_REQUESTS = False


Mine = Callable[[], set[str]]


class Scripted:
    """A model that makes these calls, one a turn; keeps what came back."""

    def __init__(self, *calls: tuple[str, dict[str, Any]]) -> None:
        self.calls, self.returned = list(calls), list[Any]()
        self.tools: dict[str, Any] = {}

    def __call__(self, messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        self.tools = {tool.name: tool for tool in info.function_tools}
        parts = messages[-1].parts
        self.returned += [part for part in parts if isinstance(part, ToolReturnPart)]
        if not self.calls:
            return ModelResponse(parts=[TextPart("done")])
        return ModelResponse(parts=[ToolCallPart(*self.calls.pop(0))])


def code(text: str, **arguments: Any) -> tuple[str, dict[str, Any]]:
    return "run_code", {"code": text, **arguments}


def run(toolset: CodeSandboxToolset[Any], *calls: tuple[str, dict[str, Any]]) -> Scripted:
    # run_sync() leaves its event loop unclosed, which is a warning, which is an error here
    return asyncio.run(arun(toolset, *calls))


async def arun(toolset: CodeSandboxToolset[Any], *calls: tuple[str, dict[str, Any]]) -> Scripted:
    script = Scripted(*calls)
    result = await Agent(FunctionModel(script), toolsets=[toolset]).run("go")
    assert result.output == "done"
    return script


def test_an_agent_keeps_its_variables(sandbox: Sandbox) -> None:
    first, second = run(CodeSandboxToolset(sandbox), code("n = 41"), code("n + 1")).returned
    assert (first.content, second.content) == ("(no output)", "[result]\n42")
    assert (second.outcome, second.metadata["success"]) == ("success", True)


def test_each_run_has_a_sandbox_of_its_own(variant: str, mine: Mine) -> None:
    toolset = CodeSandboxToolset[None](variant=variant)
    before = mine()
    count = "n = globals().get('n', 0) + 1\nn"

    async def go() -> list[Scripted]:
        runs = (arun(toolset, code(count), code(count)) for _ in range(2))
        return list(await asyncio.gather(*runs))

    for script in asyncio.run(go()):
        assert [each.content for each in script.returned] == ["[result]\n1", "[result]\n2"]
    assert mine() == before


def test_a_run_without_a_call_starts_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(AsyncSandbox, "create", None)
    run(CodeSandboxToolset(variant="local-eval"))


def test_a_borrowed_async_sandbox_is_shared_and_left_alone(variant: str) -> None:
    async def go() -> None:
        async with await AsyncSandbox.create(variant=variant) as sandbox:
            toolset = CodeSandboxToolset[None](sandbox)
            await arun(toolset, code("shared = 1"))
            script = await arun(toolset, code("shared"))
            assert script.returned[0].content == "[result]\n1"
            assert (await sandbox.run_code("shared")).text == "1"

    asyncio.run(go())


def test_an_error_is_a_failed_call_and_costs_no_retry(sandbox: Sandbox) -> None:
    script = run(CodeSandboxToolset(sandbox), *[code("print('out')\n1 / 0")] * 4, code("'on'"))
    *failed, last = script.returned
    for part in failed:
        assert isinstance(part, ToolReturnPart) and part.outcome == "failed"
        assert part.content.startswith("[stdout]\nout\n[error]\n")
        assert part.content.endswith("ZeroDivisionError: division by zero")
    assert last.content == "[result]\n'on'"


def test_a_missing_file_is_a_failed_call(sandbox: Sandbox) -> None:
    (part,) = run(CodeSandboxToolset(sandbox), ("read_file", {"path": "missing"})).returned
    assert part.outcome == "failed" and part.content.startswith("[error]\nFileNotFoundError:")


def test_a_bad_argument_asks_for_another(sandbox: Sandbox) -> None:
    script = run(CodeSandboxToolset(sandbox), code(" "), code("1"))
    retry, result = script.returned
    assert retry.outcome == "retried" and "code is empty" in str(retry.content)
    assert result.content == "[result]\n1"


def test_bad_arguments_do_not_end_the_run(sandbox: Sandbox) -> None:
    script = run(CodeSandboxToolset(sandbox), *[code("1", timeout_seconds=-1)] * 3)
    assert [part.outcome for part in script.returned] == ["retried", "failed", "failed"]


def test_a_timeout_keeps_the_variables(sandbox: Sandbox) -> None:
    late, after = run(
        CodeSandboxToolset(sandbox),
        code("late = 5\nwhile True: pass", timeout_seconds=1),
        code("late"),
    ).returned
    assert late.outcome == "failed" and late.content.endswith("s; variables are kept]")
    assert after.content == "[result]\n5"


FIGURE = """
import matplotlib
matplotlib.use("module://matplotlib_inline.backend_inline")
import matplotlib.pyplot as plt
plt.plot([1, 2])
plt.show()
"""


def test_figures_reach_the_model(sandbox: Sandbox) -> None:
    (part,) = run(CodeSandboxToolset(sandbox), code(FIGURE)).returned
    text, image = part.content
    assert "Figure" in text
    assert isinstance(image, BinaryContent) and image.media_type == "image/png"
    (part,) = run(CodeSandboxToolset(sandbox, images=False), code(FIGURE)).returned
    assert isinstance(part.content, str)


def test_a_failure_with_figures_shows_both(sandbox: Sandbox) -> None:
    (part,) = run(CodeSandboxToolset(sandbox), code(FIGURE + "1 / 0")).returned
    text, image = part.content
    assert "ZeroDivisionError" in text and isinstance(image, BinaryContent)
    assert part.metadata["success"] is False


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_output_is_heard_while_the_code_runs(variant: str, kind: str) -> None:
    heard: list[tuple[str, str, float]] = []

    async def listen(ctx: RunContext[None], events: AsyncIterable[Any]) -> None:
        async for event in events:
            if isinstance(event, CodeOutputEvent):
                heard.append((event.stream, event.text, time.monotonic()))

    async def go() -> None:
        text = "import sys, time\nprint('a')\ntime.sleep(0.6)\nprint('b', file=sys.stderr)"
        async with await AsyncSandbox.create(variant=variant) as sandbox:
            with Sandbox.create(variant=variant) as other:
                toolset = CodeSandboxToolset[None](sandbox if kind == "async" else other)
                agent = Agent(FunctionModel(Scripted(code(text))), toolsets=[toolset])
                # a FunctionModel without a stream function cannot stream, but tools still can
                async for node in _nodes(agent):
                    async with node as events:
                        await listen(None, events)  # type: ignore[arg-type]

    asyncio.run(go())
    assert [(stream, text) for stream, text, _ in heard] == [("stdout", "a"), ("stderr", "b")]
    assert heard[1][2] - heard[0][2] > 0.3


async def _nodes(agent: Agent[None, str]) -> Any:
    async with agent.iter("go") as run:
        async for node in run:
            if Agent.is_call_tools_node(node):
                yield node.stream(run.ctx)


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_cancelling_a_run_interrupts_the_code(variant: str, kind: str) -> None:
    async def go() -> None:
        text = "import time\nfor kept in range(10_000): time.sleep(0.01)"
        async with await AsyncSandbox.create(variant=variant) as sandbox:
            with Sandbox.create(variant=variant) as other:
                toolset = CodeSandboxToolset[None](sandbox if kind == "async" else other)
                task = asyncio.create_task(arun(toolset, code(text)))
                await asyncio.sleep(1.5)
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
                began = time.monotonic()
                if kind == "async":
                    result = await sandbox.run_code("0 < kept < 9_000")
                else:
                    result = await asyncio.to_thread(other.run_code, "0 < kept < 9_000")
                assert result.text == "True" and time.monotonic() - began < 5

    asyncio.run(go())


def test_cancelling_a_run_ends_its_own_sandbox(variant: str, mine: Mine) -> None:
    before = mine()

    async def go() -> None:
        toolset = CodeSandboxToolset[None](variant=variant)
        task = asyncio.create_task(arun(toolset, code("import time\ntime.sleep(60)")))
        await asyncio.sleep(2)
        assert mine() != before
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(go())
    assert mine() == before


def test_a_sandbox_that_ended_ends_the_run(variant: str) -> None:
    sandbox = Sandbox.create(variant=variant)
    sandbox.terminate()
    with pytest.raises(SandboxError):
        run(CodeSandboxToolset(sandbox), code("1"))


def test_the_tools_are_described(sandbox: Sandbox) -> None:
    script = run(CodeSandboxToolset(sandbox))
    assert set(script.tools) == {
        "run_code",
        "run_command",
        "read_file",
        "write_file",
        "list_files",
    }
    tool = script.tools["run_code"]
    assert tool.sequential and not script.tools["read_file"].sequential
    assert tool.description.startswith("Run Python code in a persistent session.")
    assert "Args" not in tool.description
    schema = tool.parameters_json_schema
    assert schema["properties"]["code"]["description"] == "Complete Python source."
    assert schema["required"] == ["code"]
    assert CodeSandboxToolset(sandbox, id="mine").id == "mine"


def test_more_tools_can_be_added(variant: str) -> None:
    toolset = CodeSandboxToolset[None](variant=variant, include=["run_code"])

    @toolset.tool_plain
    def answer() -> int:
        """The answer."""
        return 42

    script = run(toolset, ("answer", {}), code("1"))
    assert [part.content for part in script.returned] == [42, "[result]\n1"]


def test_made_up_arguments_of_the_test_model(sandbox: Sandbox) -> None:
    toolset = CodeSandboxToolset(sandbox, include=["list_files", "run_command", "run_code"])
    asyncio.run(Agent(TestModel(), toolsets=[toolset]).run("go"))


def test_wrong_options_are_the_callers_error_not_the_models() -> None:
    with pytest.raises(ConfigurationError, match="either a sandbox or the options"):
        CodeSandboxToolset(object(), variant="local-eval")  # type: ignore[arg-type]
    toolset = CodeSandboxToolset[None](variant="local-eval", create={"environment": "none-such"})
    with pytest.raises(SandboxError):
        run(toolset, code("1"))
