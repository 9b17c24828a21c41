"""What the backend for Deep Agents does in a sandbox; see _steps."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, TypeVar

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


def real(sandbox: Any, path: str) -> Steps[tuple[str, str | None]]:
    """The path as commands need it; else why there is none."""
    try:
        return str((yield sandbox.files.resolve(path))), None
    except SandboxError as error:
        return "", f"{path}: {clean(str(error))}"


def write(sandbox: Any, path: str, content: str) -> Steps[WriteResult]:
    try:
        yield sandbox.files.write(path, content)
        return WriteResult(path=(yield sandbox.files.resolve(path)))
    except SandboxError as error:
        return WriteResult(error=f"Failed to write file '{path}': {_said(error)}")


def edit(sandbox: Any, path: str, old: str, new: str, every: bool) -> Steps[EditResult]:
    if not old:
        return EditResult(error="Error: old_string must not be empty")
    try:
        text = (yield sandbox.files.read_bytes(path)).decode()
        # what a model has read ends its lines with \n, whatever the file's do
        old, new = next(
            (each for each in _line_ends(old, new) if each[0] in text),
            (old, new),
        )
        count = text.count(old)
        if count == 0:
            return EditResult(error=f"Error: String not found in file: '{old}'")
        if count > 1 and not every:
            many = "appears multiple times. Use replace_all=True to replace all occurrences."
            return EditResult(error=f"Error: String '{old}' {many}")
        yield sandbox.files.write(path, text.replace(old, new).encode())
        real = yield sandbox.files.resolve(path)
    except UnicodeDecodeError:
        return EditResult(error=f"Error: File '{path}' is not a text file")
    except FileNotFoundError:
        return EditResult(error=f"Error: File '{path}' not found")
    except SandboxError as error:
        return EditResult(error=f"Error editing file '{path}': {_said(error)}")
    return EditResult(path=real, occurrences=count)


def _line_ends(old: str, new: str) -> list[tuple[str, str]]:
    plain = old.replace("\r\n", "\n"), new.replace("\r\n", "\n")
    return [(old, new), (plain[0].replace("\n", "\r\n"), plain[1].replace("\n", "\r\n")), plain]


def delete(sandbox: Any, path: str) -> Steps[DeleteResult]:
    try:
        real = yield sandbox.files.resolve(path)
        yield sandbox.files.remove(path)
    except FileNotFoundError:
        return DeleteResult(error=f"Error: '{path}' not found")
    except SandboxError as error:
        return DeleteResult(error=f"Error deleting file '{path}': {_said(error)}")
    return DeleteResult(path=real)


def upload(sandbox: Any, files: list[tuple[str, bytes]]) -> Steps[list[FileUploadResponse]]:
    done = []
    for path, data in files:
        failed = None if path.startswith("/") else "invalid_path"
        try:
            if not failed:
                yield sandbox.files.write(path, data)
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
                data = yield sandbox.files.read_bytes(path)
        except SandboxError as error:
            failed = _said(error)
        done.append(FileDownloadResponse(path=path, content=data, error=failed))
    return done


def _said(error: SandboxError) -> str:
    """An error in the words of Deep Agents, where it has some."""
    known = (word for kind, word in ERRORS.items() if isinstance(error, kind))
    return next(known, clean(str(error)))
