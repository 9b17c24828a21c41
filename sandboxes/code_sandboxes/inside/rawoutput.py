"""What C code and child processes write to a descriptor, put into the interpreter's own stream."""

from __future__ import annotations

import codecs
import os
import select
import threading
from collections.abc import Callable
from contextlib import nullcontext, suppress
from os import read  # by name: code that replaces the module's must not replace ours
from time import sleep

TYPE_CHECKING = False  # not that of typing, which takes 10 ms to import
if TYPE_CHECKING:
    from contextlib import AbstractContextManager

PIECE = 1 << 16
SOON = 0.001  # seconds that output stays in the pipe: of a process that dies, only we lose it
MOST = 1 << 22  # bytes that `settle` takes: a child that never stops must not hold the cell


class RawOutput:
    """Passes on what comes through a pipe, in order with what the code itself prints.

    The supervisor holds the same pipe: what is left in it when this process dies, it reads.

    Args:
        reading: the pipe's end, shared with the supervisor.
        write: takes the text.
        whole: is open while text is on its way.
    """

    def __init__(
        self,
        reading: int,
        write: Callable[[str], object],
        whole: AbstractContextManager[object] = nullcontext(),  # noqa: B008 - it has no state
    ) -> None:
        self._reading, self._write, self._whole = reading, write, whole
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._lock = threading.Lock()
        os.set_blocking(reading, False)
        self._poll = select.poll()
        self._poll.register(reading, select.POLLIN)
        threading.Thread(target=self._pump, daemon=True).start()

    def settle(self) -> None:
        """Pass on all that was written so far.

        The pump reads under the same lock: nothing can be out of the pipe and not yet in the
        stream.
        """
        taken = PIECE
        with self._whole, self._lock:
            while taken < MOST and self._poll.poll(0) and (size := self._take()):
                taken += size

    def _take(self) -> int:
        with suppress(BlockingIOError):
            data = read(self._reading, PIECE)
            if text := self._decoder.decode(data):
                self._write(text)
            return len(data)
        return 0

    def _pump(self) -> None:
        poll, taken = select.poll(), 0  # its own: another thread may ask the other one
        poll.register(self._reading, select.POLLIN)
        while True:
            poll.poll()
            if taken < PIECE:  # else it comes so fast that the writer waits for us
                sleep(SOON)
            with self._lock:
                taken = self._take()
