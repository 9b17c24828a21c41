"""A runtime in Datalayer's cloud: made, reached, paused and ended by the cloud's own service."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

from ..config import SandboxConfig
from ..errors import (
    CloudError,
    MissingExtraError,
    SandboxGoneError,
    SandboxInUseError,
    SandboxNotFoundError,
    SandboxStartError,
)
from ..kernel import Capability, Pipe
from .datalayer import keeping
from .datalayer.account import OfAnAccount
from .datalayer.failures import api_key, key_missing
from .remote_jupyter import RemoteJupyter
from .served_options import YES, extra_missing, server_capabilities

if TYPE_CHECKING:
    from ..channels.jupyter_server import Server
    from .datalayer.fields import Runtime
    from .datalayer.ingress import Ingress
    from .datalayer.making import Making

LIFETIME = 600.0  # seconds that are reserved where nothing was said
ASK_SECONDS = 3.0  # between two questions to the cloud while a connection is away
YOUNG = 60.0  # seconds in which a runtime may have no supervisor yet
READY_SECONDS = 120.0  # for a new runtime's server to answer
ADOPT_SECONDS = 20.0  # and for one that was left
AS_ROOT = 'if [ "$(id -u)" = 0 ]; then exec "$@"; fi; exec sudo -n "$@"'
SESSION = "code-sandboxes-supervisor"  # by it, its kernel is found from other machines
EXTRA = ("datalayer", "datalayer_core", "jupyter_kernel_client")


class DatalayerRuntime(OfAnAccount, RemoteJupyter):
    """A virtual machine in the cloud of Datalayer, made for this sandbox and ended with it.

    It costs credits from its start to its end. It ends with the sandbox; where this process
    cannot end it any more (kill -9, a machine without power), it ends when its reservation is
    over: `max_lifetime`, 600 s if none was given. Everything on it is the sandbox's own: nothing
    isolates the code from the rest of that machine, and the network is the cloud's.

    Args:
        config: the whole configuration; what cannot be honoured was refused before.
        id: the sandbox's id.

    Raises:
        MissingExtraError: datalayer-core is not installed.
        CredentialsError: there is no API key.
    """

    name: ClassVar[str] = "datalayer-runtime"
    extra: ClassVar[str] = "datalayer"

    def __init__(self, config: SandboxConfig, id: str) -> None:
        if why := extra_missing(self.name, *EXTRA):
            raise MissingExtraError(why)
        api_key()
        lifetime = LIFETIME if config.max_lifetime is None else config.max_lifetime
        super().__init__(replace(config, max_lifetime=lifetime), id)
        self._making: Making | None = None
        self._ingress: Ingress | None = None
        self._ends = 0.0  # on time.monotonic()
        self._asked = 0.0  # the cloud, whether there is a runtime
        self._left = 0.0  # while it is paused
        self._waits = READY_SECONDS

    @classmethod
    def capabilities(cls) -> Mapping[str, Capability]:
        """See Variant."""
        size = Capability(
            False, "a runtime is as large as its environment: choose one by environment= or gpu="
        )
        network = Capability(False, "a runtime has the network of the cloud; nothing confines it")
        kept = ("gpu", "snapshot_name", "snapshots", "pause", "install_system_packages")
        able = server_capabilities(cls.name) | dict.fromkeys(kept, YES)
        able |= dict.fromkeys(("memory_limit", "cpu_limit", "disk_limit", "confined"), size)
        able |= {"network_policy=none": network, "network_policy=allowlist": network}
        if why := extra_missing(cls.name, *EXTRA):
            return dict.fromkeys(able, Capability(False, why))
        if why := key_missing():
            able["create"] = Capability(False, why)
        return able

    # the runtime ------------------------------------------------------------------------
    def provision(self) -> Pipe:
        """See Variant."""
        from .datalayer.making import Making, order

        assert self.config.max_lifetime is not None
        body = order(self._cloud(), self.config, self.config.max_lifetime)
        self._making = Making(self._cloud(), self._id)
        began = time.monotonic()
        try:
            self._runtime = self._making.make(body)
            sure, self._making.doubtful = not self._making.doubtful, True  # it may be another one
            reserved = self._runtime.reserved or self.config.max_lifetime
            self._ends = began + min(self.config.max_lifetime, reserved)  # it began no earlier
            pipe = super().provision()
            self._announce()
            self._making.doubtful = not sure
        except BaseException as error:
            if self._pipe is not None:
                self._pipe.close()
            try:
                self.stop()
            except CloudError as trouble:
                error.add_note(f"The runtime is still there, and costs credits: {trouble}")
            raise
        return pipe

    def _announce(self) -> None:
        """Let other machines find the supervisor."""
        assert self._server is not None
        kernel = {"path": SESSION, "name": SESSION, "type": "console"}
        try:
            self._server.ask("POST", "/api/sessions", kernel | {"kernel": {"id": self._supervisor}})
        except SandboxGoneError as error:
            raise SandboxStartError(f"the sandbox did not start: {error}") from error

    def time_left(self) -> float:
        """See Hosted."""
        return max(0.1, self._ends - time.monotonic())

    # RemoteJupyter ----------------------------------------------------------------------
    def address(self) -> tuple[str, str]:
        """The runtime's own server's."""
        assert self._runtime is not None
        return self._runtime.address()

    def _connect(self) -> Server:
        from .datalayer.ingress import SETTLE_SECONDS, Ingress

        self._ingress = Ingress(*self.address(), self._waits)
        self._ingress.await_ready()
        self._ingress.settle(SETTLE_SECONDS)  # one that answers may still hesitate
        return self._ingress

    def _kernel_name(self) -> str | None:
        return None  # an environment is the cloud's, not a kernel of its server

    def _options(self) -> dict[str, Any]:
        return super()._options() | {"max_lifetime": self.time_left(), "own_machine": True}

    # OwnSystem --------------------------------------------------------------------------
    def as_root(self, argv: Sequence[str]) -> list[str]:
        """See OwnSystem."""
        return ["/bin/sh", "-c", AS_ROOT, "as-root", *argv]

    # the end ----------------------------------------------------------------------------
    def stop(self) -> None:
        """See Variant.

        Raises:
            CloudError: the runtime could not be ended; it ends when its reservation is over.
        """
        if self._ingress is not None:
            self._ingress.settle()
        if self._making is None or self.refused:
            super().stop()
            return
        try:
            self._making.end()
        finally:
            self.abandon()

    def _why_lost(self, kernel: str) -> str:
        """See RemoteJupyter; the cloud knows whether there is a runtime at all."""
        why, now = super()._why_lost(kernel), time.monotonic()
        if self._runtime is not None and (why or now - self._asked > ASK_SECONDS):
            self._asked = now
            with suppress(CloudError):
                if self._cloud().runtime(self._runtime.name, tries=1) is None:
                    return "the cloud has ended the runtime"
        return why

    # Detachable -------------------------------------------------------------------------
    def adopt(self, record: Mapping[str, Any]) -> Pipe:
        """See Detachable. An orphan that is found on the way is ended."""
        from .datalayer.making import Making

        cloud, self._waits = self._cloud(), ADOPT_SECONDS
        found = [each for each in cloud.runtimes() if each.sandbox == self._id]
        if not found:
            raise SandboxNotFoundError(f"sandbox {self._id!r} has ended")
        self._runtime = runtime = found[0]
        try:
            pipe = super().adopt(record if "supervisor" in record else self._search())
        except SandboxNotFoundError:
            self._bury(runtime)
            raise
        until = runtime.expires or time.time() + LIFETIME
        self._ends = time.monotonic() + (self._left or until - time.time())
        if self._making is not None:  # it was paused
            self._making.let_go()
        self._making = Making(cloud, self._id, runtime, lambda: not self.refused)
        return pipe

    def let_go(self) -> None:
        """See Detachable."""
        super().let_go()
        if self._making is not None:
            self._making.let_go()

    def _search(self) -> dict[str, Any]:
        """What `record` would have told, from the runtime's own server."""
        for session in self._connect().ask("GET", "/api/sessions") or ():
            if isinstance(session, dict) and session.get("path") == SESSION:
                if isinstance(kernel := session.get("kernel"), dict):
                    return {"supervisor": str(kernel.get("id"))}
        raise SandboxNotFoundError(f"sandbox {self._id!r} has ended")

    def _bury(self, runtime: Runtime) -> None:
        if time.time() - (runtime.started or 0.0) < YOUNG:
            raise SandboxInUseError(
                f"sandbox {self._id!r} is being made, or its owner has just died; see in a minute"
            )
        self._cloud().remove(runtime.name)

    # Pausable ---------------------------------------------------------------------------
    def pause(self) -> None:
        """See Pausable."""
        assert self._runtime is not None and self._making is not None
        self._making.hold()
        self._left = self.time_left()
        keeping.pause(self._cloud(), self._runtime.name)

    def resume(self) -> None:
        """See Pausable."""
        assert self._runtime is not None
        self._cloud().resume(self._runtime.name)
