"""Whether confinement works here: the answer is tried, and a refusal says what to do."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from code_sandboxes.confine import arguments, probe
from code_sandboxes.confine.bubblewrap import wrap
from code_sandboxes.errors import UnsupportedError
from confine.running import (
    FILTERED,
    NOBODY,
    SOURCES,
    SYSTEM_PYTHON,
    copy_for_others,
    needs_confinement,
    needs_root,
)

ASK = "from code_sandboxes.confine.bubblewrap import probe; print(probe())"


@pytest.fixture(autouse=True)
def forget() -> Iterator[None]:
    probe._find.cache_clear()
    yield
    probe._find.cache_clear()


def ask(prefix: list[str], sources: Path = SOURCES, code: str = ASK) -> str:
    done = subprocess.run(
        [*prefix, "-c", code],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(sources), "HOME": "/nonexistent"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> str:
    program = tmp_path / "bwrap"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setattr(probe, "_candidates", lambda: [str(program)])
    return str(program)


@pytest.mark.skipif(not shutil.which("bwrap"), reason="needs bwrap")
def test_it_says_yes_where_bubblewrap_works() -> None:
    # else a mistake in our own arguments would have the other tests skipped
    mounts = ["--ro-bind", "/", "/", "--proc", "/proc", "--dev", "/dev"]
    asked = [*("bwrap", "--unshare-all", "--disable-userns", "--unshare-user"), *mounts, "true"]
    if subprocess.run(asked, capture_output=True, check=False).returncode == 0:
        assert probe.probe() is None


@needs_confinement
def test_it_is_tried_once(monkeypatch: pytest.MonkeyPatch) -> None:
    assert probe.probe() is None
    monkeypatch.setattr(probe, "_candidates", list)
    assert probe.probe() is None


def test_without_bubblewrap(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "_candidates", list)
    assert "install your system's package `bubblewrap`" in str(probe.probe())
    with pytest.raises(UnsupportedError, match=r"code-sandboxes\[confined\]"):
        wrap(["true"], writable=[], env={})


@needs_confinement
def test_the_second_is_taken_when_the_first_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = probe._candidates()[-1]
    bad = fake(tmp_path, monkeypatch, "exit 1")
    monkeypatch.setattr(probe, "_candidates", lambda: [bad, good])
    assert probe.probe() is None
    assert probe.executable() == good


@pytest.mark.parametrize(
    ("script", "advice"),
    [
        ("echo 'bwrap: Unknown option --disable-userns' >&2; exit 1", "older than 0.8"),
        ("echo 'bwrap: Creating new namespace failed: Operation not permitted' >&2; exit 1",
         "--security-opt seccomp=unconfined"),
        ("echo 'bwrap: No permissions to create new namespace' >&2; exit 1", "forbids namespaces"),
        ("echo 'python: error while loading shared libraries' >&2; exit 127", "does not start"),
        ("exit 3", "exit status 3"),
    ],
)  # fmt: skip
def test_reasons(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, advice: str) -> None:
    monkeypatch.setattr(probe, "KNOBS", ())
    fake(tmp_path, monkeypatch, script)
    assert advice in str(probe.probe())


@pytest.mark.parametrize("knob", range(len(probe.KNOBS)))
def test_settings_of_the_kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, knob: int) -> None:
    _, forbidding, advice = probe.KNOBS[knob]
    (tmp_path / "setting").write_text(forbidding + "\n")
    monkeypatch.setattr(probe, "KNOBS", ((str(tmp_path / "setting"), forbidding, advice),))
    monkeypatch.setattr(probe, "as_root", lambda: False)
    fake(tmp_path, monkeypatch, "echo 'bwrap: setting up uid map: Permission denied' >&2; exit 1")
    assert advice in str(probe.probe())


def test_on_another_system(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    assert "needs Linux" in str(probe.probe())


def test_on_another_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "uname", lambda: os.uname_result(("Linux", "", "", "", "riscv64")))
    assert "this machine is riscv64" in str(probe.probe())


def test_root_without_setpriv(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arguments, "as_root", lambda: True)
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(UnsupportedError, match="install util-linux"):
        arguments.arguments("bwrap", ["true"], env={})


# where it really cannot be done ---------------------------------------------------------
@needs_confinement
def test_where_namespaces_are_forbidden() -> None:
    said = ask([sys.executable], code=f"{FILTERED}\nseccomp.apply()\n{ASK}")
    assert "forbids namespaces" in said


@needs_confinement
@needs_root
def test_a_python_that_is_roots_alone(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/python").symlink_to(sys.executable)
    (tmp_path / "pyvenv.cfg").write_text(f"home = {sys.base_prefix}/bin\n")
    tmp_path.chmod(0o700)
    assert "readable by all users" in ask([str(tmp_path / "bin/python")])


@needs_confinement
@needs_root
def test_root_without_its_powers() -> None:
    said = ask(["setpriv", "--bounding-set=-sys_admin", "--", sys.executable])
    assert "--cap-add SYS_ADMIN" in said


@needs_confinement
@needs_root
@pytest.mark.skipif(not os.path.exists(SYSTEM_PYTHON), reason=f"needs {SYSTEM_PYTHON}")
def test_as_another_user(tmp_path_factory: pytest.TempPathFactory) -> None:
    sources = copy_for_others(tmp_path_factory.mktemp("others"))
    for parent in sources.parents:  # pytest's own are private; how many there are depends
        if parent == Path(tempfile.gettempdir()):
            break
        parent.chmod(0o755)
    assert ask([*NOBODY, SYSTEM_PYTHON], sources) == "None\n"
    # no namespaces inside, even before there is a filter
    code = """
from code_sandboxes.confine.bubblewrap import wrap
import subprocess
command = wrap(["/usr/bin/unshare", "--user", "true"], writable=[], env={})
print(subprocess.run(command, stderr=subprocess.PIPE, text=True).stderr)
"""
    assert "unshare failed" in ask([*NOBODY, SYSTEM_PYTHON], sources, code)
    nested = [*("bwrap", "--unshare-user", "--disable-userns", "--dev-bind", "/", "/")]
    said = ask([*NOBODY, *nested, SYSTEM_PYTHON], sources)
    assert "forbids namespaces" in said or "forbids user namespaces" in said
