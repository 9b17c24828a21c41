"""A Jupyter kernel over ZMQ, below a supervisor that may be confined."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any, ClassVar

from ..config import OFFLINE, SandboxConfig
from ..confine.bubblewrap import wrap
from ..confine.probe import probe
from ..errors import SandboxStartError, UnsupportedError
from ..kernel import Capability, Channel, Pipe
from ..machine import Machine
from ..wire import KERNEL
from .folders import readable_by_installs
from .local_process import YES, LocalProcess, process_capabilities

PORTS = ("shell_port", "iopub_port", "stdin_port", "control_port", "hb_port")
OURS = "python3"  # the kernel that is this Python: started by our own code


class LocalJupyter(LocalProcess):
    """A Jupyter kernel as a child process; with `confined=True`, in namespaces of its own.

    Unconfined, a kernel is a process and no more: its code has the rights of the user that
    runs it. `network_policy="none"` and `"allowlist"` confine it too, code and commands alike.
    """

    name: ClassVar[str] = "local-jupyter"
    modules: ClassVar[tuple[str, ...]] = ("seccomp", *KERNEL)
    preload: ClassVar[tuple[str, ...]] = ("_code_sandboxes.preloaded",)

    def __init__(self, config: SandboxConfig, id: str) -> None:
        super().__init__(config, id)
        if config.environment not in (None, OURS):
            raise UnsupportedError(
                f"no environment {config.environment!r}: local-jupyter has {OURS!r}, the kernel "
                "of the Python that runs this program"
            )
        self._kernels: dict[str, dict[str, Any]] = {}  # how each is connected to
        self.confined = config.confined or config.network_policy in OFFLINE
        self.isolation = "confined" if self.confined else "none"
        if self.confined and config.network_policy == "all":
            raise UnsupportedError(
                "confined=True has no network: it goes with network_policy "
                '"none", "allowlist" or "inherit"'
            )

    @classmethod
    def capabilities(cls) -> Mapping[str, Capability]:
        """See Variant."""
        reason = probe()
        confined = Capability(reason is None, reason or "")
        options = ("confined", "network_policy=none", "network_policy=allowlist")
        confinement = dict.fromkeys(options, confined)
        return process_capabilities(cls.name) | {"environment": YES} | confinement

    def command(self, plain: list[str]) -> list[str]:
        """See LocalProcess."""
        if not self.confined:
            return plain
        assert self.folders is not None
        # not the base folder itself: what is written there is the host's
        own = [self.folders.home, self.folders.run, self.folders.tmp, self.folders.venv]
        # no env: it is taken from the child's environment, so that no value is in a process list
        return wrap(plain, writable=own, readable=readable_by_installs(), env=None)

    def supervisor_options(self) -> dict[str, Any]:
        """See LocalProcess."""
        return {"seccomp": self.confined}

    def interpreter(self, machine: Machine, name: str) -> Channel:
        """See Variant."""
        from ..channels.kernel_process import connect  # with jupyter_client and zmq

        assert self.folders is not None
        if name in machine.kept and name not in self._kernels:
            raise SandboxStartError(f"the kernel of context {name!r} cannot be reached any more")
        if name not in machine.kept:
            # a fresh path each time: the client of a dead kernel would reconnect to its successor
            path = f"{self.folders.run}/{uuid.uuid4().hex[:8]}"
            info: dict[str, Any] = {"transport": "ipc", "ip": path, "key": uuid.uuid4().hex}
            info |= {"signature_scheme": "hmac-sha256", "kernel_name": OURS}
            self._kernels[name] = info | {port: number for number, port in enumerate(PORTS, 1)}
        return connect(machine, name, self._kernels[name])

    def record(self) -> dict[str, Any]:
        """See Detachable."""
        return super().record() | {"kernels": self._kernels}

    def adopt(self, record: Mapping[str, Any]) -> Pipe:
        """See Detachable."""
        self._kernels = {name: dict(info) for name, info in record["kernels"].items()}
        return super().adopt(record)
