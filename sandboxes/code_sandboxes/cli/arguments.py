"""What can be said on the command line."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, get_args

from ..config import NetworkPolicy

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

BUILT_IN = ("run", "list", "kill", "snapshot", "doctor")
_RUN_STATUS = """\
exit status: that of sys.exit() in the code; 0 if it succeeds, 1 for an exception, 2 for wrong
usage or configuration, 124 if it takes too long, 130 after Ctrl-C
"""


def split_arguments(argv: Sequence[str]) -> tuple[list[str], list[str]]:
    """Our arguments, and those for the code: what follows the first ``--`` of `run`.

    >>> split_arguments(["run", "f.py", "--", "-x"])
    (['run', 'f.py'], ['-x'])
    """
    if argv[0] != "run" or "--" not in argv:
        return list(argv), []
    at = argv.index("--")
    return list(argv[:at]), list(argv[at + 1 :])


def make_parser(further: Mapping[str, EntryPoint]) -> argparse.ArgumentParser:
    """The parser of everything.

    Args:
        further: commands of other packages, which parse their own arguments.
    """
    from .. import __version__
    from .snapshots import add_snapshot

    parser = argparse.ArgumentParser(
        prog="code-sandboxes",
        description="Run code somewhere safe, and see what came of it.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"code-sandboxes {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    _add_run(commands.add_parser)
    _add_list(commands.add_parser)
    _add_kill(commands.add_parser)
    add_snapshot(commands.add_parser)
    _add_doctor(commands.add_parser)
    for name, point in further.items():
        source = f" (from {point.dist.name})" if point.dist is not None else ""
        commands.add_parser(name, help=f"see {name} --help{source}", add_help=False)
    return parser


_New = Callable[..., argparse.ArgumentParser]


def _add_run(new: _New) -> None:
    from .run import run

    parser = new(
        "run",
        help="run code in a fresh sandbox",
        description="Run code in a fresh sandbox, which ends with it. Output is live; the code "
        "alone goes there, not the files around it.",
        epilog=_RUN_STATUS,
        usage="%(prog)s [options] (FILE | - | -c CODE) [-- ARG ...]",
        allow_abbrev=False,
    )
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("file", nargs="?", metavar="FILE", help="a Python file; - for stdin")
    what.add_argument("-c", dest="code", metavar="CODE", help="the code itself")
    _add_run_options(parser)
    parser.set_defaults(run=run, parser=parser)


def _add_run_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--variant", help="one that `code-sandboxes doctor` shows")
    add(
        "--timeout",
        type=_seconds,
        default=argparse.SUPPRESS,  # none given: None is no limit
        metavar="SECONDS",
        help="60 without it; `none` for no limit",
    )
    add(
        "--env",
        type=_variable,
        action="append",
        metavar="NAME[=VALUE]",
        help="an environment variable; without a value, the one that it has here",
    )
    add("--environment", help="image (docker) or kernel (jupyter)")
    add("--memory", type=float, metavar="MB")
    add("--cpu", type=float, metavar="CORES")
    add("--disk", type=float, metavar="MB")
    add("--server-url", metavar="URL", help="of a Jupyter Server; its token is $JUPYTER_TOKEN")
    add("--network-policy", choices=get_args(NetworkPolicy))
    add("--allowed-host", action="append", metavar="HOST", help="with --network-policy allowlist")
    add(
        "--confined",
        action="store_true",
        default=None,
        help="put a local process into namespaces of its own",
    )
    add("--snapshot", metavar="NAME", help="start from a snapshot")
    add("--keep", metavar="NAME", help="keep the sandbox as a snapshot, once the code has ended")
    add("--package", action="append", metavar="PACKAGE", help="install it in the sandbox first")
    add("--json", action="store_true", help="print the whole result as one JSON object, at the end")


def _add_list(new: _New) -> None:
    from .sandboxes import list_sandboxes

    about = "show the sandboxes of this user on this machine"
    parser = new("list", help=about, description=about, allow_abbrev=False)
    parser.add_argument("--json", action="store_true", help="as a JSON array")
    parser.set_defaults(run=list_sandboxes, parser=parser)


def _add_kill(new: _New) -> None:
    from .sandboxes import kill_sandboxes

    parser = new(
        "kill",
        help="end detached sandboxes",
        description="End detached sandboxes. One that a live process owns ends with that process.",
        allow_abbrev=False,
    )
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("ids", nargs="*", default=[], metavar="ID", help="as `list` shows it")
    which.add_argument("--all", action="store_true", help="every one that is detached")
    parser.set_defaults(run=kill_sandboxes, parser=parser)


def _add_doctor(new: _New) -> None:
    from .doctor import doctor

    about = "try what works on this machine, and say what is missing"
    parser = new(
        "doctor",
        help=about,
        description=f"{about[0].upper()}{about[1:]}. Local variants are really started.",
        epilog="exit status: 0 if the default variant can run, else 1",
        allow_abbrev=False,
    )
    parser.add_argument("--json", action="store_true", help="as one JSON object")
    parser.set_defaults(run=doctor, parser=parser)


def _seconds(text: str) -> float | None:
    return None if text == "none" else float(text)


_seconds.__name__ = "number of seconds"  # argparse says "invalid ... value"


def _variable(text: str) -> tuple[str, str]:
    name, given, value = text.partition("=")
    if not name:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=VALUE")
    if not given:
        if name not in os.environ:
            raise argparse.ArgumentTypeError(f"{name!r} has no value here; say {name}=VALUE")
        value = os.environ[name]
    return name, value
