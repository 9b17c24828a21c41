"""The public surface: which names there are, that each is explained, and what importing costs."""

from __future__ import annotations

import importlib.metadata
import inspect
import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path
from types import ModuleType

import pytest

import code_sandboxes
from code_sandboxes import aio_commands, aio_files, commands, files

ROOT = Path(__file__).parents[1]
TWINS = [
    (code_sandboxes.Sandbox, code_sandboxes.AsyncSandbox),
    (files.Files, aio_files.AsyncFiles),
    (commands.Commands, aio_commands.AsyncCommands),
    (code_sandboxes.Process, code_sandboxes.AsyncProcess),
]
# What `import code_sandboxes` must not load: it is imported by command line tools and adapters.
HEAVY = {
    "IPython",
    "asyncio",
    "cloudpickle",
    "code_sandboxes_integrations",
    "code_sandboxes_playground",
    "datalayer_core",
    "docker",
    "gradio",
    "ipykernel",
    "jupyter_client",
    "jupyter_kernel_client",
    "langchain",
    "langchain_core",
    "numpy",
    "pydantic",
    "pydantic_ai",
    "requests",
    "rich",
    "smolagents",
    "traitlets",
    "zmq",
}


def _public(owner: object) -> dict[str, object]:
    return {name: value for name, value in vars(owner).items() if not name.startswith("_")}


def _methods(owner: type) -> dict[str, object]:
    """Its public names, inherited ones too; properties and methods alike."""
    found: dict[str, object] = {}
    for base in reversed(owner.__mro__[:-1]):
        found |= _public(base)
    return found


def test_all_is_exactly_what_there_is() -> None:
    """Nothing else in the namespace but submodules, and every name can be had."""
    stray = {n for n, v in _public(code_sandboxes).items() if not isinstance(v, ModuleType)}
    assert stray - {"TYPE_CHECKING", "Any"} <= set(code_sandboxes.__all__)
    assert all(hasattr(code_sandboxes, name) for name in code_sandboxes.__all__)
    assert list(code_sandboxes.__all__) == sorted(set(code_sandboxes.__all__))
    assert not hasattr(code_sandboxes, "no_such_name")


@pytest.mark.parametrize("name", sorted(set(code_sandboxes.__all__) - {"__version__"}))
def test_public_names_are_explained(name: str) -> None:
    """The name itself, and each public method and property of a class."""
    value = getattr(code_sandboxes, name)
    if not isinstance(value, type):
        return  # an alias such as Event, or a constant: explained where it is defined
    assert _explained(value), f"{name} has no docstring of its own"
    unexplained = [
        method
        for method, member in _methods(value).items()
        if (inspect.isfunction(member) or isinstance(member, property | classmethod | staticmethod))
        and not inspect.getdoc(getattr(value, method))
    ]
    assert not unexplained


def _explained(value: type) -> bool:
    made_up = f"{value.__name__}("  # what @dataclass writes if there is none
    return bool(value.__doc__) and not str(value.__doc__).startswith(made_up)


@pytest.mark.parametrize(("sync", "awaited"), TWINS, ids=lambda owner: owner.__name__)
def test_sync_and_async_have_the_same_methods(sync: type, awaited: type) -> None:
    assert set(_methods(sync)) == set(_methods(awaited))


@pytest.mark.parametrize(("sync", "awaited"), TWINS, ids=lambda owner: owner.__name__)
def test_sync_and_async_take_the_same_arguments(sync: type, awaited: type) -> None:
    """The same names, kinds and defaults, in the same order; types may differ."""
    different = {}
    for name in _methods(sync):
        ours, theirs = (_arguments(owner, name) for owner in (sync, awaited))
        if ours != theirs:
            different[name] = (ours, theirs)
    assert not different


def _arguments(owner: type, name: str) -> list[tuple[str, str, object]] | None:
    member = inspect.getattr_static(owner, name)
    if isinstance(member, property) or not callable(getattr(owner, name)):
        return None
    parameters = inspect.signature(getattr(owner, name)).parameters.values()
    return [(each.name, str(each.kind), each.default) for each in parameters]


def test_importing_the_engine_loads_nothing_heavy() -> None:
    script = "import sys, json, code_sandboxes; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=os.environ | {"PYTHONPATH": str(ROOT / "sandboxes")},
        capture_output=True,
        text=True,
        check=True,
    )
    loaded = {name.partition(".")[0] for name in json.loads(done.stdout)}
    assert not loaded & HEAVY


def test_the_version_is_said_once() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert code_sandboxes.__version__ == project["version"]


def test_entry_points_lead_somewhere() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    groups = {"console_scripts": project["scripts"], **project["entry-points"]}
    for group, entries in groups.items():
        for name, target in entries.items():
            assert importlib.metadata.EntryPoint(name, target, group).load()
