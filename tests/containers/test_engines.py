"""An engine that ends, hangs, comes back, loses the image, or is reached over a network."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from code_sandboxes import Sandbox, SandboxGoneError, SandboxNotFoundError, UnsupportedError
from code_sandboxes.testing.base import Stopwatch, eventually
from code_sandboxes.variants.engine import BUILD, IMAGE
from containers.helpers import VARIANT, create
from containers.own_engine import CannotStart, OwnEngine


@pytest.fixture(scope="module")
def own(engine: Any) -> Iterator[OwnEngine]:
    """A second engine with our image: what is done to it is done to nobody else."""
    try:
        made = OwnEngine()
        made.start()
    except CannotStart as why:
        pytest.skip(str(why))
    try:
        made.take_image(engine)
        yield made
    finally:
        made.end()


@pytest.fixture
def there(own: OwnEngine, monkeypatch: pytest.MonkeyPatch) -> Iterator[OwnEngine]:
    """The same, as the engine of local-docker; it runs, and nothing is on it."""
    monkeypatch.setenv("DOCKER_HOST", own.unix)
    yield own
    if not own.answers():
        own.start()
    try:
        assert own.containers() == []
    finally:
        own.clear()


def detached() -> str:
    """A sandbox that nobody owns; its id."""
    sandbox = create()
    sandbox.run_code("kept = 41")
    return sandbox.detach(120)


def at_once(*calls: Callable[[], Any]) -> tuple[list[Any], list[threading.Thread]]:
    """Calls under way, each on a thread, and where they put what they return."""
    found: list[Any] = [None] * len(calls)

    def keep(place: int, call: Callable[[], Any]) -> None:
        found[place] = call()

    threads = [threading.Thread(target=keep, args=item) for item in enumerate(calls)]
    for thread in threads:
        thread.start()
    return found, threads


FLOW = """
import sys
from code_sandboxes import Sandbox
with Sandbox.from_id(sys.argv[1]) as sandbox:
    print(sandbox.run_code("kept").text, len(sandbox.files.read_bytes("/data/f")))
"""


def test_an_engine_behind_a_network(there: OwnEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    with there.port() as address:
        monkeypatch.setenv("DOCKER_HOST", address)
        data = os.urandom(3_000_000)
        with create() as sandbox:
            assert sandbox.run_code("6 * 7").text == "42"
            sandbox.files.write("/data/f", data)
            assert sandbox.files.read_bytes("/data/f") == data
            assert sandbox.commands.run("echo $((6 * 7))").stdout == "42\n"
            assert len(sandbox.run_code("for _ in range(3000): print('x' * 299)").stdout) == 900_000
            sandbox.run_code("kept = 41")
            id = sandbox.detach(60)
        command = [sys.executable, "-c", FLOW, id]
        ran = subprocess.run(command, capture_output=True, text=True, check=False)
        assert ran.stdout == "41 3000000\n", ran.stderr
        with pytest.raises(SandboxNotFoundError):
            Sandbox.from_id(id)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=["stopped", "killed"])
def test_the_engine_ends(there: OwnEngine, number: int) -> None:
    sandbox, other = create(), detached()
    sandbox.run_code("1")
    pids = [there.pid_of(found["Id"]) for found in there.containers()]
    assert len(pids) == 2
    code = "import time\nprint('said', flush=True)\ntime.sleep(60)"
    found, threads = at_once(
        lambda: sandbox.run_code(code), lambda: sandbox.commands.run("echo said; sleep 60")
    )
    time.sleep(2)
    watch = Stopwatch()
    there.signal(number)
    for thread in threads:
        thread.join(30)
    assert watch.seconds < 5
    ran, command = found
    assert (ran.stdout, ran.error.name, ran.error.state_lost) == ("said\n", "InterpreterDied", True)
    assert (command.stdout, command.error.name) == ("said\n", "SandboxGoneError")
    with pytest.raises(SandboxGoneError, match="create another"):
        sandbox.files.read("x")
    with pytest.raises(UnsupportedError, match="DOCKER_HOST"):
        create()
    with pytest.raises(UnsupportedError, match="DOCKER_HOST"):
        Sandbox.from_id(other)  # it may be there: nobody can tell
    watch = Stopwatch()
    sandbox.terminate()
    assert watch.seconds < 5
    there.start()
    assert eventually(lambda: not there.containers())
    assert not [pid for pid in pids if os.path.exists(f"/proc/{pid}")]
    assert not {sandbox.id, other} & {info.id for info in Sandbox.list()}
    with pytest.raises(SandboxNotFoundError, match=other):
        Sandbox.from_id(other)
    with create() as again:
        assert again.run_code("6 * 7").text == "42"


def test_an_engine_that_hangs(there: OwnEngine) -> None:
    """What it passes on stands still, and so does no caller."""
    with create() as sandbox:
        sandbox.run_code("1")
        there.signal(signal.SIGSTOP)
        try:
            watch = Stopwatch()
            ran = sandbox.run_code("1", timeout=1)
            assert watch.seconds < 5
            assert ran.error is not None
            assert ran.error.name == "ExecutionTimeout"
        finally:
            there.signal(signal.SIGCONT)


def test_the_image_goes_while_a_sandbox_runs(there: OwnEngine) -> None:
    api = there.api()
    known = api.inspect_image(IMAGE)["Id"]
    try:
        with create() as sandbox:
            api.remove_image(IMAGE, force=True)
            try:
                assert sandbox.run_code("6 * 7").text == "42"
                sandbox.restart()
                assert sandbox.run_code("6 * 7", context=sandbox.create_context()).text == "42"
                with pytest.raises(UnsupportedError, match=BUILD):
                    create()
            finally:
                api.tag(known, *IMAGE.split(":"))
    finally:
        api.close()


@pytest.mark.parametrize(
    "variables",
    [{"DOCKER_HOST": "ssh://somebody@somewhere"}, {"DOCKER_TLS_VERIFY": "1"}],
    ids=["ssh", "tls"],
)
def test_without_a_way_to_an_engine_another_one_is_said(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]
) -> None:
    monkeypatch.setenv("DOCKER_HOST", "tcp://127.0.0.1:9")
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    able = Sandbox.capabilities(VARIANT)["create"]
    assert not able.supported
    assert "ssh -nNT -L" in able.reason
    with pytest.raises(UnsupportedError, match="ssh -nNT -L"):
        create()
