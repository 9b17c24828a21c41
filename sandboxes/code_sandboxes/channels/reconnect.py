"""A connection that was lost is opened again, as long as that can be hoped for."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from ..errors import SandboxStartError
from .remote_client import RemoteClient

SILENCE = 20.0  # seconds without a word of the other end that end a lease, at both ends
MOST_PAUSE = 1.0  # seconds between two attempts


class Lifeline:
    """Opens a client's connection again whenever it is lost, on a thread of its own.

    Args:
        client: whose connection it is.
        why_lost: asks the server why it has ended; "" where another one may be had.
        away: called when it is lost.
        back: called when there is one again.
        gone: called with the reason when there will be none.
    """

    def __init__(
        self,
        client: RemoteClient,
        why_lost: Callable[[], str],
        away: Callable[[], None],
        back: Callable[[], None],
        gone: Callable[[str], None],
    ) -> None:
        self._client, self._why_lost = client, why_lost
        self._away, self._back, self._gone = away, back, gone
        self._lock, self._dialling = threading.Lock(), False
        client.lost = self.lost
        if client.closed:  # meanwhile
            self.lost()

    def lost(self) -> None:
        """It was lost; from any thread, also twice."""
        with self._lock:
            if self._dialling or self._client.stopping:
                return
            self._dialling = True
        self._away()
        threading.Thread(target=self._mend, name="sandbox-reconnect", daemon=True).start()

    def _mend(self) -> None:
        until = time.monotonic() + SILENCE
        while True:
            why = self._dial(until)
            with self._lock:
                if why or not self._client.closed:
                    self._dialling = False
                    break
        if why:
            self._gone(why)
        else:
            self._back()

    def _dial(self, until: float) -> str:
        """Until there is a connection; why there is none."""
        pause = 0.02
        while not (why := self._why_lost()) and not self._client.stopping:
            try:
                self._client.reopen()
                return ""
            except SandboxStartError as error:
                failed = str(error)
            if time.monotonic() + pause > until:
                return f"the connection to the server was lost: {failed}"
            time.sleep(pause)
            pause = min(2 * pause, MOST_PAUSE)
        return why or "it was closed"
