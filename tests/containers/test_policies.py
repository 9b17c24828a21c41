"""Every way out that we know of, from code and from commands, with each policy."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from code_sandboxes import Sandbox
from code_sandboxes.variants.engine import IMAGE
from containers.helpers import VARIANT, by_code, by_command, unique

PROBE = """
import socket
found = {}
def attempt(name, call):
    try:
        got = call()
        found[name] = "open" if got is None else str(got)
    except OSError as error:
        found[name] = type(error).__name__
def tcp(address, family=socket.AF_INET):
    with socket.socket(family) as s:
        s.settimeout(2)
        s.connect(address)
def udp(address, family=socket.AF_INET):
    with socket.socket(family, socket.SOCK_DGRAM) as s:
        s.sendto(b"leak", address)
for host in HOSTS:
    attempt("tcp " + host, lambda: tcp((host, TCP)))
    attempt("udp " + host, lambda: udp((host, UDP)))
attempt("metadata", lambda: tcp(("169.254.169.254", 80)))
attempt("tcp public", lambda: tcp(("192.0.2.77", 443)))
attempt("udp dns", lambda: udp(("192.0.2.53", 53)))
attempt("ipv6", lambda: tcp(("2001:db8::1", 443), socket.AF_INET6))
attempt("ipv6 udp", lambda: udp(("2001:db8::1", 53), socket.AF_INET6))
attempt("ipv6 link-local", lambda: udp(("ff02::1", 5353), socket.AF_INET6))
attempt("multicast", lambda: udp(("224.0.0.251", 5353)))
attempt("broadcast", lambda: udp(("255.255.255.255", 9)))
attempt("name", lambda: socket.getaddrinfo("example.com", 80))
attempt("name of the host", lambda: socket.getaddrinfo("host.docker.internal", 80))
attempt("raw", lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, 1).close())
attempt("ping", lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM, 1).close())
attempt("packet", lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW).close())
attempt("vsock", lambda: socket.socket(40, socket.SOCK_STREAM).close())
attempt("alg", lambda: socket.socket(38, socket.SOCK_SEQPACKET).close())
attempt("bluetooth", lambda: socket.socket(31, socket.SOCK_STREAM).close())
"""
INTERFACES = "import os\nfound = sorted(os.listdir('/sys/class/net'))"
Run = Callable[[Sandbox, str], Any]
BOTH = pytest.mark.parametrize("run", [by_code, by_command])


@dataclass
class Host:
    """A TCP and a UDP port of this machine, at all of its addresses, and who came."""

    tcp: socket.socket
    udp: socket.socket
    came: list[str] = field(default_factory=list)

    @property
    def probe(self) -> str:
        """The probe, with this machine as its target."""
        ports = f"TCP, UDP = {self.tcp.getsockname()[1]}, {self.udp.getsockname()[1]}\n"
        return f"HOSTS = {addresses()!r}\n{ports}{PROBE}"

    def listen(self) -> None:
        """Note who comes, until the ports are closed."""

        def tcp() -> None:
            while True:
                try:
                    peer, address = self.tcp.accept()
                except OSError:
                    return
                peer.close()
                self.came.append(f"tcp {address}")

        def udp() -> None:
            while True:
                try:
                    data, address = self.udp.recvfrom(100)
                except OSError:
                    return
                if data:
                    self.came.append(f"udp {address}")

        for job in (tcp, udp):
            threading.Thread(target=job, daemon=True).start()


def addresses() -> list[str]:
    """This machine's own addresses, those of the engine's bridges too."""
    found = {"172.17.0.1"}
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
            found.add(probe.getsockname()[0])
        except OSError:
            pass  # this machine has no network either
    return sorted(found)


@pytest.fixture(scope="module")
def host() -> Iterator[Host]:
    tcp = socket.create_server(("0.0.0.0", 0))
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    udp.bind(("0.0.0.0", 0))
    made = Host(tcp, udp)
    made.listen()
    yield made
    tcp.shutdown(socket.SHUT_RDWR)
    tcp.close()
    udp.close()


@pytest.fixture(scope="module")
def connected() -> Iterator[Sandbox]:
    with Sandbox.create(VARIANT) as made:
        yield made


@BOTH
def test_none_blocks_every_way_out(alone: Sandbox, host: Host, run: Run) -> None:
    found = run(alone, host.probe)
    assert len(found) > 15
    assert not [name for name, outcome in found.items() if outcome == "open" or "(" in outcome]
    assert host.came == []
    assert run(alone, INTERFACES) == ["lo"]


def test_none_has_its_own_loopback(alone: Sandbox) -> None:
    code = """
import socket
with socket.create_server(("127.0.0.1", 0)) as server:
    with socket.create_connection(server.getsockname()) as client:
        found = "open"
"""
    assert by_code(alone, code) == by_command(alone, code) == "open"


@BOTH
def test_a_probe_finds_what_is_open(connected: Sandbox, host: Host, run: Run) -> None:
    """Without this one, the test above could pass for a probe that does not work."""
    host.came.clear()
    found = run(connected, host.probe)
    assert "open" in [found[f"tcp {address}"] for address in addresses()]
    assert {line.split()[0] for line in host.came} == {"tcp", "udp"}
    for never in ("raw", "ping", "packet", "vsock", "alg", "bluetooth"):  # with no policy
        assert found[never] != "open"


def test_all_is_the_same_as_inherit(host: Host) -> None:
    with Sandbox.create(VARIANT, network_policy="all") as sandbox:
        found = by_command(sandbox, host.probe)
    assert "open" in [found[f"tcp {address}"] for address in addresses()]


SERVE = """
import socket, threading
server = socket.create_server(("0.0.0.0", 7777))
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
    s.connect(("192.0.2.1", 9))
    found = s.getsockname()[0]
"""
REACH = """
import socket
try:
    socket.create_connection((ADDRESS, 7777), 2).close()
    found = "open"
except OSError as error:
    found = type(error).__name__
"""


@BOTH
def test_sandboxes_do_not_reach_each_other(alone: Sandbox, connected: Sandbox, run: Run) -> None:
    with Sandbox.create(VARIANT) as other:
        address = by_code(other, SERVE)
        reach = f"ADDRESS = {address!r}\n{REACH}"
        assert by_command(other, reach) == "open"  # it is there
        assert run(alone, reach) != "open"
        assert run(connected, reach) != "open"


def test_nothing_is_published(engine: Any, alone: Sandbox, connected: Sandbox) -> None:
    for sandbox in (alone, connected):
        known = engine.inspect_container(sandbox.id)
        assert not known["HostConfig"]["PortBindings"]
        assert not known["NetworkSettings"]["Ports"]
        assert not known["Mounts"]


def test_a_probe_finds_what_an_ordinary_container_can(engine: Any, host: Host) -> None:
    """What no policy lets through is found where nothing of ours is in the way."""
    command = ["python", "-c", f"{host.probe}\nimport json\nprint(json.dumps(found))"]
    made = engine.create_container(IMAGE, command, user="0", name=f"cs-test-{unique()}")["Id"]
    try:
        engine.start(made)
        assert engine.wait(made)["StatusCode"] == 0
        found = json.loads(engine.logs(made, stderr=False))
    finally:
        engine.remove_container(made, force=True)
    for name in ("raw", "packet", "vsock", "ping"):
        assert found[name] == "open", found
