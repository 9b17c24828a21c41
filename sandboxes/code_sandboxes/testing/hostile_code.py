"""What hostile and odd code does: the tables of `hostile_cases`."""

from __future__ import annotations

BAD = "def bad(*a, **k): raise SystemError('replaced')\n"
# What code can do to the interpreter that runs it. The cell itself may fail.
DAMAGE: dict[str, str] = {
    # streams and descriptors
    "closed-streams": "import sys; sys.stdout.close(); sys.stderr.close()",
    "no-streams": "import sys; sys.stdout = sys.stderr = None",
    "deleted-streams": "import sys; del sys.stdout, sys.stderr",
    "junk-streams": "import sys; sys.stdout = 3; sys.stderr = object()",
    "captured-streams": "import io, sys; sys.stdout = sys.stderr = io.StringIO(); print('lost')",
    "closed-1-and-2": "import os; os.close(1); os.close(2)",
    "reused-1-and-2": "import os; os.close(1); os.close(2); a = open('a', 'w'); b = open('b', 'w')",
    "1-and-2-to-nowhere": (
        "import os; n = os.open('/dev/null', os.O_RDWR); os.dup2(n, 1); os.dup2(n, 2)"
    ),
    "closed-descriptors": "import os; os.closerange(3, 100)",
    "no-descriptors-left": (
        "import os; kept_open = []\ntry:\n    while True: kept_open.append(os.dup(1))\n"
        "except OSError: pass"
    ),
    # names and modules
    "own-names": BAD + "len = open = isinstance = str = dict = __import__ = json = print = bad\n"
    "del print",
    "builtins": BAD + "import builtins\n"
    "for n in ('len', 'isinstance', 'repr', 'sorted', 'getattr'): setattr(builtins, n, bad)",
    "import": BAD + "import builtins; builtins.__import__ = bad",
    "no-builtins": "import builtins\nvars(builtins).clear()",
    "builtins-of-main": "__builtins__ = None; __name__ = 3",
    "no-globals": "globals().clear(); kept = 'kept'",
    "no-modules": "import sys; sys.modules.clear()",
    "no-main": "import sys; del sys.modules['__main__']",
    "no-import-system": "import sys; sys.path = sys.meta_path = None",
    "json": BAD + "import json; json.dumps = json.loads = bad",
    "empty-modules": "import sys, types\n"
    "for n in ('json', 'socket', 'os'): sys.modules[n] = types.ModuleType(n)",
    "os": BAD + "import os; os.read = os.write = os.getpid = bad",
    "time": BAD + "import time; time.monotonic = bad",
    "threading": BAD + "import threading; threading.Thread = threading.Event = bad",
    "traceback": BAD + "import traceback; traceback.TracebackException = bad\n1/0",
    "no-helper": "import sys; del sys.modules['_code_sandboxes.helper']",
    "other-helper": "import sys; sys.modules['_code_sandboxes.helper'] = 3",
    # the interpreter's own settings
    "trace": "import sys\ndef trace(*a): return trace\nsys.settrace(trace)",
    "raising-trace": BAD + "import sys; sys.settrace(bad)\n(lambda: 1)()",
    "hooks": "import sys; sys.excepthook = 3; sys.unraisablehook = 4; sys.displayhook = print",
    "recursion-limit": "import sys; sys.setrecursionlimit(90)",
    "atexit": "import atexit, time; atexit.register(time.sleep, 100); None",
    "no-collector": "import gc; gc.disable()",
    "reloaded-sys": "import importlib, sys; importlib.reload(sys); None",
    "no-loop": "import asyncio; asyncio.set_event_loop(None)",
    "stopped-loop": "import asyncio; asyncio.get_running_loop().stop()\nawait asyncio.sleep(0)",
    "exit-in-a-task": "import asyncio\nasync def leave(): raise SystemExit(3)\nawait leave()",
    # where it is
    "elsewhere": "import os; os.chdir('/')",
    "nowhere": "import os; os.mkdir('gone'); os.chdir('gone'); os.rmdir('../gone')",
    # signals
    "deaf-to-interrupts": "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN); None",
    "interrupts-itself": "import os, signal, time; os.kill(os.getpid(), signal.SIGINT); "
    "time.sleep(1)",
    # processes
    "forked-child-goes-on": "import os\npid = os.fork()\n"
    "if pid: kept_status = os.waitpid(pid, 0)[1]",
    "forked-child-raises": "import os\npid = os.fork()\nif not pid: raise ValueError('child')\n"
    "os.waitpid(pid, 0); None",
    "forks": "import os\nfor _ in range(4): os.fork()",
}
ENDS: dict[str, str] = {
    "exit": "import os; os._exit(3)",
    "kill": "import os, signal; os.kill(os.getpid(), signal.SIGKILL)",
    "kill-the-group": "import os, signal; os.killpg(0, signal.SIGKILL)",
    "terminate": "import os, signal; os.kill(os.getpid(), signal.SIGTERM); import time; "
    "time.sleep(5)",
    "alarm": "import signal, time; signal.setitimer(signal.ITIMER_REAL, 0.1); time.sleep(5)",
    "another-program": "import os; os.execv('/bin/echo', ['echo', 'replaced'])",
    "abort": "import os; os.abort()",
}
STAYS: dict[str, str] = {
    "ignores-interrupts": "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)\n"
    "while True: pass",
    "swallows-interrupts": "import signal; signal.signal(signal.SIGINT, lambda *a: None)\n"
    "while True: pass",
    "stops-itself": "import os, signal; os.killpg(0, signal.SIGSTOP); import time; time.sleep(60)",
    "becomes-sleep": "import os; os.execv('/bin/sleep', ['sleep', '60'])",
    "str-without-end": "class E(Exception):\n    def __str__(self):\n        while True: pass\n"
    "raise E",
    "forked-parent-waits": "import os\npid = os.fork()\nimport time\ntime.sleep(60)",
}
# What is raised: the code, and the name of its error where all variants agree on it
ERRORS: dict[str, tuple[str, str]] = {
    "recursion": ("def f(): f()\nf()", "RecursionError"),
    "recursion-in-c": (
        "x = []\nfor _ in range(200_000): x = [x]\ntext = repr(x)",
        "RecursionError",
    ),
    "chain": (
        "e = None\nfor i in range(300):\n    n = ValueError(i); n.__context__ = e; e = n\nraise e",
        "ValueError",
    ),
    "circle": ("a = ValueError(); b = ValueError(); a.__cause__ = b; b.__cause__ = a\nraise a", ""),
    "deep-group": (
        "e = ValueError()\nfor _ in range(2000): e = ExceptionGroup('g', [e])\nraise e",
        "",
    ),
    "parentheses": ("(" * 5000 + ")" * 5000, "SyntaxError"),
    "minuses": ("-" * 20_000 + "1", ""),
    "nul": ("x = 'a\0b'", ""),
    "surrogate": ("x = '\ud800'", "UnicodeEncodeError"),
    "byte-order-mark": ("\ufeffx = (", ""),
    "memory": ("x = bytearray(1 << 60)", "MemoryError"),
    "base": ("raise BaseException('b')", "BaseException"),
    "generator-exit": ("raise GeneratorExit", "GeneratorExit"),
    "exit-message": ("raise SystemExit('message')", "SystemExit"),
    "exit-object": (
        "class A:\n    def __eq__(self, other): raise ValueError\n"
        "    def __str__(self): return 'a'\nraise SystemExit(A())",
        "SystemExit",
    ),
    "lies": ("raise type('ExecutionTimeout', (Exception,), {})('x')", "ExecutionTimeout"),
    "name-with-controls": ("raise type('\\x1b[31mE\\n\\x00', (Exception,), {})('v')", ""),
    "name-that-raises": (
        "class M(type):\n    __name__ = property(lambda self: 1/0)\n"
        "class E(Exception, metaclass=M): pass\nraise E('x')",
        "",
    ),
    "name-that-is-none": (
        "class M(type): __name__ = 3\nclass E(Exception, metaclass=M): pass\nraise E('x')",
        "",
    ),
    "undecodable-message": ("raise ValueError('\\ud800\\x00\\x1b[31m')", ""),
}
STR_RAISES = """
class E(Exception):
    def __str__(self): raise {}
    __repr__ = __str__
raise E
"""
