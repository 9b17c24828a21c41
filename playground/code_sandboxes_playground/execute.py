"""One run of code or of a command, told to a console while it lasts."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from queue import SimpleQueue

from code_sandboxes import (
    Ask,
    Clear,
    Display,
    Event,
    ExecutionError,
    Output,
    Process,
    Sandbox,
    SandboxError,
    printable,
)

from .console import Console, Outcome
from .feed import Feed, note
from .render import failure, show


def execute(sandbox: Sandbox, code: str, console: Console) -> Outcome:
    """Run `code` and show what comes of it.

    Args:
        sandbox: where.
        code: Python.
        console: shows it, and answers what the code asks.

    Raises:
        SandboxError: the sandbox is broken, or was ended.

    Example:
        >>> with Sandbox.create("local-eval") as sandbox:
        ...     execute(sandbox, "1 + 1", Console()).kind
        'ok'
    """
    outcome, password = Outcome("ok", "done"), False

    def ask(prompt: str) -> str:
        answer = console.ask(printable(prompt), password=password)
        console.feed.text("stdout", f"{prompt}{'·' * 6 if password else answer}\n")
        return answer

    for event in sandbox.stream_code(code, stdin=ask):
        if isinstance(event, Ask):
            password = event.kind == "input" and bool(event.payload.get("password"))
        elif isinstance(event, ExecutionError):
            outcome = _failed(event, console.feed)
        else:
            _show(event, console.feed)
    return outcome


def follow(process: Process, feed: Feed) -> Outcome:
    """Show what a command writes until it ends.

    Args:
        process: nothing else may read its streams; it gets no input.
        feed: shows it.

    Raises:
        SandboxError: the sandbox is broken, or was ended.
    """
    process.stdin.close()
    for stream, line in output_of(process):
        feed.text(stream, line)
    result = process.wait()
    if result.error is not None:
        feed.add(failure(result.error))
    return Outcome("failed" if result.exit_code else "ok", f"exit code {result.exit_code}")


def _failed(error: ExecutionError, feed: Feed) -> Outcome:
    if error.name == "KeyboardInterrupt" and not error.state_lost:
        feed.add(note("Stopped; the variables are kept."))
        return Outcome("stopped", "stopped")
    feed.add(failure(error))
    return Outcome("failed", printable(error.name)[:60])


def _show(event: Event, feed: Feed) -> None:
    if isinstance(event, Output):
        feed.text(event.stream, event.text)
    elif isinstance(event, Clear):
        feed.clear(wait=event.wait)
    elif isinstance(event, Display):
        item = show(event.data)
        feed.add({**item, "key": event.id} if event.id else item)


def output_of(process: Process) -> Iterator[tuple[str, str]]:
    """The lines of both streams, as they come.

    Args:
        process: nothing else may read its streams.

    Returns:
        pairs of the stream's name and a line with its end.

    Example:
        >>> from code_sandboxes import Sandbox
        >>> with Sandbox.create("local-eval") as sandbox:
        ...     list(output_of(sandbox.commands.exec("sh", "-c", "echo one; echo two >&2")))
        [('stdout', 'one\\n'), ('stderr', 'two\\n')]
    """
    pieces: SimpleQueue[tuple[str, str] | None] = SimpleQueue()

    def read(name: str, lines: Iterator[str]) -> None:
        try:
            for line in lines:
                pieces.put((name, line))
        except SandboxError:
            pass  # `wait` says it
        finally:
            pieces.put(None)

    streams = {"stdout": process.stdout, "stderr": process.stderr}
    for name, lines in streams.items():
        threading.Thread(target=read, args=(name, lines), daemon=True).start()
    unfinished = len(streams)
    while unfinished:
        if (piece := pieces.get()) is None:
            unfinished -= 1
        else:
            yield piece
