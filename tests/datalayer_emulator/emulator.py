"""The emulator: one thread, one loop, one origin."""

from __future__ import annotations

import asyncio
import secrets
import tempfile
import threading
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, Self, TypeVar

from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application

from .account import Account
from .api import Api
from .cloud import Cloud
from .faults import Control, Faults
from .garbage import Collector
from .ingress import Ingress
from .recorded import Request
from .root import remove
from .servers import Nursery

T = TypeVar("T")
CALL_SECONDS = 60.0
MOST_BODY = 1 << 30  # bytes; what a Jupyter Server takes is its own matter


class Emulator:
    """A Datalayer service on this machine, at one address, for one account.

    Its runtimes are real Jupyter Servers. Everything ends with it; also when its process is killed.

        with Emulator() as emulator:
            os.environ |= emulator.variables

    Args:
        quota: credits of the account.
        most_runtimes: that it may have at the same time.
        settle: seconds that what the service does asynchronously takes at least.

    Attributes:
        url: the origin of IAM, of the runtimes' API and of every runtime.
        key: the API key.
        folder: where everything of it is.
        faults: what shall go wrong.
        requests: those made so far; `clear()` it at will.
    """

    def __init__(
        self, *, quota: float = 100.0, most_runtimes: int = 50, settle: float = 0.05
    ) -> None:
        self.key = secrets.token_urlsafe(24)
        self.url = ""
        self.requests: list[Request] = []
        self.faults = Faults(Control(self._set_valid, self._drop_websockets, self._kill_runtime))
        self._account = Account(self.key, quota, most_runtimes)
        self._settle = settle
        self._garbage = Collector()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="datalayer-emulator", daemon=True)

    @property
    def variables(self) -> dict[str, str]:
        """What tells datalayer-core of it, in the environment."""
        urls = dict.fromkeys(("DATALAYER_IAM_URL", "DATALAYER_RUNTIMES_URL"), self.url)
        return {**urls, "DATALAYER_API_KEY": self.key}

    @property
    def rooted(self) -> bool:
        """Whether runtimes have a root directory of their own here; waits for the nursery."""
        return self._call(self._cloud.nursery.rooted())

    def start(self) -> Self:
        """Serve."""
        self.folder = Path(tempfile.mkdtemp(prefix="dle-"))
        self._garbage.start()
        self._thread.start()
        self._call(self._open())
        return self

    __enter__ = start

    def close(self) -> None:
        """End it, and everything that it has started.

        Raises:
            ExceptionGroup: something went wrong in the emulator that was no fault on demand.
        """
        self._garbage.stop()
        self._call(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        remove(self.folder)
        if self._cloud.defects:
            raise BaseExceptionGroup("defects of the emulator", self._cloud.defects)

    def __exit__(self, *_: object) -> None:
        self.close()

    def delete_all(self) -> None:
        """End all runtimes and remove all snapshots; the account's credits are as at first."""
        self._call(self._cloud.delete_all())

    # in its own thread ------------------------------------------------------------------
    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()

    def _call(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(CALL_SECONDS)

    async def _open(self) -> None:
        nursery = Nursery(self.folder)
        nursery.open()
        sockets = bind_sockets(0, "127.0.0.1")
        self.url = f"http://127.0.0.1:{sockets[0].getsockname()[1]}"
        self._cloud = Cloud(
            self.folder, self.url, self._account, self.faults, nursery, self._settle
        )
        self._cloud.requests = self.requests
        options = {"cloud": self._cloud}
        routes = [
            (r"/jupyter/server/([^/]+)/([^/]+)(/.*)?", Ingress, options),
            (".*", Api, options),
        ]
        application = Application(routes, log_function=lambda _: None)
        self._http = HTTPServer(application, max_body_size=MOST_BODY)
        self._http.add_sockets(sockets)
        self._reaper = asyncio.create_task(self._cloud.reap())

    async def _close(self) -> None:
        self._http.stop()
        self._reaper.cancel()
        await asyncio.gather(self._reaper, return_exceptions=True)
        await self._cloud.delete_all()
        await self._http.close_all_connections()
        self._cloud.nursery.close()
        await self._loop.shutdown_default_executor()

    # what faults do ---------------------------------------------------------------------
    def _set_valid(self, valid: bool) -> None:
        self._account.valid = valid

    def _drop_websockets(self, name: str | None) -> None:
        async def drop() -> None:
            for one in self._cloud.runtimes.values():
                if name in (None, one.name):
                    for stream in list(one.websockets):
                        stream.close()

        self._call(drop())

    def _kill_runtime(self, name: str) -> None:
        async def kill() -> None:
            runtime = self._cloud.runtime(name)
            await runtime.server.kill()
            runtime.hang_up()

        self._call(kill())
