"""Local snapshots: what is taken out of a sandbox, and what is put into the next one.

The archive is made, and unpacked, inside. Here it is bytes that nobody looks into.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import closing, suppress
from typing import TYPE_CHECKING, Any

from . import store
from .bulk import Pull, pour
from .config import SandboxConfig
from .errors import (
    ConfigurationError,
    ExecutionFailedError,
    FileError,
    SandboxError,
    SandboxStartError,
)
from .infos import Snapshot
from .kernel import ISOLATION, Keepable, Variant
from .machine import Machine
from .requests import Answer, decode
from .run import drive
from .text import printable, shortened

if TYPE_CHECKING:
    from .core import Core

PIECE = 1 << 20
# seconds that the variables of one context may take, however short `timeout` is, or without one
LEAST, MOST = 60.0, 600.0
FILES = ["home", "data", "remote"]
ALL = [*FILES, "packages", "scripts", "shared", "variables"]
MOST_TOLD, MOST_LINE = 100, 300  # lines, and characters of one


def take(core: Core, name: str, description: str, cancelled: threading.Event) -> Snapshot:
    """Keep a sandbox as it is now: the variables of its contexts, its files and packages.

    Args:
        cancelled: once it is set, nothing is kept.

    Raises:
        ConfigurationError: there is one of that name.
    """
    machine, variant, kind = core.machine, core.variant, core.variant.name
    assert isinstance(variant, Keepable)
    with core.keeping, store.draft(name) as draft:
        try:
            contexts = list(_keep_variables(core, draft, cancelled))
            with closing(Pull(machine, "archive", verb="pack")) as pieces:
                draft.fill(pieces, variant.most_kept, cancelled)
            draft.skipped += _lines(pieces.value)
        finally:
            with suppress(SandboxError):  # it is gone, with what was in it
                _folder(machine, clear=True)
        if cancelled.is_set():
            raise SandboxError("the snapshot was cancelled: nothing was kept")
        about = {
            "python": machine.python,
            "isolation": variant.isolation,
            "hosts": _hosts(variant.isolation, core.config),
            "runtime": core.config.runtime,
            "contexts": contexts,
        }
        return draft.finish(
            about,
            name=name,
            variant=kind,
            environment=core.config.environment or "",
            description=description,
        )


def _keep_variables(core: Core, draft: store.Draft, cancelled: threading.Event) -> Iterator[str]:
    """Have each interpreter write its variables; the contexts that have."""
    folder = _folder(core.machine, clear=True)
    for context in [context.name for context in core.contexts()]:
        if cancelled.is_set():
            return
        try:
            said = _ask(core, context, "keep", f"{folder}/{context}.pickle")
        except (ConfigurationError, ExecutionFailedError) as error:
            if context not in [known.name for known in core.contexts()]:
                continue  # it was closed meanwhile
            if isinstance(error, ExecutionFailedError):
                raise
            why = f"the variables of context {context!r} cannot be written inside: {error}"
            raise SandboxError(why) from error
        draft.skipped += [f"variable {line}, in context {context!r}" for line in _pairs(said)]
        yield context


def _folder(machine: Machine, *, clear: bool) -> str:
    """Where the files of variables are, inside."""
    said = machine.call("archive", verb="variables", clear=clear).result()
    if not isinstance(said, str) or len(said) > 4096:
        raise SandboxError("the supervisor named no directory for variables")
    return said


def _ask(core: Core, context: str, op: str, path: str) -> Any:
    answer = Answer()
    limit = MOST if core.timeout is None else max(core.timeout, LEAST)
    run = core.request(context, op, timeout=limit, path=path, home=core.machine.home)
    for event in drive(run):
        answer.add(event)
    return decode(answer)


def _pairs(said: Any) -> list[str]:
    """What could not be had, and why; hostile."""
    pairs = said if isinstance(said, list) else []
    return _lines([": ".join(map(str, pair)) for pair in pairs if isinstance(pair, list)])


def _lines(said: Any) -> list[str]:
    """A list of lines; hostile."""
    lines = said if isinstance(said, list) else []
    told = [shortened(printable(str(line)), MOST_LINE) for line in lines[:MOST_TOLD]]
    told = [line.replace("\n", " ") for line in told]
    return told + [f"and {len(lines) - MOST_TOLD} more"] * (len(lines) > MOST_TOLD)


class Restoring:
    """What a fresh sandbox gets of a snapshot.

    Code and data that programs load without being asked come only from a sandbox that was no
    more isolated than the new one is: else it would get out of its own by way of the snapshot.

    Args:
        kept: the snapshot.
        variant, config: those of the fresh sandbox.

    Attributes:
        troubles: what could not be restored, and why.
    """

    def __init__(self, kept: store.Kept, variant: Keepable, config: SandboxConfig) -> None:
        self._kept, self.troubles = kept, list[str]()
        why = _less_isolated(kept, variant.isolation, config)
        self._trusted = self._whole = not why
        if why:
            self._trouble(
                "files alone were restored, and none that hides at the top of the home: "
                f"{why}, and variables and packages are code"
            )

    def _trouble(self, text: str) -> None:
        self.troubles.append(f"snapshot {self._kept.info.name!r}: {text}")

    def put_files(self, machine: Machine) -> None:
        """Unpack the archive; before there are interpreters."""
        theirs, ours = (text.rpartition(".")[0] for text in (self._kept.python, machine.python))
        if self._whole and theirs != ours:
            self._whole = False
            self._trouble(f"files alone were restored: it is of Python {theirs}, here is {ours}")
        options = {"only": ALL if self._whole else FILES, "trusted": self._trusted}
        with self._kept.open() as archive:
            pieces = iter(lambda: archive.read(PIECE), b"")
            try:
                said = pour(machine, "archive", pieces, verb="unpack", **options)
            except (FileError, ConfigurationError) as error:
                raise SandboxStartError(
                    f"snapshot {self._kept.info.name!r} cannot be restored: {error}"
                ) from error
        if lines := _lines(said):
            self._trouble("not restored: " + "; ".join(lines))

    def put_variables(self, core: Core) -> None:
        """Have the interpreter of each context load its own."""
        if not self._whole:
            return
        folder = _folder(core.machine, clear=False)
        there = {context.name for context in core.contexts()}
        for context in self._kept.contexts:
            try:
                if context not in there:
                    core.create_context(context)
                lines = _pairs(_ask(core, context, "restore", f"{folder}/{context}.pickle"))
            except (ConfigurationError, ExecutionFailedError) as error:
                lines = [str(error)]
            if lines:
                said = "; ".join(lines)
                self._trouble(f"variables of context {context!r} were not restored: {said}")


def _hosts(isolation: str, config: SandboxConfig) -> list[str] | None:
    """Those that code can reach; None for any."""
    if config.network_policy == "allowlist":
        return list(config.allowed_hosts)
    return [] if config.network_policy == "none" or isolation == "confined" else None


def _less_isolated(kept: store.Kept, ours: str, config: SandboxConfig) -> str:
    """Why a sandbox isolates its code less than the one that a snapshot was made on; or ""."""
    theirs = kept.isolation
    made = "it was made where code is more isolated"
    if _rank(ours) < _rank(theirs):
        return f"{made} ({theirs}) than it is here ({ours})"
    hosts = _hosts(ours, config)
    if kept.hosts is not None and (hosts is None or not set(hosts) <= set(kept.hosts)):
        return f"{made} (by its network_policy) than it is here"
    if kept.runtime is not None and kept.runtime != config.runtime:
        return f"{made} (by runtime {kept.runtime!r}) than it is here"
    return ""


def _rank(isolation: str) -> int:
    """How strong; what is not known counts as the strongest."""
    return ISOLATION.index(isolation) if isolation in ISOLATION else len(ISOLATION)


def restoring(variant: Variant) -> Restoring | None:
    """What a sandbox of that variant, and its configuration, gets of a snapshot; None for nothing.

    Raises:
        SnapshotNotFoundError: there is no snapshot of that name.
    """
    config = variant.config
    if config.snapshot_name is None or not isinstance(variant, Keepable):
        return None
    return Restoring(store.find(config.snapshot_name), variant, config)
