"""Files, variables and options hold for any input: found by hypothesis, checked against models."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from code_sandboxes import ConfigurationError, Sandbox, SandboxConfig, SandboxError
from code_sandboxes.inside.files import Files, translate
from properties import JSON, SCALE, few


# files ----------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox.create("local-eval", timeout=30) as made:
        yield made


def matches(pattern: str, path: str) -> bool:
    """A glob, as its documentation says it, one step after the other."""
    if not pattern:
        return not path
    if pattern.startswith("**/"):
        ends = [0, *(m.end() for m in re.finditer("/", path))]
        parts = [end for end in ends if re.fullmatch("([^/]+/)*", path[:end])]
        return any(matches(pattern[3:], path[end:]) for end in parts)
    if pattern.startswith("**"):
        return any(matches(pattern[2:], path[at:]) for at in range(len(path) + 1))
    if pattern[0] == "*":
        most = len(path.partition("/")[0])
        return any(matches(pattern[1:], path[at:]) for at in range(most + 1))
    if not path:
        return False
    if pattern[0] == "[" and (end := pattern.find("]", 2)) > 0:
        inner = pattern[1:end]
        found = (path[0] in inner[1:]) != True if inner[0] == "!" else path[0] in inner  # noqa: E712
        return found and path[0] != "/" and matches(pattern[end + 1 :], path[1:])
    same = path[0] != "/" if pattern[0] == "?" else path[0] == pattern[0]
    return same and matches(pattern[1:], path[1:])


@few
@given(
    pattern=st.lists(
        st.sampled_from(["a", "b", "/", "/", ".", "*", "?", "**", "**/", "[ab]", "[!a]", "[", "]"]),
        max_size=7,
    ).map("".join),
    paths=st.lists(st.text(alphabet="ab/.[]", max_size=7), min_size=5, max_size=10),
)
def test_globs_match_as_they_say(pattern: str, paths: list[str]) -> None:
    if re.search(r"\*\*\*|\[[^]]*[\[/*]", pattern):
        return  # nobody says what these mean
    expression = re.compile(translate(pattern))
    for path in paths:
        assert bool(expression.fullmatch(path)) == matches(pattern, path), path


@few
@given(
    pattern=st.text(alphabet="ab*?[]!^-\\&~|/.", max_size=8), tail=st.sampled_from(["", "[b-a]"])
)
def test_any_text_is_a_glob(sandbox: Sandbox, pattern: str, tail: str) -> None:
    with suppress(SandboxError):
        sandbox.files.glob(pattern + tail)


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Files]:
    outside = tmp_path_factory.mktemp("outside")
    home = outside / "home"
    (home / "a" / "b").mkdir(parents=True)
    (home / "a" / "file").write_text("inside")
    (outside / "file").write_text("outside")
    links = {"up": "..", "root": "/", "out": str(outside), "in": str(home / "a"), "self": "self"}
    for name, target in links.items():
        (home / name).symlink_to(target)
        (home / "a" / name).symlink_to(target)
    yield Files(str(home), str(home), rooted=True)


@few
@given(
    parts=st.lists(
        st.sampled_from(
            ["a", "b", "file", "..", ".", "", "up", "root", "out", "in", "self", "new"]
        ),
        max_size=7,
    ),
    absolute=st.sampled_from(["", "/", "//", "home"]),
)
def test_no_path_leads_out(tree: Files, parts: list[str], absolute: str) -> None:
    path = (tree.root + "/" if absolute == "home" else absolute) + "/".join(parts)
    for use in (
        tree.stat,
        tree.exists,
        lambda p: tree.open(p).close(),
        lambda p: list(tree.glob(p)),
    ):
        with suppress(OSError):
            use(path)
    with suppress(OSError), tree.parent(path) as (parent, name):
        assert Path(f"/proc/self/fd/{parent}").resolve().is_relative_to(tree.root)
        assert "/" not in name
        assert name != ".."
    with suppress(PermissionError):
        resolved = tree.resolve(path)
        assert Path(resolved).is_relative_to(tree.root)
        assert tree.resolve(resolved) == resolved
    with suppress(OSError), tree.open(path) as file:
        assert file.read() == b"inside"


@few
@given(
    content=st.binary(max_size=3000) | st.binary(min_size=1, max_size=9).map(lambda b: b * 60_000)
)
def test_bytes_come_back_as_they_went(sandbox: Sandbox, content: bytes) -> None:
    sandbox.files.write("content", content)
    assert sandbox.files.read_bytes("content") == content
    assert sandbox.files.stat("content").size == len(content)


@few
@given(name=st.text(min_size=1, max_size=40), content=st.text(max_size=300))
def test_any_name_is_a_file_or_an_error(sandbox: Sandbox, name: str, content: str) -> None:
    with suppress(SandboxError, UnicodeEncodeError):
        sandbox.files.write(f"names/{name}", content)
        assert sandbox.files.read(f"names/{name}") == content
        sandbox.files.remove(f"names/{name}")


@few
@given(value=JSON | st.binary(max_size=100), name=st.text(max_size=8))
def test_variables_come_back_as_they_went(sandbox: Sandbox, value: Any, name: str) -> None:
    with suppress(ConfigurationError):
        sandbox.set_variable(name, value)
        assert sandbox.get_variable(name) == value


# configuration --------------------------------------------------------------------------
ODD = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-2, 2),
    st.floats(),
    st.text(max_size=4),
    st.binary(max_size=3),
    st.lists(st.text(max_size=4) | st.integers(), max_size=2),
    st.dictionaries(st.text(max_size=3), st.text(max_size=3) | st.integers(), max_size=2),
    st.builds(object),
)
FIELDS = sorted(SandboxConfig.__dataclass_fields__)


@settings(few, max_examples=30 * SCALE)
@given(options=st.dictionaries(st.sampled_from(FIELDS), ODD, max_size=3))
def test_a_wrong_option_is_a_configuration_error(options: dict[str, Any]) -> None:
    with suppress(ConfigurationError):
        SandboxConfig(**options)


@settings(few, max_examples=5 * SCALE)
@given(
    options=st.dictionaries(
        st.sampled_from([*FIELDS, "env", "cpu", "memory", "disk", "no_such_option"]),
        ODD,
        min_size=1,
    ),
    twice=st.booleans(),
)
def test_a_wrong_keyword_is_a_sandbox_error(options: dict[str, Any], twice: bool) -> None:
    """One that must be noticed before anything starts: the variant has no GPU."""
    config = SandboxConfig(gpu="T4", timeout=5 if twice else 60)
    with pytest.raises(SandboxError):
        Sandbox.create("local-eval", config=config, **options)
