"""Pydantic AI's own suite for workspaces, over every variant that is here."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from pydantic_ai import (
    Agent,
    ModelMessage,
    ModelResponse,
    RunContext,
    TextPart,
    ToolCallPart,
    ToolReturnPart,
    UserError,
    models,
)
from pydantic_ai.capabilities import LocalWorkspace
from pydantic_ai.models.function import AgentInfo, DeltaToolCall, DeltaToolCalls, FunctionModel
from pydantic_ai.workspaces import (
    LocalWorkspaceBackend,
    ReadOnlyWorkspace,
    Workspace,
    WorkspaceBackend,
    WorkspaceOutputLimitError,
    WorkspaceRef,
    WorkspaceTimeoutError,
    WorkspaceUnavailableError,
)
from pydantic_ai.workspaces.conformance import WorkspaceBackendSuite

from code_sandboxes import AsyncSandbox, CloudError, ConfigurationError, Sandbox
from code_sandboxes_integrations.pydantic_ai import (
    CodeSandbox,
    CodeSandboxBackend,
    CodeSandboxOutputEvent,
)

models.ALLOW_MODEL_REQUESTS = False
Mine = Callable[[], set[str]]
Call = tuple[str, dict[str, Any]]

VARIANTS = ["local-eval", "local-jupyter", "local-docker"]


@pytest.fixture
def anyio_backend() -> str:
    """A sandbox is for asyncio."""
    return "asyncio"


@pytest.fixture(scope="module", params=VARIANTS)
def kind(request: pytest.FixtureRequest) -> str:
    able = Sandbox.capabilities(request.param)["create"]
    if not able:
        pytest.skip(able.reason)
    return str(request.param)


@pytest.fixture(scope="module")
def shared(kind: str) -> Iterator[Sandbox]:
    with Sandbox.create(kind) as sandbox:
        yield sandbox


class TestPydanticAIsOwnSuite(WorkspaceBackendSuite):
    @pytest.fixture
    def backend(self, shared: Sandbox) -> WorkspaceBackend:
        return CodeSandboxBackend(shared)

    @pytest.fixture
    def fresh_backend(self, kind: str) -> Iterator[Callable[[], WorkspaceBackend]]:
        made: list[Sandbox] = []
        yield lambda: CodeSandboxBackend(create={"variant": kind}, on_create=made.append)
        for sandbox in made:
            sandbox.terminate()

    @pytest.fixture
    def attach_backend(self) -> Callable[[WorkspaceRef], WorkspaceBackend]:
        return lambda ref: CodeSandboxBackend(ref=ref)

    @pytest.fixture
    def destroy_environment(self) -> Callable[[WorkspaceBackend], Awaitable[None]]:
        async def destroy(backend: WorkspaceBackend) -> None:
            assert isinstance(backend, CodeSandboxBackend)
            await (await backend.sandbox()).terminate()

        return destroy


# the capability ---------------------------------------------------------------------
def scripted(*calls: Call) -> FunctionModel:
    """A model that makes these calls, one a turn, and ends with what the last one gave."""
    todo = list(calls)

    def model(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        if todo:
            return ModelResponse(parts=[ToolCallPart(*todo.pop(0))])
        last = messages[-1].parts[-1]
        said = last.content if isinstance(last, ToolReturnPart) else "nothing"
        return ModelResponse(parts=[TextPart(str(said))])

    return FunctionModel(model)


def code(text: str) -> Call:
    return "run_code", {"code": text}


def test_a_history_goes_on_in_its_sandbox(mine: Mine) -> None:
    async def go() -> None:
        async with CodeSandbox[None]("local-eval") as capability:
            agent = Agent(capabilities=[capability], deps_type=type(None))

            @agent.tool
            async def peek(ctx: RunContext[None]) -> str:
                return await ctx.workspace.read_text("note")

            before = mine()
            idle = await agent.run("hello", model=scripted())
            assert (idle.output, mine()) == ("nothing", before)  # none is made for nothing
            begun = [code("n = 41; open('note', 'w').write('kept')"), ("peek", {})]
            first = await agent.run("begin", model=scripted(*begun))
            assert first.output == "kept"
            again = scripted(code("n + 1"))
            other = await agent.run("other", model=scripted(code("'n' in globals()")))
            second = await agent.run("on", model=again, message_history=first.all_messages())
            assert (second.output, other.output) == ("[result]\n42", "[result]\nFalse")
            assert len(mine() - before) == 2
        assert mine() == before

    asyncio.run(go())


def test_a_history_names_no_sandbox_of_others() -> None:
    async def go() -> None:
        async with await AsyncSandbox.create("local-eval") as others, CodeSandbox() as capability:
            ref = WorkspaceRef(provider="code-sandboxes", id=others.id)
            agent, model = Agent(capabilities=[capability]), scripted(code("1"))
            with pytest.raises(UserError, match="recognized"):
                await agent.run("go", model=model, workspace=ref)
            trusting = Agent(capabilities=[CodeSandbox(any_ref=True)])
            assert (await trusting.run("go", model=model, workspace=ref)).output == "[result]\n1"
            assert not others.closed

    asyncio.run(go())


def test_a_sandbox_that_has_ended_ends_the_run() -> None:
    async def go() -> None:
        async with CodeSandbox("local-eval") as capability:
            agent = Agent(capabilities=[capability])
            first = await agent.run("go", model=scripted(code("1")))
            ref = first.all_messages()[-1].workspace_ref  # type: ignore[union-attr]
            assert ref is not None
            await capability.destroy(ref)
            await capability.destroy(ref)  # it is gone: nothing to do
            with pytest.raises(WorkspaceUnavailableError):
                history = first.all_messages()
                await agent.run("on", model=scripted(code("1")), message_history=history)

    asyncio.run(go())


def test_the_end_of_a_sandbox_is_told_as_it_is() -> None:
    async def go() -> None:
        capability = CodeSandbox[Any]("local-eval")
        agent = Agent(capabilities=[capability])
        running = asyncio.ensure_future(
            agent.run("go", model=scripted(code("import time; time.sleep(60)")))
        )
        while not capability._made:
            await asyncio.sleep(0.05)
        await asyncio.sleep(0.3)
        await capability.aclose()
        assert "variables and files are gone" in (await running).output

    asyncio.run(go())


def test_only_reading_in_a_workspace_to_read() -> None:
    async def go() -> None:
        async with await AsyncSandbox.create("local-eval") as sandbox:
            await sandbox.files.write("f", "text")
            backend = ReadOnlyWorkspace(Workspace(CodeSandboxBackend(sandbox)))
            agent = Agent(capabilities=[CodeSandbox()])
            for call, expected in (
                (code("1"), "read-only"),
                (("write_file", {"path": "f", "content": "x"}), "read-only"),
                (("read_file", {"path": "f"}), "text"),
            ):
                ran = await agent.run("go", model=scripted(call), workspace=backend)
                assert expected in ran.output
            assert await sandbox.files.read("f") == "text"

    asyncio.run(go())


def test_the_tools_need_a_sandbox(tmp_path: Path) -> None:
    async def go() -> None:
        for capabilities, workspace in (
            ([CodeSandbox[Any]()], LocalWorkspaceBackend(tmp_path)),
            ([LocalWorkspace[Any](tmp_path), CodeSandbox[Any]()], None),
        ):
            agent = Agent(capabilities=capabilities)
            with pytest.raises(UserError, match="LocalWorkspaceBackend"):
                await agent.run("go", model=scripted(code("1")), workspace=workspace)

    asyncio.run(go())


def test_a_workspace_alone() -> None:
    async def go() -> None:
        async with CodeSandbox("local-eval", include=[]) as capability:
            agent = Agent(capabilities=[capability])

            @agent.tool
            async def shout(ctx: RunContext[Any]) -> str:
                ran = await ctx.workspace.run("echo $0 there", shell=True, cwd=".")
                return ran.stdout.strip().upper()

            ran = await agent.run("go", model=scripted(("shout", {})))
            assert ran.output.endswith("THERE")

    asyncio.run(go())


def test_output_is_told_while_the_code_runs() -> None:
    async def go() -> None:
        seen: list[CodeSandboxOutputEvent] = []

        async def watch(ctx: RunContext[Any], events: AsyncIterable[Any]) -> None:
            async for event in events:
                if isinstance(event, CodeSandboxOutputEvent):
                    seen.append(event)

        async with CodeSandbox("local-eval") as capability:
            agent = Agent(capabilities=[capability])
            printing = code("import sys\nprint('one')\nprint('two', file=sys.stderr)")
            await agent.run("go", model=streamed(printing), event_stream_handler=watch)
        assert [(event.text, event.stream) for event in seen] == [
            ("one", "stdout"),
            ("two", "stderr"),
        ]

    asyncio.run(go())


def streamed(*calls: Call) -> FunctionModel:
    """The same as `scripted`, for runs with events."""
    todo = list(calls)

    async def model(
        messages: list[ModelMessage], info: AgentInfo
    ) -> AsyncIterator[str | DeltaToolCalls]:
        if todo:
            name, arguments = todo.pop(0)
            yield {0: DeltaToolCall(name=name, json_args=json.dumps(arguments))}
        else:
            yield "done"

    return FunctionModel(stream_function=model)


def test_what_cannot_be_is_refused_at_once() -> None:
    for wrong in ({"variant": "nope"}, {"variant": "local-eval", "create": {"variant": "x"}}):
        with pytest.raises(ConfigurationError):
            CodeSandbox(**wrong)  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="list of names"):
        CodeSandbox(include="run_code")
    with pytest.raises(ConfigurationError, match="no sandbox"):
        CodeSandboxBackend("local-eval")  # type: ignore[arg-type]


# the backend ------------------------------------------------------------------------
def test_what_a_command_printed_is_never_cut_silently() -> None:
    async def go() -> None:
        async with await AsyncSandbox.create("local-eval", max_output=1000) as sandbox:
            backend = CodeSandboxBackend(sandbox)
            with pytest.raises(WorkspaceOutputLimitError) as large:
                await backend.run("yes | head -c 5000", shell=True)
            assert (large.value.limit, large.value.stdout[:4]) == (1000, "y\ny\n")
            with pytest.raises(WorkspaceTimeoutError) as late:
                await backend.run("echo so far; sleep 60", shell=True, timeout=0.5)
            assert late.value.stdout == "so far\n"
            for timeout in (0, -1, float("inf"), float("nan")):
                with pytest.raises(ValueError, match="timeout"):
                    await backend.run(["true"], timeout=timeout)

    asyncio.run(go())


def test_its_files_end_at_the_home() -> None:
    async def go() -> None:
        async with await AsyncSandbox.create("local-eval") as sandbox:
            backend = CodeSandboxBackend(sandbox)
            for call in (backend.read_bytes, backend.stat, backend.list_dir, backend.realpath):
                with pytest.raises(PermissionError, match="end at"):
                    await call("/etc/hostname")
            with pytest.raises(ValueError, match="absolute"):
                await backend.read_bytes("relative")
            home = await backend.working_dir()
            await backend.run(["ln", "-s", "..", "up"])
            await backend.make_dir(f"{home}/sub")
            await backend.run(["ln", "-s", home, "again"])
            await sandbox.files.write("again/sub/f", "x")
            with pytest.raises(PermissionError):
                await backend.remove(f"{home}/up/{home.rpartition('/')[2]}")
            await backend.remove(f"{home}/again")  # the link itself
            assert await backend.exists(f"{home}/sub/f")

    asyncio.run(go())


def test_one_backend_in_many_event_loops() -> None:
    with Sandbox.create("local-eval") as sandbox, ThreadPoolExecutor(4) as threads:
        backend = CodeSandboxBackend(sandbox)

        def write(name: str) -> None:
            asyncio.run(Workspace(backend).write_text(name, name))

        list(threads.map(write, map(str, range(12))))
        assert len(sandbox.files.list(".")) == 12


def test_slashes_and_links_name_the_same_file() -> None:
    async def go() -> None:
        async with await AsyncSandbox.create("local-eval", working_dir="a/work") as sandbox:
            backend = CodeSandboxBackend(sandbox)
            cwd = await backend.working_dir()
            await backend.write_bytes(f"//{cwd}/f", b"x")
            assert await backend.read_bytes(f"{cwd}/f") == b"x"
            home = await sandbox.files.resolve("/")
            await backend.make_dir(f"{home}/a/b")
            await backend.run(["ln", "-s", f"{home}/a/b", f"{home}/l"])
            for path in (
                f"{home}/l/../work",
                f"{cwd}/",
                f"/{cwd}",
                f"{cwd}/.",
                f"{home}/a/work/..",
            ):
                with pytest.raises(ValueError, match="working directory"):
                    await backend.remove(path)
            assert await backend.exists(f"{cwd}/f")

    asyncio.run(go())


def test_an_end_that_fails_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    async def go() -> None:
        capability = CodeSandbox[Any]("local-eval")
        agent = Agent(capabilities=[capability])
        for _ in range(2):
            await agent.run("go", model=scripted(code("1")))
        first, second = (box for box in capability._made.values() if box is not None)
        monkeypatch.setattr(type(first._core.variant), "stop", fails)
        with pytest.raises(CloudError):
            await capability.aclose()
        monkeypatch.undo()
        await capability.aclose()
        assert first.closed
        assert second.closed
        assert set(capability._made.values()) == {None}

    def fails(variant: Any) -> None:
        raise CloudError("not now")

    asyncio.run(go())
