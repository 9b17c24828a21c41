"""Bytes of any number to and from a supervisor, in flat memory."""

from __future__ import annotations

import queue
from collections.abc import Generator, Iterable
from concurrent.futures import Future
from typing import Any

from .inside.stream import Stream, StreamLost
from .machine import Machine

_Inbox = queue.SimpleQueue[tuple[Stream, bytes] | Future[Any]]


def pull(machine: Machine, op: str, **arguments: Any) -> Generator[bytes, None, Any]:
    """What a request sends, in pieces; it is under way when this returns.

    The generator's value is that of the reply. Whoever leaves it before its end gives it up.
    """
    inbox: _Inbox = queue.SimpleQueue()
    opened: list[Stream] = []
    call = machine.call(
        op,
        on_data=lambda stream, data: inbox.put((stream, data)),
        on_open=opened.append,
        **arguments,
    )
    call.add_done_callback(inbox.put)
    return _drain(inbox, opened[0])


def _drain(inbox: _Inbox, stream: Stream) -> Generator[bytes, None, Any]:
    try:
        while not isinstance(item := inbox.get(), Future):
            yield item[1]
            item[0].taken(len(item[1]))
        return item.result()
    finally:
        stream.reset()


def pour(machine: Machine, op: str, data: Iterable[bytes], **arguments: Any) -> Any:
    """Send pieces to a request, as it takes them; the value of its reply.

    What goes wrong while they are made gives the request up.
    """
    opened: list[Stream] = []
    future = machine.call(op, on_open=opened.append, **arguments)
    stream = opened[0]
    try:
        for piece in data:
            stream.post(0, piece)
            stream.drained().result()
            if future.done():
                break  # it failed: the future says why
        stream.post(0, b"", end=True)
        return future.result()
    except StreamLost:
        return future.result()
    except BaseException:
        stream.reset()
        raise
