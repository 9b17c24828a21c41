"""How everything here is measured: one after the other, in turn, and the median told."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

PAUSE = 0.02  # seconds
Row = tuple[str, str, float, dict[str, float], str]  # what, raw way, its ms, ours by variant, goal


def timed(call: Callable[[], Any]) -> float:
    """Seconds that a call takes, or says it took."""
    start = time.perf_counter()
    said = call()
    taken = time.perf_counter() - start
    return said if isinstance(said, float) else taken


def rested(call: Callable[[], Any]) -> float:
    """The same, after a pause in which processors rest and caches serve others."""
    time.sleep(PAUSE)
    return timed(call)


def side_by_side(count: int, *calls: Callable[[], Any]) -> list[float]:
    """The median of each, in milliseconds, measured in turn."""
    for call in calls:
        call()
    taken: list[list[float]] = [[] for _ in calls]
    for _ in range(count):
        for call, times in zip(calls, taken, strict=True):
            times.append(timed(call))
    return [statistics.median(times) * 1000 for times in taken]
