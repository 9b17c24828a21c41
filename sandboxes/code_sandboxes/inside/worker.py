"""A plain Python interpreter: runs what the host sends, says what comes of it, as it comes."""

from __future__ import annotations

import _ast as ast  # all that is needed of ast, which takes 3 ms to import
import builtins
import os
import sys
import threading
from _signal import SIGINT, signal  # without the names as enums, which take ten times as long
from collections.abc import Mapping
from contextlib import suppress

# by name: code that replaces the module's must not replace ours
from os import getpid
from types import CodeType, ModuleType

from . import helper, shown
from .cell import keep, parsed
from .host import Host
from .rawoutput import RawOutput
from .report import exit_status, report
from .start import insert_before_packages
from .textio import Writer

TYPE_CHECKING = False  # not that of typing, which takes 10 ms to import
if TYPE_CHECKING:
    import asyncio
    from typing import Any


CO_COROUTINE = 0x80  # inspect.CO_COROUTINE, without the 10 ms that the import takes
AWAIT = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT


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
        self.streams = [
            Writer(host.tell, name, number, host.whole)
            for number, name in enumerate(("stdout", "stderr"), 1)
        ]
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
            self.host.whole.interrupt()

    def run(self, message: dict[str, Any]) -> None:
        for number in (SIGINT, helper.AGAIN):
            signal(number, self.interrupt)
        self.host.whole.forget()
        self.running = True
        try:
            if message["silent"]:
                helper.run(message["code"])
            else:
                self._run_cell(message["code"])
        except BaseException as error:  # noqa: BLE001 - the user's own, told as an event
            self._report(error)
        finally:
            self.running = False
            self.tell(done=self.count, run=message["run"])

    def _run_cell(self, code: str) -> None:
        self.count += 1
        file = f"<cell {self.count}>"
        keep(code, file)
        # whatever a former cell has put in their place
        sys.stdout, sys.stderr = self.streams
        builtins.input = helper.read_line
        self.names["__builtins__"] = builtins
        try:
            self._execute(code, file)
            shown.flush_figures()
        finally:
            self.settle()
            if getpid() != self.host.pid:
                self._leave(sys.exc_info()[1])

    def _leave(self, error: BaseException | None) -> None:
        """The end of a forked child that has come to the end of the cell."""
        status = 0 if error is None else exit_status(error)
        if error is not None and not isinstance(error, SystemExit):
            os.write(2, report(error)[2].encode("utf-8", "backslashreplace"))
        os._exit(status & 0xFF)

    def _report(self, error: BaseException) -> None:
        # still running, for a while: a `__str__` without end can be interrupted
        if exit_status(error) != 0:
            told = report(error)
            self.running = False
            self.tell(error=told)

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
                if bundle := shown.bundle(value):
                    self.flush()
                    drawing = "matplotlib.pyplot" in sys.modules  # figures take their time
                    tell = self.host.tell if drawing else self.host.tell_with_next
                    tell(display=bundle, main=True)

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
            if not task.done():
                task.cancel()
                with suppress(asyncio.CancelledError, Exception):
                    self._loop.run_until_complete(task)
            raise


def main(control: int, *raw_outputs: int) -> None:
    """Serve the host over the control socket, until it hangs up."""
    host = Host(control)
    worker = Worker(host)
    ends = zip(raw_outputs, worker.streams, strict=True)
    worker.raw = [RawOutput(end, stream.write_now, host.whole) for end, stream in ends]
    for stream in worker.streams:
        stream.before_text = worker.settle  # type: ignore[method-assign]
    helper.world = worker
    shown.publish = worker.tell
    sys.argv = [""]
    insert_before_packages("")  # the home's modules, as in a kernel
    sys.stdout, sys.stderr = worker.streams
    builtins.display = shown.display  # type: ignore[attr-defined]
    os.register_at_fork(after_in_child=host.after_fork)
    for number in (SIGINT, helper.AGAIN):
        signal(number, worker.interrupt)
    shown.install()
    threading.Thread(target=host.listen, daemon=True).start()
    host.tell(ready=getpid())
    while True:
        try:
            worker.run(host.runs.get())
        except KeyboardInterrupt:
            continue  # it came between two executions
        except Exception as error:  # noqa: BLE001 - a signal handler of the user's own, likewise
            os.write(2, report(error)[2].encode("utf-8", "backslashreplace"))
