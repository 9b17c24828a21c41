"""One text for `Sandbox` and `AsyncSandbox`: a generator that yields what it asks of either.

The calls of `Sandbox` return their answer, those of `AsyncSandbox` are awaited; the generator is
sent the answer, or the error is raised where it asked.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, TypeVar

from code_sandboxes import SandboxError

T = TypeVar("T")


def run(steps: Generator[Any, Any, T]) -> T:
    """What the steps on a `Sandbox` return."""
    try:
        asked = next(steps)
        while True:
            asked = steps.send(asked)
    except StopIteration as end:
        result: T = end.value
        return result


async def arun(steps: Generator[Any, Any, T]) -> T:
    """What the steps on an `AsyncSandbox` return."""
    try:
        asked = next(steps)
        while True:
            try:
                answer = await asked
            except SandboxError as error:  # the steps may know what to do, as they do in `run`
                asked = steps.throw(error)
            else:
                asked = steps.send(answer)
    except StopIteration as end:
        result: T = end.value
        return result
