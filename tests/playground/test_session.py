"""One page, one sandbox: made when it is needed, and never left over."""

from __future__ import annotations

import gc
import threading
import time
import weakref
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from code_sandboxes import Capability, Sandbox, UnknownVariantError
from code_sandboxes_playground.files import Browser
from code_sandboxes_playground.session import PageError, Session, SessionEndedError
from code_sandboxes_playground.sessions import MOST_SESSIONS, Sessions, TooManySessionsError
from code_sandboxes_playground.variants import Place, isolation_line, places, preferred

HERE = Place("local-eval", "local-eval", "none", "Nothing.")


@pytest.fixture
def session() -> Iterator[Session]:
    made = Session(HERE)
    yield made
    made.end()


def ran(session: Session, code: str) -> str:
    """What the console of code shows of `code`, as text."""
    assert session.run(code)
    session.code.join(30)
    assert not session.code.running
    return shown(session)


def shown(session: Session) -> str:
    items = session.code.poll(0, 0)["items"]
    return "".join(
        "".join(text for text, _ in item.get("parts", ())) + item.get("text", "") for item in items
    )


def wait_for(condition: Any, seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_no_sandbox_before_it_is_needed() -> None:
    made: list[Any] = []
    session = Session(HERE, lambda **options: made.append(options))
    assert "first use" in session.state()
    session.stop()
    session.restart()
    session.end()
    assert not made


def test_code_output_and_value(session: Session) -> None:
    assert ran(session, "print('hello')\n6 * 7") == "hello\n42"
    told = session.code.poll(0, 0)
    assert told["outcome"] == "ok"
    assert session.state().startswith("local-eval · ")


def test_state_is_kept_between_runs(session: Session) -> None:
    ran(session, "x = 41")
    assert ran(session, "x + 1") == "42"


def test_output_comes_while_the_code_runs(session: Session) -> None:
    session.run("import time\nprint('now', flush=True)\ntime.sleep(30)")
    wait_for(lambda: "now" in shown(session))
    assert session.code.running
    session.stop()
    session.code.join(20)


def test_stop_keeps_the_variables(session: Session) -> None:
    ran(session, "kept = 7")
    session.run("while True: pass")
    time.sleep(0.3)
    session.stop()
    session.code.join(20)
    assert session.code.poll(0, 0)["outcome"] == "stopped"
    assert ran(session, "kept") == "7"


def test_restart_loses_the_variables_and_keeps_the_files(session: Session) -> None:
    ran(session, "x = 1; open('kept.txt', 'w').write('still here')")
    session.restart()
    assert "NameError" in ran(session, "x")
    assert ran(session, "print(open('kept.txt').read())") == "still here\n"


def test_restart_ends_code_that_runs(session: Session) -> None:
    ran(session, "1")
    session.run("import time; time.sleep(60)")
    time.sleep(0.3)
    session.restart()
    session.code.join(20)
    assert not session.code.running
    assert ran(session, "2") == "2"


def test_errors_have_a_traceback(session: Session) -> None:
    text = ran(session, "def f():\n    1 / 0\nf()")
    assert "ZeroDivisionError" in text and "line 2" in text
    assert session.code.poll(0, 0)["status"].startswith("ZeroDivisionError · ")


def test_input_is_asked_of_the_page(session: Session) -> None:
    session.run("name = input('Who? ')\nprint('Hello', name)")
    wait_for(lambda: session.code.poll(0, 0)["question"])
    assert session.code.poll(0, 0)["question"]["prompt"] == "Who? "
    session.code.answer("Ada")
    session.code.join(20)
    assert shown(session) == "Who? Ada\nHello Ada\n"


def test_a_password_is_not_shown(session: Session) -> None:
    session.run("import getpass\nsecret = getpass.getpass('Key: ')\nprint(len(secret))")
    wait_for(lambda: session.code.poll(0, 0)["question"])
    assert session.code.poll(0, 0)["question"]["password"] is True
    session.code.answer("hunter2")
    session.code.join(20)
    assert "hunter2" not in shown(session)
    assert shown(session).endswith("7\n")


def test_stop_ends_a_question(session: Session) -> None:
    ran(session, "kept = 7")
    session.run("input('Who? ')")
    wait_for(lambda: session.code.poll(0, 0)["question"])
    session.stop()
    session.code.join(20)
    assert not session.code.running
    assert session.code.poll(0, 0)["question"] is None
    assert ran(session, "kept") == "7"


def test_a_plot_is_an_image(session: Session) -> None:
    pytest.importorskip("matplotlib")
    ran(session, "import matplotlib.pyplot as plt\nplt.plot([1, 3, 2])\nplt.show()")
    images = [i for i in session.code.poll(0, 0)["items"] if i["kind"] == "image"]
    assert len(images) == 1


def test_a_command_is_shown_live_with_both_streams(session: Session) -> None:
    assert session.command("echo out; echo err >&2; sleep 60")
    began = time.monotonic()
    wait_for(lambda: len(session.shell.poll(0, 0)["items"]) >= 3)
    assert session.shell.running and time.monotonic() - began < 20
    kinds = {item["kind"]: item.get("parts") for item in session.shell.poll(0, 0)["items"]}
    assert kinds["stdout"] == [("out\n", {})]
    assert kinds["stderr"] == [("err\n", {})]
    session.stop_command()
    session.shell.join(20)
    assert session.shell.poll(0, 0)["outcome"] == "failed"


def test_a_command_tells_its_exit_code(session: Session) -> None:
    session.command("echo one; exit 3")
    session.shell.join(20)
    session.command("echo two")
    session.shell.join(20)
    told = session.shell.poll(0, 0)
    assert told["status"].startswith("exit code 0 · ")
    kinds = [item["kind"] for item in told["items"]]
    assert kinds == ["command", "stdout", "command", "stdout"]


def test_a_command_gets_no_input_and_can_be_stopped(session: Session) -> None:
    session.command("cat; sleep 60")
    wait_for(lambda: session._process)
    time.sleep(0.3)
    session.stop_command()
    session.shell.join(20)
    assert not session.shell.running


def test_moving_ends_the_sandbox_before(session: Session) -> None:
    ran(session, "x = 1")
    before = session.sandbox()
    assert session.move(Place("other", "local-eval", "none", "Nothing."))
    assert before.closed
    assert "NameError" in ran(session, "x")
    assert not session.move(session.place)


def test_moving_ends_code_that_runs(session: Session) -> None:
    ran(session, "1")
    session.run("import time; time.sleep(60)")
    time.sleep(0.3)
    session.move(Place("other", "local-eval", "none", "Nothing."))
    session.code.join(20)
    assert not session.code.running


def test_a_dead_sandbox_is_replaced(session: Session) -> None:
    ran(session, "1")
    session.sandbox().kill()
    wait_for(lambda: ran(session, "2").endswith("2"))


class Slow:
    """A sandbox whose creation waits."""

    def __init__(self) -> None:
        self.go, self.asked = threading.Event(), threading.Event()
        self.ended = self.closed = False
        self.id = "slow"

    def create(self, **options: Any) -> Any:
        self.asked.set()
        assert self.go.wait(10)
        return self

    def terminate(self) -> None:
        self.ended = True


def test_a_page_that_closes_while_its_sandbox_starts_leaves_none() -> None:
    slow = Slow()
    session = Session(HERE, slow.create)
    session.run("1")
    assert slow.asked.wait(10)
    session.end()
    slow.go.set()
    session.code.join(10)
    assert slow.ended


def test_stop_while_the_sandbox_starts_stops_the_code() -> None:
    slow = Slow()
    session = Session(HERE, slow.create)
    session.run("1")
    assert slow.asked.wait(10)
    session.stop()
    slow.go.set()
    session.code.join(10)
    assert session.code.poll(0, 0)["outcome"] == "stopped"
    session.end()


def test_a_late_event_of_a_closed_page_makes_no_sandbox() -> None:
    sessions = Sessions("local-eval")
    first = sessions.get("page")
    assert sessions.get("page") is first
    sessions.end("page")
    assert first.ended
    with pytest.raises(SessionEndedError):
        sessions.get("page")
    with pytest.raises(SessionEndedError):
        sessions.by_ticket(first.ticket)


def test_sessions_are_told_apart_by_their_tickets() -> None:
    sessions = Sessions("local-eval")
    one, two = sessions.get("1"), sessions.get("2")
    assert sessions.by_ticket(one.ticket) is one
    assert sessions.by_ticket(two.ticket) is two
    for wrong in ("", "1", "\ud800"):
        with pytest.raises(SessionEndedError):
            sessions.by_ticket(wrong)
    sessions.end_all()
    assert one.ended and two.ended
    with pytest.raises(SessionEndedError):
        sessions.get("3")


def test_there_are_not_too_many_sessions() -> None:
    sessions = Sessions("local-eval")
    for number in range(MOST_SESSIONS):
        sessions.get(str(number))
    with pytest.raises(TooManySessionsError):
        sessions.get("one more")
    sessions.end("0")
    sessions.get("one more")
    sessions.end_all()


def test_files_are_listed_opened_and_copied(session: Session, tmp_path: Any) -> None:
    browser = Browser(session)
    assert browser.listing()["note"] == "This directory is empty."
    ran(session, "import os; os.mkdir('folder'); open('folder/b.txt', 'w').write('inside')")
    local = tmp_path / "a.bin"
    local.write_bytes(bytes(range(256)))
    rows = browser.upload([str(local)])["rows"]
    assert [(row["name"], row["type"], row["size"]) for row in rows] == [
        ("folder", "directory", ""),
        ("a.bin", "file", "256 bytes"),
    ]
    serial = browser.listing()["serial"]
    binary = browser.pick(serial, 1)
    assert binary is not None and "binary" in browser.text(binary)
    assert browser.fetch().read_bytes() == bytes(range(256))
    folder = browser.pick(serial, 0)
    assert folder is not None
    told = browser.inside(folder)
    assert (told["path"], [row["name"] for row in told["rows"]]) == ("folder", ["b.txt"])
    entry = browser.pick(told["serial"], 0)
    assert entry is not None and browser.text(entry) == "inside"
    assert browser.up()["path"] == "."


def test_what_was_downloaded_ends_with_the_session() -> None:
    session = Session(HERE)
    browser = Browser(session)
    ran(session, "open('a.txt', 'w').write('a')")
    browser.pick(browser.listing()["serial"], 0)
    local = browser.fetch()
    assert local.read_text() == "a"
    session.end()
    assert not local.parent.exists()


def test_a_row_of_an_old_table_opens_nothing(session: Session) -> None:
    browser = Browser(session)
    ran(session, "open('a.txt', 'w').write('a')")
    serial = browser.listing()["serial"]
    browser.listing()
    assert browser.pick(serial, 0) is None
    with pytest.raises(PageError):
        browser.fetch()


def test_a_path_that_is_none_is_said(session: Session) -> None:
    browser = Browser(session)
    assert "no-such" in browser.listing("no-such")["note"]
    assert browser.listing()["path"] == "."


@pytest.mark.parametrize("name", ["<img src=x onerror=alert(1)>", "a\x1b[31mb", "new\nline", "é"])
def test_hostile_names_are_shown_as_text_and_can_be_opened(session: Session, name: str) -> None:
    ran(session, f"open({name!r}, 'w').write('inside')")
    browser = Browser(session)
    told = browser.listing()
    assert "\x1b" not in told["rows"][0]["name"]
    entry = browser.pick(told["serial"], 0)
    assert entry is not None and browser.text(entry) == "inside"
    assert browser.fetch().read_text() == "inside"


def test_a_large_file_is_shown_in_part(session: Session) -> None:
    ran(session, "open('large.txt', 'w').write('x' * 3_000_000)")
    browser = Browser(session)
    entry = browser.pick(browser.listing()["serial"], 0)
    assert entry is not None
    text = browser.text(entry)
    assert len(text) < 201_000 and "the first" in text


def test_places_are_those_of_the_engine() -> None:
    found = places()
    assert {place.variant for place in found} == set(Sandbox.variants())
    by_name = {place.name: place for place in found}
    assert not by_name["local-eval"].isolated
    assert not by_name["local-jupyter"].isolated
    assert not by_name["local-eval"].refusal


def test_a_refusal_is_shown_with_its_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    def capabilities(variant: str) -> dict[str, Capability]:
        return {"create": Capability(variant == "local-eval", "<b>no engine</b>")}

    monkeypatch.setattr(Sandbox, "capabilities", capabilities)
    found = places()
    assert preferred(found, None).name == "local-eval"
    line = isolation_line(preferred(found, None), found)
    assert "no isolation" in line
    assert "&lt;b&gt;no engine" in line and "<b>no engine" not in line
    with pytest.raises(LookupError, match="no engine"):
        preferred(found, "local-jupyter")


def test_a_variant_that_cannot_be_asked_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def capabilities(variant: str) -> dict[str, Capability]:
        raise UnknownVariantError("broken")

    monkeypatch.setattr(Sandbox, "capabilities", capabilities)
    assert {place.refusal for place in places()} == {"broken"}
    with pytest.raises(LookupError, match="no variant"):
        preferred(places(), None)


def test_the_variant_of_the_environment_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CODE_SANDBOXES_VARIANT", "local-eval")
    assert preferred(places(), None).name == "local-eval"
    with pytest.raises(LookupError, match="no such variant"):
        preferred(places(), "nonsense")


def test_a_page_that_was_closed_is_forgotten() -> None:
    from code_sandboxes_playground.handlers import Handlers

    sessions = Sessions("local-eval")
    handlers = Handlers(sessions)
    page: Any = SimpleNamespace(session_hash="a page")
    handlers.listing(".", page)
    session = weakref.ref(sessions.get("a page"))
    handlers.bye(page)
    gc.collect()
    assert session() is None


def test_a_second_run_is_told_to_wait() -> None:
    from code_sandboxes_playground.handlers import Handlers

    sessions = Sessions("local-eval")
    handlers = Handlers(sessions)
    page: Any = SimpleNamespace(session_hash="a page")
    handlers.run("import time; time.sleep(30)", page)
    handlers.run("1", page)
    assert "still running here" in shown(sessions.get("a page"))
    handlers.command("sleep 30", page)
    assert handlers.command("true", page)[1] != ""
    sessions.end_all()
