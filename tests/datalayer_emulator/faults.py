"""What goes wrong in a cloud, on demand."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

ALWAYS = 1_000_000


@dataclass
class Fault:
    """What happens to the next `times` requests that match."""

    method: str
    path: str
    times: int
    status: int = 0  # answered instead, without doing anything
    body: bytes | None = None  # answered instead of what the service says
    seconds: float = 0.0  # waited before anything else
    drop: bool = False  # done, and then the connection is closed without an answer
    headers: Mapping[str, str] = field(default_factory=dict)

    def matches(self, method: str, path: str) -> bool:
        """Whether it is about this request."""
        return self.method in ("*", method) and fnmatchcase(path, f"*{self.path}")


class Faults:
    """Faults to come. Thread-safe; each method says for how many requests it holds.

    `path` is a glob that the end of the request's path has to match: `/runtimes`, `/runtimes/*`,
    `/api/kernels` (the ingress of a runtime counts as well). `method` may be `*`.
    """

    def __init__(self, control: Control) -> None:
        self._lock = threading.Lock()
        self._faults: list[Fault] = []
        self._control = control
        self.cold, self.cold_status, self.failing_snapshots = 0, 503, 0

    def _add(self, fault: Fault) -> None:
        with self._lock:
            self._faults.append(fault)

    def fail(
        self, method: str, path: str, status: int = 503, times: int = 1, **headers: str
    ) -> None:
        """Answer with a status, and do nothing; `retry_after="1"` is a header."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        self._add(Fault(method, path, times, status=status, headers=named))

    def delay(self, method: str, path: str, seconds: float, times: int = ALWAYS) -> None:
        """Wait before doing anything."""
        self._add(Fault(method, path, times, seconds=seconds))

    def drop_answer(self, method: str, path: str, times: int = 1) -> None:
        """Do it, then close the connection without an answer: who asks again, pays twice."""
        self._add(Fault(method, path, times, drop=True))

    def garble(self, method: str, path: str, body: bytes = b"<html>", times: int = 1) -> None:
        """Do it, and answer 200 with something else."""
        self._add(Fault(method, path, times, body=body))

    def warm_up(self, requests: int, status: int = 503) -> None:
        """The ingress of every new runtime answers so many requests with `status` first."""
        self.cold, self.cold_status = requests, status

    def refuse_key(self) -> None:
        """The key is no longer good, as if it had expired or been revoked."""
        self._control.set_valid(False)

    def drop_websockets(self, runtime: str | None = None) -> None:
        """Cut the websockets of a runtime, or of all."""
        self._control.drop_websockets(runtime)

    def kill_runtime(self, runtime: str) -> None:
        """Its server's process dies; the service still lists the runtime."""
        self._control.kill_runtime(runtime)

    def fail_snapshots(self, times: int = 1) -> None:
        """The next snapshots are accepted, and fail afterwards."""
        self.failing_snapshots = times

    def clear(self) -> None:
        """No more faults, and the key is good again; what has happened stays."""
        with self._lock:
            self._faults.clear()
        self.cold = self.failing_snapshots = 0
        self._control.set_valid(True)

    def take(self, method: str, path: str) -> list[Fault]:
        """The faults of this request; each counts down."""
        with self._lock:
            found = [one for one in self._faults if one.matches(method, path)]
            for one in found:
                one.times -= 1
            self._faults = [one for one in self._faults if one.times > 0]
        return found


@dataclass(frozen=True)
class Control:
    """What faults do to the emulator at once."""

    set_valid: Callable[[bool], None]
    drop_websockets: Callable[[str | None], None]
    kill_runtime: Callable[[str], None]
