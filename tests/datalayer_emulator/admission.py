"""Whether a runtime that is asked for can be had."""

from __future__ import annotations

import math
from collections.abc import Collection
from typing import Any

from . import environments
from .account import Account
from .runtimes import Runtime

MINUTES = 10.0  # that a runtime gets if nobody says how many credits


class Refused(Exception):
    """An answer that is an error."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status, self.message = status, message


def admit(
    asked: dict[str, Any], account: Account, runtimes: Collection[Runtime], starting: int
) -> tuple[dict[str, Any], float]:
    """The environment, and the credits that are reserved.

    Args:
        asked: the body of the request, of either generation.
        runtimes: those that the account has.
        starting: how many more it will have in a moment.

    Raises:
        Refused: it cannot be had.
    """
    named = asked.get("environment")
    name = named.get("name") if isinstance(named, dict) else asked.get("environment_name")
    environment = environments.find(str(name))
    if environment is None:
        raise Refused(404, f"Environment {name} not found.")
    rate = environment.get("burning_rate", environments.OWN_RATE)
    limit = asked.get("credits_limit", rate * 60 * MINUTES)
    if not isinstance(limit, int | float) or not math.isfinite(limit) or limit <= 0:
        raise Refused(422, "credits_limit must be a number above 0.")
    if len(runtimes) + starting >= account.most_runtimes:
        raise Refused(429, f"The account has its {account.most_runtimes} runtimes already.")
    free = account.free(runtimes)
    if limit > free:
        raise Refused(402, f"Not enough credits: {limit:g} asked for, {free:g} available.")
    return environment, float(limit)
