"""What only a server that is somebody else's can do to a sandbox, and the other way round."""

from __future__ import annotations

import http.server
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from code_sandboxes import (
    ConfigurationError,
    Display,
    Output,
    Sandbox,
    SandboxConfig,
    SandboxGoneError,
    SandboxStartError,
    UnsupportedError,
)
from code_sandboxes.testing.base import Stopwatch, eventually
from remote.lease import SHORT_LEASE
from remote.relay import Relay
from remote.server import JupyterServer, free_port, running

for package in ("jupyter_kernel_client", "jupyter_server"):
    pytest.importorskip(package, reason=f"{package} is not installed")

VARIANT = "remote-jupyter"
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


def create(server: JupyterServer, url: str = "", **options: object) -> Sandbox:
    """A sandbox on a server."""
    url = url or server.url
    return Sandbox.create(VARIANT, server_url=url, token=server.token, **options)  # type: ignore


# starting ---------------------------------------------------------------------------------
def test_a_wrong_token(server: JupyterServer) -> None:
    before = server.kernels()
    for token, said in (("wrong", "refuses the token"), (None, "wants a token")):
        with pytest.raises(SandboxStartError, match=said):
            Sandbox.create(VARIANT, server_url=server.url, token=token)
    assert server.kernels() == before


def test_nobody_answers() -> None:
    watch = Stopwatch()
    with pytest.raises(SandboxStartError, match="nobody answers at"):
        Sandbox.create(VARIANT, server_url=f"http://127.0.0.1:{free_port()}", token="x")
    assert watch.seconds < AT_ONCE


def test_what_is_no_jupyter_server() -> None:
    class Page(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"<html>hello</html>")

        def log_message(self, *_: object) -> None:
            return None

    with http.server.HTTPServer(("127.0.0.1", 0), Page) as page:
        threading.Thread(target=page.serve_forever, daemon=True).start()
        with pytest.raises(SandboxStartError, match="is no Jupyter Server"):
            Sandbox.create(VARIANT, server_url=f"http://127.0.0.1:{page.server_port}")
        page.shutdown()


def test_a_redirect_is_not_followed_with_the_token() -> None:
    seen: list[str | None] = []

    class Elsewhere(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            seen.append(self.headers["Authorization"])
            self.send_response(302)
            self.send_header("Location", "/elsewhere")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            return None

    with http.server.HTTPServer(("127.0.0.1", 0), Elsewhere) as page:
        threading.Thread(target=page.serve_forever, daemon=True).start()
        with pytest.raises(SandboxStartError, match="refuses the token"):
            url = f"http://127.0.0.1:{page.server_port}"
            Sandbox.create(VARIANT, server_url=url, token="t")
        page.shutdown()
    assert seen == ["token t"]


def test_options(server: JupyterServer) -> None:
    with pytest.raises(ConfigurationError, match="needs server_url"):
        Sandbox.create(VARIANT)
    for bad in ("127.0.0.1:8888", "ftp://a", "http://u:p@a/", "http://a/?token=secret"):
        with pytest.raises(ConfigurationError):
            Sandbox.create(VARIANT, server_url=bad)
    with pytest.raises(ConfigurationError):
        Sandbox.create(VARIANT, server_url="http://a", token="a\nb")
    with pytest.raises(UnsupportedError, match="no environment 'none'.*python3"):
        create(server, environment="none")
    with pytest.raises(UnsupportedError, match="server_url"):
        Sandbox.create("local-eval", server_url=server.url)
    with create(server, environment="python3") as box:
        assert box.run_code("1").text == "1"


def test_without_the_extra() -> None:
    code = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parents[2] / "sandboxes")!r})
from code_sandboxes import Sandbox, SandboxError
found = Sandbox.capabilities("remote-jupyter")["create"]
print(found.supported, found.reason)
try:
    Sandbox.create("remote-jupyter", server_url="http://127.0.0.1:1")
except SandboxError as error:
    print(error)
"""
    ran = subprocess.run(  # -S: no site-packages
        [sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr
    first, second = ran.stdout.splitlines()
    assert first.startswith("False")
    assert first.endswith("`code-sandboxes[server]`"), ran
    assert "code-sandboxes[server]" in second


# the token --------------------------------------------------------------------------------
def test_the_token_is_nowhere(server: JupyterServer, state_directory: Path) -> None:
    assert server.token not in repr(SandboxConfig(server_url=server.url, token=server.token))
    with create(server) as box:
        assert server.token not in repr(box) + repr(box.config)
        for path in state_directory.rglob("*.json"):
            assert server.token not in path.read_text()
        assert server.token not in box.commands.run("env; cat /proc/self/environ").stdout
        ran = box.run_code("import os; (os.environ, globals())")
        assert server.token not in ran.text
        code = "print(open('/proc/self/environ').read(), open('/proc/self/cmdline').read())"
        assert server.token not in box.run_code(code).stdout


# limits of a stock server -----------------------------------------------------------------
def test_nothing_is_lost_at_the_servers_limits(server: JupyterServer) -> None:
    with create(server, max_output=40 << 20, timeout=90) as box:
        ran = box.run_code("print('x' * 20_000_000)")
        assert (len(ran.stdout), ran.stderr, ran.success) == (20_000_001, "", True)
        ran = box.run_code("for i in range(20_000): print(i, flush=True)")
        assert ran.stdout.split() == [str(i) for i in range(20_000)]
        ran = box.run_code("import os\nfor i in range(4000): _ = os.write(1, b'%d\\n' % i)")
        assert ran.stdout.split() == [str(i) for i in range(4000)]
        ran = box.run_code("for i in range(4000): display(i)")
        assert ran.success
        assert "rate" not in ran.stderr
        large = "é" * 4_000_000
        assert box.run_code("len(f())", host_functions={"f": lambda: large}).text == "4000000"
        box.set_variable("large", large)
        assert box.run_code("len(large)").text == "4000000"
        assert box.get_variable("large") == large
        data = os.urandom(1 << 20) * 25
        box.files.write("large", data)
        assert box.files.read_bytes("large") == data
        ran = box.run_code("'" + "x" * 9_000_000 + "'")
        assert ran.error is not None
        assert "write it to a file" in ran.error.value
        assert box.run_code("1").text == "1"


def test_a_slow_callback_holds_the_code_back(server: JupyterServer) -> None:
    with create(server) as box:
        code = "for i in range(100): print('x' * 200_000)\nopen('done', 'w').close()"
        events = box.stream_code(code, timeout=60)
        for event in events:
            if isinstance(event, Output):
                break
        time.sleep(2)
        assert not box.files.exists("done")  # 20 MB, of which a few are under way
        assert sum(len(e.text) for e in events if isinstance(e, Output)) > 19_000_000
        assert box.files.exists("done")


def test_a_slow_reader_misses_nothing(server: JupyterServer) -> None:
    with create(server) as box:
        code = "for i in range(200): display({'text/html': f'{i:03}' + 'x' * 99_997}, raw=True)"
        sizes: list[int] = []
        for event in box.stream_code(code + "\nopen('done', 'w').close()", timeout=60):
            if isinstance(event, Display):
                assert event.data["text/html"].startswith(f"{len(sizes):03}")
                sizes.append(len(event.data["text/html"]))
                if len(sizes) == 1:
                    time.sleep(2)
                    assert not box.files.exists("done")  # 20 MB, of which a few are under way
        assert sizes == [100_000] * 200
        ran = box.run_code("display({'text/html': 'x' * 12_000_000}, raw=True)")  # past 10 MiB
        assert ran.success
        assert len(ran.results[0].data["text/html"]) == 12_000_000


def test_output_comes_before_what_follows_it(server: JupyterServer) -> None:
    with create(server) as box:
        for _ in range(20):
            seen: list[str] = []
            code = "print('one')\nask()\nprint('two')\ndisplay('three')\nprint('four')\n1/0"
            for event in box.stream_code(code, host_functions={"ask": lambda: None}):
                kind = type(event).__name__
                seen.append(event.text.strip() if isinstance(event, Output) else kind)
            assert [name for name in seen if name] == [
                *("Started", "one", "Ask", "two", "Display", "four", "ExecutionError", "Done")
            ]


# the server's end, and its kernels' -------------------------------------------------------
def test_the_server_is_gone(tmp_path: Path) -> None:
    with running(tmp_path) as server, create(server) as box:
        ended: list[str] = []
        runner = threading.Thread(
            target=lambda: ended.append(str(box.run_code("while True: pass", timeout=None).error))
        )
        runner.start()
        time.sleep(0.5)
        home = box.files.resolve(".")
        kernels = kernel_pids(tmp_path)
        server.kill()
        watch = Stopwatch()
        runner.join(AT_ONCE)
        assert "InterpreterDied" in ended[0]
        with pytest.raises(SandboxGoneError, match="nobody answers at"):
            box.files.read("x")
        assert watch.seconds < AT_ONCE
        assert eventually(lambda: not os.path.exists(home))
        end(kernels)


def end(pids: list[int]) -> None:
    """Kill what a server that was killed may have left."""
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def kernel_pids(folder: Path) -> list[int]:
    """Kernels whose connection files lie below a folder."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and f"{folder}/runtime/kernel-" in (
                entry / "cmdline"
            ).read_text(errors="replace"):
                found.append(int(entry.name))
        except OSError:
            continue
    return found


def test_the_server_was_restarted(tmp_path: Path) -> None:
    with running(tmp_path) as server:
        relay = Relay(server.port)
        with create(server, relay.url) as box:
            kernels = kernel_pids(tmp_path)
            server.kill()
            server.start()
            relay.cut()
            watch = Stopwatch()
            with pytest.raises(SandboxGoneError, match="was restarted"):
                while watch.seconds < AT_ONCE:
                    box.files.exists("x")
        relay.close()
        end(kernels)


@pytest.mark.usefixtures("short_lease")
def test_nobody_answers_any_more(server: JupyterServer, relay: Relay) -> None:
    box = create(server, relay.url)
    home = box.files.resolve(".")
    box.run_code("1")
    relay.close()
    watch = Stopwatch()
    with pytest.raises(SandboxGoneError, match="nobody answers at"):
        while watch.seconds < AT_ONCE:
            box.files.exists("x")
    box.terminate()
    assert eventually(lambda: server.kernels() == [], 40)  # by the lease
    assert not os.path.exists(home)


def test_the_last_output_of_an_interpreter_that_dies(server: JupyterServer) -> None:
    with create(server) as box:
        for code in (
            "import os\nprint('one')\nos.write(1, b'two\\n')\nos._exit(1)",
            "import os\nprint('one')\nos.write(1, b'two\\n')\nos.kill(os.getpid(), 9)",
        ):
            seen = []
            for _ in range(4):  # what it was about to pass on itself, it takes along
                ran = box.run_code(code)
                assert ran.error is not None
                assert (ran.error.name, ran.error.state_lost) == ("InterpreterDied", True)
                assert "kernel" in ran.error.value
                seen.append(ran.stdout.split())
                if seen[-1] == ["one", "two"]:
                    break
            assert seen[-1] == ["one", "two"], seen
        assert box.run_code("1").text == "1"


def test_a_killed_supervisor_leaves_nothing(server: JupyterServer) -> None:
    with create(server) as box:
        base = Path(box.files.resolve(".")).parent
        pid = box.commands.run("echo $PPID").stdout.strip()
        box.commands.exec("sleep", "600")
        assert box.run_code(f"import os; os.kill({pid}, 9)").error is None
        watch = Stopwatch()
        with pytest.raises(SandboxGoneError, match="supervisor's kernel"):
            while watch.seconds < 15:
                box.files.exists("x")
        assert base.exists()
    assert not base.exists()
    assert server.kernels() == []


@pytest.mark.usefixtures("short_lease")
def test_a_server_that_says_nothing_more(server: JupyterServer, relay: Relay) -> None:
    box = create(server, relay.url)
    relay.hold()
    watch = Stopwatch()
    with pytest.raises(SandboxGoneError, match="has not answered for too long"):
        box.files.exists("x")
    assert watch.seconds < 40
    relay.holding.set()
    box.terminate()
    assert server.kernels() == []


def test_a_culled_kernel(server: JupyterServer) -> None:
    with create(server) as box:
        box.run_code("kept = 1")
        home = box.files.resolve(".")
        supervisor, interpreter = kernels_of(box, server)
        errors: list[str] = []
        code = "while True: pass"
        runner = threading.Thread(
            target=lambda: errors.append(str(box.run_code(code, timeout=None).error))
        )
        runner.start()
        time.sleep(0.5)
        server.ask("DELETE", f"/api/kernels/{interpreter}")
        runner.join(AT_ONCE)
        assert "InterpreterDied" in errors[0]
        assert "kernel" in errors[0]
        assert box.run_code("'kept' in globals()").text == "False"
        server.ask("DELETE", f"/api/kernels/{supervisor}")
        watch = Stopwatch()
        with pytest.raises(SandboxGoneError, match="the supervisor's kernel"):
            while watch.seconds < AT_ONCE:
                box.files.exists("x")
    assert server.kernels() == []
    assert not os.path.exists(home)


def kernels_of(box: Sandbox, server: JupyterServer) -> tuple[str, str]:
    """The supervisor's kernel, and the default context's."""
    own = box.run_code("get_ipython().kernel.parent.abs_connection_file").text
    interpreter = next(kernel for kernel in server.kernels() if kernel in own)
    return next(kernel for kernel in server.kernels() if kernel != interpreter), interpreter


def test_kernels_of_others_are_left_alone(server: JupyterServer) -> None:
    other = server.start_kernel()
    with create(server) as box:
        box.create_context("second")
        box.run_code("1", context="second")
        assert len(server.kernels()) == 4
    assert server.kernels() == [other]
    server.ask("DELETE", f"/api/kernels/{other}")


def test_another_client_of_our_kernel_is_answered(server: JupyterServer) -> None:
    from jupyter_kernel_client import JupyterKernelClient

    with create(server) as box:
        box.run_code("kept = 41")
        _, kernel = kernels_of(box, server)
        where = {"server_url": server.url, "token": server.token, "kernel_id": kernel}
        with JupyterKernelClient(**where) as other:
            said = other.execute("kept + 1", timeout=20)
            assert said["status"] == "ok"
            assert "42" in str(said["outputs"])
            for _ in range(3):
                assert box.run_code("kept").text == "41"
                assert other.execute("kept", timeout=20)["status"] == "ok"
        assert box.run_code("kept").text == "41"


def test_a_restarted_context_leaves_no_kernel(server: JupyterServer) -> None:
    with create(server) as box:
        for _ in range(3):
            box.run_code("import os; os._exit(1)")
        assert box.run_code("1").text == "1"
        assert eventually(lambda: len(server.kernels()) == 2)
        assert box.run_code("import sys; sys.executable").text.strip("'").startswith("/")
    assert server.kernels() == []


def test_an_owner_that_was_killed_leaves_no_kernel(server: JupyterServer) -> None:
    code = (
        SHORT_LEASE
        + """
import json, sys, time
from code_sandboxes import Sandbox
box = Sandbox.create("remote-jupyter", **json.loads(sys.argv[1]))
box.run_code("1")
print(box.files.resolve("."), flush=True)
time.sleep(600)
"""
    )
    options = json.dumps({"server_url": server.url, "token": server.token})
    with subprocess.Popen([sys.executable, "-c", code, options], stdout=subprocess.PIPE) as owner:
        assert owner.stdout is not None
        home = owner.stdout.readline().decode().strip()
        assert len(server.kernels()) == 2
        owner.kill()
    assert os.path.isdir(home)
    assert eventually(lambda: server.kernels() == [], 40)
    assert not os.path.exists(home)


def test_an_owner_killed_while_a_kernel_starts_leaves_none(server: JupyterServer) -> None:
    """Not even those that it has not used yet, or has just begun to delete."""
    code = (
        SHORT_LEASE
        + """
import json, os, signal, sys, time
from code_sandboxes import Sandbox
from code_sandboxes.channels.remote_client import RemoteClient
from code_sandboxes.variants.remote_kernels import Kernels
box = Sandbox.create("remote-jupyter", **json.loads(sys.argv[1]))
box.run_code("1")
dying = {"connect": (Kernels, "connect"), "ready": (RemoteClient, "await_ready"),
         "delete": (Kernels, "_delete_now")}[sys.argv[2]]
setattr(*dying, lambda *_: os.kill(os.getpid(), signal.SIGKILL))
box.restart() if sys.argv[2] == "delete" else box.run_code("1", context=box.create_context())
time.sleep(10)
"""
    )
    options = json.dumps({"server_url": server.url, "token": server.token})
    for moment in ("connect", "ready", "delete"):
        ended = subprocess.run([sys.executable, "-c", code, options, moment], check=False)
        assert ended.returncode == -signal.SIGKILL
    assert len(server.kernels()) >= 6
    assert eventually(lambda: server.kernels() == [], 60)


def test_packages_are_the_sandboxs_own(server: JupyterServer) -> None:
    with create(server) as box:
        found = box.run_code("import sys; sys.prefix, sys.executable").text
        assert found
        where = box.commands.run(["python", "-c", "import sys; print(sys.prefix)"]).stdout.strip()
        assert where.endswith("/venv")
        assert box.commands.run(["python", "-c", "import ipykernel"]).success  # and the server's
        ran = box.run_code("%pip --version", timeout=60)
        assert where in ran.stdout or ran.success


@pytest.mark.parametrize("after", [0.1, 0.3, 0.8])
def test_ctrl_c_while_it_is_made(server: JupyterServer, after: float) -> None:
    """It does not wait for the kernel that is started beside."""
    code = f"""
import os, signal, sys, threading, time
import code_sandboxes.variants.remote_jupyter, code_sandboxes.channels.remote
from code_sandboxes import Sandbox
threading.Timer({after}, os.kill, (os.getpid(), signal.SIGINT)).start()
began = time.monotonic()
try:
    with Sandbox.create("remote-jupyter", server_url=sys.argv[1], token=sys.argv[2]):
        time.sleep(5)
except KeyboardInterrupt:
    print(time.monotonic() - began)
"""
    before = server.kernels()  # of owners that other tests have killed
    done = subprocess.run(
        [sys.executable, "-c", code, server.url, server.token],
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.stdout, done.stderr
    assert float(done.stdout) < 15
    # at once; or by its lease, where it was whole already, and was not entered yet
    assert eventually(lambda: set(server.kernels()) <= set(before), 40)
