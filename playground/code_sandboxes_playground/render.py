"""What a sandbox shows, as items that the page can show without trusting it.

Nothing here becomes markup of the page: text is set as text, images are ``<img>`` with a
``data:`` address (where scripts of an SVG do not run), and HTML goes into a frame with an empty
``sandbox`` attribute and a policy of its own: no scripts, no forms, no requests, no navigation.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping
from typing import Any

from code_sandboxes import ExecutionError, Result, printable

from .ansi import Ansi, encodable
from .feed import Item

MOST_IMAGE = 8 << 20  # bytes of one image
MOST_HTML = 2 << 20  # characters of one HTML result
MOST_TEXT = 50_000  # characters of one textual result
MOST_TRACEBACK = 30_000

POLICY = (
    "default-src 'none'; img-src data:; font-src data:; style-src 'unsafe-inline'; "
    "form-action 'none'; base-uri 'none'"
)
_STYLE = """
body{font:13px/1.5 system-ui,sans-serif;margin:8px 10px;color:#1f2937;background:#fff}
table{border-collapse:collapse;border:0}
th,td{padding:3px 10px;border:0;border-bottom:1px solid #e5e7eb;text-align:right}
thead th{border-bottom:2px solid #cbd5e1}
"""
_HEADS = {"image/png": b"\x89PNG\r\n\x1a\n", "image/jpeg": b"\xff\xd8\xff"}
_SCRIPT = re.compile(r"<script\b|\bon[a-z]+\s*=", re.IGNORECASE)


def show(data: Mapping[str, Any]) -> Item:
    """The richest representation that the page can show safely.

    Args:
        data: MIME type to content, from a sandbox: hostile.

    Returns:
        an item of kind ``image``, ``frame`` or ``value``; never markup.

    Example:
        >>> show({"text/plain": "42"})
        {'kind': 'value', 'text': '42'}
    """
    result = Result(data)
    for mime, content in (("image/png", result.png), ("image/jpeg", result.jpeg)):
        if content and content.startswith(_HEADS[mime]):
            return _image(mime, content, result.text)
    if result.svg is not None:
        return _image("image/svg+xml", encodable(result.svg).encode(), result.text)
    if result.html is not None:
        return _frame(result.html, result.text)
    return _value(_textual(result))


def failure(error: ExecutionError) -> Item:
    """An error with its traceback, colours kept.

    Args:
        error: of an execution or of a command.

    Example:
        >>> failure(ExecutionError("ValueError", "no"))
        {'kind': 'error', 'parts': [('ValueError: no', {})]}
    """
    text = error.traceback or f"{error.name}: {error.value}".removesuffix(": ")
    item: Item = {"kind": "error", "parts": Ansi().feed(_cut(text, MOST_TRACEBACK))}
    if error.state_lost:
        item["note"] = "The interpreter was restarted: its variables are gone."
    return item


def frame_document(html: str) -> str:
    """A document for a frame with ``sandbox=""``, with a policy that allows no request.

    Args:
        html: hostile.

    Example:
        >>> "default-src 'none'" in frame_document("<b>hi</b>")
        True
    """
    return (
        '<!doctype html><html><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        '<meta name="referrer" content="no-referrer">'
        f"<style>{_STYLE}</style></head><body>{encodable(html)}</body></html>"
    )


def size(number: float) -> str:
    """A number of bytes for people.

    Example:
        >>> size(2048)
        '2.0 KiB'
    """
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if number < 1024 or unit == "GiB":
            break
        number /= 1024
    return f"{number:.0f} bytes" if unit == "bytes" else f"{number:.1f} {unit}"


def _image(mime: str, content: bytes, alternative: str) -> Item:
    if len(content) > MOST_IMAGE:
        return _value(alternative, f"an image of {size(len(content))} is too large to show")
    encoded = base64.b64encode(content).decode()
    alt = _cut(printable(alternative), 200)
    return {"kind": "image", "src": f"data:{mime};base64,{encoded}", "alt": alt}


def _frame(html: str, alternative: str) -> Item:
    if len(html) > MOST_HTML:
        return _value(alternative, f"HTML of {size(len(html))} is too large to show")
    item: Item = {"kind": "frame", "srcdoc": frame_document(html), "height": _height(html)}
    if _SCRIPT.search(html):
        item["note"] = "Scripts in HTML results do not run here."
    return item


def _height(html: str) -> int:
    """A guess in pixels, since nothing in the frame may measure it."""
    rows = len(re.findall(r"<(?:tr|p|li|br|h[1-6])\b", html, re.IGNORECASE))
    return min(420, max(60, 24 + 28 * rows))


def _textual(result: Result) -> str:
    for content in (result.markdown, result.latex):
        if content is not None:
            return content
    if result.json is not None and not result.text:
        try:
            return json.dumps(result.json, indent=2, ensure_ascii=False)
        except RecursionError:
            return "(nested too deeply to be shown)"
    return result.text


def _value(text: str, why: str = "") -> Item:
    item: Item = {"kind": "value", "text": printable(_cut(text, MOST_TEXT))}
    if why:
        item["note"] = why
    return item


def _cut(text: str, most: int) -> str:
    """The head and the tail of `text`, and how much is between."""
    if len(text) <= most:
        return text
    half = most // 2
    return f"{text[:half]}\n[... {len(text) - 2 * half:,} characters ...]\n{text[-half:]}"
