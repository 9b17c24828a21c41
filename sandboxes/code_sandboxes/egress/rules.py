"""Which hosts a sandbox may reach, and which addresses they may turn out to have."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Sequence
from dataclasses import dataclass

WEB = (80, 443)  # the ports of an entry that names none
Address = ipaddress.IPv4Address | ipaddress.IPv6Address
# services that tell a cloud's machines their secrets, outside of the link-local range
METADATA = {
    ipaddress.ip_address(text)
    for text in ("fd00:ec2::254", "fd20:ce::254", "100.100.100.200", "168.63.129.16", "192.0.0.192")
}
# what has an IPv4 address for its end: NAT64, compatible and translated ones
ENDING = [ipaddress.ip_network(text) for text in ("64:ff9b::/96", "::/96", "::ffff:0:0:0/96")]
# what not every version of `ipaddress` knows to be nobody's in the public network
SPECIAL = [
    ipaddress.ip_network(text)
    for text in ("192.0.0.0/24", "64:ff9b:1::/48", "fec0::/10", "5f00::/16")
]


class Refused(Exception):
    """The proxy will not do it; `status` is HTTP's, the text says why."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


@dataclass(frozen=True)
class Rule:
    """One entry of `allowed_hosts`.

    Attributes:
        name: the host, or what its name must end with.
        suffix: whether it is the latter.
        ports: those that it may be reached at.
    """

    name: str
    suffix: bool
    ports: tuple[int, ...]

    @classmethod
    def of(cls, entry: str) -> Rule:
        """The rule of ``host``, ``*.suffix`` or ``host:port``.

        Example:
            >>> Rule.of("*.example.com")
            Rule(name='.example.com', suffix=True, ports=(80, 443))
        """
        host, _, port = entry.lower().partition(":")
        ports = (int(port),) if port else WEB
        suffix = host.startswith("*.")
        return cls(host.removeprefix("*"), suffix, ports)

    def matches(self, host: str, port: int) -> bool:
        """Whether it is about this host, at this port."""
        named = host.endswith(self.name) if self.suffix else host == self.name
        return named and port in self.ports


class Rules:
    """All entries of `allowed_hosts`."""

    def __init__(self, entries: Sequence[str]) -> None:
        self._rules = [Rule.of(entry) for entry in entries]

    def addresses(self, host: str, port: int) -> list[str]:
        """Where to connect to for a host, if it may be reached.

        The name is looked up once, here: who looked it up again might get another answer.

        Raises:
            Refused: it may not, or has no address that may be reached.
        """
        host = host.lower().removesuffix(".")
        found = [rule for rule in self._rules if rule.matches(host, port)]
        if not found:
            raise Refused(403, f"{host}:{port} is not among the allowed_hosts of this sandbox")
        named = any(not rule.suffix for rule in found)
        try:
            known = look_up(host, port)
        except (OSError, UnicodeError) as error:
            why = getattr(error, "strerror", "") or "it is no name"
            raise Refused(502, f"{host} has no address: {why}") from error
        allowed = [text for text in known if may_be_reached(text, named=named)]
        if not allowed:
            raise Refused(403, f"{host} has an address that a sandbox must not reach")
        return allowed


def look_up(host: str, port: int) -> list[str]:
    """The addresses of a name."""
    known = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in known))


def may_be_reached(text: str, *, named: bool) -> bool:
    """Whether an address may be connected to for a name that is allowed.

    Never this machine itself or what is next to it by protocol (link-local: the metadata of a
    cloud). A private network only where the caller has named the very host: whoever owns a
    suffix can give a name below it any address.

    Example:
        >>> may_be_reached("127.0.0.1", named=True), may_be_reached("10.0.0.5", named=True)
        (False, True)
    """
    address = inner(ipaddress.ip_address(text.partition("%")[0]))
    if address.is_loopback or address.is_link_local or address.is_unspecified:
        return False
    if address.is_multicast or address in METADATA:
        return False
    special = any(address.version == net.version and address in net for net in SPECIAL)
    return named or (address.is_global and not special)


def inner(address: Address) -> Address:
    """The IPv4 address that an IPv6 one may stand for."""
    if isinstance(address, ipaddress.IPv6Address):
        if int(address) > 1 and any(address in net for net in ENDING):
            return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        teredo = address.teredo[1] if address.teredo else None
        return address.ipv4_mapped or address.sixtofour or teredo or address
    return address
