"""Run code somewhere safe, and see what came of it.

::

    from code_sandboxes import Sandbox

    with Sandbox.create("local-eval") as sandbox:
        sandbox.run_code("x = 20")
        print(sandbox.run_code("x + 22").text)   # 42
"""

from typing import TYPE_CHECKING, Any

from .config import SandboxConfig
from .errors import (
    CloudError,
    CloudUnavailableError,
    ConfigurationError,
    CredentialsError,
    CreditsError,
    ExecutionFailedError,
    FileError,
    MissingExtraError,
    QuotaError,
    SandboxClosedError,
    SandboxError,
    SandboxExpiredError,
    SandboxGoneError,
    SandboxInUseError,
    SandboxNotFoundError,
    SandboxPausedError,
    SandboxStartError,
    SnapshotNotFoundError,
    UnknownVariantError,
    UnsupportedError,
)
from .events import Ask, Clear, Display, Done, Event, ExecutionError, Output, Started
from .infos import (
    Context,
    FileChange,
    FileInfo,
    ProcessInfo,
    SandboxInfo,
    Snapshot,
    VariableInfo,
)
from .kernel import Capability
from .models import CommandResult, ExecutionResult, OutputMessage, Result
from .pool import SandboxPool
from .process import Process
from .sandbox import Sandbox
from .text import printable

if TYPE_CHECKING:
    from .aio import AsyncSandbox
    from .aio_commands import AsyncProcess
    from .aio_pool import AsyncSandboxPool

__version__ = "0.1.0"
__all__ = [
    "Ask",
    "AsyncProcess",
    "AsyncSandbox",
    "AsyncSandboxPool",
    "Capability",
    "Clear",
    "CloudError",
    "CloudUnavailableError",
    "CommandResult",
    "ConfigurationError",
    "Context",
    "CredentialsError",
    "CreditsError",
    "Display",
    "Done",
    "Event",
    "ExecutionError",
    "ExecutionFailedError",
    "ExecutionResult",
    "FileChange",
    "FileError",
    "FileInfo",
    "MissingExtraError",
    "Output",
    "OutputMessage",
    "Process",
    "ProcessInfo",
    "QuotaError",
    "Result",
    "Sandbox",
    "SandboxClosedError",
    "SandboxConfig",
    "SandboxError",
    "SandboxExpiredError",
    "SandboxGoneError",
    "SandboxInUseError",
    "SandboxInfo",
    "SandboxNotFoundError",
    "SandboxPausedError",
    "SandboxPool",
    "SandboxStartError",
    "Snapshot",
    "SnapshotNotFoundError",
    "Started",
    "UnknownVariantError",
    "UnsupportedError",
    "VariableInfo",
    "printable",
]


def __getattr__(name: str) -> Any:
    """The async half is loaded when it is asked for: asyncio is half of this package's import."""
    if name == "AsyncSandbox":
        from .aio import AsyncSandbox

        return AsyncSandbox
    if name == "AsyncProcess":
        from .aio_commands import AsyncProcess

        return AsyncProcess
    if name == "AsyncSandboxPool":
        from .aio_pool import AsyncSandboxPool

        return AsyncSandboxPool
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
