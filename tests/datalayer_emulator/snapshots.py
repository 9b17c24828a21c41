"""Snapshots: a runtime's files, and the variables of its kernels."""

from __future__ import annotations

import asyncio
import os
import shutil
import stat
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tornado.httpclient import HTTPError

from .kernels import Kernels
from .machine import Machine
from .root import remove
from .runtimes import Runtime, iso
from .saved import save, startup

BUSY_SECONDS = 20.0  # that a snapshot waits for a kernel


@dataclass
class Snapshot:
    """One snapshot.

    Attributes:
        status: pending, then completed or failed.
        skipped: variables and files that could not be saved.
    """

    uid: str
    name: str
    description: str
    environment: str
    folder: Path
    status: str = "pending"
    size: int = 0
    saved: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    updated_at: float = field(default_factory=time.time)

    def model(self) -> dict[str, Any]:
        """What the service answers."""
        return {
            "uid": self.uid,
            "id": self.uid,
            "name": self.name,
            "description": self.description,
            "environment": self.environment,
            "metadata": {
                "language_info": {"name": "python"},
                "version": "1",
                "saved": self.saved,
                "skipped": self.skipped,
            },
            "size": self.size,
            "format": "pickle",
            "format_version": "1",
            "status": self.status,
            "updated_at": iso(self.updated_at),
        }

    async def take(self, runtime: Runtime) -> None:
        """Fill it; a failure is its status."""
        try:
            await self._take_variables(runtime)
            await asyncio.to_thread(self._take_files, runtime.server.machine)
        except (OSError, HTTPError) as error:
            self.status, self.skipped = "failed", [str(error)]
        else:
            self.status = "completed"
        self.updated_at = time.time()

    async def _take_variables(self, runtime: Runtime) -> None:
        (self.folder / "state").mkdir(parents=True)
        kernels, number = Kernels(runtime), 0
        for kernel in await kernels.list():
            dumped = runtime.server.machine.base / f"dumped-{kernel}"
            try:
                saved, skipped = await kernels.evaluate(kernel, save(dumped), BUSY_SECONDS)
            except (TimeoutError, RuntimeError, ValueError) as error:
                self.skipped.append(
                    f"the variables of kernel {kernel}: {str(error) or 'it is busy'}"
                )
                continue
            if saved:
                shutil.move(dumped, self.folder / "state" / str(number))
                number += 1
            self.saved += saved
            self.skipped += skipped

    def _take_files(self, machine: Machine) -> None:
        def inside(*path: str) -> str:
            return f"/{os.path.relpath(os.path.join(*path), machine.root)}"

        def special(folder: str, names: list[str]) -> list[str]:
            found = [name for name in names if is_special(os.path.join(folder, name))]
            self.skipped += [inside(folder, name) for name in found]
            return found

        try:
            copy(machine.root, self.folder / "root", special)
        except shutil.Error as error:  # files that went away meanwhile, or may not be read
            self.skipped += [inside(str(source)) for source, _, _ in error.args[0]]
        files = [path for path in self.folder.rglob("*") if path.is_file()]
        self.size = sum(path.lstat().st_size for path in files)

    def restore(self, machine: Machine) -> None:
        """Bring files and variables into a new runtime's folder."""
        copy(self.folder / "root", machine.root)
        shutil.copytree(self.folder / "state", machine.state, dirs_exist_ok=True)
        (machine.startup / "00-restore.py").write_text(startup(machine.state))

    def remove(self) -> None:
        """Remove what it holds."""
        if self.folder.exists():
            remove(self.folder)


def is_special(path: str) -> bool:
    """Whether it is a socket, a pipe or a device, which nothing can copy."""
    mode = os.lstat(path).st_mode
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode) or stat.S_ISLNK(mode))


def copy(source: Path, target: Path, ignore: Any = None) -> None:
    """Copy a folder; links stay links."""
    shutil.copytree(source, target, symlinks=True, ignore=ignore, dirs_exist_ok=True)
