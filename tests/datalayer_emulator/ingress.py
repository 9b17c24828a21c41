"""The way to a runtime's Jupyter Server: its bytes, unchanged, in both directions."""

from __future__ import annotations

import asyncio
import socket

from tornado.iostream import IOStream, StreamClosedError
from tornado.web import RequestHandler, stream_request_body

from .cloud import Cloud
from .recorded import Request, record
from .runtimes import Runtime

PIECE = 1 << 16
DROPPED = ("connection", "keep-alive", "proxy-connection")


@stream_request_body
class Ingress(RequestHandler):
    """A connection to a runtime; it serves this one request, or websocket."""

    SUPPORTED_METHODS = (*RequestHandler.SUPPORTED_METHODS,)
    cloud: Cloud
    recorded: Request

    def initialize(self, cloud: Cloud) -> None:
        """See tornado."""
        self.cloud = cloud

    async def prepare(self) -> None:
        """The head of the request is here; what follows is not looked at."""
        self.recorded = record(self.request, self.cloud.account.key, self.cloud.tokens())
        self.cloud.requests.append(self.recorded)
        faults = self.cloud.faults.take(str(self.request.method), self.request.path)
        await asyncio.sleep(sum(one.seconds for one in faults))
        runtime = self.cloud.runtimes.get(self.path_args[1])
        status = next((one.status for one in faults if one.status), 0) or self.refusal(runtime)
        if runtime is None or status:
            self.recorded.status = status
            self.set_status(status)
            self.finish(f"The ingress answers {status}.\n")
            return
        garbled = next((one.body for one in faults if one.body is not None), None)
        if garbled is not None:
            self.finish(garbled)
            return
        await self.tunnel(runtime, answer=not any(one.drop for one in faults))

    def data_received(self, chunk: bytes) -> None:
        """Of a request that was refused."""

    @staticmethod
    def refusal(runtime: Runtime | None) -> int:
        """The status with which the ingress refuses; 0 if it does not."""
        if runtime is None:
            return 404
        if runtime.cold > 0:
            runtime.cold -= 1
            return runtime.cold_status
        if runtime.server.dead:
            return 502
        return 503 if runtime.status in ("paused", "resuming") else 0

    async def tunnel(self, runtime: Runtime, *, answer: bool) -> None:
        """Connect, and hand the head over; the rest goes on by itself."""
        there = IOStream(socket.socket(socket.AF_UNIX))
        try:
            await there.connect(runtime.server.machine.socket)
        except (OSError, StreamClosedError):
            self.recorded.status = 502
            self.set_status(502)
            self.finish("The runtime does not answer.\n")
            return
        here = self.detach()
        here.set_nodelay(True)
        websocket = self.request.headers.get("Upgrade", "").lower() == "websocket"
        ends = runtime.websockets if websocket else runtime.connections
        ends |= {here, there}
        self.cloud.background(both_ways(here, there, self.begin(websocket), answer, ends))

    def begin(self, websocket: bool) -> bytes:
        """The request as it came; but a connection is for one request."""
        lines = [f"{self.request.method} {self.request.uri} HTTP/1.1"]
        for name, value in self.request.headers.get_all():
            if websocket or name.lower() not in DROPPED:
                lines.append(f"{name}: {value}")
        if not websocket:
            lines.append("Connection: close")
        return "\r\n".join([*lines, "", ""]).encode("latin-1")


async def both_ways(
    here: IOStream, there: IOStream, head: bytes, answer: bool, ends: set[IOStream]
) -> None:
    """Carry bytes until one of them has had enough; without `answer`, hang up when it comes."""
    try:
        await there.write(head)
        up = asyncio.ensure_future(pump(here, there))
        if answer:
            await pump(there, here)
        else:
            await there.read_bytes(1)
        up.cancel()
    except StreamClosedError:
        pass  # it hung up: so do we
    finally:
        ends -= {here, there}
        here.close()
        there.close()


async def pump(source: IOStream, sink: IOStream) -> None:
    """Carry bytes in one direction; the end of one is the end of the other."""
    try:
        while True:
            await sink.write(await source.read_bytes(PIECE, partial=True))
    except StreamClosedError:
        sink.close()
