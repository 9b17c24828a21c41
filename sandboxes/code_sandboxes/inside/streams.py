"""A kernel's standard streams, made live, whole and bounded.

ipykernel's own lose what was printed before a crash, what children write, and, where the owner
reads slowly, whatever does not fit into a queue: the end of the cell among it.
"""

from __future__ import annotations

import io
import sys
import threading
from time import monotonic

from .rawoutput import RawOutput

TYPE_CHECKING = False  # not that of typing, which takes 10 ms to import
if TYPE_CHECKING:
    from typing import Any

SOON = 0.0002  # seconds; no child starts, prints and ends in less
FLUSH = 0.02  # seconds between two flushes of printed output (ipykernel's own 0.2 is not live)
PATIENCE = 3600.0  # seconds that a flush may take: as long as the owner does not read
PIECE = 1 << 16  # characters of a message
XPUB, XPUB_NODROP = 9, 69  # ZeroMQ's numbers


def own_streams(raw_outputs: list[int]) -> list[RawOutput]:
    """Make the kernel's streams ours.

    Args:
        raw_outputs: the ends of the pipes that descriptors 1 and 2 write to.
    """
    raw = []
    streams: list[Any] = [sys.stdout, sys.stderr]
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
    return raw


def keep_all(pub_thread: Any) -> None:
    """Have the publishing thread wait where its queue is full, instead of losing messages."""

    def set_option() -> None:
        if pub_thread.socket.getsockopt(16) == XPUB:  # ZMQ_TYPE
            pub_thread.socket.setsockopt(XPUB_NODROP, 1)

    pub_thread.schedule(set_option)


def flush_for_good(stream: Any) -> None:
    """Make `flush()` wait until the output is sent.

    ipykernel's own returns when the sending is queued: code that then holds the interpreter's
    lock, or ends it, takes the output along.
    """
    queue_it, publisher = stream.flush, stream.pub_thread
    stream.flush_timeout = PATIENCE

    def flush() -> None:
        queue_it()
        if threading.current_thread() is not publisher.thread:
            sent = threading.Event()
            publisher.schedule(sent.set)
            sent.wait(PATIENCE)

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
