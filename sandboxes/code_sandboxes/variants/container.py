"""How a sandbox's container is made: every argument that the engine is given, and why."""

from __future__ import annotations

import json
import os
import posixpath
import socket
from collections.abc import Mapping
from typing import Any

from .. import egress
from ..config import OFFLINE, SandboxConfig
from ..errors import ConfigurationError, UnsupportedError
from ..records import start_of

LABEL = "io.code-sandboxes"  # the id; further labels are below it
NETWORK = "code-sandboxes"
UID = 1000
USER = f"{UID}:{UID}"
DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
WORKSPACE, HOME = "/workspace", "/home/sandbox"  # where code starts; what is ours and the user's
# the writable directories, all of them in memory: each one's share of `disk`
ROOTS = {WORKSPACE: 0.4, "/data": 0.2, "/remote": 0.1, "/tmp": 0.15, HOME: 0.15}
PLACES = {  # what a snapshot has of them
    "home": WORKSPACE,
    "data": "/data",
    "remote": "/remote",
    "variables": f"{WORKSPACE}/.code-sandboxes",  # where there is most room
}
MEMORY, LEAST_MEMORY = 2 << 30, 256 << 20
MOST_DISK = 0.75  # of the memory, which it is a part of
FILE, MOST_FILES = 4096, 100_000  # bytes for each file that may be in a directory; files, at most
# for one process: an allocation beyond it fails, where the engine would kill the process
MOST_DATA = 0.82
# what a package manager needs; code never has them, since its user is another
ADMINISTRATION = ["CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "SETGID", "SETUID"]


def sizes(config: SandboxConfig) -> tuple[int, int]:
    """Bytes of memory, and of the files that are in it.

    Raises:
        ConfigurationError: they cannot be.
    """
    disk = config.disk_limit
    memory = config.memory_limit or max(MEMORY, int((disk or 0) * 2))
    if memory < LEAST_MEMORY:
        raise ConfigurationError(f"memory: local-docker needs {LEAST_MEMORY >> 20} MB at least")
    if disk is None:
        return memory, memory // 2
    if disk > memory * MOST_DISK:
        raise ConfigurationError(
            f"disk is a part of memory: at most {int(memory * MOST_DISK) >> 20} MB of "
            f"{memory >> 20} MB"
        )
    return memory, disk


def starting_directory(config: SandboxConfig) -> str:
    """Where code starts.

    Raises:
        ConfigurationError: it could not be made there.
    """
    path = posixpath.normpath(posixpath.join(WORKSPACE, config.working_dir or "."))
    if not any(path == root or path.startswith(f"{root}/") for root in ROOTS):
        raise ConfigurationError(
            f"working_dir {config.working_dir!r}: what can be written to is below "
            + ", ".join(ROOTS)
        )
    return path


def owner() -> str:
    """This process, so that another one can see whether it still runs."""
    boot = namespace = ""
    try:
        with open("/proc/sys/kernel/random/boot_id") as file:
            boot = file.read().strip()
        namespace = os.readlink("/proc/self/ns/pid")
    except OSError:
        pass  # not Linux: the name of the machine must do
    pid = os.getpid()
    return json.dumps([socket.gethostname(), boot, namespace, pid, start_of(pid)])


def owner_is_dead(label: str) -> bool:
    """Whether an owner was a process of this machine, and has ended."""
    try:
        *place, pid, start = json.loads(label)
    except (ValueError, TypeError):
        return False
    return bool(place == json.loads(owner())[:3] and start_of(int(pid)) != start)


def labels(config: SandboxConfig, id: str, expires: float | None) -> dict[str, str]:
    """What the engine knows of a sandbox."""
    known = {LABEL: id, f"{LABEL}.owner": owner(), f"{LABEL}.tags": json.dumps(dict(config.tags))}
    return known if expires is None else known | {f"{LABEL}.expires": str(expires)}


def image_environment(image: Mapping[str, Any]) -> dict[str, str]:
    """The variables of an image, as the engine tells of it."""
    return dict(pair.split("=", 1) for pair in image.get("Config", {}).get("Env") or [])


def environment(config: SandboxConfig, image: Mapping[str, str]) -> dict[str, str]:
    """The variables that must be there when Python starts; the caller's own come over the wire.

    They would be told to everybody who may ask the engine.
    """
    python = {n: v for n, v in config.env_vars.items() if n.startswith("PYTHON")}
    zone = {"TZ": os.environ["TZ"]} if "TZ" in os.environ else {}
    return {
        "PATH": f"{HOME}/.local/bin:" + image.get("PATH", DEFAULT_PATH),
        "HOME": WORKSPACE,
        "TMPDIR": "/tmp",
        "LANG": "C.UTF-8",
        **zone,
        **ways_out(config),
        # packages go to the user's own directory, before those of the image
        "PYTHONUSERBASE": f"{HOME}/.local",
        "PIP_USER": "1",
        "PIP_BREAK_SYSTEM_PACKAGES": "1",
        "PIP_NO_CACHE_DIR": "1",
        "IPYTHONDIR": f"{HOME}/.ipython",
        "JUPYTER_CONFIG_DIR": f"{HOME}/.jupyter",
        "JUPYTER_DATA_DIR": f"{HOME}/.jupyter",
        "JUPYTER_RUNTIME_DIR": f"{HOME}/.jupyter",
        "MPLCONFIGDIR": f"{HOME}/.matplotlib",
        **python,
    }


def ways_out(config: SandboxConfig) -> dict[str, str]:
    """The variables that tell programs of the allowlist's proxy, if there is one."""
    return egress.environment() if config.network_policy == "allowlist" else {}


def file_systems(disk: int) -> dict[str, str]:
    """The writable directories; `exec`, or compiled packages could not be loaded.

    How many files there may be follows from the size: even empty ones take memory.
    """
    made = {}
    for root, share in ROOTS.items():
        size = int(disk * share)
        whose = "mode=1777" if root == "/tmp" else "uid=1000,gid=1000,mode=700"
        files = min(size // FILE, MOST_FILES)
        made[root] = f"rw,nosuid,nodev,exec,size={size},nr_inodes={files},{whose}"
    return made


def gpu_request(gpu: str) -> dict[str, Any]:
    """What the engine is asked for.

    Raises:
        UnsupportedError: a type of GPU, which no engine can be asked for.
    """
    if gpu != "all" and not gpu.isdigit():
        raise UnsupportedError(
            f'gpu={gpu!r}: the engine\'s GPUs are what they are; say how many, or gpu="all"'
        )
    count = -1 if gpu == "all" else int(gpu)
    return {"Driver": "", "Count": count, "Capabilities": [["gpu"]], "DeviceIDs": [], "Options": {}}


def host_config(config: SandboxConfig) -> dict[str, Any]:
    """What the engine is asked to keep the container from, and to."""
    memory, disk = sizes(config)
    limits = {"nofile": 4096, "core": 0, "data": int(memory * MOST_DATA)}
    made = {
        "AutoRemove": True,
        "NetworkMode": "none" if config.network_policy in OFFLINE else NETWORK,
        "CapDrop": ["ALL"],
        "CapAdd": ADMINISTRATION if config.writable_root else [],
        "SecurityOpt": ["no-new-privileges:true"],  # the engine's own seccomp profile is kept
        "ReadonlyRootfs": not config.writable_root,
        "Tmpfs": file_systems(disk),
        "PidsLimit": 512,
        "Memory": memory,
        "MemorySwap": memory,  # both together: no swap
        "NanoCpus": int((config.cpu_limit or 0) * 1e9),
        "ShmSize": 64 << 20,
        "IpcMode": "private",
        "CgroupnsMode": "private",
        "OomScoreAdj": 500,
        "Init": False,  # the supervisor is PID 1: code can neither kill nor stop it
        "Ulimits": [{"Name": n, "Soft": v, "Hard": v} for n, v in limits.items()],
        "LogConfig": {"Type": "none", "Config": {}},  # what is on the wire is no log
        "DeviceRequests": [gpu_request(config.gpu)] if config.gpu else [],
    }
    return made | ({"Runtime": config.runtime} if config.runtime else {})


def arguments(
    config: SandboxConfig,
    id: str,
    command: list[str],
    image: Mapping[str, Any],
    expires: float | None,
) -> dict[str, Any]:
    """The engine's `POST /containers/create`, as its API has it.

    Args:
        config: checked already.
        id: the sandbox's id, which the container is named by.
        command: what is PID 1.
        image: the engine's word on the image.
        expires: seconds since the epoch.
    """
    return {
        "Image": image["Id"],
        "Cmd": command,
        "Entrypoint": [],
        # where the system can be changed, the supervisor itself becomes that user, so that the
        # engine gives root its capabilities when it enters the container later
        "User": "0:0" if config.writable_root else USER,
        "WorkingDir": WORKSPACE,
        "Env": [
            f"{name}={value}"
            for name, value in environment(config, image_environment(image)).items()
        ],
        "Labels": labels(config, id, expires),
        "Hostname": "sandbox",
        "AttachStdin": True,
        "AttachStdout": True,
        "AttachStderr": True,
        "OpenStdin": True,
        "StdinOnce": True,  # the lease: its end is the sandbox's
        "Tty": False,
        "HostConfig": host_config(config),
    }
