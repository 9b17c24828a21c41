"""What every kernel of ours imports: a fork server has it done once, and its forks share it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module

NAMES = (
    "_code_sandboxes.kernel",
    *("ipykernel.kernelapp", "ipykernel.ipkernel", "ipykernel.zmqshell", "ipykernel.debugger"),
    # what these import when a kernel starts
    *("tornado.platform.asyncio", "IPython.core.debugger", "IPython.core.completerlib"),
    "IPython.extensions.storemagic",
)


@contextmanager
def no_debugger() -> Iterator[None]:
    """Nobody can reach a kernel's one here, and it takes as long to import as all else together.

    Code can import it later.
    """
    absent = "debugpy" not in sys.modules
    if absent:
        sys.modules["debugpy"] = None  # type: ignore[assignment]  # so it cannot be imported
    try:
        yield
    finally:
        if absent:
            del sys.modules["debugpy"]


def preload() -> None:
    """Called by the fork server."""
    with no_debugger():
        for name in NAMES:
            import_module(name)
