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
import time
import warnings
from collections.abc import Mapping
from contextlib import suppress

from . import helper
from .rawoutput import RawOutput

TYPE_CHECKING = False  # not that of typing, which takes 10 ms to import
if TYPE_CHECKING:
    from typing import Any

MARK = "\x1ecode-sandboxes:"
SOON = 0.0002  # seconds; no child starts, prints and ends in less
FLUSH = 0.02  # seconds between two flushes of printed output (ipykernel's own 0.2 is not live)
PRELOAD = ["ipykernel.kernelapp", "ipykernel.ipkernel", "ipykernel.zmqshell"]


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


def flush_for_good(stream: Any) -> None:
    """Make `flush()` wait until the output is sent.

    ipykernel's own returns when the sending is queued: code that then holds the interpreter's
    lock, or ends it, takes the output along.
    """
    queue_it = stream.flush

    def flush() -> None:
        queue_it()
        sent = threading.Event()
        stream.pub_thread.schedule(sent.set)
        sent.wait(stream.flush_timeout)

    stream.flush = flush


def put_in_order(stream: Any, raw: RawOutput) -> None:
    """Let what a child has written come before what the code prints next."""
    write, looked = stream.write, 0.0

    def write_after(text: str) -> Any:
        nonlocal looked
        if (now := time.monotonic()) - looked > SOON:  # a look gives up the interpreter's lock
            raw.settle()
            looked = now
        return write(text)

    stream.write = write_after


def own_streams(raw_outputs: list[int]) -> list[RawOutput]:
    """Make the kernel's streams live and whole.

    Args:
        raw_outputs: the ends of the pipes that descriptors 1 and 2 write to.
    """
    raw = []
    for number, (end, stream) in enumerate(
        zip(raw_outputs, (sys.stdout, sys.stderr), strict=True), 1
    ):
        raw.append(RawOutput(end, stream.write))
        put_in_order(stream, raw[-1])
        flush_for_good(stream)
        stream.flush_interval = FLUSH  # type: ignore[union-attr]
        stream._original_stdstream_copy = number  # type: ignore[union-attr]  # its fileno()
    return raw


def adjust(app: Any, raw: list[RawOutput]) -> None:
    """Make a fresh kernel ours."""
    shell, kernel = app.shell, app.kernel
    helper.world = KernelWorld(shell)
    kernel.raw_input = helper.read_line
    kernel.getpass = lambda prompt="", stream=None: helper.read_line(prompt, True)
    streams = sys.stdout, sys.stderr

    def before(_: Any) -> None:
        sys.stdout, sys.stderr = streams  # whatever a former cell has put there
        # ipykernel cancels an awaiting cell from its SIGINT handler, which wakes no loop that
        # sleeps; a handler that the loop knows of makes every signal wake it
        asyncio.get_running_loop().add_signal_handler(signal.SIGWINCH, lambda: None)

    def after(_: Any = None) -> None:
        for output in raw:
            output.settle()

    def system(command: str) -> None:
        """`!command`: into our pipes, where IPython's own way would make a terminal."""
        shell.system_raw(command)
        after()

    shell.events.register("pre_run_cell", before)
    shell.events.register("post_run_cell", after)
    shell.system = system
    for name in ("exit", "quit"):
        shell.user_ns[name] = shell.user_ns_hidden[name] = leave
        setattr(builtins, name, leave)
    warnings.filterwarnings("ignore", message="To exit: use", category=UserWarning)


def watch(control: int) -> None:
    """End with the supervisor, which holds the other end."""

    def wait() -> None:
        with suppress(OSError):
            while os.read(control, 1 << 10):
                pass
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def main(control: int, *raw_outputs: int, connection: dict[str, Any]) -> None:
    """Run a kernel until it is killed; says when it listens."""
    from ipykernel.kernelapp import IPKernelApp

    watch(control)
    file = f"{connection['ip']}.json"
    with open(file, "w", opener=lambda path, flags: os.open(path, flags, 0o600)) as opened:
        json.dump(connection, opened)
    app: Any = IPKernelApp.instance(capture_fd_output=False)
    settings = ["HistoryManager.enabled=False", "InteractiveShell.colors=nocolor"]
    app.initialize(["-f", file, *(f"--{setting}" for setting in settings)])
    adjust(app, own_streams(list(raw_outputs)))
    os.write(control, b'{"ready": true}\n')
    app.start()
