"""Every Python block of the documentation runs, and every command it names exists."""

from __future__ import annotations

import functools
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import markdown_code
from markdown_code import Section

ROOT = Path(__file__).parents[1]
FILES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("**/*.md"))]
ROOTS = [str(ROOT / root) for root in ("sandboxes", "integrations", "playground")]
SECTIONS = [
    (path, index, section)
    for path in FILES
    for index, section in enumerate(markdown_code.sections(path.read_text("utf-8")))
]


def each(sections: list[tuple[Path, int, Section]]) -> pytest.MarkDecorator:
    """The test runs once for each section, under its file's name and its title."""
    ids = [f"{path.name}: {section.title}" for path, _, section in sections]
    return pytest.mark.parametrize(("path", "index", "section"), sections, ids=ids)


@each([each for each in SECTIONS if each[2].python or each[2].skipped])
def test_python_blocks_run(path: Path, index: int, section: Section, tmp_path: Path) -> None:
    """In order, in one namespace for each section, in an empty directory, warnings being errors."""
    if not section.python:
        pytest.skip("; ".join(section.skipped))
    environment = {
        "PYTHONPATH": os.pathsep.join(ROOTS),
        "CODE_SANDBOXES_HOME": str(tmp_path / ".home"),
    }
    done = subprocess.run(
        [sys.executable, "-W", "error", markdown_code.__file__, str(path), str(index)],
        cwd=tmp_path,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"


@each([each for each in SECTIONS if each[2].console])
def test_commands_exist(path: Path, index: int, section: Section) -> None:
    makefile = (ROOT / "Makefile").read_text("utf-8")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    for line in section.console:
        for target in re.findall(r"^(?:\$ )?make (\w+)", line):
            assert re.search(rf"^{target}:", makefile, re.MULTILINE), line
        for extras in re.findall(r"pip install.*\.\[([\w,-]+)\]", line):
            assert set(extras.split(",")) <= set(project["optional-dependencies"]), line
        for command in re.findall(r"^code-sandboxes (\w+)", line):
            assert re.search(rf"^ +{command} ", _help(), re.MULTILINE), line


@functools.cache
def _help() -> str:
    return subprocess.run(
        [sys.executable, "-m", "code_sandboxes", "--help"],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(ROOTS)},
        capture_output=True,
        text=True,
        check=True,
    ).stdout


def test_links_lead_somewhere() -> None:
    broken = []
    for path in FILES:
        for link in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", path.read_text("utf-8")):
            if not (path.parent / link).exists():
                broken.append(f"{path.name}: {link}")
    assert not broken


def test_an_example_that_says_otherwise_is_found_out() -> None:
    markdown_code.run("x = 1\nx + 1  # 2\nx + 1  # just words\n", "good.md")
    with pytest.raises(AssertionError, match=r"bad\.md, line 2: it is 2"):
        markdown_code.run("x = 1\nx + 1  # 3\n", "bad.md")


def test_sections_keep_their_line_numbers() -> None:
    text = "# A\n<!-- not run: because -->\n```python\nboom()\n```\n\n```python\n1 / 0\n```\n## B\n"
    (section,) = markdown_code.sections(text)
    assert (section.title, section.skipped) == ("A", ["because"])
    assert section.python == {8: "1 / 0"}
