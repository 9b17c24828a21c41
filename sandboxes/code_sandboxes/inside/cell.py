"""The text of a cell as Python."""

from __future__ import annotations

import _ast as ast  # all that is needed of ast, which takes 3 ms to import
import re
import sys

SHELL_LINE = re.compile(r"^([ \t]*)(%pip|!)[ \t]*(.*)$", re.MULTILINE)

kept: dict[str, tuple[int, None, list[str], str]] = {}  # until somebody imports linecache


def keep(code: str, file: str) -> None:
    """Let tracebacks, and `inspect`, show the lines of a cell."""
    linecache = sys.modules.get("linecache")  # it takes 2 ms to import
    cache = kept if linecache is None else linecache.cache
    cache[file] = (len(code), None, code.splitlines(True), file)


def parsed(code: str, file: str) -> ast.Module:
    """The code's tree; what is no Python may have lines for the shell, as in a notebook."""
    try:
        return tree(code, file)
    except SyntaxError:
        plain = SHELL_LINE.sub(shell, code)
        if plain == code:
            raise
    return tree(plain, file)


def tree(code: str, file: str) -> ast.Module:
    """As `ast.parse`, with a `compile` that the user's code cannot have replaced."""
    found = compile(code, file, "exec", ast.PyCF_ONLY_AST, dont_inherit=True)
    assert isinstance(found, ast.Module)
    return found


def shell(line: re.Match[str]) -> str:
    """A line `%pip ...` or `!...` as Python, without a value of its own."""
    command = f"python -m pip {line[3]}" if line[2] == "%pip" else line[3]
    printed = "__import__('sys').stdout.flush()"  # what the command prints comes after it
    return f"{line[1]}({printed}, __import__('os').system({command!r})) and None"
