"""What one console shows: an append-only list of items that the page asks for, bounded."""

from __future__ import annotations

import threading
from collections import deque
from typing import Any

from .ansi import Ansi

Item = dict[str, Any]

MOST_TEXT = 200_000  # characters shown of one run, from its start
CHANGE_COST = 40  # what a change between stdout and stderr weighs
MOST_TAIL = 20_000  # and from its end
MOST_PIECES = 2_000  # in so many pieces
MOST_RICH = 24 << 20  # characters of rich results of one run
ITEM_COST = 20_000  # what a result weighs besides its characters: a page holds so many elements
MOST_KEPT = 32 << 20  # the weight of all runs, after which a console is emptied


class Feed:
    """The items of one console, from the thread of a run to the requests of a page.

    Text is gathered until the page asks, so a loop that prints costs one item per request;
    beyond `MOST_TEXT` only the last `MOST_TAIL` characters are kept, and the number between.

    Example:
        >>> feed = Feed()
        >>> feed.begin()
        >>> feed.text("stdout", "hello\\n")
        >>> feed.since(0, 0)["items"]
        [{'kind': 'stdout', 'parts': [('hello\\n', {})], 'over': False}]
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._epoch = 0
        self._items: list[Item] = []
        self._keys: dict[str, int] = {}
        self._sent = self._kept = 0
        self._reset_run()

    def _reset_run(self) -> None:
        self._pending: list[tuple[str, str]] = []
        self._text = self._rich = self._hidden = self._tail_size = 0
        self._tail: deque[tuple[str, str]] = deque()
        self._ansi = {"stdout": Ansi(), "stderr": Ansi()}
        self._return = False  # a carriage return waits for what comes after it
        self._clear_next = self._full = False

    def begin(self, *, clear: bool = True) -> None:
        """A run starts.

        Args:
            clear: whether what was shown before goes; a full console is emptied anyway.
        """
        with self._lock:
            self._flush()
            if clear or self._kept > MOST_KEPT:
                self._empty()
            self._reset_run()

    def end(self) -> None:
        """The run is over: show the end of an output that was too long."""
        with self._lock:
            self._flush()
            if self._hidden:
                self._append(note(f"{self._hidden:,} characters are not shown here"))
            self._pending = list(self._tail)
            self._flush()
            self._tail.clear()
            self._hidden = self._tail_size = 0

    def text(self, stream: str, text: str) -> None:
        """A piece of output.

        Args:
            stream: ``"stdout"`` or ``"stderr"``.
            text: raw, as the sandbox sent it.
        """
        with self._lock:
            self._clear_if_due()
            room = max(0, MOST_TEXT - self._text)
            self._text += len(text)
            if self._pending and self._pending[-1][0] != stream:
                self._text += CHANGE_COST
            if shown := text[:room]:
                self._pending.append((stream, shown))
            if beyond := text[room:]:
                self._keep_tail(stream, beyond)

    def add(self, item: Item) -> None:
        """Anything else: a rich result, an error, a note; one with a `key` replaces its like.

        Args:
            item: what `render` made.
        """
        with self._lock:
            self._clear_if_due()
            self._flush()
            at = self._keys.get(item.get("key", ""))
            if at is not None:
                self._rich -= _weight(self._items[at])
                if at >= self._sent:  # the page has not seen the one before
                    self._items[at] = item
                    self._rich += _weight(item)
                    return
                self._items[at] = {"kind": "gone"}
            self._rich += _weight(item)
            if self._rich <= MOST_RICH:
                self._append(item)
            elif not self._full:
                self._full = True
                self._append(note("further results of this run are not shown"))

    def clear(self, *, wait: bool = False) -> None:
        """The code asked to empty its output, at once or with its next output."""
        with self._lock:
            self._clear_next = True
            if not wait:
                self._clear_if_due()

    def since(self, epoch: int, seen: int) -> dict[str, Any]:
        """What the page does not have yet.

        Args:
            epoch: which filling of the console the page shows.
            seen: how many of its items the page has.

        Returns:
            epoch, next (the number of items so far), items, hidden (characters left out so far).
        """
        with self._lock:
            self._flush()
            if epoch != self._epoch:
                seen = 0
            self._sent = len(self._items)
            return {
                "epoch": self._epoch,
                "next": self._sent,
                "items": self._items[max(0, seen) :],
                "hidden": self._hidden + self._tail_size,
            }

    def _empty(self) -> None:
        self._epoch += 1
        self._items, self._keys = [], {}
        self._sent = self._kept = 0

    def _clear_if_due(self) -> None:
        if self._clear_next:
            self._empty()
            self._reset_run()

    def _append(self, item: Item) -> None:
        if "key" in item:
            self._keys[item["key"]] = len(self._items)
        self._items.append(item)
        self._kept += _weight(item)

    def _keep_tail(self, stream: str, text: str) -> None:
        """Keep the end of what is beyond the limit, and count the rest as hidden."""
        kept = text[-MOST_TAIL:]
        self._hidden += len(text) - len(kept)
        self._tail.append((stream, kept))
        self._tail_size += len(kept)
        while self._tail_size - len(self._tail[0][1]) >= MOST_TAIL or len(self._tail) > MOST_PIECES:
            gone = len(self._tail.popleft()[1])
            self._hidden += gone
            self._tail_size -= gone

    def _flush(self) -> None:
        """Make items of the text that came since the last time, one for each change of stream."""
        stream, gathered = "", ""
        for of, text in [*self._pending, ("", "")]:
            if of != stream and gathered:
                self._append(self._shown(stream, gathered))
                gathered = ""
            stream, gathered = of, gathered + text
        self._pending = []

    def _shown(self, stream: str, text: str) -> Item:
        """`text` as an item; `over` says that it starts by rewriting the unfinished line."""
        text = ("\r" if self._return else "") + text
        text = text.replace("\r\n", "\n")
        self._return = text.endswith("\r")
        lines = text.removesuffix("\r").split("\n")
        over = "\r" in lines[0]
        text = "\n".join(line.rpartition("\r")[2] for line in lines)
        return {"kind": stream, "parts": self._ansi[stream].feed(text), "over": over}


def _weight(item: Item) -> int:
    """What an item costs the page: its characters, and what the element itself costs."""
    parts = item.get("parts", ())
    characters = sum(len(value) for value in item.values() if isinstance(value, str))
    return characters + sum(len(text) for text, _ in parts) + (0 if parts else ITEM_COST)


def note(text: str) -> Item:
    """A line of the playground's own.

    Example:
        >>> note("restarted")
        {'kind': 'note', 'text': 'restarted'}
    """
    return {"kind": "note", "text": text}
