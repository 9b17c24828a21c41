"""A channel to a Jupyter kernel, through any KernelClientABC."""

from __future__ import annotations

import json
import os
import threading
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from contextlib import suppress
from queue import Empty
from typing import Any, Protocol

import zmq

from ..events import Ask, Done, Event, ExecutionError, Output, StreamName, weight
from ..inside.stream import WINDOW
from ..kernel import Emit
from .child import death
from .messages import ask_of, bounded, error_of, event_of

MOST_ERRORS = 20  # of one execution


class Steering(Protocol):
    """What a kernel client cannot do: a signal, or a request to a server."""

    def interrupt(self, *, again: bool) -> Future[Any] | None: ...
    def kill(self) -> None: ...
    def close(self, *, keep: bool) -> None: ...


class ZmqWaiter:
    """Waits for any of the client's sockets; `wake` may be called from any thread."""

    def __init__(self, client: Any) -> None:
        self._read, self._write = os.pipe()
        os.set_blocking(self._write, False)
        self._poller = zmq.Poller()
        self._output = [channel.socket for channel in (client.iopub_channel, client.stdin_channel)]
        for each in (client.shell_channel.socket, self._read):
            self._poller.register(each, zmq.POLLIN)

    def wait(self, *, output: bool) -> None:
        """Until there is something; of what the code says only where `output` is wanted."""
        for socket in self._output:
            if output:
                self._poller.register(socket, zmq.POLLIN)
            elif socket in self._poller:
                self._poller.unregister(socket)
        if (self._read, zmq.POLLIN) in self._poller.poll():
            os.read(self._read, 4096)

    def wake(self) -> None:
        """End a `wait`."""
        with suppress(OSError):  # full: it wakes anyway; closed: nobody waits
            os.write(self._write, b"!")

    def close(self) -> None:
        """Free the pipe; nobody may wait any more."""
        os.close(self._read)
        self._write, writing = -1, self._write
        os.close(writing)


class Waiter(Protocol):
    """How the channel's thread waits."""

    def wait(self, *, output: bool) -> None: ...
    def wake(self) -> None: ...
    def close(self) -> None: ...


class JupyterChannel:
    """One thread owns the client's sockets; everything else only wakes it."""

    def __init__(self, client: Any, steering: Steering, waiter: Waiter) -> None:
        self._client, self._steering, self._waiter = client, steering, waiter
        self._jobs: deque[Callable[[], None]] = deque()
        self._emit: Emit | None = None
        self._request = self._pending = self._fence = ""
        self._left: set[str] = set()
        self._count: int | None = None
        self._asked = 0
        self._unread = 0  # output that the caller has not dealt with
        self._counting = threading.Lock()
        self._failed: Mapping[str, Any] | None = None
        self._errors: list[Mapping[str, Any]] = []
        self._open, self._dead = True, ""
        self._thread = threading.Thread(target=self._loop, name="sandbox-jupyter", daemon=True)
        self._thread.start()

    def submit(self, code: str, emit: Emit, *, silent: bool = False) -> None:
        """See Channel."""
        self._in_thread(lambda: self._submit(code, emit, silent))

    def reply(self, ask: str, answer: Mapping[str, Any]) -> None:
        """See Channel."""

        def send() -> None:
            if ask == self._pending:
                self._pending = ""
                self._client.input(json.dumps(answer))

        self._in_thread(send)

    def taken(self, size: int) -> None:
        """See Channel. A kernel knows no credit: the messages wait in its own queue."""
        with self._counting:
            stalled = self._unread >= WINDOW
            self._unread -= size
            wake = stalled and self._unread < WINDOW
        if wake:
            self._waiter.wake()

    def interrupt(self, *, again: bool = False) -> Future[Any] | None:
        """See Channel."""
        return self._steering.interrupt(again=again)

    def kill(self) -> None:
        """See Channel."""
        self._steering.kill()

    def close(self, *, keep: bool = False) -> None:
        """See Channel."""
        self._open = False
        self._waiter.wake()
        if threading.current_thread() is not self._thread:
            self._thread.join(5)
        self._lost("the interpreter was closed")
        self._steering.close(keep=keep)
        self._client.stop_channels()
        self._waiter.close()

    def died(self, why: str) -> None:
        """The kernel is gone; called from any thread."""
        self._dead = why
        self._waiter.wake()

    def last_words(self, text: str, stream: StreamName) -> None:
        """What was left in a raw pipe of the kernel when it ended; called from any thread."""
        self._in_thread(lambda: self._say(Output(text, stream)))

    def _in_thread(self, job: Callable[[], None]) -> None:
        self._jobs.append(job)
        self._waiter.wake()

    # on the channel's thread --------------------------------------------------------
    def _loop(self) -> None:
        while self._open:
            self._waiter.wait(output=self._unread < WINDOW)
            try:
                self._receive()
                while self._jobs:
                    self._jobs.popleft()()
            except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
                # a bad signature, or no message at all: nothing of this kernel can be believed
                self._steering.kill()
                self._lost(f"the kernel broke the protocol: {error}")
            if self._dead and self._unread < WINDOW:  # all that it has sent was read
                self._lost(self._dead)
            elif self._left == {"reply"} and not self._fence:
                # it is idle, and has not replied: is the reply on its way, or did the code
                # break what makes it? What is asked now is answered after it
                self._fence = str(self._client.kernel_info())

    def _receive(self) -> None:
        client = self._client
        for channel in (client.iopub_channel, client.shell_channel, client.stdin_channel):
            output = channel is not client.shell_channel
            with suppress(Empty):
                while self._open and (not output or self._unread < WINDOW):
                    self._take(channel.get_msg(timeout=0))

    def _submit(self, code: str, emit: Emit, silent: bool) -> None:
        self._emit, self._left, self._count = emit, {"reply", "idle"}, None
        self._failed, self._errors, self._unread, self._fence = None, [], 0, ""
        if self._dead:
            self._lost(self._dead)
            return
        try:
            code.encode()
        except UnicodeEncodeError as error:  # a lone surrogate: no Python, and no message
            self._say(ExecutionError("UnicodeEncodeError", str(error)))
            self._say(Done())
            return
        self._request = self._client.execute(
            code, silent=silent, store_history=not silent, allow_stdin=True, stop_on_error=False
        )

    def _take(self, message: dict[str, Any]) -> None:
        kind, content = message["header"]["msg_type"], message["content"]
        parent = (message.get("parent_header") or {}).get("msg_id")
        if parent == self._fence and kind == "kernel_info_reply" and "reply" in self._left:
            self._steering.kill()
            self._lost("the code broke what runs it: the kernel gave no reply")
        if parent != self._request or not self._emit:
            return
        if kind == "input_request":
            self._say(self._ask(content))
        elif kind == "execute_reply":
            self._count = content.get("execution_count")
            if content.get("status") == "error":
                self._failed = content
            self._left.discard("reply")
        elif kind == "status" and content["execution_state"] == "idle":
            self._left.discard("idle")
        elif kind == "error":
            self._errors = [*self._errors[1 - MOST_ERRORS :], bounded(content)]
        elif event := event_of(kind, content):
            self._say(event)
        if not self._left:
            self._conclude()

    def _conclude(self) -> None:
        """IPython errs twice: a repr that fails sends `error`, though the reply says ok; an
        ExceptionGroup sends none, and the reply holds the traceback of the error before it."""
        errors, self._errors = self._errors, []
        error = None
        if self._failed is not None and self._failed["ename"] != "NoneType":  # a failed repr
            name = self._failed["ename"]
            own = next((e for e in reversed(errors) if e["ename"] == name), None)
            text = f"{name}: {self._failed['evalue']}"
            error = error_of(own or {**self._failed, "traceback": [text]})
            errors = [e for e in errors if e is not own]
        for content in errors:
            self._say(Output(f"{content['ename']}: {content['evalue']}\n", "stderr"))
        if error is not None:
            self._say(error)
        self._say(Done(self._count))

    def _ask(self, content: Mapping[str, Any]) -> Ask:
        self._asked += 1
        self._pending = str(self._asked)
        return ask_of(self._pending, str(content["prompt"]))

    def _lost(self, why: str) -> None:
        self._say(death(why))
        self._say(Done(state_lost=True))

    def _say(self, event: Event) -> None:
        if (emit := self._emit) is not None:
            if isinstance(event, Done):
                self._emit, self._pending, self._request, self._left = None, "", "", set()
            with self._counting:
                self._unread += weight(event)
            emit(event)
