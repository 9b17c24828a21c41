"""Bytes of any number to and from a supervisor, in flat memory."""

from __future__ import annotations

import queue
from collections.abc import Iterable, Iterator
from concurrent.futures import Future
from contextlib import suppress
from typing import Any

from .inside.stream import Stream, StreamLost
from .machine import Machine


class Pull(Iterator[bytes]):
    """What a request sends, in pieces; it is under way at once.

    Whoever leaves it before its end gives the request up, by `close` or by forgetting it.

    Attributes:
        value: that of the reply, once all has come.
    """

    def __init__(self, machine: Machine, op: str, **arguments: Any) -> None:
        self.value: Any = None
        inbox: queue.SimpleQueue[bytes | Future[Any]] = queue.SimpleQueue()
        opened: list[Stream] = []
        call = machine.call(
            op,
            on_data=lambda stream, data: inbox.put(data),
            on_open=opened.append,
            **arguments,
        )
        call.add_done_callback(inbox.put)
        self._inbox, self._stream, self._owed = inbox, opened[0], 0

    def __next__(self) -> bytes:
        with suppress(StreamLost):  # the reply says why
            self._stream.taken(self._owed)
        self._owed = 0
        item = self._inbox.get()
        if isinstance(item, Future):
            self._inbox.put(item)  # whoever asks again is told the same
            self.value = item.result()
            raise StopIteration
        self._owed = len(item)
        return item

    def close(self) -> None:
        """Give it up, if it is not over."""
        with suppress(StreamLost):
            self._stream.reset()

    def __del__(self) -> None:
        if hasattr(self, "_stream"):
            self.close()


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
