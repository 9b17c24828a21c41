"""``python -m code_sandboxes``: the command line, see `code_sandboxes.cli`."""

import sys

from .cli import main

if __name__ == "__main__":
    sys.exit(main())
