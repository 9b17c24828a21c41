"""A place on a machine that is somebody else's: a home, packages of its own, an environment."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import sysconfig
import tempfile
from contextlib import suppress

DIRECTORIES = ("/data", "/workspace", "/remote")  # that a machine of the sandbox's own has
MARKER = "CODE_SANDBOXES_ID"  # in the environment of everything that belongs to a sandbox
# what a Jupyter Server gives its kernels for its own ends, credentials among it
OF_THE_SERVER = (
    *("JPY_", "JUPYTER_TOKEN", "JUPYTERHUB_", "KERNEL_AUTH_TOKEN"),
    *("DATALAYER_", "PYTEST_CURRENT_TEST"),
)


class Place:
    """One directory with mode 0700, which `remove` takes away with all that is in it.

    Args:
        id: the sandbox's; the mark by which its processes are found.
        working_dir: where code starts, below the home; None for the home itself.
        env: the caller's variables.
    """

    def __init__(self, id: str, working_dir: str | None, env: dict[str, str]) -> None:
        self.id = id
        os.mkdir(folder_of(id), 0o700)
        self.base = os.path.realpath(folder_of(id))
        self.home, self.tmp, self.venv = (f"{self.base}/{n}" for n in ("home", "tmp", "venv"))
        for folder in (self.home, self.tmp):
            os.mkdir(folder, 0o700)
        self.cwd = os.path.normpath(f"{self.home}/{working_dir}") if working_dir else self.home
        os.makedirs(self.cwd, mode=0o700, exist_ok=True)
        self.python = f"{self.venv}/bin/python"
        self.site = self._make_venv()
        self.env = {
            "HOME": self.home,
            "TMPDIR": self.tmp,
            "VIRTUAL_ENV": self.venv,
            "PATH": f"{self.venv}/bin:" + os.environ.get("PATH", os.defpath),
            "PYTHONDONTWRITEBYTECODE": "1",
            **env,
            MARKER: id,
        }

    def _make_venv(self) -> str:
        """A virtual environment upon the kernel's Python; where packages go in it."""
        scheme = {"base": self.venv, "platbase": self.venv}
        site = sysconfig.get_path("purelib", "venv", vars=scheme)
        os.makedirs(site)
        os.mkdir(f"{self.venv}/bin")
        for name in ("python", "python3"):
            os.symlink(os.path.abspath(sys.executable), f"{self.venv}/bin/{name}")
        with open(f"{self.venv}/bin/pip", "w") as pip:
            pip.write(f'#!/bin/sh\nexec {self.python} -m pip "$@"\n')
        os.chmod(f"{self.venv}/bin/pip", 0o755)
        base = getattr(sys, "_base_executable", "") or sys.executable
        with open(f"{self.venv}/pyvenv.cfg", "w") as settings:
            settings.write(f"home = {os.path.dirname(os.path.realpath(base))}\n")
            settings.write("include-system-site-packages = false\n")
        folders = [path for path in sys.path if path.endswith(("site-packages", "dist-packages"))]
        with open(f"{site}/_server.pth", "w") as lines:
            lines.writelines(f"import site; site.addsitedir({path!r})\n" for path in folders)
        return site

    def described(self) -> dict[str, object]:
        """What an interpreter must know to move in."""
        names = ("base", "cwd", "env", "python", "site")
        return {name: getattr(self, name) for name in names} | {"machine": machine()}

    def remove(self) -> None:
        """Take it away."""
        clear(self.base)


class OwnMachine(Place):
    """A machine that was made for this sandbox alone: its home, its Python, nothing to remove.

    Args:
        id, env: see Place.
        working_dir: an absolute path is the machine's own.
    """

    def __init__(self, id: str, working_dir: str | None, env: dict[str, str]) -> None:
        self.id = id
        self.base = self.home = os.path.realpath(os.getcwd())
        self.cwd = os.path.normpath(os.path.join(self.home, working_dir or "."))
        for folder in (self.cwd, *DIRECTORIES):
            with suppress(OSError):  # where only root may: then code may not, either
                os.makedirs(folder, exist_ok=True)
        if not os.path.isdir(self.cwd):
            raise RuntimeError(f"the working_dir {self.cwd} cannot be made")
        self.python, self.site = sys.executable, ""
        path = os.pathsep.join([os.path.dirname(self.python), os.environ.get("PATH", os.defpath)])
        self.env = {"PATH": path, "PYTHONDONTWRITEBYTECODE": "1", **env, MARKER: id}

    def remove(self) -> None:
        """The machine ends as a whole."""


def folder_of(id: str) -> str:
    """Where a sandbox's place is."""
    return os.path.join(tempfile.gettempdir(), f"cs-{id}")


def main(id: str) -> None:
    """Sweep up what a supervisor that was killed has left."""
    kill_marked(id)
    clear(folder_of(id))


def clear(folder: str) -> None:
    """Remove a directory; what code made unreadable too."""
    shutil.rmtree(folder, ignore_errors=True)
    if os.path.isdir(folder) and not os.path.islink(folder):
        for inner, _, _ in os.walk(folder):
            with suppress(OSError):
                os.chmod(inner, 0o700)
        shutil.rmtree(folder, ignore_errors=True)


def move_in(env: dict[str, str], cwd: str) -> None:
    """Make this process one of the sandbox's."""
    for name in list(os.environ):
        if name.startswith(OF_THE_SERVER):
            del os.environ[name]
    os.environ.update(env)
    os.chdir(cwd)
    tempfile.tempdir = None  # found again, by the new TMPDIR


def machine() -> str:
    """What is the same for two processes that can signal each other."""
    with suppress(OSError):
        return os.readlink("/proc/self/ns/pid") + os.uname().nodename
    return os.uname().nodename


def kill_marked(id: str) -> None:
    """Kill what carries the sandbox's mark, wherever it has been re-parented to; Linux only."""
    if sys.platform != "linux":
        return
    mark = f"{MARKER}={id}".encode()
    for entry in os.listdir("/proc"):
        if entry.isdigit() and int(entry) != os.getpid():
            with suppress(OSError), open(f"/proc/{entry}/environ", "rb") as file:
                if mark in file.read().split(b"\0"):
                    os.kill(int(entry), signal.SIGKILL)
