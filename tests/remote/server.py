"""A stock Jupyter Server on this machine, as a process of its own, to attach to."""

from __future__ import annotations

import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

START_SECONDS = 60.0
MOST_KERNELS = 40  # a test that starts more is wrong, and the machine is not its own
# datalayer-core, where it is installed, brings an extension that any server would load
WITHOUT = "{'datalayer_core': False}"


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
    return port


class JupyterServer:
    """A server with its stock limits.

    Args:
        folder: its root, and what it writes for itself.
        options: further arguments.
    """

    probe = "/api/status"  # answers when it is ready

    def __init__(self, folder: Path, *options: str, token: str | None = None) -> None:
        self.port, self.token = free_port(), token or secrets.token_hex(16)
        self.url = f"http://127.0.0.1:{self.port}"
        self.folder, self._options = folder, options
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, or start it again at the same address; waits until it answers."""
        for name in ("root", "ipython", "runtime"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        argv = [*self.argv(), *self._options]
        # the token: neither in its argv nor in its environment, which its kernels inherit
        config = self.folder / "config.json"
        config.write_text(json.dumps(self.config()))
        argv.append(f"--config={config}")
        env = {k: v for k, v in os.environ.items() if k != "PYTEST_CURRENT_TEST"}
        env |= {"IPYTHONDIR": f"{self.folder}/ipython"}
        env |= {"JUPYTER_RUNTIME_DIR": f"{self.folder}/runtime"}
        with open(self.folder / "log", "ab") as log:
            self.process = subprocess.Popen(argv, env=env, stdout=log, stderr=log)
        until = time.monotonic() + START_SECONDS
        while time.monotonic() < until and self.process.poll() is None:
            try:
                self.ask("GET", self.probe)
                return
            except OSError:
                time.sleep(0.05)
        raise RuntimeError((self.folder / "log").read_text()[-2000:])

    def argv(self) -> list[str]:
        """How it is started."""
        argv = [sys.executable, "-m", "jupyter_server", "--no-browser", "--allow-root"]
        argv += [f"--ServerApp.port={self.port}", "--ServerApp.port_retries=0"]
        argv += [f"--ServerApp.root_dir={self.folder}/root", "--ServerApp.log_level=ERROR"]
        return [*argv, f"--ServerApp.jpserver_extensions={WITHOUT}"]

    def config(self) -> dict[str, Any]:
        """What is not said in its argv."""
        return {"IdentityProvider": {"token": self.token}}

    def ask(self, method: str, path: str) -> Any:
        """A request of the tests' own."""
        headers = {"Authorization": f"token {self.token}"}
        request = urllib.request.Request(self.url + path, headers=headers, method=method)
        with urllib.request.urlopen(request, timeout=30) as response:
            said = response.read()
        return json.loads(said) if said else None

    def kernels(self) -> list[str]:
        """The kernels that it has."""
        return [kernel["id"] for kernel in self.ask("GET", "/api/kernels")]

    def bound(self, done: threading.Event) -> None:
        """Kill it when it has too many kernels, which end with it."""
        while not done.wait(2):
            try:
                many = len(self.kernels())
            except OSError:
                continue
            if many > MOST_KERNELS:
                self.kill()

    def start_kernel(self) -> str:
        """A kernel that is nobody's sandbox."""
        return str(self.ask("POST", "/api/kernels")["id"])

    def kill(self) -> None:
        """End it at once."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        """End it, with its kernels."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(15)
            except subprocess.TimeoutExpired:
                self.kill()


class KernelGateway(JupyterServer):
    """A Kernel Gateway: kernels and their specs, and nothing else of a server."""

    probe = "/api/kernels"

    def argv(self) -> list[str]:
        """How it is started."""
        app = "--KernelGatewayApp"
        listing = "--JupyterWebsocketPersonality.list_kernels=True"  # for the tests alone
        argv = [sys.executable, "-m", "kernel_gateway", f"{app}.port={self.port}", listing]
        return [*argv, f"{app}.port_retries=0", f"{app}.log_level=ERROR"]

    def config(self) -> dict[str, Any]:
        """What is not said in its argv."""
        return {"KernelGatewayApp": {"auth_token": self.token}}


@contextmanager
def running(
    folder: Path, *options: str, kind: type[JupyterServer] = JupyterServer
) -> Iterator[JupyterServer]:
    """A server that runs."""
    server = kind(folder, *options)
    done = threading.Event()
    try:
        server.start()
        guard = threading.Thread(target=server.bound, args=(done,), daemon=True)
        guard.start()
        yield server
    finally:
        done.set()
        server.stop()
