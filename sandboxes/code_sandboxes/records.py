"""What this machine's processes know of each other's sandboxes: one small file each."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from .ctrl_c import Whole
from .errors import ConfigurationError
from .infos import SandboxInfo


@cache
def _default_home() -> str:
    from platformdirs import user_state_dir

    return user_state_dir("code-sandboxes", appauthor=False)


def home() -> Path:
    """The state directory: `CODE_SANDBOXES_HOME`, or the system's place; mode 0700."""
    path = Path(os.environ.get("CODE_SANDBOXES_HOME") or _default_home())
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    return path


def _folder() -> Path:
    path = home() / "sandboxes"
    path.mkdir(mode=0o700, exist_ok=True)
    return path


def start_of(pid: int) -> float:
    """When a process started, in the kernel's own ticks; 0.0 if it does not run.

    A pid is used again; a pid with its start is not.
    """
    if sys.platform != "linux":
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return 0.0
        except PermissionError:
            return 1.0
        return 1.0
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b") ")[2].split()
    except OSError:
        return 0.0
    return 0.0 if fields[0] == b"Z" else float(fields[19])


@dataclass(frozen=True)
class Record:
    """One sandbox."""

    id: str
    variant: str
    config: dict[str, Any]
    place: dict[str, Any]
    detached: bool = False
    expires: float | None = None
    created: float = field(default_factory=time.time)
    owner_pid: int = field(default_factory=os.getpid)
    owner_start: float = field(default_factory=lambda: start_of(os.getpid()))

    def __post_init__(self) -> None:
        texts, maps = (self.id, self.variant), (self.config, self.place)
        numbers = (self.created, self.owner_pid, self.owner_start, self.expires or 0.0)
        for kind, values in ((str, texts), (dict, maps), (int | float, numbers)):
            if not all(isinstance(value, kind) for value in values):
                raise TypeError("no record of a sandbox")

    def owner_lives(self) -> bool:
        """Whether the process that wrote this still runs."""
        return start_of(self.owner_pid) == self.owner_start != 0.0

    def lives(self) -> bool:
        """Whether the sandbox can still be there."""
        if not self.detached:
            return self.owner_lives()
        if self.expires is not None and time.time() > self.expires:
            return False
        base = self.place.get("base")  # a local sandbox's folders go with it
        return base is None or os.path.isdir(str(base))

    def info(self) -> SandboxInfo:
        """The public face."""
        return SandboxInfo(
            id=self.id,
            variant=self.variant,
            tags=dict(self.config.get("tags", {})),
            created=self.created,
            expires=self.expires,
            detached=self.detached,
            owner_pid=None if self.detached else self.owner_pid,
        )


def write(record: Record) -> None:
    """Put a record down, whole or not at all."""
    path = _folder() / f"{record.id}.json"
    temporary = path.with_suffix(f".{os.getpid()}.part")
    with Whole():
        try:
            temporary.write_text(json.dumps(asdict(record)))
            os.replace(temporary, path)
        except BaseException:  # no space left
            temporary.unlink(missing_ok=True)
            raise


def find(id: str) -> Record | None:
    """The record of a sandbox, if there is one.

    Raises:
        ConfigurationError: that is no id.
    """
    if not id or not id.replace("-", "").replace("_", "").isalnum():
        raise ConfigurationError(f"{id!r} is no sandbox id")
    return _load(_folder() / f"{id}.json")


def _load(path: Path) -> Record | None:
    try:
        return Record(**json.loads(path.read_text()))
    except (OSError, ValueError, TypeError, RecursionError):  # gone, or not a record of ours
        return None


def remove(id: str) -> None:
    """Forget a sandbox."""
    with suppress(FileNotFoundError):
        (_folder() / f"{id}.json").unlink()


def living() -> Iterator[Record]:
    """The records of sandboxes that are there; others are removed on the way."""
    for path in sorted(_folder().glob("*.json")):
        record = _load(path)
        if record is not None and record.lives():
            yield record
        else:
            with suppress(OSError):
                path.unlink()
    for part in _folder().glob("*.part"):  # its writer died before it was whole
        writer = part.suffixes[-2].removeprefix(".")
        if not (writer.isdecimal() and start_of(int(writer))):
            part.unlink(missing_ok=True)
