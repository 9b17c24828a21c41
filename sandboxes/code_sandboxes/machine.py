"""The host's end of the supervisor protocol. Calls give a Future: nothing here waits."""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from .answer import Answer
from .ctrl_c import Whole
from .errors import SandboxExpiredError, SandboxGoneError, SandboxStartError
from .inside.mux import MOST, Mux, ProtocolError
from .inside.stream import DATA, WINDOW, Stream, StreamLost
from .kernel import Pipe, Wakeable
from .text import printable

if TYPE_CHECKING:
    from .inside.stream import Push

BOOT_SECONDS = 60.0
# bytes of a stream that nobody has dealt with: an event is given its credit as it comes, and
# owes it again when it is whole
MOST_UNREAD = WINDOW + MOST
KILL_SECONDS = 20.0  # that a supervisor has to kill something: it takes 5 at most


class HostStream(Stream):
    """A stream that Ctrl-C leaves whole, and that holds the other end to its credit."""

    _unread = 0

    def post(self, lane: int, data: bytes, *, end: bool = False) -> None:
        """See Stream."""
        with Whole():
            super().post(lane, data, end=end)

    def taken(self, size: int) -> None:
        """See Stream."""
        with Whole():
            with self._changed:
                self._unread -= size
            super().taken(size)

    def deliver(self, kind: int, lane: int, payload: Any) -> None:
        """See Stream.

        Raises:
            ProtocolError: what a hostile end sends could fill the memory.
        """
        if kind == DATA:
            if not payload:
                return  # it would cost memory, and count for nothing
            with self._changed:
                self._unread += len(payload)
            if self._unread > MOST_UNREAD:
                raise ProtocolError("it sends more than it may")
        super().deliver(kind, lane, payload)

    def reset(self) -> None:
        """See Stream."""
        with Whole():
            super().reset()


class HostMux(Mux):
    """The host's end of the connection, which Ctrl-C leaves whole."""

    make = HostStream

    def open(self, request: Any, push: Push, *, views: bool = False) -> Stream:
        """See Mux."""
        with Whole():
            return super().open(request, push, views=views)


class Machine:
    """Files, processes and interpreters of one sandbox.

    Args:
        pipe: the byte stream to its supervisor.
        diagnosis: what is known of a supervisor that fails, for an error's text.
        on_end: called once, on the reading thread, when the supervisor is gone.

    Raises:
        SandboxStartError: the supervisor did not answer.
    """

    def __init__(
        self,
        pipe: Pipe,
        diagnosis: Callable[[], str] = lambda: "",
        on_end: Callable[[], None] = lambda: None,
    ) -> None:
        self.pipe = pipe
        self.mux = HostMux(pipe.write)
        self._wake = pipe.wake if isinstance(pipe, Wakeable) else lambda: None
        self._broken = ""
        self.expires: float | None = None  # on time.monotonic()
        self._on_end = on_end
        self._reader = threading.Thread(target=self._read, name="sandbox-machine", daemon=True)
        self._reader.start()
        self._diagnosis = diagnosis
        try:
            self._hello = self.call("hello")
        except SandboxGoneError as error:  # it ended at once: `wait_ready` says why
            self._hello = Future()
            self._hello.set_exception(error)
        self.home = self.cwd = self.python = ""
        self.kept: list[str] = []  # the interpreters that a former owner left

    def wait_ready(self) -> list[str]:
        """Until the supervisor has answered; what was asked meanwhile is under way.

        Returns:
            The names of the interpreters that it has, those that were asked for meanwhile too.

        Raises:
            SandboxStartError: it did not.
        """
        try:
            hello = self._hello.result(BOOT_SECONDS)
        except (SandboxGoneError, TimeoutError) as error:
            why = self._diagnosis() or error
            raise SandboxStartError(f"the sandbox did not start: {why}") from error
        self.home, self.cwd, self.python = (str(hello[n]) for n in ("home", "cwd", "python"))
        return [str(name) for name in hello["kept"]]

    def _read(self) -> None:
        try:
            while data := self.pipe.read():
                self.mux.feed(data)
        except OSError as error:  # ProtocolError too: a hostile end is a lost one
            self._broken = str(error)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            self._broken = f"it sent what makes no sense: {type(error).__name__}: {error}"
        finally:
            self.mux.close()
            self._on_end()

    @property
    def gone(self) -> bool:
        """Whether the connection has ended."""
        return self.mux.closed

    @property
    def expired(self) -> bool:
        """Whether its lifetime is over."""
        return self.expires is not None and time.monotonic() >= self.expires

    def loss(self) -> SandboxGoneError:
        """The error that says why the sandbox is gone."""
        if self.expires is not None and time.monotonic() >= self.expires - 0.5:
            return SandboxExpiredError("the sandbox reached its max_lifetime; create another one")
        why = self._broken or "its supervisor ended, or the connection was lost"
        return SandboxGoneError(f"the sandbox is gone ({printable(why)}): create another one")

    def set_lifetime(self, seconds: float | None) -> None:
        """Note when the sandbox ends; the supervisor keeps the time itself."""
        self.expires = None if seconds is None else time.monotonic() + seconds

    def open(self, push: Push, op: str, *, views: bool = False, **arguments: Any) -> Stream:
        """A stream of the supervisor's protocol; `push` is called on the reading thread.

        Raises:
            SandboxGoneError: there is no supervisor any more.
        """
        self._wake()  # code may have stopped it
        try:
            return self.mux.open({"op": op, **arguments}, push, views=views)
        except StreamLost as error:
            raise self.loss() from error

    def signal(self, pid: int, number: int, *, whole: bool) -> Future[Any]:
        """Signal a process below the supervisor, or its whole tree.

        A kill must come through: a supervisor that does not answer it is given up.
        """
        answer = self.call("signal", pid=pid, number=number, whole=whole)
        if number != signal.SIGKILL or sys.is_finalizing():  # no thread can be started any more
            return answer
        timer = threading.Timer(KILL_SECONDS, self._give_up)
        timer.daemon = True
        timer.start()
        answer.add_done_callback(lambda _: timer.cancel())
        return answer

    def _give_up(self) -> None:
        self._broken = "its supervisor does not answer"
        self.mux.close()

    def call(
        self,
        op: str,
        *,
        on_data: Callable[[Stream, bytes], None] | None = None,
        on_open: Callable[[Stream], None] | None = None,
        **arguments: Any,
    ) -> Future[Any]:
        """One request and its answer: the reply's value, or the bytes that came before it.

        To cancel the future gives the request up.

        Args:
            op: the supervisor's verb.
            on_data: takes the bytes as they come, and gives their credit back.
            on_open: is given the stream, to send a body.
        """
        answer = Answer(arguments.get("path"), self.loss, on_data)
        stream = self.open(answer.push, op, views=True, **arguments)

        def give_up(future: Future[Any]) -> None:
            if future.cancelled():  # an await was: nothing of it is to go on inside
                with suppress(StreamLost):
                    stream.reset()

        answer.future.add_done_callback(give_up)
        if on_open is not None:
            with suppress(StreamLost):  # the answer, or the loss, is in the future
                on_open(stream)
        return answer.future

    def close(self) -> None:
        """Hang up. The supervisor ends, unless it was told to detach."""
        self._broken = self._broken or "it was terminated or detached here, meanwhile"
        self.pipe.close()
        if threading.current_thread() is not self._reader:
            self._reader.join(5)
