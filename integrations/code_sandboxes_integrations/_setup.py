"""How an interpreter is made ready for an agent: its tools, its variables, its packages."""

from __future__ import annotations

import json
import pickle
import secrets
from collections.abc import Iterable, Mapping
from importlib.resources import files
from typing import Any

import cloudpickle  # type: ignore[import-untyped]

from code_sandboxes import ConfigurationError, Context, Sandbox, SandboxStartError

from ._render import bounded, clean

SETUP_TIMEOUT = 300.0

# packages whose name is not that of the module
_PACKAGES = {
    "PIL": "pillow",
    "bs4": "beautifulsoup4",
    "cv2": "opencv-python-headless",
    "dateutil": "python-dateutil",
    "docx": "python-docx",
    "dotenv": "python-dotenv",
    "skimage": "scikit-image",
    "sklearn": "scikit-learn",
    "yaml": "pyyaml",
}

# Each runs as a function that deletes its own name: nothing of ours stays among the variables.
_DEFINE = """
def _define(sources, tools, channel):
    import functools, pickle, sys, types
    modules = []
    for name, source in sources.items():
        module = types.ModuleType(name)
        sys.modules[name] = module
        file = "<_code_sandboxes.agent." + name + ">"  # frames of such files are not shown
        exec(compile(source, file, "exec"), module.__dict__)
        modules.append(module)
    values, stubs = modules
    decode = functools.partial(values.decode, unpickle=pickle.loads)
    stubs.define(globals(), tools, channel, (values.encode, decode))
try:
    _define({sources!r}, {tools!r}, {channel!r})
finally:
    del _define
"""
_LOAD = """
def _load(path):
    import os, pickle
    with open(path, "rb") as file:
        pickles = pickle.load(file)
    os.remove(path)
    for name, data in pickles.items():
        try:
            globals()[name] = pickle.loads(data)
        except Exception as error:
            why = f"{{type(error).__name__}}: {{error}}"
            raise RuntimeError(f"variable {{name!r}}: {{why}}") from None
try:
    _load({path!r})
finally:
    del _load
"""
_MISSING = """
def _missing(names):
    import importlib.util, json
    print(json.dumps([name for name in names if importlib.util.find_spec(name) is None]))
try:
    _missing({names!r})
finally:
    del _missing
"""


def define_tools(
    sandbox: Sandbox, context: Context | None, tools: Mapping[str, str], channel: str
) -> None:
    """Define a stub for each tool.

    Args:
        sandbox: where.
        context: in which interpreter; None for the default one.
        tools: name and description of each.
        channel: the host function that a stub calls.
    """
    folder = files(__package__)
    sources = {
        f"_code_sandboxes{name}": (folder / f"{name}.py").read_text("utf-8")
        for name in ("_values", "_stubs")
    }
    code = _DEFINE.format(sources=sources, tools=dict(tools), channel=channel)
    _run(sandbox, context, code, "the tools could not be defined in the sandbox")


def load_variables(sandbox: Sandbox, context: Context | None, variables: Mapping[str, Any]) -> None:
    """Give the code variables, as pickles in a file that is loaded inside.

    (`set_variable` is for JSON and bytes, and its value is part of the code that an interpreter
    is sent: 20 MB take a Jupyter kernel ten seconds, this way a tenth of one.)

    Raises:
        ConfigurationError: a value cannot be pickled here, or not be loaded there.
    """
    pickles = {name: pickled(value, f"variable {name!r}") for name, value in variables.items()}
    file = f".variables-{secrets.token_hex(8)}"
    sandbox.files.write(file, pickle.dumps(pickles))
    code = _LOAD.format(path=sandbox.files.resolve(file))
    _run(sandbox, context, code, "the variables could not be loaded in the sandbox")


def pickled(value: Any, what: str) -> bytes:
    """`value` as bytes for the sandbox to load.

    Raises:
        ConfigurationError: it cannot be pickled; the message starts with `what`.
    """
    try:
        return bytes(cloudpickle.dumps(value))
    except (pickle.PicklingError, TypeError, AttributeError, ValueError, RecursionError) as error:
        raise ConfigurationError(
            f"{what}: a {type(value).__qualname__} cannot be sent to the sandbox: {error}"
        ) from error


def install_missing(sandbox: Sandbox, context: Context | None, imports: Iterable[str]) -> list[str]:
    """Install the packages of those modules that the sandbox lacks.

    Args:
        imports: module names, as in `additional_authorized_imports`; ``"*"`` and ``".*"`` ends
            authorize and name nothing to install.

    Returns:
        The names of the packages that were installed.

    Raises:
        SandboxStartError: pip failed.
    """
    names = sorted({name.partition(".")[0] for name in imports} - {"*", ""})
    if not names:
        return []
    printed = _run(sandbox, context, _MISSING.format(names=names), "no module can be looked up")
    packages = [_PACKAGES.get(name, name) for name in json.loads(printed) if name in names]
    if packages:
        result = sandbox.install_packages(packages)
        if not result.success:
            said = bounded(clean(result.stderr or result.stdout), 2000)
            raise SandboxStartError(
                f"additional_imports: {', '.join(packages)} could not be installed: {said}"
            )
    return packages


def _run(sandbox: Sandbox, context: Context | None, code: str, trouble: str) -> str:
    result = sandbox.run_code(code, context=context, timeout=SETUP_TIMEOUT)
    if result.error is not None:
        raise ConfigurationError(f"{trouble}: {bounded(str(result.error), 2000)}")
    return result.stdout
