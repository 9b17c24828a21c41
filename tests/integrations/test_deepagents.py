"""Deep Agents' own suite for sandboxes, over every variant that is here, and its own agent."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from deepagents import create_deep_agent
from deepagents.backends.protocol import SandboxBackendProtocol
from langchain_core.messages import AIMessage, ToolMessage
from langchain_core.runnables import RunnableConfig
from langchain_tests.integration_tests import SandboxIntegrationTests

from code_sandboxes import AsyncSandbox, Sandbox
from code_sandboxes_integrations.deepagents import CodeSandboxBackend
from code_sandboxes_integrations.langchain import create_run_code_tool
from scripted_chat import Scripted, call

# of their suite's own fixtures
pytestmark = [
    pytest.mark.anyio,
    pytest.mark.filterwarnings("ignore:Class-scoped fixtures defined as instance"),
]
OUTDATED = {
    "test_write_existing_file_fails",
    *("test_glob", "test_glob_basic_pattern", "test_glob_with_directories"),
    *("test_glob_with_character_class", "test_glob_with_question_mark"),
    "test_glob_hidden_files_explicitly",
}


@pytest.fixture
def anyio_backend() -> str:
    """A sandbox is for asyncio."""
    return "asyncio"


class OwnSuite(SandboxIntegrationTests):
    variant = root = ""

    @pytest.fixture(scope="class")
    @classmethod
    def sandbox(cls) -> Iterator[SandboxBackendProtocol]:
        able = Sandbox.capabilities(cls.variant)["create"]
        if not able:
            pytest.skip(able.reason)
        with Sandbox.create(cls.variant) as box:
            cls.root = box.files.resolve("suite")
            yield CodeSandboxBackend(box)

    @property
    def sandbox_root_dir(self) -> str:
        return self.root

    @pytest.fixture(autouse=True)
    def up_to_date(self, request: pytest.FixtureRequest) -> None:
        if request.node.name in OUTDATED:
            pytest.skip("deepagents 0.7: a write replaces, and a glob tells whole paths")

    def test_what_they_have_changed(self, sandbox_backend: SandboxBackendProtocol) -> None:
        where = self.sandbox_path("changed")
        for content in ("one", "two"):
            assert sandbox_backend.write(f"{where}/sub/a.py", content).error is None
        sandbox_backend.write(f"{where}/b.py", "b")
        sandbox_backend.write(f"{where}/.hidden", "h")
        assert sandbox_backend.read(f"{where}/sub/a.py").file_data["content"] == "two"
        for pattern, names in (
            ("*.py", ["b.py", "sub/a.py"]),
            ("sub/?.py", ["sub/a.py"]),
            ("[!b].py", ["sub/a.py"]),
            (".h*", [".hidden"]),
        ):
            found = sandbox_backend.glob(pattern, path=where)
            assert [each["path"] for each in found.matches] == [f"{where}/{n}" for n in names]


class TestLocalEval(OwnSuite):
    variant = "local-eval"


class TestLocalJupyter(OwnSuite):
    variant, sample = "local-jupyter", 3


class TestLocalDocker(OwnSuite):
    variant, sample = "local-docker", 3


# its own agent ----------------------------------------------------------------------
def deep_agent(backend: CodeSandboxBackend, *turns: AIMessage, **options: Any) -> Any:
    model = Scripted(responses=[*turns, AIMessage("done")])
    return create_deep_agent(model=model, backend=backend, **options)


def said(out: dict[str, Any]) -> list[ToolMessage]:
    assert out["messages"][-1].content == "done"
    return [message for message in out["messages"] if isinstance(message, ToolMessage)]


GO = {"messages": [("user", "go")]}
TURNS = (
    call("write_file", file_path="/notes.txt", content="one\ntwo\n"),
    call("edit_file", file_path="/notes.txt", old_string="two", new_string="2"),
    call("execute", command="cat notes.txt; echo oops >&2; exit 3"),
    call("read_file", file_path="/notes.txt"),
    call("run_code", code="open('notes.txt').read()"),
)


def check(messages: list[ToolMessage], home: str) -> None:
    written, edited, ran, read, code = messages
    assert f"{home}/notes.txt" in written.content
    assert edited.status == "success"
    assert "one\n2\noops\n" in ran.content
    assert ran.artifact["exit_code"] == 3
    assert "2" in read.content
    assert code.content == "[result]\n'one\\n2\\n'"


def test_an_agent(sandbox: Sandbox) -> None:
    tools = [create_run_code_tool(sandbox)]
    out = deep_agent(CodeSandboxBackend(sandbox), *TURNS, tools=tools).invoke(GO)
    check(said(out), sandbox.files.resolve("."))


async def test_the_same_awaited() -> None:
    async with await AsyncSandbox.create("local-eval") as sandbox:
        tools = [create_run_code_tool(sandbox)]
        out = await deep_agent(CodeSandboxBackend(sandbox), *TURNS, tools=tools).ainvoke(GO)
        check(said(out), await sandbox.files.resolve("."))


def test_each_thread_its_sandbox() -> None:
    with Sandbox.create("local-eval") as one, Sandbox.create("local-eval") as two:
        boxes = {"1": one, "2": two}

        def find(config: RunnableConfig) -> Sandbox:
            return boxes[config["configurable"]["thread_id"]]

        turns = call("write_file", file_path="/me", content="x"), call("execute", command="pwd")
        for thread, box in boxes.items():
            agent = deep_agent(CodeSandboxBackend(find), *turns)
            out = agent.invoke(GO, {"configurable": {"thread_id": thread}})
            assert box.files.resolve(".") in said(out)[1].content
            assert box.files.read("me") == "x"


def test_a_sandbox_that_has_ended_does_not_end_the_run() -> None:
    sandbox = Sandbox.create("local-eval")
    backend = CodeSandboxBackend(sandbox)
    sandbox.terminate()
    turns = (
        call("execute", command="pwd"),
        call("write_file", file_path="/a", content="x"),
        call("read_file", file_path="/a"),
        call("ls", path="/"),
        call("edit_file", file_path="/a", old_string="x", new_string="y"),
    )
    for out in (
        deep_agent(backend, *turns).invoke(GO),
        asyncio.run(deep_agent(backend, *turns).ainvoke(GO)),
    ):
        for message in said(out):
            assert "terminated" in message.content, message


# the backend ------------------------------------------------------------------------
def test_limits_of_a_command() -> None:
    with Sandbox.create("local-eval", timeout=1, max_output=1000) as sandbox:
        backend = CodeSandboxBackend(sandbox)
        late = backend.execute("echo so far; sleep 60")
        assert (late.exit_code, late.output.partition("\n")[0]) == (124, "so far")
        assert "ExecutionTimeout" in late.output
        assert backend.execute("sleep 1.5; echo done", timeout=0).output == "done\n"
        assert backend.execute("sleep 1.5; echo done", timeout=5).exit_code == 0
        large = backend.execute("yes | head -c 5000")
        assert large.truncated
        assert "4,000 bytes left out" in large.output
        assert backend.execute("no-such-program").exit_code == 127
        assert backend.execute("if").exit_code != 0
        heredoc = "cat <<'END'\n$HOME\nEND\n"
        assert backend.execute(heredoc).output == "$HOME\n"
        assert "ConfigurationError" in backend.execute("true", timeout=-1).output


def test_an_edit_keeps_the_ends_of_lines() -> None:
    with Sandbox.create("local-eval") as sandbox:
        backend = CodeSandboxBackend(sandbox)
        sandbox.files.write("dos", b"a\r\nb\r\nc\r\n")
        assert backend.edit("/dos", "a\nb\n", "x\ny\n").occurrences == 1
        assert sandbox.files.read_bytes("dos") == b"x\r\ny\r\nc\r\n"
        sandbox.files.write("large", "x" * 200_000 + "end")
        assert backend.edit("/large", "x" * 200_000, "y").error is None
        assert sandbox.files.read("large") == "yend"
        sandbox.files.write("binary", b"\xff\xfe")
        assert "not a text file" in str(backend.edit("/binary", "a", "b").error)
        assert "not found" in str(backend.edit("/nothing", "a", "b").error)
        assert "empty" in str(backend.edit("/dos", "", "b").error)


def test_paths_end_at_the_home() -> None:
    with Sandbox.create("local-eval") as sandbox:
        backend = CodeSandboxBackend(sandbox)
        home = sandbox.files.resolve(".")
        sandbox.files.write("sub/f", "needle")
        assert backend.ls("/").entries == [{"path": f"{home}/sub", "is_dir": True}]
        assert [m["path"] for m in backend.grep("needle").matches] == [f"{home}/sub/f"]
        assert [m["path"] for m in backend.glob("f").matches] == [f"{home}/sub/f"]
        assert backend.delete("/sub/f").path == f"{home}/sub/f"
        assert "not found" in str(backend.delete("/sub/f").error)
        assert backend.delete("/").error is not None
        for look in (backend.ls, backend.read, lambda path: backend.glob("*", path)):
            assert "leads out" in str(look("/../../etc").error)
        assert "leads out" in str(backend.grep("x", "/../../etc").error)
        assert backend.write("/../../x", "y").error is not None
        (up,) = backend.upload_files([("/../../x", b"y")])
        (down,) = backend.download_files(["/../../etc/hostname"])
        assert (up.error, down.error) == ("permission_denied", "permission_denied")
