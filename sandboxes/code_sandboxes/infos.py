"""What a sandbox tells of its contexts, variables, files, processes, and of itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Context:
    """One of a sandbox's independent interpreters, by name."""

    name: str


@dataclass(frozen=True, slots=True)
class VariableInfo:
    """A variable of an interpreter.

    Attributes:
        name, type: its name, and the name of its class.
        size: its length, where it has one.
        preview: the start of its repr; raw, as the sandbox sent it.
    """

    name: str
    type: str
    size: int | None
    preview: str


@dataclass(frozen=True, slots=True)
class FileInfo:
    """An entry of a directory.

    Attributes:
        name: its last component; hostile: never a host path.
        path: its path inside the sandbox.
        size: bytes.
        type: ``file``, ``directory``, ``symlink`` or ``other``.
        modified: seconds since the epoch.
        mode: permission bits.
    """

    name: str
    path: str
    size: int
    type: str
    modified: float
    mode: int

    @property
    def is_dir(self) -> bool:
        """Whether it is a directory."""
        return self.type == "directory"


@dataclass(frozen=True, slots=True)
class FileChange:
    """Something changed below a watched path.

    Attributes:
        kind: ``added``, ``changed`` or ``removed``.
        path: its path inside the sandbox.
    """

    kind: str
    path: str


@dataclass(frozen=True, slots=True)
class ProcessInfo:
    """A command that runs.

    Attributes:
        pid: its number inside the sandbox.
        command: the shell's text, or the arguments.
        started: seconds since the epoch, by the sandbox's clock.
    """

    pid: int
    command: str | tuple[str, ...]
    started: float


@dataclass(frozen=True, slots=True)
class SandboxInfo:
    """A sandbox that is known on this machine, or to a cloud.

    Attributes:
        id, variant, tags: what it was created with; a cloud keeps no tags: only the machine that
            made the sandbox knows them.
        created: seconds since the epoch.
        expires: when it ends itself, or None.
        detached: whether it lives without an owner, as far as this machine knows.
        owner_pid: the process of this machine that owns it; None without one.
    """

    id: str
    variant: str
    tags: Mapping[str, str]
    created: float
    expires: float | None
    detached: bool
    owner_pid: int | None


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What is kept of a sandbox, to start others from.

    Attributes:
        id: its id, unique for the variant.
        name: what it is called; for `Sandbox.create(snapshot_name=...)`.
        variant: the variant that it was made on.
        environment: the environment of the sandbox that it was made of; ``""`` if unknown.
        description: free text.
        created: seconds since the epoch; None if unknown.
        size: bytes; None if unknown.
        skipped: what could not be kept, a line each.
    """

    id: str
    name: str
    variant: str
    environment: str = ""
    description: str = ""
    created: float | None = None
    size: int | None = None
    skipped: tuple[str, ...] = ()
