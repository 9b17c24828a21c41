"""How the tests of confinement run things: confined, or as another user."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from code_sandboxes.confine.bubblewrap import probe, wrap

SOURCES = Path(__file__).parents[2] / "sandboxes"
SECCOMP = SOURCES / "code_sandboxes/inside/seccomp.py"
NOBODY = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--"]
SYSTEM_PYTHON = "/usr/bin/python3"  # one that any user may run

needs_confinement = pytest.mark.skipif(probe() is not None, reason=str(probe()))
needs_root = pytest.mark.skipif(
    os.geteuid() != 0 or not shutil.which("setpriv"), reason="only root can become others"
)
# The prelude of what runs under the filter, without a sandbox around it.
FILTERED = f"""
import sys, types
seccomp = types.ModuleType("seccomp")
exec(compile(open({str(SECCOMP)!r}).read(), "seccomp", "exec"), seccomp.__dict__)
"""


def python(code: str, *, prefix: list[str] | None = None) -> str:
    """What a fresh Python prints."""
    command = [*(prefix or []), sys.executable, "-I", "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


def confined(code: str, writable: list[str], **options: object) -> str:
    """What a confined Python prints."""
    options = {"env": {"PATH": "/usr/bin:/bin"}} | options
    command = wrap([sys.executable, "-I", "-c", code], writable=writable, **options)
    done = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        start_new_session=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def copy_for_others(to: Path) -> Path:
    """The part of the package that confines, where any user and any Python can use it."""
    package = to / "code_sandboxes"
    (package / "inside").mkdir(parents=True)
    (package / "__init__.py").touch()  # the real one imports what the system's Python lacks
    for name in ("errors.py", "text.py", "inside/seccomp.py"):
        shutil.copy(SOURCES / "code_sandboxes" / name, package / name)
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(SOURCES / "code_sandboxes/confine", package / "confine", ignore=ignored)
    for name in ("driver.py", "probes.py"):
        shutil.copy(Path(__file__).parent / name, to / name)
    # an environment of that user's own, which only the mount keeps from being written to
    (to / "venv/bin").mkdir(parents=True)
    (to / "venv/bin/python").symlink_to(SYSTEM_PYTHON)
    (to / "venv/pyvenv.cfg").write_text(f"home = {os.path.dirname(SYSTEM_PYTHON)}\n")
    for path in [to, *to.rglob("*")]:
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() else 0o644)
    if os.geteuid() == 0:
        os.chown(to / "venv", 65534, 65534)
    return to
