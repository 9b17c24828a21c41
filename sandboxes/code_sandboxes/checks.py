"""What a caller gives, looked at before anything is done with it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from keyword import iskeyword
from typing import Any

from .errors import ConfigurationError
from .infos import Context


def functions_of(functions: Mapping[str, Callable[..., Any]] | None) -> dict[str, Any]:
    """Host functions by name.

    Raises:
        ConfigurationError: a name is no identifier, or a value cannot be called.
    """
    if functions is None:
        return {}
    if not isinstance(functions, Mapping):
        raise ConfigurationError(
            f"host_functions maps names to functions; not {type(functions).__name__}"
        )
    for name, function in functions.items():
        named = isinstance(name, str) and name.isidentifier() and not iskeyword(name)
        if not named or not callable(function):
            raise ConfigurationError(f"host_functions maps names to functions; not {name!r}")
    return dict(functions)


def check_callback(name: str, value: object) -> None:
    """See that an optional callback can be called.

    Raises:
        ConfigurationError: it cannot.
    """
    if value is not None and not callable(value):
        raise ConfigurationError(f"{name} is a function, not {type(value).__name__}")


def context_name(context: Context | str) -> str:
    """The name of a context.

    Raises:
        ConfigurationError: it is neither a context nor a name.
    """
    if isinstance(context, Context):
        return context.name
    if not isinstance(context, str):
        raise ConfigurationError(f"a context or its name is wanted, not {context!r}")
    return context


def command_of(command: str | Sequence[str], env: Mapping[str, str] | None) -> dict[str, Any]:
    """A command and its variables, as the supervisor takes them.

    Raises:
        ConfigurationError: they are no such thing.
    """
    variables = {} if env is None else env
    if not isinstance(variables, Mapping) or not all(
        isinstance(part, str) for pair in variables.items() for part in pair
    ):
        raise ConfigurationError("env maps names to strings")
    spec: dict[str, Any] = {"env": dict(variables)}
    if isinstance(command, str):
        parts = [command]
        spec["shell"] = command
    elif isinstance(command, Sequence) and all(isinstance(part, str) for part in command):
        parts = spec["argv"] = list(command)
    else:
        parts = []
    if not parts:
        raise ConfigurationError("a command is a string for the shell, or a list of strings")
    if any("\0" in part for part in parts):
        raise ConfigurationError("a command holds no NUL character")
    return spec
