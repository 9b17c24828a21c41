"""A kernel that a Jupyter Server has started, made one of ours.

A server drops output past a rate, and cannot be told to wait. So output goes as displays of our
own type, gathered, at a bounded rate, and within a credit that the host renews.
"""

from __future__ import annotations

import os
import site
import sys
import threading
from collections.abc import Mapping

# by name: code that replaces the module's must not replace ours
from json import dumps, loads
from os import getpid
from time import monotonic, sleep
from types import SimpleNamespace

from . import helper
from .kernel import MARK, KernelWorld, adjust, limit
from .place import machine, move_in
from .rawoutput import RawOutput
from .sent import Sent, asking
from .streams import schedule_always, wait_until_sent
from .textio import Writer

TYPE_CHECKING = False  # not that of typing, which takes 10 ms to import
if TYPE_CHECKING:
    from typing import Any

OUTPUT = "application/vnd.code-sandboxes.output"
CREDIT = 1 << 20  # characters that may be under way
PIECE = 1 << 18  # characters of a message
BURST, RATE = 900, 600.0  # messages at once, and a second: below the 3,000 in 3 s of a server
GATHER = 0.02  # seconds between two pieces of output, where messages are short
FLUSH_SECONDS = 10.0

raw_pipes: list[int] = []  # what the children write arrives there; the supervisor reads the rest


class Pace:
    """Messages go out no faster than a server passes them on."""

    def __init__(self) -> None:
        self._left, self._last = float(BURST), monotonic()
        self._lock = threading.Lock()

    @property
    def short(self) -> bool:
        """Whether messages should be gathered, as half of what may go out at once has."""
        return self._left + (monotonic() - self._last) * RATE < BURST / 2

    def wait(self) -> None:
        with self._lock:
            now = monotonic()
            self._left = min(BURST, self._left + (now - self._last) * RATE) - 1
            self._last = now
            missing = -self._left
        if missing > 0:
            sleep(missing / RATE)


class ForeignWorld(KernelWorld):
    """helper.World; every request has a number, since an answer can come too late."""

    def __init__(self, shell: Any) -> None:
        super().__init__(shell)
        self._numbering = 0
        self.pace, self._sent = Pace(), Sent(shell.kernel)
        self._paying = threading.Lock()
        self.streams: tuple[Stream, ...] = ()

    # output -----------------------------------------------------------------------------
    def tell(self, out: str, stream: str) -> None:
        """Output, in pieces; waits for credit."""
        text = out.encode("utf-8", "backslashreplace").decode()
        for at in range(0, len(text), PIECE):
            piece = text[at : at + PIECE]
            self.pay(len(piece))
            self.pace.wait()
            content = {"data": {OUTPUT: piece}, "metadata": {"name": stream}}
            kernel = self._kernel
            kernel.session.send(
                kernel.iopub_socket,
                "display_data",
                content | {"transient": {}},
                kernel.get_parent("shell"),
                ident=b"display_data",
            )

    def pay(self, size: int) -> None:
        """Wait until the host has room for so many characters more."""
        with self._paying:
            if self._sent.unpaid + size > CREDIT and getpid() == self._pid:
                with self._one:
                    self._exchange("credit", {})

    def settled(self) -> None:
        """Until what was told is on its way."""
        wait_until_sent(self._kernel.iopub_thread, FLUSH_SECONDS)

    def drain(self, *_: Any) -> None:
        """Send what was printed so far."""
        for stream in self.streams:
            stream.drain()

    def after_output(self, publish: Any) -> Any:
        """The same, after what was printed before it, and no faster than a server allows."""

        def later(*args: Any, **kwargs: Any) -> Any:
            self.drain()
            self.pay(0)
            self.pace.wait()
            return publish(*args, **kwargs)

        return later

    # requests ---------------------------------------------------------------------------
    def ask(self, kind: str, payload: Mapping[str, Any]) -> dict[str, Any]:
        if getpid() != self._pid:
            raise RuntimeError("only the interpreter itself can ask the host, not a forked child")
        self.drain()
        with self._one:  # the kernel has one stdin
            said = self._exchange(kind, payload)
            if "pieces" in said:  # a server takes no message over 10 MiB
                pieces = [self._exchange("more", {})["piece"] for _ in range(said["pieces"])]
                said = loads("".join(pieces))
        return said

    def _exchange(self, kind: str, payload: Mapping[str, Any]) -> dict[str, Any]:
        self._numbering += 1
        sent = self._sent
        after = sent.count
        asked = {"n": self._numbering, "after": after, "kind": kind, "payload": payload}
        asking.now = True
        try:
            sent.asked = [asked, self._kernel.get_parent("shell")["header"]["msg_id"]]
            while True:
                said: dict[str, Any] = loads(self._input(MARK + dumps(asked)))
                if said.get("n") == asked["n"]:  # else the answer to what was interrupted
                    sent.forget(after)
                    return said
        finally:
            sent.asked = None
            asking.now = False

    def _input(self, prompt: str) -> str:
        """Ask the host's present connection, where the kernel would ask that of the request."""
        kernel, host = self._kernel, self._sent.host
        said: str = (
            kernel._input_request(prompt, host, kernel.get_parent("shell"), password=False)
            if host
            else self._raw_input(prompt)
        )
        return said


class Stream(Writer):
    """Standard output or error; `flush` waits until the output is on its way."""

    world: ForeignWorld

    def flush(self) -> None:
        """Send what waits; in a burst of flushes, soon."""
        recent = monotonic() - self._last < GATHER
        if recent and self._size < PIECE and self.world.pace.short and self._flusher:
            self._later()
        else:
            self.drain()

    def drain(self) -> None:
        """Send what waits, now."""
        if getattr(asking, "now", False) or getpid() != self._pid:
            return
        waiting = self._size
        super().flush()
        if waiting:
            self.world.settled()

    def set_parent(self, parent: Any) -> None:
        """ipykernel says whose output follows; we ask it when we send."""


def own_streams(world: ForeignWorld) -> list[RawOutput]:
    """Replace the kernel's streams, and what its descriptors 1 and 2 lead to."""
    streams, raw = [], []
    for number, name in ((1, "stdout"), (2, "stderr")):
        stream = Stream(world.tell, name, number)
        stream.world = world
        reading, writing = os.pipe()
        os.dup2(writing, number)
        os.close(writing)
        raw.append(RawOutput(reading, stream.write_now))
        raw_pipes.append(reading)
        streams.append(stream)

    def settle() -> None:
        for output in raw:
            output.settle()

    for stream in streams:
        stream.before_text = settle  # type: ignore[method-assign]
    world.streams = tuple(streams)
    sys.stdout, sys.stderr = streams
    if sys.__stdout__ is not None:  # to a pipe it would wait for more
        sys.__stdout__.reconfigure(line_buffering=True)
    return raw


def main(
    base: str, machine_name: str, cwd: str, env: dict[str, str], python: str, own: str
) -> None:
    """Called by the code that the owner has this kernel execute.

    Args:
        own: where the sandbox's own packages lie; ``""`` where the kernel's Python is its own.
    """
    if machine_name != machine() or not os.path.isdir(base):
        raise RuntimeError("the server starts its kernels on several machines")
    shell = sys.modules["IPython"].get_ipython()
    move_in(env, cwd)
    sys.executable = python  # `%pip` and children install into, and run, the sandbox's own
    if own:
        before = len(sys.path)
        site.addsitedir(own)
        added = [path for path in sys.path[before:] if path == own]
        sys.path[:] = [*sys.path[:1], *added, *(p for p in sys.path[1:] if p not in added)]
    elif site.ENABLE_USER_SITE and (users := site.getusersitepackages()) not in sys.path:
        sys.path.append(users)  # where pip may install, and has not yet
    schedule_always(shell.kernel.iopub_thread)
    world = ForeignWorld(shell)
    raw = own_streams(world)
    adjust(SimpleNamespace(shell=shell, kernel=shell.kernel), raw)
    limit(shell.kernel.session)
    helper.world = world
    shell.events.register("post_run_cell", world.drain)  # after what `adjust` has registered
    for owner, name in (
        (shell.display_pub, "publish"),
        (shell.display_pub, "clear_output"),
        (shell.displayhook, "finish_displayhook"),
        (shell, "_showtraceback"),
    ):
        setattr(owner, name, world.after_output(getattr(owner, name)))
    shell.history_manager.enabled = False
    shell.colors = "nocolor"
