"""Code that is run in a runtime's kernels: it pickles their variables, and brings them back.

It is passed as text, works in a namespace of its own, and leaves no name in the user's.
"""

from __future__ import annotations

from pathlib import Path

SAVE = """
import json
try:
    import cloudpickle as pickler
except ImportError:
    import pickle as pickler
from IPython import get_ipython

shell = get_ipython()
saved, skipped = {}, []
for name, value in list(shell.user_ns.items()):
    if name.startswith("_") or shell.user_ns_hidden.get(name) is value:
        continue
    try:
        pickler.dumps(value)
    except Exception:
        skipped.append(name)
    else:
        saved[name] = value
with open(path, "wb") as file:
    pickler.dump(saved, file)

class Said:
    def __repr__(self):
        return json.dumps([sorted(saved), sorted(skipped)])

said = Said()
"""

# The first kernel to run a cell takes what the one had that was started first, and so on. A silent
# request is no cell: a kernel that is only used for such, or for comms, is not the user's.
RESTORE = """
import os
from IPython import get_ipython

shell = get_ipython()

def restore(*_):
    shell.events.unregister("pre_run_cell", restore)
    for name in sorted(name for name in os.listdir(folder) if name.isdigit()):
        mine = os.path.join(folder, name + "-taken")
        try:
            os.rename(os.path.join(folder, name), mine)
        except OSError:
            continue  # another kernel was faster
        import pickle
        with open(mine, "rb") as file:
            shell.user_ns.update(pickle.load(file))
        return

shell.events.register("pre_run_cell", restore)
"""


def save(path: Path) -> str:
    """An expression that saves the variables to a file: its repr is two lists of names."""
    scope = f"{{'path': {str(path)!r}}}"
    return f"(lambda scope: (exec({SAVE!r}, scope), scope['said'])[1])({scope})"


def startup(folder: Path) -> str:
    """What goes into IPython's folder for it."""
    return f"__import__('builtins').exec({RESTORE!r}, {{'folder': {str(folder)!r}}})\n"
