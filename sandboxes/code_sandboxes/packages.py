"""How packages are installed inside."""

from __future__ import annotations

from collections.abc import Sequence

from .errors import ConfigurationError


def pip_command(packages: Sequence[str]) -> list[str]:
    """The command that installs `packages` for the interpreters of a sandbox.

    Raises:
        ConfigurationError: one of them is no requirement.
    """
    if isinstance(packages, str):
        raise ConfigurationError("packages is a list of requirements, not one string")
    for package in packages:
        if not isinstance(package, str) or not package.strip() or package.startswith("-"):
            raise ConfigurationError(f"{package!r} is no requirement")
    if not packages:
        raise ConfigurationError("no packages to install")
    return [
        "python",
        "-m",
        "pip",
        "install",
        "--no-input",
        "--disable-pip-version-check",
        *packages,
    ]
