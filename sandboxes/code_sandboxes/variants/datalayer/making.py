"""One runtime for one call, whatever becomes of the requests; and its certain end."""

from __future__ import annotations

import atexit
import logging
import os
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from ...config import SandboxConfig
from ...errors import CloudError, CloudUnavailableError
from .choice import choose, reservation
from .fields import OURS, Nonsense, Runtime
from .keeping import CREATE_SECONDS, find

if TYPE_CHECKING:
    from .client import Client

PAUSES = (0.5, 1.0, 2.0)  # seconds between two tries
MAKE_SECONDS = 150.0  # after which nothing is tried again
LATE_SECONDS = 12.0  # that what was asked for may still appear after an answer was lost
EXIT_SECONDS = 10.0
LOOK_SECONDS = 1.0  # between two looks for it


_log = logging.getLogger(__name__)
_open: set[Making] = set()


def order(client: Client, config: SandboxConfig, seconds: float) -> dict[str, Any]:
    """What the service is asked for, all of which is there and can be paid.

    Raises:
        UnsupportedError: there is no such environment, or none with such a GPU.
        SnapshotNotFoundError: there is no such snapshot.
        CreditsError: the account cannot pay so many seconds of it.
    """
    environment = choose(client.environments(), config.environment, config.gpu)
    body: dict[str, Any] = {"type": "notebook", "environment": {"name": environment.name}}
    if config.snapshot_name is not None:
        body["from"] = find(client, config.snapshot_name).uid
    return body | {"credits_limit": reservation(environment, seconds, client.credits())}


class Making:
    """Makes the runtime of one sandbox, and ends it.

    Each runtime gets a name of the sandbox's own. Where an answer is missing, one of that name is
    looked for before anything is asked for again.

    Args:
        client: the service.
        id: the sandbox's.
        runtime: what another process has made.
        ours: whether it is ours to end: another process may still own it.

    Attributes:
        runtime: what was made.
        doubtful: whether there may be more of its name than we know.
    """

    def __init__(
        self,
        client: Client,
        id: str,
        runtime: Runtime | None = None,
        ours: Callable[[], bool] = lambda: True,
    ) -> None:
        self._client, self.given_name = client, f"{OURS}{id}"
        self.runtime = runtime
        self._pid = os.getpid()
        self.doubtful = False
        self._ours = ours
        self._asked: Future[Runtime] | None = None
        self.hold()

    def make(self, body: Mapping[str, Any]) -> Runtime:
        """Make it.

        Raises:
            CloudError: there is none now.
        """
        until = time.monotonic() + MAKE_SECONDS
        for pause in (*PAUSES, None):
            try:
                self.runtime = self._ask({**body, "given_name": self.given_name})
                break
            except (CloudUnavailableError, Nonsense) as error:
                self.doubtful = True
                if (found := self._look(self._patience(error))) is not None:
                    self.runtime = found
                    break
                if pause is None or time.monotonic() > until:
                    raise
            time.sleep(pause)
        assert self.runtime is not None
        if self.doubtful:
            self._end_all(but=self.runtime.name)
        return self.runtime

    @staticmethod
    def _patience(error: CloudError) -> float:
        """The seconds to look for a runtime: none where the service itself has said no."""
        return 0.0 if error.status in (500, 503) else LATE_SECONDS

    def _ask(self, body: Mapping[str, Any]) -> Runtime:
        """In a thread: Ctrl-C here must not lose the answer, which may be a paid runtime."""
        self._asked = asked = Future[Runtime]()

        def ask() -> None:
            try:
                asked.set_result(self._client.create(body))
            except CloudError as error:
                asked.set_exception(error)

        threading.Thread(target=ask, name="sandbox-create", daemon=True).start()
        return asked.result()

    def _look(self, seconds: float) -> Runtime | None:
        """The runtime of our name, if it is there, or appears in time."""
        until = time.monotonic() + seconds
        while True:
            for runtime in self._client.runtimes():
                if runtime.given_name == self.given_name:
                    return runtime
            if time.monotonic() > until:
                return None
            time.sleep(LOOK_SECONDS)

    def _end_all(self, but: str = "") -> None:
        for runtime in self._client.runtimes():
            if runtime.given_name == self.given_name and runtime.name != but:
                self._client.remove(runtime.name)

    def end(self) -> None:
        """End it, and whatever else there is of its name.

        Raises:
            CloudError: it is still there.
        """
        if self._asked is not None and not self._asked.done():  # we were interrupted
            self.doubtful = True
            with suppress(TimeoutError, CloudError):
                self.runtime = self._asked.result(CREATE_SECONDS)
        if self.runtime is not None:
            self._client.remove(self.runtime.name)
        if self.doubtful:
            self._end_all()
        self.runtime, self.doubtful = None, False
        _open.discard(self)

    def end_at_exit(self) -> None:
        """The same, for a process that ends: without a thread, and without patience."""
        if self._pid != os.getpid() or not self._ours():
            return  # a fork: they are its parent's
        if self.runtime is not None:
            self._client.remove(self.runtime.name, seconds=EXIT_SECONDS, tries=2)
        if self.doubtful:
            self._end_all()

    def hold(self) -> None:
        """End it at the end of this process, if nobody has by then."""
        _open.add(self)

    def let_go(self) -> None:
        """It is no longer ours to end."""
        _open.discard(self)


def _end_all() -> None:
    """Where nobody has ended them, they would cost credits until their time is over."""
    for making in list(_open):
        try:
            making.end_at_exit()
        except CloudError as error:
            _log.warning("a runtime of Datalayer could not be ended, and costs credits: %s", error)


atexit.register(_end_all)
