"""An emulator of Datalayer's service, for tests and for trying things out without an account.

It speaks the REST contract that datalayer-core and jupyter-kernel-client use, on this machine, and
each of its runtimes is a stock Jupyter Server. What is not known of the real service, and so chosen
here, is in the README beside this file.
"""

from .emulator import Emulator

__all__ = ["Emulator"]
