"""A connection that is cut while the server and its kernels live: nothing is lost or doubled."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from code_sandboxes import Output, Sandbox
from code_sandboxes.testing.base import Stopwatch
from remote.relay import Relay
from remote.server import JupyterServer, running

for package in ("jupyter_kernel_client", "jupyter_server"):
    pytest.importorskip(package, reason=f"{package} is not installed")


AT_ONCE = 5.0  # seconds, on a busy machine


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[JupyterServer]:
    with running(tmp_path_factory.mktemp("server")) as found:
        yield found


@pytest.fixture
def relay(server: JupyterServer) -> Iterator[Relay]:
    found = Relay(server.port)
    yield found
    found.close()


@pytest.fixture
def box(server: JupyterServer, relay: Relay) -> Iterator[Sandbox]:
    with create(server, relay.url) as made:
        made.run_code("kept = 1")
        yield made


def create(server: JupyterServer, url: str = "", **options: Any) -> Sandbox:
    """A sandbox on a server."""
    where = {"server_url": url or server.url, "token": server.token}
    return Sandbox.create("remote-jupyter", timeout=60, **where, **options)


@contextmanager
def cutting(relay: Relay, seconds: float) -> Iterator[None]:
    """Cut all connections again and again, meanwhile."""
    done = threading.Event()

    def cut() -> None:
        while not done.wait(seconds):
            relay.cut()

    thread = threading.Thread(target=cut)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def test_output(box: Sandbox, relay: Relay) -> None:
    code = "import time\nfor i in range(3000): print(i); time.sleep(.001)\nkept + 1"
    with cutting(relay, 0.5):
        ran = box.run_code(code)
        assert (ran.error, ran.stderr, ran.text) == (None, "", "2")
        assert ran.stdout.split() == [str(i) for i in range(3000)]
        ran = box.run_code("for i in range(600): print(f'{i:06}' + 'x' * 9993)")
        assert ran.stdout == "".join(f"{i:06}{'x' * 9993}\n" for i in range(600))
        code = "for i in range(300): print(i, end=' '); display(str(i)); time.sleep(.01)"
        ran = box.run_code(code)
        shown = [result.data["text/plain"] for result in ran.results]
        assert shown == [repr(str(i)) for i in range(300)]
        assert ran.stdout.split() == [str(i) for i in range(300)]
        ran = box.run_code("time.sleep(1)\n1/0")
        assert ran.error is not None
        assert (ran.error.name, ran.error.state_lost) == ("ZeroDivisionError", False)


def test_each_request_once(box: Sandbox, relay: Relay) -> None:
    with cutting(relay, 0.2):
        for i in range(40):
            assert box.run_code("kept += 1; kept").text == str(i + 2)


def test_host_calls(box: Sandbox, relay: Relay) -> None:
    asked: list[int] = []

    def ask(number: int) -> int:
        asked.append(number)
        return number

    with cutting(relay, 0.3):
        code = "import time\nfound = []\nfor i in range(200): found.append(ask(i))\n"
        ran = box.run_code(code + "found == list(range(200))", host_functions={"ask": ask})
        assert ran.text == "True"
        assert asked == list(range(200))
        code = "','.join(input(str(i)) for i in range(20))"
        ran = box.run_code(code, stdin=lambda prompt: prompt * 2)
        assert ran.text == repr(",".join(f"{i}{i}" for i in range(20)))


def test_files_and_commands(box: Sandbox, relay: Relay) -> None:
    data = os.urandom(1 << 20) * 20
    with cutting(relay, 0.5):
        box.files.write("data", data)
        assert box.files.read_bytes("data") == data
        assert box.commands.run("seq 200000").stdout.split()[-1] == "200000"
        process = box.commands.exec("sh", "-c", "for i in 1 2 3 4 5 6; do echo $i; sleep .3; done")
        assert [line.strip() for line in process.stdout] == list("123456")


def test_the_deadline_and_an_interrupt(box: Sandbox, relay: Relay) -> None:
    cut = threading.Timer(1, relay.cut)
    cut.start()
    watch = Stopwatch()
    ran = box.run_code("while True: pass", timeout=3)
    assert watch.seconds < 3 + AT_ONCE
    assert ran.error is not None
    assert (ran.error.name, ran.error.state_lost) == ("ExecutionTimeout", False)
    assert box.run_code("kept").text == "1"
    relay.cut()
    threading.Timer(2, box.interrupt).start()
    ran = box.run_code("while True: pass", timeout=20)
    assert ran.error is not None
    assert (ran.error.name, ran.error.state_lost) == ("KeyboardInterrupt", False)


def test_a_slow_reader(box: Sandbox, relay: Relay) -> None:
    seen = 0
    with cutting(relay, 0.5):
        for event in box.stream_code("for i in range(100): print('x' * 99_999)"):
            if isinstance(event, Output):
                seen += len(event.text)
                time.sleep(0.02)
    assert seen == 10_000_000


@pytest.mark.usefixtures("short_lease")
def test_a_connection_by_which_nothing_comes_any_more(box: Sandbox, relay: Relay) -> None:
    relay.mute()
    watch = Stopwatch()
    assert box.run_code("kept").text == "1"  # by a new one
    assert box.files.list(".") == []
    assert watch.seconds < 20


def test_a_server_that_drops_output(tmp_path: Path) -> None:
    limit = "--ZMQChannelsWebsocketConnection.iopub_msg_rate_limit=40"
    with running(tmp_path, limit) as server, create(server) as box:
        ran = box.run_code("for i in range(2000): print(i, flush=True)")
        assert ran.stdout.split() == [str(i) for i in range(2000)]
        ran = box.run_code("for i in range(200): display(i)")
        assert [result.data["text/plain"] for result in ran.results] == [str(i) for i in range(200)]
        assert ran.stderr == ""
