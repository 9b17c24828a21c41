"""What the service says, checked: parts of it become addresses and headers."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from ...errors import CloudError
from ...text import printable

ID = re.compile(r"sb-[0-9a-f]{12}")
OURS = "code-sandboxes-"  # before the sandbox's id, in the name that we give a runtime
MOST_TEXT = 500
MOST_SKIPPED = 1000
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")  # it becomes part of an address
_TOKEN = re.compile(r"[\x21-\x7e]{1,4096}")  # it becomes a header


class Nonsense(CloudError):
    """The service sent something that cannot be what it should be."""

    def __init__(self, what: str) -> None:
        super().__init__(f"Datalayer's service sent {what}; its API may have changed")


def text(item: Mapping[str, Any], *names: str) -> str:
    """The first of these fields that is text; ``""`` where none is."""
    for name in names:
        value = item.get(name)
        if isinstance(value, str) and value:
            return printable(value[:MOST_TEXT])
    return ""


def number(value: Any) -> float | None:
    """A finite number, which may be written as text."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        found = float(value)
    except (ValueError, OverflowError):
        return None
    return found if math.isfinite(found) else None


def moment(value: Any) -> float | None:
    """Seconds since the epoch, from a number of them or an ISO date."""
    if (seconds := number(value)) is not None:
        return seconds if 0 < seconds < 1e11 else None
    try:
        return datetime.fromisoformat(value).timestamp() if isinstance(value, str) else None
    except (ValueError, OverflowError, OSError):
        return None


def items(said: Any, name: str) -> list[Mapping[str, Any]]:
    """The objects of a list in an answer."""
    found = said.get(name) if isinstance(said, dict) else None
    if not isinstance(found, list):
        raise Nonsense(f"an answer without {name}")
    return [item for item in found if isinstance(item, dict)]


def item(said: Any, name: str) -> Mapping[str, Any]:
    """An object in an answer."""
    found = said.get(name) if isinstance(said, dict) else None
    if not isinstance(found, dict):
        raise Nonsense(f"an answer without {name}")
    return found


def path_part(value: str, what: str) -> str:
    """A name that becomes part of an address."""
    if not _NAME.fullmatch(value):
        raise Nonsense(f"what is no {what}: {value[:40]!r}")
    return value


@dataclass(frozen=True)
class Runtime:
    """A runtime of the account, as the service describes it.

    Attributes:
        name: its name in addresses.
        given_name: what its maker has called it.
        environment: the name of its environment.
        state: what it does now, where the service tells.
        started, expires: seconds since the epoch, by the service's clock.
    """

    name: str
    given_name: str
    environment: str
    state: str
    started: float | None
    expires: float | None
    _ingress: str = field(repr=False)
    _token: str = field(repr=False)

    @classmethod
    def of(cls, said: Mapping[str, Any]) -> Runtime:
        """The runtime that an object of the service describes; two generations of it."""
        kind = said.get("environment")
        ingress, token = said.get("ingress"), said.get("token")
        return cls(
            name=path_part(text(said, "runtime_name", "pod_name", "uid"), "name of a runtime"),
            given_name=text(said, "given_name"),
            environment=(text(kind, "name") if isinstance(kind, dict) else "")
            or text(said, "environment_name"),
            state=text(said, "status", "state", "phase").lower(),
            started=moment(said.get("started_at")),
            expires=moment(said.get("expired_at")),
            _ingress=ingress if isinstance(ingress, str) else "",
            _token=token if isinstance(token, str) else "",
        )

    @property
    def sandbox(self) -> str:
        """The id of the sandbox that it was made for; ``""`` if we have not made it."""
        id = self.given_name.removeprefix(OURS)
        return id if self.given_name.startswith(OURS) and ID.fullmatch(id) else ""

    @property
    def reserved(self) -> float | None:
        """The seconds that it lives."""
        if self.started is None or self.expires is None or self.expires <= self.started:
            return None
        return self.expires - self.started

    def address(self) -> tuple[str, str]:
        """Its Jupyter Server's address and token.

        Raises:
            CloudError: they cannot be that.
        """
        try:
            parts = urlsplit(self._ingress)
            fine = parts.scheme in ("http", "https") and bool(parts.hostname)
            fine = fine and "@" not in parts.netloc and not parts.query and not parts.fragment
            parts.port  # noqa: B018 - it is not looked at before
        except ValueError:
            fine = False
        if not fine or not self._ingress.isascii() or not self._ingress.isprintable():
            shown = printable(self._ingress[:80])
            raise Nonsense(f"what is no address of a runtime ({shown!r})")
        if not _TOKEN.fullmatch(self._token):
            raise Nonsense("what is no token of a runtime")
        return self._ingress, self._token


@dataclass(frozen=True)
class Environment:
    """What a runtime can be made of.

    Attributes:
        burning_rate: credits a second; None where the service does not tell.
        gpus: how many it has; None where the service does not tell.
    """

    name: str
    title: str
    language: str
    burning_rate: float | None
    gpus: float | None

    @classmethod
    def of(cls, said: Mapping[str, Any]) -> Environment:
        """The environment that an object of the service describes."""
        name = text(said, "name")
        if not name:
            raise Nonsense("an environment without a name")
        rate, resources = number(said.get("burning_rate")), said.get("resources")
        gpus = None
        if isinstance(resources, dict):
            gpus = number(resources.get("nvidia.com/gpu", resources.get("gpu", 0)))
        return cls(
            name=name,
            title=text(said, "title"),
            language=text(said, "language").lower(),
            burning_rate=rate if rate is not None and rate > 0 else None,
            gpus=gpus,
        )

    def has_gpu(self, type: str = "") -> bool:
        """Whether it has a GPU, of that type if one is given: names and titles tell types."""
        if self.gpus is not None and self.gpus <= 0:
            return False
        if not type:
            return bool(self.gpus)
        words = rf"(?<![a-z0-9]){re.escape(type.lower())}(?![a-z0-9])"
        return re.search(words, f"{self.name} {self.title}".lower()) is not None

    def __str__(self) -> str:
        return f"{self.name} ({self.title})" if self.title else self.name


@dataclass(frozen=True)
class Kept:
    """A snapshot that the service keeps."""

    uid: str
    name: str
    environment: str
    description: str
    status: str
    created: float | None
    size: int | None
    skipped: tuple[str, ...]

    @classmethod
    def of(cls, said: Mapping[str, Any]) -> Kept:
        """The snapshot that an object of the service describes."""
        size, metadata = number(said.get("size")), said.get("metadata")
        skipped = metadata.get("skipped") if isinstance(metadata, dict) else None
        return cls(
            uid=path_part(text(said, "uid", "id"), "id of a snapshot"),
            name=text(said, "name"),
            environment=text(said, "environment", "environment_name"),
            description=text(said, "description"),
            status=text(said, "status").lower(),
            created=moment(said.get("updated_at")) or moment(said.get("created_at")),
            size=int(size) if size is not None and size >= 0 else None,
            skipped=tuple(
                printable(each[:MOST_TEXT])
                for each in (skipped if isinstance(skipped, list) else [])[:MOST_SKIPPED]
                if isinstance(each, str)
            ),
        )
