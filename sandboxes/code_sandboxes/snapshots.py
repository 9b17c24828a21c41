"""Snapshots of sandboxes: made, listed and removed, here or by the service that keeps them."""

from __future__ import annotations

import re
import threading
import warnings
from collections.abc import Callable
from functools import partial

from . import keeping, store
from .core import Core
from .errors import CloudError, ConfigurationError, SnapshotNotFoundError, UnsupportedError
from .infos import Snapshot
from .kernel import Keepable, Snapshotting
from .registry import hosts, refusal, variant_class

MOST_NAME = 100


def create(
    core: Core, name: str, description: str, cancelled: threading.Event | None = None
) -> Snapshot:
    """Keep a sandbox as it is now.

    Args:
        cancelled: once it is set, a local one is not kept.

    Raises:
        ConfigurationError: that is no name, or there is a snapshot of that name.
        UnsupportedError: its variant keeps none.
    """
    check_name(name)
    if re.fullmatch(r"snap-[0-9a-f]{16}", name):
        raise ConfigurationError(f"{name!r} looks like the id of a snapshot: give another name")
    if not isinstance(description, str):
        raise ConfigurationError(f"description is text, not {description!r}")
    core.machine.cwd  # noqa: B018 - raises where the sandbox is closed, gone or paused
    variant = core.variant
    if isinstance(variant, Snapshotting):
        return variant.create_snapshot(name, description)
    if not isinstance(variant, Keepable):
        raise UnsupportedError(refusal(variant.name, "snapshots"))
    return keeping.take(core, name, description, cancelled or threading.Event())


def listed(variant: str | None) -> list[Snapshot]:
    """The snapshots of one variant; without one, of this machine and of every service.

    A service that cannot be asked is a RuntimeWarning, where it is one of several.
    """
    found, troubles = _all(variant)
    for trouble in troubles:
        warnings.warn(str(trouble), RuntimeWarning, stacklevel=3)
    return [kept for kept, _ in found]


def delete(name: str, variant: str | None) -> None:
    """Remove a snapshot, by its name or id.

    Raises:
        SnapshotNotFoundError: there is none.
        ConfigurationError: several variants have one of that name.
        CloudError: it is not on this machine, and a service cannot be asked.
    """
    check_name(name)
    known, troubles = _all(variant)
    found = [(kept, remove) for kept, remove in known if name in (kept.name, kept.id)]
    if not found and variant is None and store.discard(name):
        return  # it was damaged, and is therefore no longer listed
    if not found and troubles:
        raise troubles[0]
    if not found:
        raise SnapshotNotFoundError(f"no snapshot {name!r}; `Sandbox.list_snapshots()` shows all")
    if len({kept.variant for kept, _ in found}) > 1:
        raise ConfigurationError(f"several variants have a snapshot {name!r}: say variant=")
    found[0][1]()


def refuse_name(name: str) -> None:
    """Raise ConfigurationError for what cannot be the name of a further snapshot here."""
    check_name(name)
    store.refuse_second(name)


def check_name(name: str) -> None:
    """Raise ConfigurationError for what is no name of a snapshot."""
    if not isinstance(name, str) or not name.strip() or not name.isprintable():
        raise ConfigurationError(f"a snapshot's name is printable text, not {name!r}")
    if len(name) > MOST_NAME:
        raise ConfigurationError(f"a snapshot's name has at most {MOST_NAME} characters")


Removable = tuple[Snapshot, Callable[[], object]]


def _all(variant: str | None) -> tuple[list[Removable], list[CloudError]]:
    """Snapshots, and how each is removed; and why a service could not be asked."""
    found: list[Removable] = []
    troubles: list[CloudError] = []
    kinds = hosts() if variant is None else [variant_class(variant)]
    for kind in kinds:
        if isinstance(kind, Snapshotting):
            try:
                there = kind.list_snapshots()
            except CloudError as error:
                if variant is not None:
                    raise
                troubles.append(error)
            else:
                found += [(kept, partial(kind.delete_snapshot, kept.id)) for kept in there]
    if variant is not None and not isinstance(kinds[0], Keepable | Snapshotting):
        raise UnsupportedError(refusal(variant, "snapshots"))
    for local in store.listed():
        if variant in (None, local.info.variant):
            found.append((local.info, partial(store.discard, local.info.name)))
    return found, troubles
