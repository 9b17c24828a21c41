"""A runtime as the service knows it, and as its two wire generations say it."""

from __future__ import annotations

import time
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from tornado.iostream import IOStream

from .servers import Server


def iso(seconds: float) -> str:
    """A time as the service writes most of them."""
    return datetime.fromtimestamp(seconds, UTC).isoformat()


@dataclass
class Runtime:
    """A Jupyter Server that costs credits.

    Attributes:
        status: running, pausing, paused or resuming.
        cold: requests that its ingress still answers with `cold_status`.
        websockets: connections to its kernels.
        connections: all that go through the ingress now; both ends of each.
    """

    name: str
    given_name: str
    environment: dict[str, Any]
    kind: str
    burning_rate: float
    credits_limit: float
    token: str
    ingress: str
    server: Server
    reservation_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    started_at: float = field(default_factory=time.time)
    status: str = "running"
    paused_at: float | None = None
    paused: float = 0.0
    cold: int = 0
    cold_status: int = 503
    websockets: set[IOStream] = field(default_factory=set)
    connections: set[IOStream] = field(default_factory=set)

    @property
    def expires_at(self) -> float:
        """When its credits are burnt; a pause burns none."""
        since = 0.0 if self.paused_at is None else time.time() - self.paused_at
        return self.started_at + self.credits_limit / self.burning_rate + self.paused + since

    def burnt(self) -> float:
        """Credits so far."""
        lived = (self.paused_at or time.time()) - self.started_at - self.paused
        return min(self.credits_limit, max(0.0, lived) * self.burning_rate)

    def hang_up(self) -> None:
        """Close what goes through the ingress."""
        for stream in [*self.connections, *self.websockets]:
            stream.close()

    def model(self) -> dict[str, Any]:
        """What the service answers: today's names and those before, times as strings."""
        environment = self.environment["name"]
        return {
            "runtime_name": self.name,
            "pod_name": self.name,
            "uid": self.name,
            "given_name": self.given_name,
            "environment": {"name": environment},
            "environment_name": environment,
            "environment_title": self.environment["title"],
            "type": self.kind,
            "burning_rate": self.burning_rate,
            "token": self.token,
            "ingress": self.ingress,
            "reservation_id": self.reservation_id,
            "started_at": str(self.started_at),
            "expired_at": str(self.expires_at),
        }
