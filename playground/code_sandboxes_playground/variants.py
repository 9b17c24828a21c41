"""Where code can run on this machine, and what each place really isolates."""

from __future__ import annotations

import html
import ipaddress
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from code_sandboxes import Sandbox, SandboxError

Level = Literal["none", "process", "confined", "container", "remote", "unknown"]


@dataclass(frozen=True)
class Place:
    """A variant with its options, as the page offers it.

    Attributes:
        name: what the chooser shows.
        variant: the name for `Sandbox.create`.
        level: how far code is kept from this machine.
        isolates: one honest sentence about it.
        options: further keywords for `Sandbox.create`.
        refusal: why it cannot be started on this machine; ``""`` if it can.

    Example:
        >>> Place("local-eval", "local-eval", "none", "Nothing.").isolated
        False
    """

    name: str
    variant: str
    level: Level
    isolates: str
    options: Mapping[str, Any] = field(default_factory=dict)
    refusal: str = ""

    @property
    def isolated(self) -> bool:
        """Whether code is kept from the files and processes of whoever runs the playground."""
        return self.level in ("confined", "container", "remote")


_LEVELS: dict[Level, str] = {
    "none": "no isolation",
    "process": "process only",
    "confined": "confined",
    "container": "container",
    "remote": "remote",
    "unknown": "unknown",
}
_CONFINED = (
    "Namespaces of its own and a system call filter: code has no network and sees none of your"
    " files or processes. It shares this machine's kernel."
)
_KNOWN: dict[str, tuple[Level, str]] = {
    "local-eval": (
        "none",
        "No isolation: code runs as you, with your files, your processes and your network.",
    ),
    "local-jupyter": (
        "process",
        "A process of its own, no boundary: code can still read your files and use your network.",
    ),
    "local-docker": (
        "container",
        "A container with its own files and processes. It shares this machine's kernel.",
    ),
    "datalayer-runtime": (
        "remote",
        "A machine in the Datalayer cloud: nothing runs here, and it uses your credits.",
    ),
    "remote-jupyter": (
        "unknown",
        "A Jupyter Server that already runs: as isolated as that server is.",
    ),
}
_UNKNOWN: tuple[Level, str] = ("unknown", "What it isolates is not known to the playground.")


def places() -> list[Place]:
    """Every place, with the reason where this machine cannot start it.

    Example:
        >>> "local-eval" in [place.name for place in places()]
        True
    """
    found: list[Place] = []
    for variant in Sandbox.variants():
        level, isolates = _KNOWN.get(variant, _UNKNOWN)
        refusal, can_confine = _probe(variant)
        found.append(Place(variant, variant, level, isolates, refusal=refusal))
        if variant == "local-jupyter" and can_confine and not refusal:
            name = f"{variant} (confined)"
            found.append(Place(name, variant, "confined", _CONFINED, {"confined": True}))
    return found


def preferred(offered: list[Place], wanted: str | None) -> Place:
    """The place to start with.

    Args:
        offered: what `places` found.
        wanted: a name the user asked for; None for ``CODE_SANDBOXES_VARIANT`` or local-jupyter.

    Raises:
        LookupError: the place asked for is unknown, or there is none that can be started.
    """
    usable = {place.name: place for place in offered if not place.refusal}
    asked = wanted or os.environ.get("CODE_SANDBOXES_VARIANT")
    if asked in usable:
        return usable[asked]
    if asked:
        why = {place.name: place.refusal for place in offered}.get(
            asked, "there is no such variant"
        )
        raise LookupError(f"{asked} cannot run here: {why}. Possible: {', '.join(usable)}")
    if not usable:
        raise LookupError("no variant can run here: code-sandboxes doctor says why")
    return usable.get("local-jupyter") or next(iter(usable.values()))


def isolation_line(place: Place, offered: list[Place]) -> str:
    """What `place` isolates and which others cannot run here, as markup of ours.

    Args:
        place: where the session is.
        offered: what `places` found.

    Example:
        >>> "no isolation" in isolation_line(Place("x", "x", "none", "Nothing."), [])
        True
    """
    badge = f'<span class="cs-badge cs-{place.level}">{_LEVELS[place.level]}</span>'
    line = f'<div class="cs-isolation">{badge}<span>{html.escape(place.isolates)}</span></div>'
    refused = [each for each in offered if each.refusal]
    if not refused:
        return line
    reasons = "".join(
        f"<li><b>{html.escape(each.name)}</b> {html.escape(each.refusal[:300])}</li>"
        for each in refused
    )
    summary = f"{len(refused)} more cannot run on this machine"
    return f"{line}<details><summary>{summary}</summary><ul>{reasons}</ul></details>"


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach a server bound to `host`.

    Example:
        >>> is_loopback("127.0.0.1"), is_loopback("localhost"), is_loopback("0.0.0.0")
        (True, True, False)
    """
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def warning_for(host: str, offered: list[Place]) -> str:
    """What whoever starts the server on `host` has to know; ``""`` if nothing.

    Args:
        host: the address it is bound to.
        offered: what `places` found.

    Example:
        >>> warning_for("127.0.0.1", places())
        ''
    """
    if is_loopback(host):
        return ""
    bare = [p.name for p in offered if not p.refusal and not p.isolated]
    text = f"Other machines can reach this server at {host}, and its token travels unencrypted."
    if bare:
        text += (
            f" {' and '.join(bare)} isolate nothing: whoever has the token runs code as the"
            " user of this server, with its files and its network."
        )
    return text


def _probe(variant: str) -> tuple[str, bool]:
    """Why `variant` cannot be started, ``""`` if it can; and whether it can be confined."""
    try:
        capabilities = Sandbox.capabilities(variant)
    except SandboxError as error:
        return str(error), False
    create, confined = capabilities.get("create"), capabilities.get("confined")
    refusal = "" if create is None or create.supported else create.reason or "it is not available"
    address = capabilities.get("server_url")
    if not refusal and address is not None and address.supported:
        refusal = "it needs a server's address, which this page does not ask for"
    return refusal, confined is not None and confined.supported
