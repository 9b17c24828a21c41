"""An engine of the tests' own, which may be stopped, killed and left without its image."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from code_sandboxes.variants.engine import IMAGE

START_SECONDS = 30.0


class CannotStart(Exception):
    """There is no such engine here, and why."""


def pass_on(source: socket.socket, sink: socket.socket) -> None:
    """Bytes, until there are no more."""
    with suppress(OSError):
        while data := source.recv(1 << 16):
            sink.sendall(data)
    with suppress(OSError):
        sink.shutdown(socket.SHUT_WR)


def forward(near: socket.socket, path: str) -> None:
    """A connection, on to a unix socket."""
    with near, socket.socket(socket.AF_UNIX) as far:
        far.connect(path)
        back = threading.Thread(target=pass_on, args=(far, near), daemon=True)
        back.start()
        pass_on(near, far)
        back.join()


class OwnEngine:
    """A second `dockerd` beside the machine's: it shares nothing with that, least of all a network.

    Without a network namespace of its own it would take the machine's bridge away.

    Raises:
        CannotStart: not here.
    """

    def __init__(self) -> None:
        if os.geteuid() != 0:
            raise CannotStart("only root can start a container engine")
        for program in ("dockerd", "unshare"):
            if shutil.which(program) is None:
                raise CannotStart(f"there is no {program} to start a second engine with")
        self.folder = Path(tempfile.mkdtemp(prefix="cs-engine-"))  # short: a socket is in it
        self.unix = f"unix://{self.folder}/socket"
        data = self.folder / "data"
        data.mkdir()
        # in memory, where it can be: an image is 20,000 files to be made, and removed again
        mount = ["mount", "-t", "tmpfs", "-o", "size=2g,mode=711", "none", str(data)]
        subprocess.run(mount, check=False, stderr=subprocess.DEVNULL)
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, *flags: str) -> None:
        """Start it; after that it answers."""
        folder, log = self.folder, self.folder / "log"
        pidfile = folder / "pid"
        for stale in (pidfile, folder / "exec/containerd/containerd.pid"):
            stale.unlink(missing_ok=True)  # a killed one leaves them; nobody may bury it
        argv = [
            "unshare",
            "--net",
            "dockerd",
            f"--data-root={folder}/data",
            f"--exec-root={folder}/exec",
        ]
        argv += [f"--pidfile={pidfile}", "-H", self.unix, "--bridge=none"]
        argv += ["--iptables=false", "--ip6tables=false", *flags]
        with log.open("wb") as errors:
            self._process = subprocess.Popen(argv, stderr=errors, start_new_session=True)
        until = time.monotonic() + START_SECONDS
        while not self.answers():
            if self._process.poll() is not None or time.monotonic() > until:
                said = log.read_text(errors="replace")[-500:]
                self.end()
                raise CannotStart(f"a second container engine does not start: {said}")
            time.sleep(0.1)

    def answers(self) -> bool:
        """Whether it can be asked something."""
        from docker.errors import DockerException

        try:
            with socket.socket(socket.AF_UNIX) as probe:  # the SDK would leave its own open
                probe.connect(self.unix.removeprefix("unix://"))
            api = self.api()
        except (OSError, DockerException):
            return False
        try:
            return bool(api.ping())
        finally:
            api.close()

    @contextmanager
    def port(self) -> Iterator[str]:
        """Its address behind a port of the loopback; from its own network it cannot be reached."""
        with socket.create_server(("127.0.0.1", 0)) as listener:

            def accept() -> None:
                with suppress(OSError):
                    while True:
                        near, _ = listener.accept()
                        ends = (near, self.unix.removeprefix("unix://"))
                        threading.Thread(target=forward, args=ends, daemon=True).start()

            threading.Thread(target=accept, daemon=True).start()
            yield f"tcp://127.0.0.1:{listener.getsockname()[1]}"
            listener.shutdown(socket.SHUT_RDWR)

    def api(self) -> Any:
        """Its API."""
        import docker

        client: Any = docker.DockerClient(base_url=self.unix, timeout=30)
        return client.api

    def containers(self) -> list[dict[str, Any]]:
        """All of its containers, running or not."""
        api = self.api()
        try:
            found: list[dict[str, Any]] = api.containers(all=True)
            return found
        finally:
            api.close()

    def clear(self) -> None:
        """Remove all of them: what a failed test leaves is not the next one's."""
        from docker.errors import APIError

        left, api = self.containers(), self.api()
        try:
            for found in left:
                with suppress(APIError):  # it is being removed
                    api.remove_container(found["Id"], force=True)
        finally:
            api.close()

    def pid_of(self, container: str) -> int:
        """The number that PID 1 of a container has on this machine."""
        api = self.api()
        try:
            return int(api.inspect_container(container)["State"]["Pid"])
        finally:
            api.close()

    def signal(self, number: int) -> None:
        """Signal it; until it has ended, if that ends it."""
        assert self._process is not None
        self._process.send_signal(number)
        if number in (signal.SIGTERM, signal.SIGKILL):
            self._process.wait(60)

    def take_image(self, source: Any) -> None:
        """Copy local-docker's image from another engine."""
        api = self.api()
        try:
            repository, tag = IMAGE.split(":")
            for said in api.load_image(source.get_image(f"{repository}:{tag}")):
                assert "errorDetail" not in said, said
        finally:
            api.close()

    def end(self) -> None:
        """End it, and remove all that is its own."""
        process = self._process
        if process is not None and process.poll() is None:
            process.send_signal(signal.SIGCONT)
            for container in self.containers():
                api = self.api()
                api.remove_container(container["Id"], force=True)
                api.close()
            self.signal(signal.SIGTERM)
        with open("/proc/self/mounts") as mounts:
            left = [line.split()[1] for line in mounts if str(self.folder) in line]
        for place in sorted(left, reverse=True):
            subprocess.run(["umount", "-l", place], check=False)
        shutil.rmtree(self.folder, ignore_errors=True)
