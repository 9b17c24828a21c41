"""smolagents: a `CodeAgent` whose code runs in a sandbox, while its tools stay on the host.

::

    with Sandbox.create(variant="local-jupyter") as sandbox:
        executor = SandboxExecutor(sandbox=sandbox, timeout=120)
        agent = CodeAgent(
            tools=[search],
            model=model,
            executor=executor,
            additional_authorized_imports=["*"],  # else the prompt forbids what the sandbox has
            step_callbacks=[executor.image_callback()],  # else the model sees no figures
        )
        agent.run("Plot the sales", additional_args={"df": df})
        agent.run("Now per region", reset=False)  # the same interpreter

`agent.to_dict()` and `push_to_hub` know nothing of the executor: an agent that was loaded again
runs its code in smolagents' own interpreter, in your process, until it is given one.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Self

from code_sandboxes import ConfigurationError, Context, OutputMessage, Sandbox, SandboxError

from ._extras import missing
from ._render import bounded, clean
from ._session import Session
from ._setup import pickled
from ._values import decode, encode

try:
    import PIL.Image
    from smolagents import ActionStep  # type: ignore[import-untyped]
    from smolagents.local_python_executor import (  # type: ignore[import-untyped]
        CodeOutput,
        PythonExecutor,
    )
    from smolagents.utils import AgentError  # type: ignore[import-untyped]
except ImportError as error:
    raise missing("smolagents", error) from error

from ._smolagents_step import read
from ._smolagents_tools import sandbox_tools

__all__ = ["SandboxExecutionError", "SandboxExecutor", "sandbox_tools"]


class SandboxExecutionError(AgentError):  # type: ignore[misc]
    """A step failed; its text is what the model reads."""

    def __init__(self, message: str) -> None:
        # AgentError's own __init__ logs, and the agent logs what it makes of this
        Exception.__init__(self, message)
        self.message = message


class SandboxExecutor(PythonExecutor):  # type: ignore[misc]
    """Runs the code of a `CodeAgent` in a sandbox.

    Tools and managed agents are called on the host, in the thread that runs the agent: their
    state, API keys and connections never enter the sandbox, and the time that they take does not
    count. What they take and give, and the final answer, are values of at most 16 MiB. A step
    that takes too long is interrupted and keeps its variables. An interpreter that died is
    started again, with tools and variables, and the model is told.

    A managed agent needs an interpreter of its own: give its executor another sandbox, or another
    `context` of the same one.

    Attributes:
        state: ``{"_print_outputs": str}``, what the last step printed, also if it failed.
        images: the pictures of the last step, until a step callback has taken them.
        timeout: seconds allowed to one step.
        max_output_chars: the most characters of one step's output that the model is shown.

    Args:
        additional_imports: modules whose packages are installed if the sandbox lacks them.
        logger: of the agent; told about what is installed.
        sandbox: where to run; it is borrowed and never terminated. Without one, the first use
            creates one, and `cleanup` ends it.
        context: the interpreter of `sandbox` to use; None for its default one.
        variant: the variant to create.
        create: further options for `Sandbox.create`.
        timeout: seconds allowed to one step; None for no limit.
        max_output_chars: the most characters of one step's output that the model is shown.
        on_stdout: called for each line that the code prints, as it comes.

    Raises:
        ConfigurationError: `variant` or `create` are given besides a sandbox, or `context` without.

    Example:
        >>> with SandboxExecutor(variant="local-eval") as executor:
        ...     executor("x = 20\\nx + 1").output
        '21'
    """

    def __init__(
        self,
        additional_imports: Iterable[str] = (),
        logger: Any = None,
        *,
        sandbox: Sandbox | None = None,
        context: Context | None = None,
        variant: str | None = None,
        create: Mapping[str, Any] | None = None,
        timeout: float | None = 60.0,
        max_output_chars: int = 50_000,
        on_stdout: Callable[[OutputMessage], None] | None = None,
    ) -> None:
        if sandbox is not None and (variant is not None or create):
            raise ConfigurationError("give either a sandbox or the options to create one")
        if sandbox is None and context is not None:
            raise ConfigurationError("a context belongs to a sandbox; give that too")
        self.state: dict[str, Any] = {"_print_outputs": ""}
        self.images: list[PIL.Image.Image] = []
        self.timeout, self.max_output_chars = timeout, max_output_chars
        self._on_stdout = on_stdout
        log = (lambda text: None) if logger is None else logger.log
        options = {"variant": variant, **(create or {})}
        channel = f"_tools_{secrets.token_hex(8)}"  # no other executor's, nor a variable's
        self._session = Session(sandbox, context, options, additional_imports, channel, log)
        self._answer: tuple[Any] | None = None
        self._lock = threading.Lock()

    def send_tools(self, tools: Mapping[str, Callable[..., Any]]) -> None:
        """Define the tools, and the managed agents, that the code may call.

        Raises:
            SandboxError: the sandbox could not be started or made ready.
        """
        self._session.send_tools(tools)

    def send_variables(self, variables: Mapping[str, Any]) -> None:
        """Define variables: anything that can be pickled.

        Raises:
            ConfigurationError: a value cannot be sent; the message names it.
            SandboxError: the sandbox could not be started or made ready.
        """
        self._session.send_variables(variables)

    def __call__(self, code_action: str) -> CodeOutput:
        """Run one step.

        Raises:
            SandboxExecutionError: the code failed; `state["_print_outputs"]` has what it printed.
        """
        try:
            self._session.check()  # before the lock, which is not for the same thread again
            with self._lock:
                self._answer, self.images = None, []
                self.state["_print_outputs"] = ""
                return self._step(code_action)
        except SandboxError as error:
            raise SandboxExecutionError(bounded(clean(str(error)), 2000)) from error

    def _step(self, code: str) -> CodeOutput:
        options = {"timeout": self.timeout, "on_stdout": self._on_stdout}
        step = read(self._session.run(code, self._call_tool, **options), self.max_output_chars)
        self.state["_print_outputs"], self.images = step.logs, step.images
        if self._answer is not None:
            return CodeOutput(self._answer[0], step.logs, True)
        if step.failure:
            raise SandboxExecutionError(step.failure)
        return CodeOutput(step.output, step.logs, False)

    def _call_tool(self, name: str, args: list[Any], kwargs: dict[str, Any]) -> dict[str, Any]:
        """The host function behind every tool; what it raises is raised at the call inside."""
        if name not in self._session.tools:
            raise NameError(f"there is no tool {name!r}")
        value = self._session.tools[name](*decode(args), **decode(kwargs))
        if name == "final_answer":
            # nothing that the code does later takes it back, nor can it be claimed otherwise
            self._answer = (value,)
            return {"final": True}
        return {"final": False, "value": encode(value, lambda each: pickled(each, name))}

    def install_packages(self, additional_imports: Iterable[str]) -> list[str]:
        """Install the packages of those modules that the sandbox lacks.

        Returns:
            The names of the installed packages.

        Raises:
            SandboxStartError: they could not be installed.
        """
        return self._session.install(additional_imports)

    def image_callback(self) -> Callable[..., None]:
        """A step callback that shows the model the figures of each step.

        Returns:
            A function for `CodeAgent(step_callbacks=[...])`.
        """

        def show(step: Any, agent: Any = None) -> None:
            if isinstance(step, ActionStep) and self.images:
                # a new list: all steps of a run share the one with the images of the task
                step.observations_images = [*(step.observations_images or []), *self.images]
                self.images = []

        return show

    def cleanup(self) -> None:
        """End the sandbox, if this executor created it; the next use would create another."""
        self._session.end()

    delete = cleanup  # what smolagents' own executors call it

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.cleanup()
