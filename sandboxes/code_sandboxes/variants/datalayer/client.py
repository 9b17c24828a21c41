"""Datalayer's own client, and the verbs of its runtimes service, which that client has no more."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import requests
from datalayer_core.client.client import DatalayerClient
from datalayer_core.utils.urls import DatalayerURLs

from ...errors import CloudError, CloudUnavailableError
from ...text import printable
from .failures import api_key, failure, message
from .fields import Environment, Kept, Nonsense, Runtime, item, items, number, path_part, text
from .keeping import CREATE_SECONDS

REST_SECONDS = 30.0
CONNECT_SECONDS = 10.0
TRIES = 3
PAUSES = (0.3, 1.0)  # seconds before each further try


class Client(DatalayerClient):  # type: ignore[misc]
    """`DatalayerClient` (authentication, addresses, HTTP) with the verbs of runtimes.

    Every answer is checked, every failure is an error of our tree, and none of them holds the key:
    what the vendor's own errors hold is not passed on.

    Raises:
        CredentialsError: there is no key.
    """

    def __init__(self) -> None:
        self._key = api_key()
        super().__init__(urls=DatalayerURLs.from_environment(), api_key=self._key)

    def __repr__(self) -> str:
        return f"<Client of {self.urls.runtimes_url}>"

    # the transport ----------------------------------------------------------------------
    def _call(
        self,
        what: str,
        url: str,
        *,
        method: str = "GET",
        body: Any = None,
        seconds: float | None = None,
        tries: int = TRIES,
    ) -> Any:
        """One request, again where it is harmless and the service is out of order.

        Raises:
            CloudError: which one says why.
        """
        tried = 0
        while True:
            try:
                return self._once(what, url, method, body, seconds)
            except CloudUnavailableError:
                tried += 1
                if tried >= tries:
                    raise
            time.sleep(PAUSES[tried - 1])

    def _once(self, what: str, url: str, method: str, body: Any, seconds: float | None) -> Any:
        keywords, seconds = {} if body is None else {"json": body}, seconds or REST_SECONDS
        try:
            limits = (CONNECT_SECONDS, seconds)
            answer = self._fetch(url, method=method, timeout=limits, **keywords)
            said = answer.json() if answer.content else {}
        except requests.exceptions.Timeout:
            error: CloudError = CloudUnavailableError(
                f"Datalayer's service did not {what} within {seconds:g} s; try later"
            )
        except requests.exceptions.ConnectionError as lost:
            why = printable(type(_innermost(lost)).__name__)
            error = CloudUnavailableError(
                f"nobody answers for Datalayer at {_host(url)} ({why}); see that this machine has "
                "a network, and what DATALAYER_IAM_URL and DATALAYER_RUNTIMES_URL say"
            )
        except RuntimeError as refused:  # what `_fetch` makes of every HTTP error
            error = self._refusal(what, refused)
        except (requests.exceptions.RequestException, ValueError):
            error = Nonsense(f"no JSON where it should {what}")
        else:
            if isinstance(said, dict) and said.get("success") is False:
                raise failure(what, None, message(answer.text, self._key))
            return said
        raise error  # outside of `except`: what is chained to it could hold the key

    def _refusal(self, what: str, refused: RuntimeError) -> CloudError:
        answer = getattr(refused.__cause__, "response", None)
        if answer is None:
            return CloudError(f"Datalayer's service did not {what}")
        return failure(what, answer.status_code, message(answer.text, self._key))

    # the account ------------------------------------------------------------------------
    def credits(self) -> float | None:
        """The credits that are left, less what is reserved; None where there is no limit."""
        url = f"{self.urls.iam_url}/api/iam/v1/usage/credits"
        said = self._call("tell the credits", url)
        left = item(said, "credits")
        known = [number(left.get(n)) for n in ("available", "credits_available", "remaining")]
        free = next((value for value in known if value is not None), None)
        used, quota = number(left.get("credits")), number(left.get("quota"))
        if free is None and used is not None:
            free = used if quota is None else quota - used
        if free is None:
            return None
        reserved = said.get("reservations")
        for each in reserved if isinstance(reserved, list) else ():
            free -= (number(each.get("credits")) or 0.0) if isinstance(each, dict) else 0.0
        return free

    def environments(self) -> list[Environment]:
        """What runtimes can be made of."""
        said = self._call("list its environments", self._runtimes_url("/environments"))
        return [Environment.of(each) for each in items(said, "environments")]

    # runtimes ---------------------------------------------------------------------------
    def create(self, body: Mapping[str, Any]) -> Runtime:
        """Make a runtime, by one request: what became of one without an answer is unknown."""
        url = self._runtimes_url("/runtimes")
        said = self._call(
            "create a runtime",
            url,
            method="POST",
            body=dict(body),
            seconds=CREATE_SECONDS,
            tries=1,
        )
        return Runtime.of(item(said, "runtime"))

    def runtimes(self, *, seconds: float | None = None, tries: int = TRIES) -> list[Runtime]:
        """The runtimes of the account that we have made."""
        url = self._runtimes_url("/runtimes")
        said = self._call("list its runtimes", url, seconds=seconds, tries=tries)
        found = []
        for each in items(said, "runtimes"):
            try:
                runtime = Runtime.of(each)
            except Nonsense:
                continue  # whatever it is, it cannot be addressed
            if runtime.sandbox:
                found.append(runtime)
        return found

    def runtime(self, name: str, *, tries: int = TRIES) -> Runtime | None:
        """One of them; None if there is none of that name."""
        url = self._runtimes_url(f"/runtimes/{name}")
        try:
            said = self._call("find a runtime", url, tries=tries)
        except CloudError as error:
            if error.status in (404, 410):
                return None
            raise
        found = said.get("runtime", said.get("kernel")) if isinstance(said, dict) else None
        return Runtime.of(item({"runtime": found}, "runtime"))

    def remove(self, name: str, *, seconds: float | None = None, tries: int = TRIES) -> None:
        """End a runtime; one that is gone is no error."""
        url = self._runtimes_url(f"/runtimes/{name}")
        try:
            self._call("end a runtime", url, method="DELETE", seconds=seconds, tries=tries)
        except CloudError as error:
            if error.status not in (404, 410):
                raise

    def pause(self, name: str) -> str:
        """Have a runtime paused; it is not, yet, when this returns the checkpoint's id."""
        url = self._runtimes_url(f"/runtimes/{name}/pause")
        said = self._call("pause a runtime", url, method="POST", body={}, tries=1)
        checkpoint = text(said, "checkpoint_id") if isinstance(said, dict) else ""
        return path_part(checkpoint, "id of a checkpoint") if checkpoint else ""

    def checkpoint(self, runtime: str, id: str) -> str:
        """The status of a checkpoint."""
        url = self._runtimes_url(f"/runtime-checkpoints/{runtime}/{id}")
        said = self._call("tell of a checkpoint", url)
        return text(item(said, "checkpoint"), "status").lower()

    def resume(self, name: str) -> None:
        """Have a runtime resumed; it is not, yet, when this returns."""
        url = self._runtimes_url(f"/runtimes/{name}/resume")
        self._call("resume a runtime", url, method="POST", body={}, tries=1)

    # snapshots --------------------------------------------------------------------------
    def snapshots(self) -> list[Kept]:
        """The snapshots of the account."""
        said = self._call("list its snapshots", self._runtimes_url("/sandbox-snapshots"))
        found = []
        for each in items(said, "snapshots"):
            try:
                found.append(Kept.of(each))
            except Nonsense:
                continue
        return found

    def snapshot(self, runtime: str, name: str, description: str) -> Kept:
        """Have a snapshot made; it may not be whole when this returns."""
        body = {"runtime_name": runtime, "name": name, "description": description, "stop": False}
        url = self._runtimes_url("/sandbox-snapshots")
        said = self._call(
            "make a snapshot", url, method="POST", body=body, seconds=CREATE_SECONDS, tries=1
        )
        return Kept.of(item(said, "snapshot"))

    def remove_snapshot(self, uid: str) -> None:
        """Remove a snapshot; one that is gone is no error."""
        url = self._runtimes_url(f"/sandbox-snapshots/{uid}")
        try:
            self._call("remove a snapshot", url, method="DELETE")
        except CloudError as error:
            if error.status not in (404, 410):
                raise


def _innermost(error: BaseException) -> BaseException:
    while isinstance(inner := getattr(error, "reason", None) or error.__context__, BaseException):
        error = inner
    return error


def _host(url: str) -> str:
    return printable(url.split("/api/")[0].rpartition("@")[2])
