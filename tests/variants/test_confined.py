"""`network_policy="none"` of local-jupyter: nothing gets out of it, and all else works in it.

The ways out are those of `tests/confine`, which also makes sure that they are open without
confinement. Here they are tried by code, by what code starts and by a command.
"""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from code_sandboxes import Sandbox
from code_sandboxes.confine import probe
from code_sandboxes.errors import UnsupportedError
from confine import driver
from confine.probes import PROBES
from confine.running import needs_confinement

SOURCE = Path(driver.__file__).with_name("probes.py").read_text()
SECRET = secrets.token_hex(12)


@pytest.fixture(scope="module")
def targets() -> Iterator[Any]:
    """What there is to reach."""
    process = subprocess.Popen(
        [sys.executable, driver.__file__, "targets"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PROBE_SECRET": SECRET},
    )
    assert process.stdout
    yield json.loads(process.stdout.readline())
    process.communicate("")


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox.create("local-jupyter", network_policy="none", env={"KEY": SECRET[::-1]}) as made:
        yield made


@pytest.fixture(scope="module")
def by_code(sandbox: Sandbox, targets: Any) -> Any:
    code = f"source = {SOURCE!r}\nexec(source)\nmain(source, {targets!r}, True)"
    result = sandbox.run_code(code, timeout=100)
    assert result.success, result.error
    return json.loads(result.stdout)


@pytest.fixture(scope="module")
def by_command(sandbox: Sandbox, targets: Any) -> Any:
    code = f"source = {SOURCE!r}\nexec(source)\nmain(source, {targets!r}, False)"
    result = sandbox.commands.run(["python", "-c", code], timeout=100)
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)


def here(mark: str) -> list[int]:
    """The processes of this machine that have `mark` for an argument."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            if mark in Path(f"/proc/{pid}/cmdline").read_text():
                found.append(int(pid))
        except OSError:
            pass
    return found


def gone(mark: str) -> bool:
    until = time.monotonic() + 10
    while here(mark) and time.monotonic() < until:
        time.sleep(0.02)
    return not here(mark)


@needs_confinement
@pytest.mark.parametrize("name", PROBES)
class TestNoWayOut:
    def test_for_code(self, name: str, by_code: Any) -> None:
        assert not by_code["code"][name].startswith("open"), by_code["code"][name]

    def test_for_what_code_starts(self, name: str, by_code: Any) -> None:
        assert not by_code["child"][name].startswith("open"), by_code["child"][name]

    def test_for_a_command(self, name: str, by_command: Any) -> None:
        assert not by_command["code"][name].startswith("open"), by_command["code"][name]


@needs_confinement
def test_no_other_way_out_beside_an_allowlist(targets: Any) -> None:
    options: Any = {"network_policy": "allowlist", "allowed_hosts": ["allowed.test"]}
    with Sandbox.create("local-jupyter", **options) as made:
        code = f"source = {SOURCE!r}\nexec(source)\nmain(source, {targets!r}, True)"
        found = json.loads(made.run_code(code, timeout=100).stdout)
    for report in (found["code"], found["child"]):
        assert not {name: said for name, said in report.items() if said.startswith("open")}


@needs_confinement
class TestInside:
    def test_code_and_commands_share_it(self, by_code: Any, by_command: Any) -> None:
        for facts in (by_code["facts"], by_command["facts"]):
            assert facts["user"] == [65520, 65520, []]
            assert facts["hostname"] == "sandbox"

    def test_no_descriptor_leads_out(self, by_code: Any, by_command: Any) -> None:
        for facts in (by_code["facts"], by_command["facts"]):
            for target in facts["descriptors"].values():
                assert target.startswith(("pipe:", "socket:", "anon_inode:", "/dev/", "ENOENT"))

    def test_the_supervisor_cannot_be_ended(self, sandbox: Sandbox) -> None:
        sandbox.run_code("import os, signal")
        for number in (signal.SIGKILL, signal.SIGSTOP):
            sandbox.run_code(f"os.kill(1, {int(number)})")
        assert sandbox.run_code("40 + 2").text == "42"

    def test_files_go_both_ways(self, sandbox: Sandbox) -> None:
        sandbox.files.write("/data/in.txt", "from outside")
        code = "text = open('data/in.txt').read()\nopen('data/out.txt', 'w').write(text.upper())"
        assert sandbox.run_code(code).success
        assert sandbox.files.read("/data/out.txt") == "FROM OUTSIDE"
        assert sandbox.commands.run("cat data/out.txt").stdout == "FROM OUTSIDE"
        sandbox.files.remove("/data")

    def test_a_link_leads_nowhere(self, sandbox: Sandbox) -> None:
        sandbox.run_code("import os\nos.symlink('/etc', 'etc')\nos.symlink('/', 'root')")
        for path in ("/etc/passwd", "/root/etc/passwd", "../../etc/passwd"):
            with pytest.raises((OSError, ValueError)):
                sandbox.files.read(path)

    def test_the_environment(self, sandbox: Sandbox) -> None:
        assert sandbox.run_code("import os\nprint(os.environ['KEY'])").stdout == SECRET[::-1] + "\n"
        assert not here(SECRET[::-1])  # in no list of processes
        names = sandbox.commands.run("env").stdout
        assert "PYTEST" not in names

    def test_its_own_network_works(self, sandbox: Sandbox) -> None:
        code = """
import socket
server = socket.create_server(("localhost", 0))
client = socket.create_connection(server.getsockname())
client.sendall(b"over loopback")
print(server.accept()[0].recv(99))
"""
        assert sandbox.run_code(code).stdout == "b'over loopback'\n"

    def test_processes_work(self, sandbox: Sandbox) -> None:
        code = """
import multiprocessing, subprocess, sys
with multiprocessing.get_context("spawn").Pool(1) as pool:
    print(pool.map(abs, [-1]))
print(subprocess.check_output(["sh", "-c", "echo from sh"], text=True), end="")
"""
        assert sandbox.run_code(code).stdout == "[1]\nfrom sh\n"

    def test_an_endless_loop_is_interrupted(self, sandbox: Sandbox) -> None:
        result = sandbox.run_code("x = 1\nwhile True: pass", timeout=1)
        assert result.error and result.error.name == "ExecutionTimeout"
        assert sandbox.run_code("x").text == "1"

    def test_a_further_interpreter(self, sandbox: Sandbox) -> None:
        context = sandbox.create_context("other")
        result = sandbox.run_code("import os\nprint(os.getuid())", context=context)
        assert result.stdout == "65520\n"
        sandbox.close_context(context)


@needs_confinement
class TestItsEnd:
    def test_everything_ends_with_it(self) -> None:
        mark = secrets.token_hex(12)
        with Sandbox.create("local-jupyter", network_policy="none") as made:
            sleep = ["python", "-c", "import time; time.sleep(99)", mark]
            code = f"import subprocess\nsubprocess.Popen({sleep!r}, start_new_session=True)"
            assert made.run_code(code).success
            home = made.files.resolve(".")
            assert here(mark)
        assert gone(mark)
        assert not os.path.exists(home)

    def test_it_ends_with_a_killed_owner(self) -> None:
        mark = secrets.token_hex(12)
        code = f"""
from code_sandboxes import Sandbox
made = Sandbox.create("local-jupyter", network_policy="none")
sleep = ["python", "-c", "import time; time.sleep(99)", {mark!r}]
made.run_code(f"import subprocess; subprocess.Popen({{sleep!r}}, start_new_session=True)")
print("up", flush=True)
made.run_code("while True: pass")
"""
        env = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
        command = [sys.executable, "-c", code]
        with subprocess.Popen(command, stdout=subprocess.PIPE, env=env) as owner:
            assert owner.stdout
            said = owner.stdout.readline()
            started = here(mark)
            owner.kill()
        assert said == b"up\n"
        assert len(started) > 1  # the owner's own text has it as well
        assert gone(mark)

    def test_detached_it_stays_confined(self) -> None:
        made = Sandbox.create("local-jupyter", network_policy="none")
        made.run_code("x = 1")
        id = made.detach(max_lifetime=30)
        with Sandbox.from_id(id) as again:
            assert again.run_code("x").text == "1"
            code = "import socket\nsocket.create_connection(('192.0.2.1', 9), 1)"
            error = again.run_code(code).error
            assert error and "unreachable" in error.value


class TestRefusal:
    def test_capabilities_tell_what_was_probed(self) -> None:
        known = Sandbox.capabilities("local-jupyter")
        for name in ("confined", "network_policy=none"):
            assert known[name].supported is (probe.probe() is None)
            assert known[name].reason == (probe.probe() or "")

    def test_it_is_refused_where_it_cannot_be(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(probe, "_candidates", list)
        probe._find.cache_clear()
        try:
            with pytest.raises(UnsupportedError, match="bubblewrap"):
                Sandbox.create("local-jupyter", network_policy="none")
        finally:
            probe._find.cache_clear()
