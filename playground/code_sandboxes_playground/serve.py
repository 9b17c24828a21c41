"""The playground as a server of its own: behind a token, leaving nothing when it stops."""

from __future__ import annotations

import secrets
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import anyio
import gradio as gr
import uvicorn
from fastapi import FastAPI

from .app import build_app
from .guard import Guard
from .sessions import Sessions
from .variants import warning_for

MOST_UPLOADED = "512mb"


def _say(line: str) -> None:
    print(line, flush=True)


def serve(
    host: str,
    listening: socket.socket,
    sessions: Sessions,
    *,
    say: Callable[[str], None] = _say,
) -> None:
    """Serve the playground until a signal ends it; all sandboxes end with it.

    Args:
        host: the address that it was bound to, as the user has written it.
        listening: a socket that listens there.
        sessions: where the sandboxes of its pages are kept; ended at the end.
        say: tells the address, with the token.

    Raises:
        KeyboardInterrupt: SIGINT ended it; another signal that ended it is raised again.
    """
    bound = listening.getsockname()[1]
    token = secrets.token_urlsafe(24)
    app = _application(sessions, token, host, bound)
    named = f"[{host}]" if ":" in host else "127.0.0.1" if host == "0.0.0.0" else host
    say(f"Code Sandboxes playground: http://{named}:{bound}/?token={token}")
    config = uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=2)
    try:
        _Server(config, app).run(sockets=[listening])
    finally:
        sessions.end_all()


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, guard: Guard) -> None:
        super().__init__(config)
        self._guard = guard

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._guard.stopping.set()
        await super().shutdown(sockets)


def _application(sessions: Sessions, token: str, host: str, port: int) -> Guard:
    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        try:
            yield
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.to_thread.run_sync(sessions.end_all)

    outer = FastAPI(lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None)
    page = build_app(sessions, notice=warning_for(host, sessions.places))
    inner = gr.mount_gradio_app(
        outer,
        page,
        path="/",
        server_name=host,
        server_port=port,
        footer_links=[],
        run_history=False,
        show_error=False,
        max_file_size=MOST_UPLOADED,
        ssr_mode=False,
        enable_monitoring=False,
        mcp_server=False,
        pwa=False,
        theme=theme(),
    )
    return Guard(inner, token=token, name=f"code-sandboxes-playground-{port}")


def theme() -> gr.themes.Base:
    """The look of the page, with fonts that every machine has."""
    return gr.themes.Base(
        primary_hue=gr.themes.colors.indigo,
        neutral_hue=gr.themes.colors.slate,
        font=["system-ui", "sans-serif"],
        font_mono=["ui-monospace", "Menlo", "Consolas", "monospace"],
    )
