"""What the backend for Deep Agents does in a sandbox; see _steps."""

from __future__ import annotations

import re
from collections.abc import Generator
from typing import Any, NoReturn, TypeVar

from code_sandboxes import ConfigurationError, SandboxError
from code_sandboxes import printable as clean

from ._extras import missing

try:
    from deepagents.backends.protocol import (
        DeleteResult,
        EditResult,
        ExecuteResponse,
        FileDownloadResponse,
        FileUploadResponse,
        WriteResult,
    )
except ImportError as error:
    raise missing("deepagents", error) from error

T = TypeVar("T")
Steps = Generator[Any, Any, T]
LONE = re.compile("[\ud800-\udfff]")
ERRORS: dict[type[Exception], str] = {
    FileNotFoundError: "file_not_found",
    IsADirectoryError: "is_directory",
    PermissionError: "permission_denied",
    NotADirectoryError: "invalid_path",
    ConfigurationError: "invalid_path",
}


def execute(sandbox: Any, command: str, timeout: int | None) -> Steps[ExecuteResponse]:
    limit = {} if timeout is None else {"timeout": timeout or None}
    try:
        # one stream, in the order in which it was printed
        ran = yield sandbox.commands.run(f"exec 2>&1\n{command}", **limit)
    except SandboxError as error:
        return ExecuteResponse(f"[{type(error).__name__}: {clean(str(error))}]", exit_code=None)
    output = ran.stdout
    if ran.error is not None:
        output += f"\n[{ran.error.name}: {clean(ran.error.value)}]"
    return ExecuteResponse(output, exit_code=ran.exit_code, truncated=ran.dropped > 0)


class Ended:
    """Stands for a sandbox that has ended: whatever it is asked, it says that."""

    def __init__(self, error: SandboxError) -> None:
        self._error = error

    @property
    def files(self) -> NoReturn:
        raise self._error

    commands = files


def real(sandbox: Any, path: str, *texts: str) -> Steps[tuple[str, str | None]]:
    """The path as commands need it; else why there is none, or why a command cannot have these."""
    if any(LONE.search(text) for text in (path, *texts)):
        return "", "Error: a lone surrogate is no character, and in no text of a command"
    try:
        return (yield from _located(sandbox, path)), None
    except SandboxError as error:
        return "", f"{path}: {clean(str(error))}"


def _located(sandbox: Any, path: str) -> Steps[str]:
    """Where a path is. `/notes.txt`, and what Deep Agents itself keeps in `/large_tool_results`:
    what begins with no directory that there is at the root, is below the working directory."""
    real = str((yield sandbox.files.resolve(path)))
    if (yield sandbox.files.resolve("/")) != "/":  # its files are all below its home
        return real
    top = "/".join(real.split("/")[:2])
    if path.startswith("/") and not (yield sandbox.files.exists(top)):
        real = f"{(yield sandbox.files.resolve('.'))}{real}"
    return real


def write(sandbox: Any, path: str, content: str) -> Steps[WriteResult]:
    try:
        real = yield from _located(sandbox, path)
        yield sandbox.files.write(real, content)
        return WriteResult(path=real)
    except SandboxError as error:
        return WriteResult(error=f"Failed to write file '{path}': {clean(str(error))}")


def edit(sandbox: Any, path: str, old: str, new: str, every: bool) -> Steps[EditResult]:
    if not old:
        return EditResult(error="Error: old_string must not be empty")
    try:
        real = yield from _located(sandbox, path)
        text = (yield sandbox.files.read_bytes(real)).decode()
        old, new = next(
            (each for each in _line_ends(old, new, text) if each[0] in text), (old, new)
        )
        count = text.count(old)
        if count == 0:
            return EditResult(error=f"Error: String not found in file: '{old}'")
        if count > 1 and not every:
            many = "appears multiple times. Use replace_all=True to replace all occurrences."
            return EditResult(error=f"Error: String '{old}' {many}")
        yield sandbox.files.write(real, text.replace(old, new).encode())
    except UnicodeDecodeError:
        return EditResult(error=f"Error: File '{path}' is not a text file")
    except UnicodeEncodeError as error:
        return EditResult(error=f"Error editing file '{path}': {error}")
    except FileNotFoundError:
        return EditResult(error=f"Error: File '{path}' not found")
    except SandboxError as error:
        return EditResult(error=f"Error editing file '{path}': {clean(str(error))}")
    return EditResult(path=real, occurrences=count)


def _line_ends(old: str, new: str, text: str) -> list[tuple[str, str]]:
    # what a model has read ends its lines with \n, whatever the file's do
    plain = old.replace("\r\n", "\n"), new.replace("\r\n", "\n")
    dos = plain[0].replace("\n", "\r\n"), plain[1].replace("\n", "\r\n")
    if "\n" in text and text.count("\n") == text.count("\r\n"):
        return [dos]
    return [(old, new), dos, plain]


def delete(sandbox: Any, path: str) -> Steps[DeleteResult]:
    try:
        real = yield from _located(sandbox, path)
        yield sandbox.files.remove(real)
    except FileNotFoundError:
        return DeleteResult(error=f"Error: '{path}' not found")
    except SandboxError as error:
        return DeleteResult(error=f"Error deleting file '{path}': {clean(str(error))}")
    return DeleteResult(path=real)


def upload(sandbox: Any, files: list[tuple[str, bytes]]) -> Steps[list[FileUploadResponse]]:
    done = []
    for path, data in files:
        failed = None if path.startswith("/") else "invalid_path"
        try:
            if not failed:
                yield sandbox.files.write((yield from _located(sandbox, path)), data)
        except SandboxError as error:
            failed = _said(error)
        done.append(FileUploadResponse(path=path, error=failed))
    return done


def download(sandbox: Any, paths: list[str]) -> Steps[list[FileDownloadResponse]]:
    done = []
    for path in paths:
        data, failed = None, None if path.startswith("/") else "invalid_path"
        try:
            if not failed:
                data = yield sandbox.files.read_bytes((yield from _located(sandbox, path)))
        except SandboxError as error:
            failed = _said(error)
        done.append(FileDownloadResponse(path=path, content=data, error=failed))
    return done


def _said(error: SandboxError) -> str:
    """An error in the words of Deep Agents, where it has some."""
    known = (word for kind, word in ERRORS.items() if isinstance(error, kind))
    return next(known, clean(str(error)))
