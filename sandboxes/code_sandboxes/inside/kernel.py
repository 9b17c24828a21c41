"""A Jupyter kernel of ours: ipykernel, with the rough edges that lose output taken off.

It runs inside the sandbox, where ipykernel is installed; nothing else here needs it.
"""

from __future__ import annotations

import asyncio
import builtins
import codecs
import json
import os
import signal
import sys
import threading
import warnings
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from . import helper

MARK = "\x1ecode-sandboxes:"
FLUSH = 0.02  # seconds between two flushes of printed output (ipykernel's own 0.2 is not live)
PRELOAD = ["ipykernel.kernelapp", "ipykernel.ipkernel", "ipykernel.zmqshell"]


class RawOutput:
    """What C code and child processes write to a descriptor, put into the kernel's own stream.

    ipykernel's capture delivers it some time after the cell. Here a cell ends with a marker in
    the pipe: once it has come through, so has everything before it.
    """

    def __init__(self, descriptor: int, stream: Any) -> None:
        self._stream = stream
        self._reading, self._writing = os.pipe()
        os.dup2(self._writing, descriptor)
        stream._original_stdstream_copy = descriptor  # fileno() of sys.stdout, for subprocess
        self._passed = threading.Event()
        self._marker = os.urandom(16)
        threading.Thread(target=self._pump, daemon=True).start()

    def settle(self) -> None:
        """Wait until all that was written so far is in the stream."""
        self._passed.clear()
        os.write(self._writing, self._marker)
        self._passed.wait(1.0)

    def _pump(self) -> None:
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        held = b""
        while data := os.read(self._reading, 1 << 16):
            *before, held = (held + data).split(self._marker)
            keep = self._partial(held)
            text = decoder.decode(b"".join(before) + held[: len(held) - keep])
            held = held[len(held) - keep :]
            if text:
                self._stream.write(text)
            if before:
                self._passed.set()

    def _partial(self, held: bytes) -> int:
        """How many bytes at the end may be the start of a marker."""
        for size in range(min(len(held), len(self._marker) - 1), 0, -1):
            if held.endswith(self._marker[:size]):
                return size
        return 0


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


def adjust(app: Any) -> None:
    """Make a fresh kernel ours."""
    shell, kernel = app.shell, app.kernel
    world = KernelWorld(shell)
    helper.world = world
    kernel.raw_input = helper.read_line
    kernel.getpass = lambda prompt="", stream=None: helper.read_line(prompt, True)
    streams = sys.stdout, sys.stderr
    raw = [RawOutput(number, stream) for number, stream in enumerate(streams, 1)]
    for stream in streams:
        setattr(stream, "flush_interval", FLUSH)  # noqa: B010 - the kernel's own class

    def before(_: Any) -> None:
        sys.stdout, sys.stderr = streams  # whatever a former cell has put there
        # ipykernel cancels an awaiting cell from its SIGINT handler, which wakes no loop that
        # sleeps; a handler that the loop knows of makes every signal wake it
        asyncio.get_running_loop().add_signal_handler(signal.SIGWINCH, lambda: None)

    def after(_: Any) -> None:
        for output in raw:
            output.settle()

    shell.events.register("pre_run_cell", before)
    shell.events.register("post_run_cell", after)
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


def main(control: int, connection: dict[str, Any]) -> None:
    """Run a kernel until it is killed; says when it listens."""
    from ipykernel.kernelapp import IPKernelApp

    watch(control)
    file = f"{connection['ip']}.json"
    with open(file, "w", opener=lambda path, flags: os.open(path, flags, 0o600)) as opened:
        json.dump(connection, opened)
    app: Any = IPKernelApp.instance(capture_fd_output=False)
    settings = ["HistoryManager.enabled=False", "InteractiveShell.colors=nocolor"]
    app.initialize(["-f", file, *(f"--{setting}" for setting in settings)])
    adjust(app)
    os.write(control, b'{"ready": true}\n')
    app.start()
