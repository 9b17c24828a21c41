"""The Python of a Markdown file, section by section, run with its comments taken at their word.

An expression with a Python literal in the comment after it must have that value::

    sandbox.run_code("print(2)").stdout  # "2\\n"

`python markdown_code.py FILE SECTION` runs one section; errors point at the lines of the file.
"""

from __future__ import annotations

import ast
import io
import linecache
import re
import sys
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

_FENCE = re.compile(r"^(```+)\s*(\w*)\s*$")
_NOT_RUN = re.compile(r"^<!-- not run: (.+) -->$")


@dataclass
class Section:
    """What stands below one heading."""

    title: str
    python: dict[int, str] = field(default_factory=dict)  # line number -> line, of what is run
    skipped: list[str] = field(default_factory=list)  # the reason for each block that is not run
    console: list[str] = field(default_factory=list)

    @property
    def source(self) -> str:
        """The section's Python, each line where it stands in the file."""
        last = max(self.python, default=0)
        return "".join(self.python.get(number, "") + "\n" for number in range(1, last + 1))


def sections(text: str) -> list[Section]:
    """The sections of a Markdown text that hold code."""
    found = [Section("(top)")]
    lines = iter(enumerate(text.splitlines(), 1))
    reason = ""
    for _, line in lines:
        if fence := _FENCE.match(line):
            _take(found[-1], fence[2], _block(lines, fence[1]), reason)
        elif line.startswith("#"):
            found.append(Section(line.strip("# ")))
        if line.strip():
            reason = match[1] if (match := _NOT_RUN.match(line)) else ""
    return [each for each in found if each.python or each.skipped or each.console]


def _block(lines: Iterator[tuple[int, str]], fence: str) -> dict[int, str]:
    block = {}
    for number, line in lines:
        if line == fence:
            break
        block[number] = line
    return block


def _take(section: Section, language: str, block: dict[int, str], reason: str) -> None:
    if language == "console":
        section.console += block.values()
    elif language == "python" and reason:
        section.skipped.append(reason)
    elif language == "python":
        section.python.update(block)


def run(source: str, filename: str) -> None:
    """Run `source`; an expression that is not what its comment says is an AssertionError."""
    said = dict(_literals(source))
    tree = ast.parse(source, filename)
    # smolagents reads the source of a tool
    linecache.cache[filename] = (len(source), None, source.splitlines(True), filename)
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and node.end_lineno in said:
            call = ast.Call(ast.Name("__is__", ast.Load()), [node.value], [])
            call.args.append(ast.Constant(node.end_lineno))
            node.value = call
    ast.fix_missing_locations(tree)

    def is_(value: object, line: int) -> None:
        assert value == said[line], f"{filename}, line {line}: it is {value!r}"

    exec(compile(tree, filename, "exec"), {"__name__": "__main__", "__is__": is_})


def _literals(source: str) -> Iterator[tuple[int, object]]:
    """(line, value) of every comment that is a Python literal."""
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            try:
                yield token.start[0], ast.literal_eval(token.string.lstrip("# "))
            except (ValueError, SyntaxError):
                continue


if __name__ == "__main__":
    path = Path(sys.argv[1])
    run(sections(path.read_text("utf-8"))[int(sys.argv[2])].source, path.name)
