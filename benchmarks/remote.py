"""remote-jupyter beside jupyter-kernel-client and the Contents API, against the same server."""

from __future__ import annotations

import base64
import json
import os
import secrets
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from jupyter_kernel_client import JupyterKernelClient

from code_sandboxes import Sandbox

from . import ours
from .measure import Row, side_by_side

VARIANT = "remote-jupyter"
CLIENT = "jupyter-kernel-client"
START_SECONDS = 60.0
TEN = os.urandom(10 << 20)
COMMAND = "import subprocess; subprocess.run(['true'], capture_output=True, check=True) and None"


class Address:
    """A Jupyter Server that somebody runs.

    Args:
        url: where it is.
        token: what it asks for.
    """

    def __init__(self, url: str, token: str) -> None:
        self.url, self.token = url.rstrip("/"), token

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        """A REST call."""
        data = None if body is None else json.dumps(body).encode()
        headers = {"Authorization": f"token {self.token}"}
        request = urllib.request.Request(self.url + path, data, headers, method=method)
        with urllib.request.urlopen(request, timeout=60) as response:
            return json.loads(response.read() or b"null")

    def upload(self) -> None:
        """10 MB by the Contents API."""
        content = base64.b64encode(TEN).decode()
        self.ask("PUT", "/api/contents/f", {"type": "file", "format": "base64", "content": content})

    def download(self) -> None:
        """The same, back."""
        said = self.ask("GET", "/api/contents/f?type=file&format=base64&content=1")
        assert len(base64.b64decode(said["content"])) == len(TEN)

    def first_result(self) -> float:
        """Seconds that jupyter-kernel-client takes from nothing to the first result."""
        began = time.perf_counter()
        with JupyterKernelClient(server_url=self.url, token=self.token) as client:
            client.execute("1")
            return time.perf_counter() - began


class Server(Address):
    """A stock one of our own.

    Args:
        folder: its root, and what it writes for itself.
    """

    def __init__(self, folder: str) -> None:
        with socket.create_server(("127.0.0.1", 0)) as probe:
            port = probe.getsockname()[1]
        super().__init__(f"http://127.0.0.1:{port}", secrets.token_hex(16))
        Path(folder, "config.json").write_text(
            json.dumps({"IdentityProvider": {"token": self.token}})
        )
        argv = [sys.executable, "-m", "jupyter_server", "--no-browser", "--allow-root"]
        argv += [f"--ServerApp.port={port}", f"--ServerApp.root_dir={folder}"]
        argv += [f"--config={folder}/config.json", "--ServerApp.log_level=CRITICAL"]
        env = os.environ | {"IPYTHONDIR": f"{folder}/ipython", "JUPYTER_RUNTIME_DIR": folder}
        self.process = subprocess.Popen(argv, env=env, stderr=subprocess.DEVNULL)

    def wait(self) -> None:
        """Until it answers."""
        until = time.monotonic() + START_SECONDS
        while True:
            try:
                self.ask("GET", "/api/status")
                return
            except OSError:
                if time.monotonic() > until:
                    raise
                time.sleep(0.05)


@contextmanager
def running() -> Iterator[Server]:
    """A server that runs."""
    with tempfile.TemporaryDirectory() as folder:
        server = Server(folder)
        try:
            server.wait()
            yield server
        finally:
            server.process.terminate()
            server.process.wait(30)


def transfers(server: Address, box: Sandbox, few: int) -> list[Row]:
    """Rows about files."""

    def read() -> None:
        assert len(box.files.read_bytes("f")) == len(TEN)

    send: Callable[[], None] = partial(box.files.write, "f", TEN)
    raw, sent = side_by_side(few, server.upload, send)
    rows: list[Row] = [("10 MB written", "Contents API", raw, {box.variant: sent}, "")]
    raw, fetched = side_by_side(few, server.download, read)
    return [*rows, ("10 MB read", "Contents API", raw, {box.variant: fetched}, "")]


def calls(server: Address, box: Sandbox, few: int, many: int) -> list[Row]:
    """Rows about what is done with a sandbox, beside a raw client of a server like its own."""
    with JupyterKernelClient(server_url=server.url, token=server.token) as client:
        raw, warm = side_by_side(many, partial(client.execute, "1+1"), partial(box.run_code, "1+1"))
        made: list[Row] = [("warm 1+1", CLIENT, raw, {box.variant: warm}, "")]
        raw, command = side_by_side(
            many // 2, partial(client.execute, COMMAND), partial(box.commands.run, ["true"])
        )
        made.append(("`true` as a command", CLIENT, raw, {box.variant: command}, ""))
    return made + transfers(server, box, few)


def rows(few: int, many: int) -> list[Row]:
    """All rows."""
    with running() as server:
        where = {"server_url": server.url, "token": server.token}
        raw, first = side_by_side(
            few, server.first_result, ours.until_first_result(VARIANT, **where)
        )
        made: list[Row] = [("create to first result", CLIENT, raw, {VARIANT: first}, "")]
        with Sandbox.create(VARIANT, **where) as box:
            return made + calls(server, box, few, many)
