"""When to interrupt code that runs too long, and when to kill it: free of I/O."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

# seconds that code has to end, interrupted and killed: within two, the caller has control again
GRACE, LAST_GRACE = 1.4, 0.4


class Step(Enum):
    """What is done about code that runs too long, in this order."""

    INTERRUPT = "interrupt"
    KILL = "kill"
    GIVE_UP = "give up"


STEPS = tuple(Step)


@dataclass
class Deadline:
    """What to do when; told of the time, never asking for it."""

    timeout: float | None
    grace: float = GRACE
    expired: bool = False
    _until: float | None = None
    _asked_at: float | None = None
    _taken: int = 0  # steps

    def started(self, now: float) -> None:
        """The clock runs from here."""
        if self.timeout is not None and self._until is None:
            self._until = now + self.timeout

    def paused(self, now: float) -> None:
        """The code waits for the host: that is not its time."""
        self._asked_at = now

    def resumed(self, now: float) -> None:
        """The host has answered."""
        if self._asked_at is not None and self._until is not None:
            self._until += now - self._asked_at
        self._asked_at = None

    def left(self, now: float) -> float | None:
        """Seconds until the next step is due; None: nothing is."""
        if self._until is None or self._asked_at is not None or self._taken == len(STEPS):
            return None
        return max(0.0, self._until - now)

    def due(self, now: float) -> Step | None:
        """The step to take now, if it is time."""
        if self.left(now) != 0.0:
            return None
        self.expired = True
        return self.next_step(now)

    def next_step(self, now: float) -> Step | None:
        """The next step, whatever the time."""
        step = STEPS[self._taken] if self._taken < len(STEPS) else None
        self._taken += step is not None
        grace = self.grace if step is Step.INTERRUPT else LAST_GRACE
        self._until, self._asked_at = now + grace, None
        return step
