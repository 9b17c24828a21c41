"""What goes wrong between us and the service, as an error that says what to do."""

from __future__ import annotations

import json
import os
import re
from typing import Any

from ...errors import (
    CloudError,
    CloudUnavailableError,
    CredentialsError,
    CreditsError,
    QuotaError,
)
from ...text import printable

VARIABLE = "DATALAYER_API_KEY"
MOST_MESSAGE = 300
UNAVAILABLE = (408, 425, 500, 502, 503, 504)
_KEY = re.compile(r"[\x21-\x7e]+")


def api_key() -> str:
    """The key of the account.

    Raises:
        CredentialsError: there is none, or what there is can be none.
    """
    key = os.environ.get(VARIABLE, "").strip()
    if why := key_missing():
        raise CredentialsError(why)
    return key


def key_missing() -> str:
    """Why there is no key; ``""`` if there is one."""
    key = os.environ.get(VARIABLE, "").strip()
    if not key:
        return f"datalayer-runtime needs an API key of Datalayer: set {VARIABLE} to one"
    if not _KEY.fullmatch(key):
        return f"{VARIABLE} holds spaces or characters that no API key has: set it anew"
    return ""


def message(body: str, key: str) -> str:
    """What the service says of a failure, short, without the key and safe to print."""
    said: Any = body
    try:
        said = json.loads(body)
    except ValueError:
        said = "" if "<html" in body.lower() else body
    if isinstance(said, dict):
        found = (said.get(name) for name in ("message", "detail", "error"))
        said = next((value for value in found if isinstance(value, str) and value), "")
    plain = str(said) if isinstance(said, str) else ""
    return printable(plain.replace(key, "[the key]"))[:MOST_MESSAGE].strip()


def failure(what: str, status: int | None, said: str) -> CloudError:
    """The error for an answer of the service.

    Args:
        what: what was asked for, as in "it refused ...".
        status: the HTTP status; None if it said no by other means.
        said: see `message`.
    """
    because = f" (it says: {said})" if said else ""
    number = f"HTTP {status}" if status else "no success"
    words = said.lower()
    if status == 401:
        state = "has expired" if "expire" in words else "is wrong or has expired"
        return CredentialsError(f"the key in {VARIABLE} {state}: set it to another one", status)
    if status == 402 or ("credit" in words and status in (None, 400, 403, 409, 412, 422)):
        return CreditsError(
            f"the account has not enough credits{because}: add some, or give a shorter "
            "max_lifetime",
            status,
        )
    if status == 429 or ("quota" in words or "limit" in words and status in (None, 403, 409)):
        return QuotaError(
            f"the account may have no more of this now{because}; terminate a sandbox "
            "(`Sandbox.list()` shows them), or try later",
            status,
        )
    if status == 403:
        return CredentialsError(f"the key in {VARIABLE} may not {what}{because}", status)
    if status in UNAVAILABLE or (status is not None and status >= 500):
        return CloudUnavailableError(
            f"Datalayer's service cannot {what} now ({number}){because}; try later", status
        )
    return CloudError(f"Datalayer's service did not {what} ({number}){because}", status)
