"""What a foreign kernel has sent, kept until its host has it: a connection can be cut on the way.

Every IOPub message gets a number. A host that misses some, or has a new connection, asks on the
control channel, which answers while code runs.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Mapping

# by name: code that replaces the module's must not replace ours
from os import getpid

TYPE_CHECKING = False  # not that of typing, which takes 10 ms to import
if TYPE_CHECKING:
    from typing import Any

NUMBER = "code_sandboxes"  # where in a message's metadata its number is
HEARD = "code_sandboxes_heard"  # where in those of a request is the last number that was heard
ASK_MISSED, MISSED = "code_sandboxes_missed_request", "code_sandboxes_missed_reply"
KEPT = frozenset(
    (
        *("display_data", "execute_result", "update_display_data", "clear_output"),
        *("error", "status", "stream"),
    )
)
FRAME = 200  # characters that a message counts beside its data
REQUESTS = 100  # whose ids are remembered: a host may send one twice

asking = threading.local()  # .now: this thread holds no more output back, it waits for the host


def weight(content: Mapping[str, Any]) -> int:
    """The characters of a message, about."""
    data = content.get("data", {})
    size = len(str(content.get("text", "")))
    return FRAME + size + sum(len(v if isinstance(v, str) else str(v)) for v in data.values())


class Sent:
    """Stands between a kernel and its connection.

    Args:
        kernel: the ipykernel, whose session sends from here on by `send`.

    Attributes:
        count: the number of the last message.
        unpaid: characters that are kept: sent, and perhaps not yet there.
        asked: what the host has been asked and has not answered, with the id of the request
            that it is a part of.
        host: the address of the host's present connection.
    """

    def __init__(self, kernel: Any) -> None:
        self._session, self._iopub, self._pid = kernel.session, kernel.iopub_socket, getpid()
        self._lock = threading.RLock()
        self._kept: deque[tuple[int, int, dict[str, Any]]] = deque()
        self._requests: deque[str] = deque(maxlen=REQUESTS)
        self._ours: deque[str] = deque(maxlen=REQUESTS)  # of them, the host's; else a stranger's
        self._reply: list[Any] | None = None
        self.count = self.unpaid = 0
        self.asked: list[Any] | None = None
        self.host: list[bytes] = []
        self._send, self._session.send = self._session.send, self.send
        self._execute = kernel.shell_handlers["execute_request"]
        kernel.shell_handlers["execute_request"] = self._execute_once
        kernel.control_handlers[ASK_MISSED] = self._tell_missed

    def send(
        self,
        stream: Any,
        message: Any,
        content: Any = None,
        parent: Any = None,
        ident: Any = None,
        buffers: Any = None,
        track: bool = False,
        header: Any = None,
        metadata: Any = None,
    ) -> Any:
        """See jupyter_client's Session."""
        if isinstance(message, str):
            message = self._session.msg(message, content, parent, header, metadata)
        if getpid() != self._pid:
            return self._send(stream, message, ident=ident, buffers=buffers, track=track)
        with self._lock:  # what has a lower number is sent before
            numbered = stream is self._iopub
            if numbered:
                self._keep(message)
            elif (
                message["header"]["msg_type"] == "execute_reply"
                and message["parent_header"].get("msg_id") in self._ours
            ):
                self._reply = [message["parent_header"].get("msg_id"), message["content"]]
                ident = self.host or ident
            try:
                return self._send(stream, message, ident=ident, buffers=buffers, track=track)
            except Exception:  # it is no JSON; an interrupt may come when it is under way already
                if numbered:
                    self._take_back()
                raise

    def _keep(self, message: dict[str, Any]) -> None:
        self.count += 1
        message["metadata"] = {**(message.get("metadata") or {}), NUMBER: self.count}
        if message["header"]["msg_type"] in KEPT:
            size = weight(message["content"])
            self._kept.append((self.count, size, message))
            self.unpaid += size

    def _take_back(self) -> None:
        if self._kept and self._kept[-1][0] == self.count:
            self.unpaid -= self._kept.pop()[1]
        self.count -= 1

    def forget(self, heard: int) -> None:
        """The host has what was sent up to a number."""
        with self._lock:
            while self._kept and self._kept[0][0] <= heard:
                self.unpaid -= self._kept.popleft()[1]

    # handlers ---------------------------------------------------------------------------
    async def _execute_once(self, stream: Any, ident: Any, request: dict[str, Any]) -> None:
        """Execute, unless it is the second copy of a request."""
        id = request["header"]["msg_id"]
        if id in self._requests:
            return
        self._requests.append(id)
        if HEARD in request["metadata"]:
            self.host = ident
            self._ours.append(id)
            self.forget(int(request["metadata"][HEARD]))
        await self._execute(stream, ident, request)

    def _tell_missed(self, stream: Any, ident: Any, request: dict[str, Any]) -> None:
        """On the control thread, while code may run."""
        asking.now = True  # it must never wait for the host, as who flushes output may
        heard = request["content"]["heard"]
        with self._lock:
            self.host = ident
            content = {
                "count": self.count,
                "missed": [
                    [n, m["header"]["msg_type"], m["parent_header"].get("msg_id"), m["content"]]
                    for n, _, m in self._kept
                    if heard is not None and n > heard
                ],
                "reply": self._reply,
                "asked": self.asked,
                "known": request["content"]["request"] in self._requests,
            }
            self._send(stream, MISSED, content, request, ident=ident)
