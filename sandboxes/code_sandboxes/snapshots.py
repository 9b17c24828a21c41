"""Snapshots of sandboxes: made, listed and removed by the variants that keep them."""

from __future__ import annotations

from collections.abc import Iterator

from .core import Core
from .errors import (
    ConfigurationError,
    MissingExtraError,
    SnapshotNotFoundError,
    UnsupportedError,
)
from .infos import Snapshot
from .kernel import Snapshotting, Variant
from .registry import refusal, that_can, variant_class

MOST_NAME = 100


def create(core: Core, name: str, description: str) -> Snapshot:
    """Keep a sandbox as it is now.

    Raises:
        ConfigurationError: that is no name, or there is a snapshot of that name.
        UnsupportedError: its variant keeps none.
    """
    check_name(name)
    if not isinstance(description, str):
        raise ConfigurationError(f"description is text, not {description!r}")
    core.machine.cwd  # noqa: B018 - raises where the sandbox is closed, gone or paused
    variant = core.variant
    if not isinstance(variant, Snapshotting):
        raise UnsupportedError(refusal(variant.name, "snapshots"))
    return variant.create_snapshot(name, description)


def listed(variant: str | None) -> list[Snapshot]:
    """The snapshots of one variant, or of all that keep any and can be started here."""
    return [found for kind in _keepers(variant) for found in kind.list_snapshots()]


def delete(name: str, variant: str | None) -> None:
    """Remove a snapshot, by its name or id.

    Raises:
        SnapshotNotFoundError: there is none.
        ConfigurationError: several variants have one of that name.
    """
    check_name(name)
    found = []
    for kind in _keepers(variant):
        if any(name in (kept.name, kept.id) for kept in kind.list_snapshots()):
            found.append(kind)
    if not found:
        raise SnapshotNotFoundError(f"no snapshot {name!r}; `Sandbox.list_snapshots()` shows all")
    if len(found) > 1:
        raise ConfigurationError(f"several variants have a snapshot {name!r}: say variant=")
    found[0].delete_snapshot(name)


def check_name(name: str) -> None:
    """Raise ConfigurationError for what is no name of a snapshot."""
    if not isinstance(name, str) or not name.strip() or not name.isprintable():
        raise ConfigurationError(f"a snapshot's name is printable text, not {name!r}")
    if len(name) > MOST_NAME:
        raise ConfigurationError(f"a snapshot's name has at most {MOST_NAME} characters")


def _keepers(variant: str | None) -> Iterator[type[Snapshotting]]:
    for name in [variant] if variant is not None else that_can("snapshots"):
        try:
            kind: type[Variant] = variant_class(name)
        except MissingExtraError:
            if variant is not None:
                raise
            continue
        if isinstance(kind, Snapshotting):
            yield kind
        elif variant is not None:
            raise UnsupportedError(refusal(name, "snapshots"))
