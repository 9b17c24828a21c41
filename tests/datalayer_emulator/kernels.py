"""Code that the service itself runs in the kernels of a runtime."""

from __future__ import annotations

import asyncio
import json
import socket
import uuid
from typing import Any

from tornado.httpclient import AsyncHTTPClient, HTTPRequest
from tornado.netutil import Resolver
from tornado.simple_httpclient import SimpleAsyncHTTPClient
from tornado.websocket import WebSocketClosedError, websocket_connect

from .runtimes import Runtime

MOST_MESSAGE = 100 << 20


class ToSocket(Resolver):
    """Every host is the one that listens on this path."""

    def initialize(self, path: str = "") -> None:
        """See tornado."""
        self._path = path

    async def resolve(self, host: str, port: int, family: Any = None) -> list[tuple[int, Any]]:
        """See tornado."""
        return [(socket.AF_UNIX, self._path)]


class Kernels:
    """The kernels of a runtime, behind its ingress."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._resolver = ToSocket(path=runtime.server.machine.socket)

    async def list(self) -> list[str]:
        """Their ids, in the order of their start.

        Raises:
            OSError: the server does not answer.
        """
        client: AsyncHTTPClient = SimpleAsyncHTTPClient(
            force_instance=True, resolver=self._resolver
        )
        headers = {"Authorization": f"token {self._runtime.token}"}
        try:
            answer = await client.fetch(f"{self._runtime.ingress}/api/kernels", headers=headers)
        finally:
            client.close()
        return [str(one["id"]) for one in json.loads(answer.body)]

    async def evaluate(self, kernel: str, expression: str, seconds: float) -> Any:
        """The value of an expression whose repr is JSON, in a kernel. It leaves no trace there.

        Raises:
            TimeoutError: the kernel is busy.
            RuntimeError: it cannot be evaluated, or the kernel has gone.
        """
        address = f"{self._runtime.ingress}/api/kernels/{kernel}/channels"
        headers = {"Authorization": f"token {self._runtime.token}"}
        request = HTTPRequest(address.replace("http", "ws", 1), headers=headers)
        asked = _request(expression)
        async with asyncio.timeout(seconds):
            connection = await websocket_connect(
                request, max_message_size=MOST_MESSAGE, resolver=self._resolver
            )
            try:
                await connection.write_message(json.dumps(asked))
                while (said := await connection.read_message()) is not None:
                    message = json.loads(said) if isinstance(said, str) else {}
                    parent = message.get("parent_header", {}).get("msg_id")
                    if message.get("channel") == "shell" and parent == asked["header"]["msg_id"]:
                        return _value(message["content"])
            except WebSocketClosedError:
                pass  # as good as an end of file
            finally:
                connection.close()
        raise RuntimeError("the kernel has gone")


def _request(expression: str) -> dict[str, Any]:
    header = {
        "msg_id": uuid.uuid4().hex,
        "msg_type": "execute_request",
        "session": uuid.uuid4().hex,
        "username": "service",
        "date": "",
        "version": "5.3",
    }
    content = {"code": "", "silent": True, "store_history": False, "allow_stdin": False}
    content |= {"user_expressions": {"value": expression}, "stop_on_error": False}
    empty: dict[str, Any] = {"parent_header": {}, "metadata": {}, "buffers": []}
    return {"channel": "shell", "header": header, "content": content, **empty}


def _value(content: dict[str, Any]) -> Any:
    value = content.get("user_expressions", {}).get("value", content)
    if value.get("status") != "ok":
        raise RuntimeError(f"{value.get('ename')}: {value.get('evalue')}")
    return json.loads(value["data"]["text/plain"])
