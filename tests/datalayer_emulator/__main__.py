"""`python -m tests.datalayer_emulator`: run it until Ctrl-C."""

from __future__ import annotations

import shlex
import signal
from contextlib import suppress

from . import Emulator


def main() -> None:
    """Print what a shell has to export, and serve."""
    with Emulator() as emulator:
        for name, value in emulator.variables.items():
            print(f"export {name}={shlex.quote(value)}", flush=True)
        for number in (signal.SIGINT, signal.SIGTERM):  # a shell's `&` has the first one ignored
            signal.signal(number, signal.default_int_handler)
        with suppress(KeyboardInterrupt):
            signal.pause()


if __name__ == "__main__":
    main()
