"""``code-sandboxes doctor``: what works on this machine, found out by trying it."""

from __future__ import annotations

import argparse
import inspect
import os
import platform
import re
import shutil
import subprocess
import sys
import time
from dataclasses import asdict, dataclass, field
from itertools import groupby

from .. import records, registry
from ..confine.probe import executable, probe
from ..errors import SandboxError, UnsupportedError
from ..kernel import Capability
from ..sandbox import Sandbox
from ..text import printable
from .output import print_json

START_SECONDS = 30.0
EXTRA = re.compile(r"code-sandboxes\[([\w,-]+)\]")
SECTION = re.compile(r"(Args|Attributes|Examples?|Raises|Note):\n")
SYSCTL = re.compile(r"the sysctl ([\w.]+) to (\d+)")
PACKAGE_MANAGERS = {
    "apt-get": "apt-get install bubblewrap",
    "dnf": "dnf install bubblewrap",
    "pacman": "pacman -S bubblewrap",
    "zypper": "zypper install bubblewrap",
    "apk": "apk add bubblewrap",
}


@dataclass(frozen=True)
class VariantReport:
    """What a variant can here.

    Attributes:
        name: its name.
        default: whether `Sandbox.create()` takes it.
        runs: whether a sandbox ran code just now; None where that was not tried, since it
            may cost money or minutes.
        reason: why not.
        seconds: from nothing to the first result.
        isolates: what its class says of itself.
        capabilities: by option and verb.
        remedies: commands that get what is missing.
    """

    name: str
    default: bool
    runs: bool | None = None
    reason: str = ""
    seconds: float | None = None
    isolates: str = ""
    capabilities: dict[str, Capability] = field(default_factory=dict)
    remedies: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Report:
    """What `doctor` found. `problem` is why the default variant cannot run, or ""."""

    version: str
    python: str
    python_executable: str
    system: str
    state_directory: str
    state_problem: str
    bubblewrap: str
    confinement: Capability
    variants: list[VariantReport]
    problem: str


def doctor(options: argparse.Namespace) -> int:
    """Show what works; 0 if the default variant can run."""
    report = examine()
    if options.json:
        print_json(asdict(report))
    else:
        from .doctor_page import show

        show(report)
    return int(bool(report.problem))


def examine() -> Report:
    """Try everything."""
    from .. import __version__

    default = registry.default()
    variants = [examine_variant(name, name == default) for name in Sandbox.variants()]
    problem = next((v.reason for v in variants if v.default), f"there is no variant {default!r}")
    directory, trouble = state_directory()
    reason = probe()
    return Report(
        version=__version__,
        python=f"{platform.python_implementation()} {platform.python_version()}",
        python_executable=sys.executable,
        system=f"{platform.system()} {platform.release()} {platform.machine()}",
        state_directory=directory,
        state_problem=trouble,
        bubblewrap=bubblewrap(),
        confinement=Capability(reason is None, reason or ""),
        variants=variants,
        problem=problem,
    )


def state_directory() -> tuple[str, str]:
    """The state directory, and what is wrong with it."""
    try:
        path = records.home()
    except OSError as error:
        return str(error.filename), str(error.strerror)
    if not os.access(path, os.W_OK | os.X_OK):
        return str(path), "it cannot be written to"
    mode = path.stat().st_mode & 0o777
    return str(path), f"others can read it: its mode is {mode:o}, not 700" if mode & 0o77 else ""


def bubblewrap() -> str:
    """Its path and version; the one that works, if any does."""
    try:
        path: str | None = executable()
    except UnsupportedError:
        path = shutil.which("bwrap")
    if path is None:
        return ""
    try:
        done = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return path
    return f"{path} ({done.stdout.strip()})"


def examine_variant(name: str, default: bool) -> VariantReport:
    """What it says of itself, and whether that is so."""
    try:
        kind = registry.variant_class(name)
        capabilities = dict(kind.capabilities())
    except (SandboxError, ImportError) as error:  # a foreign variant may lack anything
        reason = str(error)
        return VariantReport(name, default, False, reason, remedies=remedies(reason))
    seconds, runs = None, None
    create = capabilities.get("create", Capability(True))
    reason = create.reason
    if not create.supported:
        runs = False
    elif name.startswith("local-"):
        began = time.monotonic()
        reason = try_variant(name)
        runs, seconds = not reason, time.monotonic() - began
    lacking = [able.reason for able in capabilities.values() if not able.supported]
    return VariantReport(
        name=name,
        default=default,
        runs=runs,
        reason=reason,
        seconds=seconds if runs else None,
        isolates=about(kind) or "its author does not say",
        capabilities=capabilities,
        remedies=remedies(reason, *lacking),
    )


def about(kind: type) -> str:
    """What its docstring tells users: all before the sections on arguments and such."""
    paragraphs = (inspect.getdoc(kind) or "").split("\n\n")
    sections = [at for at, text in enumerate(paragraphs) if SECTION.match(text)]
    return "\n\n".join(paragraphs[: sections[0] if sections else None])


def try_variant(name: str) -> str:
    """Why a sandbox of this variant does not run code here, or ""."""
    try:
        with Sandbox.create(name, timeout=START_SECONDS) as sandbox:
            result = sandbox.run_code("6 * 7")
    except (SandboxError, OSError) as error:
        return printable(str(error)) or type(error).__name__
    if result.error is not None:
        return str(result.error)
    return "" if result.text == "42" else "it runs, but does not answer"


def remedies(*reasons: str) -> list[str]:
    """The commands that get what the reasons say is missing."""
    found = []
    for reason in reasons:
        for extra in EXTRA.findall(reason):
            found.append(f"{sys.executable} -m pip install 'code-sandboxes[{extra}]'")
        if "set DATALAYER_API_KEY to one" in reason:
            found.append("export DATALAYER_API_KEY=...")
        found += [f"sudo sysctl -w {name}={value}" for name, value in SYSCTL.findall(reason)]
        if "package `bubblewrap`" in reason:
            managers = (m for m in PACKAGE_MANAGERS if shutil.which(m))
            found += [f"sudo {PACKAGE_MANAGERS[manager]}" for manager in managers][:1]
    return list(dict.fromkeys(found))


def by_reason(capabilities: dict[str, Capability]) -> list[tuple[str, list[str]]]:
    """What cannot be had, those of one reason together."""
    lacking = [(able.reason, name) for name, able in capabilities.items() if not able.supported]
    groups = groupby(sorted(lacking), key=lambda pair: pair[0])
    return [(reason, [name for _, name in group]) for reason, group in groups]
