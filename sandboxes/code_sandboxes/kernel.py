"""The contracts between what a caller holds and what lies below it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, runtime_checkable

from .events import Event

if TYPE_CHECKING:
    from .config import SandboxConfig
    from .infos import SandboxInfo, Snapshot
    from .machine import Machine

Emit = Callable[[Event], None]  # called from any thread, never blocks


@dataclass(frozen=True)
class Capability:
    """Whether something can be had here.

    Attributes:
        supported: whether it can.
        reason: why not, and what to do about it; ``""`` where it can.
    """

    supported: bool
    reason: str = ""

    def __bool__(self) -> bool:
        return self.supported


class Channel(Protocol):
    """One interpreter. Everything is pushed: no method waits for the code."""

    def submit(self, code: str, emit: Emit, *, silent: bool = False) -> None:
        """Run `code`; `emit` its events, `Done` last. One at a time: the caller queues.

        A silent request leaves no trace: no history, no count, no name.
        """

    def reply(self, ask: str, answer: Mapping[str, Any]) -> None:
        """Answer an Ask: {"value": JSON} or {"error": [name, text]}. A late answer is dropped."""

    def taken(self, size: int) -> None:
        """Output of this size was dealt with: the sandbox may send as much again."""

    def interrupt(self, *, again: bool = False) -> Future[Any] | None:
        """Raise KeyboardInterrupt in the code, if any runs.

        Args:
            again: only if no interrupt has been noticed yet during this execution.

        Returns:
            Done when it has been given and can hit nothing that is submitted later; None where
            that is not known.
        """

    def kill(self) -> None:
        """End the interpreter; a running execution ends with `Done(state_lost=True)`."""

    def close(self, *, keep: bool = False) -> None:
        """Let go; with `keep` the interpreter lives on for the next owner."""


class Pipe(Protocol):
    """The byte stream to a supervisor."""

    def read(self) -> bytes:
        """What there is, at least a byte; b"" at the end."""

    def write(self, *parts: bytes | memoryview) -> None:
        """Write all of them, one after the other."""

    def close(self) -> None:
        """Hang up; unblocks a `read` in another thread."""

    def free(self) -> None:
        """Close this process's descriptors, without hanging up for others that hold them."""


class Variant(Protocol):
    """How to get a supervisor, and an interpreter below it.

    A variant is a class with `capabilities`, made with the whole configuration. What it does
    not list as supported is refused before it is made.
    """

    name: ClassVar[str]
    config: SandboxConfig

    @classmethod
    def capabilities(cls) -> Mapping[str, Capability]:
        """What it can on this machine: options by name, and verbs (`detach`, ...)."""

    def provision(self) -> Pipe:
        """A place, and the byte stream to the supervisor that was booted in it.

        Raises:
            SandboxStartError: it cannot be started; nothing is left behind.
        """

    def interpreter(self, machine: Machine, name: str) -> Channel:
        """A new interpreter, or the one of that name that a former owner kept."""

    def stop(self) -> None:
        """Remove what `provision` made and the supervisor's end does not take along.

        It may be called again, and after a `provision` that failed or was interrupted.
        """

    def diagnosis(self) -> str:
        """What is known of why the supervisor failed, for an error's text; ``""`` for nothing."""


@runtime_checkable
class Detachable(Protocol):
    """A variant whose sandbox can outlive its owner."""

    def detach_at(self) -> str:
        """Where, inside, the supervisor is to listen."""

    def let_go(self) -> None:
        """The supervisor has detached: free what the host holds, and leave it alone."""

    def record(self) -> dict[str, Any]:
        """What another process needs to reach it, as JSON."""

    def adopt(self, record: Mapping[str, Any]) -> Pipe:
        """The byte stream to a detached supervisor."""


@runtime_checkable
class Wakeable(Protocol):
    """A pipe to a supervisor that code inside may have stopped (SIGSTOP)."""

    def wake(self) -> None:
        """Let it go on, if it is stopped."""


@runtime_checkable
class Listed(Protocol):
    """A variant whose sandboxes are kept by somebody who knows which of them are there."""

    @classmethod
    def among(cls, ids: Collection[str]) -> set[str]:
        """Those of these sandboxes that are there; all of them where that cannot be known."""


@runtime_checkable
class Administered(Protocol):
    """A variant whose sandbox has a system of its own to change."""

    def administrator(self) -> Pipe:
        """The byte stream to a second supervisor, with the rights to change the system.

        Raises:
            UnsupportedError: this sandbox was not made with them.
        """


@runtime_checkable
class OwnSystem(Protocol):
    """A variant whose sandbox is a whole machine: its own commands may change the system."""

    def as_root(self, argv: Sequence[str]) -> list[str]:
        """The command that runs another one as root, if code may do so there at all."""


ISOLATION = ("none", "confined", "container")  # each at least as strong as those before it


@runtime_checkable
class Keepable(Protocol):
    """A variant whose sandboxes are kept on this machine, and start from what is kept here.

    Its supervisor is told of `places`, the directories to keep: ``home``, ``variables`` (an own
    one, for interpreters to put theirs into), and what else there is: ``packages``, ``scripts``,
    ``data``.
    """

    isolation: str
    """What keeps its code in, of `ISOLATION`."""
    most_kept: int
    """The bytes that a snapshot may have: what is inside may claim any size."""


@runtime_checkable
class Snapshotting(Protocol):
    """A variant whose service keeps its sandboxes, to start others from (`snapshot_name`)."""

    def create_snapshot(self, name: str, description: str) -> Snapshot:
        """Keep what the sandbox is now; returns when that is done.

        Raises:
            ConfigurationError: there is one of that name.
        """

    @classmethod
    def list_snapshots(cls) -> list[Snapshot]:
        """Those that there are."""

    @classmethod
    def delete_snapshot(cls, name: str) -> None:
        """Remove one, by its name or id.

        Raises:
            SnapshotNotFoundError: there is none.
        """


@runtime_checkable
class Pausable(Protocol):
    """A detachable variant whose sandbox can be stopped where it is; it is detached before."""

    def pause(self) -> None:
        """Stop it; returns when it is."""

    def resume(self) -> None:
        """Let it go on; returns when it can be adopted."""


@runtime_checkable
class Hosted(Protocol):
    """A variant whose sandboxes run at a service, which knows them all and ends each in time."""

    def time_left(self) -> float:
        """The seconds until the service ends it; nothing makes them more."""

    @classmethod
    def hosted(cls) -> list[SandboxInfo]:
        """All sandboxes of the account that this package has made, by any machine."""

    @classmethod
    def end_orphan(cls, id: str) -> None:
        """End what the service still has of a sandbox whose owner is dead."""
