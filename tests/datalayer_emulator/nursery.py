"""A process that has imported Jupyter Server, and forks one for each runtime.

A new server costs seconds of imports; a fork of them, milliseconds. It has no thread and no loop,
so that a child starts clean. It and all it has forked end when the emulator's end of its socket
closes, whatever closes it: a kill -9 of the emulator's process does.

It is entered by `main`, with the descriptor of its socket and a folder as arguments. Requests come
as JSON, each with the descriptor of a socket on which the new runtime's keeper listens.
"""

from __future__ import annotations

import ctypes
import json
import os
import select
import signal
import socket
import sys
import time
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]

from . import root

PRELOAD = (
    "jupyter_server.serverapp",
    "jupyter_server.auth.login",
    "jupyter_server.auth.logout",
    "jupyter_server.base.handlers",
    "jupyter_server.files.handlers",
    "jupyter_server.kernelspecs.handlers",
    "jupyter_server.nbconvert.handlers",
    "jupyter_server.services.api.handlers",
    "jupyter_server.services.config.handlers",
    "jupyter_server.services.contents.handlers",
    "jupyter_server.services.events.handlers",
    "jupyter_server.services.kernels.handlers",
    "jupyter_server.services.kernels.connection.channels",
    "jupyter_server.services.kernelspecs.handlers",
    "jupyter_server.services.nbconvert.handlers",
    "jupyter_server.services.security.handlers",
    "jupyter_server.services.sessions.handlers",
    "jupyter_server.services.shutdown",
    "jupyter_server.view.handlers",
    "jupyter_server_terminals.app",
    "jupyter_client.provisioning.local_provisioner",
)
MOST = 1 << 20  # bytes of a request
END_SECONDS = 10.0
SUBREAPER, DEATH_SIGNAL = 36, 1  # of prctl
LINUX = sys.platform == "linux"


def control_process(option: int, value: int) -> None:
    """prctl, where there is one."""
    if LINUX:
        ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0)


def end_tree(signals: tuple[int, ...] = (signal.SIGKILL,)) -> None:
    """Signal all below this process until nothing is left; those who lost their parent too."""
    until = time.monotonic() + END_SECONDS
    me = psutil.Process()
    while (children := me.children(recursive=True)) and time.monotonic() < until:
        for child in children:
            for number in signals:
                with suppress(psutil.NoSuchProcess):
                    child.send_signal(number)
        reap()
        time.sleep(0.005)
    reap()


def signal_tree(number: int) -> None:
    """Signal all below this process, once."""
    for child in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            child.send_signal(number)


def reap() -> list[int]:
    """The pids of children that have ended."""
    ended = []
    with suppress(ChildProcessError):
        while (pid := os.waitpid(-1, os.WNOHANG)[0]) != 0:
            ended.append(pid)
    return ended


class Keeper:
    """Parent of one runtime's server: all that the runtime starts stays below it.

    Args:
        control: lines come from it: `stop`, `cont`, `kill`; its end ends the runtime.
        spec: see `Servers.start`.
    """

    def __init__(self, control: socket.socket, spec: dict[str, Any]) -> None:
        self._control, self._spec = control, spec
        self._wake, wake = os.pipe()
        os.set_blocking(wake, False)
        os.set_blocking(self._wake, False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(wake)
        control_process(SUBREAPER, 1)
        self._server = os.fork()
        if self._server == 0:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            control_process(DEATH_SIGNAL, signal.SIGKILL)
            control.close()
            become_server(spec)

    def run(self) -> None:
        """Until the emulator closes its end."""
        while True:
            ends = (self._control.fileno(), self._wake)
            ready, _, _ = select.select(ends, [], [])
            if self._wake in ready:
                with suppress(BlockingIOError):
                    os.read(self._wake, 4096)
                if self._server in reap():
                    end_tree()
                    with suppress(OSError):
                        self._control.send(b"died\n")
            if ends[0] in ready:
                words = self._control.recv(4096).decode().split()
                if not words:
                    break
                for word in words:
                    self._obey(word)
        end_tree()
        root.remove(Path(self._spec["base"]))
        with suppress(OSError):
            self._control.send(b"gone\n")

    def _obey(self, word: str) -> None:
        if word == "kill":
            with suppress(ProcessLookupError):
                os.kill(self._server, signal.SIGKILL)
            return
        signal_tree(signal.SIGSTOP if word == "stop" else signal.SIGCONT)
        self._control.send(f"{word}\n".encode())


def become_server(spec: dict[str, Any]) -> None:
    """The rest of this process's life is a Jupyter Server's."""
    try:
        with open(os.path.join(spec["base"], "log"), "ab", buffering=0) as log:
            os.dup2(log.fileno(), 1)
            os.dup2(log.fileno(), 2)
        if spec["root"]:
            root.enter(Path(spec["root"]))
        os.environ.clear()
        os.environ.update(spec["env"])
        os.chdir(spec["cwd"])
        app = import_module("jupyter_server.serverapp").ServerApp
        sys.argv = ["jupyter-server", *spec["argv"]]
        app.launch_instance(spec["argv"])
    finally:
        os._exit(1)


def serve(sock: socket.socket) -> None:
    """Fork a keeper for each request, until the emulator is gone."""
    while True:
        data, descriptors, _, _ = socket.recv_fds(sock, MOST, 1)
        if not data:
            return
        pid = os.fork()
        if pid == 0:
            sock.close()
            os.setsid()
            control = socket.socket(fileno=descriptors[0])
            Keeper(control, json.loads(data)).run()
            os._exit(0)
        os.close(descriptors[0])
        reap()
        sock.send(b"+")


def main() -> None:
    """See the module."""
    sock, base = socket.socket(fileno=int(sys.argv[1])), Path(sys.argv[2])
    for module in PRELOAD:
        with suppress(ImportError):  # another version of Jupyter Server: it starts more slowly
            import_module(module)
    sock.send(b"R" if root.possible(base / "root") else b"S")
    with suppress(ConnectionError):
        serve(sock)
    with suppress(ChildProcessError):
        while True:
            os.wait()
    root.remove(base)
