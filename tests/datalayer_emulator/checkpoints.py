"""What a pause leaves, and what clients poll to know when it is done."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

from .runtimes import iso


@dataclass
class Checkpoint:
    """The record of a pause.

    Attributes:
        status: requested, then paused; it stays so when the runtime is resumed.
    """

    id: str
    runtime: str
    status: str = "requested"
    updated_at: float = field(default_factory=time.time)

    def model(self) -> dict[str, Any]:
        """What the service answers."""
        return {
            "id": self.id,
            "name": f"checkpoint-{self.id}",
            "description": "",
            "runtime_uid": self.runtime,
            "agent_spec_id": "",
            "agentspec": {},
            "metadata": {},
            "checkpoint_mode": "criu",
            "status": self.status,
            "updated_at": iso(self.updated_at),
        }
