"""A sandbox as the workspace in which runs of Pydantic AI work."""

from __future__ import annotations

import asyncio
import errno
import math
import os
import posixpath
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from code_sandboxes import (
    AsyncSandbox,
    ConfigurationError,
    FileInfo,
    Sandbox,
    SandboxClosedError,
    SandboxGoneError,
    SandboxInUseError,
    SandboxNotFoundError,
)

from ._extras import missing
from ._finder import Finder

try:
    from pydantic_ai.workspaces import (
        CommandResult,
        FileEntry,
        SupportsCommands,
        SupportsFilesystem,
        SupportsRealpath,
        WorkspaceBackend,
        WorkspaceOutputLimitError,
        WorkspaceRef,
        WorkspaceTimeoutError,
        WorkspaceUnavailableError,
    )
except ImportError as error:
    raise missing("pydantic-ai", error) from error

PROVIDER = "code-sandboxes"
PREVIEW = 1 << 16  # characters of an output that was too long
GONE = (SandboxClosedError, SandboxGoneError, SandboxInUseError, SandboxNotFoundError)


class CodeSandboxBackend(WorkspaceBackend, SupportsCommands, SupportsFilesystem, SupportsRealpath):
    """Commands and files of a sandbox, as Pydantic AI's `ctx.workspace` wants them.

    It does nothing until it is first used; then it creates a sandbox, or finds the one of its
    `ref`. It never ends one. In `local-eval` and `local-jupyter` the files end at the sandbox's
    home: a path outside is a `PermissionError`.

    Args:
        sandbox: the one to use.
        ref: or which one to find: one of this process, or a detached one.
        create: or the options of `AsyncSandbox.create`, for a new one.
        on_create: called with what was created.

    Example:
        >>> import asyncio
        >>> from pydantic_ai.workspaces import Workspace
        >>> async def main():
        ...     async with await AsyncSandbox.create("local-eval") as sandbox:
        ...         workspace = Workspace(CodeSandboxBackend(sandbox))
        ...         await workspace.write_text("notes.txt", "hello")
        ...         return (await workspace.run(["cat", "notes.txt"])).stdout
        >>> asyncio.run(main())
        'hello'
    """

    def __init__(
        self,
        sandbox: Sandbox | AsyncSandbox | None = None,
        *,
        ref: WorkspaceRef | None = None,
        create: Mapping[str, Any] | None = None,
        on_create: Callable[[Sandbox], None] = lambda sandbox: None,
    ) -> None:
        if sandbox is not None and not isinstance(sandbox, Sandbox | AsyncSandbox):
            raise ConfigurationError(f"{sandbox!r} is no sandbox")
        id = sandbox.id if sandbox is not None else ref.id if ref is not None else None
        self._finder = Finder(id, dict(create or {}), on_create)
        self._sandbox = sandbox  # one that nobody holds is terminated
        self._root = self._cwd = ""

    @property
    def ref(self) -> WorkspaceRef | None:
        """Which sandbox it is; None before one is created."""
        id = self._finder.id
        return None if id is None else WorkspaceRef(provider=PROVIDER, id=id)

    async def sandbox(self) -> AsyncSandbox:
        """The sandbox itself; the first call creates or finds it.

        Raises:
            WorkspaceUnavailableError: it has ended, or another process owns it.
        """
        with _unavailable():
            found = await self._finder.sandbox()
        self._root, self._cwd = self._finder.places
        return found

    async def working_dir(self) -> str:
        """Where commands start."""
        await self.sandbox()
        return self._cwd

    async def run(
        self,
        command: str | Sequence[str],
        *,
        shell: bool = False,
        env: Mapping[str, str] | None = None,
        timeout: float | None = None,
    ) -> CommandResult:
        """See SupportsCommands."""
        if isinstance(command, str) != shell:
            raise TypeError("a string is for shell=True, a sequence of arguments for shell=False")
        if timeout is not None and not (math.isfinite(timeout) and timeout > 0):
            raise ValueError("timeout is a positive finite number of seconds, or None")
        sandbox = await self.sandbox()
        with _unavailable():
            asked = command if isinstance(command, str) else list(command)
            result = await sandbox.commands.run(asked, env=env, timeout=timeout)
        if sandbox.closed or (result.error is not None and result.error.state_lost):
            raise WorkspaceUnavailableError("the sandbox ended while the command ran")
        out, err = result.stdout, result.stderr
        if result.error is not None and result.error.name == "ExecutionTimeout":
            raise WorkspaceTimeoutError(
                f"the command took more than {timeout:g} s", stdout=out, stderr=err
            )
        if result.dropped:
            raise WorkspaceOutputLimitError(
                f"the output has {result.dropped:,} bytes more than are kept; write it to a file",
                limit=sandbox.config.max_output,
                stdout=out[:PREVIEW],
                stderr=err[:PREVIEW],
            )
        if result.error is not None and not err:  # say why it did not run
            err = f"{result.error.value}\n"
        return CommandResult(exit_code=result.exit_code, stdout=out, stderr=err)

    async def read_bytes(self, path: str) -> bytes:
        """See SupportsFilesystem."""
        sandbox, path = await self._reaching(path)
        with _unavailable():
            if (await sandbox.files.stat(path, follow_symlinks=True)).type == "other":
                raise OSError(errno.EINVAL, "not a regular file", path)
            return await sandbox.files.read_bytes(path)

    async def write_bytes(self, path: str, data: bytes) -> None:
        """See SupportsFilesystem; the file is there whole, or as it was."""
        sandbox, path = await self._reaching(path)
        with _unavailable():
            await sandbox.files.write(path, data)

    async def stat(self, path: str) -> FileEntry:
        """See SupportsFilesystem."""
        sandbox, path = await self._reaching(path)
        with _unavailable():
            return _entry(await sandbox.files.stat(path, follow_symlinks=True), path)

    async def list_dir(self, path: str) -> Sequence[FileEntry]:
        """See SupportsFilesystem."""
        sandbox, path = await self._reaching(path)
        with _unavailable():
            found = await sandbox.files.list(path)
            return await asyncio.gather(*(self._followed(sandbox, each) for each in found))

    @staticmethod
    async def _followed(sandbox: AsyncSandbox, found: FileInfo) -> FileEntry:
        if found.type == "symlink":
            with suppress(OSError):  # it leads nowhere, or out
                led = await sandbox.files.stat(found.path, follow_symlinks=True)
                return _entry(led, found.path)
        return _entry(found, found.path)

    async def make_dir(self, path: str) -> None:
        """See SupportsFilesystem."""
        sandbox, path = await self._reaching(path)
        with _unavailable():
            await sandbox.files.mkdir(path)

    async def remove(self, path: str) -> None:
        """See SupportsFilesystem."""
        await self.sandbox()
        self._check_not_above(posixpath.normpath(path))
        sandbox, path = await self._reaching(path)
        with _unavailable():
            parent, name = posixpath.split(path.rstrip("/"))
            if name in (".", ".."):
                target = await sandbox.files.realpath(path)
            else:  # of a link, the link itself
                target = posixpath.join(await sandbox.files.realpath(parent), name)
            self._check_not_above(target)
            await sandbox.files.remove(target)

    def _check_not_above(self, path: str) -> None:
        if posixpath.isabs(path) and posixpath.commonpath([path, self._cwd]) == path:
            raise ValueError(f"{path} is the working directory, or above it")

    async def exists(self, path: str) -> bool:
        """See SupportsFilesystem."""
        sandbox, path = await self._reaching(path)
        with _unavailable():
            return await sandbox.files.exists(path)

    async def realpath(self, path: str) -> str:
        """See SupportsRealpath."""
        sandbox, path = await self._reaching(path)
        with _unavailable():
            return await sandbox.files.realpath(path)

    async def _reaching(self, path: str) -> tuple[AsyncSandbox, str]:
        """The sandbox, if its files reach as far as `path`: else it would be another file's."""
        sandbox = await self.sandbox()
        if not posixpath.isabs(path):
            raise ValueError(f"a path of a workspace is absolute, not {path!r}")
        path = f"/{path.lstrip('/')}"
        if posixpath.commonpath([self._root, path]) != self._root:
            why = f"{os.strerror(errno.EACCES)}: the files of this sandbox end at {self._root}"
            raise PermissionError(errno.EACCES, why, path)
        return sandbox, path


def _entry(found: FileInfo, path: str) -> FileEntry:
    size = found.size if found.type == "file" else None
    name = posixpath.basename(path.rstrip("/")) or "/"
    return FileEntry(name=name, path=path, is_dir=found.is_dir, size=size)


@contextmanager
def _unavailable() -> Iterator[None]:
    """What Pydantic AI expects where a sandbox is gone: no retry can bring it back."""
    try:
        yield
    except GONE as error:
        raise WorkspaceUnavailableError(str(error)) from error
