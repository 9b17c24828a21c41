"""What a language model reads of a result: labelled blocks, bounded, free of control codes."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from code_sandboxes import CommandResult, ExecutionError, ExecutionResult, OutputMessage, Result

MAX_IMAGES = 4
# What providers take: 5 MB of base64, 8000 pixels a side. A refused image would make every later
# request of the conversation fail, since it stays in the history.
MAX_IMAGE_BYTES = 3_700_000
MAX_IMAGE_SIDE = 8000

_OBJECT = re.compile(r"<[\w.]+ object(?: at 0x[0-9a-f]+)?>")
_TEXT_TYPES = ("text/markdown", "text/plain", "text/latex", "application/json", "text/html")


@dataclass(frozen=True)
class Image:
    """A picture that the code showed.

    Attributes:
        data: its bytes, in the format that `mime` says.
        mime: ``"image/png"`` or ``"image/jpeg"``.
    """

    data: bytes
    mime: str


@dataclass(frozen=True)
class Rendered:
    """A result, made fit for a language model.

    Attributes:
        text: the labelled blocks.
        images: pictures, apart from the text.
        failed: whether the code failed, or the command could not run to its own end; an exit code
            alone is an answer.
        details: the same in short for programs: small JSON, never sent to a model.
    """

    text: str
    images: tuple[Image, ...] = ()
    failed: bool = False
    details: Mapping[str, Any] = field(default_factory=dict)


def render(
    result: ExecutionResult | CommandResult,
    *,
    max_chars: int = 50_000,
    max_images: int = MAX_IMAGES,
    ended: bool = False,
) -> Rendered:
    """One text for everything that `result` says, and its pictures.

    Args:
        result: what code or a command left.
        max_chars: the most characters of output; head and tail of each block are kept.
        max_images: the most pictures; the last ones are kept.
        ended: whether the sandbox is there no more.

    Example:
        >>> value = Result({"text/plain": "3"}, is_main=True)
        >>> print(render(ExecutionResult(stdout="hello\\n", results=[value])).text)
        [stdout]
        hello
        [result]
        3
    """
    if isinstance(result, CommandResult):
        return _render_command(result, max_chars)
    shown = [image for each in result.results if (image := image_of(each))]
    images = tuple(shown[-max_images:]) if max_images > 0 else ()
    blocks = [("stdout", result.stdout), ("stderr", result.stderr)]
    blocks += [("result" if each.is_main else "display", text_of(each)) for each in result.results]
    said = notices(result.error, result.duration, ended=ended)
    if result.error is not None and (result.error.traceback or not said):
        blocks.append(("error", result.error.traceback or str(result.error)))
    notes = [*_dropped(result.dropped), *said]
    if hidden := len(shown) - len(images):
        notes.append(f"[{hidden} of {len(shown)} images left out]")
    details = _details(result) | {
        "execution_count": result.execution_count,
        "mime_types": [sorted(each.data) for each in result.results],
    }
    return Rendered(assemble(blocks, notes, max_chars), images, not result.success, details)


def _render_command(result: CommandResult, max_chars: int) -> Rendered:
    notes = list(_dropped(result.dropped))
    if result.error is not None:
        verb = f"stopped after {result.duration:.3g} s" if result.exit_code == 124 else "failed"
        notes.append(f"[{verb}: {clean(result.error.value) or result.error.name}]")
    if result.exit_code:
        notes.append(f"[exit code: {result.exit_code}]")
    text = assemble([("stdout", result.stdout), ("stderr", result.stderr)], notes, max_chars)
    details = _details(result) | {"exit_code": result.exit_code}
    return Rendered(text, (), result.error is not None, details)


def _details(result: ExecutionResult | CommandResult) -> dict[str, Any]:
    error = result.error
    return {
        "success": result.success,
        "error": None
        if error is None
        else {"name": error.name, "value": bounded(error.value, 2000)},
        "state_lost": error is not None and error.state_lost,
        "duration": round(result.duration, 3),
    }


def notices(error: ExecutionError | None, duration: float, *, ended: bool = False) -> list[str]:
    """In one plain line, what an error did to the variables; nothing for an ordinary exception."""
    if error is None:
        return []
    if error.state_lost:
        what = "the interpreter was restarted; variables and imports are gone, files are kept"
        if ended:
            what = "the sandbox has ended; variables and files are gone"
        return [f"[{error.name}: {what}]"]
    if error.name == "ExecutionTimeout":
        return [f"[interrupted after {duration:.3g} s; variables are kept]"]
    if error.name == "KeyboardInterrupt":
        return ["[interrupted; variables are kept]"]
    return []


def _dropped(size: int) -> list[str]:
    return [f"[{size:,} bytes of output were not kept]"] if size else []


def image_of(result: Result) -> Image | None:
    """The picture in a rich result, if it has one that a model can be given."""
    return as_image(result.png or b"") or as_image(result.jpeg or b"")


def as_image(data: bytes) -> Image | None:
    """`data` as a picture that a model can be given, if it is one."""
    if len(data) > MAX_IMAGE_BYTES:
        return None
    if data.startswith(b"\xff\xd8\xff"):
        return Image(data, "image/jpeg")
    sides = int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big")
    if data.startswith(b"\x89PNG\r\n\x1a\n") and all(0 < side <= MAX_IMAGE_SIDE for side in sides):
        return Image(data, "image/png")
    return None


def text_of(result: Result) -> str:
    """The text of a rich result: what says most in the fewest characters."""
    for mime in _TEXT_TYPES:
        text = result.text if mime == "text/plain" else str(result.data.get(mime) or "")
        # the repr of an IPython display object says nothing
        if text and not (mime == "text/plain" and _OBJECT.fullmatch(text)):
            return text
    return f"<{', '.join(sorted(result.data))}>" if result.data else ""


def assemble(
    blocks: Iterable[tuple[str, str]],
    notes: Iterable[str],
    max_chars: int,
    empty: str = "(no output)",
) -> str:
    """The labelled blocks, each cut so that all of them have at most `max_chars` together."""
    cleaned = [(label, text) for label, raw in blocks if (text := clean(raw))]
    left, shares = max_chars, dict[int, int]()
    # the shortest first: what they do not need is for the longer ones
    for rank, index in enumerate(sorted(range(len(cleaned)), key=lambda i: len(cleaned[i][1]))):
        shares[index] = min(len(cleaned[index][1]), left // (len(cleaned) - rank))
        left -= shares[index]
    parts = []
    for index, (label, text) in enumerate(cleaned):
        parts += [f"[{label}]"] if label else []
        parts.append(bounded(text, shares[index]))
    return "\n".join([*parts, *notes]) or empty


def clean(text: str) -> str:
    """`text` as a terminal would leave it: progress bars at their last state, no control codes."""
    if "\r" in text:
        lines = (line.rstrip("\r").rpartition("\r")[2] for line in text.split("\n"))
        text = "\n".join(lines)
    return _printable(text).strip("\n")


def _printable(text: str) -> str:
    # the engine cleans all that it makes of itself with str(), and has no function for it
    return str(OutputMessage(text, timestamp=0.0))


def bounded(text: str, most: int) -> str:
    """The head and the tail of `text`, about `most` characters, and how much is between them.

    >>> print(bounded("a" * 1000, 10))
    aaaaa
    [... 990 characters left out; write large output to a file and read it in parts ...]
    aaaaa
    """
    if len(text) <= most:
        return text
    head, tail = text[: most - most // 2], text[len(text) - most // 2 :]
    advice = "characters left out; write large output to a file and read it in parts"
    return f"{head}\n[... {len(text) - most:,} {advice} ...]\n{tail}"
