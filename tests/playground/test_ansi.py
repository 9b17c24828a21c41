"""Terminal sequences: colours survive, everything else is gone."""

from __future__ import annotations

import pytest

from code_sandboxes_playground.ansi import Ansi


def text_of(pieces: list[tuple[str, dict[str, str | bool]]]) -> str:
    return "".join(text for text, _ in pieces)


def test_colours_become_styles() -> None:
    pieces = Ansi().feed("\x1b[1;31mred\x1b[39m bold\x1b[0m plain")
    assert pieces == [
        ("red", {"c": "#f87171", "b": True}),
        (" bold", {"b": True}),
        (" plain", {}),
    ]


@pytest.mark.parametrize(
    ("codes", "colour"),
    [
        ("92", "#86efac"),
        ("38;5;196", "#ff0000"),
        ("38;5;255", "#eeeeee"),
        ("38;2;255;128;0", "#ff8000"),
        ("38;2;999;999;999", "#ffffff"),
    ],
)
def test_every_way_to_say_a_colour(codes: str, colour: str) -> None:
    assert Ansi().feed(f"\x1b[{codes}mx") == [("x", {"c": colour})]


def test_text_as_dark_as_the_console_is_lightened() -> None:
    [(_, style)] = Ansi().feed("\x1b[38;2;0;0;0mhidden")
    assert style["c"] != "#000000"


@pytest.mark.parametrize(
    "sequence",
    [
        "\x1b[2J",  # clears a screen
        "\x1b[10;10H",  # moves the cursor
        "\x1b]0;title\x07",
        "\x1b]8;;http://evil.example\x1b\\",  # a link
        "\x1b]52;c;ZXZpbA==\x07",  # the clipboard
        "\x1b[?1049h",
        "\x1bc",
        "\x07\x08\x0b\x7f",
        "\x9b31m",
        "\u202e\u2066",  # turns the direction of writing
        "\x1b[38;5m",
        "\x1b[;;;;99999999999999999999m",
    ],
)
def test_other_sequences_vanish(sequence: str) -> None:
    shown = text_of(Ansi().feed(f"a{sequence}b"))
    assert shown in ("ab", "a31mb")
    assert shown.isprintable()


def test_a_sequence_cut_in_two_is_one() -> None:
    ansi = Ansi()
    assert ansi.feed("a\x1b[3") == [("a", {})]
    assert ansi.feed("2mgreen") == [("green", {"c": "#4ade80"})]


def test_a_sequence_that_never_ends_hides_little() -> None:
    ansi = Ansi()
    for _ in range(20):
        ansi.feed("\x1b]0;" + "x" * 1000)
        assert len(ansi.rest) <= 4096
    assert "after" in text_of(ansi.feed("\x07after"))


def test_what_utf8_cannot_say_is_replaced() -> None:
    assert text_of(Ansi().feed("\ud800x")) == "?x"
