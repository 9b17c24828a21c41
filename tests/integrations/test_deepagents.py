"""Deep Agents' own suite for sandboxes, over every variant that is here, and its own agent."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from deepagents import create_deep_agent
from deepagents.backends.protocol import SandboxBackendProtocol
from langchain_core.messages import AIMessage, ToolMessage
from langchain_core.runnables import RunnableConfig
from langchain_tests.integration_tests import SandboxIntegrationTests

from code_sandboxes import AsyncSandbox, ConfigurationError, Sandbox
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
    variant, sample = "local-jupyter", 6


class TestLocalDocker(OwnSuite):
    variant, sample = "local-docker", 6


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


def test_in_a_container(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing can be written at the root: what an agent puts there is in the working directory."""
    able = Sandbox.capabilities("local-docker")["create"]
    if not able:
        pytest.skip(able.reason)
    turns = (
        call("write_file", file_path="/notes.txt", content="one"),
        call("execute", command="cat notes.txt; seq 60000"),
        call("read_file", file_path="/notes.txt"),
        call("glob", pattern="*.txt"),
        call("write_file", file_path="/etc/x", content="one"),
    )
    with Sandbox.create("local-docker") as sandbox:
        out = deep_agent(CodeSandboxBackend(sandbox), *turns).invoke(GO)
        cwd = sandbox.files.resolve(".")
        written, ran, read, found, refused = said(out)
        assert f"{cwd}/notes.txt" in written.content
        assert len(ran.content) < 10_000  # the rest is in a file
        assert sandbox.files.exists(f"{cwd}/large_tool_results")
        assert "one" in read.content
        assert f"{cwd}/notes.txt" in found.content
        assert "what can be written to is below" in refused.content


def test_what_is_no_sandbox() -> None:
    with pytest.raises(ConfigurationError, match="not None"):
        CodeSandboxBackend(None)  # type: ignore[arg-type]
    lost = CodeSandboxBackend(lambda config: "x")  # type: ignore[arg-type,return-value]
    (message,) = said(deep_agent(lost, call("execute", command="true")).invoke(GO))
    assert "no sandbox" in message.content


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
        assert backend.edit("/dos", "c", "c\nd").occurrences == 1
        assert sandbox.files.read_bytes("dos") == b"x\r\ny\r\nc\r\nd\r\n"
        sandbox.files.write("large", "x" * 200_000 + "end")
        assert backend.edit("/large", "x" * 200_000, "y").error is None
        assert sandbox.files.read("large") == "yend"
        sandbox.files.write("binary", b"\xff\xfe")
        assert "not a text file" in str(backend.edit("/binary", "a", "b").error)
        assert "not found" in str(backend.edit("/nothing", "a", "b").error)
        assert "empty" in str(backend.edit("/dos", "", "b").error)


def test_edits_at_the_same_time_are_all_made() -> None:
    names = [f"name{n}" for n in range(100, 124)]
    with Sandbox.create("local-eval") as sandbox, ThreadPoolExecutor(6) as threads:
        backend = CodeSandboxBackend(sandbox)
        sandbox.files.write("f", "\n".join(names))

        async def all_at_once() -> None:
            await asyncio.gather(
                *(backend.aedit("/f", f"{name}\n", f"A{name}\n") for name in names[12:-1])
            )

        edits = [threads.submit(backend.edit, "/f", f"{n}\n", f"S{n}\n") for n in names[:12]]
        asyncio.run(all_at_once())
        assert [edit.result().error for edit in edits] == [None] * 12
        changed = [f"S{name}" for name in names[:12]] + [f"A{name}" for name in names[12:-1]]
        assert sandbox.files.read("f").split("\n") == [*changed, names[-1]]


def test_an_async_sandbox_that_has_ended() -> None:
    async def ended() -> AsyncSandbox:
        async with await AsyncSandbox.create("local-eval") as sandbox:
            return sandbox

    backend = CodeSandboxBackend(asyncio.run(ended()))
    assert "SandboxNotFoundError" in backend.execute("true").output
    for result in (
        backend.write("/a", "x"),
        backend.read("/a"),
        backend.ls("/"),
        backend.edit("/a", "x", "y"),
        asyncio.run(backend.aread("/a")),
        *backend.upload_files([("/a", b"x")]),
        *backend.download_files(["/a"]),
    ):
        assert result.error is not None


def test_what_is_no_text_is_an_error() -> None:
    with Sandbox.create("local-eval") as sandbox:
        backend = CodeSandboxBackend(sandbox)
        sandbox.files.write("f", "a")
        for result in (
            backend.write("/f", "\ud83d"),
            backend.edit("/f", "a", "\ud83d"),
            backend.read("/\ud83d"),
            backend.ls("/\ud83d"),
            backend.glob("\ud83d"),
            backend.grep("\ud83d"),
            backend.grep("a", glob="\ud83d"),
            asyncio.run(backend.agrep("\ud83d")),
        ):
            assert result.error is not None
        assert backend.execute("echo \ud83d").exit_code != 0
        assert sandbox.files.read("f") == "a"


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
