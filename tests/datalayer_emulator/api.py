"""The REST API: IAM and runtimes."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Awaitable, Callable
from typing import Any

from tornado.web import RequestHandler

from .account import USER
from .admission import Refused
from .cloud import Cloud
from .environments import ENVIRONMENTS
from .recorded import MASKED, Request, parsed, record

Answer = tuple[int, dict[str, Any] | None]
IAM, RUNTIMES = "/api/iam/v1", "/api/runtimes/v1"


class Verbs:
    """What each route does: the request's body and the path's words go in, an answer comes out."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud

    async def ping(self, asked: Any) -> Answer:
        return 200, {"success": True, "message": "pong", "status": {"status": "OK"}}

    async def login(self, asked: Any) -> Answer:
        if not self._cloud.account.knows(str(asked.get("token"))):
            raise Refused(401, "Invalid token.")
        key = self._cloud.account.key
        return 200, {"success": True, "message": "Welcome.", "user": USER, "token": key}

    async def whoami(self, asked: Any) -> Answer:
        return 200, {"success": True, "message": "", "profile": USER}

    async def credits(self, asked: Any) -> Answer:
        usage = self._cloud.account.usage(self._cloud.runtimes.values())
        return 200, {"success": True, "message": "", **usage}

    async def environments(self, asked: Any) -> Answer:
        return 200, {"success": True, "message": "", "environments": list(ENVIRONMENTS)}

    async def create(self, asked: Any) -> Answer:
        runtime = (await self._cloud.create(asked)).model()
        return 200, {
            "success": True,
            "message": "Runtime created successfully",
            "runtime": runtime,
        }

    async def list(self, asked: Any) -> Answer:
        models = [one.model() for one in self._cloud.runtimes.values()]
        return 200, {"success": True, "message": "", "runtimes": models}

    async def get(self, asked: Any, name: str) -> Answer:
        runtime = self._cloud.runtime(name).model()
        return 200, {"success": True, "message": "", "runtime": runtime, "kernel": runtime}

    async def delete(self, asked: Any, name: str) -> Answer:
        await self._cloud.delete(name)
        return 204, None

    async def pause(self, asked: Any, name: str) -> Answer:
        checkpoint = self._cloud.pause(name)
        return 202, {"success": True, "message": "Pausing.", "checkpoint_id": checkpoint.id}

    async def resume(self, asked: Any, name: str) -> Answer:
        checkpoint = self._cloud.resume(name)
        return 202, {"success": True, "message": "Resuming.", "checkpoint_id": checkpoint.id}

    async def checkpoints(self, asked: Any, name: str) -> Answer:
        found = [one.model() for one in self._cloud.checkpoints.values() if one.runtime == name]
        return 200, {"success": True, "message": "", "checkpoints": found}

    async def checkpoint(self, asked: Any, name: str, id: str) -> Answer:
        found = self._cloud.checkpoints.get(id)
        if found is None or found.runtime != name:
            raise Refused(404, f"Checkpoint {id} not found.")
        return 200, {"success": True, "message": "", "checkpoint": found.model()}

    async def take_snapshot(self, asked: Any) -> Answer:
        snapshot = self._cloud.take_snapshot(asked).model()
        return 202, {"success": True, "message": "Snapshot requested.", "snapshot": snapshot}

    async def snapshots(self, asked: Any) -> Answer:
        models = [one.model() for one in self._cloud.snapshots.values()]
        return 200, {"success": True, "message": "", "snapshots": models}

    async def snapshot(self, asked: Any, uid: str) -> Answer:
        model = self._cloud.snapshot(uid).model()
        return 200, {"success": True, "message": "", "snapshot": model}

    async def delete_snapshot(self, asked: Any, uid: str) -> Answer:
        await self._cloud.delete_snapshot(uid)
        return 200, {"success": True, "message": "Snapshot deleted."}


def routes(verbs: Verbs) -> list[tuple[str, re.Pattern[str], Callable[..., Awaitable[Answer]]]]:
    """Every method and path."""
    table: list[tuple[str, str, Callable[..., Awaitable[Answer]]]] = [
        ("GET", "/api/[a-z]+/v1/ping", verbs.ping),
        ("POST", f"{IAM}/login", verbs.login),
        ("GET", f"{IAM}/whoami", verbs.whoami),
        ("GET", f"{IAM}/usage/credits", verbs.credits),
        ("GET", f"{RUNTIMES}/environments", verbs.environments),
        ("POST", f"{RUNTIMES}/runtimes", verbs.create),
        ("GET", f"{RUNTIMES}/runtimes", verbs.list),
        ("GET", f"{RUNTIMES}/runtimes/([^/]+)", verbs.get),
        ("DELETE", f"{RUNTIMES}/runtimes/([^/]+)", verbs.delete),
        ("POST", f"{RUNTIMES}/runtimes/([^/]+)/pause", verbs.pause),
        ("POST", f"{RUNTIMES}/runtimes/([^/]+)/resume", verbs.resume),
        ("GET", f"{RUNTIMES}/runtime-checkpoints/([^/]+)", verbs.checkpoints),
        ("GET", f"{RUNTIMES}/runtime-checkpoints/([^/]+)/([^/]+)", verbs.checkpoint),
        ("POST", f"{RUNTIMES}/sandbox-snapshots", verbs.take_snapshot),
        ("GET", f"{RUNTIMES}/sandbox-snapshots", verbs.snapshots),
        ("GET", f"{RUNTIMES}/sandbox-snapshots/([^/]+)", verbs.snapshot),
        ("DELETE", f"{RUNTIMES}/sandbox-snapshots/([^/]+)", verbs.delete_snapshot),
    ]
    return [(method, re.compile(path), verb) for method, path, verb in table]


class Api(RequestHandler):
    """Every request that is not for a runtime's own server."""

    cloud: Cloud
    recorded: Request

    def initialize(self, cloud: Cloud) -> None:
        """See tornado."""
        self.cloud = cloud

    async def answer(self) -> None:
        """Faults first, then the key, then the verb."""
        self.recorded = record(self.request, self.cloud.account.key, self.cloud.tokens())
        self.asked = parsed(self.request.body)
        key = self.cloud.account.key.encode()
        self.recorded.body = parsed(self.request.body.replace(key, MASKED.encode()))
        self.cloud.requests.append(self.recorded)
        faults = self.cloud.faults.take(str(self.request.method), self.request.path)
        await asyncio.sleep(sum(one.seconds for one in faults))
        for one in faults:
            if one.status:
                for name, value in one.headers.items():
                    self.set_header(name, value)
                message = f"The service fails with {one.status}."
                self.say(one.status, {"success": False, "message": message})
                return
        status, body = await self.outcome()
        if any(one.drop for one in faults):
            self.detach().close()
            return
        for one in faults:
            if one.body is not None:
                self.set_status(200)
                self.finish(one.body)
                return
        self.say(status, body)

    get = post = put = delete = patch = answer

    async def outcome(self) -> Answer:
        """What the service does, and says."""
        path, method = self.request.path, self.request.method
        try:
            if not self.allowed(path):
                raise Refused(401, "Invalid or missing token.")
            for wanted, pattern, verb in routes(Verbs(self.cloud)):
                if wanted == method and (found := pattern.fullmatch(path)):
                    asked = self.asked if isinstance(self.asked, dict) else {}
                    return await verb(asked, *found.groups())
            raise Refused(404, "Not found.")
        except Refused as refused:
            return refused.status, {"success": False, "message": refused.message}

    def allowed(self, path: str) -> bool:
        """Whether the key is good, or not needed."""
        kind, _, key = self.request.headers.get("Authorization", "").partition(" ")
        open_to_all = path.endswith(("/ping", "/login"))
        return open_to_all or (kind == "Bearer" and self.cloud.account.knows(key))

    def say(self, status: int, body: dict[str, Any] | None) -> None:
        """Answer."""
        self.recorded.status = status
        self.set_status(status)
        if body is not None:
            self.set_header("Content-Type", "application/json")
            self.write(json.dumps(body))
        self.finish()
