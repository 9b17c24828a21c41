"""How packages are installed inside."""

from __future__ import annotations

from collections.abc import Sequence

from .errors import ConfigurationError

_SYSTEM = """
export DEBIAN_FRONTEND=noninteractive
if command -v apt-get >/dev/null; then
    apt-get -qq update || exit
    exec apt-get -qq -o Dpkg::Use-Pty=0 install -y --no-install-recommends "$@"
elif command -v apk >/dev/null; then
    exec apk add --no-progress "$@"
elif command -v dnf >/dev/null; then
    exec dnf install -qy "$@"
fi
echo "this system has none of apt-get, apk and dnf" >&2
exit 127
"""


def pip_command(packages: Sequence[str]) -> list[str]:
    """The command that installs `packages` for the interpreters of a sandbox.

    Raises:
        ConfigurationError: one of them is no requirement.
    """
    _check(packages)
    return [
        "python",
        "-m",
        "pip",
        "install",
        "--no-input",
        "--disable-pip-version-check",
        *packages,
    ]


def system_install(packages: Sequence[str]) -> list[str]:
    """The command that installs packages of the sandbox's system, whichever that is.

    Raises:
        ConfigurationError: one of them is no name.
    """
    _check(packages)
    return ["/bin/sh", "-c", _SYSTEM, "install", *packages]


def _check(packages: Sequence[str]) -> None:
    if isinstance(packages, str):
        raise ConfigurationError("packages is a list of requirements, not one string")
    for package in packages:
        if not isinstance(package, str) or not package.strip() or package.startswith("-"):
            raise ConfigurationError(f"{package!r} is no requirement")
    if not packages:
        raise ConfigurationError("no packages to install")
