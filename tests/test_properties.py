"""Protocols and foldings hold for any input: found by hypothesis, checked against simple models."""

from __future__ import annotations

import json
import re
import struct
import tempfile
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from code_sandboxes import SandboxError, SandboxGoneError, printable
from code_sandboxes.answer import Answer
from code_sandboxes.channels.worker import WorkerChannel
from code_sandboxes.events import Done, Event, Output
from code_sandboxes.fold import Fold, Kept, Lines
from code_sandboxes.inside.mux import HEADER, Mux, ProtocolError
from code_sandboxes.inside.stream import DATA, MESSAGE, WINDOW, Stream
from code_sandboxes.inside.writing import BLOCK, BlockWriter
from code_sandboxes.machine import HostMux, Machine
from code_sandboxes.text import shortened
from properties import JSON, chunked, few


# the multiplexer ------------------------------------------------------------------------
def nothing(*_: object) -> None:
    """A push that takes no notice."""


def add(items: list[Any], lane: int, item: Any, kind: int = DATA) -> None:
    """Note what was sent or came; data is one stream of bytes, however it is cut."""
    if kind == DATA and items and items[-1][:2] == (DATA, lane):
        items[-1] = (DATA, lane, items[-1][2] + item)
    elif item != b"":
        items.append((kind, lane, item))


@few
@given(
    data=st.data(),
    sent=st.lists(
        st.tuples(st.integers(0, 3), st.integers(0, 255), st.binary(max_size=300) | JSON),
        max_size=12,
    ),
)
def test_streams_arrive_however_they_are_cut(data: st.DataObject, sent: list[Any]) -> None:
    wire = bytearray()
    host = Mux(lambda *parts: wire.extend(b"".join(parts)))
    streams = [host.open({"op": n}, nothing) for n in range(4)]
    expected: dict[int, list[Any]] = {stream.number: [] for stream in streams}
    for which, lane, item in sent:
        stream = streams[which]
        if isinstance(item, bytes):
            stream.post(lane, item)
            add(expected[stream.number], lane, item)
        else:
            stream.tell(item)
            expected[stream.number].append((MESSAGE, 0, item))
    got: dict[int, list[Any]] = {}
    opened: list[Any] = []

    def on_open(stream: Stream, request: Any) -> None:
        opened.append(request)
        items = got[stream.number] = []
        stream.listen(lambda _, kind, lane, payload: add(items, lane, payload, kind))

    inside = Mux(nothing, on_open)
    for piece in data.draw(chunked(bytes(wire))):
        inside.feed(piece)
    assert opened == [{"op": n} for n in range(4)]
    assert got == expected


@few
@given(st.lists(st.tuples(st.integers(0, 3 * WINDOW), st.integers(0, 20)), max_size=8))
def test_credit_bounds_what_is_under_way_and_comes_back_whole(steps: list[tuple[int, int]]) -> None:
    down, up, opened = list[bytes](), list[bytes](), list[Stream]()
    host = Mux(lambda *parts: down.append(b"".join(parts)))
    inside = Mux(lambda *parts: up.append(b"".join(parts)), lambda stream, _: opened.append(stream))
    sender = host.open({}, nothing)

    def pump() -> None:
        while down or up:
            inside.feed(down.pop(0)) if down else host.feed(up.pop(0))
        assert sum(len(item[2]) for item in opened[0]._items) <= WINDOW

    pump()
    got = 0
    for size, takes in [*steps, (0, 1000)]:
        sender.post(0, bytes(size))
        pump()
        for _ in range(takes):
            if opened[0]._items:
                got += len(opened[0].receive()[2])
                pump()
    assert got == sum(size for size, _ in steps)
    assert sender._credit + opened[0]._owed == WINDOW


FRAME = st.builds(
    lambda kind, lane, number, length, payload: (
        HEADER.pack(kind, lane, number, len(payload) if length is None else length) + payload
    ),
    st.integers(0, 8),
    st.integers(0, 255),
    st.integers(0, 5),
    st.none() | st.integers(0, 2**32 - 1),
    st.binary(max_size=40)
    | JSON.map(lambda value: json.dumps(value).encode())
    | st.just(struct.pack(">I", 2**31)),
)


@few
@given(data=st.data(), junk=st.lists(st.binary(max_size=40) | FRAME, max_size=8).map(b"".join))
def test_any_bytes_are_frames_or_a_protocol_error(data: st.DataObject, junk: bytes) -> None:
    for on_open in (None, nothing):
        mux = Mux(nothing, on_open)
        for n in range(3):
            mux.open(n, nothing)
        with suppress(ProtocolError):
            for piece in data.draw(chunked(junk)):
                mux.feed(piece)
        mux.close()


class Script:
    """A pipe whose other end says what it was told to."""

    def __init__(self, pieces: list[bytes]) -> None:
        self._pieces = iter([*filter(None, pieces), b""])

    def read(self) -> bytes:
        return next(self._pieces)

    def write(self, *parts: bytes) -> None:
        """Nobody listens."""

    close = free = lambda self: None


@few
@given(data=st.data(), junk=st.lists(st.binary(max_size=40) | FRAME, max_size=8).map(b"".join))
def test_a_hostile_supervisor_is_a_sandbox_that_is_gone(data: st.DataObject, junk: bytes) -> None:
    with suppress(SandboxError):
        machine = Machine(Script(data.draw(chunked(junk))))  # type: ignore[arg-type]
        machine.wait_ready()
        machine.call("file", verb="exists", path="x").result(5)


# what an interpreter says ---------------------------------------------------------------
class Quiet:
    """The process of a WorkerChannel, without a process."""

    ended = ""
    paid = 0

    def taken(self, size: int) -> None:
        self.paid += size

    def kill(self) -> None:
        """It is dead already."""

    def write(self, data: bytes) -> None:
        self.said = json.loads(data)


def channel() -> tuple[WorkerChannel, Quiet, list[Event]]:
    made: Any = WorkerChannel.__new__(WorkerChannel)
    events: list[Event] = []
    made._rest, made._emit, made._run, made._process = bytearray(), None, 1, Quiet()
    made.submit("", events.append)
    return made, made._process, events


@few
@given(data=st.data(), texts=st.lists(st.text(min_size=1, max_size=50), max_size=8))
def test_events_arrive_however_they_are_cut(data: st.DataObject, texts: list[str]) -> None:
    made, process, events = channel()
    lines = [{"out": text, "stream": "stdout"} for text in texts]
    lines.append({"done": 3, "run": process.said["run"]})
    wire = b"".join(json.dumps(line).encode() + b"\n" for line in lines)
    for piece in data.draw(chunked(wire)):
        made._data(3, piece)
    assert [event.text for event in events if isinstance(event, Output)] == texts
    assert isinstance(events[-1], Done)
    for event in events:
        if isinstance(event, Output):
            made.taken(event.size)
    assert process.paid == len(wire)  # all the credit has gone back


@few
@given(
    data=st.data(),
    junk=st.lists(
        st.binary(max_size=30)
        | JSON.map(lambda value: json.dumps(value).encode() + b"\n")
        | st.fixed_dictionaries(
            {},
            optional=dict.fromkeys(
                ("out", "stream", "display", "main", "error", "ask", "kind", "done"), JSON
            ),
        ).map(lambda value: json.dumps(value).encode() + b"\n"),
        max_size=6,
    ).map(b"".join),
)
def test_any_bytes_of_an_interpreter_are_events_or_its_end(
    data: st.DataObject, junk: bytes
) -> None:
    made, _, events = channel()
    for piece in data.draw(chunked(junk)):
        made._data(3, piece)
    fold = Fold(1000)
    for event in events:
        fold.add(event)
    assert repr(fold.execution()).encode()
    assert [isinstance(event, Done) for event in events].count(True) <= 1


# folding --------------------------------------------------------------------------------
@few
@given(
    most=st.integers(1, 40),
    pieces=st.lists(
        st.tuples(st.sampled_from(["stdout", "stderr"]), st.binary(max_size=20)), max_size=12
    ),
)
def test_head_and_tail_are_kept(most: int, pieces: list[Any]) -> None:
    kept = Kept(most)
    for stream, piece in pieces:
        kept.add(stream, piece)
    every = [(stream, byte) for stream, piece in pieces for byte in piece]
    head, rest = every[: most - most // 2], every[most - most // 2 :]
    tail = rest[max(0, len(rest) - most // 2) :]
    assert kept.dropped == len(every) - len(head) - len(tail)
    for name in ("stdout", "stderr"):
        wanted = bytes(byte for stream, byte in head + tail if stream == name)
        assert kept.bytes(name) == wanted  # type: ignore[arg-type]
        whole = b"".join(piece for stream, piece in pieces if stream == name)
        cut = len(whole) - len(wanted)
        text = kept.text(name)  # type: ignore[arg-type]
        assert (
            (f"{cut:,} bytes left out" in text) if cut else text == whole.decode("utf-8", "replace")
        )


@few
@given(chunks=st.lists(st.text(alphabet="ab\r\n\u2028", max_size=6), max_size=12))
def test_lines_are_the_same_however_they_are_cut(chunks: list[str]) -> None:
    lines = Lines(error=False)
    got = [message.line for chunk in chunks for message in lines.add(Output(chunk))]
    got += [message.line for message in lines.rest()]
    *whole, rest = re.split("\r\n|\r|\n", "".join(chunks))
    assert got == whole + ([rest] if rest else [])


@few
@given(text=st.text(), most=st.integers(0, 30))
def test_shown_text_is_harmless(text: str, most: int) -> None:
    clean = printable(text + "\x1b[31m\x1b]0;title\x07\u202e" + text)
    assert clean == printable(clean)
    assert not set(clean) & {"\x1b", "\x07", "\r", "\u202e", "\x9b"}
    clean.encode()
    short = shortened(text, most)
    assert short == text if len(text) <= most else short.startswith(text[: most - most // 2])


@few
@given(
    sizes=st.lists(st.integers(0, 3 * BLOCK) | st.integers(0, 3), max_size=20),
    ones=st.sampled_from([0, 7, 500]),
)
def test_blocks_make_the_file_whatever_the_pieces(sizes: list[int], ones: int) -> None:
    pieces = [bytes([n % 256]) * size for n, size in enumerate(sizes)] + [b"1"] * ones
    with tempfile.TemporaryFile() as file:
        blocks = BlockWriter(file.fileno())
        for piece in pieces:
            blocks.add([piece])
            if ones == 0:
                assert file.tell() % BLOCK == 0
        blocks.flush()
        file.seek(0)
        assert file.read() == b"".join(pieces)


def test_what_comes_in_small_pieces_takes_no_more_than_it_is() -> None:
    mux = HostMux(lambda *parts: None)
    answer = Answer(None, SandboxGoneError, None)
    stream = mux.open({"op": "read"}, answer.push, views=True)
    for piece in (b"", b"x", b"y" * 40_000, b"", b"z"):
        frame = HEADER.pack(DATA, 0, stream.number, len(piece)) + piece
        for _ in range(20):
            mux.feed(frame)
    said = b'{"ok": null}'
    mux.feed(HEADER.pack(MESSAGE, 0, stream.number, len(said)) + said)
    pieces = answer.future.result(0)
    assert b"".join(pieces) == b"x" * 20 + (b"y" * 40_000) * 20 + b"z" * 20
    assert len(pieces) == 22


def test_more_than_its_credit_ends_the_connection() -> None:
    """A hostile supervisor cannot fill the host's memory with what nobody reads."""
    mux = HostMux(lambda *parts: None)
    stream = mux.open({"op": "read"}, lambda *_: None)
    frame = HEADER.pack(DATA, 0, stream.number, 1 << 20) + bytes(1 << 20)
    for _ in range(60):
        mux.feed(frame)
    stream.taken(60 << 20)
    with pytest.raises(ProtocolError, match="more than it may"):
        for _ in range(70):
            mux.feed(frame)
