"""A sandbox that is created, or found, by whoever needs it first."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from typing import Any

from code_sandboxes import AsyncSandbox, Sandbox, SandboxClosedError

from ._aio import as_async


class Finder:
    """Finds one sandbox, once, for tasks of any event loop.

    Args:
        id: of the one to find; None to create one.
        create: the options to create it.
        on_create: called with it.

    Attributes:
        id: the sandbox's; None before it is created.
        places: its root and its working directory, once it is found.
    """

    def __init__(
        self, id: str | None, create: Mapping[str, Any], on_create: Callable[[Sandbox], None]
    ) -> None:
        self.id, self.places = id, ("", "")
        self._create, self._on_create = create, on_create
        self._lock = threading.Lock()
        self._finding: Future[Sandbox] | None = None
        self._found: AsyncSandbox | None = None

    async def sandbox(self) -> AsyncSandbox:
        """It; the first call creates or finds it.

        Raises:
            SandboxClosedError: it has ended.
            SandboxError: it cannot be found, or not be created; the next call tries again.
        """
        with self._lock:
            if self._finding is None:
                self._finding = Future()
                threading.Thread(target=self._find, args=(self._finding,), daemon=True).start()
            finding = self._finding
        # shielded: what is created is kept, though who asked for it has been cancelled
        sandbox = await asyncio.shield(asyncio.wrap_future(finding))
        if sandbox.closed:
            raise SandboxClosedError(f"the sandbox {sandbox.id} has ended")
        if self._found is None:
            self._found = await as_async(sandbox)
        return self._found

    def _find(self, finding: Future[Sandbox]) -> None:
        try:
            if self.id is not None:
                sandbox = Sandbox.from_id(self.id)
            else:
                sandbox = Sandbox.create(**self._create)
                self.id = sandbox.id
                self._on_create(sandbox)
            self.places = sandbox.files.resolve("/"), sandbox.files.realpath(".")
        except BaseException as error:  # noqa: BLE001 - it belongs to whoever waits
            with self._lock:
                self._finding = None
            finding.set_exception(error)
        else:
            finding.set_result(sandbox)
