"""Tokens of Jupyter Servers, which are never recorded, and which detached sandboxes are there."""

from __future__ import annotations

import os
from collections.abc import Collection
from contextlib import suppress

from .. import records
from ..errors import SandboxError, SandboxGoneError, SandboxNotFoundError, SandboxStartError

TOKEN = "JUPYTER_TOKEN"  # the environment variable that Jupyter's own programs read
LISTING_SECONDS = 3.0  # that a server may take to say whether it has a kernel
_tokens: dict[str, str] = {}  # by address: those that this process was given


def remember(url: str, token: str) -> None:
    """Keep a token, in this process alone."""
    _tokens[url] = token


def token_for(url: str) -> str:
    """The token that this process has used for a server, else the environment's; "" for none."""
    return _tokens.get(url) or os.environ.get(TOKEN, "")


def still_there(ids: Collection[str]) -> set[str]:
    """Those of these sandboxes whose servers do not say that they have ended.

    Servers are asked about detached ones, where there is a token for them.
    """
    from ..channels.jupyter_server import Server, status_of

    there, deaf = set(ids), set[str]()
    for id in ids:
        with suppress(SandboxError):  # it ends, just now
            record = records.find(id)
            url = str(record.config.get("server_url", "")) if record else ""
            token = token_for(url)
            if record is None or not record.detached or not token or url in deaf:
                continue
            path = f"/api/kernels/{record.place['supervisor']}"
            try:
                Server(url, token).ask("GET", path, seconds=LISTING_SECONDS)
            except SandboxGoneError as error:
                if status_of(error) == 404:
                    there.discard(id)
                else:
                    deaf.add(url)
    return there


def why_not_adopted(id: str, error: Exception) -> SandboxError:
    """What the caller of `from_id` is told: that it has ended, or what to do about it."""
    if isinstance(error, SandboxNotFoundError) or "HTTP 404" in str(error):
        return SandboxNotFoundError(f"sandbox {id!r} has ended")
    hint = f" (is it in the environment variable {TOKEN}?)" if "token" in str(error) else ""
    return SandboxStartError(f"sandbox {id!r}: {error}{hint}")
