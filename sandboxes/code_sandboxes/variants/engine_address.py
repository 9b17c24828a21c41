"""Where the container engine is, and whether anybody is there."""

from __future__ import annotations

import os
import socket
import sys
from contextlib import suppress

DEFAULT = "unix:///var/run/docker.sock"
INSTEAD = (
    "local-docker reaches no engine by {}; forward its socket instead: "
    "`ssh -nNT -L /tmp/engine.sock:/var/run/docker.sock HOST`, and set "
    "DOCKER_HOST=unix:///tmp/engine.sock"
)
# of a connection that nothing is said on: without, a machine that vanished is waited for for ever
KEEPALIVE = {"TCP_KEEPIDLE": 10, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 3}


def address() -> str:
    """What `DOCKER_HOST` says, or the system's own engine."""
    return os.environ.get("DOCKER_HOST") or DEFAULT


def refusal(address: str) -> str:
    """Why an engine cannot be reached in this way; ``""`` where it can."""
    if address.startswith("ssh://"):
        return INSTEAD.format("ssh://")
    # one connection is read and written at once, which Python's TLS cannot
    secured = os.environ.get("DOCKER_TLS_VERIFY") or os.environ.get("DOCKER_CERT_PATH")
    return INSTEAD.format("TLS") if secured and address.startswith("tcp://") else ""


def knock(address: str) -> None:
    """See whether anybody is behind an engine's unix socket, if that is how it is reached.

    The SDK leaves its own socket open where nobody is.

    Raises:
        OSError: nobody is there.
    """
    if address.startswith("unix://"):
        with socket.socket(socket.AF_UNIX) as probe:
            probe.connect(address.removeprefix("unix://"))


def keep_alive(connected: socket.socket) -> None:
    """Have the system notice within half a minute that an engine's machine is gone."""
    if connected.family not in (socket.AF_INET, socket.AF_INET6):
        return
    connected.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in KEEPALIVE.items():
        with suppress(AttributeError, OSError):  # not every system has each of them
            connected.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
    if sys.platform == "linux":  # the same for what was sent, and nobody has acknowledged
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 25_000)
