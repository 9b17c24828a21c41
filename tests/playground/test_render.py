"""Everything from a sandbox is hostile, and none of it may become markup of the page."""

from __future__ import annotations

import base64
import json
import re
from typing import Any

import pytest

from code_sandboxes import ExecutionError
from code_sandboxes_playground.render import (
    MOST_HTML,
    MOST_IMAGE,
    MOST_TEXT,
    failure,
    frame_document,
    show,
)

PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
HOSTILE = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "<iframe src=javascript:alert(1)></iframe>",
    '"><svg onload=alert(1)>',
    "</body></html><script>alert(1)</script>",
    "<meta http-equiv=refresh content='0;url=https://evil.example'>",
    "${alert(1)} {{constructor.constructor('alert(1)')()}}",
    "<base href=https://evil.example><link rel=stylesheet href=//evil.example/x.css>",
]


def encoded(content: bytes) -> str:
    return base64.b64encode(content).decode()


@pytest.mark.parametrize("html", HOSTILE)
def test_html_is_only_ever_the_document_of_a_frame(html: str) -> None:
    item = show({"text/html": html, "text/plain": "x"})
    assert item["kind"] == "frame"
    assert set(item) <= {"kind", "srcdoc", "height", "note"}
    assert html in item["srcdoc"]
    others = json.dumps({key: value for key, value in item.items() if key != "srcdoc"})
    assert "alert" not in others and "evil" not in others


@pytest.mark.parametrize("html", HOSTILE)
def test_the_policy_of_a_frame_comes_before_the_html(html: str) -> None:
    document = frame_document(html)
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]+)"', document)
    assert policy is not None
    assert policy.end() < document.index(html)
    rules = dict(rule.strip().split(" ", 1) for rule in policy[1].split(";"))
    assert rules["default-src"] == "'none'"
    assert rules["img-src"] == "data:"
    assert rules["form-action"] == rules["base-uri"] == "'none'"
    assert "script-src" not in rules and "connect-src" not in rules


def test_scripts_in_html_are_said_not_to_run() -> None:
    assert "do not run" in show({"text/html": "<script>1</script>"})["note"]
    assert "note" not in show({"text/html": "<b>only text</b>"})


@pytest.mark.parametrize("text", HOSTILE)
@pytest.mark.parametrize("mime", ["text/plain", "text/markdown", "text/latex", "text/x-unknown"])
def test_text_stays_text(mime: str, text: str) -> None:
    item = show({mime: text})
    assert item == {"kind": "value", "text": text if mime != "text/x-unknown" else ""}


def test_svg_is_only_ever_the_address_of_an_image() -> None:
    svg = "<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>"
    item = show({"image/svg+xml": svg, "text/html": "<b>worse</b>"})
    assert set(item) == {"kind", "src", "alt"}
    head, _, body = item["src"].partition(",")
    assert head == "data:image/svg+xml;base64"
    assert base64.b64decode(body).decode() == svg


def test_a_png_is_an_image() -> None:
    item = show({"image/png": encoded(PNG) + "\n", "text/plain": "<Figure>", "text/html": "x"})
    assert item == {
        "kind": "image",
        "src": f"data:image/png;base64,{encoded(PNG)}",
        "alt": "<Figure>",
    }


@pytest.mark.parametrize(
    "content",
    [
        encoded(b"<html><script>alert(1)</script>"),
        "not base64 \x00 at all",
        '"><script>',
        "",
        5,
        [],
    ],
)
def test_what_is_no_png_is_not_shown_as_one(content: Any) -> None:
    assert show({"image/png": content, "text/plain": "text"}) == {"kind": "value", "text": "text"}


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"text/plain": None},
        {"text/plain": ["a", "b"]},
        {"text/plain": {"a": 1}},
        {"text/html": 5},
        {"image/svg+xml": ["<svg>", "</svg>"]},
        {"application/json": {"a": [1, None]}},
        {"text/plain": "\ud800\x00\u202e\x1b[31m"},
        {"text/html": "\ud800"},
        {"image/svg+xml": "\udfff"},
        {5: "x"},
    ],
)
def test_nothing_that_a_sandbox_sends_fails(data: dict[Any, Any]) -> None:
    assert json.dumps(show(data)).encode().decode("utf-8")
    assert show(data)["kind"] in ("value", "frame", "image")


def test_deep_json_is_said_to_be_too_deep() -> None:
    deep: Any = []
    for _ in range(100_000):
        deep = [deep]
    assert "deeply" in show({"application/json": deep})["text"]


def test_large_results_are_bounded() -> None:
    text = show({"text/plain": "x" * 10_000_000})["text"]
    assert len(text) < MOST_TEXT + 200 and "characters" in text
    html = show({"text/html": "x" * (MOST_HTML + 1), "text/plain": "short"})
    assert (html["kind"], html["text"]) == ("value", "short")
    assert "too large" in html["note"]
    image = show({"image/png": encoded(PNG + bytes(MOST_IMAGE)), "text/plain": "short"})
    assert (image["kind"], image["text"]) == ("value", "short")


def test_frames_have_a_bounded_height() -> None:
    assert show({"text/html": "<tr>" * 10_000})["height"] <= 420
    assert show({"text/html": ""})["height"] >= 40


def test_an_error_shows_its_traceback_in_colour() -> None:
    item = failure(ExecutionError("ValueError", "no", "\x1b[31mValueError\x1b[0m: no"))
    assert item == {
        "kind": "error",
        "parts": [("ValueError", {"c": "#f87171"}), (": no", {})],
    }


def test_an_error_without_a_traceback_shows_its_message() -> None:
    item = failure(ExecutionError("ExecutionTimeout", "", state_lost=True))
    assert item["parts"] == [("ExecutionTimeout", {})]
    assert "variables are gone" in item["note"]


def test_a_hostile_error_is_bounded_and_clean() -> None:
    item = failure(ExecutionError("E\x1b[2J", "<b>" * 1_000_000, "\x1b]0;x\x07" + "y" * 5_000_000))
    text = "".join(text for text, _ in item["parts"])
    assert len(text) < 40_000
    assert "\x1b" not in text
