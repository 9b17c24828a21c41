"""Terminal output as styled pieces: colours are kept, every other control sequence goes."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import Any

_TOKEN = re.compile(
    r"\x1b\[(?P<sgr>[0-9;:]*)m"
    r"|\x1b\[[0-?]*[ -/]*[@-~]"  # other CSI
    r"|\x1b[\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\)"  # OSC and its like: titles, links, the clipboard
    r"|\x1b[ -/]*[0-~]"
    r"|[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]"
)
_UNFINISHED = re.compile(r"\x1b(?:\[[0-?]*[ -/]*|[\]PX^_][^\x07\x1b]*\x1b?|[ -/]*)?\Z")
Piece = tuple[str, dict[str, str | bool]]  # text and `Style.as_json()`

_LONGEST = 4096  # an unfinished sequence longer than this is none
_BASIC = (
    ("#6b7280", "#f87171", "#4ade80", "#facc15", "#60a5fa", "#e879f9", "#22d3ee", "#e5e7eb"),
    ("#9ca3af", "#fca5a5", "#86efac", "#fde047", "#93c5fd", "#f0abfc", "#67e8f9", "#ffffff"),
)

_SWITCHES: dict[int, dict[str, Any]] = {
    1: {"bold": True},
    2: {"dim": True},
    3: {"italic": True},
    4: {"underline": True},
    22: {"bold": False, "dim": False},
    23: {"italic": False},
    24: {"underline": False},
    39: {"color": ""},
}


@dataclass(frozen=True, slots=True)
class Style:
    """How a piece of text looks: a colour as ``#rrggbb`` or ``""``, and weight.

    Example:
        >>> Style(color="#ff0000").as_json()
        {'c': '#ff0000'}
    """

    color: str = ""
    bold: bool = False
    dim: bool = False
    italic: bool = False
    underline: bool = False

    def as_json(self) -> dict[str, str | bool]:
        """Only what differs from plain text; the page knows these five letters."""
        given: dict[str, str | bool] = {
            "c": self.color,
            "b": self.bold,
            "d": self.dim,
            "i": self.italic,
            "u": self.underline,
        }
        return {key: value for key, value in given.items() if value}


@dataclass
class Ansi:
    """Turns one stream of terminal output into styled text, piece by piece.

    A sequence cut in two by the end of a piece is understood; one that never ends is dropped.

    Example:
        >>> Ansi().feed("\\x1b[1mbold\\x1b[0m plain")
        [('bold', {'b': True}), (' plain', {})]
    """

    style: Style = field(default_factory=Style)
    rest: str = ""

    def feed(self, text: str) -> list[Piece]:
        """The styled pieces of `text`, without any control character but tab and newline.

        Args:
            text: the next piece of the stream, hostile.
        """
        text, self.rest = self.rest + text, ""
        if cut := _UNFINISHED.search(text[-_LONGEST:]):
            kept = len(cut.group())
            text, self.rest = text[:-kept], text[-kept:]
        pieces: list[Piece] = []
        at = 0
        for token in _TOKEN.finditer(text):
            self._add(pieces, text[at : token.start()])
            at = token.end()
            if token["sgr"] is not None:
                self.style = _restyled(self.style, token["sgr"])
        self._add(pieces, text[at:])
        return pieces

    def _add(self, pieces: list[Piece], text: str) -> None:
        if not text:
            return
        text, style = encodable(text), self.style.as_json()
        if pieces and pieces[-1][1] == style:
            text = pieces.pop()[0] + text
        pieces.append((text, style))


def encodable(text: str) -> str:
    """`text` with lone surrogates replaced, so that it can be sent as UTF-8."""
    return text.encode("utf-8", "replace").decode("utf-8")


def _restyled(style: Style, codes: str) -> Style:
    """`style` after the SGR sequence with these codes; what is unknown changes nothing."""
    numbers = [int(code[:4] or 0) for code in re.split("[;:]", codes[:256])]
    while numbers:
        code = numbers.pop(0)
        if code == 0:
            style = Style()
        elif code in _SWITCHES:
            style = replace(style, **_SWITCHES[code])
        elif 30 <= code <= 37 or 90 <= code <= 97:
            style = replace(style, color=_BASIC[code >= 90][code % 10])
        elif code in (38, 48):
            color = _extended(numbers)
            style = replace(style, color=color) if code == 38 and color else style
    return style


def _extended(numbers: list[int]) -> str:
    """The colour that follows 38 or 48 (`5;n` or `2;r;g;b`), taken off `numbers`."""
    kind = numbers.pop(0) if numbers else 0
    if kind == 2 and len(numbers) >= 3:
        red, green, blue = (min(numbers.pop(0), 255) for _ in range(3))
        return _readable(red, green, blue)
    if kind != 5 or not numbers:
        return ""
    index = min(numbers.pop(0), 255)
    if index < 16:
        return _BASIC[index // 8][index % 8]
    if index >= 232:
        return _readable(*[8 + 10 * (index - 232)] * 3)
    levels = (0, 95, 135, 175, 215, 255)
    index -= 16
    return _readable(levels[index // 36], levels[index // 6 % 6], levels[index % 6])


def _readable(red: int, green: int, blue: int) -> str:
    """The colour, lightened if it would drown in the dark ground of the console."""
    luminance = (0.299 * red + 0.587 * green + 0.114 * blue) / 255
    if luminance < 0.29:
        red, green, blue = (level + (255 - level) // 2 for level in (red, green, blue))
    return f"#{red:02x}{green:02x}{blue:02x}"
