"""`network_policy="allowlist"`: out to the hosts that are allowed, and nowhere else."""

from __future__ import annotations

import asyncio
import http.server
import json
import logging
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from code_sandboxes import AsyncSandbox, Sandbox
from code_sandboxes.egress import proxy, relay, rules
from code_sandboxes.testing.base import eventually
from code_sandboxes.testing.package_cases import wheel

HERE = "local-jupyter"
POLICY = "network_policy=allowlist"


def here() -> str:
    """An address of this machine that is no loopback; "" if it has none."""
    found = subprocess.run(["hostname", "-I"], capture_output=True, text=True, check=False)
    return next((word for word in found.stdout.split() if "." in word), "")


ADDRESS = here()
pytestmark = pytest.mark.skipif(not ADDRESS, reason="this machine has no network")


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.server.asked.append((self.headers["Host"], self.path))  # type: ignore[attr-defined]
        if self.path.startswith("/simple/"):
            name = "cs_kept-1.0-py3-none-any.whl"
            body = f'<a href="/files/{name}">{name}</a>'.encode()
        elif self.path.startswith("/files/"):
            body = wheel("cs_kept")
        elif self.path == "/slow":
            time.sleep(60)
            return
        elif self.path == "/pause":
            time.sleep(1.5)
            body = b"after a pause"
        elif self.path == "/cut":
            self.wfile.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + b"x" * 1000)
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.rfile.close()
            self.wfile.close()
            self.connection.close()
            self.close_connection = True
            return
        else:
            body = f"hello {self.path}".encode()
        self.answer(body)

    def do_POST(self) -> None:
        self.answer(self.rfile.read(int(self.headers["Content-Length"]))[::-1])

    def answer(self, body: bytes) -> None:
        kind = "text/html" if body.startswith(b"<a") else "application/octet-stream"
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None: ...


class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 200  # with 5, a connection may take a minute where many come at once

    def __init__(self, address: tuple[str, int]) -> None:
        self.asked: list[tuple[str, str]] = []
        super().__init__(address, Handler)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that left is what some tests are about."""


IS_HERE = proxy.is_here


@dataclass
class World:
    """Two servers on this machine, of which one is allowed, and names for them."""

    allowed: Server
    denied: Server
    names: dict[str, str] = field(default_factory=dict)

    @property
    def entries(self) -> list[str]:
        return [f"allowed.test:{self.allowed.server_port}", f"{ADDRESS}:{self.allowed.server_port}"]

    def url(self, path: str = "/x", host: str = "allowed.test") -> str:
        return f"http://{host}:{self.allowed.server_port}{path}"


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    servers = [Server((ADDRESS, 0)), Server((ADDRESS, 0))]
    for server in servers:
        threading.Thread(target=server.serve_forever, daemon=True).start()
    made = World(*servers, names={"allowed.test": ADDRESS, "denied.test": ADDRESS})
    look_up = rules.look_up
    with pytest.MonkeyPatch.context() as patch:
        # there is no name server for these
        patch.setattr(
            rules,
            "look_up",
            lambda host, port: [made.names[host]] if host in made.names else look_up(host, port),
        )
        patch.setattr(proxy, "is_here", lambda connected: False)  # this machine stands for others
        patch.setattr(relay, "SILENCE", 3.0)
        yield made
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture(scope="module", params=[HERE, "local-docker"])
def sandbox(request: pytest.FixtureRequest, world: World) -> Iterator[Sandbox]:
    able = Sandbox.capabilities(request.param)
    for what in ("create", POLICY):
        if not able[what].supported:
            pytest.skip(able[what].reason)
    port = world.allowed.server_port
    env = {"PIP_INDEX_URL": f"http://{ADDRESS}:{port}/simple/", "PIP_TRUSTED_HOST": ADDRESS}
    with Sandbox.create(
        request.param, network_policy="allowlist", allowed_hosts=world.entries, env=env
    ) as made:
        yield made


GET = """
import urllib.error, urllib.request
def get(url, data=None, timeout=20):
    try:
        return urllib.request.urlopen(url, data, timeout=timeout).read().decode()
    except urllib.error.HTTPError as error:
        return f"{error.code} {error.reason}"
    except OSError as error:
        return f"{type(error).__name__}: {error}"
"""


def got(sandbox: Sandbox, expression: str) -> Any:
    ran = sandbox.run_code(f"{GET}\nimport json, socket\nprint(json.dumps({expression}))")
    assert ran.success, ran
    return json.loads(ran.stdout)


def test_what_is_allowed(sandbox: Sandbox, world: World) -> None:
    assert got(sandbox, f"get({world.url('/a?b')!r})") == "hello /a?b"
    assert got(sandbox, f"get({world.url(host=ADDRESS)!r})") == "hello /x"
    assert (f"allowed.test:{world.allowed.server_port}", "/a?b") in world.allowed.asked
    code = f"{GET}\nprint(get({world.url('/c')!r}))"
    assert sandbox.commands.run(["python", "-c", code]).stdout == "hello /c\n"
    size = 8_000_000
    sent = f"(lambda d: get({world.url()!r}, d.encode()) == d[::-1])('ab' * {size // 2})"
    assert got(sandbox, sent) is True


def test_a_tunnel(sandbox: Sandbox, world: World) -> None:
    port = world.allowed.server_port
    code = f"""
import socket
def through(first):
    with socket.create_connection(("127.0.0.1", 3128), 20) as peer:
        peer.sendall(first)
        peer.settimeout(20)
        return b"".join(iter(lambda: peer.recv(1000), b"")).decode()
request = b"GET /tunnel HTTP/1.1\\r\\nHost: q\\r\\nConnection: close\\r\\n\\r\\n"
print(through(b"CONNECT allowed.test:{port} HTTP/1.1\\r\\n\\r\\n" + request))
print(through(b"CONNECT denied.test:{port} HTTP/1.1\\r\\n\\r\\n" + request))
print(through(b"nonsense\\r\\n\\r\\n"))
"""
    said = sandbox.run_code(code).stdout
    assert "200 Connection established" in said
    assert "hello /tunnel" in said
    assert f"403 Forbidden: denied.test:{port} is not among the allowed_hosts" in said
    assert "400 Bad Request" in said


def test_packages_from_an_allowed_index(sandbox: Sandbox) -> None:
    installed = sandbox.install_packages(["cs_kept"])
    assert installed.success, installed
    assert sandbox.run_code("import cs_kept; cs_kept.VALUE").text == "42"


def test_what_is_not_allowed(
    sandbox: Sandbox, world: World, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "code_sandboxes.egress")
    port, denied = world.allowed.server_port, world.denied.server_port
    urls = [
        f"http://{ADDRESS}:{denied}/",
        f"http://denied.test:{port}/",
        f"http://allowed.test:{denied}/",
        f"http://allowed.test@denied.test:{port}/",
        f"http://sub.allowed.test:{port}/",
        "http://169.254.169.254/latest/meta-data/",
        "http://example.com/",
    ]
    for url in urls:
        assert got(sandbox, f"get({url!r})").startswith("40"), url
    assert "Tunnel connection failed: 403" in got(sandbox, "get('https://example.com/')")
    assert world.denied.asked == []
    assert "denied.test" in caplog.text
    world.names["allowed.test"] = "127.0.0.1"  # whoever owns the name has changed its mind
    try:
        assert "must not reach" in got(sandbox, f"get({world.url()!r})")
    finally:
        world.names["allowed.test"] = ADDRESS


def test_nothing_else_leads_out(sandbox: Sandbox, world: World) -> None:
    code = f"""
import socket, json
found = {{}}
def attempt(name, call):
    try:
        call()
        found[name] = "open"
    except OSError as error:
        found[name] = type(error).__name__
def tcp(host, port): socket.create_connection((host, port), 2).close()
def udp(host, port): socket.socket(type=socket.SOCK_DGRAM).sendto(b"x", (host, port))
for host in ({ADDRESS!r}, "127.0.0.1"):
    attempt("tcp " + host, lambda: tcp(host, {world.allowed.server_port}))
attempt("udp", lambda: udp({ADDRESS!r}, 53))
attempt("dns", lambda: socket.getaddrinfo("example.com", 80))
attempt("metadata", lambda: tcp("169.254.169.254", 80))
attempt("ipv6", lambda: tcp("2001:db8::1", 443))
print(json.dumps(found))
"""
    for stdout in (
        sandbox.run_code(code).stdout,
        sandbox.commands.run(["python", "-c", code]).stdout,
    ):
        assert "open" not in json.loads(stdout).values(), stdout


def test_its_own_loopback_is_its_own(sandbox: Sandbox) -> None:
    code = """
import http.server, threading
class Own(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers(); self.wfile.write(b"own")
    def log_message(self, *_): pass
own = http.server.HTTPServer(("127.0.0.1", 0), Own)
threading.Thread(target=own.serve_forever, daemon=True).start()
"""
    assert sandbox.run_code(code).success
    for host in ("localhost", "127.0.0.1"):
        assert got(sandbox, f"get(f'http://{host}:{{own.server_port}}/')") == "own"


def test_many_at_once_and_some_that_leave(sandbox: Sandbox, world: World) -> None:
    code = f"""
{GET}
import socket
from concurrent.futures import ThreadPoolExecutor
request = b"GET {world.url("/slow")} HTTP/1.1\\r\\n\\r\\n"
def leave(n):
    with socket.create_connection(("127.0.0.1", 3128), 20) as peer:
        peer.sendall(request[: (0, 10, None)[n % 3]])
with ThreadPoolExecutor(16) as pool:
    list(pool.map(leave, range(30)))
    print(set(pool.map(lambda n: get({world.url("/many")!r}), range(100))))
"""
    assert sandbox.run_code(code, timeout=100).stdout == "{'hello /many'}\n"

    def serving() -> int:
        return sum(thread.name == "sandbox-egress" for thread in threading.enumerate())

    assert eventually(lambda: serving() == 0, 20)


def test_an_answer_is_the_last_of_its_connection(sandbox: Sandbox, world: World) -> None:
    code = f"""
import socket
with socket.create_connection(("127.0.0.1", 3128), 20) as peer:
    peer.sendall(b"GET {world.url("/one")} HTTP/1.1\\r\\nConnection: keep-alive\\r\\n\\r\\n")
    peer.settimeout(20)
    print(b"".join(iter(lambda: peer.recv(1000), b"")).decode())
"""
    said = sandbox.run_code(code).stdout
    assert "hello /one" in said
    assert "Connection: close" in said


def test_what_was_cut_is_no_end(sandbox: Sandbox, world: World) -> None:
    assert "reset" in got(sandbox, f"get({world.url('/cut')!r})")
    code = f"""
import socket
def through(request):
    with socket.create_connection(("127.0.0.1", 3128), 20) as peer:
        peer.sendall(b"CONNECT allowed.test:{world.allowed.server_port} HTTP/1.1\\r\\n\\r\\n")
        peer.settimeout(20)
        peer.recv(1000)
        peer.sendall(request)
        peer.shutdown(socket.SHUT_WR)  # what was sent is all
        try:
            return b"".join(iter(lambda: peer.recv(1000), b"")).decode()
        except OSError as error:
            return type(error).__name__
print(through(b"GET /cut HTTP/1.1\\r\\n\\r\\n"))
print(through(b"GET /pause HTTP/1.1\\r\\nConnection: close\\r\\n\\r\\n"))
print(through(b"GET /slow HTTP/1.1\\r\\n\\r\\n"))
"""
    said = sandbox.run_code(code).stdout
    assert said.startswith("ConnectionResetError\n")
    assert "after a pause" in said
    assert said.endswith("ConnectionResetError\n")  # after SILENCE, and not as if that were all


def test_more_than_there_are_places_for(sandbox: Sandbox, world: World) -> None:
    code = f"""
{GET}
from concurrent.futures import ThreadPoolExecutor
with ThreadPoolExecutor(150) as pool:
    print(set(pool.map(lambda n: get({world.url("/pause")!r}, None, 60), range(150))))
"""
    assert sandbox.run_code(code, timeout=100).stdout == "{'after a pause'}\n"
    assert sandbox.commands.run("echo alive").stdout == "alive\n"


def test_this_machine_is_never_reached(
    sandbox: Sandbox, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(proxy, "is_here", IS_HERE)
    assert "is this machine" in got(sandbox, f"get({world.url()!r})")


def test_what_comes_after_a_detachment(world: World) -> None:
    if not (able := Sandbox.capabilities(HERE)[POLICY]).supported:
        pytest.skip(able.reason)
    box = Sandbox.create(HERE, network_policy="allowlist", allowed_hosts=world.entries)
    assert got(box, f"get({world.url()!r})") == "hello /x"
    id = box.detach(60)
    with Sandbox.from_id(id) as adopted:
        assert got(adopted, f"get({world.url()!r})") == "hello /x"
        assert "403" in got(adopted, "get('http://example.com/')")


def test_async(world: World) -> None:
    if not (able := Sandbox.capabilities(HERE)[POLICY]).supported:
        pytest.skip(able.reason)

    async def main() -> str:
        async with await AsyncSandbox.create(
            HERE, network_policy="allowlist", allowed_hosts=world.entries
        ) as box:
            ran = await box.run_code(f"{GET}\nprint(get({world.url()!r}))")
            return ran.stdout

    assert asyncio.run(main()) == "hello /x\n"


def test_nothing_is_left_of_it(world: World) -> None:
    if not (able := Sandbox.capabilities(HERE)[POLICY]).supported:
        pytest.skip(able.reason)
    before = set(threading.enumerate())
    box = Sandbox.create(HERE, network_policy="allowlist", allowed_hosts=world.entries)
    code = f"""
import socket
held = [socket.create_connection(("127.0.0.1", 3128)) for _ in range(5)]
for peer in held:
    peer.sendall(b"CONNECT allowed.test:{world.allowed.server_port} HTTP/1.1\\r\\n\\r\\n")
    peer.recv(1000)
"""
    assert box.run_code(code).success
    idle = "idle = [socket.create_connection(('127.0.0.1', 3128)) for _ in range(5)]"
    assert box.run_code(idle).success
    assert eventually(
        lambda: len([t for t in threading.enumerate() if t.name == "sandbox-egress"]) == 10
    )
    box.terminate()
    assert eventually(
        lambda: not [t for t in set(threading.enumerate()) - before if "egress" in t.name]
    )


def test_the_hosts_own_proxies_stay_outside(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    if not (able := Sandbox.capabilities(HERE)[POLICY]).supported:
        pytest.skip(able.reason)
    for name in ("PIP_PROXY", "Http_Proxy", "https_proxy"):
        monkeypatch.setenv(name, "http://proxy.test:1")
    with Sandbox.create(
        HERE, network_policy="allowlist", allowed_hosts=world.entries, env={"NO_PROXY": "a.test"}
    ) as box:
        assert box.commands.run("env").stdout.count("proxy.test") == 0
        assert box.commands.run("echo $NO_PROXY $https_proxy").stdout == (
            "a.test http://127.0.0.1:3128\n"
        )


def test_detached_at_once(world: World) -> None:
    able = Sandbox.capabilities("local-docker")
    if not able["create"].supported:
        pytest.skip(able["create"].reason)
    options: Any = {"network_policy": "allowlist", "allowed_hosts": world.entries}
    id = Sandbox.create("local-docker", **options).detach(60)
    with Sandbox.from_id(id) as box:
        assert got(box, f"get({world.url()!r})") == "hello /x"


def test_where_nothing_isolates_it_is_refused() -> None:
    able = Sandbox.capabilities("local-eval")[POLICY]
    assert not able.supported
    assert "no boundary" in able.reason
