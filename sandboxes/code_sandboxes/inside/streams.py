"""A kernel's standard streams, made live, whole and bounded.

ipykernel's own lose what was printed before a crash, what children write, and, where the owner
reads slowly, whatever does not fit into a queue: the end of the cell among it.
"""

from __future__ import annotations

import io
import sys
import threading
from _thread import allocate_lock
from collections.abc import Callable

# by name: code that replaces the module's must not replace ours
from os import getpid
from time import monotonic

from .rawoutput import RawOutput

TYPE_CHECKING = False  # not that of typing, which takes 10 ms to import
if TYPE_CHECKING:
    from typing import Any

SOON = 0.0002  # seconds; no child starts, prints and ends in less
FLUSH = 0.02  # seconds between two flushes of printed output (ipykernel's own 0.2 is not live)
PATIENCE = 3600.0  # seconds that a flush may take: as long as the owner does not read
PIECE = 1 << 16  # characters of a message
KERNELS_OWN = ("IOPub", "Control", "Shell channel")  # threads that must not wait for the owner
TYPE, XPUB, XPUB_NODROP, SNDHWM = 16, 9, 69, 23  # ZeroMQ's numbers
QUEUE = 16  # messages that wait between the kernel and whoever reads them: ZeroMQ's own is 1,000


def own_streams(raw_outputs: list[int]) -> list[RawOutput]:
    """Make the kernel's streams ours.

    Args:
        raw_outputs: the ends of the pipes that descriptors 1 and 2 write to.
    """
    raw = []
    streams: list[Any] = [sys.stdout, sys.stderr]
    schedule_always(streams[0].pub_thread)
    for number, (end, stream) in enumerate(zip(raw_outputs, streams, strict=True), 1):
        flush_for_good(stream)
        wait_for_reader(stream)
        raw.append(RawOutput(end, stream.write))
        put_in_order(stream, raw[-1])
        stream.flush_interval = FLUSH
        stream._original_stdstream_copy = number  # its fileno()
        stream.buffer = io.FileIO(number, "wb", closefd=False)
        stream.close = stream.flush  # closed, it would silence all that follows
    keep_all(streams[0].pub_thread)
    wait_for_shown(streams[0].pub_thread)
    return raw


def short_queue(app: Any) -> None:
    """Have a kernel that is not initialised yet queue few messages: they may be large."""
    bind = app._bind_socket

    def bind_socket(socket: Any, port: int) -> Any:
        if socket.getsockopt(TYPE) == XPUB:
            socket.setsockopt(SNDHWM, QUEUE)
        return bind(socket, port)

    app._bind_socket = bind_socket


def keep_all(pub_thread: Any) -> None:
    """Have the publishing thread wait where its queue is full, instead of losing messages."""

    def set_option() -> None:
        if pub_thread.socket.getsockopt(TYPE) == XPUB:
            pub_thread.socket.setsockopt(XPUB_NODROP, 1)

    pub_thread.schedule(set_option)


def wait_for_shown(pub_thread: Any) -> None:
    """Have code wait for what it shows to be sent, as it does for what it prints."""
    send, unsent = pub_thread.send_multipart, 0

    def send_multipart(parts: Any, *args: Any, **options: Any) -> None:
        nonlocal unsent
        send(parts, *args, **options)
        if threading.current_thread().name not in KERNELS_OWN:
            unsent += sum(len(part) for part in parts)
            if unsent >= PIECE:
                unsent = 0
                wait_until_sent(pub_thread)

    pub_thread.send_multipart = send_multipart


def schedule_always(publisher: Any) -> None:
    """Have the publishing thread take jobs without a look whether it lives.

    That look is `Thread.is_alive()`. Where an interrupt cuts it in two, Python takes the thread
    for dead from then on, and the main thread would send over the same socket at the same time.
    """
    pid, over, stop = getpid(), False, publisher.stop

    def stop_for_good() -> None:
        nonlocal over
        over = True
        stop()

    def schedule(job: Callable[[], None]) -> None:
        if over or getpid() != pid:
            job()
        else:
            publisher._events.append(job)
            publisher._event_pipe.send(b"")

    publisher.stop, publisher.schedule = stop_for_good, schedule


def nothing() -> None:
    """Do not do anything first."""


def wait_until_sent(
    publisher: Any, seconds: float = PATIENCE, first: Callable[[], None] = nothing
) -> None:
    """Until the publishing thread has sent what was queued so far.

    With a lock, not an Event: that is left locked where an interrupt cuts its `wait` in two, and
    the publishing thread would then wait for it for ever.

    Args:
        publisher: the thread.
        seconds: for how long, at most.
        first: what it is to do before; what that sends is queued, too.
    """
    sent = allocate_lock()
    sent.acquire()

    def do() -> None:
        first()
        publisher.schedule(sent.release)

    publisher.schedule(do)
    sent.acquire(timeout=seconds)


def flush_for_good(stream: Any) -> None:
    """Make `flush()` wait until the output is sent.

    ipykernel's own returns when the sending is queued: code that then holds the interpreter's
    lock, or ends it, takes the output along.
    """
    publisher = stream.pub_thread

    def flush() -> None:
        if threading.current_thread() is publisher.thread:
            stream._flush()
        else:
            wait_until_sent(publisher, first=stream._flush)

    stream.flush = flush


def wait_for_reader(stream: Any) -> None:
    """Send in pieces, and wait for each: what nobody reads must not fill the memory."""
    write, unsent = stream.write, 0

    def write_pieces(text: str) -> Any:
        nonlocal unsent
        if not isinstance(text, str):
            return write(text)  # it raises
        size = len(text)
        if not text.isascii():  # a lone surrogate cannot be sent
            text = text.encode("utf-8", "backslashreplace").decode()
        for at in range(0, len(text), PIECE):
            piece = text[at : at + PIECE]
            write(piece)
            unsent += len(piece)
            if unsent >= PIECE:
                unsent = 0
                stream.flush()
        return size

    stream.write = write_pieces


def put_in_order(stream: Any, raw: RawOutput) -> None:
    """Let what a child has written come before what the code prints next."""
    write, looked = stream.write, 0.0

    def write_after(text: str) -> Any:
        nonlocal looked
        if (now := monotonic()) - looked > SOON:  # a look gives up the interpreter's lock
            raw.settle()
            looked = now
        return write(text)

    stream.write = write_after
