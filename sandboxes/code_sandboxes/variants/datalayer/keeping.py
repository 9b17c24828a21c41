"""What the cloud keeps for an account: its sandboxes, and its snapshots."""

from __future__ import annotations

import time
import warnings
from typing import TYPE_CHECKING

from ...errors import (
    CloudError,
    CloudUnavailableError,
    ConfigurationError,
    SnapshotNotFoundError,
)
from ...infos import SandboxInfo, Snapshot
from .fields import Kept

if TYPE_CHECKING:
    from .client import Client

VARIANT = "datalayer-runtime"
CREATE_SECONDS = 90.0  # a runtime or a snapshot is answered when it is there
LIST_SECONDS = 10.0
SNAPSHOT_SECONDS = 120.0
PAUSE_SECONDS = 120.0
POLL_SECONDS = 0.25
UNFINISHED = ("pending", "requested", "creating", "queued", "running", "in_progress", "uploading")
FAILED = ("failed", "error", "aborted")


def client() -> Client:
    """The service.

    Raises:
        CredentialsError: there is no key.
    """
    with warnings.catch_warnings():  # of its own plans for its folders
        warnings.simplefilter("ignore", DeprecationWarning)
        from .client import Client  # datalayer-core takes seconds to import

    return Client()


# sandboxes ----------------------------------------------------------------------------------
def sandboxes(cloud: Client) -> list[SandboxInfo]:
    """Those of the account that this package has made."""
    found = {}
    for runtime in cloud.runtimes(seconds=LIST_SECONDS, tries=2):
        found[runtime.sandbox] = SandboxInfo(
            id=runtime.sandbox,
            variant=VARIANT,
            tags={},
            created=runtime.started or 0.0,
            expires=runtime.expires,
            detached=True,
            owner_pid=None,
        )
    return list(found.values())


def end(cloud: Client, id: str) -> None:
    """End whatever there is of a sandbox."""
    for runtime in cloud.runtimes():
        if runtime.sandbox == id:
            cloud.remove(runtime.name)


def pause(cloud: Client, runtime: str) -> None:
    """Have a runtime paused, and wait until it is.

    Raises:
        CloudError: it failed, or takes too long.
    """
    checkpoint = cloud.pause(runtime)
    until = time.monotonic() + PAUSE_SECONDS
    while checkpoint and (status := cloud.checkpoint(runtime, checkpoint)) != "paused":
        if status in FAILED:
            raise CloudError(f"the cloud could not pause the runtime ({status})")
        if time.monotonic() > until:
            raise CloudError(f"the runtime is still not paused after {PAUSE_SECONDS:g} s")
        time.sleep(POLL_SECONDS)


# snapshots ----------------------------------------------------------------------------------
def find(cloud: Client, name: str) -> Kept:
    """The snapshot of that name, or id.

    Raises:
        SnapshotNotFoundError: there is none; the message says which there are.
        ConfigurationError: there are several of that name.
    """
    known = cloud.snapshots()
    found = [kept for kept in known if kept.uid == name]
    found = found or [kept for kept in known if kept.name == name]
    if not found:
        there = ", ".join(kept.name for kept in known[:20]) or "none"
        raise SnapshotNotFoundError(f"no snapshot {name!r} in the cloud; there are: {there}")
    if len(found) > 1:
        ids = ", ".join(kept.uid for kept in found)
        raise ConfigurationError(f"several snapshots are called {name!r}: name one by id ({ids})")
    return found[0]


def snapshots(cloud: Client) -> list[Snapshot]:
    """All of the account."""
    return [_shown(kept) for kept in cloud.snapshots()]


def keep(cloud: Client, runtime: str, name: str, description: str) -> Snapshot:
    """Make a snapshot, and wait until it is whole.

    Raises:
        ConfigurationError: there is one of that name.
        CloudError: it failed, or takes too long.
    """
    if any(kept.name == name for kept in cloud.snapshots()):
        raise ConfigurationError(f"there is a snapshot {name!r} already; delete it first")
    try:
        made = cloud.snapshot(runtime, name, description)
    except CloudUnavailableError:  # it may be made all the same
        found = [kept for kept in cloud.snapshots() if kept.name == name]
        if not found:
            raise
        made = found[0]
    until = time.monotonic() + SNAPSHOT_SECONDS
    while made.status in UNFINISHED:
        if time.monotonic() > until:
            raise CloudError(f"snapshot {name!r} is still not whole after {SNAPSHOT_SECONDS:g} s")
        time.sleep(POLL_SECONDS)
        again = [kept for kept in cloud.snapshots() if kept.uid == made.uid]
        if not again:
            raise CloudError(f"snapshot {name!r} has vanished while it was made")
        made = again[0]
    if made.status in FAILED:
        raise CloudError(f"the cloud could not make snapshot {name!r} ({made.status})")
    return _shown(made)


def _shown(kept: Kept) -> Snapshot:
    return Snapshot(
        id=kept.uid,
        name=kept.name,
        variant=VARIANT,
        environment=kept.environment,
        description=kept.description,
        created=kept.created,
        size=kept.size,
        skipped=kept.skipped,
    )
