"""LangChain's own agent over a sandbox, with a scripted chat model."""

from __future__ import annotations

import asyncio
import base64
import threading
import time
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.messages import AIMessage, ToolMessage
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import BaseTool
from langgraph.checkpoint.memory import InMemorySaver

from code_sandboxes import AsyncSandbox, ConfigurationError, Sandbox
from code_sandboxes_integrations.langchain import create_run_code_tool, create_sandbox_tools
from scripted_chat import Scripted, call


def agent(tools: list[BaseTool], *turns: AIMessage, **options: Any) -> Any:
    return create_agent(Scripted(responses=[*turns, AIMessage("done")]), tools, **options)


def run(tools: list[BaseTool], *turns: AIMessage) -> list[ToolMessage]:
    """The tool messages of an agent that makes these calls."""
    out = agent(tools, *turns).invoke({"messages": [("user", "go")]})
    assert out["messages"][-1].content == "done"
    return [message for message in out["messages"] if isinstance(message, ToolMessage)]


async def arun(tools: list[BaseTool], *turns: AIMessage) -> list[ToolMessage]:
    out = await agent(tools, *turns).ainvoke({"messages": [("user", "go")]})
    assert out["messages"][-1].content == "done"
    return [message for message in out["messages"] if isinstance(message, ToolMessage)]


def test_an_agent_keeps_its_variables(sandbox: Sandbox) -> None:
    tool = create_run_code_tool(sandbox)
    first, second = run([tool], call("run_code", code="n = 41"), call("run_code", code="n + 1"))
    assert (first.content, second.content) == ("(no output)", "[result]\n42")
    assert second.status == "success"
    assert second.artifact["success"] and second.artifact["mime_types"] == [["text/plain"]]


def test_the_same_awaited(sandbox: Sandbox) -> None:
    tool = create_run_code_tool(sandbox)
    calls = call("run_code", code="an = 41"), call("run_code", code="print(an + 1)")
    assert asyncio.run(arun([tool], *calls))[1].content == "[stdout]\n42"


def test_an_async_sandbox(variant: str) -> None:
    async def go() -> list[ToolMessage]:
        async with await AsyncSandbox.create(variant=variant) as sandbox:
            tools = create_sandbox_tools(sandbox)
            return await arun(
                tools,
                call("run_code", code="print('hi')\n1 + 1"),
                call("write_file", path="a.txt", content="text"),
                call("read_file", path="a.txt"),
            )

    texts = [message.content for message in asyncio.run(go())]
    assert texts == [
        "[stdout]\nhi\n[result]\n2",
        "wrote 4 characters to a.txt",
        "[content]\ntext",
    ]


def test_errors_are_text_and_the_run_goes_on(sandbox: Sandbox) -> None:
    tools = create_sandbox_tools(sandbox)
    raised, missing, empty, late = run(
        tools,
        call("run_code", code="print('before')\n1 / 0"),
        call("read_file", path="missing.txt"),
        call("run_code", code="  "),
        call("run_code", code="1", timeout_seconds=10_000),
    )
    assert raised.status == "error" and raised.content.startswith("[stdout]\nbefore\n[error]\n")
    assert raised.content.endswith("ZeroDivisionError: division by zero")
    assert raised.artifact["error"]["name"] == "ZeroDivisionError"
    assert (missing.status, missing.content[:26]) == ("error", "[error]\nFileNotFoundError:")
    assert empty.status == "error" and "code is empty" in empty.content
    assert late.status == "error" and "between 0 and 600" in late.content


def test_a_timeout_keeps_the_variables(sandbox: Sandbox) -> None:
    late, after = run(
        [create_run_code_tool(sandbox)],
        call("run_code", code="late = 5\nwhile True: pass", timeout_seconds=1),
        call("run_code", code="late"),
    )
    assert late.status == "error" and late.content.endswith("s; variables are kept]")
    assert after.content == "[result]\n5"


FIGURE = """
import matplotlib
matplotlib.use("module://matplotlib_inline.backend_inline")
import matplotlib.pyplot as plt
plt.plot([1, 2])
plt.show()
"""


def test_figures_are_image_blocks(sandbox: Sandbox) -> None:
    (message,) = run([create_run_code_tool(sandbox)], call("run_code", code=FIGURE))
    text, image = message.content
    assert text["type"] == "text" and "Figure" in text["text"]
    assert (image["type"], image["mime_type"]) == ("image", "image/png")
    assert base64.b64decode(image["base64"]).startswith(b"\x89PNG")
    assert "base64" not in str(message.artifact)
    (message,) = run([create_run_code_tool(sandbox, images=False)], call("run_code", code=FIGURE))
    assert isinstance(message.content, str)


def test_a_picture_file_is_an_image_block(sandbox: Sandbox) -> None:
    code = "import PIL.Image\nPIL.Image.new('RGB', (3, 2)).save('p.png')"
    _, message = run(
        create_sandbox_tools(sandbox), call("run_code", code=code), call("read_file", path="p.png")
    )
    assert message.content[1]["mime_type"] == "image/png"


def test_output_streams_while_the_code_runs(sandbox: Sandbox) -> None:
    code = "import time\nprint('a')\ntime.sleep(0.5)\nprint('b')"
    one = agent([create_run_code_tool(sandbox)], call("run_code", code=code))
    deltas, times = [], []
    # "custom": else LangGraph hands all of them over when the step has ended
    modes = ["tools", "custom"]
    for _, event in one.stream({"messages": [("user", "go")]}, stream_mode=modes):
        if event["event"] == "tool-output-delta":
            deltas.append(event["delta"])
            times.append(time.monotonic())
    assert deltas == [{"type": "stdout", "text": "a"}, {"type": "stdout", "text": "b"}]
    assert times[1] - times[0] > 0.3


def test_output_streams_awaited(sandbox: Sandbox) -> None:
    async def go() -> list[Any]:
        one = agent([create_run_code_tool(sandbox)], call("run_code", code="print('a')"))
        events = one.astream({"messages": [("user", "go")]}, stream_mode="tools")
        return [event["delta"] async for event in events if event["event"] == "tool-output-delta"]

    assert asyncio.run(go()) == [{"type": "stdout", "text": "a"}]


@pytest.mark.parametrize("how", ["sync", "async"])
def test_calls_at_the_same_time_queue(sandbox: Sandbox, how: str) -> None:
    code = "import time\nbusy = globals().get('busy', 0) + 1\ntime.sleep(0.1)\nbusy -= 1\nbusy"
    calls = [
        {"name": "run_code", "args": {"code": code}, "id": f"call-{number}"} for number in range(4)
    ]
    turn = AIMessage("", tool_calls=calls)
    tools = [create_run_code_tool(sandbox)]
    messages = run(tools, turn) if how == "sync" else asyncio.run(arun(tools, turn))
    assert [message.content for message in messages] == ["[result]\n0"] * 4


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_cancelling_the_agent_interrupts_the_code(variant: str, kind: str) -> None:
    async def go() -> None:
        code = "import time\nfor kept in range(10_000): time.sleep(0.01)"
        sandbox: Any = (
            Sandbox.create(variant=variant)
            if kind == "sync"
            else await AsyncSandbox.create(variant=variant)
        )
        try:
            task = asyncio.create_task(
                arun([create_run_code_tool(sandbox)], call("run_code", code=code))
            )
            await asyncio.sleep(1.5)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            began = time.monotonic()
            result = await _call(sandbox.run_code, "0 < kept < 9_000")
            assert result.text == "True" and time.monotonic() - began < 5
        finally:
            await _call(sandbox.terminate)

    asyncio.run(go())


async def _call(function: Any, *arguments: Any) -> Any:
    if asyncio.iscoroutinefunction(function):
        return await function(*arguments)
    return await asyncio.to_thread(function, *arguments)


def test_nothing_blocks_the_loop(sandbox: Sandbox) -> None:
    async def go() -> int:
        tool, beats = create_run_code_tool(sandbox), 0
        code = "import time\ntime.sleep(1)"
        task = asyncio.create_task(arun([tool], call("run_code", code=code)))
        while not task.done():
            await asyncio.sleep(0.02)
            beats += 1
        return beats

    assert asyncio.run(go()) > 20


def test_one_sandbox_for_each_conversation(variant: str) -> None:
    made: dict[str, Sandbox] = {}
    making = threading.Lock()

    def find(config: RunnableConfig) -> Sandbox:
        with making:
            thread = config["configurable"]["thread_id"]
            return made.setdefault(thread, Sandbox.create(variant=variant))

    try:
        texts, saver = [], InMemorySaver()
        for thread in ("a", "b", "a"):
            turn = call("run_code", code="n = globals().get('n', 0) + 1\nn")
            one = agent([create_run_code_tool(find)], turn, checkpointer=saver)
            out = one.invoke(
                {"messages": [("user", "go")]}, {"configurable": {"thread_id": thread}}
            )
            texts.append(out["messages"][-2].content)
        assert texts == ["[result]\n1", "[result]\n1", "[result]\n2"]
    finally:
        for sandbox in made.values():
            sandbox.terminate()


def test_a_sandbox_that_ended_is_reported(variant: str) -> None:
    sandbox = Sandbox.create(variant=variant)
    sandbox.terminate()
    (message,) = run([create_run_code_tool(sandbox)], call("run_code", code="1"))
    assert message.status == "error" and "SandboxClosedError" in message.content


def test_outside_of_a_graph(sandbox: Sandbox) -> None:
    tool = create_run_code_tool(sandbox)
    assert tool.invoke({"code": "1 + 1"}) == "[result]\n2"
    assert "ZeroDivisionError" in tool.invoke({"code": "1 / 0"})
    assert asyncio.run(tool.ainvoke({"code": "1 + 2"})) == "[result]\n3"
    request = {"name": "run_code", "args": {"code": "1 / 0"}, "id": "x", "type": "tool_call"}
    message = tool.invoke(request)
    assert (message.status, message.tool_call_id) == ("error", "x")


def test_names_schemas_and_limits(sandbox: Sandbox) -> None:
    (tool,) = create_sandbox_tools(sandbox, include=["run_code"], prefix="py_", max_output_chars=50)
    assert tool.name == "py_run_code" and "persistent session" in tool.description
    properties = tool.tool_call_schema.model_json_schema()["properties"]
    assert set(properties) == {"code", "timeout_seconds"}
    assert properties["code"]["description"] == "Complete Python source."
    assert len(tool.invoke({"code": "print('x' * 10_000)"})) < 200
    with pytest.raises(ConfigurationError, match="no tool fly"):
        create_sandbox_tools(sandbox, include=["fly"])


def test_listing_and_commands(sandbox: Sandbox) -> None:
    tools = create_sandbox_tools(sandbox)
    _, listed, failed = run(
        tools,
        call("write_file", path="box/a.txt", content="12345"),
        call("list_files", path="box"),
        call("run_command", command="cat box/a.txt; exit 3"),
    )
    assert listed.content.endswith("a.txt  5")
    assert failed.content == "[stdout]\n12345\n[exit code: 3]"
    assert failed.status == "success" and failed.artifact["exit_code"] == 3
