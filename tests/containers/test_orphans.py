"""Nothing is left behind, and every end is noticed at once."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from code_sandboxes import (
    Sandbox,
    SandboxGoneError,
    SandboxInUseError,
    SandboxNotFoundError,
)
from code_sandboxes.testing.base import Stopwatch, eventually
from code_sandboxes.variants.container import LABEL
from code_sandboxes.variants.engine import IMAGE
from containers.helpers import containers, create, owner, unique

OWNER = """
import sys
from code_sandboxes import Sandbox
box = Sandbox.create("local-docker", network_policy="none")
BUSY
print(box.id, flush=True)
sys.stdin.read()
"""
ADOPTER = """
import sys
from code_sandboxes import Sandbox
box = Sandbox.from_id(sys.argv[1])
print(box.run_code("kept").text, flush=True)
sys.stdin.read()
"""
BUSY = """
import threading
code = "sum(range(10**13))"
threading.Thread(target=box.run_code, args=(code,), daemon=True).start()
"""


KILL_THE_SERVER = """
import os, time
with open("/proc/net/unix") as file:
    sockets = {"socket:[" + line.split()[6] + "]" for line in file if "/.server-" in line}
for pid in filter(str.isdigit, os.listdir("/proc")):
    try:
        if sockets & {os.readlink(f"/proc/{pid}/fd/{n}") for n in os.listdir(f"/proc/{pid}/fd")}:
            os.kill(int(pid), 9)
    except OSError:
        pass
time.sleep(30)
"""


@pytest.mark.parametrize("busy", ["", BUSY], ids=["idle", "busy"])
def test_the_owner_is_killed(engine: Any, busy: str) -> None:
    with owner(OWNER.replace("BUSY", busy)) as process:
        assert process.stdout is not None
        id = process.stdout.readline().strip()
        assert containers(engine, id)[0]["State"] == "running"
        time.sleep(0.3)
        process.kill()
    watch = Stopwatch()
    assert eventually(lambda: not containers(engine, id))
    assert watch.seconds < 3


def test_the_adopter_is_killed(engine: Any) -> None:
    sandbox = create()
    sandbox.run_code("kept = 41")
    id = sandbox.detach(60)
    with owner(ADOPTER, id) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "41\n"
        with pytest.raises(SandboxInUseError):
            Sandbox.from_id(id)
        process.kill()
    assert eventually(lambda: not containers(engine, id))


def test_a_detached_sandbox_survives_its_owner_and_others_sweeps(engine: Any) -> None:
    code = OWNER.replace("BUSY", "box.run_code('kept = 7'); box.detach(120)")
    with owner(code) as process:
        assert process.stdout is not None
        id = process.stdout.readline().strip()
        process.kill()
    create().terminate()  # which sweeps
    with Sandbox.from_id(id) as again:
        assert again.run_code("kept").text == "7"
        create().terminate()
        assert again.run_code("kept").text == "7"
    assert not containers(engine, id)


def test_the_container_is_killed_from_outside(engine: Any) -> None:
    with create() as sandbox:
        sandbox.run_code("1")
        engine.kill(sandbox.id)
        watch = Stopwatch()
        assert eventually(lambda: sandbox.id not in [info.id for info in Sandbox.list()])
        with pytest.raises(SandboxGoneError):
            sandbox.files.read("x")
        assert watch.seconds < 3
    assert not containers(engine, sandbox.id)


def test_the_container_is_killed_while_code_runs(engine: Any) -> None:
    with create() as sandbox:
        events = sandbox.stream_code("import time\nprint(1, flush=True)\ntime.sleep(60)")
        next(events)
        time.sleep(0.5)
        engine.kill(sandbox.id)
        watch = Stopwatch()
        assert [e.name for e in events if hasattr(e, "name") and hasattr(e, "state_lost")] == [
            "InterpreterDied"
        ]
        assert watch.seconds < 3


def test_the_server_inside_is_killed() -> None:
    """The code can do that: the state is lost, the sandbox is not."""
    with create() as sandbox:
        sandbox.run_code("1")
        sandbox.files.write("kept", "x")
        ran = sandbox.run_code(KILL_THE_SERVER)
        assert ran.error is not None
        assert (ran.error.name, ran.error.state_lost) == ("InterpreterDied", True)
        assert sandbox.run_code("open('kept').read()").text == "'x'"


def test_max_lifetime_ends_the_container(engine: Any) -> None:
    with create(max_lifetime=2) as sandbox:
        assert eventually(lambda: not containers(engine, sandbox.id), 6)


def test_the_engine_knows_whose_it_is(engine: Any) -> None:
    with create(tags={"project": "demo"}, max_lifetime=100) as sandbox:
        known = containers(engine, sandbox.id)[0]["Labels"]
    assert json.loads(known[f"{LABEL}.tags"]) == {"project": "demo"}
    assert 0 < float(known[f"{LABEL}.expires"]) - time.time() <= 100
    assert sys.executable not in str(known)


def orphan(engine: Any, id: str, labels: dict[str, str], name: str = "") -> str:
    """A container that nothing of ours holds."""
    made = engine.create_container(
        IMAGE, ["sleep", "600"], labels={LABEL: id, **labels}, name=name or id
    )
    engine.start(made["Id"])
    return str(made["Id"])


def test_sweeping(engine: Any) -> None:
    from code_sandboxes.variants.container import owner as this_process

    place = json.loads(this_process())
    dead = json.dumps([*place[:3], 4_000_000, 1.0])
    elsewhere = json.dumps(["another-machine", "boot", "pid:[1]", 4_000_000, 1.0])
    cases = {
        "dead": ({f"{LABEL}.owner": dead}, ""),
        "expired": ({f"{LABEL}.owner": this_process(), f"{LABEL}.expires": "1000"}, ""),
        "mine": ({f"{LABEL}.owner": this_process()}, ""),
        "elsewhere": ({f"{LABEL}.owner": elsewhere}, ""),
        "odd": ({f"{LABEL}.owner": "what?", f"{LABEL}.expires": "never"}, ""),
        "detached": ({f"{LABEL}.owner": dead}, ".detached"),
    }
    made = {}
    try:
        for case, (labels, ending) in cases.items():
            id = f"sb-{unique()}"
            made[case] = orphan(engine, id, labels, id + ending)
        create().terminate()
        left = {found["Id"] for found in engine.containers(all=True)}
        assert {case for case, id in made.items() if id in left} == {
            *("mine", "elsewhere", "odd", "detached")
        }
    finally:
        for id in made.values():
            if id in {found["Id"] for found in engine.containers(all=True)}:
                engine.remove_container(id, force=True)


def test_an_image_that_goes_leaves_sandboxes_alone(engine: Any) -> None:
    name = f"code-sandboxes-test:{unique()}"
    engine.tag(IMAGE, *name.split(":"))
    with create(environment=name) as sandbox:
        engine.remove_image(name)
        assert sandbox.run_code("6 * 7").text == "42"
        with pytest.raises(NotImplementedError, match="docker pull"):
            create(environment=name)


def test_a_start_that_fails_leaves_nothing(engine: Any, tmp_path: Path) -> None:
    from code_sandboxes import SandboxStartError

    (tmp_path / "Dockerfile").write_text(f"FROM {IMAGE}\nENV PATH=/nowhere\n")
    name = f"code-sandboxes-test:{unique()}"
    for _ in engine.build(path=str(tmp_path), tag=name, rm=True):
        pass
    try:
        with pytest.raises(SandboxStartError, match="python"):
            create(environment=name)
        assert not [c for c in engine.containers(all=True) if c["Image"] == name]
    finally:
        engine.remove_image(name)


def test_ended_ids_are_not_found() -> None:
    with create() as sandbox:
        id = sandbox.id
    with pytest.raises(SandboxNotFoundError):
        Sandbox.from_id(id)
