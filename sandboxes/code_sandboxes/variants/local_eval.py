"""Code in a plain Python child. No isolation whatever, and none is claimed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from ..channels.worker import WorkerChannel
from ..kernel import Capability, Channel
from ..machine import Machine
from ..wire import INTERPRETER
from .local_process import LocalProcess, process_capabilities

_NO_BOUNDARY = Capability(
    False, "local-eval has no boundary at all: its code is a plain child process of yours"
)


class LocalEval(LocalProcess):
    """`exec` in a plain Python child process: for development and tests.

    The code has the rights of the user that runs it: their files, their network.
    """

    name: ClassVar[str] = "local-eval"
    modules: ClassVar[tuple[str, ...]] = INTERPRETER
    preload: ClassVar[tuple[str, ...]] = ("_code_sandboxes.worker",)

    @classmethod
    def capabilities(cls) -> Mapping[str, Capability]:
        """See Variant."""
        environment = Capability(
            False, "local-eval runs your own Python: there is nothing to choose"
        )
        return process_capabilities(cls.name) | {
            "environment": environment,
            "confined": _NO_BOUNDARY,
            "network_policy=none": _NO_BOUNDARY,
            "network_policy=allowlist": _NO_BOUNDARY,
        }

    def interpreter(self, machine: Machine, name: str) -> Channel:
        """See Variant."""
        return WorkerChannel(machine, name)
