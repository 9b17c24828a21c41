"""A container: the supervisor is its PID 1, a Jupyter Server and the kernels are its children."""

from __future__ import annotations

import secrets
import time
import uuid
from collections.abc import Collection, Mapping
from contextlib import suppress
from typing import Any, ClassVar

from ..config import OFFLINE, SandboxConfig
from ..errors import (
    SandboxGoneError,
    SandboxNotFoundError,
    SandboxStartError,
    UnsupportedError,
)
from ..inside.stream import StreamLost
from ..kernel import Capability, Channel, Pipe
from ..machine import Machine
from ..text import printable
from ..wire import KERNEL, SUPERVISOR, boot, source, start_message
from .attached import AttachPipe
from .container import (
    DEFAULT_PATH,
    HOME,
    PLACES,
    ROOTS,
    UID,
    USER,
    WORKSPACE,
    arguments,
    image_environment,
    sizes,
    starting_directory,
    ways_out,
)
from .container_probe import missing_image, probe, still_running
from .engine import IMAGE, Engine

PORTS = ("shell_port", "iopub_port", "stdin_port", "control_port", "hb_port")
KERNELS, DOORSTEP = f"{HOME}/.kernels", f"{HOME}/.supervisor"
MODULES = ("seccomp", *KERNEL, "server")


class LocalDocker:
    """A container without privileges; by default with a network, by `network_policy` without.

    What can be written to is in memory: `/workspace` (where code starts), `/data`, `/remote`,
    `/tmp` and the user's own directory, together `disk` large, or half of the memory (2 GB).
    With `writable_root=True` the rest of the file system can be changed too, by
    `install_system_packages`, which root then does: that gives up the read-only system and any
    bound on what it takes of the host's disk, and gives root in the container, which code is not,
    six capabilities. `gpu` is ``"all"`` or a number: what is asked of the engine is tested, a GPU
    was not at hand.

    Args:
        config: the whole configuration; what cannot be honoured was refused before.
        id: the sandbox's id.
    """

    name: ClassVar[str] = "local-docker"
    isolation = "container"
    most_kept = 0  # see below

    def __init__(self, config: SandboxConfig, id: str) -> None:
        self.config, self._id = config, id
        self._cwd = starting_directory(config)
        self.most_kept = 2 * sizes(config)[1]  # files with holes have more than they take
        self._engine = Engine()
        self._container = ""
        self._adopted = self._kept = False  # whether a former owner started it, and its server
        self._pipe: AttachPipe | None = None
        self._server: Any = None  # KernelServer, whose imports take 0.1 s
        self._place = self._new_place()
        self._kernels: dict[str, dict[str, Any]] = {}  # how each is connected to

    @classmethod
    def capabilities(cls) -> Mapping[str, Capability]:
        """See Variant."""
        return probe()

    @classmethod
    def among(cls, ids: Collection[str]) -> set[str]:
        """See Listed."""
        return still_running(ids)

    # starting ---------------------------------------------------------------------------
    def provision(self) -> Pipe:
        """See Variant."""
        try:
            return self._provision()
        except BaseException as error:
            self.stop()
            if isinstance(error, SandboxGoneError | OSError | StreamLost):
                raise SandboxStartError(f"the sandbox did not start: {error}") from error
            raise

    def _provision(self) -> Pipe:
        engine, config = self._engine, self.config
        name = config.environment or IMAGE
        image = engine.image(name)
        if image is None:
            raise UnsupportedError(missing_image(name))
        if config.runtime and config.runtime not in (known := engine.runtimes()):
            raise UnsupportedError(
                f"the container engine has no runtime {config.runtime!r}; it has: "
                + ", ".join(sorted(known))
            )
        engine.sweep()
        if config.network_policy not in OFFLINE:
            engine.make_network()
        expires = time.time() + config.max_lifetime if config.max_lifetime else None
        command = ["python", "-c", boot()]
        self._container = engine.create(
            arguments(config, self._id, command, image, expires), self._id
        )
        self._pipe = engine.start(self._container)
        own = {n: v for n, v in config.env_vars.items() if not n.startswith("PYTHON")}
        options = {
            "home": WORKSPACE,
            "cwd": self._cwd,
            "folders": [KERNELS],
            "places": PLACES,
            "rooted": False,
            "env": own,
            "own_packages": True,
            "writable": list(ROOTS),
            "seccomp": True,
            "become": UID if config.writable_root else None,
            "fork": True,
            "preload": ["_code_sandboxes.preloaded"],
            "max_lifetime": config.max_lifetime,
        }
        modules = (*SUPERVISOR, *MODULES)
        self._pipe.write(start_message("start", modules, options, same_python=False))
        return self._pipe

    def diagnosis(self) -> str:
        """See Variant."""
        said = self._pipe.errors.decode("utf-8", "replace").strip() if self._pipe else ""
        return printable(said[-2000:])

    # interpreters -----------------------------------------------------------------------
    @staticmethod
    def _new_place() -> dict[str, str]:
        socket = f"{HOME}/.server-{uuid.uuid4().hex[:8]}"
        return {"socket": socket, "kernels": KERNELS, "token": secrets.token_hex(16)}

    def interpreter(self, machine: Machine, name: str) -> Channel:
        """See Variant."""
        if name in machine.kept and name not in self._kernels:
            raise SandboxStartError(f"the kernel of context {name!r} cannot be reached any more")
        server = self._serving(machine)
        if name not in machine.kept:
            self._forget(machine, name)
            # a fresh path each time: the client of a dead kernel would reconnect to its successor
            unique = uuid.uuid4().hex[:12]
            info: dict[str, Any] = {"transport": "ipc", "ip": f"{KERNELS}/{unique}"}
            info |= {"key": uuid.uuid4().hex, "signature_scheme": "hmac-sha256"}
            info |= {port: number for number, port in enumerate(PORTS, 1)}
            self._kernels[name] = info | {"kernel_name": unique}
        channel: Channel = server.connect(machine, name, self._kernels[name])
        return channel

    def _serving(self, machine: Machine) -> Any:
        from ..channels.served import KernelServer  # with jupyter_kernel_client

        if self._server is not None and self._server.ended:  # code inside can end it
            self._server.close()
            self._server, self._place = None, self._new_place()
        if self._server is None:
            kept, self._kept = self._kept, False
            self._server = KernelServer(machine, self._place, kept=kept)
        return self._server

    def _forget(self, machine: Machine, name: str) -> None:
        """Take a dead kernel's files away: the server knows kernels by them."""
        if (info := self._kernels.pop(name, None)) is not None:
            for path in (f"{info['ip']}.json", *(f"{info['ip']}-{n}" for n in range(1, 6))):
                with suppress(SandboxGoneError):
                    machine.call("file", verb="remove", path=path)

    # the end ----------------------------------------------------------------------------
    def stop(self) -> None:
        """See Variant."""
        if self._server is not None:
            self._server.close()
        if self._pipe is not None:
            self._pipe.close()
        # what another owner has hangs up without a word: that one is not ours to end
        if self._container and not (self._adopted and self._pipe and not self._pipe.heard):
            self._engine.remove(self._container)
        if self._pipe is not None:
            self._pipe.free()
        self._engine.close()

    # Detachable -------------------------------------------------------------------------
    def detach_at(self) -> str:
        """See Detachable."""
        self._engine.mark_detached(self._container, self._id)
        return DOORSTEP

    def let_go(self) -> None:
        """See Detachable."""
        if self._server is not None:
            self._server.close()
        if self._pipe is not None:
            self._pipe.free()
        self._engine.close()

    def record(self) -> dict[str, Any]:
        """See Detachable."""
        place = self._place if self._server is not None else None
        return {"container": self._container, "kernels": self._kernels, "server": place}

    def adopt(self, record: Mapping[str, Any]) -> Pipe:
        """See Detachable."""
        self._container = str(record["container"])
        if not self._engine.runs(self._container):
            self._engine.close()
            raise SandboxNotFoundError(f"sandbox {self._id!r} has ended")
        self._kernels = {name: dict(info) for name, info in record["kernels"].items()}
        if record["server"] is not None:
            self._place, self._kept = dict(record["server"]), True
        self._adopted = True
        argv = ["python", "-I", "-c", source("bridge"), DOORSTEP]
        self._pipe = self._engine.execute(self._container, argv, USER)
        return self._pipe

    # Administered -----------------------------------------------------------------------
    def administrator(self) -> Pipe:
        """See Administered."""
        if not self.config.writable_root:
            raise UnsupportedError(
                "the system of this sandbox is read-only; create it with writable_root=True"
            )
        image = self._engine.image(self.config.environment or IMAGE) or {}
        path = image_environment(image).get("PATH", DEFAULT_PATH)
        # nothing of the user's: neither programs before the system's nor variables
        own = {"PATH": path, "HOME": "/root", "LANG": "C.UTF-8", **ways_out(self.config)}
        clean = ["env", "-i", *(f"{name}={value}" for name, value in own.items())]
        argv = [*clean, "python", "-I", "-c", boot()]
        pipe = self._engine.execute(self._container, argv, "0:0", {"PATH": path})
        options = {"home": "/", "cwd": "/", "rooted": False, "seccomp": True}
        modules = (*SUPERVISOR, "seccomp")
        pipe.write(start_message("start", modules, options, same_python=False))
        return pipe
