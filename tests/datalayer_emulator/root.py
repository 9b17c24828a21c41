"""A root directory of a runtime's own: `/data` there is not the host's.

What the host has at the top is bound into a folder of the runtime's, in a mount namespace of its
server's, and that folder becomes the root. So what code adds at the top, and below the folders
that are not bound, is the runtime's own; the host's system folders cannot be written.
Nothing here isolates anything from hostile code.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import sys
from pathlib import Path

HOME = "home/jovyan"  # below the root
OWN = {"data", "workspace", "mnt", "srv", "lost+found"}
READ_ONLY = {"usr", "etc", "opt", "boot", "bin", "sbin", "lib", "lib32", "lib64", "var"}
NEW_MOUNTS, NEW_USER = 0x00020000, 0x10000000  # of unshare
BIND, RECURSIVE, PRIVATE, REMOUNT, READONLY = 4096, 16384, 1 << 18, 32, 1  # of mount


def needed() -> set[str]:
    """Folders at the top that this Python, and the emulator, lie in."""
    paths = (sys.prefix, sys.base_prefix, os.path.realpath(sys.executable), __file__)
    return {Path(path).resolve().parts[1] for path in paths}


def _call(name: str, *arguments: object) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if getattr(libc, name)(*arguments) != 0:
        raise OSError(ctypes.get_errno(), f"{name}{arguments}")


def _mount(source: str, target: Path, flags: int) -> None:
    _call("mount", source.encode(), os.fsencode(target), None, flags, None)


def _unshare() -> None:
    uid, gid = os.getuid(), os.getgid()
    if uid == 0:
        _call("unshare", NEW_MOUNTS)
    else:
        _call("unshare", NEW_MOUNTS | NEW_USER)
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"{uid} {uid} 1")
        Path("/proc/self/gid_map").write_text(f"{gid} {gid} 1")
    _mount("none", Path("/"), RECURSIVE | PRIVATE)  # from here on, nobody else sees our mounts


def _bind(source: Path, target: Path) -> None:
    if source.is_symlink():
        if not target.is_symlink():
            target.symlink_to(os.readlink(source))
        return
    if source.is_dir():
        target.mkdir(exist_ok=True)
    else:
        target.touch()
    _mount(str(source), target, BIND | RECURSIVE)


def enter(root: Path) -> None:
    """Make `root` the root of this process. It has one thread.

    Raises:
        OSError: not here.
    """
    _unshare()
    own = OWN - needed()
    for top in Path("/").iterdir():
        if top.name == "home":
            for one in top.iterdir():
                if one.name != Path(HOME).name:
                    _bind(one, root / "home" / one.name)
        elif top.name not in own:
            _bind(top, root / top.name)
            if top.name in READ_ONLY and os.getuid() == 0 and not top.is_symlink():
                _mount("none", root / top.name, BIND | REMOUNT | READONLY)
    os.chroot(root)
    os.chdir("/")


def possible(root: Path) -> bool:
    """Whether `enter` works here: a child tries."""
    if sys.platform != "linux":
        return False
    (root / HOME).mkdir(parents=True, exist_ok=True)
    pid = os.fork()
    if pid == 0:
        try:
            enter(root)
        except OSError:
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def remove(folder: Path) -> None:
    """Remove a folder with all below it; refuse where something is mounted there.

    Raises:
        RuntimeError: something is: it would be removed as well.
    """
    mounts = Path("/proc/self/mountinfo")
    if mounts.exists():
        points = [line.split()[4] for line in mounts.read_text().splitlines()]
        if below := [point for point in points if Path(point).is_relative_to(folder.resolve())]:
            raise RuntimeError(f"mounted below {folder}: {below}")
    shutil.rmtree(folder, ignore_errors=True)
