"""Creating, refusing, owning, detaching, ending: and what is left afterwards."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from code_sandboxes import (
    ConfigurationError,
    Sandbox,
    SandboxClosedError,
    SandboxConfig,
    SandboxExpiredError,
    SandboxGoneError,
    SandboxInUseError,
    SandboxNotFoundError,
    UnknownVariantError,
    UnsupportedError,
)

from .base import Case, eventually

OWNER = """
import json, sys
from code_sandboxes import Sandbox
box = Sandbox.create(sys.argv[1], **json.loads(sys.argv[2]))
print(box.id, flush=True)
mark = sys.argv[3]
box.run_code(f"import subprocess; subprocess.Popen(['setsid', 'sleep', {mark!r}])")
box.run_code(f"import subprocess; subprocess.Popen('(sleep {mark} &) & exit', shell=True)")
box.commands.exec("sleep", mark)
print(box.files.resolve("."), flush=True)
box.run_code("sum(range(10**13))", timeout=None)
"""


def alive(mark: str) -> list[int]:
    """Processes of this machine with `mark` as an argument."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and mark.encode() in (entry / "cmdline").read_bytes().split(
                b"\0"
            ):
                if b"Sandbox.create" not in (entry / "cmdline").read_bytes():
                    found.append(int(entry.name))
        except OSError:
            continue
    return found


class LifetimeCases(Case):
    """A sandbox ends with its owner, or when it was told to."""

    owner_death_seconds = 10.0
    short_lifetime = 1.5  # seconds, in which it starts and runs a line

    def test_terminate(self) -> None:
        box = self.create(tags={"a": "b"})
        home = box.files.resolve(".")
        assert box.tags == {"a": "b"}
        assert box.id in [info.id for info in Sandbox.list()]
        assert Sandbox.from_id(box.id).run_code("1").text == "1"
        box.run_code("1")
        box.terminate()
        box.terminate()
        box.kill()
        assert box.closed
        calls: list[Any] = [
            lambda: box.run_code("1"),
            lambda: box.files.read("x"),
            lambda: box.commands.run("true"),
            box.create_context,
            box.detach,
            lambda: box.set_variable("a", 1),
        ]
        for call in calls:
            with pytest.raises(SandboxClosedError, match="create another"):
                call()
        assert box.id not in [info.id for info in Sandbox.list()]
        assert not os.path.exists(home)
        with pytest.raises(SandboxNotFoundError):
            Sandbox.from_id(box.id)

    def test_terminate_while_code_runs(self) -> None:
        box = self.create()
        errors: list[Any] = []

        def run() -> None:
            errors.append(box.run_code("while True: pass").error)

        runner = threading.Thread(target=run)
        runner.start()
        time.sleep(0.5)
        box.terminate()
        runner.join(10)
        assert not runner.is_alive()
        assert errors[0].name in ("InterpreterDied", "KeyboardInterrupt")

    def test_a_forgotten_sandbox_ends(self) -> None:
        box = self.create()
        home = box.files.resolve(".")
        box.run_code("1")
        del box
        assert eventually(lambda: not os.path.exists(home))

    def test_bad_options(self) -> None:
        bad: list[dict[str, Any]] = [
            {"no_such_option": 1},
            {"timeout": 0},
            {"timeout": "5"},
            {"env": {"A": 1}},
            {"env": {"A=B": "x"}},
            {"env": "A=B"},
            {"env": {"A": "a\0b"}},
            {"env": {"A": "\ud800"}},
            {"tags": {"a": 1}},
            {"network_policy": "some"},
            {"allowed_hosts": ["a.test"]},
            {"network_policy": "all", "allowed_hosts": ["a.test"]},
            {"network_policy": "allowlist"},
            {"network_policy": "allowlist", "allowed_hosts": "a.test"},
            {"network_policy": "allowlist", "allowed_hosts": ["http://a.test/"]},
            {"network_policy": "allowlist", "allowed_hosts": ["a.test:65536"]},
            {"max_lifetime": -1},
            {"memory": "4GB"},
            {"working_dir": "../out"},
            {"working_dir": "\ud800"},
            {"host_functions": {"1": print}},
        ]
        for options in bad:
            with pytest.raises(ConfigurationError):
                self.create(**options)
        with pytest.raises(ConfigurationError, match="given both"):
            Sandbox.create(self.variant, config=SandboxConfig(timeout=5), timeout=6)
        with pytest.raises(UnknownVariantError, match="local-eval"):
            Sandbox.create("no-such-variant")
        with pytest.raises(UnsupportedError):
            self.create(environment="no-such-environment")

    def test_config(self) -> None:
        config = SandboxConfig(timeout=0.7, env_vars={"DEBUG": "1"}, working_dir="/workspace")
        with Sandbox.create(self.variant, config=config, **self.options) as box:
            assert box.run_code("import os; os.environ['DEBUG']").text == "'1'"
            ran = box.run_code("while True: pass")
            assert ran.error is not None
            assert ran.error.name == "ExecutionTimeout"
            assert box.config.timeout == 0.7

    def test_what_is_not_supported_is_refused_with_the_variants_that_can(self) -> None:
        wanted: dict[str, dict[str, Any]] = {
            "gpu": {"gpu": "T4"},
            "memory_limit": {"memory": 512},
            "cpu_limit": {"cpu": 1.0},
            "confined": {"confined": True},
            "network_policy=none": {"network_policy": "none"},
            "network_policy=allowlist": {
                "network_policy": "allowlist",
                "allowed_hosts": ["a.test", "*.b.test", "c.test:443"],
            },
        }
        known = Sandbox.capabilities(self.variant)
        for capability, options in wanted.items():
            if not known[capability].supported:
                assert known[capability].reason
                with pytest.raises(UnsupportedError, match="supported by"):
                    self.create(**options)
        if not known["gpu"].supported and not known["cpu_limit"].supported:
            with pytest.raises(UnsupportedError, match="(?s)cpu_limit.*gpu|gpu.*cpu_limit"):
                self.create(gpu="T4", cpu=1.0)

    def test_max_lifetime(self) -> None:
        with self.create(max_lifetime=self.short_lifetime) as box:
            home = box.files.resolve(".")
            assert box.run_code("1").text == "1"
            ran = box.run_code("while True: pass")
            assert ran.error is not None
            with pytest.raises(SandboxExpiredError):
                box.run_code("1")
            with pytest.raises(SandboxExpiredError):
                box.files.read("x")
            assert eventually(lambda: not os.path.exists(home))

    def test_the_owners_death_leaves_nothing(self) -> None:
        mark = f"7{time.time_ns() % 10**7}"
        options = json.dumps(self.options)
        owner = subprocess.Popen(
            [sys.executable, "-c", OWNER, self.variant, options, mark],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert owner.stdout is not None
        assert owner.stderr is not None
        id, home = owner.stdout.readline().strip(), owner.stdout.readline().strip()
        with owner:
            assert home, owner.stderr.read()
            with pytest.raises(SandboxInUseError):
                Sandbox.from_id(id)
            assert eventually(lambda: len(alive(mark)) >= 3), alive(mark)
            owner.send_signal(signal.SIGKILL)
        assert eventually(lambda: not alive(mark), self.owner_death_seconds), alive(mark)
        assert eventually(lambda: not os.path.exists(home))
        assert eventually(lambda: id not in [info.id for info in Sandbox.list()])
        with pytest.raises(SandboxNotFoundError):
            Sandbox.from_id(id)

    def test_detach_and_adopt(self) -> None:
        self.needs("detach")
        box = self.create(tags={"kept": "yes"})
        box.run_code("kept = 41")
        box.create_context("second")
        box.run_code("two = 2", context="second")
        box.files.write("kept.txt", "here")
        box.files.write("large", "a" * 3_000_000)
        id = box.detach(60)
        with pytest.raises(SandboxClosedError):
            box.run_code("1")
        info = next(info for info in Sandbox.list() if info.id == id)
        assert (info.detached, info.owner_pid, dict(info.tags)) == (True, None, {"kept": "yes"})
        code = (
            "import sys\nfrom code_sandboxes import Sandbox\n"
            "with Sandbox.from_id(sys.argv[1]) as box:\n"
            "    print(box.run_code('kept + 1').text, box.files.read('kept.txt'))\n"
            "    print(box.run_code('two', context='second').text)\n"
            "    print(box.commands.run('echo ok').stdout)\n"
            "    print(box.files.read('large').count('a'))\n"
        )
        ran = subprocess.run(
            [sys.executable, "-c", code, id],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert ran.stdout.split() == ["42", "here", "2", "ok", "3000000"], ran.stderr
        with pytest.raises(SandboxNotFoundError):
            Sandbox.from_id(id)

    def test_a_detached_sandbox_has_one_owner_at_a_time(self) -> None:
        self.needs("detach")
        id = self.create().detach(60)
        with Sandbox.from_id(id) as box:
            box.run_code("x = 5")
            assert Sandbox.from_id(id).run_code("x").text == "5"  # this process's own
            code = "import sys\nfrom code_sandboxes import Sandbox\nSandbox.from_id(sys.argv[1])"
            ran = subprocess.run(
                [sys.executable, "-c", code, id], capture_output=True, text=True, check=False
            )
            assert "SandboxInUseError" in ran.stderr
            box.detach(60)
        with Sandbox.from_id(id) as box:
            assert box.run_code("x").text == "5"

    def test_a_detached_sandbox_ends_in_time(self) -> None:
        self.needs("detach")
        box = self.create()
        home = box.files.resolve(".")
        here = os.path.exists(home)  # where the sandbox has no file system of its own
        id = box.detach(1)
        assert os.path.exists(home) == here
        assert eventually(lambda: not os.path.exists(home))
        assert eventually(lambda: id not in [info.id for info in Sandbox.list()])

    def test_ids(self) -> None:
        for bad in ("", "../x", "a/b", "x y"):
            with pytest.raises(ConfigurationError):
                Sandbox.from_id(bad)
        with pytest.raises(SandboxNotFoundError):
            Sandbox.from_id("sb-none")

    def test_a_forked_child_leaves_the_sandbox_alone(self) -> None:
        code = """
import os, sys, warnings
warnings.simplefilter('ignore')
from code_sandboxes import Sandbox, SandboxError
import json
box = Sandbox.create(sys.argv[1], **json.loads(sys.argv[2]))
box.run_code('x = 1')
pid = os.fork()
if pid == 0:
    try:
        box.run_code('x')
    except SandboxError as error:
        print('child:', 'parent' in str(error), flush=True)
    sys.exit(0)
os.waitpid(pid, 0)
print('parent:', box.run_code('x').text)
box.terminate()
"""
        ran = subprocess.run(
            [sys.executable, "-c", code, self.variant, json.dumps(self.options)],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert ran.stdout.split("\n")[:2] == ["child: True", "parent: 1"], ran.stderr

    def test_ctrl_c_leaves_the_sandbox_usable(self) -> None:
        code = """
import sys, json, signal
from code_sandboxes import Sandbox
signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background ignores it
with Sandbox.create(sys.argv[1], **json.loads(sys.argv[2])) as box:
    box.run_code('x = 1')
    print('ready', flush=True)
    try:
        box.run_code('while True: pass', timeout=None)
    except KeyboardInterrupt:
        print('interrupted', box.run_code('x', timeout=10).text, flush=True)
"""
        process = subprocess.Popen(
            [sys.executable, "-c", code, self.variant, json.dumps(self.options)],
            stdout=subprocess.PIPE,
            text=True,
        )
        with process:
            try:
                assert process.stdout is not None
                assert process.stdout.readline() == "ready\n"
                time.sleep(0.5)
                process.send_signal(signal.SIGINT)
                assert process.stdout.readline() == "interrupted 1\n"
                assert process.wait(30) == 0  # it ends its sandbox
            finally:
                process.kill()

    def test_a_killed_supervisor_is_noticed(self) -> None:
        with self.create() as box:
            home = box.files.resolve(".")
            mark = f"8{time.time_ns() % 10**7}"
            box.run_code(f"import subprocess; p = subprocess.Popen(['sleep', '{mark}'])")
            ran = box.run_code(KILL_SUPERVISOR)
            if ran.success:
                pytest.skip("code cannot kill the supervisor here")
            assert ran.error is not None
            assert ran.error.name == "InterpreterDied"
            with pytest.raises(SandboxGoneError):
                box.files.read("x")
        assert eventually(lambda: not alive(mark))
        assert eventually(lambda: not os.path.exists(home))


KILL_SUPERVISOR = """
import os, signal, time
def parent(pid):
    with open(f'/proc/{pid}/stat') as file:
        return int(file.read().rpartition(') ')[2].split()[1])
def name(pid):
    with open(f'/proc/{pid}/cmdline', 'rb') as file:
        return file.read()
pid, chain = os.getppid(), []
while pid > 1 and b'_code_sandboxes' in name(pid):
    chain.append(pid); pid = parent(pid)
chain = [pid for pid in chain if not name(pid).startswith(b'/bin/sh')]
if len(chain) > 1:  # the fork server, and above it the supervisor
    os.kill(chain[-1], signal.SIGKILL)
    time.sleep(5)
"""
