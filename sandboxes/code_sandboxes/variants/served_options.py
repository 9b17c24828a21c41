"""What the two variants on a Jupyter Server share: what can be had there, and what it needs."""

from __future__ import annotations

from importlib.util import find_spec

from ..kernel import Capability
from .not_yet import NOT_HERE

YES = Capability(True)


def extra_missing(name: str, extra: str, *modules: str) -> str:
    """Why a variant cannot be had; ``""`` if all that it needs is installed."""
    missing = [module for module in modules if find_spec(module) is None]
    if not missing:
        return ""
    return f"{name} needs {', '.join(missing)}: install the extra `code-sandboxes[{extra}]`"


def server_capabilities(name: str) -> dict[str, Capability]:
    """What a sandbox on a server can, and why not the rest."""
    place = f"{name} runs where the server runs: its administrator decides what that may use"
    network = Capability(False, f"{name} has the network of the server; nothing confines it")
    kinds = ("create", "environment", "working_dir", "env_vars", "tags", "max_lifetime")
    verbs = ("contexts", "files", "commands", "install_packages", "detach", "network_policy=all")
    return dict.fromkeys((*kinds, *verbs), YES) | {
        "memory_limit": Capability(False, place),
        "cpu_limit": Capability(False, place),
        "gpu": Capability(False, place),
        "confined": Capability(False, place),
        "network_policy=none": network,
        "network_policy=allowlist": network,
        "install_system_packages": Capability(False, place),
        **NOT_HERE,
    }
