"""The service's state, and what its verbs do with it."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from . import environments
from .account import Account
from .admission import Refused, admit
from .checkpoints import Checkpoint
from .faults import Faults
from .machine import Machine
from .recorded import Request
from .runtimes import Runtime
from .servers import Nursery, ulid
from .snapshots import Snapshot

END_SECONDS = 20.0
TICK = 0.1  # seconds between two looks for what has expired


@dataclass
class Cloud:
    """All there is.

    Args:
        origin: the address at which everything is served.
        settle: seconds that what the service does asynchronously takes at least.
    """

    base: Path
    origin: str
    account: Account
    faults: Faults
    nursery: Nursery
    settle: float
    runtimes: dict[str, Runtime] = field(default_factory=dict)
    checkpoints: dict[str, Checkpoint] = field(default_factory=dict)
    snapshots: dict[str, Snapshot] = field(default_factory=dict)
    requests: list[Request] = field(default_factory=list)
    defects: list[BaseException] = field(default_factory=list)  # of the emulator itself
    _starting: int = 0
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    def background(self, work: Coroutine[Any, Any, None]) -> None:
        """Do it; whoever asked for it has had an answer already."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self.defects.append(error)

    def tokens(self) -> set[str]:
        """Those of the runtimes."""
        return {one.token for one in self.runtimes.values()}

    def runtime(self, name: str) -> Runtime:
        """The one of that name.

        Raises:
            Refused: there is none.
        """
        if name not in self.runtimes:
            raise Refused(404, f"Runtime {name} not found.")
        return self.runtimes[name]

    # runtimes ---------------------------------------------------------------------------
    async def create(self, asked: dict[str, Any]) -> Runtime:
        """A new runtime; asked twice, two."""
        environment, limit = admit(asked, self.account, self.runtimes.values(), self._starting)
        snapshot = self.snapshot(str(asked["from"])) if asked.get("from") else None
        if snapshot is not None and snapshot.status != "completed":
            raise Refused(409, f"Snapshot {snapshot.uid} is {snapshot.status}.")
        self._starting += 1
        try:
            runtime = await self._start(asked, environment, limit, snapshot)
        finally:
            self._starting -= 1
        self.runtimes[runtime.name] = runtime
        return runtime

    async def _start(
        self,
        asked: dict[str, Any],
        environment: dict[str, Any],
        limit: float,
        snapshot: Snapshot | None,
    ) -> Runtime:
        name, token = ulid(int(time.time() * 1000)), secrets.token_hex(16)
        pool = environment["name"].removesuffix("-env").replace("/", "-")
        path = f"/jupyter/server/{pool}-pool/{name}"
        machine = Machine(self.base / name[-10:])
        machine.make()
        if snapshot is not None:
            await asyncio.to_thread(snapshot.restore, machine)
        try:
            server = await self.nursery.start(machine, f"{path}/", token)
        except RuntimeError as error:
            machine.remove()
            raise Refused(503, f"No runtime is available: {error}") from error
        return Runtime(
            name=name,
            given_name=str(asked.get("given_name") or name),
            environment=environment,
            kind=str(asked.get("type") or "notebook"),
            burning_rate=environment.get("burning_rate", environments.OWN_RATE),
            credits_limit=limit,
            token=token,
            ingress=self.origin + path,
            server=server,
            cold=self.faults.cold,
            cold_status=self.faults.cold_status,
        )

    async def delete(self, name: str) -> None:
        """End a runtime, and pay for it."""
        await self._end(self._take_out(name))

    def _take_out(self, name: str) -> Runtime:
        runtime = self.runtime(name)
        del self.runtimes[name]
        self.account.spent += runtime.burnt()
        return runtime

    async def _end(self, runtime: Runtime) -> None:
        runtime.hang_up()
        await runtime.server.end()

    async def reap(self) -> None:
        """Delete what has expired, for ever."""
        while True:
            await asyncio.sleep(TICK)
            now = time.time()
            for name in [one.name for one in self.runtimes.values() if one.expires_at <= now]:
                self.background(self._end(self._take_out(name)))

    # pauses -----------------------------------------------------------------------------
    def pause(self, name: str) -> Checkpoint:
        """Begin to pause a runtime."""
        runtime = self.runtime(name)
        if runtime.status != "running":
            raise Refused(409, f"Runtime {name} is {runtime.status}.")
        runtime.status = "pausing"
        checkpoint = Checkpoint(ulid(int(time.time() * 1000)), runtime.name)
        self.checkpoints[checkpoint.id] = checkpoint
        self.background(self._pause(runtime, checkpoint))
        return checkpoint

    async def _pause(self, runtime: Runtime, checkpoint: Checkpoint) -> None:
        await asyncio.sleep(self.settle)
        runtime.hang_up()
        await runtime.server.pause()
        runtime.status, runtime.paused_at = "paused", time.time()
        checkpoint.status = "paused"

    def resume(self, name: str) -> Checkpoint:
        """Begin to resume a runtime."""
        runtime = self.runtime(name)
        if runtime.status != "paused":
            raise Refused(409, f"Runtime {name} is {runtime.status}.")
        runtime.status = "resuming"
        self.background(self._resume(runtime))
        of_it = [one for one in self.checkpoints.values() if one.runtime == name]
        return of_it[-1]

    async def _resume(self, runtime: Runtime) -> None:
        await asyncio.sleep(self.settle)
        await runtime.server.resume()
        assert runtime.paused_at is not None
        runtime.paused += time.time() - runtime.paused_at
        runtime.status, runtime.paused_at = "running", None

    # snapshots --------------------------------------------------------------------------
    def snapshot(self, uid: str) -> Snapshot:
        """The one of that uid.

        Raises:
            Refused: there is none.
        """
        if uid not in self.snapshots:
            raise Refused(404, f"Snapshot {uid} not found.")
        return self.snapshots[uid]

    def take_snapshot(self, asked: dict[str, Any]) -> Snapshot:
        """Begin to take a snapshot of a runtime."""
        runtime = self.runtime(str(asked.get("runtime_name") or asked.get("pod_name")))
        if runtime.status != "running":
            raise Refused(409, f"Runtime {runtime.name} is {runtime.status}.")
        if not asked.get("name"):
            raise Refused(422, "A snapshot needs a name.")
        uid = ulid(int(time.time() * 1000))
        snapshot = Snapshot(
            uid=uid,
            name=str(asked["name"]),
            description=str(asked.get("description") or ""),
            environment=runtime.environment["name"],
            folder=self.base / f"snapshot-{uid}",
        )
        self.snapshots[uid] = snapshot
        self.background(self._take(snapshot, runtime, stop=bool(asked.get("stop"))))
        return snapshot

    async def _take(self, snapshot: Snapshot, runtime: Runtime, *, stop: bool) -> None:
        await asyncio.sleep(self.settle)
        if self.faults.failing_snapshots:
            self.faults.failing_snapshots -= 1
            snapshot.status = "failed"
            return
        await snapshot.take(runtime)
        if stop and snapshot.status == "completed" and runtime.name in self.runtimes:
            await self.delete(runtime.name)

    async def delete_snapshot(self, uid: str) -> None:
        """Remove a snapshot."""
        snapshot = self.snapshot(uid)
        del self.snapshots[uid]
        await asyncio.to_thread(snapshot.remove)

    async def delete_all(self) -> None:
        """End every runtime, and what goes on in the background; remove the snapshots."""
        while self._starting:  # whoever asked for it may have given up meanwhile
            await asyncio.sleep(0.02)
        await asyncio.gather(*(self.delete(name) for name in list(self.runtimes)))
        if self._tasks:  # what they did has nothing left to do it with
            _, late = await asyncio.wait(self._tasks, timeout=END_SECONDS)
            for task in late:
                task.cancel()
        for uid in list(self.snapshots):
            await self.delete_snapshot(uid)
        self.checkpoints.clear()
        self.account.spent = 0.0
