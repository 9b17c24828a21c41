"""Variants by name: where each class is, and the extra that it needs."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import cache
from importlib import import_module

from .config import SandboxConfig
from .errors import (
    CloudError,
    MissingExtraError,
    SandboxError,
    UnknownVariantError,
    UnsupportedError,
)
from .infos import SandboxInfo
from .kernel import Capability, Hosted, Listed, Variant
from .records import Record

DEFAULT = "local-jupyter"
GROUP = "code_sandboxes.variants"
_OURS = {
    "local-eval": ("code_sandboxes.variants.local_eval:LocalEval", ""),
    "local-docker": ("code_sandboxes.variants.local_docker:LocalDocker", "docker"),
    "local-jupyter": ("code_sandboxes.variants.local_jupyter:LocalJupyter", ""),
    "remote-jupyter": ("code_sandboxes.variants.remote_jupyter:RemoteJupyter", "server"),
    "datalayer-runtime": (
        "code_sandboxes.variants.datalayer_runtime:DatalayerRuntime",
        "datalayer",
    ),
}
_NOT_HOSTED = {name for name in _OURS if name != "datalayer-runtime"}  # without importing them
_added: dict[str, type[Variant]] = {}


@cache
def _foreign() -> dict[str, str]:
    from importlib.metadata import entry_points  # 20 ms that most need not pay

    return {point.name: point.value for point in entry_points(group=GROUP)}


def register(variant: type[Variant]) -> None:
    """Make a variant known in this process, under its own name.

    A package does the same for every process with an entry point in the group
    ``code_sandboxes.variants``.
    """
    _added[variant.name] = variant


def default() -> str:
    """The variant of whoever names none."""
    return os.environ.get("CODE_SANDBOXES_VARIANT") or DEFAULT


def variants() -> list[str]:
    """The names that `create()` takes."""
    return list(dict.fromkeys((*_OURS, *_added, *_foreign())))


def variant_class(name: str) -> type[Variant]:
    """The class of a variant; imported here, not before.

    Raises:
        UnknownVariantError: there is none of that name.
        MissingExtraError: it needs a package that is not installed.
    """
    if name in _added:
        return _added[name]
    where, extra = _OURS[name] if name in _OURS else (_foreign().get(name), "")
    if where is None:
        raise UnknownVariantError(f"no variant {name!r}; there are: {', '.join(variants())}")
    module, _, attribute = where.partition(":")
    try:
        found: type[Variant] = getattr(import_module(module), attribute)
    except ImportError as error:
        if not extra:
            raise
        raise MissingExtraError(
            f"{name} needs {error.name}: install the extra `code-sandboxes[{extra}]`"
        ) from error
    return found


def capabilities(name: str) -> Mapping[str, Capability]:
    """What a variant can on this machine."""
    return variant_class(name).capabilities()


def that_can(what: str) -> list[str]:
    """The variants that support something here."""
    found = []
    for name in variants():
        try:
            known = capabilities(name)
        except MissingExtraError:
            continue
        startable = known.get("create", Capability(True))
        if startable and what in known and known[what].supported:
            found.append(name)
    return found


def refusal(name: str, verb: str) -> str:
    """Why a variant cannot do something with its sandboxes, and which can."""
    able = capabilities(name).get(verb)
    reason = able.reason if able is not None and able.reason else f"{name} does not know it"
    others = ", ".join(other for other in that_can(verb) if other != name)
    return f"{verb}: {reason} (here it is supported by: {others or 'none'})"


def refuse_unsupported(name: str, config: SandboxConfig) -> None:
    """Refuse what the variant cannot honour, all of it at once."""
    known = capabilities(name)
    refused = []
    for option, value in config.given().items():
        if option in ("timeout", "max_output", "allowed_hosts"):
            continue  # above every variant; and part of network_policy
        wanted = f"{option}={value}" if option == "network_policy" else option
        able = known.get(wanted)
        if able is None or not able.supported:
            reason = able.reason if able is not None else f"{name} does not know it"
            others = ", ".join(other for other in that_can(wanted) if other != name)
            refused.append(f"{wanted}: {reason} (here it is supported by: {others or 'none'})")
    if refused:
        raise UnsupportedError(f"{name} cannot honour " + "; ".join(refused))


def among(found: Iterable[Record]) -> list[Record]:
    """Those of these records whose sandboxes are there, as far as their variants can tell."""
    records = list(found)
    gone: set[str] = set()
    for name in {record.variant for record in records}:
        ids = {record.id for record in records if record.variant == name}
        try:
            kind = variant_class(name)
        except SandboxError:  # it came from a package that is not here
            continue
        if isinstance(kind, Listed):
            gone |= ids - kind.among(ids)
    return [record for record in records if record.id not in gone]


def hosts() -> list[type[Variant]]:
    """The variants whose service can be asked from here."""
    found: list[type[Variant]] = []
    for name in variants():
        if name not in _NOT_HOSTED or name in _added:
            try:
                kind = variant_class(name)
                able = kind.capabilities().get("create", Capability(True))
            except (SandboxError, ImportError):  # a foreign variant may lack anything
                continue
            if isinstance(kind, Hosted) and able:
                found.append(kind)
    return found


def listed(found: Iterable[Record]) -> tuple[list[SandboxInfo], list[str]]:
    """What there is: by the records of this machine, and by the word of each service.

    Returns:
        The sandboxes, and why a service could not be asked.
    """
    records = {record.id: record for record in among(found)}
    infos: list[SandboxInfo] = []
    troubles: list[str] = []
    for kind in hosts():
        assert isinstance(kind, Hosted)
        try:
            there = kind.hosted()
        except CloudError as error:
            troubles.append(f"the sandboxes of {kind.name} are not known now: {error}")
            continue
        ours = {id for id, record in records.items() if record.variant == kind.name}
        known = {id: records.pop(id) for id in ours}
        for info in there:
            record = known.get(info.id)
            infos.append(replace(record.info(), expires=info.expires) if record else info)
    return [*(record.info() for record in records.values()), *infos], troubles


def record_at_a_service(id: str) -> Record | None:
    """What a service knows of a sandbox of which this machine knows nothing.

    Raises:
        CloudError: it cannot be asked.
    """
    for kind in hosts():
        assert isinstance(kind, Hosted)
        for info in kind.hosted():
            if info.id == id:
                return Record(id, kind.name, {}, {}, True, info.expires, info.created)
    return None


def end_orphan(record: Record) -> None:
    """End what a service still has of a sandbox of this machine whose owner is dead."""
    kind = variant_class(record.variant)
    if isinstance(kind, Hosted):
        kind.end_orphan(record.id)
