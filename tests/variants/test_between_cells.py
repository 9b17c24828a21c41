"""What comes between two cells, or right at the end of one, of the interpreters that we start."""

from __future__ import annotations

import time

import pytest

from code_sandboxes import Sandbox
from code_sandboxes.events import Display, Output

LATE_SIGNALS = """
import itertools, signal
count = itertools.count()
def late(*_):
    next(count)
    raise ValueError("late")
signal.signal(signal.SIGALRM, late)
signal.setitimer(signal.ITIMER_REAL, 0.2, 0.05)
x = 1
"""
TWO_THREADS = """
import sys, threading
def write():
    for n in range(2000):
        print(n)
other = threading.Thread(target=write)
other.start()
other.join()
"the value"
"""


@pytest.mark.parametrize("variant", ["local-eval", "local-jupyter"])
def test_a_signal_handler_that_raises_between_two_cells(variant: str) -> None:
    with Sandbox.create(variant) as box:
        box.run_code(LATE_SIGNALS)
        time.sleep(0.6)
        stop = "signal.setitimer(signal.ITIMER_REAL, 0)"
        while not box.run_code(stop).success:
            pass  # one came during it
        assert box.run_code("x, next(count) > 2").text == "(1, True)"


@pytest.mark.parametrize("variant", ["local-eval", "local-jupyter"])
def test_the_value_comes_after_what_was_printed(variant: str) -> None:
    with Sandbox.create(variant) as box:
        for _ in range(20):
            events = list(box.stream_code(TWO_THREADS))
            kinds = [type(event) for event in events if isinstance(event, Output | Display)]
            assert kinds[-1] is Display and kinds.count(Display) == 1
            text = "".join(event.text for event in events if isinstance(event, Output))
            assert text.split() == [str(n) for n in range(2000)]
