"""A Jupyter kernel of ours: ipykernel, with the rough edges that lose output taken off.

It runs inside the sandbox, where ipykernel is installed; nothing else here needs it.
"""

from __future__ import annotations

import asyncio
import builtins
import json
import os
import signal
import sys
import threading
import warnings
from collections.abc import Mapping
from contextlib import nullcontext, suppress

from . import helper
from .interrupts import Interrupts
from .preloaded import no_debugger
from .rawoutput import RawOutput
from .report import exit_status, report, shorten_traceback
from .streams import own_streams, short_queue

TYPE_CHECKING = False  # not that of typing, which takes 10 ms to import
if TYPE_CHECKING:
    from typing import Any

MARK = "\x1ecode-sandboxes:"
MOST_MESSAGE = 60 << 20  # bytes: the host takes little more


class KernelWorld:
    """helper.World, for a kernel."""

    def __init__(self, shell: Any) -> None:
        self._shell, self._kernel = shell, shell.kernel
        self.names: dict[str, Any] = shell.user_ns
        self.hidden = set(shell.user_ns_hidden) | {"exit", "quit", "open"}
        self._one = threading.Lock()
        self._raw_input, self._pid = self._kernel.raw_input, os.getpid()

    def answer(self, bundle: dict[str, Any]) -> None:
        self._shell.display_pub.publish(bundle)

    def ask(self, kind: str, payload: Mapping[str, Any]) -> dict[str, Any]:
        if os.getpid() != self._pid:
            raise RuntimeError("only the interpreter itself can ask the host, not a forked child")
        with self._one:  # the kernel has one stdin: answers to two threads would be crossed
            said = self._raw_input(MARK + json.dumps({"kind": kind, "payload": payload}))
        answer: dict[str, Any] = json.loads(said)
        return answer


def leave(code: object = None) -> None:
    """What `exit()` does here: the cell ends, the interpreter lives on."""
    raise SystemExit(code)


def adjust(app: Any, raw: list[RawOutput]) -> None:
    """Make a fresh kernel ours."""
    shell, kernel = app.shell, app.kernel
    helper.world = KernelWorld(shell)
    kernel.raw_input = helper.read_line
    kernel.getpass = lambda prompt="", stream=None: helper.read_line(prompt, True)
    streams = sys.stdout, sys.stderr

    def before(_: Any) -> None:
        if "_oh" not in shell.user_ns:  # `globals().clear()`: IPython needs some names of its own
            shell.init_user_ns()
            own_exit(shell)
        shell.user_ns["__builtins__"] = builtins
        # ipykernel cancels an awaiting cell from its SIGINT handler, which wakes no loop that
        # sleeps; a handler that the loop knows of makes every signal wake it
        asyncio.get_running_loop().add_signal_handler(signal.SIGWINCH, lambda: None)

    def settle() -> None:
        for output in raw:
            output.settle()

    def after(_: Any) -> None:
        sys.stdout, sys.stderr = streams  # whatever the cell has put there
        settle()

    def system(command: str) -> None:
        """`!command`: into our pipes, where IPython's own way would make a terminal."""
        shell.system_raw(command)
        settle()

    shell.events.register("pre_run_cell", before)
    shell.events.register("post_run_cell", after)
    shell.system = system
    own_exit(shell)
    end_children(shell)
    answer_always(kernel, shell)
    short_tracebacks(shell)
    keep_no_output(shell)
    warnings.filterwarnings("ignore", message="To exit: use", category=UserWarning)


def keep_no_output(shell: Any) -> None:
    """IPython (9) keeps all that is ever printed or shown, for `%notebook`: memory would fill."""
    outputs = getattr(shell.history_manager, "outputs", {})
    shell.events.register("post_run_cell", lambda _: outputs.clear())
    shell._tee = lambda channel: nullcontext()  # of what is printed it keeps a copy at once


def own_exit(shell: Any) -> None:
    """`exit()` and `quit()` end the cell, where IPython's own would end the kernel."""
    for name in ("exit", "quit"):
        shell.user_ns[name] = shell.user_ns_hidden[name] = leave
        setattr(builtins, name, leave)


def end_children(shell: Any) -> None:
    """Have a forked child end with the cell: it must not go on as a second kernel."""
    show, pid = shell._showtraceback, os.getpid()

    def show_traceback(kind: Any, error: Any, lines: list[str]) -> None:
        if os.getpid() == pid:
            show(kind, error, lines)
        elif not issubclass(kind, SystemExit):
            os.write(2, "\n".join([*lines, ""]).encode("utf-8", "backslashreplace"))

    def after(result: Any) -> None:
        if os.getpid() != pid:
            sys.stdout.flush()
            sys.stderr.flush()
            error = result and (result.error_in_exec or result.error_before_exec)
            os._exit(exit_status(error) & 0xFF if error else 0)

    shell._showtraceback = show_traceback
    shell.events.register("post_run_cell", after)


def answer_always(kernel: Any, shell: Any) -> None:
    """Have every request answered, whatever the code has broken.

    A silent request goes past IPython, and past all names of the user's. Where IPython itself
    fails, since the code has replaced something that it needs, that is the cell's error.
    """
    execute, streams = kernel.do_execute, (sys.stdout, sys.stderr)
    interrupts = Interrupts(kernel)
    shell.run_code = interrupts.begin_before(shell.run_code)

    async def do_execute(code: str, silent: bool, *args: Any, **options: Any) -> dict[str, Any]:
        reply: dict[str, Any] = {"status": "ok", "user_expressions": {}, "payload": []}
        try:
            if not (silent and code.startswith(helper.CALL)):
                whole: dict[str, Any] = await execute(code, silent, *args, **options)
                return whole
            interrupts.begin()
            kernel._forward_input(True)
            helper.run(code)
        except BaseException as error:  # noqa: BLE001 - it becomes the reply
            interrupts.running = False
            name, value, trace = report(error)
            reply |= {"status": "error", "ename": name, "evalue": value, "traceback": [trace]}
        finally:
            interrupts.running = False
            sys.stdout, sys.stderr = streams
            if silent:
                kernel._restore_input()
        return {**reply, "execution_count": shell.execution_count - 1}

    kernel.do_execute = do_execute


def short_tracebacks(shell: Any) -> None:
    """Leave the middle out of long ones: IPython takes seconds for those of a deep recursion."""
    get = shell._get_exc_info

    def get_short(*args: Any) -> Any:
        kind, error, trace = get(*args)
        shorten_traceback(error)
        return kind, error, getattr(error, "__traceback__", trace)

    shell._get_exc_info = get_short


def limit(session: Any) -> None:
    """Refuse a message that the host would not take: it would be lost, and more with it."""
    serialize = session.serialize

    def bounded(*args: Any, **options: Any) -> Any:
        frames = serialize(*args, **options)
        if max(map(len, frames)) > MOST_MESSAGE or any(map(helper.too_many_parts, frames)):
            most = f"{MOST_MESSAGE} bytes and {helper.MOST_PARTS} values"
            raise ValueError(f"a result is at most {most} of JSON")
        return frames

    session.serialize = bounded


def watch(control: int) -> None:
    """End with the supervisor, which holds the other end."""

    def wait() -> None:
        with suppress(OSError):
            while os.read(control, 1 << 10):
                pass
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def serve(app: Any) -> None:
    """Run the kernel's loop, past what a signal handler of the user's own raises between cells."""
    run = app.start
    while True:
        try:
            run()
            return
        except Exception as error:  # noqa: BLE001 - the user's own signal handler
            os.write(2, report(error)[2].encode("utf-8", "backslashreplace"))
            run = app.io_loop.start


def main(control: int, *raw_outputs: int, connection: dict[str, Any]) -> None:
    """Run a kernel until it is killed; says when it listens."""
    from ipykernel.kernelapp import IPKernelApp

    watch(control)
    file = f"{connection['ip']}.json"
    with open(file, "w", opener=lambda path, flags: os.open(path, flags, 0o600)) as opened:
        json.dump(connection, opened)
    app: Any = IPKernelApp.instance(capture_fd_output=False)
    app.log_connection_info = lambda: None  # it would be the first cell's output
    short_queue(app)
    settings = ["HistoryManager.enabled=False", "InteractiveShell.colors=nocolor"]
    with no_debugger():
        app.initialize(["-f", file, *(f"--{setting}" for setting in settings)])
    adjust(app, own_streams(list(raw_outputs)))
    limit(app.session)
    os.write(control, b'{"ready": true}\n')
    serve(app)
