"""What only a cloud can, and why."""

from __future__ import annotations

from ..kernel import Capability

_SNAPSHOTS = Capability(False, "only a cloud keeps snapshots in this version")
NOT_HERE = {
    "snapshots": _SNAPSHOTS,
    "snapshot_name": _SNAPSHOTS,
    "pause": Capability(False, "only a cloud can hold a sandbox still"),
}
