"""Owners that are killed, race, or find their container stopped by somebody else."""

from __future__ import annotations

from typing import Any

import pytest

from code_sandboxes import Sandbox
from code_sandboxes.testing.base import Stopwatch, eventually
from code_sandboxes.variants.container import LABEL
from containers.helpers import containers, create, owner, unique

KILLED_AT = """
import os, signal, sys
from code_sandboxes import Sandbox, records
from code_sandboxes.variants.engine import Engine
def die(*_, **__): os.kill(os.getpid(), signal.SIGKILL)
def after(owner, name):
    call = getattr(owner, name)
    def then_die(*arguments):
        call(*arguments)
        die()
    setattr(owner, name, then_die)
STAGE
Sandbox.create("local-docker", network_policy="none", tags={"mark": sys.argv[1]})
"""
STAGES = {
    "before-the-container": ("Engine.create = die", 0),
    "before-its-start": ("Engine.start = die", 1),
    "after-its-start": ("after(Engine, 'start')", 0),
    "before-the-record": ("records.write = die", 0),
}


@pytest.mark.parametrize(("stage", "left"), STAGES.values(), ids=STAGES)
def test_the_owner_is_killed_while_it_creates(engine: Any, stage: str, left: int) -> None:
    """Only what has not started yet is left: the next one who creates anything takes it away."""
    mark = unique()
    with owner(KILLED_AT.replace("STAGE", stage), mark) as process:
        assert process.wait(30) == -9

    def there() -> list[str]:
        found = engine.containers(all=True, filters={"label": LABEL})
        return [one["State"] for one in found if mark in str(one["Labels"])]

    assert eventually(lambda: len(there()) == left), there()
    if left:
        assert there() == ["created"]
        with create() as mine:
            assert there() == []
            assert mine.run_code("6 * 7").text == "42"
    assert mark not in str(Sandbox.list())


RACER = """
import sys
from code_sandboxes import Sandbox, SandboxInUseError
sys.stdin.readline()
try:
    box = Sandbox.from_id(sys.argv[1])
    print(box.run_code("kept").text, flush=True)
    sys.stdin.readline()
except SandboxInUseError:
    print("in use", flush=True)
"""


def test_who_comes_first_owns_it() -> None:
    sandbox = create()
    sandbox.run_code("kept = 41")
    id = sandbox.detach(60)
    racers = [owner(RACER, id) for _ in range(3)]
    try:
        for racer in racers:
            assert racer.stdin is not None
            racer.stdin.write("go\n")
            racer.stdin.flush()
        said = [racer.stdout.readline().strip() for racer in racers if racer.stdout is not None]
        assert sorted(said) == ["41", "in use", "in use"]
    finally:
        for racer in racers:
            racer.communicate("end\n")


def test_a_paused_container_holds_no_caller(engine: Any) -> None:
    with create() as sandbox:
        sandbox.run_code("1")
        engine.pause(sandbox.id)
        watch = Stopwatch()
        ran = sandbox.run_code("1", timeout=0.5)
        command = sandbox.commands.run("true", timeout=0.5)
        assert watch.seconds < 8
        for result in (ran, command):
            assert result.error is not None
            assert result.error.name == "ExecutionTimeout"
        watch = Stopwatch()
    assert watch.seconds < 8
    assert not containers(engine, sandbox.id)
