"""The tools that every adapter offers, described once."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from code_sandboxes import CommandResult, ConfigurationError, ExecutionResult, FileInfo

from ._render import Rendered, as_image, assemble, bounded, clean, render
from ._tooling import BadArgumentError, SandboxTool, Steps, described

MAX_TIMEOUT = 600.0
MAX_READ_BYTES = 4 << 20
MAX_ENTRIES = 500


def run_code(
    sandbox: Any, code: str, timeout_seconds: float | None = None, *, max_chars: int, **options: Any
) -> Steps:
    """Run Python code in a persistent session.

    Variables, imports and files stay for later calls. The value of a last expression is shown, as
    in a notebook cell; use print for anything else. Figures that you display are returned as
    images. The shell command `python -m pip install NAME` installs a package.

    Args:
        code: Complete Python source.
        timeout_seconds: Stop the code after this long, at most 600; variables are kept.
    """
    if not code.strip():
        raise BadArgumentError("code is empty; send Python source")
    limit = _limit(timeout_seconds)
    result: ExecutionResult = yield sandbox.run_code(code, **limit, **options)
    return render(result, max_chars=max_chars, ended=sandbox.closed)


def run_command(
    sandbox: Any,
    command: str,
    timeout_seconds: float | None = None,
    *,
    max_chars: int,
    **options: Any,
) -> Steps:
    """Run a shell command in the sandbox.

    Each call is a shell of its own: its working directory and variables do not last, files do.

    Args:
        command: The command line.
        timeout_seconds: Kill the command after this long, at most 600.
    """
    if not command.strip():
        raise BadArgumentError("command is empty")
    limit = _limit(timeout_seconds)
    result: CommandResult = yield sandbox.commands.run(command, **limit, **options)
    return render(result, max_chars=max_chars)


def read_file(
    sandbox: Any, path: str, first_line: int = 1, max_lines: int = 2000, *, max_chars: int
) -> Steps:
    """Read a file of the sandbox: lines of a text, or a PNG or JPEG picture.

    Args:
        path: Path of the file; a relative one starts at the working directory.
        first_line: The first line to read, counted from 1.
        max_lines: The most lines to read.
    """
    if first_line < 1 or max_lines < 1:
        raise BadArgumentError("first_line and max_lines are at least 1")
    info: FileInfo = yield sandbox.files.stat(path)
    if info.size > MAX_READ_BYTES:
        text = f"[{info.size:,} bytes: too large to read at once; use run_code to read parts of it]"
        return Rendered(text, (), True, {"success": False, "size": info.size})
    data: bytes = yield sandbox.files.read_bytes(path)
    return _file(data, first_line, max_lines, max_chars)


def write_file(sandbox: Any, path: str, content: str, *, max_chars: int) -> Steps:
    """Write a text file in the sandbox, in the place of any older one.

    Args:
        path: Path of the file; a relative one starts at the working directory.
        content: The whole text.
    """
    yield sandbox.files.write(path, content)
    return Rendered(f"wrote {len(content):,} characters to {path}", (), False, {"success": True})


def list_files(sandbox: Any, path: str = ".", depth: int = 1, *, max_chars: int) -> Steps:
    """List the files of a directory of the sandbox, with their sizes in bytes.

    Args:
        path: Path of the directory; a relative one starts at the working directory.
        depth: How many levels to list.
    """
    if depth < 1:
        raise BadArgumentError("depth is at least 1")
    found: list[FileInfo] = yield sandbox.files.list(path, depth=depth)
    lines = [
        f"{each.path}/" if each.type == "directory" else f"{each.path}  {each.size}"
        for each in found[:MAX_ENTRIES]
    ]
    if more := len(found) - MAX_ENTRIES:
        lines += [f"[{more} more entries]"] if more > 0 else []
    text = bounded(clean("\n".join(lines)), max_chars)
    return Rendered(text or "(empty)", (), False, {"success": True, "entries": len(found)})


def _limit(seconds: float | None) -> dict[str, float]:
    if seconds is None:
        return {}
    if not 0 < seconds <= MAX_TIMEOUT:
        raise BadArgumentError(f"timeout_seconds is between 0 and {MAX_TIMEOUT:g}")
    return {"timeout": seconds}


def _file(data: bytes, first_line: int, max_lines: int, max_chars: int) -> Rendered:
    if image := as_image(data):
        text = f"[{image.mime}, {len(data):,} bytes]"
        return Rendered(text, (image,), False, {"success": True})
    try:
        lines = data.decode().splitlines(keepends=True)
    except UnicodeDecodeError:
        return Rendered(f"[binary file, {len(data):,} bytes]", (), False, {"success": True})
    wanted = lines[first_line - 1 : first_line - 1 + max_lines]
    notes = []
    if len(wanted) < len(lines):
        notes.append(f"[lines {first_line}-{first_line + len(wanted) - 1} of {len(lines)}]")
    text = assemble([("content", "".join(wanted))], notes, max_chars)
    return Rendered(text if lines else "(empty file)", (), False, {"success": True})


_ALL: list[Callable[..., Steps]] = [run_code, run_command, read_file, write_file, list_files]
TOOLS = {tool.name: tool for tool in map(described, _ALL)}


def chosen(names: Iterable[str] | None) -> list[SandboxTool]:
    """The tools of these names, or all of them for None.

    Raises:
        ConfigurationError: there is no such tool.
    """
    if isinstance(names, str):
        raise ConfigurationError(f"include is a list of names: [{names!r}]")
    names = list(TOOLS) if names is None else list(names)
    if unknown := [name for name in names if name not in TOOLS]:
        raise ConfigurationError(f"no tool {', '.join(unknown)}; there are: {', '.join(TOOLS)}")
    return [TOOLS[name] for name in names]
