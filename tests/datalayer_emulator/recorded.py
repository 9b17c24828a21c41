"""The requests that were made, to be looked at by tests."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from tornado.httputil import HTTPServerRequest

MASKED = "***"


@dataclass
class Request:
    """One request.

    Attributes:
        body: JSON, or None; that of a request through an ingress is not looked at.
        headers: by lower-case name, secrets replaced by `***`.
        secret: which secret it came with: "key", "token" (a runtime's) or "".
        status: the answer's, None while there is none; of the ingress, only its own.
    """

    method: str
    path: str
    query: str
    headers: dict[str, str]
    body: Any = None
    secret: str = ""
    status: int | None = None


def record(request: HTTPServerRequest, key: str, tokens: set[str]) -> Request:
    """What is remembered of a request."""
    secrets = {key: "key", **dict.fromkeys(tokens, "token")}

    def masked(text: str) -> str:
        for secret in secrets:
            text = text.replace(secret, MASKED)
        return text

    given = " ".join([request.query, *request.headers.get_list("Authorization")])
    kinds = [kind for secret, kind in secrets.items() if secret in given]
    headers = {name.lower(): masked(value) for name, value in request.headers.get_all()}
    path, query = request.path, masked(request.query)
    return Request(str(request.method), path, query, headers, None, kinds[0] if kinds else "")


def parsed(body: bytes) -> Any:
    """The body of a request as JSON; None if it is empty or something else."""
    try:
        return json.loads(body) if body else None
    except ValueError:
        return None
