"""CodeAgent over a sandbox, with a scripted model: what users of smolagents rely on, and the
defects that its own remote executors have."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy
import pandas
import PIL.Image
import pytest
from smolagents import CodeAgent, FinalAnswerTool, LogLevel, Tool, ToolCallingAgent, tool
from smolagents.memory import ActionStep
from smolagents.models import (
    ChatMessage,
    ChatMessageToolCall,
    ChatMessageToolCallFunction,
    MessageRole,
    Model,
)

from code_sandboxes import ConfigurationError, OutputMessage, Sandbox, SandboxError
from code_sandboxes_integrations.smolagents import (
    SandboxExecutionError,
    SandboxExecutor,
    sandbox_tools,
)

Mine = Callable[[], set[str]]


class Scripted(Model):
    """A model that answers with the next of its codes, and keeps what it was asked."""

    def __init__(self, *codes: str) -> None:
        super().__init__(model_id="scripted")
        self.codes, self.asked = list(codes), list[list[ChatMessage]]()

    def generate(self, messages: list[ChatMessage], **_: Any) -> ChatMessage:
        self.asked.append(messages)
        text = f"Thought: go on.\n<code>\n{self.codes.pop(0)}\n</code>"
        return ChatMessage(role=MessageRole.ASSISTANT, content=text)

    @property
    def last(self) -> str:
        """Everything that the model was last asked, as text."""
        return "\n".join(str(message.content) for message in self.asked[-1])


class Calling(Model):
    """A model that calls tools: each step is a name and its arguments."""

    def __init__(self, *calls: tuple[str, dict[str, Any]]) -> None:
        super().__init__(model_id="calling")
        self.calls = list(calls)

    def generate(self, messages: list[ChatMessage], **_: Any) -> ChatMessage:
        name, arguments = self.calls.pop(0)
        function = ChatMessageToolCallFunction(name=name, arguments=arguments)
        call = ChatMessageToolCall(id=f"call-{len(messages)}", type="function", function=function)
        return ChatMessage(role=MessageRole.ASSISTANT, content="", tool_calls=[call])


class Counter(Tool):  # type: ignore[misc]
    """A tool with a secret and with state: neither can travel as source code."""

    name = "count"
    description = "Count up."
    inputs = {"step": {"type": "integer", "description": "by how much"}}
    output_type = "integer"

    def __init__(self, key: str) -> None:
        super().__init__()
        self.key, self.total, self.thread = key, 0, 0

    def forward(self, step: int) -> int:
        assert self.key == "secret"
        self.total += step
        self.thread = threading.get_ident()
        return self.total


@pytest.fixture
def executor(sandbox: Sandbox) -> SandboxExecutor:
    return SandboxExecutor(sandbox=sandbox, timeout=20)


@pytest.fixture
def ready(executor: SandboxExecutor) -> SandboxExecutor:
    """An executor that an agent has prepared."""
    executor.send_tools({"final_answer": FinalAnswerTool()})
    return executor


def agent(executor: SandboxExecutor, *codes: str, **options: Any) -> CodeAgent:
    options = {"tools": [], "verbosity_level": LogLevel.OFF} | options
    return CodeAgent(model=Scripted(*codes), executor=executor, **options)


def steps(of: CodeAgent) -> list[ActionStep]:
    return [step for step in of.memory.steps if isinstance(step, ActionStep)]


def test_an_agent_answers(executor: SandboxExecutor) -> None:
    one = agent(executor, "x = 20\nprint('hello')\nx + 1", "final_answer(x * 2 + 2)")
    assert one.run("compute") == 42
    assert steps(one)[0].observations == (
        "Execution logs:\nhello\nLast output from code snippet:\n21"
    )


def test_a_second_run_works_and_keeps_the_interpreter(executor: SandboxExecutor) -> None:
    one = agent(executor, "kept = 7\nfinal_answer(1)", "final_answer(kept)", "final_answer(kept+1)")
    assert [one.run("a"), one.run("b"), one.run("c", reset=False)] == [1, 7, 8]


def test_tools_run_on_the_host_with_their_state(executor: SandboxExecutor) -> None:
    counter = Counter("secret")
    one = agent(
        executor, "a = count(2)\nb = count(step=3)", "final_answer([a, b])", tools=[counter]
    )
    assert one.run("count") == [2, 5]
    assert (counter.total, counter.thread) == (5, threading.get_ident())


def test_the_secret_stays_on_the_host(executor: SandboxExecutor) -> None:
    executor.send_tools({"count": Counter("secret"), "final_answer": FinalAnswerTool()})
    assert "secret" not in executor("vars(count), repr(count), globals()").output


def test_what_a_tool_raises_is_raised_where_it_was_called(executor: SandboxExecutor) -> None:
    class NetworkError(Exception): ...

    @tool  # type: ignore[untyped-decorator]
    def look_up(key: str) -> str:
        """Look something up.

        Args:
            key: what
        """
        raise {"value": ValueError("no such key"), "net": NetworkError("429")}[key]

    executor.send_tools({"look_up": look_up})
    code = "try:\n    look_up({!r})\nexcept Exception as e:\n    print(type(e).__name__, e)"
    assert executor(code.format("value")).logs == "ValueError no such key\n"
    assert executor(code.format("net")).logs == "RuntimeError NetworkError: 429\n"


def test_the_final_answer_is_what_the_hosts_tool_makes_of_it(executor: SandboxExecutor) -> None:
    class Polite(FinalAnswerTool):  # type: ignore[misc]
        given = 0

        def forward(self, answer: Any) -> str:
            self.given += 1
            return f"{answer}, please"

    tool = Polite()
    one = agent(executor, "final_answer('tea')", "final_answer('milk')", tools=[tool])
    assert [one.run("drink"), one.run("drink")] == ["tea, please", "milk, please"]
    assert (type(tool), tool.given) == (Polite, 2)


def test_an_agents_bare_except_does_not_swallow_the_final_answer(ready: SandboxExecutor) -> None:
    done = ready("try:\n    final_answer(1)\nexcept:\n    print('caught')")
    assert (done.is_final_answer, done.output, done.logs) == (True, 1, "caught\n")


def test_a_final_answer_cannot_be_forged_by_an_exception(ready: SandboxExecutor) -> None:
    with pytest.raises(SandboxExecutionError):
        ready("class FinalAnswer(BaseException): ...\nraise FinalAnswer('safe:1')")
    with pytest.raises(SandboxExecutionError):
        ready("import _code_sandboxes_stubs as s\nraise s.FinalAnswer")


def test_a_pickle_is_not_opened_on_the_host(ready: SandboxExecutor) -> None:
    code = """
import pickle, base64
class Bomb:
    def __reduce__(self):
        return (exit, (3,))
channel = [name for name in globals() if name.startswith('_tools_')][-1]
data = base64.b64encode(pickle.dumps(Bomb())).decode()
globals()[channel]('final_answer', [{'__tagged__': 'pickle', 'v': data}], {})
"""
    with pytest.raises(SandboxExecutionError, match="ValueError: no value is tagged 'pickle'"):
        ready(code)


@pytest.mark.parametrize(
    "value",
    [
        "{'a': [1, 2.5, None, True], 'b': 'ü'}",
        "(1, {2, 3}, frozenset([4]), b'\\x00\\xff', 1+2j)",
        "{1: 'one', (2, 3): 'pair', '__tagged__': 'set', 'v': [1]}",
        "[float('inf'), -0.0, 10**40]",
        "__import__('datetime').datetime(2026, 1, 2, 3, 4, 5)",
        "__import__('decimal').Decimal('1.10')",
        "__import__('pathlib').Path('/tmp/x')",
    ],
)
def test_a_final_answer_is_the_value_itself(ready: SandboxExecutor, value: str) -> None:
    answer = ready(f"final_answer({value})").output
    assert (answer, repr(answer)) == (eval(value), repr(eval(value)))


def test_a_final_answer_may_be_a_picture_an_array_or_a_table(ready: SandboxExecutor) -> None:
    image = ready("import PIL.Image\nfinal_answer(PIL.Image.new('RGB', (3, 2), 'red'))").output
    assert isinstance(image, PIL.Image.Image) and image.size == (3, 2)
    array = ready("import numpy as np\nfinal_answer(np.arange(6.0).reshape(2, 3))").output
    numpy.testing.assert_array_equal(array, numpy.arange(6.0).reshape(2, 3))
    made = "pandas.DataFrame({'a': [1, 2], 'b': ['x', None]}, index=['i', 'j'])"
    table = ready(f"import pandas\nfinal_answer({made})").output
    pandas.testing.assert_frame_equal(table, eval(made))


def test_a_final_answer_that_cannot_leave_says_what_could(ready: SandboxExecutor) -> None:
    with pytest.raises(SandboxExecutionError, match="a _io.StringIO cannot leave the sandbox"):
        ready("import io\nfinal_answer(io.StringIO())")


def test_a_final_answer_of_five_megabytes(ready: SandboxExecutor) -> None:
    assert ready("final_answer('x' * 5_000_000)").output == "x" * 5_000_000


def test_prints_before_a_crash_are_observed(executor: SandboxExecutor) -> None:
    one = agent(executor, "print('got this far')\n1 / 0", "final_answer(1)")
    assert one.run("crash") == 1
    crashed = steps(one)[0]
    assert crashed.observations == "Execution logs:\ngot this far\n"
    assert "ZeroDivisionError: division by zero" in crashed.error.message
    assert "got this far" in one.model.last and "\x1b" not in one.model.last


def test_a_syntax_error_is_an_agents_error(ready: SandboxExecutor) -> None:
    with pytest.raises(SandboxExecutionError, match="SyntaxError"):
        ready("print('")


def test_a_step_that_takes_too_long_keeps_its_variables(sandbox: Sandbox) -> None:
    executor = SandboxExecutor(sandbox=sandbox, timeout=1)
    began = time.monotonic()
    with pytest.raises(SandboxExecutionError, match=r"longer than 1.* s and was interrupted"):
        executor("late = 5\nprint('before')\nwhile True: pass")
    assert time.monotonic() - began < 5
    assert executor.state["_print_outputs"] == "before\n"
    assert executor("late").output == "5"


def test_the_clock_stops_while_a_tool_works(sandbox: Sandbox) -> None:
    executor = SandboxExecutor(sandbox=sandbox, timeout=1)
    executor.send_tools({"wait": lambda: time.sleep(2)})
    assert executor("wait()\n'done'").output == "'done'"


def test_a_dead_interpreter_is_started_again_with_all_that_was_sent(
    executor: SandboxExecutor,
) -> None:
    one = agent(
        executor,
        "mine = 1\nimport os\nos._exit(3)",
        "print('mine' in globals(), given)",
        "final_answer(count(1))",
        tools=[Counter("secret")],
    )
    assert one.run("die", additional_args={"given": (1, 2)}) == 1
    assert "The interpreter was restarted" in steps(one)[0].error.message
    assert "False (1, 2)" in str(steps(one)[1].observations)


def test_variables_go_in(executor: SandboxExecutor) -> None:
    table = pandas.DataFrame({"n": [1, 2], "when": pandas.to_datetime(["2026-01-01", None])})
    given = {
        "table": table,
        "keys": {(1, 2): "pair"},
        "raw": b"\x00\xff",
        "plain": {"a": [1, None]},
        "double": lambda n: 2 * n,
        "picture": PIL.Image.new("L", (2, 2)),
    }
    code = """
final_answer([table, str(table.dtypes.tolist()), keys, raw, plain, double(21), picture.size])
"""
    answer = agent(executor, code).run("use them", additional_args=given)
    pandas.testing.assert_frame_equal(answer[0], table)
    assert answer[1:] == [
        str(table.dtypes.tolist()),
        {(1, 2): "pair"},
        b"\x00\xff",
        {"a": [1, None]},
        42,
        (2, 2),
    ]


def test_a_large_variable_goes_in_quickly(executor: SandboxExecutor) -> None:
    began = time.monotonic()
    executor.send_variables({"large": numpy.zeros(2_500_000)})
    assert time.monotonic() - began < 3
    assert executor("large.nbytes").output == "20000000"


def test_a_variable_that_cannot_go_in_is_named(executor: SandboxExecutor) -> None:
    with pytest.raises(ConfigurationError, match="variable 'lock': a lock cannot be sent"):
        executor.send_variables({"lock": threading.Lock()})
    assert executor("1").output == "1"


def test_a_variable_that_cannot_be_loaded_is_named(executor: SandboxExecutor) -> None:
    class Odd:
        def __reduce__(self) -> tuple[Any, ...]:
            return int, ("no number",)

    with pytest.raises(ConfigurationError, match="variable 'odd': ValueError: invalid literal"):
        executor.send_variables({"odd": Odd()})
    assert executor("1").output == "1"


def test_nothing_of_ours_stays_among_the_variables(variant: str) -> None:
    with Sandbox.create(variant=variant) as sandbox:
        executor = SandboxExecutor(sandbox=sandbox)
        executor.send_variables({"a": 1, "b": (1, 2)})
        executor.send_tools({"search": Counter("secret")})
        executor("c = 3")
        assert {each.name for each in sandbox.list_variables()} <= {"a", "b", "c", "search"}
        assert sandbox.files.list() == []


def test_tools_take_and_give_any_value(executor: SandboxExecutor) -> None:
    seen: list[Any] = []

    def swap(*args: Any, **kwargs: Any) -> Any:
        seen.append((args, kwargs))
        return pandas.Series([1, 2], name="s"), slice(1, 2), {"x"}

    executor.send_tools({"swap": swap})
    executor("import PIL.Image\nswap(b'1', PIL.Image.new('L', (1, 2)), key={1: (2,)})")
    (args, kwargs) = seen[0]
    assert args[0] == b"1" and args[1].size == (1, 2) and kwargs == {"key": {1: (2,)}}
    shown = executor("s, cut, names = swap()\n(s.tolist(), s.name, cut, names)").output
    assert shown == "([1, 2], 's', slice(1, 2, None), {'x'})"


@pytest.fixture
def helper(sandbox: Sandbox) -> Iterator[CodeAgent]:
    """A managed agent, in an interpreter of its own on the same sandbox."""
    context = sandbox.create_context()
    yield agent(
        SandboxExecutor(sandbox=sandbox, context=context),
        "print('helper at work')\nhidden = 1\nfinal_answer('found it')",
        name="helper",
        description="Helps.",
    )
    sandbox.close_context(context)


def test_a_managed_agent_is_called_from_the_code(
    executor: SandboxExecutor, helper: CodeAgent
) -> None:
    boss = agent(
        executor,
        "said = helper('search')\nprint('hidden' in globals())",
        "final_answer(said)",
        managed_agents=[helper],
    )
    assert "found it" in boss.run("delegate")
    assert steps(boss)[0].observations.startswith("Execution logs:\nFalse")


@pytest.mark.parametrize("same", ["executor", "sandbox"])
def test_a_managed_agent_in_the_same_interpreter_is_refused(
    executor: SandboxExecutor, sandbox: Sandbox, same: str
) -> None:
    other = executor if same == "executor" else SandboxExecutor(sandbox=sandbox)
    helper = agent(other, "1", name="helper", description="Helps.")
    boss = agent(executor, "helper('search')", "final_answer(1)", managed_agents=[helper])
    assert boss.run("delegate") == 1
    assert "an executor with a sandbox or a context of its own" in steps(boss)[0].error.message


FIGURE = """
import matplotlib
matplotlib.use("module://matplotlib_inline.backend_inline")
import matplotlib.pyplot as plt
plt.plot([1, 2])
plt.show()
"""


def test_figures_reach_the_model(executor: SandboxExecutor) -> None:
    one = agent(
        executor, FIGURE, "1 +", "final_answer(1)", step_callbacks=[executor.image_callback()]
    )
    one.run("plot")
    first, second, _ = steps(one)
    assert [image.format for image in first.observations_images] == ["PNG"]
    assert not second.observations_images
    sent = [part for message in one.model.asked[1] for part in message.content]
    assert [part["type"] for part in sent].count("image") == 1


def test_an_image_that_is_none_is_left_out(executor: SandboxExecutor) -> None:
    code = """
class Fake:
    def _repr_png_(self):
        return b"\\x89PNG\\r\\n\\x1a\\n" + b"\\x00" * 7 + b"\\x01" * 90
Fake()
"""
    executor(code)
    assert executor.images == []


def test_what_the_model_reads_is_bounded_and_clean(sandbox: Sandbox) -> None:
    executor = SandboxExecutor(sandbox=sandbox, max_output_chars=1000)
    logs = executor("print('\\x1b[31mred\\x1b[0m')\nprint('y' * 100_000)\nprint('end')").logs
    assert logs.startswith("red\nyy") and logs.endswith("end\n")
    assert len(logs) < 1200 and "characters left out" in logs
    assert len(executor("'z' * 100_000").output) < 1200
    with pytest.raises(SandboxExecutionError) as caught:
        executor("raise ValueError('w' * 1_000_000)")
    assert len(str(caught.value)) < 12_000


def test_lines_are_heard_while_the_code_runs(sandbox: Sandbox) -> None:
    heard: list[OutputMessage] = []
    executor = SandboxExecutor(sandbox=sandbox, on_stdout=heard.append)
    executor("import time\nprint('a')\ntime.sleep(0.5)\nprint('b')")
    assert [message.line for message in heard] == ["a", "b"]
    assert heard[1].timestamp - heard[0].timestamp > 0.3


def test_stderr_is_a_block_of_the_logs(executor: SandboxExecutor) -> None:
    code = "import sys\nprint('out')\nprint('err', file=sys.stderr)"
    assert executor(code).logs == "out\n[stderr]\nerr\n"


def test_a_borrowed_sandbox_is_left_alone(sandbox: Sandbox) -> None:
    with agent(SandboxExecutor(sandbox=sandbox), "final_answer(1)") as one:
        assert one.run("go") == 1
    assert sandbox.run_code("1 + 1").text == "2"


def test_an_own_sandbox_starts_late_and_ends_with_the_agent(variant: str, mine: Mine) -> None:
    before = mine()
    executor = SandboxExecutor(variant=variant, create={"timeout": 30})
    assert mine() == before
    with agent(executor, "final_answer(1)", "final_answer(2)") as one:
        assert one.run("go") == 1
        assert len(mine() - before) == 1
    assert mine() == before
    executor.cleanup()
    assert one.run("again, in a new sandbox") == 2
    executor.cleanup()


def test_an_own_sandbox_that_ended_is_replaced_and_the_model_told(variant: str, mine: Mine) -> None:
    with SandboxExecutor(variant=variant) as executor:
        before = mine()
        executor.send_variables({"given": (1,)})
        (id,) = mine() - before
        Sandbox.from_id(id).kill()
        with pytest.raises(SandboxExecutionError, match="The next step or run starts in a new one"):
            executor("1")
        assert executor("given").output == "(1,)"
        (id,) = mine() - before
        Sandbox.from_id(id).kill()
        one = agent(executor, "final_answer(given)")
        with pytest.raises(SandboxError, match="The next step or run starts in a new one"):
            one.run("go")
        assert one.run("go") == (1,)


def test_a_borrowed_sandbox_that_ended_is_not_replaced(variant: str) -> None:
    sandbox = Sandbox.create(variant=variant)
    executor = SandboxExecutor(sandbox=sandbox)
    executor("1")
    sandbox.terminate()
    with pytest.raises(SandboxExecutionError, match="no code can run in it"):
        executor("1")


def test_an_own_sandbox_ends_with_the_process(variant: str) -> None:
    code = f"""
from code_sandboxes import Sandbox
from code_sandboxes_integrations.smolagents import SandboxExecutor
executor = SandboxExecutor(variant={variant!r})
print(executor("__import__('os').getpid()").output)
"""
    done = _python(code)
    assert done.stderr == ""
    deadline = time.monotonic() + 5
    while Path(f"/proc/{int(done.stdout)}").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not Path(f"/proc/{int(done.stdout)}").exists()


def test_two_threads_share_an_executor(ready: SandboxExecutor) -> None:
    answers: dict[int, Any] = {}

    def go(number: int) -> None:
        answers[number] = ready(f"print({number})\nfinal_answer({number})")

    threads = [threading.Thread(target=go, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(done.output == number for number, done in answers.items())
    assert all(done.logs == f"{number}\n" for number, done in answers.items())
    assert len(answers) == 6


def test_options_that_contradict_each_other_are_refused(sandbox: Sandbox) -> None:
    with pytest.raises(ConfigurationError, match="either a sandbox or the options"):
        SandboxExecutor(sandbox=sandbox, variant="local-eval")
    with pytest.raises(ConfigurationError, match="a context belongs to a sandbox"):
        SandboxExecutor(context=sandbox.list_contexts()[0])


def test_only_what_is_missing_is_installed(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[list[str]] = []
    done = sandbox.commands.run("true")

    def install(self: Sandbox, packages: list[str]) -> Any:
        asked.append(packages)
        return done

    monkeypatch.setattr(Sandbox, "install_packages", install)
    SandboxExecutor(["*", "json", "numpy.linalg", "os.*"], sandbox=sandbox)("1")
    assert asked == []
    executor = SandboxExecutor(sandbox=sandbox)
    assert executor.install_packages(["no_such_module.part", "PIL"]) == ["no_such_module"]
    assert asked == [["no_such_module"]]


def test_a_tool_calling_agent_has_the_tools(sandbox: Sandbox) -> None:
    model = Calling(
        ("write_file", {"path": "notes.txt", "content": "one\ntwo\n"}),
        ("run_code", {"code": "print(open('notes.txt').read())\n6 * 7"}),
        ("run_command", {"command": "exit 3"}),
        ("read_file", {"path": "missing.txt"}),
        ("final_answer", {"answer": "done"}),
    )
    one = ToolCallingAgent(tools=sandbox_tools(sandbox), model=model, verbosity_level=LogLevel.OFF)
    assert one.run("work") == "done"
    wrote, ran, failed, unread, _ = (step.observations for step in steps(one))
    assert wrote == "wrote 8 characters to notes.txt"
    assert ran == "[stdout]\none\ntwo\n[result]\n42"
    assert failed == "[exit code: 3]"
    assert unread.startswith("[error]\nFileNotFoundError:")


def test_the_tools_are_described(sandbox: Sandbox) -> None:
    (code, listing) = sandbox_tools(sandbox, include=["run_code", "list_files"])
    assert code.inputs["code"] == {"type": "string", "description": "Complete Python source."}
    assert code.inputs["timeout_seconds"]["nullable"]
    assert listing.inputs["depth"]["type"] == "integer"
    with pytest.raises(ConfigurationError, match="no tool fly; there are: run_code"):
        sandbox_tools(sandbox, include=["fly"])


@pytest.mark.parametrize(
    ("module", "package", "extra"),
    [
        ("smolagents", "smolagents", "smolagents"),
        ("langchain", "langchain_core", "langchain"),
        ("pydantic_ai", "pydantic_ai", "pydantic-ai"),
        ("deepagents", "deepagents", "deepagents"),
    ],
)
def test_a_missing_framework_names_its_extra(module: str, package: str, extra: str) -> None:
    code = f"""
import sys
sys.modules[{package!r}] = None
from code_sandboxes import MissingExtraError
try:
    import code_sandboxes_integrations.{module}
except MissingExtraError as error:
    print(error)
"""
    done = _python(code)
    assert f"pip install 'code-sandboxes[{extra}]'" in done.stdout, done.stderr


def _python(code: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env)
