"""Local snapshots: what is taken out of a sandbox, and what is put into the next one.

The archive is made, and unpacked, inside. Here it is bytes that nobody looks into.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import TYPE_CHECKING, Any

from . import store
from .bulk import pour, pull
from .errors import ConfigurationError, ExecutionFailedError, FileError, SandboxStartError
from .infos import Snapshot
from .kernel import ISOLATION, Keepable, Variant
from .machine import Machine
from .requests import Answer, decode
from .run import drive
from .text import shortened

if TYPE_CHECKING:
    from .core import Core

PIECE = 1 << 20
FILES = ["home", "data", "remote"]
ALL = [*FILES, "packages", "scripts", "shared", "variables"]


def take(core: Core, name: str, description: str) -> Snapshot:
    """Keep a sandbox as it is now: the variables of its contexts, its files and packages.

    Raises:
        ConfigurationError: there is one of that name.
    """
    machine, variant = core.machine, core.variant
    assert isinstance(variant, Keepable)
    with store.draft(name) as draft:
        folder = machine.call("archive", verb="variables", clear=True).result()
        contexts = [context.name for context in core.contexts()]
        for context in contexts:
            path = f"{folder}/{context}.pickle"
            for line in _left_out(_ask(core, context, "keep", path)):
                draft.skipped.append(f"variable {line}, in context {context!r}")
        with closing(pull(machine, "archive", verb="pack")) as pieces:
            draft.skipped += map(str, draft.fill(pieces) or ())
        about = {"python": machine.python, "isolation": variant.isolation, "contexts": contexts}
        return draft.finish(
            about,
            name=name,
            variant=variant.name,
            environment=core.config.environment or "",
            description=description,
        )


def _ask(core: Core, context: str, op: str, path: str) -> Any:
    answer = Answer()
    for event in drive(core.request(context, op, path=path)):
        answer.add(event)
    return decode(answer)


def _left_out(said: Any) -> Iterator[str]:
    """Which variables, and why; hostile."""
    for pair in said if isinstance(said, list) else ():
        match pair:
            case [str(name), str(why)]:
                yield f"{shortened(name, 60)}: {shortened(why, 160)}"


class Restoring:
    """What a fresh sandbox gets of a snapshot.

    Code and data that programs load without being asked come only from a sandbox that was no
    more isolated than the new one is: else it would get out of its own by way of the snapshot.

    Args:
        kept: the snapshot.
        variant: that of the fresh sandbox.

    Attributes:
        troubles: what could not be restored, and why.
    """

    def __init__(self, kept: store.Kept, variant: Keepable) -> None:
        self._kept, self.troubles = kept, list[str]()
        self._trusted = _rank(variant.isolation) >= _rank(kept.isolation)
        self._whole = self._trusted
        if not self._trusted:
            self._trouble(
                "files alone were restored, without those that are hidden at the top of the home: "
                f"it was made where code is more isolated ({kept.isolation}) than it is here "
                f"({variant.isolation}), and variables and packages are code"
            )

    def _trouble(self, text: str) -> None:
        self.troubles.append(f"snapshot {self._kept.info.name!r}: {text}")

    def put_files(self, machine: Machine) -> None:
        """Unpack the archive; before there are interpreters."""
        theirs, ours = (text.rpartition(".")[0] for text in (self._kept.python, machine.python))
        if self._whole and theirs != ours:
            self._whole = False
            self._trouble(f"files alone were restored: it is of Python {theirs}, here is {ours}")
        only = ALL if self._whole else FILES
        options = {"only": only, "shown": not self._trusted}
        with self._kept.open() as archive:
            pieces = iter(lambda: archive.read(PIECE), b"")
            try:
                said = pour(machine, "archive", pieces, verb="unpack", **options)
            except (FileError, ConfigurationError) as error:
                raise SandboxStartError(
                    f"snapshot {self._kept.info.name!r} cannot be restored: {error}"
                ) from error
        for line in said if isinstance(said, list) else ():
            self._trouble(f"not restored: {shortened(str(line), 200)}")

    def put_variables(self, core: Core) -> None:
        """Have the interpreter of each context load its own."""
        if not self._whole:
            return
        folder = core.machine.call("archive", verb="variables", clear=False).result()
        there = {context.name for context in core.contexts()}
        for context in self._kept.contexts:
            if context not in there:
                core.create_context(context)
            try:
                _ask(core, context, "restore", f"{folder}/{context}.pickle")
            except (ConfigurationError, ExecutionFailedError) as error:
                self._trouble(f"the variables of context {context!r} were not restored: {error}")


def _rank(isolation: str) -> int:
    """How strong; what is not known counts as the strongest."""
    return ISOLATION.index(isolation) if isolation in ISOLATION else len(ISOLATION)


def restoring(variant: Variant) -> Restoring | None:
    """What a sandbox of that variant, and its configuration, gets of a snapshot; None for nothing.

    Raises:
        SnapshotNotFoundError: there is no snapshot of that name.
    """
    name = variant.config.snapshot_name
    if name is None or not isinstance(variant, Keepable):
        return None
    return Restoring(store.find(name), variant)
