"""The byte stream to a supervisor that lives in a kernel: comm messages, and a heartbeat."""

from __future__ import annotations

import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from queue import SimpleQueue
from typing import Any

from ..inside.comm import TARGET
from . import reconnect
from .remote_client import RemoteClient

PIECE = 1 << 20  # bytes of a message; a server takes no more than 10 MiB
BULK = 1 << 16  # bytes that may wait for more: a message costs more than its bytes
AGAIN_SECONDS = 0.5  # between two requests for what is missing
UNSAID = 1 << 19, 100  # bytes, and messages, that are received before we say so
END_SECONDS = 15.0  # for the supervisor to kill and remove all
WHY_SECONDS = 5.0  # to find out why a connection has ended
DEAD = ("restarting", "autorestarting", "dead")


class CommPipe:
    """See Pipe. Its end is the sandbox's end; a lost connection is not, while it can be mended.

    Args:
        client: the connection to the supervisor's kernel, which is ours from here on.
        why_lost: asks the server why the connection has ended; see Lifeline.
        drop: ends this sandbox's connections, where nothing comes through this one.

    Attributes:
        why: what ended it, if that was not its owner.
        clean: whether the supervisor has said that it has removed everything.
        detached: set by an owner that has told the supervisor to live on.
    """

    def __init__(
        self, client: RemoteClient, why_lost: Callable[[], str], drop: Callable[[], None]
    ) -> None:
        self._client, self._drop = client, drop
        self._comm = uuid.uuid4().hex
        self._arrived: SimpleQueue[bytes] = SimpleQueue()
        self._got = self._there = 0  # messages that are here, and how many it has sent
        self._unsaid = [0, 0]
        self._number, self._kept = 0, deque[tuple[int, bytes]]()
        self._pending, self._waiting = bytearray(), threading.Lock()
        self._again: int | None = None  # what was kept is to be sent from here
        self._sending, self._due = threading.Lock(), threading.Event()
        self._heard, self._asked = time.monotonic(), 0.0
        self._over, self._finished = threading.Event(), threading.Event()
        self._told = threading.Event()  # the reader knows of the end
        self._away = False  # from a loss until the supervisor has resumed
        self.why, self.clean, self.detached = "", False, False
        client.heard = self._take
        self._send("comm_open", {"target_name": TARGET, "data": {}})
        self._line = reconnect.Lifeline(client, why_lost, self._lost, self._back, self._gone)
        threading.Thread(target=self._beat, name="sandbox-heartbeat", daemon=True).start()

    @property
    def answered(self) -> bool:
        """Whether the supervisor has taken us for its owner."""
        return self._got > 0

    def _send(self, kind: str, content: Mapping[str, Any], data: bytes | None = None) -> None:
        self._client.send_shell(kind, {"comm_id": self._comm, **content}, data)

    def _tell(self, said: Mapping[str, Any], data: bytes | None = None) -> None:
        self._unsaid = [0, 0]
        try:
            self._send("comm_msg", {"data": {**said, "got": self._got}}, data)
        except OSError:
            self._away = True
            self._line.lost()

    # on the client's thread -------------------------------------------------------------
    def _take(self, message: Mapping[str, Any]) -> None:
        try:
            self._understand(message)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            self._gone(f"it broke the protocol: {error}")

    def _understand(self, message: Mapping[str, Any]) -> None:
        content = message["content"]
        kind = message["header"]["msg_type"]
        if kind == "shutdown_reply" or content.get("execution_state") in DEAD:
            self._gone("the server has ended the supervisor's kernel, or it died")
        if content.get("comm_id") != self._comm:
            return
        if kind == "comm_close" and not self._got:
            self._gone("another process owns it")
            return
        self._heard = time.monotonic()
        said = content.get("data", {})
        if "n" in said:
            self._there = max(self._there, said["n"] + 1)
            if said["n"] == self._got:
                self._receive(b"".join(bytes(part) for part in message.get("buffers", ())))
        self._there = max(self._there, said.get("next", 0))
        if "got" in said:
            self._forget(said["got"])
        if "resumed" in said:
            self._again = said["got"]
        elif "end" in said or "finished" in said:
            self._lose("")
            if "finished" in said:
                self.clean = True
                self._finished.set()
        if self._again is not None or self._got < self._there:
            self._due.set()

    def _receive(self, data: bytes) -> None:
        self._got += 1
        if data:
            self._arrived.put(data)
        self._unsaid = [self._unsaid[0] + len(data), self._unsaid[1] + 1]
        if self._unsaid[0] > UNSAID[0] or self._unsaid[1] > UNSAID[1]:
            self._due.set()

    def _forget(self, got: int) -> None:
        with self._waiting:  # not `_sending`: who receives must not wait for who sends
            while self._kept and self._kept[0][0] < got:
                self._kept.popleft()

    # the connection ---------------------------------------------------------------------
    def _lost(self) -> None:
        self._away = True

    def _back(self) -> None:
        with self._sending:
            self._away, self._again = True, None  # until it has told what has arrived
        self._due.set()

    def _gone(self, why: str) -> None:
        self._lose(why)
        self._finished.set()

    def _lose(self, why: str) -> None:
        self.why = self.why or why
        self._over.set()
        self._due.set()
        self._arrived.put(b"")

    def _beat(self) -> None:
        """Say that we are there, what has arrived, and what has not."""
        number, beaten = 0, time.monotonic()
        pause = reconnect.SILENCE / 4
        while not self._over.is_set():
            missing = self._away or self._got < self._there
            self._due.wait(AGAIN_SECONDS if missing else pause)
            self._due.clear()
            with self._sending:
                self._send_pending()
            now = time.monotonic()
            if self._over.is_set():
                return
            if now - self._heard > 4 * pause:
                self._lose("it has not answered for too long")
            elif now - self._heard > 2 * pause and not self._away:
                self._drop()  # what leads there now may be dead, and another connection not
            elif self._again is not None:
                self._resume()
            elif self._client.closed:
                continue
            elif (self._away or self._got < self._there) and now - self._asked > AGAIN_SECONDS:
                self._asked = now
                self._tell({"resume": self._got})
            elif now - beaten > pause * 0.9 or any(self._unsaid):
                number, beaten = number + 1, now
                self._tell({"beat": number})

    def _resume(self) -> None:
        """Send again what the supervisor has not got."""
        with self._sending:
            first, self._again = self._again, None
            if first is None:  # of a connection that was lost again
                return
            self._away = False
            with self._waiting:
                kept = list(self._kept)
            for number, data in kept:
                if number >= first and not self._away:
                    self._tell({"n": number}, data)

    # Pipe -------------------------------------------------------------------------------
    def read(self) -> bytes:
        """See Pipe.

        Raises:
            ConnectionError: the end, if it is known why.
        """
        data = self._arrived.get()
        if not data:
            self._told.set()
            if self.why:
                raise ConnectionError(self.why)
        return data

    def write(self, *parts: bytes | memoryview) -> None:
        """See Pipe."""
        if self._over.is_set():
            self._told.wait(WHY_SECONDS)  # whoever asks then is told why
            raise BrokenPipeError("the connection to the supervisor has ended")
        with self._waiting:
            self._pending += b"".join(parts)
            bulk = len(self._pending) >= BULK
        if bulk or not self._sending.acquire(blocking=False):
            self._due.set()  # by the heartbeat's thread, with what comes meanwhile
            return
        try:
            self._send_pending()
        finally:
            self._sending.release()

    def _send_pending(self) -> None:
        """Send all that waits; `_sending` is held."""
        while True:
            with self._waiting:
                piece = bytes(self._pending[:PIECE])
                del self._pending[:PIECE]
                number = self._number
                if not piece:
                    return
                self._number += 1
                self._kept.append((number, piece))
            if not self._away:
                self._tell({"n": number}, piece)

    def close(self) -> None:
        """See Pipe. Returns when the supervisor has removed everything, 15 s later at most."""
        self._over.set()
        self._due.set()
        if not self._finished.is_set() and not self._away:
            with suppress(OSError):
                with self._sending:
                    self._send_pending()
                    self._send("comm_close", {"data": {}})
                if not self.detached:
                    self._finished.wait(END_SECONDS)
        self._finished.set()
        self._client.stopping = True  # its loss is no loss any more
        self._arrived.put(b"")

    def free(self) -> None:
        """See Pipe."""
        self._over.set()
        self._client.free()
