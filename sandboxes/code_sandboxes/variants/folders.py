"""The folders of a local sandbox, and the Python that it runs."""

from __future__ import annotations

import os
import shutil
import sys
import sysconfig
import tempfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path

PYTHON = os.path.abspath(sys.executable)  # normalised, links kept: it may lie in a venv
# what code may know of the host: where programs are, how to read text and time
KEPT = ("LANG", "LANGUAGE", "TZ", "TERM", "SYSTEMROOT")
# what an installation needs to reach the package index
INSTALLING = ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY")


class Folders:
    """`home` is the sandbox's own; `run` holds its sockets, `venv` its packages.

    All of it is below one directory with mode 0700, which the sandbox's end removes.
    """

    def __init__(self, base: str) -> None:
        self.base = base
        self.home, self.run = f"{base}/home", f"{base}/run"
        self.tmp, self.venv = f"{base}/tmp", f"{base}/venv"
        self.python = f"{self.venv}/bin/python"
        self.log = f"{base}/supervisor.log"  # not in a folder that code can write to

    @classmethod
    def make(cls, working_dir: str | None) -> tuple[Folders, str]:
        """Fresh folders, and the directory that code starts in."""
        # short: a socket's path has at most 104 characters
        folders = cls(os.path.realpath(tempfile.mkdtemp(prefix="cs-")))
        try:
            for folder in (folders.home, folders.run, folders.tmp):
                os.mkdir(folder, 0o700)
            folders._make_venv()
            return folders, folders.enter(working_dir)
        except BaseException:  # no space left, or Ctrl-C
            shutil.rmtree(folders.base, ignore_errors=True)
            raise

    def kept(self) -> dict[str, str]:
        """The directories that a snapshot has, by what they are."""
        return {
            "home": self.home,
            "packages": str(Path(self.venv, *site_packages_below())),
            "scripts": f"{self.venv}/bin",
            "shared": f"{self.venv}/share",
            "variables": f"{self.run}/variables",
        }

    def enter(self, working_dir: str | None) -> str:
        """The real path of `working_dir`, which is made below the home."""
        if not working_dir:
            return self.home
        path = os.path.normpath(f"{self.home}/{working_dir}")
        os.makedirs(path, mode=0o700, exist_ok=True)
        return path

    def _make_venv(self) -> None:
        """A virtual environment upon the host's: packages go here, the host's stay as they are."""
        library = Path(self.venv, *site_packages_below())
        library.mkdir(parents=True)
        bin_folder = Path(self.venv, "bin")
        bin_folder.mkdir()
        for name in ("python", "python3"):
            os.symlink(PYTHON, bin_folder / name)
        pip = bin_folder / "pip"
        pip.write_text(f'#!/bin/sh\nexec {self.python} -m pip "$@"\n')
        pip.chmod(0o755)
        home = os.path.dirname(os.path.realpath(base_python()))
        Path(self.venv, "pyvenv.cfg").write_text(
            f"home = {home}\ninclude-system-site-packages = false\n"
        )
        (library / "_host.pth").write_text("\n".join(host_packages()) + "\n")

    def environment(self, own: Mapping[str, str]) -> dict[str, str]:
        """The whole environment of what runs inside: minimal, then the caller's."""
        kept = {n: v for n, v in os.environ.items() if n in KEPT or n.startswith("LC_")}
        kept |= {n: v for n, v in os.environ.items() if _installs(n, v)}
        path = f"{self.venv}/bin:" + os.environ.get("PATH", os.defpath)
        return {
            **kept,
            "PATH": path,
            "HOME": self.home,
            "TMPDIR": self.tmp,
            "VIRTUAL_ENV": self.venv,
            "PYTHONDONTWRITEBYTECODE": "1",
            "IPYTHONDIR": f"{self.run}/ipython",
            **own,
        }


def _installs(name: str, value: str) -> bool:
    needed = name.startswith("PIP_") or name in INSTALLING or name.upper() in PROXIES
    return needed and not ("@" in value and "://" in value)  # an address may hold a password


@cache
def base_python() -> str:
    """The interpreter below every virtual environment."""
    return getattr(sys, "_base_executable", "") or PYTHON


@cache
def site_packages_below() -> tuple[str, ...]:
    """Where packages lie below a virtual environment's folder."""
    scheme = sysconfig.get_path("purelib", "venv", vars={"base": "/v", "platbase": "/v"})
    return Path(scheme).relative_to("/v").parts


@cache
def host_packages() -> tuple[str, ...]:
    """Lines of a .pth file that bring the packages of the host's own environment."""
    folders = [p for p in sys.path if p.endswith(("site-packages", "dist-packages"))]
    return tuple(f"import site; site.addsitedir({folder!r})" for folder in folders)


def readable_by_installs() -> list[str]:
    """What an installation, and the host's packages, need to read beyond the interpreter."""
    paths = [os.environ[name] for name in (*INSTALLING, "PIP_CERT") if os.environ.get(name)]
    prefixes = (sys.prefix + os.sep, sys.base_prefix + os.sep)
    paths += [p for p in sys.path if p.endswith("-packages") and not p.startswith(prefixes)]
    return [path for path in paths if os.path.exists(path)]
