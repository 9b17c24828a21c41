"""``python -m code_sandboxes_playground``, also reachable as ``code-sandboxes playground``."""

from __future__ import annotations

import argparse
import os
import signal
import socket
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from .sessions import Sessions
from .variants import warning_for

_CACHE = "GRADIO_TEMP_DIR"
_NEEDED = ("anyio", "fastapi", "gradio", "starlette", "uvicorn")


def main(argv: Sequence[str] | None = None) -> int:
    """Serve the playground until Ctrl+C.

    Args:
        argv: the arguments without the program's name; None for those of this process.

    Returns:
        the exit status: 0 when it was stopped, 1 when it could not start, 2 for wrong arguments.

    Example:
        ``main(["--port", "8000", "--variant", "local-jupyter"])``
    """
    try:
        options = _parser().parse_args(argv)
    except SystemExit as error:  # what argparse does after --help and after a mistake
        return error.code if isinstance(error.code, int) else 2
    with _terminate_as_interrupt(), _cache():
        try:
            return _serve(options)
        except KeyboardInterrupt:
            return 0


def _serve(options: argparse.Namespace) -> int:
    host, family = options.host, socket.AF_INET6 if ":" in options.host else socket.AF_INET
    try:
        sessions = Sessions(options.variant)
        with socket.create_server((host, options.port), family=family) as listening:
            from .serve import serve  # seconds that a wrong argument need not wait for

            if warning := warning_for(host, sessions.places):
                print(f"WARNING: {warning}", file=sys.stderr)
            serve(host, listening, sessions)
    except (LookupError, OSError) as error:
        return _failed(str(error))
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in _NEEDED:
            raise
        return _failed("the playground needs Gradio: pip install 'code-sandboxes[playground]'")
    return 0


@contextmanager
def _terminate_as_interrupt() -> Iterator[None]:
    """SIGTERM as KeyboardInterrupt: by itself it would end the process without cleaning up."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def _cache() -> Iterator[None]:
    """Where Gradio keeps uploads and downloads, until the end; it is read at its import."""
    before = os.environ.get(_CACHE)
    with tempfile.TemporaryDirectory(prefix="code-sandboxes-playground-") as directory:
        os.environ[_CACHE] = directory
        try:
            yield
        finally:
            os.environ.pop(_CACHE)
            if before is not None:
                os.environ[_CACHE] = before


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="code-sandboxes playground", description="Try sandboxes in the browser."
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to bind to (%(default)s)")
    parser.add_argument("--port", type=int, default=7860, help="0 for any (%(default)s)")
    parser.add_argument("--variant", help="where code runs at first; the page offers the others")
    return parser


def _failed(message: str) -> int:
    print(f"code-sandboxes playground: {message}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
