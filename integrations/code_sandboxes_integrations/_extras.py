"""What to say when the framework of an adapter is not installed."""

from __future__ import annotations

from code_sandboxes import MissingExtraError


def missing(extra: str, error: ImportError) -> ImportError:
    """The error to raise for `error`: one that names the extra, if a package is what is missing.

    Args:
        extra: the extra that brings the framework.
        error: what the import raised.

    Returns:
        A `MissingExtraError`; or `error` itself, if the framework is there but failed to import.
    """
    if not isinstance(error, ModuleNotFoundError):
        return error
    package = (error.name or extra).partition(".")[0]
    return MissingExtraError(
        f"{package} is not installed; the extra [{extra}] brings it: "
        f"pip install 'code-sandboxes[{extra}]', or pip install '.[{extra}]' in a checkout",
        name=error.name,
    )
