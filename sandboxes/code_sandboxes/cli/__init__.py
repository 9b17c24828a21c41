"""``code-sandboxes run | list | kill | snapshot | doctor``, and what others add to it.

A package adds a command by an entry point in the group ``code_sandboxes.commands``: its value is
a function that takes the list of arguments and returns the exit status.

Exit status of our own: 0 done, 1 failed, 2 wrong usage or configuration, 130 Ctrl-C,
141 nobody reads the output any more. `run` has that of the code besides.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from ..errors import ConfigurationError, MissingExtraError, SandboxError, UnsupportedError
from .arguments import BUILT_IN, make_parser, split_arguments
from .further import further_commands, run_further

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

FAILED, USAGE, INTERRUPTED, NO_READER = 1, 2, 130, 141


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        argv: the arguments without the program's name; None for those of this process.

    Returns:
        The exit status.

    Example:
        >>> main(["run", "--variant", "local-eval", "-c", "raise SystemExit(3)"])
        3
    """
    try:
        status = _dispatch(list(sys.argv[1:] if argv is None else argv))
        if sys.stdout is not None:
            sys.stdout.flush()  # here, where a reader that is gone is no surprise
        return status
    except KeyboardInterrupt:
        return INTERRUPTED
    except (ConfigurationError, UnsupportedError, MissingExtraError) as error:
        return _complain(error, USAGE)
    except SandboxError as error:
        return _complain(error, FAILED)
    except BrokenPipeError:
        _silence_exit()
        return NO_READER
    except OSError as error:
        return _complain(error, FAILED)


def _dispatch(argv: list[str]) -> int:
    further: Mapping[str, EntryPoint] = {}
    if not argv or argv[0] not in BUILT_IN:
        further = further_commands()
        if argv and argv[0] in further:
            return run_further(further[argv[0]], argv[1:])
    parser = make_parser(further)
    if not argv:
        parser.print_help(sys.stderr)
        return USAGE
    ours, rest = split_arguments(argv)
    try:
        options, unknown = parser.parse_known_args(ours)
        if unknown:
            hint = "; those for the code follow a `--`" if argv[0] == "run" else ""
            options.parser.error(f"unrecognized arguments: {' '.join(unknown)}{hint}")
    except SystemExit as error:  # what argparse does after --help and after a mistake
        return error.code if isinstance(error.code, int) else USAGE
    options.arguments = rest
    status: int = options.run(options)
    return status


def _complain(error: Exception, status: int) -> int:
    from .output import complain

    with suppress(OSError):  # stderr may be as closed as stdout
        complain(error)
    if isinstance(error, OSError):
        _silence_exit()
    return status


def _silence_exit() -> None:
    """What is left in the buffers cannot be written: Python must not try it at its exit."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            os.dup2(nowhere, stream.fileno())
        except AttributeError:  # there is no such stream
            continue
    os.close(nowhere)
