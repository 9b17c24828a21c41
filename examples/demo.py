"""An agent at work in a sandbox, on two variants; no model and no network are needed.

The model is a script: it answers what a model might, one prepared step at a time. All else is
real: the code runs in the sandbox, the tool on the host, prints come while the code still runs.
Its chart and its report end up in ``demo-output/<variant>/``.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.panel import Panel
from rich.syntax import Syntax
from rich.text import Text
from smolagents import ActionStep, ChatMessage, CodeAgent, LogLevel, MessageRole, Model, tool

from code_sandboxes import OutputMessage, Sandbox
from code_sandboxes_integrations.smolagents import SandboxExecutor

TASK = "Ask the host for the week's temperatures. Chart them, write a report, name the hottest day."
DAYS = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"]
READINGS = dict(zip(DAYS, [18.5, 21.0, 24.5, 23.0, 27.5, 26.0, 22.5], strict=True))
STEPS = [
    (
        "The readings are on the host: I call its tool, one day at a time.",
        """\
import os, time
week = {}
for day in ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"]:
    week[day] = temperature(day)
    print(f"{day}  {week[day]:4.1f} °C  {'█' * round(week[day])}")
    time.sleep(0.15)
print("I run in process", os.getpid())
""",
    ),
    (
        "Now the chart.",
        """\
import matplotlib.pyplot as plt
figure, axes = plt.subplots(figsize=(6, 3))
axes.bar(week.keys(), week.values(), color="tab:orange")
axes.set_ylabel("°C")
figure.tight_layout()
figure.savefig("chart.png")
plt.show()
""",
    ),
    ("The hottest day is the one after Friday, I guess.", "hottest = week['Satday']\n"),
    (
        "There is no such day, but `week` is still there: I look for the highest value instead.",
        """\
hottest = max(week, key=week.get)
with open("report.md", "w", encoding="utf-8") as report:
    report.write("# The week\\n\\n![chart](chart.png)\\n\\n")
    report.write(f"{hottest} was the hottest day: {week[hottest]} °C.\\n")
print("report.md is written")
""",
    ),
    ("That is all.", "final_answer({'day': hottest, 'celsius': week[hottest]})\n"),
]
console = Console(highlight=False)


@tool
def temperature(day: str) -> float:
    """The temperature of a day, known to the host only.

    Args:
        day: a day of the week, for example "Mon".
    """
    asked.append((day, os.getpid()))
    return READINGS[day]


asked: list[tuple[str, int]] = []  # what `temperature` was asked, and in which process it ran


class ScriptedModel(Model):  # type: ignore[misc]
    """Answers with the next step of a script, and remembers what it was shown."""

    def __init__(self, steps: list[tuple[str, str]]) -> None:
        super().__init__(model_id="scripted")
        self.steps, self.shown = list(steps), ""

    def generate(self, messages: list[ChatMessage], *args: Any, **kwargs: Any) -> ChatMessage:
        """See Model."""
        self.shown = str(messages[-1].content)
        thought, code = self.steps.pop(0)
        console.print(Text(f"\n{thought}", style="italic"))
        console.print(Panel(Syntax(code.rstrip(), "python", background_color="default")))
        return ChatMessage(MessageRole.ASSISTANT, f"Thought: {thought}\n<code>\n{code}</code>")


class Printer:
    """Shows each line as it comes, and remembers when that was."""

    def __init__(self) -> None:
        self.started = time.monotonic()
        self.times: list[float] = []

    def __call__(self, message: OutputMessage) -> None:
        self.times.append(time.monotonic() - self.started)
        console.print(Text(f"  {self.times[-1]:5.2f} s │ {message}", style="cyan"))


def show(step: ActionStep, agent: CodeAgent) -> None:
    """What came of a step, beside its prints: an error or figures."""
    if step.error is not None:
        last = str(step.error.message).strip().splitlines()[-1]
        console.print(Text(f"  the model is told: {last}", style="red"))
    for image in step.observations_images or []:
        console.print(Text(f"  the model is shown a figure, {image.width} x {image.height}"))


def work(variant: str, folder: Path) -> None:
    """Let the agent do its task in a sandbox of that variant, and check all that came of it."""
    console.rule(f"[bold]{variant}")
    asked.clear()
    model, printer = ScriptedModel(STEPS), Printer()
    with Sandbox.create(variant) as sandbox:
        executor = SandboxExecutor(sandbox=sandbox, timeout=30, on_stdout=printer)
        agent = CodeAgent(
            tools=[temperature],
            model=model,
            executor=executor,
            additional_authorized_imports=["*"],
            step_callbacks=[executor.image_callback(), show],
            verbosity_level=LogLevel.OFF,
        )
        answer = agent.run(TASK)
        folder.mkdir(parents=True, exist_ok=True)
        for name in ("chart.png", "report.md"):
            sandbox.files.download(name, str(folder / name))
    console.print(f"\n[bold]Answer:[/bold] {answer}")
    console.print(f"Downloaded to {folder}/: chart.png, report.md\n")
    check(answer, agent, printer, folder)


def check(answer: Any, agent: CodeAgent, printer: Printer, folder: Path) -> None:
    """Everything was as it should be, or an AssertionError."""
    steps = [step for step in agent.memory.steps if isinstance(step, ActionStep)]
    assert answer == {"day": "Fri", "celsius": 27.5}, answer
    assert asked == [(day, os.getpid()) for day in DAYS], "the tool runs here, on the host"
    assert f"process {os.getpid()}" not in (steps[0].observations or ""), "the code does not"
    assert printer.times[6] - printer.times[0] > 0.6, "the lines came as they were printed"
    assert [step.error is not None for step in steps] == [False, False, True, False, False]
    assert "KeyError" in str(steps[2].error.message), "the model was told what was wrong"
    assert len(steps[1].observations_images) == 1, "and saw its chart"
    assert (folder / "chart.png").read_bytes().startswith(b"\x89PNG")
    assert "Fri was the hottest day: 27.5 °C" in (folder / "report.md").read_text("utf-8")


def main() -> int:
    """Both variants; 0 if all went well."""
    console.print(f"[bold]Task:[/bold] {TASK}\n")
    for variant in ("local-jupyter", "local-eval"):
        work(variant, Path("demo-output", variant))
    console.print("[green]Everything was as it should be.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
