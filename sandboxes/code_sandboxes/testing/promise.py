"""What is promised of code that breaks things, as assertions."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from code_sandboxes import ExecutionResult, Sandbox

from .base import PROMPT, SLACK, Case, Stopwatch

# how much of everything that takes long: 10 by default, 200 to look for rare things
SCALE = int(os.environ.get("CODE_SANDBOXES_SOAK", "10"))
MEGABYTES = 200 if SCALE >= 200 else 60


class Survivor(Case):
    """Runs hostile code, and sees that the sandbox is none the worse for it."""

    @pytest.fixture
    def victim(self, sandbox: Sandbox) -> Iterator[Sandbox]:
        """The sandbox of the class, with a fresh interpreter for whoever comes next."""
        yield sandbox
        sandbox.restart()

    def survive(self, sandbox: Sandbox, code: str, *, timeout: float = 20.0) -> ExecutionResult:
        """Run it, and check the promise.

        Control is back in time. Later cells print, results and variables work: at once, or in
        a fresh interpreter, and then somebody has said so.
        """
        ready = sandbox.run_code("kept = 'kept'")
        assert ready.success, ready
        watch = Stopwatch()
        ran = sandbox.run_code(code, timeout=timeout)
        assert watch.seconds < timeout + PROMPT + SLACK
        lost = self.lost(ran) or self.answers(sandbox)
        assert not self.answers(sandbox)  # whatever was lost, was lost once
        assert sandbox.run_code("globals().get('kept')").text == ("" if lost else "'kept'")
        return ran

    def answers(self, sandbox: Sandbox) -> bool:
        """See that it works; whether an interpreter had to be replaced for it."""
        again = sandbox.run_code("print('again')\n40 + 2", timeout=10)
        if replaced := self.lost(again):
            again = sandbox.run_code("print('again')\n40 + 2", timeout=10)
        assert again.success, again
        assert again.text == "42"
        assert "again" in again.stdout  # what former code has started may print, too
        sandbox.set_variable("given", [1, "two"])
        assert sandbox.get_variable("given") == [1, "two"]
        assert "given" in [variable.name for variable in sandbox.list_variables()]
        return replaced

    @staticmethod
    def lost(ran: ExecutionResult) -> bool:
        """Whether the result says that the variables are gone."""
        return ran.error is not None and ran.error.state_lost


def memory() -> int:
    """Bytes of this process in memory; 0 where that is not known."""
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0


@contextmanager
def bounded_memory(most: int) -> Iterator[None]:
    """This process grows by no more than so many bytes, even for a moment."""
    before, peak, over = memory(), [0], threading.Event()

    def look() -> None:
        while not over.wait(0.01):
            peak[0] = max(peak[0], memory())

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
    assert peak[0] - before <= most, f"grew by {(peak[0] - before) >> 20} MiB"
