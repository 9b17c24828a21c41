"""The playground as its user sees it, in a real browser."""

from __future__ import annotations

import os
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import psutil
import pytest

ROOT = Path(__file__).parents[2]

# browser and server share the processor with whatever else runs
pytestmark = pytest.mark.timeout(300)


def wait_for(condition: Any, seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_output_is_seen_before_the_code_ends(page: Any) -> None:
    page.start("import time\nfor i in range(200):\n    print('tick', i)\n    time.sleep(0.1)")
    page.wait_for("tick 3")
    assert "tick 199" not in page.output()
    assert page.page.get_attribute("#cs-code .cs-console", "data-state") == "running"
    page.page.click("#cs-stop")
    page.wait_done()


def test_stop_ends_an_endless_loop_and_keeps_the_variables(page: Any) -> None:
    assert page.run("kept = 42") == ""
    page.start("while True: pass")
    page.page.click("#cs-stop")
    page.wait_for("Stopped; the variables are kept.")
    page.wait_done()
    assert page.run("kept") == "42"


def test_restart_loses_the_variables(page: Any) -> None:
    page.run("x = 1")
    page.page.click("#cs-restart")
    page.wait_for("The interpreter was restarted")
    assert "NameError" in page.run("x")


def test_streams_values_and_errors_can_be_told_apart(page: Any) -> None:
    page.run("import sys\nprint('out')\nprint('err', file=sys.stderr)\n1 / 0")
    assert page.page.inner_text("#cs-code .cs-stdout").strip() == "out"
    assert page.page.inner_text("#cs-code .cs-stderr").strip() == "err"
    assert "ZeroDivisionError" in page.page.inner_text("#cs-code .cs-error")
    assert "ZeroDivisionError" in page.page.inner_text("#cs-code .cs-status")
    page.run("6 * 7")
    assert page.page.inner_text("#cs-code .cs-value") == "42"


def test_output_can_be_read_on_its_ground(page: Any) -> None:
    """The page's own style must not recolour it: contrast of 4.5 is what WCAG asks for."""
    page.run("import sys\nprint('out')\nprint('err', file=sys.stderr)\n'value'")
    for part in (".cs-stdout span", ".cs-stderr span", ".cs-value"):
        assert contrast(page.page, f"#cs-code {part}") > 4.5


def contrast(page: Any, selector: str) -> float:
    def luminance(color: str) -> float:
        levels = [int(part) / 255 for part in color.removeprefix("rgb(").rstrip(")").split(",")]
        linear = [v / 12.92 if v <= 0.04 else ((v + 0.055) / 1.055) ** 2.4 for v in levels]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    script = "(e, name) => getComputedStyle(e)[name]"
    text = luminance(page.eval_on_selector(selector, script, "color"))
    ground = luminance(page.eval_on_selector("#cs-code .cs-console", script, "backgroundColor"))
    return (max(text, ground) + 0.05) / (min(text, ground) + 0.05)


@pytest.mark.parametrize("place", ["local-eval", "local-jupyter", "local-jupyter (confined)"])
def test_a_plot_and_a_table_appear(page: Any, place: str) -> None:
    if not page.page.get_by_role("radio", name=place, exact=True).count():
        pytest.skip(f"{place} cannot run on this machine")
    page.choose(place)
    page.run("import matplotlib.pyplot as plt\nplt.plot([1, 3, 2])\nplt.show()")
    width = page.page.eval_on_selector("#cs-code .cs-image img", "image => image.naturalWidth")
    assert width > 100
    page.run("import pandas as pd\npd.DataFrame({'a': [1, 2]})")
    frame = page.page.locator("#cs-code iframe")
    assert frame.get_attribute("sandbox") == ""
    assert page.page.frame_locator("#cs-code iframe").locator("td").count() == 2


def test_the_variant_can_be_changed(page: Any) -> None:
    page.run("x = 1")
    assert "no isolation" in page.page.inner_text("#cs-isolation")
    page.choose("local-jupyter")
    assert "no boundary" in page.page.inner_text("#cs-isolation")
    assert "NameError" in page.run("x")
    assert "ipykernel" in page.run("import sys; [name for name in sys.modules if 'kernel' in name]")
    page.choose("local-eval")
    assert "NameError" in page.run("x")


HOSTILE = """
class Hostile:
    def _repr_html_(self):
        return '''<b id=shown>shown</b>
        <script>top.owned = 1; parent.owned = 2; alert(1)</script>
        <img src=x onerror="top.owned = 3">
        <img src="https://evil.example/pixel.png">
        <link rel=stylesheet href="https://evil.example/style.css">
        <meta http-equiv=refresh content="0;url=https://evil.example/">
        <iframe srcdoc="<script>top.owned = 4</script>"></iframe>
        <a href="https://evil.example/" target=_top>link</a>'''

class Svg:
    def _repr_svg_(self):
        return '''<svg xmlns="http://www.w3.org/2000/svg" width="80" height="40"
        onload="top.owned = 5"><script>top.owned = 6</script><rect width="80" height="40"/>
        <image href="https://evil.example/pixel.png"/></svg>'''

for text in ("<script>owned = 7</script>", "<img src=x onerror='owned = 8'>",
             "${owned = 9} {{owned}} `${Object.assign(window, {owned: 10})}`"):
    print(text)
display(Hostile())
display(Svg())
raise ValueError("<img src=x onerror='owned = 11'>")
"""


def test_nothing_hostile_runs_in_the_page(page: Any) -> None:
    page.expected += ["Blocked script execution", "Content Security Policy", "Refused to"]
    page.choose("local-jupyter")
    dialogs: list[Any] = []
    page.page.on("dialog", lambda dialog: (dialogs.append(dialog), dialog.dismiss()))
    address, title = page.page.url, page.page.title()
    shown = page.run(HOSTILE)
    page.page.wait_for_timeout(1_000)
    assert "<script>owned = 7</script>" in shown and "${owned = 9}" in shown
    assert page.page.evaluate("typeof window.owned") == "undefined"
    assert not dialogs
    assert (page.page.url, page.page.title()) == (address, title)
    inner = page.page.frame_locator("#cs-code .cs-frame iframe").first
    assert inner.locator("#shown").inner_text() == "shown"  # it is there, and did nothing
    assert page.page.eval_on_selector("#cs-code .cs-image img", "i => i.naturalWidth") == 80
    assert not page.foreign


def test_code_can_ask(page: Any) -> None:
    page.start("name = input('Who are you? ')\nprint('Hello', name)")
    page.wait_for("Who are you?", "#cs-code .cs-ask label")
    page.page.fill("#cs-code .cs-ask input", "<b>Ada</b>")
    page.page.keyboard.press("Enter")
    page.wait_for("Hello <b>Ada</b>")
    page.wait_done()
    assert not page.page.is_visible("#cs-code .cs-ask")


def test_progress_rewrites_its_line_and_clear_output_clears(page: Any) -> None:
    page.choose("local-jupyter")
    code = "import time\nfor i in range(5):\n    print(f'\\r{i * 25}%', end='', flush=True)\n"
    assert page.run(code + "    time.sleep(0.15)\nprint()").strip() == "100%"
    code = (
        "from IPython.display import clear_output\nprint('before')\nclear_output()\nprint('after')"
    )
    assert page.run(code).strip() == "after"


def test_much_output_is_bounded_and_the_page_lives(page: Any) -> None:
    shown = page.run("for i in range(300_000): print('line', i)")
    assert "line 299999" in shown and "characters are not shown" in shown
    assert len(shown) < 400_000
    assert page.run("1 + 1") == "2"


def test_files(page: Any, tmp_path: Path) -> None:
    page.run(
        "import os\nopen('<b>notes.txt', 'w').write('kept <i>inside</i>')\n"
        "os.mkdir('folder')\nopen('folder/inner.txt', 'w').write('deep')\nNone"
    )
    page.tab("Files")
    rows = page.page.locator("#cs-table tbody tr")
    rows.first.wait_for()
    assert [rows.nth(i).locator("button").inner_text() for i in (0, 1)] == [
        "folder",
        "<b>notes.txt",
    ]
    rows.nth(1).click()
    page.page.wait_for_function("document.querySelector('#cs-text textarea').value")
    assert page.page.input_value("#cs-text textarea") == "kept <i>inside</i>"
    with page.page.expect_download() as download:
        page.page.click("#cs-fetch")
    assert Path(download.value.path()).read_text() == "kept <i>inside</i>"
    rows.nth(0).click()
    page.wait_for("inner.txt", "#cs-table")
    (tmp_path / "up.txt").write_text("from outside")
    page.page.set_input_files(
        "#cs-upload ~ input[type=file], input[type=file]", tmp_path / "up.txt"
    )
    page.wait_for("up.txt", "#cs-table")
    page.page.click("#cs-up")
    page.wait_for("notes.txt", "#cs-table")
    page.tab("Code")
    assert page.run("print(open('folder/up.txt').read())").strip() == "from outside"


def test_commands(page: Any) -> None:
    page.run("open('made.txt', 'w').write('x')")
    page.tab("Commands")
    page.page.fill("#cs-command textarea, #cs-command input", "ls; echo err >&2; sleep 60")
    page.page.keyboard.press("Enter")
    page.wait_for("made.txt", "#cs-shell .cs-out")
    page.wait_for("err", "#cs-shell .cs-stderr")
    assert page.page.get_attribute("#cs-shell .cs-console", "data-state") == "running"
    page.page.click("#cs-command-stop")
    page.wait_done("#cs-shell")
    page.page.fill("#cs-command textarea, #cs-command input", "echo again; exit 3")
    page.page.click("#cs-command-run")
    page.wait_for("exit code 3", "#cs-shell .cs-status")
    assert page.output("#cs-shell").count("$") == 0  # the prompt is drawn, not text
    assert "again" in page.output("#cs-shell")


def keep(page: Any, name: str) -> None:
    page.tab("Snapshots")
    page.page.fill("#cs-keep-name textarea, #cs-keep-name input", name)
    page.page.click("#cs-keep")


def chosen(page: Any, name: str) -> None:
    """Wait until the page shows that a snapshot is chosen."""
    page.page.wait_for_function(
        "name => document.querySelector('#cs-chosen textarea, #cs-chosen input').value === name",
        arg=name,
    )


def delete(page: Any, name: str) -> None:
    page.page.get_by_role("button", name=name, exact=True).click()
    chosen(page, name)
    page.page.once("dialog", lambda dialog: dialog.accept())
    page.page.click("#cs-delete")
    chosen(page, "")


def test_a_snapshot_is_kept_started_from_and_deleted(page: Any) -> None:
    page.run("import threading\nx, lock = 41, threading.Lock()\nopen('a.txt', 'w').write('a')")
    keep(page, "of the page")
    chosen(page, "of the page")
    row = page.page.locator("#cs-snapshots tr", has_text="of the page")
    assert row.locator("td.cs-variant").inner_text() == "local-eval"
    assert row.locator("td.cs-skipped").inner_text() == "1"
    assert "variable lock" in page.page.input_value("#cs-about textarea")
    page.tab("Code")
    assert page.run("x = 0\nx") == "0"
    before = page.page.inner_text("#cs-code .cs-where")
    page.tab("Snapshots")
    page.page.click("#cs-start")
    page.wait_for("A fresh sandbox was started", ".toast-body")
    page.tab("Code")
    page.wait_for("Started from snapshot 'of the page'")
    assert page.run("x, open('a.txt').read()") == "(41, 'a')"
    assert page.page.inner_text("#cs-code .cs-where") != before
    page.tab("Files")
    page.wait_for("a.txt", "#cs-table")
    page.tab("Snapshots")
    page.page.once("dialog", lambda dialog: dialog.dismiss())
    page.page.click("#cs-delete")  # and thought better of it
    delete(page, "of the page")
    assert not row.count()


def test_hostile_names_of_snapshots_are_text(page: Any) -> None:
    name = "<img src=x onerror='owned = 1'>${owned = 2}{{owned}}"
    page.run("globals()['<img src=x onerror=owned=3>'] = __import__('threading').Lock()")
    keep(page, name)
    chosen(page, name)
    assert page.page.locator("#cs-snapshots .cs-chosen button").inner_text() == name
    assert "<img src=x onerror=owned=3>" in page.page.input_value("#cs-about textarea")
    keep(page, name)  # a second time
    page.wait_for(f"there is a snapshot {name!r} already", ".toast-body")
    page.page.click("#cs-start")
    page.page.locator(".toast-body", has_text="A fresh sandbox").wait_for()
    page.tab("Code")
    page.wait_for(f"Started from snapshot {name!r}")
    page.tab("Snapshots")
    delete(page, name)
    assert not page.page.locator("img[src=x]").count()
    assert page.page.evaluate("typeof window.owned") == "undefined"


def test_what_a_snapshot_could_not_bring_is_said(page: Any) -> None:
    confined = "local-jupyter (confined)"
    if not page.page.get_by_role("radio", name=confined, exact=True).count():
        pytest.skip(f"{confined} cannot run on this machine")
    page.choose(confined)
    page.run("x = 1\nopen('a.txt', 'w').write('a')")
    keep(page, "of a confined one")
    chosen(page, "of a confined one")
    page.choose("local-eval")
    page.page.click("#cs-start")
    page.wait_for("files alone were restored", ".toast-body")
    page.tab("Code")
    page.wait_for("files alone were restored")
    assert "NameError" in page.run("print(open('a.txt').read())\nx")
    page.tab("Snapshots")
    delete(page, "of a confined one")


def test_the_page_looks_like_its_picture(page: Any, tmp_path: Path) -> None:
    """``UPDATE_SCREENSHOT=1`` renews the picture of the documentation."""
    page.choose("local-jupyter")
    page.page.click("#cs-example input")
    page.page.get_by_role("option", name="Plot").click()
    page.wait_for("matplotlib", "#cs-editor")
    page.page.click("#cs-run")
    page.page.wait_for_selector("#cs-code .cs-image img")
    page.wait_done()
    page.page.wait_for_timeout(500)
    wanted = os.environ.get("UPDATE_SCREENSHOT") == "1"
    target = (ROOT / "docs" if wanted else tmp_path) / "playground.png"
    target.parent.mkdir(exist_ok=True)
    page.page.screenshot(path=target)
    assert target.stat().st_size > 20_000


def sleeping(server: Any, page: Any) -> None:
    """Run code that starts a process, and wait for that."""
    page.start("import subprocess\nsubprocess.run(['sleep', '600'])")
    wait_for(lambda: any(child.name() == "sleep" for child in server.inside()))


def test_a_page_that_closes_leaves_no_sandbox(open_page: Any, new_server: Any) -> None:
    server = new_server("--variant", "local-eval")
    kept, closed = open_page(server), open_page(server)
    assert kept.run("1 + 1") == "2"
    before = len(server.inside())
    sleeping(server, closed)
    closed.close()
    wait_for(lambda: len(server.inside()) == before)
    assert kept.run("2 + 2") == "4"
    kept.close()
    wait_for(lambda: not server.inside())


@pytest.mark.parametrize("variant", ["local-eval", "local-jupyter"])
def test_a_server_that_stops_leaves_nothing(open_page: Any, new_server: Any, variant: str) -> None:
    server = new_server("--variant", variant)
    page = open_page(server)
    page.expected += ["ERR_", "Failed to", "connection", "Connection"]
    sleeping(server, page)
    started = server.inside()
    assert server.stop() == 0
    wait_for(lambda: not [child for child in started if alive(child)])
    assert not list(server.temporary.iterdir())
    assert server.said() == ""


def alive(process: psutil.Process) -> bool:
    return process.is_running() and process.status() != psutil.STATUS_ZOMBIE


def test_nobody_gets_in_without_the_token(server: Any) -> None:
    for path in ("/", "/config", "/gradio_api/info", "/gradio_api/startup-events", "/theme.css"):
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(server.base + path)
        assert refused.value.code == 403
        refused.value.close()
