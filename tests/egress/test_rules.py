"""Which hosts and addresses an allowlist lets through, and what counts as a request."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from code_sandboxes.egress import rules
from code_sandboxes.egress.request import Request, answered, parsed
from code_sandboxes.egress.rules import Refused, Rules, may_be_reached


def names(monkeypatch: pytest.MonkeyPatch, **known: list[str]) -> None:
    """Have these names, and no others, looked up: `a_test` is a.test."""

    def look_up(host: str, port: int) -> list[str]:
        if host.replace(".", "_") not in known:
            raise OSError(-2, "Name or service not known")
        return known[host.replace(".", "_")]

    monkeypatch.setattr(rules, "look_up", look_up)


@pytest.mark.parametrize(
    ("entries", "host", "port", "allowed"),
    [
        (["a.test"], "a.test", 443, True),
        (["a.test"], "A.Test.", 80, True),
        (["A.test"], "a.test", 80, True),
        (["a.test"], "a.test", 8080, False),
        (["a.test:8080"], "a.test", 8080, True),
        (["a.test:8080"], "a.test", 443, False),
        (["a.test"], "b.a.test", 443, False),
        (["a.test"], "ba.test", 443, False),
        (["*.a.test"], "b.a.test", 443, True),
        (["*.a.test"], "c.b.a.test", 443, True),
        (["*.a.test"], "a.test", 443, False),
        (["*.a.test"], "ba.test", 443, False),
        (["*.a.test:81"], "b.a.test", 81, True),
        (["a.test"], "a.test.evil.test", 443, False),
    ],
)
def test_hosts(
    monkeypatch: pytest.MonkeyPatch, entries: list[str], host: str, port: int, allowed: bool
) -> None:
    monkeypatch.setattr(rules, "look_up", lambda host, port: ["93.184.216.34"])
    if allowed:
        assert Rules(entries).addresses(host, port) == ["93.184.216.34"]
    else:
        with pytest.raises(Refused, match="not among the allowed_hosts") as refused:
            Rules(entries).addresses(host, port)
        assert refused.value.status == 403


NEVER = (
    *("127.0.0.1", "127.9.9.9", "0.0.0.0", "169.254.169.254", "224.0.0.1", "::1", "::", "fe80::1"),
    *("fe80::1%eth0", "ff02::1", "fd00:ec2::254", "100.100.100.200"),
    *("::ffff:127.0.0.1", "::ffff:169.254.169.254", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe"),
    *("2002:7f00:1::", "2002:a9fe:a9fe::1", "::7f00:1", "::ffff:0:7f00:1"),
    *("168.63.129.16", "192.0.0.192", "fd20:ce::254"),
)
PRIVATE = (
    "192.0.0.8",
    "fec0::1",
    "64:ff9b:1::1",
    "5f00::1",
    "10.0.0.5",
    "192.168.1.1",
    "172.16.0.1",
    "100.64.0.1",
    "fd00::2",
    "::ffff:10.0.0.5",
)


def test_addresses() -> None:
    for text in NEVER:
        assert not may_be_reached(text, named=True), text
    for text in PRIVATE:
        assert may_be_reached(text, named=True), text
        assert not may_be_reached(text, named=False), text
    for text in ("93.184.216.34", "2606:2800:220:1::1", "64:ff9b::5db8:d822"):
        assert may_be_reached(text, named=False), text


@given(st.ip_addresses(v=4))
def test_an_address_in_another_guise_is_the_same(address: ipaddress.IPv4Address) -> None:
    plain = may_be_reached(str(address), named=False)
    assert may_be_reached(f"::ffff:{address}", named=False) == plain
    mapped = ipaddress.IPv6Address(int(ipaddress.ip_address("64:ff9b::")) | int(address))
    assert may_be_reached(str(mapped), named=False) == plain


def test_names_that_lead_astray(monkeypatch: pytest.MonkeyPatch) -> None:
    names(
        monkeypatch,
        home_test=["127.0.0.1"],
        both_test=["127.0.0.1", "93.184.216.34"],
        in_a_test=["10.0.0.5"],
        inner_test=["10.0.0.5"],
        localhost=["127.0.0.1", "::1"],
    )
    found = Rules(["home.test", "both.test", "*.a.test", "inner.test", "localhost", "none.test"])
    for host, status in (("home.test", 403), ("in.a.test", 403), ("localhost", 403)):
        with pytest.raises(Refused, match="must not reach") as refused:
            found.addresses(host, 80)
        assert refused.value.status == status
    assert found.addresses("both.test", 80) == ["93.184.216.34"]
    assert found.addresses("inner.test", 80) == ["10.0.0.5"]  # the caller has named it
    with pytest.raises(Refused, match="none.test has no address") as refused:
        found.addresses("none.test", 80)
    assert refused.value.status == 502


def test_requests() -> None:
    assert parsed(b"CONNECT a.test:443 HTTP/1.1\r\nHost: b.test\r\n\r\n") == Request(
        "a.test", 443, b""
    )
    assert parsed(b"CONNECT [::1]:443 HTTP/1.1\r\n\r\n") == Request("::1", 443, b"")
    asked = (
        b"GET http://a.test:81/x?y#z HTTP/1.1\r\nHost: b.test\r\nAccept: *\r\n"
        b"Proxy-Authorization: Basic eA==\r\nConnection: keep-alive\r\n\r\n"
    )
    sent = b"GET /x?y HTTP/1.1\r\nHost: a.test:81\r\nAccept: *\r\nConnection: close\r\n\r\n"
    assert parsed(asked) == Request("a.test", 81, sent)
    for target, path in ((b"http://a.test", b"/"), (b"http://a.test?q", b"/?q")):
        found = parsed(b"GET " + target + b" HTTP/1.0\r\n\r\n")
        assert found.head.startswith(b"GET " + path + b" HTTP/1.0\r\nHost: a.test\r\n")
        assert (found.host, found.port) == ("a.test", 80)


@pytest.mark.parametrize(
    "head",
    [
        b"",
        b"GET / HTTP/1.1",
        b"GET https://a.test/ HTTP/1.1",
        b"GET http:///x HTTP/1.1",
        b"GET http://user@a.test/ HTTP/1.1",
        b"GET http://a.test@b.test/ HTTP/1.1",
        b"GET http://a.test\\@b.test/ HTTP/1.1",
        b"GET http://.a.test/ HTTP/1.1",
        b"GET http://a..test/ HTTP/1.1",
        b"GET http://a.test../ HTTP/1.1",
        b"GET http://" + b"a" * 64 + b".test/ HTTP/1.1",
        b"GET http://a.test:0/ HTTP/1.1",
        b"GET http://a.test:65536/ HTTP/1.1",
        b"GET http://a.test/ HTTP/2.0",
        b"GET http://a.test/ x HTTP/1.1",
        b"GET http://a.test/\0 HTTP/1.1",
        b"get http://a.test/ HTTP/1.1",
        b"CONNECT a.test HTTP/1.1",
        b"CONNECT a.test:x HTTP/1.1",
        b"CONNECT a.test:443/x HTTP/1.1",
        b"CONNECT http://a.test:443 HTTP/1.1",
        b"GET http://a.test/ HTTP/1.1\r\nno header",
        b"GET http://a.test/ HTTP/1.1\r\nA: b\r\n folded",
        b"GET http://a.test/ HTTP/1.1\r\nA: b\nHost: c",
        b"GET http://a.test/ HTTP/1.1\r\nA : b",
        b"\x16\x03\x01\x02\x00\x01",
        b"SSH-2.0-x",
    ],
)
def test_what_is_no_request(head: bytes) -> None:
    with pytest.raises(Refused) as refused:
        parsed(head + b"\r\n\r\n")
    assert refused.value.status == 400


@pytest.mark.parametrize("size", [1, 3, 1000])
def test_answers(size: int) -> None:
    def said(whole: bytes) -> bytes:
        pieces = [whole[at : at + size] for at in range(0, len(whole), size)]
        return b"".join(answered(iter(pieces)))

    for own in (b"Keep-Alive: timeout=5\r\nConnection: keep-alive\r\n", b""):
        answer = b"HTTP/1.1 200 OK\r\nA: b\r\n" + own + b"Content-Length: 4\r\n\r\n\r\n\r\n"
        assert said(b"HTTP/1.1 100 Continue\r\n\r\n" + answer) == (
            b"HTTP/1.1 100 Continue\r\n\r\n"
            b"HTTP/1.1 200 OK\r\nA: b\r\nContent-Length: 4\r\nConnection: close\r\n\r\n\r\n\r\n"
        )
    for odd in (b"", b"SSH-2.0-x\r\n\r\n", b"HTTP/1.1 200 OK\r\n", b"x" * 100_000):
        with pytest.raises(Refused) as refused:
            said(odd)
        assert refused.value.status == 502


@given(st.binary(max_size=200))
def test_any_bytes_are_a_request_or_refused(data: bytes) -> None:
    head = data.replace(b"\r\n\r\n", b"") + b"\r\n\r\n"
    try:
        parsed(head)
    except Refused as refused:
        assert refused.status == 400
