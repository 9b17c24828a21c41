"""The container engine, through the Docker SDK, which is imported when it is first needed."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cache
from io import BytesIO
from typing import Any

from ..errors import MissingExtraError, SandboxError, SandboxGoneError, UnsupportedError
from .attached import AttachPipe
from .container import LABEL, NETWORK, owner_is_dead
from .engine_address import address, keep_alive, knock, refusal

IMAGE = "code-sandboxes-jupyter:latest"
BUILD = f"docker build -t {IMAGE} -f docker/Dockerfile ."
EXTRA = "local-docker needs {}: install the extra `code-sandboxes[docker]`"
DETACHED = ".detached"  # how the name of a container ends that may have no owner
ENGINE_SECONDS = 60.0
GRACE = 60.0  # seconds past its time before somebody else ends a sandbox


def missing() -> str:
    """Why the SDKs cannot be used; ``""`` where they can."""
    from importlib.util import find_spec

    for name in ("docker", "jupyter_kernel_client"):
        if find_spec(name) is None:
            return EXTRA.format(name)
    return ""


@cache
def _failures() -> tuple[type[Exception], ...]:
    from docker.errors import DockerException

    return (DockerException, OSError)


class Engine:
    """The engine that `DOCKER_HOST`, or the system's default, leads to.

    Raises:
        MissingExtraError: the SDKs are not installed.
        UnsupportedError: no engine answers.
    """

    def __init__(self) -> None:
        if why := missing():
            raise MissingExtraError(why)
        self._address = address()
        if why := refusal(self._address):
            raise UnsupportedError(why)
        import docker

        try:
            knock(self._address)
            connect: Any = vars(docker)["from_env"]  # the stubs there are do not know it
            self._client: Any = connect(timeout=ENGINE_SECONDS)  # asks for its version
        except _failures() as error:
            raise UnsupportedError(
                f"no container engine answers ({error}); start one, or set DOCKER_HOST"
            ) from error
        self.api = self._client.api

    def close(self) -> None:
        """Give its connections back."""
        self._client.close()

    @contextmanager
    def asking(self, what: str) -> Iterator[None]:
        """Make the engine's failures ours.

        Raises:
            SandboxGoneError: it failed.
        """
        try:
            knock(self._address)  # it may have ended since
            yield
        except SandboxError:
            raise
        except _failures() as error:
            raise SandboxGoneError(f"the container engine failed to {what}: {error}") from error

    def image(self, name: str) -> Mapping[str, Any] | None:
        """What is known of an image; None if it is not there."""
        try:
            with self.asking(f"tell of the image {name!r}"):
                found: Mapping[str, Any] = self.api.inspect_image(name)
        except SandboxGoneError as error:
            if self._refused(error):
                return None  # there is none, or it is no name
            raise
        return found

    @staticmethod
    def _refused(error: SandboxGoneError) -> bool:
        """Whether the engine has answered that there is no such thing."""
        from docker.errors import APIError

        return isinstance(error.__cause__, APIError) and error.__cause__.is_client_error()

    def build(self, dockerfile: bytes, tag: str, arguments: Mapping[str, str]) -> Iterator[str]:
        """Build an image that needs no context; what the engine says, line by line.

        Raises:
            SandboxGoneError: it cannot be built.
        """
        with self.asking("build the image"):
            text, given = BytesIO(dockerfile), dict(arguments)
            told = self.api.build(fileobj=text, tag=tag, buildargs=given, forcerm=True, decode=True)
            failure = ""
            for said in told:  # to its end, or the connection would stay open
                failure = failure or str(said.get("error") or "").strip()
                if line := str(said.get("stream") or said.get("status") or "").strip():
                    yield line
        if failure:
            raise SandboxGoneError(f"the image cannot be built: {failure}")

    def runtimes(self) -> list[str]:
        """The container runtimes that it knows."""
        with self.asking("tell of itself"):
            return list(self.api.info().get("Runtimes") or {})

    def make_network(self) -> None:
        """The bridge of the sandboxes that have a network: they cannot reach each other on it."""
        with self.asking("make a network"):
            if any(found["Name"] == NETWORK for found in self.api.networks(names=[NETWORK])):
                return
            from docker.errors import APIError

            alone = {"com.docker.network.bridge.enable_icc": "false"}
            try:
                self.api.create_network(
                    NETWORK, driver="bridge", options=alone, check_duplicate=True
                )
            except APIError as error:
                if error.status_code != 409:  # another process was quicker
                    raise

    def create(self, arguments: Mapping[str, Any], name: str) -> str:
        """Make a container; its id."""
        with self.asking("make a container"):
            return str(self.api.create_container_from_config(dict(arguments), name)["Id"])

    def start(self, container: str) -> AttachPipe:
        """Attach to a container, and start it."""
        wanted = {"stdin": 1, "stdout": 1, "stderr": 1, "stream": 1}
        with self.asking("start the container"):
            pipe = self._pipe(self.api.attach_socket(container, params=wanted))
            try:
                self.api.start(container)
            except BaseException:
                pipe.free()
                raise
        return pipe

    def execute(
        self, container: str, argv: list[str], user: str, env: Mapping[str, str] | None = None
    ) -> AttachPipe:
        """A further process in a container that runs; its program is found by `env`'s PATH."""
        with self.asking("enter the container"):
            made = self.api.exec_create(
                container, argv, stdin=True, user=user, workdir="/", environment=dict(env or {})
            )
            return self._pipe(self.api.exec_start(made["Id"], socket=True))

    @staticmethod
    def _pipe(attached: Any) -> AttachPipe:
        pipe = AttachPipe(attached)
        keep_alive(pipe.socket)
        return pipe

    def runs(self, container: str) -> bool:
        """Whether a container is there, and runs."""
        try:
            with self.asking("tell of the container"):
                return bool(self.api.inspect_container(container)["State"]["Running"])
        except SandboxGoneError:
            return False

    def mark_detached(self, container: str, id: str) -> None:
        """Let everybody see that it may be without an owner."""
        with suppress(SandboxGoneError), self.asking("rename the container"):
            self.api.rename(container, id + DETACHED)  # it may be so already, or have ended

    def remove(self, container: str) -> None:
        """End a container, if it has not ended; an engine that is away does so when it is back."""
        with suppress(SandboxGoneError), self.asking("end the container"):
            self.api.remove_container(container, force=True)  # it removes itself, perhaps just now

    def sandboxes(self) -> list[Mapping[str, Any]]:
        """All containers that are sandboxes, running or not."""
        with self.asking("list the containers"):
            found: list[Mapping[str, Any]] = self.api.containers(all=True, filters={"label": LABEL})
        return found

    def sweep(self) -> None:
        """End sandboxes past their time, and those that the death of their owner did not end."""
        for found in self.sandboxes():
            known = found["Labels"]
            detached = any(name.endswith(DETACHED) for name in found["Names"] or ())
            expires = number(known.get(f"{LABEL}.expires"))
            dead = not detached and owner_is_dead(known.get(f"{LABEL}.owner", ""))
            if dead or time.time() > expires + GRACE:
                self.remove(found["Id"])


def number(text: str | None) -> float:
    """Seconds, as a label has them; a label that makes no sense is no deadline."""
    try:
        return float(text or "inf")
    except ValueError:
        return float("inf")
