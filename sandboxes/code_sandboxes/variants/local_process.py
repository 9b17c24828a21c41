"""What the two process-based variants share: folders, a supervisor as a child, detaching."""

from __future__ import annotations

import os
import shutil
import signal
import sys
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, ClassVar

from .. import egress
from ..config import SandboxConfig
from ..ctrl_c import Whole
from ..errors import SandboxNotFoundError, SandboxStartError
from ..inside.stream import StreamLost
from ..kernel import Capability, Pipe
from ..pipes import ChildPipe, SocketPipe, connect_socket
from ..wire import SUPERVISOR, boot, start_message
from .folders import Folders
from .not_yet import NO_PAUSE

YES = Capability(True)
MARKER = "CODE_SANDBOXES_ID"  # in the environment of everything below a supervisor
# Removes the folders after the supervisor, however that ended. The shell keeps no end of its
# pipes, so that both sides see it end; a background job would get /dev/null as its input.
_SWEEP = """
exec 3<&0
"$@" <&3 3<&- &
exec 3<&- 0<&- 1>&-
wait $!
status=$?
rm -rf "$0" 2>/dev/null || { chmod -R u+rwX "$0"; rm -rf "$0"; }
exit $status
"""
END_SECONDS = 10.0


def process_capabilities(name: str) -> dict[str, Capability]:
    """What a variant without a system of its own can, and why not the rest."""
    system = Capability(False, f"{name} runs on the host's own system, which it must not change")
    limits = Capability(False, f"{name} is a plain process: nothing bounds what it uses")
    kinds = (
        "create",
        "working_dir",
        "env_vars",
        "tags",
        "max_lifetime",
        "detach",
        "contexts",
        "files",
        "snapshots",
        "snapshot_name",
    )
    can = dict.fromkeys((*kinds, "commands", "install_packages", "network_policy=all"), YES)
    return can | {
        "memory_limit": limits,
        "cpu_limit": limits,
        "disk_limit": limits,
        "writable_root": system,
        "runtime": Capability(False, f"{name} has no container"),
        "gpu": Capability(False, f"{name} sees the host's GPUs as they are; none can be asked for"),
        "install_system_packages": system,
        **NO_PAUSE,
    }


class LocalProcess:
    """A supervisor as a child process, in folders of its own.

    Args:
        config: the whole configuration; what cannot be honoured was refused before.
        id: the sandbox's id.
    """

    name: ClassVar[str]
    isolation = "none"
    most_kept = 64 << 30
    modules: ClassVar[tuple[str, ...]]
    preload: ClassVar[tuple[str, ...]] = ()

    def __init__(self, config: SandboxConfig, id: str) -> None:
        self.config, self._id = config, id
        self.folders: Folders | None = None
        self._pipe: ChildPipe | None = None
        self._adopted: SocketPipe | None = None
        self._why = ""

    def provision(self) -> Pipe:
        """See Variant."""
        try:
            with Whole():  # a few milliseconds; whatever is made is known to `stop`
                self.folders, cwd = Folders.make(self.config.working_dir)
                self._pipe = self._start(self.folders, cwd)
        except (OSError, StreamLost) as error:
            why = self.diagnosis() or str(error)
            self.stop()
            raise SandboxStartError(f"the sandbox did not start: {why}") from error
        except BaseException:  # refused, or Ctrl-C: no folder stays
            self.stop()
            raise
        return self._pipe

    def _start(self, folders: Folders, cwd: str) -> ChildPipe:
        env = folders.environment(self.config.env_vars) | {MARKER: self._id}
        if self.config.network_policy == "allowlist":
            env = egress.environment_upon(env, self.config.env_vars)
        options = {
            "home": folders.home,
            "cwd": cwd,
            "rooted": True,
            "fork": True,
            "preload": list(self.preload),
            "places": folders.kept(),
            "max_lifetime": self.config.max_lifetime,
            **self.supervisor_options(),
        }
        argv = self.command([folders.python, "-c", boot()])
        argv = ["/bin/sh", "-c", _SWEEP, folders.base, *argv]
        self._pipe = pipe = ChildPipe(argv, env, folders.log)
        modules = (*SUPERVISOR, *self.modules)
        pipe.write(start_message("start", modules, options, same_python=True))
        return pipe

    def command(self, plain: list[str]) -> list[str]:
        """The argv of the supervisor; a confined variant wraps it."""
        return plain

    def supervisor_options(self) -> dict[str, Any]:
        """Further options of the supervisor."""
        return {}

    def diagnosis(self) -> str:
        """See Variant."""
        if not self._why and self._pipe is not None:
            self._why = self._pipe.errors()
        return self._why

    def stop(self) -> None:
        """See Variant."""
        if self._pipe is not None:
            self._pipe.close()
            if self._pipe.wait(END_SECONDS) != 0:  # the supervisor was killed, or hangs
                kill_marked(self._id)
        if self._adopted is not None:
            self._adopted.free()
        if self.folders is not None and self._adopted is None:
            shutil.rmtree(self.folders.base, ignore_errors=True)

    # Detachable -----------------------------------------------------------------------
    def detach_at(self) -> str:
        """See Detachable."""
        assert self.folders is not None
        return f"{self.folders.run}/supervisor"

    def let_go(self) -> None:
        """See Detachable: after the supervisor has said yes."""
        if self._pipe is not None:
            self._pipe.release()
            self._pipe = None
        if self._adopted is not None:
            self._adopted.free()

    def record(self) -> dict[str, Any]:
        """See Detachable."""
        assert self.folders is not None
        return {"base": self.folders.base}

    def adopt(self, record: Mapping[str, Any]) -> Pipe:
        """See Detachable."""
        self.folders = Folders(str(record["base"]))
        try:
            peer = connect_socket(f"{self.folders.run}/supervisor")
        except OSError as error:
            raise SandboxNotFoundError(f"sandbox {self._id!r} has ended") from error
        self._adopted = SocketPipe(peer)
        return self._adopted


def kill_marked(id: str) -> None:
    """Kill what carries the sandbox's mark: something does only if its supervisor was killed."""
    if sys.platform != "linux":
        return
    mark = f"{MARKER}={id}".encode()
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            with suppress(OSError), open(f"/proc/{entry}/environ", "rb") as file:
                if mark in file.read().split(b"\0"):
                    os.kill(int(entry), signal.SIGKILL)
