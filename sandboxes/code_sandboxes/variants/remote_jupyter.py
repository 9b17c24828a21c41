"""A Jupyter Server that already runs: a kernel for the supervisor, and one for each context."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from ..config import SandboxConfig
from ..errors import (
    ConfigurationError,
    MissingExtraError,
    SandboxError,
    SandboxGoneError,
    SandboxNotFoundError,
    SandboxStartError,
)
from ..kernel import Capability, Channel, Pipe
from ..machine import Machine
from ..wire import IN_A_KERNEL, inject
from .remote_kernels import Kernels, check_environment, silence
from .remote_tokens import remember, still_there, token_for, why_not_adopted
from .served_options import YES, extra_missing, server_capabilities

if TYPE_CHECKING:
    from ..channels.comm import CommPipe
    from ..channels.jupyter_server import Server
    from ..channels.remote_client import RemoteClient


class RemoteJupyter:
    """Kernels of a Jupyter Server, or Kernel Gateway, that somebody else runs.

    The code has the rights that the server's kernels have; between two sandboxes on one server
    there is no boundary. Kernels that we did not start are left alone.

    A connection that is cut is made again within 20 s, and nothing is lost by it: the code goes
    on meanwhile. A server that was restarted or has ended a kernel is told apart at once.

    The token is never recorded: `Sandbox.from_id` takes this process's, or ``JUPYTER_TOKEN``'s.

    What it cannot: where the server does not describe itself beside its kernels' connection files
    (a gateway, a Hub), a sandbox that ends without its owner (its lifetime is over, its owner was
    killed) leaves idle kernels, since only the server can end them: have it cull those. A server
    that culls kernels without connections may end a detached sandbox before its time. Where the
    supervisor and the owner were killed, its home stays. Kernels on several machines are refused.

    Args:
        config: the whole configuration, with `server_url` and `token`.
        id: the sandbox's id.

    Raises:
        MissingExtraError: jupyter-kernel-client is not installed.
        ConfigurationError: there is no `server_url`.

    Example:
        >>> Sandbox.create("remote-jupyter", server_url=url, token=token)  # doctest: +SKIP
    """

    name: ClassVar[str] = "remote-jupyter"
    extra: ClassVar[str] = "server"

    def __init__(self, config: SandboxConfig, id: str) -> None:
        if why := extra_missing(self.name, self.extra, "jupyter_kernel_client"):
            raise MissingExtraError(why)
        self.config, self._id = config, id
        self.adopted = False  # whether it is a former owner's
        self._server: Server | None = None
        self._kernels: Kernels | None = None
        self._supervisor = ""  # its kernel
        self._contexts: dict[str, str] = {}  # the kernel of each
        self._pipe: CommPipe | None = None

    @classmethod
    def capabilities(cls) -> Mapping[str, Capability]:
        """See Variant."""
        able = server_capabilities(cls.name) | {"server_url": YES, "token": YES}
        if why := extra_missing(cls.name, cls.extra, "jupyter_kernel_client"):
            return dict.fromkeys(able, Capability(False, why))
        return able

    @property
    def refused(self) -> bool:
        """Whether it was to be adopted, and belongs to another owner: it is not ours to end."""
        return self.adopted and (self._pipe is None or not self._pipe.answered)

    def address(self) -> tuple[str, str]:
        """The server's address and token."""
        url, token = self.config.server_url, self.config.token
        if url is None:
            raise ConfigurationError(f"{self.name} needs server_url, and most servers a token")
        if token is not None:
            remember(url, token)
        return url, token or (token_for(url) if self.adopted else "")

    def _connect(self) -> Server:
        from ..channels.jupyter_server import Server

        return Server(*self.address())

    def _kernel_name(self) -> str | None:
        """The kernelspec of the interpreters; None for the server's default."""
        return self.config.environment

    def _options(self) -> dict[str, Any]:
        """What the supervisor is told."""
        return {"id": self._id, "kernel": self._supervisor, "silence": silence()} | {
            "working_dir": self.config.working_dir,
            "env": dict(self.config.env_vars),
            "max_lifetime": self.config.max_lifetime,
        }

    def provision(self) -> Pipe:
        """See Variant."""
        from ..channels.remote_kernel import run_silently  # with jupyter_kernel_client

        self._server = self._connect()
        try:
            self._server.started = self._server.read_started()
            check_environment(self._server, self._kernel_name())
            self._kernels = Kernels(self._server, self._kernel_name(), self.config.env_vars)
            self._kernels.prepare_spare()
            self._supervisor, client = self._kernels.ready()
            run_silently(client, inject("comm", IN_A_KERNEL, self._options()))
            return self._open_pipe(client)
        except (SandboxGoneError, OSError) as error:
            self.stop()
            raise SandboxStartError(f"the sandbox did not start: {error}") from error
        except BaseException:
            self.stop()
            raise

    def _open_pipe(self, client: RemoteClient) -> Pipe:
        from ..channels.comm import CommPipe

        assert self._kernels is not None
        why_lost = partial(self._why_lost, self._supervisor)
        self._pipe = CommPipe(client, why_lost, self._kernels.drop)
        return self._pipe

    def _why_lost(self, kernel: str) -> str:
        """Why the connection to a kernel has ended; "" where another one may be had."""
        assert self._server is not None
        why, whose = self._server.why_lost(kernel), "supervisor's " * (kernel == self._supervisor)
        return why.replace("ended the kernel", f"ended the {whose}kernel")

    def interpreter(self, machine: Machine, name: str) -> Channel:
        """See Variant."""
        from ..channels.remote import RemoteChannel
        from ..channels.remote_kernel import RemoteKernel, find_kept, move_in

        assert self._kernels is not None
        self._kernels.report_to(machine)
        kept, raw = name in machine.kept, None
        if kept:
            machine.kept.remove(name)
            pid, told = find_kept(machine, name)
            kernel = self._kernels.add(self._contexts.get(name) or told)
            client = self._kernels.connect(kernel)
        else:
            kernel, client = self._kernels.take()
        try:
            if not kept:
                pid, *raw = move_in(machine, client)
            steering = RemoteKernel(machine, kernel, pid, self._kernels.delete)
            channel = RemoteChannel(client, steering, partial(self._why_lost, kernel), adopted=kept)
            steering.attach(channel, name, raw)
        except (SandboxError, ValueError, KeyError, OSError):
            client.stop_channels()
            self._kernels.delete(kernel)
            raise
        self._contexts[name] = kernel
        return channel

    def diagnosis(self) -> str:
        """See Variant."""
        return self._pipe.why if self._pipe is not None else ""

    def stop(self) -> None:
        """See Variant."""
        if self._kernels is None or self._server is None:
            return
        if self.refused:
            self._kernels.let_go()
            return
        if self._pipe is not None and not self._pipe.clean:
            from ..channels.remote_kernel import finish

            finish(self._server, self._supervisor, self._id)
        self._kernels.end()

    def abandon(self) -> None:
        """The machine has ended, with the server and all kernels."""
        if self._kernels is not None:
            self._kernels.clear()
            self._kernels.let_go()

    def detach_at(self) -> str:
        """See Detachable: it listens to whoever opens a comm."""
        if self._pipe is not None:
            self._pipe.detached = True
        return ""

    def let_go(self) -> None:
        """See Detachable."""
        if self._kernels is not None:
            self._kernels.let_go()

    def record(self) -> dict[str, Any]:
        """See Detachable; without the token."""
        known = self._kernels.known() if self._kernels is not None else []
        return {"supervisor": self._supervisor, "contexts": dict(self._contexts), "all": known}

    def adopt(self, record: Mapping[str, Any]) -> Pipe:
        """See Detachable.

        Raises:
            SandboxNotFoundError: the server has ended it.
            SandboxStartError: the server cannot be reached, or refuses the token.
        """
        from ..channels.remote_kernel import check_supervisor, finish

        self.adopted = True
        self._server = self._connect()
        self._kernels = Kernels(self._server, self._kernel_name(), self.config.env_vars)
        self._supervisor = self._kernels.add(str(record["supervisor"]))
        for kernel in record.get("all", ()):
            self._kernels.add(str(kernel))
        self._contexts = dict(record.get("contexts", {}))  # of others, the supervisor is asked
        try:
            self._server.started = self._server.read_started()
            self._server.ask("GET", f"/api/kernels/{self._supervisor}")
            client = self._kernels.connect(self._supervisor)
            client.await_ready()
            check_supervisor(client)
            return self._open_pipe(client)
        except (SandboxError, OSError) as error:
            why = why_not_adopted(self._id, error)
            if isinstance(why, SandboxNotFoundError):
                finish(self._server, self._supervisor, self._id)
                self._kernels.end()  # what is left of it
            self._kernels.let_go()
            raise why from error

    @classmethod
    def among(cls, ids: Collection[str]) -> set[str]:
        """See Listed: asks the servers of detached ones, where it has a token for them."""
        return still_there(ids)
