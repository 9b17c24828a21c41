"""Deep Agents: a sandbox as the backend in which a deep agent keeps its files and runs commands.

::

    with Sandbox.create(variant="local-docker") as sandbox:
        agent = create_deep_agent(model, backend=CodeSandboxBackend(sandbox),
                                  tools=[create_run_code_tool(sandbox)])
        agent.invoke({"messages": [("user", "Write a parser for this log, and test it")]})
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any, TypeVar

from code_sandboxes import AsyncSandbox, ConfigurationError, Sandbox, SandboxError

from . import _deepagents_steps as steps
from ._aio import as_async
from ._deepagents_steps import Steps
from ._extras import missing
from ._steps import arun, run

try:
    from deepagents.backends.protocol import (
        DeleteResult,
        EditResult,
        ExecuteResponse,
        FileDownloadResponse,
        FileUploadResponse,
        GlobResult,
        GrepResult,
        LsResult,
        ReadResult,
        WriteResult,
    )
    from deepagents.backends.sandbox import BaseSandbox
    from langchain_core.runnables import RunnableConfig
    from langgraph.config import get_config
except ImportError as error:
    raise missing("deepagents", error) from error

__all__ = ["CodeSandboxBackend", "Source"]

Source = Sandbox | AsyncSandbox | Callable[[RunnableConfig], Sandbox | AsyncSandbox]
T = TypeVar("T")


class CodeSandboxBackend(BaseSandbox):
    """The files and the shell of a deep agent, in a sandbox.

    A command that fails, and a sandbox that has ended, are results that the model reads: the run
    goes on. A path like ``/notes.txt``, which begins with no directory that there is at the root,
    is below the working directory, and so is all else in `local-eval` and `local-jupyter`, which
    have no file system of their own; the results tell the whole path, which commands need.

    Code that keeps its variables, and figures, are for `create_run_code_tool` of the LangChain
    adapter, over the same sandbox.

    Args:
        sandbox: where to work; it stays the caller's. Or a function that finds it from the
            `RunnableConfig` of the call, say by ``config["configurable"]["thread_id"]``; that
            serves the agent's calls only.

    Raises:
        ConfigurationError: `sandbox` is neither.

    Example:
        >>> with Sandbox.create(variant="local-eval") as sandbox:
        ...     backend = CodeSandboxBackend(sandbox)
        ...     written = backend.write("/notes.txt", "hello")
        ...     backend.execute("cat notes.txt").output
        'hello'
    """

    def __init__(self, sandbox: Source) -> None:
        if not isinstance(sandbox, Sandbox | AsyncSandbox) and not callable(sandbox):
            raise ConfigurationError(f"a sandbox, or a function that finds one; not {sandbox!r}")
        self._source = sandbox
        self._editing = threading.Lock()  # a model may ask for several edits of a file at once

    @property
    def id(self) -> str:
        """The sandbox's id."""
        return self._found().id

    def _found(self) -> Sandbox | AsyncSandbox:
        source = self._source
        found = source if isinstance(source, Sandbox | AsyncSandbox) else source(get_config())
        if not isinstance(found, Sandbox | AsyncSandbox):
            raise ConfigurationError(f"the function has found {found!r}, which is no sandbox")
        return found

    def _run(self, step: Callable[..., Steps[T]], *arguments: Any) -> T:
        found = self._found()
        if isinstance(found, AsyncSandbox):
            try:  # in the process of its owner, this is the same sandbox
                found = Sandbox.from_id(found.id)
            except SandboxError as error:
                return run(step(steps.Ended(error), *arguments))
        return run(step(found, *arguments))

    async def _arun(self, step: Callable[..., Steps[T]], *arguments: Any) -> T:
        try:
            sandbox = await as_async(self._found())
        except SandboxError as error:
            return run(step(steps.Ended(error), *arguments))
        return await arun(step(sandbox, *arguments))

    # commands -------------------------------------------------------------------------
    def execute(self, command: str, *, timeout: int | None = None) -> ExecuteResponse:
        """Run a shell command.

        Args:
            command: the shell's text.
            timeout: seconds; None for the sandbox's own, 0 for no limit.
        """
        return self._run(steps.execute, command, timeout)

    async def aexecute(self, command: str, *, timeout: int | None = None) -> ExecuteResponse:
        """See execute."""
        return await self._arun(steps.execute, command, timeout)

    # files, by the sandbox's own verbs ------------------------------------------------
    def write(self, file_path: str, content: str) -> WriteResult:
        """See BackendProtocol."""
        return self._run(steps.write, file_path, content)

    async def awrite(self, file_path: str, content: str) -> WriteResult:
        """See BackendProtocol."""
        return await self._arun(steps.write, file_path, content)

    def edit(
        self, file_path: str, old_string: str, new_string: str, replace_all: bool = False
    ) -> EditResult:
        """See BackendProtocol."""
        with self._editing:
            return self._run(steps.edit, file_path, old_string, new_string, replace_all)

    async def aedit(
        self, file_path: str, old_string: str, new_string: str, replace_all: bool = False
    ) -> EditResult:
        """See BackendProtocol."""
        return await asyncio.to_thread(self.edit, file_path, old_string, new_string, replace_all)

    def delete(self, file_path: str) -> DeleteResult:
        """See BackendProtocol."""
        return self._run(steps.delete, file_path)

    async def adelete(self, file_path: str) -> DeleteResult:
        """See BackendProtocol."""
        return await self._arun(steps.delete, file_path)

    def upload_files(self, files: list[tuple[str, bytes]]) -> list[FileUploadResponse]:
        """See BackendProtocol."""
        return self._run(steps.upload, files)

    async def aupload_files(self, files: list[tuple[str, bytes]]) -> list[FileUploadResponse]:
        """See BackendProtocol."""
        return await self._arun(steps.upload, files)

    def download_files(self, paths: list[str]) -> list[FileDownloadResponse]:
        """See BackendProtocol."""
        return self._run(steps.download, paths)

    async def adownload_files(self, paths: list[str]) -> list[FileDownloadResponse]:
        """See BackendProtocol."""
        return await self._arun(steps.download, paths)

    # files, by commands of the base class ---------------------------------------------
    def ls(self, path: str) -> LsResult:
        """See BackendProtocol."""
        real, wrong = self._run(steps.real, path)
        return LsResult(error=wrong) if wrong else super().ls(real)

    async def als(self, path: str) -> LsResult:
        """See BackendProtocol."""
        real, wrong = await self._arun(steps.real, path)
        return LsResult(error=wrong) if wrong else await super().als(real)

    def read(self, file_path: str, offset: int = 0, limit: int = 2000) -> ReadResult:
        """See BackendProtocol."""
        real, wrong = self._run(steps.real, file_path)
        return ReadResult(error=wrong) if wrong else super().read(real, offset, limit)

    async def aread(self, file_path: str, offset: int = 0, limit: int = 2000) -> ReadResult:
        """See BackendProtocol."""
        real, wrong = await self._arun(steps.real, file_path)
        return ReadResult(error=wrong) if wrong else await super().aread(real, offset, limit)

    def glob(self, pattern: str, path: str | None = None) -> GlobResult:
        """See BackendProtocol."""
        real, wrong = self._run(steps.real, path or ".", pattern)
        return GlobResult(error=wrong) if wrong else super().glob(pattern, real)

    async def aglob(self, pattern: str, path: str | None = None) -> GlobResult:
        """See BackendProtocol."""
        real, wrong = await self._arun(steps.real, path or ".", pattern)
        return GlobResult(error=wrong) if wrong else await super().aglob(pattern, real)

    def grep(
        self,
        pattern: str,
        path: str | None = None,
        glob: str | None = None,
        *,
        max_count: int | None = None,
    ) -> GrepResult:
        """See BackendProtocol."""
        real, wrong = self._run(steps.real, path or ".", pattern, glob or "")
        if wrong:
            return GrepResult(error=wrong)
        return super().grep(pattern, real, glob, max_count=max_count)

    async def agrep(
        self,
        pattern: str,
        path: str | None = None,
        glob: str | None = None,
        *,
        max_count: int | None = None,
    ) -> GrepResult:
        """See BackendProtocol."""
        real, wrong = await self._arun(steps.real, path or ".", pattern, glob or "")
        if wrong:
            return GrepResult(error=wrong)
        return await super().agrep(pattern, real, glob, max_count=max_count)
