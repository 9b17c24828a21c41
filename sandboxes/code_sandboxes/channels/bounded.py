"""What a websocket may bring: its other end may be hostile, and the library takes anything."""

from __future__ import annotations

from typing import Any

from websocket import WebSocket, WebSocketProtocolException, continuous_frame, frame_buffer

from ..inside.helper import too_many_parts

MOST_MESSAGE = 64 << 20  # bytes
MOST_FRAMES = 1_000  # of one message: each is added to those before by copying these


class TooLargeError(WebSocketProtocolException):  # type: ignore[misc,unused-ignore]
    """No other connection would help: it would bring the same."""


class Frames(frame_buffer):
    """Refuses a frame before it is received."""

    def recv_length(self) -> None:
        """See frame_buffer."""
        super().recv_length()
        if self.length is not None and self.length > MOST_MESSAGE:
            raise TooLargeError(f"a frame of {self.length} bytes")


class Continued(continuous_frame):
    """Refuses a message of too many frames, or bytes."""

    _frames = 0

    def add(self, frame: Any) -> None:
        """See continuous_frame."""
        before = len(self.cont_data[1]) if self.cont_data else 0
        self._frames = self._frames + 1 if before else 1
        if before + len(frame.data) > MOST_MESSAGE or self._frames > MOST_FRAMES:
            raise TooLargeError("a message is too long")
        super().add(frame)


def bound(connection: WebSocket) -> None:
    """Have a connection that was just opened refuse what is too large: that is its end."""
    frames, continued = connection.frame_buffer, connection.cont_frame
    connection.frame_buffer = Frames(frames.recv, frames.skip_utf8_validation)
    connection.frame_buffer.recv_buffer = frames.recv_buffer
    connection.cont_frame = Continued(continued.fire_cont_frame, continued.skip_utf8_validation)


class Refused(dict[str, Any]):
    """Takes the place of a message that was not read: whoever looks into it is told why."""

    def __init__(self, why: str) -> None:
        super().__init__()
        self._why = why

    def __missing__(self, key: str) -> Any:
        raise ValueError(self._why)


def refusal(message: bytes | str) -> Refused | None:
    """What takes the place of a message that would fill the memory once it is parsed."""
    data = message.encode() if isinstance(message, str) else message
    return Refused("a message has too many values") if too_many_parts(data) else None
