"""What a client asks a proxy for, and how it is answered. Both are hostile: what is odd is refused.

A client has one connection for each request: kept open, it would send the next one, which may be
for somebody else, to the same server.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from .rules import Refused

MOST_HEAD = 1 << 16  # bytes
_LINE = re.compile(rb"([A-Z-]{1,20}) ([\x21-\x7e\x80-\xff]+) (HTTP/1\.[01])")
_HEADER = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+:[\x20-\x7e\x80-\xff\t]*")
_AUTHORITY = re.compile(r"(?:\[([0-9A-Fa-f:.]{2,45})\]|([A-Za-z0-9_.-]{1,253}))(?::([0-9]{0,5}))?")
# what concerns the connection to the proxy, and not the server behind it
_CONNECTION = {b"connection", b"proxy-connection", b"keep-alive"}
_OWN = {b"host", b"proxy-authorization", b"upgrade", *_CONNECTION}
_STATUS = re.compile(rb"HTTP/1\.[01] (\d{3})(?: .*)?")


@dataclass(frozen=True)
class Request:
    """What is asked for.

    Attributes:
        host, port: of whom.
        head: what that server is to be sent first; b"" for a tunnel.
    """

    host: str
    port: int
    head: bytes

    @property
    def tunnel(self) -> bool:
        """Whether the client speaks to the server itself from here on."""
        return not self.head


def parsed(head: bytes) -> Request:
    """The request of a head, which ends with an empty line.

    Raises:
        Refused: it is none that a proxy is asked.

    Example:
        >>> parsed(b"CONNECT example.com:443 HTTP/1.1\\r\\n\\r\\n")
        Request(host='example.com', port=443, head=b'')
    """
    first, *headers = head.removesuffix(b"\r\n\r\n").split(b"\r\n")
    line = _LINE.fullmatch(first)
    if line is None or not all(map(_HEADER.fullmatch, headers)):
        raise Refused(400, "this is a proxy for HTTP, and that was no request for it")
    method, target = line[1], line[2].decode("latin-1")
    if method == b"CONNECT":
        return Request(*_authority(target, None), b"")
    scheme, _, rest = target.partition("://")
    if scheme.lower() != "http":
        raise Refused(400, "ask for http://..., or for a tunnel by CONNECT")
    authority = re.split(r"[/?#]", rest, maxsplit=1)[0]
    host, port = _authority(authority, 80)
    path = rest[len(authority) :].partition("#")[0]
    path = path if path.startswith("/") else f"/{path}"
    kept = [h for h in headers if h.partition(b":")[0].lower() not in _OWN]
    lines = [method + b" " + path.encode("latin-1") + b" " + line[3]]
    lines += [b"Host: " + authority.encode("latin-1"), *kept, b"Connection: close", b"", b""]
    return Request(host, port, b"\r\n".join(lines))


def _authority(text: str, default: int | None) -> tuple[str, int]:
    found = _AUTHORITY.fullmatch(text)
    port = int(found[3] or default or 0) if found else 0
    if found is None or not 0 < port < 1 << 16:
        raise Refused(400, "that names no host and port")
    host = found[1] or found[2].removesuffix(".")
    if found[2] and not all(0 < len(label) < 64 for label in host.split(".")):
        raise Refused(400, "that names no host")
    return host, port


def answered(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """An answer that says that it is the connection's last one.

    Raises:
        Refused: the server has sent none.
    """
    data = b""
    for piece in pieces:
        data += piece
        while b"\r\n\r\n" in data:
            head, _, data = data.partition(b"\r\n\r\n")
            first, *headers = head.split(b"\r\n")
            status = _STATUS.fullmatch(first)
            if status is None:
                raise Refused(502, "the server did not answer in HTTP/1")
            if status[1].startswith(b"1"):  # the answer itself follows
                yield head + b"\r\n\r\n"
                continue
            kept = [h for h in headers if h.partition(b":")[0].lower() not in _CONNECTION]
            yield b"\r\n".join([first, *kept, b"Connection: close", b"", b""]) + data
            yield from pieces
            return
        if len(data) > MOST_HEAD:
            raise Refused(502, "the server's answer has too long a head")
    raise Refused(502, "the server did not answer")
