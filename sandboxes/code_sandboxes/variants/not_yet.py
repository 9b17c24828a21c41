"""What not every variant can, and why."""

from __future__ import annotations

from ..kernel import Capability

_SNAPSHOTS = Capability(
    False, "a snapshot of what runs on somebody else's server is not in this version"
)
NO_PAUSE = {"pause": Capability(False, "only a cloud can hold a sandbox still")}
NOT_HERE = {"snapshots": _SNAPSHOTS, "snapshot_name": _SNAPSHOTS, **NO_PAUSE}
