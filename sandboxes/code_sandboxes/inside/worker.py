"""A plain Python interpreter: runs what the host sends, says what comes of it, as it comes."""

from __future__ import annotations

import ast
import builtins
import json
import linecache
import os
import re
import signal
import socket
import sys
import threading
import traceback
from collections.abc import Mapping
from contextlib import suppress
from queue import SimpleQueue
from types import CodeType, ModuleType

from . import helper, shown
from .rawoutput import RawOutput
from .textio import Writer

TYPE_CHECKING = False  # not that of typing, which takes 10 ms to import
if TYPE_CHECKING:
    import asyncio
    from typing import Any


CO_COROUTINE = 0x80  # inspect.CO_COROUTINE, without the 10 ms that the import takes
OURS = "<_code_sandboxes."  # how the frames of our own modules are named
SHELL_LINE = re.compile(r"^([ \t]*)(%pip|!)[ \t]*(.*)$", re.MULTILINE)
AWAIT = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT


class Host:
    """The other end of the control socket."""

    def __init__(self, descriptor: int) -> None:
        self._socket = socket.socket(fileno=descriptor)
        self._sending = threading.Lock()
        self._answers: dict[int, SimpleQueue[dict[str, Any]]] = {}
        self._asked = 0
        self._pid = os.getpid()
        self.runs: SimpleQueue[dict[str, Any]] = SimpleQueue()

    def tell(self, **event: Any) -> None:
        if os.getpid() == self._pid:  # a forked child must not speak for us
            data = json.dumps(event).encode() + b"\n"
            with self._sending:
                self._socket.sendall(data)

    def ask(self, kind: str, payload: Mapping[str, Any]) -> dict[str, Any]:
        if os.getpid() != self._pid:
            raise RuntimeError("only the interpreter itself can ask the host, not a forked child")
        with self._sending:
            self._asked += 1
            number = self._asked
        answers = self._answers[number] = SimpleQueue()
        try:
            self.tell(ask=number, kind=kind, payload=payload)
            return answers.get()
        finally:
            del self._answers[number]

    def listen(self) -> None:
        with suppress(OSError), self._socket.makefile("rb") as lines:
            for line in lines:
                message = json.loads(line)
                if "reply" not in message:
                    self.runs.put(message)
                elif waiting := self._answers.get(message["reply"]):
                    waiting.put(message)
        os._exit(1)  # the supervisor is gone, or has let go of us

    def after_fork(self) -> None:
        """In a child: our socket is the parent's, plain output is the child's own."""
        self._socket.close()
        self._sending = threading.Lock()


class Worker:
    """One namespace, one piece of code at a time."""

    def __init__(self, host: Host) -> None:
        self.host = host
        module = ModuleType("__main__")
        module.__dict__["__builtins__"] = builtins
        sys.modules["__main__"] = module
        self.names, self.count, self.running = module.__dict__, 0, False
        self.hidden: set[str] = set()
        self.raw: list[RawOutput] = []
        self.streams = [Writer(host.tell, "stdout", 1), Writer(host.tell, "stderr", 2)]
        self._loop: asyncio.AbstractEventLoop | None = None

    # helper.World ---------------------------------------------------------------------
    def answer(self, bundle: dict[str, Any]) -> None:
        self.tell(display=bundle, main=False)

    def ask(self, kind: str, payload: Mapping[str, Any]) -> dict[str, Any]:
        self.flush()
        return self.host.ask(kind, payload)

    # what the code says ---------------------------------------------------------------
    def flush(self) -> None:
        for stream in self.streams:
            stream.flush()

    def settle(self) -> None:
        """Pass on what C code and children have written."""
        for output in self.raw:
            output.settle()

    def tell(self, **event: Any) -> None:
        """An event, after what was printed before it."""
        self.flush()
        self.host.tell(**event)

    def interrupt(self, *_: Any) -> None:
        if self.running:
            self.running = False  # one interrupt, one exception
            raise KeyboardInterrupt

    def run(self, message: dict[str, Any]) -> None:
        if "silent" in message:
            with suppress(BaseException):  # its own errors are in its answer
                exec(message["code"], {"__builtins__": builtins})
            return self.tell(done=self.count)
        self.count += 1
        file = f"<cell {self.count}>"
        code = message["code"]
        linecache.cache[file] = (len(code), None, code.splitlines(True), file)
        sys.stdout, sys.stderr = self.streams
        builtins.input = helper.read_line
        try:
            self.running = True
            self._execute(code, file)
            shown.flush_figures()
            self.settle()
            self.running = False
        except BaseException as error:  # noqa: BLE001 - the user's own, told as an event
            self.running = False
            self.settle()
            self._report(error)
        return self.tell(done=self.count)

    def _report(self, error: BaseException) -> None:
        if isinstance(error, SystemExit) and error.code in (None, 0):
            return
        name = type(error).__name__
        try:
            value = str(error)
        except Exception as broken:  # noqa: BLE001 - the user's own __str__
            value = f"<str failed: {type(broken).__name__}>"
        try:
            described = traceback.TracebackException.from_exception(error)
            hide_ours(described)
            lines = list(described.format())
        except Exception:  # noqa: BLE001 - a broken __str__, a traceback too deep
            lines = [f"{name}: {value}\n"]
        self.tell(error=[name, value, "".join(lines)])

    def _execute(self, code: str, file: str) -> None:
        body = parsed(code, file).body
        last = body.pop() if body and isinstance(body[-1], ast.Expr) else None
        if body:
            module: ast.Module | ast.Expression = ast.Module(body, [])
            self._evaluate(compile(module, file, "exec", AWAIT, dont_inherit=True))
        if isinstance(last, ast.Expr):
            module = ast.Expression(last.value)
            value = self._evaluate(compile(module, file, "eval", AWAIT, dont_inherit=True))
            if value is not None and not code.rstrip().endswith(";"):
                self.names["_"] = value
                self.tell(display=shown.bundle(value), main=True)

    def _evaluate(self, code: CodeType) -> Any:
        if not code.co_flags & CO_COROUTINE:
            return eval(code, self.names)
        import asyncio  # 30 ms that a start need not pay

        if self._loop is None or self._loop.is_closed():
            self._loop = asyncio.new_event_loop()
            asyncio.set_event_loop(self._loop)
        task = self._loop.create_task(eval(code, self.names))
        try:
            return self._loop.run_until_complete(task)
        except BaseException:
            task.cancel()
            with suppress(asyncio.CancelledError, Exception):
                self._loop.run_until_complete(task)
            raise


def parsed(code: str, file: str) -> ast.Module:
    """The code's tree; what is no Python may have lines for the shell, as in a notebook."""
    try:
        return ast.parse(code, file)
    except SyntaxError:
        plain = SHELL_LINE.sub(shell, code)
        if plain == code:
            raise
    return ast.parse(plain, file)


def shell(line: re.Match[str]) -> str:
    """A line `%pip ...` or `!...` as Python, without a value of its own."""
    command = f"python -m pip {line[3]}" if line[2] == "%pip" else line[3]
    printed = "__import__('sys').stdout.flush()"  # what the command prints comes after it
    return f"{line[1]}({printed}, __import__('os').system({command!r})) and None"


def hide_ours(described: traceback.TracebackException) -> None:
    """Leave only the user's frames, in a whole chain of exceptions."""
    todo, seen = [described], set()
    while todo:
        one = todo.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        kept = [frame for frame in one.stack if not frame.filename.startswith(OURS)]
        one.stack = traceback.StackSummary.from_list(kept)
        below = (one.__cause__, one.__context__, *(one.exceptions or ()))
        todo += [other for other in below if other is not None]


def main(control: int, *raw_outputs: int) -> None:
    """Serve the host over the control socket, until it hangs up."""
    host = Host(control)
    worker = Worker(host)
    ends = zip(raw_outputs, worker.streams, strict=True)
    worker.raw = [RawOutput(end, stream.write_now) for end, stream in ends]
    for stream in worker.streams:
        stream.before_text = worker.settle  # type: ignore[method-assign]
    helper.world = worker
    shown.publish = worker.tell
    sys.argv, sys.path[:0] = [""], [""]
    sys.stdout, sys.stderr = worker.streams
    builtins.display = shown.display  # type: ignore[attr-defined]
    os.register_at_fork(after_in_child=host.after_fork)
    signal.signal(signal.SIGINT, worker.interrupt)
    shown.install()
    threading.Thread(target=host.listen, daemon=True).start()
    host.tell(ready=os.getpid())
    while True:
        try:
            worker.run(host.runs.get())
        except KeyboardInterrupt:
            continue  # it came between two executions
