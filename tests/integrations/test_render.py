"""What a language model gets to read."""

from __future__ import annotations

import base64

from code_sandboxes import CommandResult, ExecutionError, ExecutionResult, Result
from code_sandboxes_integrations._render import bounded, clean, render

PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)


def shown(mime: str, data: bytes | str, main: bool = False) -> Result:
    return Result(
        {mime: base64.b64encode(data).decode() if isinstance(data, bytes) else data}, main
    )


def test_blocks_in_order_and_labelled() -> None:
    result = ExecutionResult(
        stdout="out\n",
        stderr="warning\n",
        results=[shown("text/plain", "shown"), shown("text/plain", "42", main=True)],
        error=ExecutionError("ValueError", "no", "Traceback\nValueError: no"),
    )
    assert render(result).text == (
        "[stdout]\nout\n[stderr]\nwarning\n[display]\nshown\n[result]\n42\n"
        "[error]\nTraceback\nValueError: no"
    )
    assert render(result).failed


def test_nothing_is_said_to_be_nothing() -> None:
    assert render(ExecutionResult()).text == "(no output)"
    assert render(CommandResult()).text == "(no output)"


def test_what_became_of_the_variables() -> None:
    def text(name: str, lost: bool = False) -> str:
        return render(ExecutionResult(error=ExecutionError(name, "", "", lost), duration=60.0)).text

    assert text("ExecutionTimeout").endswith("[interrupted after 60 s; variables are kept]")
    assert text("KeyboardInterrupt").endswith("[interrupted; variables are kept]")
    assert text("OutOfMemory", True).endswith(
        "[OutOfMemory: the interpreter was restarted; variables and imports are gone, "
        "files are kept]"
    )
    assert "kept" not in text("ValueError")
    gone = ExecutionResult(error=ExecutionError("InterpreterDied", "", "", True))
    assert render(gone, ended=True).text.endswith("variables and files are gone]")


def test_the_whole_is_bounded_and_short_blocks_stay_whole() -> None:
    result = ExecutionResult(
        stdout="a" * 1_000_000,
        stderr="b" * 1_000_000,
        error=ExecutionError("ValueError", "no", "Traceback\nValueError: no"),
    )
    text = render(result, max_chars=2000).text
    assert len(text) < 2300
    assert text.endswith("[error]\nTraceback\nValueError: no")
    assert abs(text.count("a" * 100) - text.count("b" * 100)) <= 1


def test_bounded_keeps_both_ends_and_counts() -> None:
    text = bounded("start" + "x" * 10_000 + "end", 100)
    assert text.startswith("start") and text.endswith("end")
    assert "9,908 characters left out" in text


def test_control_sequences_and_progress_bars() -> None:
    assert clean("\x1b[31mred\x1b[0m\x07 \x1b]0;title\x07text\u202e") == "red text"
    assert clean(" 10%\r 50%\r100%\ndone\r\nlast\r") == "100%\ndone\nlast"


def test_long_hostile_lines_take_no_time() -> None:
    for text in ("\r" * 1_000_000, "a" * 1_000_000, "\x1b]" * 500_000, "\x1b[" * 500_000):
        clean(text)


def test_pictures_are_apart_and_never_text() -> None:
    rendered = render(ExecutionResult(results=[shown("image/png", PNG)]))
    assert rendered.text == "[display]\n<image/png>"
    assert [(image.mime, image.data) for image in rendered.images] == [("image/png", PNG)]


def test_the_last_pictures_are_kept() -> None:
    rendered = render(ExecutionResult(results=[shown("image/png", PNG)] * 6))
    assert len(rendered.images) == 4
    assert rendered.text.endswith("[2 of 6 images left out]")


def test_what_no_provider_takes_is_no_picture() -> None:
    huge = PNG[:16] + (9000).to_bytes(4, "big") + PNG[20:]
    for data in (b"", b"GIF89a", PNG[:12], huge, PNG + b"x" * 4_000_000):
        assert not render(ExecutionResult(results=[shown("image/png", data)])).images
    assert not render(ExecutionResult(results=[shown("image/png", "not base64!")])).images


def test_the_text_that_says_most() -> None:
    table = Result({"text/plain": "   n\n0  1", "text/html": "<table>...</table>"}, True)
    assert render(ExecutionResult(results=[table])).text == "[result]\n   n\n0  1"
    shown = Result(
        {"text/plain": "<IPython.core.display.Markdown object>", "text/markdown": "**yes**"}
    )
    assert render(ExecutionResult(results=[shown])).text == "[display]\n**yes**"
    html = Result({"text/plain": "<IPython.core.display.HTML object>", "text/html": "<b>yes</b>"})
    assert render(ExecutionResult(results=[html])).text == "[display]\n<b>yes</b>"


def test_a_command_says_its_exit_code() -> None:
    failed = CommandResult(stdout="out\n", stderr="err\n", exit_code=3)
    rendered = render(failed)
    assert rendered.text == "[stdout]\nout\n[stderr]\nerr\n[exit code: 3]"
    assert not rendered.failed and rendered.details["exit_code"] == 3
    late = CommandResult(
        exit_code=124, duration=2.0, error=ExecutionError("ExecutionTimeout", "took too long")
    )
    assert render(late).text == "[stopped after 2 s: took too long]\n[exit code: 124]"
    assert render(late).failed


def test_dropped_output_is_said() -> None:
    text = render(ExecutionResult(stdout="a", dropped=1234)).text
    assert text == "[stdout]\na\n[1,234 bytes of output were not kept]"


def test_details_are_small() -> None:
    result = ExecutionResult(error=ExecutionError("E", "x" * 100_000), duration=1.23456)
    details = render(result).details
    assert len(str(details)) < 3000
    assert (details["success"], details["state_lost"], details["duration"]) == (False, False, 1.235)
