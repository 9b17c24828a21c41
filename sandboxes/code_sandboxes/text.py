"""Text that came out of a sandbox, made fit to be shown."""

from __future__ import annotations

import re

# CSI and OSC sequences, other escapes, then every control character but tab and newline
_CONTROL = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]"
    r"|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)"
    r"|\x1b[@-Z\\-_]"
    r"|[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]"
)


def printable(text: str) -> str:
    """`text` without terminal control sequences, and encodable as UTF-8.

    Everything that comes from a sandbox is hostile: a terminal obeys escape sequences, and
    bidirectional marks make text read as what it is not.

    >>> printable("\\x1b[31mred\\x1b[0m\\ttext")
    'red\\ttext'
    """
    return _CONTROL.sub("", text).encode("utf-8", "replace").decode("utf-8")


def shortened(text: str, most: int) -> str:
    """At most `most` characters of `text`: its head and its tail, and how much is between.

    >>> shortened("abcdefghij", 4)
    'ab[... 6 characters left out ...]ij'
    """
    if len(text) <= most:
        return text
    head, tail = most - most // 2, most // 2
    left_out = f"[... {len(text) - most:,} characters left out ...]"
    return text[:head] + left_out + (text[-tail:] if tail else "")
