"""Which environment a runtime is made of, and what its time costs."""

from __future__ import annotations

from collections.abc import Sequence

from ...errors import CreditsError, UnsupportedError
from .fields import Environment

DEFAULT = "python-cpu-env"


def choose(known: Sequence[Environment], name: str | None, gpu: str | None) -> Environment:
    """The environment of that name, or the cheapest one with that GPU.

    Raises:
        UnsupportedError: there is none; the message says which there are.
    """
    named = [each for each in known if each.name == (name or DEFAULT)]
    if gpu is None:
        if not named:
            there = ", ".join(each.name for each in known) or "none at all"
            raise UnsupportedError(f"no environment {name or DEFAULT!r}; this account has: {there}")
        return usable(named[0])
    fits = [each for each in (named if name else known) if each.has_gpu(gpu)]
    if not fits:
        there = ", ".join(str(each) for each in known if each.has_gpu()) or "none"
        what = f"environment {name!r} is none with" if name else "no environment has"
        raise UnsupportedError(f"{what} a GPU {gpu!r}; environments with a GPU: {there}")
    priced = [each for each in fits if each.burning_rate is not None and runs_python(each)]
    return usable(min(priced or fits, key=lambda each: each.burning_rate or 0.0))


def runs_python(environment: Environment) -> bool:
    """Whether its kernels are for Python, as far as is known."""
    return environment.language in ("", "python")


def usable(environment: Environment) -> Environment:
    """The environment, unless nothing of ours can run in it, or its price is unknown."""
    if not runs_python(environment):
        raise UnsupportedError(
            f"environment {environment.name!r} is for {environment.language}, not for Python"
        )
    if environment.burning_rate is None:
        raise UnsupportedError(
            f"environment {environment.name!r} does not say what it costs, so that no time can be "
            "reserved; choose another one"
        )
    return environment


def reservation(environment: Environment, seconds: float, free: float | None) -> float:
    """The credits that so many seconds cost.

    Args:
        free: the credits of the account; None if there is no limit.

    Raises:
        CreditsError: the account has not as many.
    """
    assert environment.burning_rate is not None
    wanted = environment.burning_rate * seconds
    if free is not None and wanted > free:
        lasts = max(0.0, free) / environment.burning_rate
        raise CreditsError(
            f"{seconds:g} s of {environment.name} need {wanted:g} credits, and the account has "
            f"{max(0.0, free):g} free: add some, or give a max_lifetime of {int(lasts)} s at most"
        )
    return wanted
