"""What can go wrong with a sandbox, or with a call to one.

::

    SandboxError
    ├── ConfigurationError (ValueError)         a wrong argument or option, or a wrong combination
    │   └── UnknownVariantError (LookupError)   no variant of that name
    ├── UnsupportedError (NotImplementedError)  this variant, on this machine, cannot do that
    ├── MissingExtraError (ImportError)         an optional dependency is not installed
    ├── SandboxStartError (RuntimeError)        it could not be started
    ├── SandboxGoneError (ConnectionError)      it ended, or the connection to it was lost
    │   └── SandboxExpiredError                 its `max_lifetime` is over
    ├── SandboxClosedError (RuntimeError)       the caller has terminated or detached it
    ├── SandboxPausedError (RuntimeError)       it is paused: `resume()` it first
    ├── SandboxNotFoundError (LookupError)      no sandbox of that id
    ├── SandboxInUseError (RuntimeError)        another live process owns it
    ├── SnapshotNotFoundError (LookupError)     no snapshot of that name
    ├── CloudError (RuntimeError)               the service of a cloud variant refused, or failed
    │   ├── CredentialsError                    its API key is missing, wrong or expired
    │   ├── CreditsError                        the account has not enough credits
    │   ├── QuotaError                          the account may have no more of something
    │   └── CloudUnavailableError (ConnectionError)  it cannot be reached, or does not answer
    ├── FileError (OSError)                     what the sandbox's own file system said:
    │                                           each is also the builtin (FileNotFoundError, ...)
    └── ExecutionFailedError (RuntimeError)     only from `raise_for_error()`

What the code inside did wrong is never raised: it is `result.error`.
"""

from __future__ import annotations

import os

from .text import printable


class SandboxError(Exception):
    """Something is wrong with the sandbox or with the call; never with the code that ran."""


class ConfigurationError(SandboxError, ValueError):
    """A wrong argument or option, or two that contradict each other."""


class UnknownVariantError(ConfigurationError, LookupError):
    """No variant of that name is registered."""


class UnsupportedError(SandboxError, NotImplementedError):
    """This variant, on this machine, cannot do that."""


class MissingExtraError(SandboxError, ImportError):
    """An optional dependency is not installed; the message names the extra that brings it."""


class SandboxStartError(SandboxError, RuntimeError):
    """The sandbox could not be started."""


class SandboxGoneError(SandboxError, ConnectionError):
    """The sandbox ended, or the connection to it was lost."""


class SandboxExpiredError(SandboxGoneError):
    """The sandbox reached its `max_lifetime`."""


class SandboxClosedError(SandboxError, RuntimeError):
    """This handle was terminated or detached; create a sandbox, or adopt one with `from_id`."""


class SandboxPausedError(SandboxError, RuntimeError):
    """The sandbox is paused; `resume()` lets it go on."""


class SandboxNotFoundError(SandboxError, LookupError):
    """There is no sandbox of that id, or it has ended."""


class SandboxInUseError(SandboxError, RuntimeError):
    """Another live process owns the sandbox."""


class SnapshotNotFoundError(SandboxError, LookupError):
    """There is no snapshot of that name; `Sandbox.list_snapshots()` shows all."""


class CloudError(SandboxError, RuntimeError):
    """The service of a cloud variant refused a call, or failed at it.

    Attributes:
        status: the HTTP status that it answered; None without one.
    """

    def __init__(self, text: str, status: int | None = None) -> None:
        super().__init__(text)
        self.status = status


class CredentialsError(CloudError):
    """The API key of the cloud is missing, wrong or expired; it is never part of the message."""


class CreditsError(CloudError):
    """The account has not enough credits for the time that was asked for."""


class QuotaError(CloudError):
    """The account may have no more runtimes, snapshots or requests at this time."""


class CloudUnavailableError(CloudError, ConnectionError):
    """The cloud's service cannot be reached, does not answer in time, or is out of order."""


class ExecutionFailedError(SandboxError, RuntimeError):
    """Code or a command failed, and the caller asked for an exception.

    Attributes:
        name: the class of the error inside, for example ``"ZeroDivisionError"``.
        value: its message, raw.
        traceback: its traceback, raw; ``""`` for a command.
    """

    def __init__(self, name: str, value: str, traceback: str = "") -> None:
        super().__init__(printable(f"{name}: {value}" + (f"\n{traceback}" if traceback else "")))
        self.name, self.value, self.traceback = name, value, traceback


class FileError(SandboxError, OSError):
    """What the sandbox's own file system said; `errno` and `filename` are set."""


class _NotFound(FileError, FileNotFoundError): ...


class _Exists(FileError, FileExistsError): ...


class _IsADirectory(FileError, IsADirectoryError): ...


class _NotADirectory(FileError, NotADirectoryError): ...


class _Permission(FileError, PermissionError): ...


class _NoProcess(FileError, ProcessLookupError): ...


_FILE_ERRORS: dict[str, type[FileError]] = {
    "FileNotFoundError": _NotFound,
    "FileExistsError": _Exists,
    "IsADirectoryError": _IsADirectory,
    "NotADirectoryError": _NotADirectory,
    "PermissionError": _Permission,
    "ProcessLookupError": _NoProcess,
}
for _name, _kind in _FILE_ERRORS.items():
    _kind.__name__ = _kind.__qualname__ = _name  # a traceback shows the builtin's own name


def from_inside(name: str, number: int | None, text: str, path: str | None) -> SandboxError:
    """The error that the supervisor reports, as ours and as the builtin it was there.

    Args:
        name: the class name of the exception inside; only known names are looked up.
        number: its errno.
        text: its message.
        path: the path that the call was about.
    """
    if number is not None:
        kind = _FILE_ERRORS.get(name, FileError)
        return kind(number, printable(text or os.strerror(number)), path)
    if name in ("ValueError", "TypeError", "UnicodeEncodeError"):
        return ConfigurationError(printable(text))
    return SandboxGoneError(printable(f"the supervisor failed: {name}: {text}"))
