"""The kernels of one sandbox on a Jupyter Server: started, connected to, deleted."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from concurrent.futures import Future
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from ..errors import SandboxError, SandboxGoneError, SandboxStartError, UnsupportedError

if TYPE_CHECKING:
    from ..channels.jupyter_server import Server
    from ..channels.remote_client import RemoteClient
    from ..machine import Machine

    Ready = tuple[str, RemoteClient]  # a kernel's id, and a connection to it

LAUNCH = "KERNEL_"
PAUSES = (0.5, 1.0, 2.0, 4.0)  # seconds between two tries to delete a kernel


class Kernels:
    """Those that we have started, or a former owner, and not yet ended.

    Args:
        server: where.
        spec: the name of the kernelspec; None for the server's default.
        env: the caller's variables. A gateway takes those for its kernels' launch from
            ``KERNEL_...``; a Jupyter Server pays them no heed.
    """

    def __init__(self, server: Server, spec: str | None, env: Mapping[str, str]) -> None:
        self._server, self._wanted = server, dict[str, Any]()
        if spec:
            self._wanted["name"] = spec
        if launch := {name: env[name] for name in env if name.startswith(LAUNCH)}:
            self._wanted["env"] = launch
        self._ids: set[str] = set()
        self._clients: list[RemoteClient] = []
        self._starting: list[Future[Ready]] = []
        self._spare: Future[Ready] | None = None
        self._deleting: list[threading.Thread] = []
        self._machine: Machine | None = None

    def report_to(self, machine: Machine) -> None:
        """Have the supervisor know which there are: it ends them if this process is killed."""
        if self._machine is None:
            self._machine = machine
            for kernel in self.known():
                self._report("started", kernel)

    def _report(self, what: str, kernel: str) -> None:
        if self._machine is not None:
            with suppress(SandboxGoneError):
                self._machine.call(what, kernel=kernel)

    def add(self, kernel: str) -> str:
        """One that is there.

        Raises:
            SandboxStartError: that is no id.
        """
        if not kernel.replace("-", "").isalnum():  # it becomes part of an address
            raise SandboxStartError("the server sent what is no id of a kernel")
        self._ids.add(kernel)
        self._report("started", kernel)
        return kernel

    def known(self) -> list[str]:
        """The ids of all of them."""
        return sorted(self._ids)

    def connect(self, kernel: str) -> RemoteClient:
        """A connection to one of them.

        Raises:
            SandboxStartError: it cannot be had.
        """
        client = self._server.client(kernel)
        self._clients = [c for c in self._clients if not c.stopping] + [client]
        return client

    def ready(self) -> Ready:
        """A fresh kernel that answers.

        Raises:
            SandboxStartError, SandboxGoneError: there is none to be had.
        """
        return self._result(self._start())

    def _start(self) -> Future[Ready]:
        """Have one started by a thread: an interrupt here must not lose what the server answers."""
        starting: Future[Ready] = Future()
        self._starting.append(starting)

        def start() -> None:
            try:
                starting.set_result(self._started())
            except BaseException as error:  # noqa: BLE001 - it belongs to whoever waits
                starting.set_exception(error)

        try:
            threading.Thread(target=start, daemon=True).start()
        except RuntimeError as error:
            starting.set_exception(SandboxStartError(f"no thread can be started: {error}"))
        return starting

    def _result(self, starting: Future[Ready]) -> Ready:
        try:
            return starting.result()
        finally:
            if starting.done():  # else `end` waits for it
                self._starting.remove(starting)

    def _started(self) -> Ready:
        said = self._server.ask("POST", "/api/kernels", self._wanted)
        if not isinstance(said, dict) or not isinstance(said.get("id"), str):
            raise SandboxStartError("the server has started no kernel, and does not say why")
        kernel = self.add(said["id"])
        client = None
        try:
            client = self.connect(kernel)
            client.await_ready()
        except (SandboxError, OSError):
            if client is not None:
                client.stop_channels()
            self.delete(kernel)
            raise
        return kernel, client

    # one that is started before it is asked for -------------------------------------------
    def prepare_spare(self) -> None:
        """Start it, in the background."""
        self._spare = self._start()

    def take(self) -> Ready:
        """The spare one, or else a fresh one.

        Raises:
            SandboxStartError, SandboxGoneError: there is none to be had.
        """
        spare, self._spare = self._spare, None
        return self._result(spare or self._start())

    # the end --------------------------------------------------------------------------
    def delete(self, kernel: str) -> None:
        """Have the server end a kernel, in the background: it may take seconds over it."""
        if kernel in self._ids:
            self._ids.discard(kernel)
            thread = threading.Thread(target=self._delete_now, args=(kernel,), daemon=True)
            self._deleting = [t for t in self._deleting if t.is_alive()] + [thread]
            thread.start()

    def _delete_now(self, kernel: str) -> None:
        from ..channels.jupyter_server import status_of

        for pause in (*PAUSES, None):
            try:
                self._server.ask("DELETE", f"/api/kernels/{kernel}")
                break
            except SandboxGoneError as error:
                if pause is None:
                    return  # the supervisor tries once more, at its own end
                if (status_of(error) or 0) < 500:
                    break  # it is gone already, or the server is
            time.sleep(pause)  # a kernel that is just being restarted cannot be deleted
        self._report("deleted", kernel)

    def drop(self) -> None:
        """Lose all connections: each is made again."""
        for client in self._clients:
            client.drop()

    def end_spare(self) -> None:
        """End the kernel that nobody has used yet, once it has started: a second, mostly."""
        if self._spare is not None:
            with suppress(SandboxError, OSError):
                self.delete(self.take()[0])

    def let_go(self) -> None:
        """Close all connections; kernels that nobody has used yet are ended."""
        self.end_spare()
        for client in self._clients:
            client.stop_channels()
        for thread in self._deleting:
            thread.join()

    def clear(self) -> None:
        """They have ended with their machine."""
        self._ids.clear()

    def end(self) -> None:
        """Have the server end all of them."""
        self.end_spare()  # first: of a kernel that was deleted meanwhile, nobody says a word
        for starting in list(self._starting):
            starting.exception()  # whatever it was, it is over
        for kernel in list(self._ids):
            self.delete(kernel)
        self.let_go()


def silence() -> float:
    """The seconds without a word of the other end that end a lease."""
    from ..channels import reconnect  # with jupyter_kernel_client

    return reconnect.SILENCE


def check_environment(server: Server, wanted: str | None) -> None:
    """See that a server has a kernelspec, and that it is one for Python.

    Args:
        wanted: its name; None for the server's default.

    Raises:
        UnsupportedError: it is not there, or for another language.
        SandboxGoneError: the server does not answer.
    """
    known = server.ask("GET", "/api/kernelspecs")
    specs: dict[str, Any] = known["kernelspecs"]
    wanted = wanted or str(known["default"])
    if wanted not in specs:
        there = ", ".join(sorted(specs))
        raise UnsupportedError(f"no environment {wanted!r}: the server has {there}")
    language = specs[wanted].get("spec", {}).get("language")
    if str(language).lower() != "python":
        raise UnsupportedError(f"environment {wanted!r} is a kernel for {language}, not Python")
