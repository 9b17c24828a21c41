"""``code-sandboxes run``: code in a fresh sandbox, its output as it comes."""

from __future__ import annotations

import argparse
import io
import os
import sys
import tokenize
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

from ..contexts import Turn
from ..errors import ConfigurationError, SandboxError
from ..events import Ask, Display, Event, ExecutionError, Output
from ..fold import Fold
from ..models import ExecutionResult, Result
from ..run import Run, drive
from ..sandbox import CreateOptions, Sandbox
from ..snapshots import refuse_name
from .interrupts import Answers, CtrlC
from .output import Stream, complain, complaining, print_json

TIMED_OUT, INTERRUPTED = 124, 130
START_SECONDS = 60.0


def run(options: argparse.Namespace) -> int:
    """Run the code; the exit status is the code's own."""
    name, code = source(options)
    if options.keep is not None:
        refuse_name(options.keep)  # before the code has run for hours
    live = Live(quiet=options.json)
    with complaining():
        sandbox = Sandbox.create(options.variant, **create_options(options))
    with sandbox:
        if options.package and not install(sandbox, options.package, live.err):
            return 1
        set_arguments(sandbox, [name, *options.arguments])
        with CtrlC(sandbox) as ctrl_c:
            answers = None if name == "-" else Answers(ctrl_c, live.prompts)
            result = execute(sandbox, code, live, answers, ctrl_c)
            if options.keep is not None and not ctrl_c.killed:
                keep(sandbox, options.keep)
    status = INTERRUPTED if ctrl_c.pressed else exit_status(result.error)
    if options.json:
        print_json(as_json(result) | {"exit_status": status, "variant": sandbox.variant})
    else:
        live.end(result.error, killed=ctrl_c.killed)
    return status


def source(options: argparse.Namespace) -> tuple[str, str]:
    """What `sys.argv[0]` is, and the code.

    Raises:
        ConfigurationError: it cannot be read.
    """
    if options.code is not None:
        return "-c", options.code
    file = options.file
    try:
        if file == "-":
            data = sys.stdin.buffer.read() if sys.stdin is not None else b""
        else:
            data = Path(file).read_bytes()
        encoding, _ = tokenize.detect_encoding(io.BytesIO(data).readline)
        return file, io.TextIOWrapper(io.BytesIO(data), encoding).read()
    except OSError as error:
        raise ConfigurationError(f"cannot read {file!r}: {error.strerror}") from error
    except (SyntaxError, ValueError) as error:  # an unknown encoding, or not of that encoding
        raise ConfigurationError(f"{file!r} is no Python source: {error}") from error


def create_options(options: argparse.Namespace) -> CreateOptions:
    """Those that were given."""
    chosen = {
        "env": dict(options.env) if options.env else None,
        "environment": options.environment,
        "memory": options.memory,
        "cpu": options.cpu,
        "disk": options.disk,
        "network_policy": options.network_policy,
        "allowed_hosts": options.allowed_host,
        "confined": options.confined,
        "snapshot_name": options.snapshot,
        "server_url": options.server_url,
        # not an option: everybody on this machine can see the arguments of a process
        "token": os.environ.get("JUPYTER_TOKEN") if options.server_url else None,
    }
    chosen = {name: value for name, value in chosen.items() if value is not None}
    if "timeout" in options:
        chosen["timeout"] = options.timeout
    return cast(CreateOptions, chosen)


def install(sandbox: Sandbox, packages: list[str], err: Stream) -> bool:
    """Install packages; what the installer says is shown only where it fails."""
    result = sandbox.install_packages(packages)
    if not result.success:
        err.line((result.stdout + result.stderr).rstrip("\n"))
        err.end()
        complain(f"could not install {', '.join(packages)}")
    return result.success


def keep(sandbox: Sandbox, name: str) -> None:
    """Keep a snapshot, and say what is not in it."""
    for line in sandbox.create_snapshot(name).skipped:
        complain(f"not kept: {line}")


def set_arguments(sandbox: Sandbox, argv: list[str]) -> None:
    """Set `sys.argv` inside, silently: the user's code is still the first cell."""
    code = f"__import__('sys').argv[:] = {argv!r}"
    turn = Turn(sandbox._core.interpreter(None), code, silent=True)
    for event in drive(Run(turn, START_SECONDS, {})):
        if isinstance(event, ExecutionError):
            raise SandboxError(f"the interpreter did not start: {event}")


def execute(
    sandbox: Sandbox, code: str, live: Live, answers: Answers | None, ctrl_c: CtrlC
) -> ExecutionResult:
    """Run the code to its end."""
    fold = Fold(sandbox.config.max_output)
    try:
        for event in sandbox.stream_code(code, stdin=answers):
            if isinstance(event, Ask) and answers is not None:
                answers.password = event.payload.get("password") is True
            fold.add(event)
            live.show(event)
    except SandboxError:
        if not ctrl_c.pressed:  # else it is we who ended the sandbox
            raise
    return fold.execution()


class Live:
    """Passes on what the code says, as it says it; `clear_output()` cannot take it back.

    Args:
        quiet: pass on nothing; prompts go to stderr.
    """

    def __init__(self, *, quiet: bool) -> None:
        self.out, self.err, self._quiet = Stream(sys.stdout), Stream(sys.stderr), quiet
        self.prompts = self.err if quiet else self.out

    def show(self, event: Event) -> None:
        """Pass on an event."""
        if self._quiet:
            return
        if isinstance(event, Output):
            (self.err if event.stream == "stderr" else self.out).write(event.text)
        elif isinstance(event, Display):
            self.out.line(described(Result(event.data)))

    def end(self, error: ExecutionError | None, *, killed: bool = False) -> None:
        """What failed, after all output.

        Args:
            error: of the code, or of the sandbox.
            killed: whether it was we who ended the sandbox.
        """
        self.out.end()
        self.err.end()
        if error is None or (error.name == "SystemExit" and error.value.lstrip("-").isdigit()):
            return
        if self.out.tty and not self.out.fresh:
            self.out.write("\n")  # both streams are on the same screen
        if error.name == "SystemExit":
            self.err.line(error.value)  # sys.exit("why")
        elif error.traceback:
            self.err.line(error.traceback)
        elif killed:
            self.err.line("code-sandboxes: the code did not stop, so the sandbox was ended")
        else:  # it is ours
            self.err.line(f"code-sandboxes: {error.name}: {error.value}")
        self.err.end()


def described(result: Result) -> str:
    """A rich result in words: its text, and that there is an image."""
    images = [mime for mime in result.data if mime.startswith("image/")]
    words = [result.text] if result.text else []
    words += [f"[{mime}, {size_of(result, mime):,} bytes]" for mime in images]
    return " ".join(words or [f"[{mime}]" for mime in result.data])


def size_of(result: Result, mime: str) -> int:
    """The bytes of an image."""
    text = str(result.data[mime])
    return len(text.encode()) if mime.endswith("xml") else len(text.rstrip("=\n")) * 3 // 4


def exit_status(error: ExecutionError | None) -> int:
    """The status that Python itself would have, or that of `timeout`."""
    if error is None:
        return 0
    if error.name == "SystemExit":
        try:
            return int(error.value) & 0xFF
        except ValueError:
            return 1
    return {"ExecutionTimeout": TIMED_OUT, "KeyboardInterrupt": INTERRUPTED}.get(error.name, 1)


def as_json(result: ExecutionResult) -> dict[str, Any]:
    """A result as JSON."""
    return {
        "success": result.success,
        "stdout": result.stdout,
        "stderr": result.stderr,
        "text": result.text,
        "results": [{"data": dict(r.data), "is_main": r.is_main} for r in result.results],
        "error": asdict(result.error) if result.error is not None else None,
        "execution_count": result.execution_count,
        "dropped": result.dropped,
        "duration": result.duration,
    }
