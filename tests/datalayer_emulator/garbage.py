"""Garbage is collected in a thread of its own while an emulator is in the process.

Otherwise it is collected in whichever thread allocates: in the emulator's as well, and there a
client that a test has forgotten, whose finalizer ends its kernel or its runtime by a request, would
wait for an answer of the very thread that it holds up.
"""

from __future__ import annotations

import gc
import threading

SECONDS = 0.5
OFTEN = 10  # times that young garbage is looked for between two looks for all of it


class Collector:
    """Collects from `start` to `stop`, in place of the interpreter."""

    def __init__(self) -> None:
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="garbage", daemon=True)
        self._was_enabled = False

    def start(self) -> None:
        """Begin."""
        self._was_enabled = gc.isenabled()
        gc.disable()
        self._thread.start()

    def _run(self) -> None:
        number = 0
        while not self._over.wait(SECONDS):
            number += 1
            gc.collect(1 if number % OFTEN else 2)

    def stop(self) -> None:
        """Leave it to the interpreter again."""
        self._over.set()
        self._thread.join()
        if self._was_enabled:
            gc.enable()
