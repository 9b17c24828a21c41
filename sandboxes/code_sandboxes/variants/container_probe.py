"""What a container engine, if there is one, makes possible here."""

from __future__ import annotations

from collections.abc import Collection

from ..errors import SandboxError
from ..kernel import Capability
from .container import LABEL
from .engine import BUILD, IMAGE, Engine
from .not_yet import NO_PAUSE

YES = Capability(True)
KINDS = (  # what an engine that answers makes possible
    *("create", "environment", "working_dir", "env_vars", "tags", "max_lifetime", "gpu"),
    *("memory_limit", "cpu_limit", "disk_limit", "writable_root", "runtime", "detach"),
    *("contexts", "files", "commands", "install_packages", "install_system_packages"),
    *("network_policy=none", "network_policy=allowlist", "network_policy=all"),
    *("snapshots", "snapshot_name"),
)
NEVER = {
    "confined": Capability(False, "a container is confined as it is"),
    **NO_PAUSE,
}


def missing_image(name: str) -> str:
    """What to do about an image that is not there."""
    if name == IMAGE:
        return (
            f"there is no image {IMAGE!r}; make it with `code-sandboxes image build`, or in the "
            f"source tree with `{BUILD}`"
        )
    return f"there is no image {name!r} here; `docker pull {name}`, or build it"


def probe() -> dict[str, Capability]:
    """What can be had, and why not the rest."""
    try:
        engine = Engine()
    except SandboxError as error:
        return dict.fromkeys(KINDS, Capability(False, str(error))) | NEVER
    try:
        found = dict.fromkeys(KINDS, YES) | NEVER
        if engine.image(IMAGE) is None:
            found["create"] = Capability(False, missing_image(IMAGE))
        if "nvidia" not in engine.runtimes():
            found["gpu"] = Capability(False, "the container engine has no GPU runtime")
    except SandboxError as error:
        return dict.fromkeys(KINDS, Capability(False, str(error))) | NEVER
    finally:
        engine.close()
    return found


def still_running(ids: Collection[str]) -> set[str]:
    """Those of these sandboxes whose containers run; all of them where no engine answers."""
    try:
        engine = Engine()
    except SandboxError:
        return set(ids)
    try:
        running = [found for found in engine.sandboxes() if found["State"] == "running"]
    except SandboxError:
        return set(ids)
    finally:
        engine.close()
    return set(ids) & {str(found["Labels"][LABEL]) for found in running}
