"""A page in the browser to try sandboxes: code, files and commands, live.

``code-sandboxes playground`` serves it; `build_app` gives it as a Gradio app.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .app import build_app

__all__ = ["build_app"]


def __getattr__(name: str) -> object:
    """`build_app` on first use: importing Gradio takes seconds."""
    if name == "build_app":
        from .app import build_app

        return build_app
    raise AttributeError(name)
