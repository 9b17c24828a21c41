"""The byte stream to a supervisor that lives in a kernel: comm messages, and a heartbeat."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from queue import SimpleQueue
from typing import Any

from ..inside.comm import SILENCE, TARGET
from .jupyter_server import RemoteClient

PIECE = 1 << 20  # bytes of a message; a server takes no more than 10 MiB
END_SECONDS = 15.0  # for the supervisor to kill and remove all
WHY_SECONDS = 5.0  # to find out why a connection has ended
DEAD = ("restarting", "autorestarting", "dead")


class CommPipe:
    """See Pipe. Its end is the sandbox's end.

    Args:
        client: the connection to the supervisor's kernel, which is ours from here on.
        why_lost: asks the server why the connection has ended.

    Attributes:
        why: what ended it, if that was not its owner.
        clean: whether the supervisor has said that it has removed everything.
    """

    def __init__(self, client: RemoteClient, why_lost: Callable[[], str]) -> None:
        self._client, self._why_lost = client, why_lost
        self._comm = uuid.uuid4().hex
        self._arrived: SimpleQueue[bytes] = SimpleQueue()
        self._expected = 0
        self._sending = threading.Lock()
        self._heard = time.monotonic()
        self._over, self._finished = threading.Event(), threading.Event()
        self._told = threading.Event()  # the reader knows of the end
        self.why, self.clean = "", False
        client.heard, client.lost = self._take, self._connection_lost
        self._send("comm_open", {"target_name": TARGET, "data": {}})
        threading.Thread(target=self._beat, name="sandbox-heartbeat", daemon=True).start()

    def _send(self, kind: str, content: Mapping[str, Any], data: bytes | None = None) -> None:
        with self._sending:
            self._client.send_shell(kind, {"comm_id": self._comm, **content}, data)

    # on the client's thread -------------------------------------------------------------
    def _take(self, message: Mapping[str, Any]) -> None:
        content = message["content"]
        kind = message["header"]["msg_type"]
        if kind == "shutdown_reply" or (
            kind == "status" and content.get("execution_state") in DEAD
        ):
            self._lose("the server has ended the supervisor's kernel, or it died")
            self._finished.set()
        if content.get("comm_id") != self._comm:
            return
        self._heard = time.monotonic()
        said = content.get("data", {})
        if "n" in said:
            if said["n"] != self._expected:
                self._lose("the server has dropped messages of the supervisor")
                return
            self._expected += 1
            if data := b"".join(bytes(part) for part in message.get("buffers", ())):
                self._arrived.put(data)
        elif "end" in said or "finished" in said:
            self._lose("")
            if "finished" in said:
                self.clean = True
                self._finished.set()

    def _connection_lost(self) -> None:
        if not self._over.is_set():  # asking takes time: the client's thread has nothing else left
            self._lose(self._why_lost())
        self._finished.set()

    def _lose(self, why: str) -> None:
        self.why = self.why or why
        self._over.set()
        self._arrived.put(b"")

    def _beat(self) -> None:
        number = 0
        while not self._over.wait(SILENCE / 4):
            number += 1
            if time.monotonic() - self._heard > SILENCE:
                self._lose("it has not answered for too long")
                return
            with suppress(OSError):
                self._send("comm_msg", {"data": {"beat": number}})

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
        data = b"".join(parts)
        try:
            if self._over.is_set():
                raise BrokenPipeError("the connection to the supervisor has ended")
            for at in range(0, len(data), PIECE):
                self._send("comm_msg", {"data": {}}, data[at : at + PIECE])
        except OSError:
            self._told.wait(WHY_SECONDS)  # whoever asks then is told why
            raise

    def close(self) -> None:
        """See Pipe. Returns when the supervisor has removed everything, 15 s later at most."""
        self._over.set()
        if not self._finished.is_set():
            with suppress(OSError):
                self._send("comm_close", {"data": {}})
                self._finished.wait(END_SECONDS)
            self._finished.set()
        self._arrived.put(b"")

    def free(self) -> None:
        """See Pipe."""
        self._over.set()
        self._client.free()
