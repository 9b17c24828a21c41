"""One account: its key, its user, its credits."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from .runtimes import Runtime, iso

USER = {
    "id": "01j9emvlatrvser00000000000",
    "uid": "01j9emvlatrvser00000000000",
    "handle_s": "tester",
    "email_s": "tester@example.com",
    "first_name_t": "Test",
    "last_name_t": "Er",
    "roles_ss": ["platform_member"],
    "type_s": "user",
}


@dataclass
class Account:
    """Who calls.

    Args:
        key: the API key.
        quota: credits that the account was given.
        most_runtimes: it may have at the same time.

    Attributes:
        spent: credits that runtimes which are no more have burnt.
        valid: whether the key is taken.
    """

    key: str
    quota: float = 100.0
    most_runtimes: int = 50
    spent: float = 0.0
    valid: bool = True

    def knows(self, key: str) -> bool:
        """Whether this is the key, and still good."""
        return self.valid and key == self.key

    def consumed(self, runtimes: Iterable[Runtime]) -> float:
        """Credits burnt so far."""
        return self.spent + sum(one.burnt() for one in runtimes)

    def free(self, runtimes: Iterable[Runtime]) -> float:
        """Credits that are neither burnt nor reserved."""
        runtimes = list(runtimes)
        reserved = sum(one.credits_limit - one.burnt() for one in runtimes)
        return self.quota - self.consumed(runtimes) - reserved

    def usage(self, runtimes: Iterable[Runtime]) -> dict[str, Any]:
        """The answer of `/usage/credits`. With a quota, `credits` are those consumed."""
        runtimes, now = list(runtimes), iso(time.time())
        spent = {"credits": self.consumed(runtimes), "quota": self.quota, "last_update": now}
        reserved = [
            {
                "id": one.reservation_id,
                "account_uid": USER["uid"],
                "credits": one.credits_limit,
                "resource": one.name,
                "resource_type": "runtime",
                "burning_rate": one.burning_rate,
                "start_date": iso(one.started_at),
                "last_update": now,
            }
            for one in runtimes
        ]
        return {"credits": spent, "reservations": reserved}
