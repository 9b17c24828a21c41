"""Stopping a sandbox where it is, and letting it go on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .core import Core
from .errors import CloudError, SandboxClosedError, UnsupportedError
from .kernel import Detachable, Hosted, Pausable
from .registry import refusal

LONGEST = 366 * 24 * 3600.0  # seconds; whoever holds it ends it in time


def pause(core: Core) -> None:
    """Stop it; what runs in it is stopped where it is.

    Raises:
        UnsupportedError: its variant cannot.
        CloudError: it could not be paused, and runs on.
    """
    variant = core.variant
    core.machine.cwd  # noqa: B018 - raises where the sandbox is closed, gone or paused
    if not isinstance(variant, Pausable) or not isinstance(variant, Detachable):
        raise UnsupportedError(refusal(variant.name, "pause"))
    # the supervisor must not take the silence for its owner's death
    core.stay(variant, LONGEST)
    core.paused = place = variant.record()
    core.hang_up(variant)
    try:
        variant.pause()
    except CloudError:
        _return(core, variant, place)
        raise


def resume(core: Core) -> None:
    """Let it go on; one that is not paused is left alone.

    Raises:
        CloudError: it could not be resumed.
        SandboxNotFoundError: it has ended meanwhile.
    """
    if core.closed:
        raise SandboxClosedError(f"sandbox {core.id} was {core.closed}; create another one")
    variant = core.variant
    if not isinstance(variant, Pausable) or not isinstance(variant, Detachable):
        raise UnsupportedError(refusal(variant.name, "pause"))
    if core.paused is not None:
        variant.resume()
        _return(core, variant, core.paused)


def _return(core: Core, variant: Detachable, place: Mapping[str, Any]) -> None:
    core.come_back(variant.adopt(place))
    core.paused = None
    if isinstance(variant, Hosted):
        core.expire_in(variant.time_left())
