"""What a variant in the cloud answers for the whole account: its sandboxes, its snapshots."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...infos import SandboxInfo, Snapshot
from . import keeping

if TYPE_CHECKING:
    from .client import Client
    from .fields import Runtime


class OfAnAccount:
    """See Hosted and Snapshotting in kernel.py."""

    _made: Client | None = None
    _runtime: Runtime | None = None

    def _cloud(self) -> Client:
        """The service, with the key that was there when it was first needed."""
        if self._made is None:
            self._made = keeping.client()
        return self._made

    # Hosted -----------------------------------------------------------------------------
    @classmethod
    def hosted(cls) -> list[SandboxInfo]:
        """See Hosted."""
        return keeping.sandboxes(keeping.client())

    @classmethod
    def end_orphan(cls, id: str) -> None:
        """See Hosted."""
        keeping.end(keeping.client(), id)

    # Snapshotting -----------------------------------------------------------------------
    def create_snapshot(self, name: str, description: str) -> Snapshot:
        """See Snapshotting."""
        assert self._runtime is not None
        return keeping.keep(self._cloud(), self._runtime.name, name, description)

    @classmethod
    def list_snapshots(cls) -> list[Snapshot]:
        """See Snapshotting."""
        return keeping.snapshots(keeping.client())

    @classmethod
    def delete_snapshot(cls, name: str) -> None:
        """See Snapshotting."""
        cloud = keeping.client()
        cloud.remove_snapshot(keeping.find(cloud, name).uid)
