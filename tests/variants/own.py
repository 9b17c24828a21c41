"""A variant from outside: what CONTRIBUTING.md asks of one, and no more."""

import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Mapping
from typing import ClassVar

from code_sandboxes import Capability, SandboxConfig
from code_sandboxes.channels.worker import WorkerChannel
from code_sandboxes.kernel import Channel, Pipe
from code_sandboxes.machine import Machine
from code_sandboxes.pipes import ChildPipe
from code_sandboxes.wire import INTERPRETER, SUPERVISOR, boot, start_message

CAN = ("create", "working_dir", "env_vars", "tags", "max_lifetime", "contexts", "files", "commands")
CANNOT = (
    *("detach", "environment", "memory_limit", "cpu_limit", "gpu", "confined", "snapshot_name"),
    *("install_packages", "install_system_packages", "network_policy=none"),
    *("network_policy=allowlist", "network_policy=all"),
)


class Bare:
    """A supervisor below a plain Python, in a temporary directory."""

    name: ClassVar[str] = "bare"

    def __init__(self, config: SandboxConfig, id: str) -> None:
        self.config = config
        self._base, self._pipe = "", None

    @classmethod
    def capabilities(cls) -> Mapping[str, Capability]:
        no = Capability(False, "it is the smallest variant there can be")
        return dict.fromkeys(CAN, Capability(True)) | dict.fromkeys(CANNOT, no)

    def provision(self) -> Pipe:
        self._base = tempfile.mkdtemp(prefix="bare-")
        home = f"{self._base}/home"
        cwd = os.path.normpath(f"{home}/{self.config.working_dir or '.'}")
        os.makedirs(cwd)
        options = {"home": home, "cwd": cwd, "rooted": True, "fork": True}
        options["max_lifetime"] = self.config.max_lifetime
        path = os.path.dirname(sys.executable) + ":/usr/bin:/bin"
        env = {"PATH": path, "HOME": home, "LANG": "C.UTF-8", **self.config.env_vars}
        # the shell removes the directory, however the supervisor ends
        sweep = 'exec 3<&0; "$@" <&3 3<&- & exec 3<&- 0<&- 1>&-; wait; rm -rf "$0"'
        argv = ["/bin/sh", "-c", sweep, self._base, sys.executable, "-c", boot()]
        self._pipe = ChildPipe(argv, env, f"{self._base}/log")
        modules = (*SUPERVISOR, *INTERPRETER)
        self._pipe.write(start_message("start", modules, options, same_python=True))
        return self._pipe

    def interpreter(self, machine: Machine, name: str) -> Channel:
        return WorkerChannel(machine, name)

    def stop(self) -> None:
        self._pipe.close()
        self._pipe.wait(10)
        try:  # what code that killed the supervisor has left
            os.killpg(self._pipe.child.pid, signal.SIGKILL)
        except ProcessLookupError:
            shutil.rmtree(self._base, ignore_errors=True)

    def diagnosis(self) -> str:
        return self._pipe.errors()
