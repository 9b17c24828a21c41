"""What one step of a `CodeAgent` makes of a result."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Any

import PIL.Image

from code_sandboxes import ExecutionError, ExecutionResult, Result

from ._render import MAX_IMAGES, assemble, bounded, clean, image_of, text_of
from ._values import MAX_PIXELS

MAX_TRACEBACK = 10_000


@dataclass(frozen=True)
class Step:
    """A result as smolagents wants it.

    Attributes:
        logs: what was printed.
        images: the pictures that were shown, the last few of them.
        output: the value of the last expression, as a picture if it has one, else as text; the
            last picture shown where there is no value.
        failure: what to tell the model if the code failed, else ``""``.
    """

    logs: str
    images: list[PIL.Image.Image]
    output: Any
    failure: str


def read(result: ExecutionResult, max_chars: int) -> Step:
    """The step that `result` was; its logs and its output have at most `max_chars` each."""
    notes = [f"[{result.dropped:,} bytes of output were not kept]"] if result.dropped else []
    logs = assemble([("", result.stdout), ("stderr", result.stderr)], notes, max_chars, empty="")
    logs += "\n" if logs else ""  # smolagents goes on with its own text right after
    shown = [each for each in result.results if image_of(each)][-MAX_IMAGES:]
    pictures = {id(each): picture for each in shown if (picture := _picture(each))}
    images = list(pictures.values())
    output: Any = images[-1] if images else None
    for each in result.results:
        if each.is_main:
            output = pictures.get(id(each)) or bounded(clean(text_of(each)), max_chars)
    failure = "" if result.error is None else _failure(result.error, result.duration)
    return Step(logs, images, output, failure)


def _picture(result: Result) -> PIL.Image.Image | None:
    image = image_of(result)
    if image is None:
        return None
    try:
        picture = PIL.Image.open(io.BytesIO(image.data), formats=["PNG", "JPEG"])
        if picture.width * picture.height > MAX_PIXELS:
            return None  # a few kilobytes can be gigabytes of pixels
        picture.load()  # now, since the agent would fail later, where nobody expects it
    # what Pillow raises for data that is no picture; the code chooses the data
    except (OSError, SyntaxError, ValueError, PIL.Image.DecompressionBombError):
        return None
    return picture


def _failure(error: ExecutionError, duration: float) -> str:
    traceback = bounded(clean(error.traceback), MAX_TRACEBACK)
    if error.state_lost:
        return (
            f"The interpreter was restarted ({bounded(clean(str(error)), 500)}). Variables and "
            "imports are gone; tools and the given variables are defined again."
        )
    if error.name == "ExecutionTimeout":
        what = f"The code ran longer than {duration:.3g} s and was interrupted."
        return f"{what} Variables set before that are kept.\n{traceback}".rstrip()
    if error.name == "KeyboardInterrupt":
        return (
            f"The code was interrupted. Variables set before that are kept.\n{traceback}".rstrip()
        )
    return traceback or bounded(clean(str(error)), MAX_TRACEBACK)
