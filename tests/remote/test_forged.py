"""Code in somebody else's kernel, and a server, against the time and memory of the host."""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Iterator
from typing import Any, ClassVar

import pytest

from code_sandboxes import Sandbox
from code_sandboxes.testing.flood_cases import FloodCases
from code_sandboxes.testing.forged_cases import ForgedCases
from remote.server import running

for package in ("jupyter_kernel_client", "jupyter_server"):
    pytest.importorskip(package, reason=f"{package} is not installed")


@pytest.fixture(scope="module")
def options(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    with running(tmp_path_factory.mktemp("server")) as server:
        yield {"server_url": server.url, "token": server.token}


class Remote:
    """Where to attach to."""

    variant = "remote-jupyter"
    options: ClassVar[dict[str, Any]] = {}

    @pytest.fixture(scope="class", autouse=True)
    @classmethod
    def server(cls, options: dict[str, Any]) -> None:
        """Where to attach to."""
        cls.options = options


class TestForgedInRemoteKernel(Remote, ForgedCases):
    """What no code of ours has sent."""

    sample = 2  # `make soak` has all

    def test_no_comet_is_left(self) -> None:
        """See ForgedCases."""
        pytest.skip("the orphans of a server's kernels are that machine's, not the sandbox's")


class TestFloodsOfRemoteKernel(Remote, FloodCases):
    """Too much of it."""

    sample = 6


TEXT, CONTINUED, LAST = 0x01, 0x00, 0x80


def received(*frames: bytes) -> Exception | None:
    """What a client says of frames that a server sends."""
    from websocket import WebSocket, WebSocketException

    from code_sandboxes.channels.bounded import bound

    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.settimeout(5)
        connection = WebSocket(skip_utf8_validation=True)
        connection.sock = ours
        bound(connection)
        theirs.sendall(b"".join(frames))
        try:
            connection.recv()
        except WebSocketException as error:
            return error
    return None


def test_a_frame_that_is_too_large_ends_the_interpreter(options: dict[str, Any]) -> None:
    """Another connection would bring it again."""
    code = """
session = get_ipython().kernel.session
session.serialize = type(session).serialize.__get__(session)
content = {'data': {'text/plain': 'x' * 70_000_000}, 'metadata': {}, 'transient': {}}
session.send(get_ipython().kernel.iopub_socket, 'display_data', content)
import time; time.sleep(60)
"""
    with Sandbox.create("remote-jupyter", **options) as box:
        began = time.monotonic()
        ran = box.run_code(code, timeout=60)
        assert time.monotonic() - began < 40
        assert ran.error is not None
        assert (ran.error.name, ran.error.state_lost) == ("InterpreterDied", True)
        assert "a frame of 7000" in ran.error.value
        assert box.run_code("1 + 1").text == "2"


def test_a_frame_of_a_terabyte_is_not_waited_for() -> None:
    error = received(struct.pack("!BBQ", TEXT | LAST, 127, 1 << 40))
    assert "1099511627776 bytes" in str(error)


def test_a_message_of_frames_without_end() -> None:
    first, more = struct.pack("!BB", TEXT, 1) + b"x", struct.pack("!BB", CONTINUED, 1) + b"x"
    assert "too long" in str(received(first, *[more] * 5000))


def test_a_message_in_pieces_is_taken() -> None:
    last = struct.pack("!BB", CONTINUED | LAST, 1) + b"z"
    first, more = struct.pack("!BB", TEXT, 1) + b"x", struct.pack("!BB", CONTINUED, 1) + b"y"
    assert received(first, more, last) is None
