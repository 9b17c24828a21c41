"""The options of a sandbox: one dataclass, and how keywords and `config=` become it."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal, get_args
from urllib.parse import urlsplit

from .errors import ConfigurationError

NetworkPolicy = Literal["inherit", "none", "allowlist", "all"]
OFFLINE = ("none", "allowlist")  # without a network; the latter has a proxy for a way out
DEFAULT_TIMEOUT = 60.0
DEFAULT_MAX_OUTPUT = 10 << 20
DETACHED_LIFETIME = 3600.0

# the names that `create()` takes, where they differ from the fields
_KEYWORDS = {"env": "env_vars", "cpu": "cpu_limit"}
_MEGABYTES = {"memory", "disk"}  # keywords in MB, whose fields `*_limit` are in bytes
_TEXTS = (
    *("environment", "gpu", "working_dir", "snapshot_name"),
    *("runtime", "server_url", "token"),
)
_LABEL = r"[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_HOST = re.compile(rf"(\*\.)?{_LABEL}(\.{_LABEL})*(:(?P<port>[0-9]{{1,5}}))?")


@dataclass(frozen=True)
class SandboxConfig:
    """Everything that `Sandbox.create` can be told, as one value.

    Attributes:
        timeout: seconds allowed to one execution; None for no limit.
        environment: runtime environment (datalayer), image (docker) or kernel (jupyter).
        memory_limit: bytes of memory.
        cpu_limit: cores.
        disk_limit: bytes of files, all writable directories together.
        gpu: GPU type, for example ``"T4"``.
        working_dir: where code, commands and relative paths start; it is made if missing.
        env_vars: environment variables of everything that runs inside.
        max_lifetime: seconds until the sandbox ends itself; None for as long as it is owned.
        network_policy: ``inherit`` (whatever the variant has), ``none``, ``allowlist`` (no network
            but a proxy for HTTP and TLS to `allowed_hosts`), ``all``.
        allowed_hosts: ``host``, ``*.suffix`` or ``host:port``, with ``allowlist``; without a port,
            80 and 443 are meant.
        tags: free labels, shown by `Sandbox.list`.
        snapshot_name: the snapshot to start from.
        max_output: bytes of output kept in a result (head and tail); streaming delivers all.
        confined: put a process-based variant into namespaces of its own.
        writable_root: let the sandbox's system be changed, by `install_system_packages`.
        runtime: the container runtime, for example ``"runsc"``; the engine's default without one.
        server_url: the Jupyter Server to run on, for ``remote-jupyter``.
        token: its token; never shown, recorded, or sent into the sandbox.

    Example:
        >>> SandboxConfig(timeout=30.0, env_vars={"DEBUG": "1"}).timeout
        30.0
    """

    timeout: float | None = DEFAULT_TIMEOUT
    environment: str | None = None
    memory_limit: int | None = None
    cpu_limit: float | None = None
    disk_limit: int | None = None
    gpu: str | None = None
    working_dir: str | None = None
    env_vars: Mapping[str, str] = field(default_factory=dict)
    max_lifetime: float | None = None
    network_policy: NetworkPolicy = "inherit"
    allowed_hosts: Sequence[str] = ()
    tags: Mapping[str, str] = field(default_factory=dict)
    snapshot_name: str | None = None
    max_output: int = DEFAULT_MAX_OUTPUT
    confined: bool = False
    writable_root: bool = False
    runtime: str | None = None
    server_url: str | None = None
    token: str | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        self._check_types()
        check_timeout(self.timeout)
        _positive("max_lifetime", self.max_lifetime, "seconds")
        _positive("memory_limit", self.memory_limit, "bytes (the keyword `memory` is in MB)")
        _positive("disk_limit", self.disk_limit, "bytes (the keyword `disk` is in MB)")
        _positive("cpu_limit", self.cpu_limit, "cores")
        _positive("max_output", self.max_output, "bytes")
        _strings("env_vars", self.env_vars)
        _strings("tags", self.tags)
        for name in self.env_vars:
            if not name or "=" in name or not _passes(name + self.env_vars[name]):
                raise ConfigurationError(f"{name!r} cannot be an environment variable")
        if self.network_policy not in get_args(NetworkPolicy):
            policies = ", ".join(get_args(NetworkPolicy))
            raise ConfigurationError(
                f"no network_policy {self.network_policy!r}; there are: {policies}"
            )
        self._check_hosts()
        self._check_server()
        if self.working_dir is not None:
            parts = self.working_dir.split("/")
            if not self.working_dir or ".." in parts or not _passes(self.working_dir):
                raise ConfigurationError(
                    f"working_dir {self.working_dir!r} is no path inside the sandbox"
                )

    def _check_types(self) -> None:
        for name in _TEXTS:
            if not isinstance(value := getattr(self, name), str | None):
                raise ConfigurationError(f"{name} is a string, not a {type(value).__name__}")
        for name in ("confined", "writable_root"):
            if not isinstance(value := getattr(self, name), bool):
                raise ConfigurationError(f"{name} is True or False, not {value!r}")
        if not isinstance(self.max_output, int):
            raise ConfigurationError(f"max_output is a whole number, not {self.max_output!r}")

    def _check_hosts(self) -> None:
        hosts = self.allowed_hosts
        if isinstance(hosts, str | bytes) or not isinstance(hosts, Sequence):
            raise ConfigurationError(f"allowed_hosts is a list of hosts, not {hosts!r}")
        for host in hosts:
            found = _HOST.fullmatch(host) if isinstance(host, str) else None
            if found is None or not 0 < int(found["port"] or 80) < 1 << 16:
                raise ConfigurationError(
                    f"allowed_hosts: {host!r} is not `host`, `*.suffix` or `host:port`; a name is "
                    "in ASCII (xn--...), without a scheme, and no IPv6 address"
                )
        if self.allowed_hosts and self.network_policy in ("inherit", "all"):
            raise ConfigurationError(
                f"allowed_hosts restricts nothing with network_policy={self.network_policy!r}; "
                'say network_policy="allowlist"'
            )
        if self.network_policy == "allowlist" and not self.allowed_hosts:
            raise ConfigurationError(
                'network_policy="allowlist" needs allowed_hosts; to allow none, say "none"'
            )

    def _check_server(self) -> None:
        if self.token is not None and not (self.token.isascii() and self.token.isprintable()):
            raise ConfigurationError("token is a string of printable ASCII characters")
        if self.server_url is None:
            return
        try:
            parts = urlsplit(self.server_url)
            parts.port  # noqa: B018 - it is not looked at before
        except ValueError as error:
            raise ConfigurationError(f"server_url is no address: {error}") from error
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ConfigurationError("server_url is an address like https://host:8888/base")
        if "@" in parts.netloc or parts.query or parts.fragment:
            raise ConfigurationError("server_url holds no credentials: give token= instead")

    def given(self) -> dict[str, Any]:
        """The fields that differ from their default."""
        return {
            f.name: v for f in fields(self) if (v := getattr(self, f.name)) != _DEFAULTS[f.name]
        }


_DEFAULTS: dict[str, Any] = {
    f.name: f.default_factory() if callable(f.default_factory) else f.default
    for f in fields(SandboxConfig)
}


def configure(config: SandboxConfig | None, keywords: Mapping[str, Any]) -> SandboxConfig:
    """One configuration from `config=` and the keywords of `create()`.

    Args:
        config: the base, or None for the defaults.
        keywords: only those that the caller gave.

    Raises:
        ConfigurationError: a field is given twice, or has a value that cannot be.
    """
    base = SandboxConfig() if config is None else config
    if not isinstance(base, SandboxConfig):
        raise ConfigurationError(f"config is a SandboxConfig, not {type(base).__name__}")
    given = {_KEYWORDS.get(name, name): value for name, value in keywords.items()}
    for name in _MEGABYTES & set(given):
        size = given.pop(name)
        _positive(name, size, "MB")
        given[f"{name}_limit"] = None if size is None else int(size * 1024**2)
    known = {f.name for f in fields(SandboxConfig)}
    if unknown := sorted(set(given) - known):
        options = ", ".join(sorted((known - set(_KEYWORDS.values())) | set(_KEYWORDS) | _MEGABYTES))
        raise ConfigurationError(f"no option {', '.join(unknown)}; there are: {options}")
    twice = sorted(set(given) & set(base.given()))
    if twice:
        raise ConfigurationError(
            f"given both by keyword and in config: {', '.join(twice)}; give each once"
        )
    return replace(base, **{k: v for k, v in given.items() if v is not None or k == "timeout"})


def check_timeout(timeout: float | None) -> None:
    """Raise ConfigurationError unless `timeout` is None or a positive number of seconds."""
    _positive("timeout", timeout, "seconds")


def _positive(name: str, value: Any, unit: str) -> None:
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ConfigurationError(f"{name} is a number of {unit}, not {value!r}")
    if not value > 0 or math.isinf(value):
        raise ConfigurationError(f"{name} is a positive number of {unit}, not {value!r}")


def _strings(name: str, value: Any) -> None:
    if not isinstance(value, Mapping):
        raise ConfigurationError(f"{name} maps strings to strings; it is {value!r}")
    for key, item in value.items():
        if not isinstance(key, str) or not isinstance(item, str):
            raise ConfigurationError(f"{name} maps strings to strings; {key!r} has {item!r}")


def _passes(text: str) -> bool:
    """Whether a system call would take it: no NUL, and no character that is none."""
    try:
        return b"\0" not in os.fsencode(text)
    except UnicodeEncodeError:
        return False
