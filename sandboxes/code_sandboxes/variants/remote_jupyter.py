"""A Jupyter Server that already runs: a kernel for the supervisor, and one for each context."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from concurrent.futures import Future
from contextlib import suppress
from typing import TYPE_CHECKING, Any, ClassVar

from ..config import SandboxConfig
from ..errors import (
    ConfigurationError,
    MissingExtraError,
    SandboxError,
    SandboxGoneError,
    SandboxStartError,
    UnsupportedError,
)
from ..kernel import Capability, Channel, Pipe
from ..machine import Machine
from ..wire import FOREIGN, IN_A_KERNEL, inject
from .served_options import YES, extra_missing, server_capabilities

if TYPE_CHECKING:
    from ..channels.comm import CommPipe
    from ..channels.jupyter_server import RemoteClient, Server

PLACE_SECONDS = 60.0
FINISH = "__import__('sys').modules['_code_sandboxes.comm'].CommSupervisor.here.finish(False)"


class RemoteJupyter:
    """Kernels of a Jupyter Server that somebody else runs.

    The code has the rights that the server's kernels have; between two sandboxes on one server
    there is no boundary. Kernels that we did not start are left alone.

    Args:
        config: the whole configuration, with `server_url` and `token`.
        id: the sandbox's id.

    Raises:
        MissingExtraError: jupyter-kernel-client is not installed.
        ConfigurationError: there is no `server_url`.
    """

    name: ClassVar[str] = "remote-jupyter"
    extra: ClassVar[str] = "server"

    def __init__(self, config: SandboxConfig, id: str) -> None:
        if why := extra_missing(self.name, self.extra, "jupyter_kernel_client"):
            raise MissingExtraError(why)
        self.config, self._id = config, id
        self._server: Server | None = None
        self._started = ""  # when the server was
        self._supervisor = ""  # its kernel
        self._kernels: set[str] = set()  # that we have started, and not yet ended
        self._spare: Future[tuple[str, RemoteClient]] | None = None  # for the first interpreter
        self._deleting: list[threading.Thread] = []
        self._client: RemoteClient | None = None
        self._pipe: CommPipe | None = None

    @classmethod
    def capabilities(cls) -> Mapping[str, Capability]:
        """See Variant."""
        able = server_capabilities(cls.name) | {"server_url": YES, "token": YES}
        if why := extra_missing(cls.name, cls.extra, "jupyter_kernel_client"):
            return dict.fromkeys(able, Capability(False, why))
        return able

    # the server -------------------------------------------------------------------------
    def address(self) -> tuple[str, str]:
        """The server's address and token."""
        if self.config.server_url is None:
            raise ConfigurationError(f"{self.name} needs server_url, and most servers a token")
        return self.config.server_url, self.config.token or ""

    def _connect(self) -> Server:
        from ..channels.jupyter_server import Server

        return Server(*self.address())

    def _kernel_name(self) -> str | None:
        """The kernelspec of the interpreters; None for the server's default."""
        return self.config.environment

    def _options(self) -> dict[str, Any]:
        """What the supervisor is told."""
        return {
            "id": self._id,
            "kernel": self._supervisor,
            "working_dir": self.config.working_dir,
            "env": dict(self.config.env_vars),
            "max_lifetime": self.config.max_lifetime,
        }

    def provision(self) -> Pipe:
        """See Variant."""
        from ..channels.comm import CommPipe  # with jupyter_kernel_client
        from ..channels.remote import run_silently

        self._server = self._connect()
        try:
            self._check_environment()
            self._spare = Future()
            threading.Thread(target=self._prepare_spare, args=(self._spare,), daemon=True).start()
            self._supervisor, self._client = self._ready_kernel()
            run_silently(self._client, inject("comm", IN_A_KERNEL, self._options()))
            self._pipe = CommPipe(self._client, self._why_lost)
        except (SandboxGoneError, OSError) as error:
            self.stop()
            raise SandboxStartError(f"the sandbox did not start: {error}") from error
        except BaseException:
            self.stop()
            raise
        return self._pipe

    def _check_environment(self) -> None:
        assert self._server is not None
        self._started = str(self._server.ask("GET", "/api/status").get("started"))
        known = self._server.ask("GET", "/api/kernelspecs")
        specs: dict[str, Any] = known["kernelspecs"]
        wanted = self._kernel_name() or str(known["default"])
        if wanted not in specs:
            there = ", ".join(sorted(specs))
            raise UnsupportedError(f"no environment {wanted!r}: the server has {there}")
        language = specs[wanted].get("spec", {}).get("language")
        if str(language).lower() != "python":
            raise UnsupportedError(f"environment {wanted!r} is a kernel for {language}, not Python")

    def _start_kernel(self) -> str:
        assert self._server is not None
        wanted = {"name": name} if (name := self._kernel_name()) else {}
        kernel = str(self._server.ask("POST", "/api/kernels", wanted)["id"])
        if not kernel.replace("-", "").isalnum():  # it becomes part of an address
            raise SandboxStartError("the server sent what is no id of a kernel")
        self._kernels.add(kernel)
        return kernel

    def _ready_kernel(self) -> tuple[str, RemoteClient]:
        """A fresh kernel that answers, and the connection to it."""
        assert self._server is not None
        kernel, client = self._start_kernel(), None
        try:
            client = self._server.client(kernel)
            client.await_ready()
        except (SandboxError, OSError):
            if client is not None:
                client.stop_channels()
            self._delete(kernel)
            raise
        return kernel, client

    def _prepare_spare(self, spare: Future[tuple[str, RemoteClient]]) -> None:
        try:
            spare.set_result(self._ready_kernel())
        except (SandboxError, OSError) as error:
            spare.set_exception(error)

    def _delete(self, kernel: str) -> None:
        """Have the server end a kernel, in the background: it may take seconds over it."""
        if kernel in self._kernels:
            self._kernels.discard(kernel)
            thread = threading.Thread(target=self._delete_now, args=(kernel,), daemon=True)
            self._deleting = [t for t in self._deleting if t.is_alive()] + [thread]
            thread.start()

    def _delete_now(self, kernel: str) -> None:
        assert self._server is not None
        try:
            self._server.ask("DELETE", f"/api/kernels/{kernel}")
        except SandboxGoneError:
            return  # it is gone already, or the server is

    def _why_lost(self) -> str:
        """Why the connection to the supervisor's kernel has ended."""
        assert self._server is not None
        try:
            started = str(self._server.ask("GET", "/api/status").get("started"))
            if started != self._started:
                return f"the server at {self._server.url} was restarted"
            self._server.ask("GET", f"/api/kernels/{self._supervisor}")
        except SandboxGoneError as error:
            if "HTTP 404" in str(error):
                return "the server has ended the supervisor's kernel"
            return str(error)
        return "the connection to the server was lost"

    # Variant ----------------------------------------------------------------------------
    def interpreter(self, machine: Machine, name: str) -> Channel:
        """See Variant."""
        from ..channels.remote import RemoteChannel, RemoteKernel, run_silently

        spare, self._spare = self._spare, None
        kernel, client = spare.result() if spare else self._ready_kernel()
        try:
            place = machine.call("place").result(PLACE_SECONDS)
            options = {
                **{name: place[name] for name in ("base", "cwd", "env", "python")},
                "machine_name": place["machine"],
                "own": place["site"],
            }
            code = inject("foreign", FOREIGN, options)
            pid = run_silently(client, code, "__import__('os').getpid()")
            steering = RemoteKernel(machine, kernel, int(pid), self._delete)
            channel = RemoteChannel(client, steering)
            steering.attach(channel)
        except (SandboxError, ValueError, KeyError, OSError):
            client.stop_channels()
            self._delete(kernel)
            raise
        return channel

    def _finish(self) -> None:
        """Have the supervisor end everything, though the connection to it was lost."""
        from ..channels.remote import run_silently

        assert self._server is not None
        with suppress(SandboxError, OSError):
            self._server.ask("GET", f"/api/kernels/{self._supervisor}")
            again = self._server.client(self._supervisor)
            try:
                run_silently(again, FINISH)
            finally:
                again.stop_channels()

    def diagnosis(self) -> str:
        """See Variant."""
        return self._pipe.why if self._pipe is not None else ""

    def stop(self) -> None:
        """See Variant."""
        if self._spare is not None:
            with suppress(SandboxError, OSError):
                self._spare.result()[1].stop_channels()
        if self._pipe is not None and not self._pipe.clean:
            self._finish()
        for kernel in list(self._kernels):
            self._delete(kernel)
        for thread in self._deleting:
            thread.join()
        if self._client is not None:
            self._client.stop_channels()
