"""Snapshots on the page: kept, listed, started from and deleted, and none of it trusted."""

from __future__ import annotations

import threading
import time
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import pytest

from code_sandboxes import ConfigurationError, Sandbox, SandboxError, Snapshot
from code_sandboxes_playground import session as session_module
from code_sandboxes_playground.notices import MOST_TOLD, heard, told_of
from code_sandboxes_playground.session import PageError, Session, SessionEndedError
from code_sandboxes_playground.sessions import Sessions
from code_sandboxes_playground.snapshots import Shelf
from code_sandboxes_playground.variants import Place

HERE = Place("local-eval", "local-eval", "none", "Nothing.")
HOSTILE = "<img src=x onerror=alert(1)>"


@pytest.fixture
def session() -> Iterator[Session]:
    made = Session(HERE)
    yield made
    made.end()


@pytest.fixture(autouse=True)
def none_left() -> Iterator[None]:
    yield
    for snapshot in Sandbox.list_snapshots():
        Sandbox.delete_snapshot(snapshot.name)


def ran(session: Session, code: str) -> str:
    assert session.run(code)
    session.code.join(30)
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


def test_what_was_kept_comes_back(session: Session) -> None:
    shelf = Shelf()
    ran(session, "x = 41; open('kept.txt', 'w').write('still here')")
    before = session.sandbox()
    assert shelf.keep(session, "first", "a number").name == "first"
    ran(session, "x = 0; open('kept.txt', 'w').write('gone')")
    assert shelf.start(session, "first") == []
    assert "Started from snapshot 'first'" in shown(session)
    assert before.closed and not session.sandbox().closed
    assert ran(session, "print(x, open('kept.txt').read())") == "41 still here\n"
    assert session.sandbox().config.snapshot_name is not None


def test_the_list_tells_what_there_is(session: Session) -> None:
    shelf = Shelf()
    assert "no snapshots yet" in shelf.listing()["note"]
    ran(session, "import threading; lock = threading.Lock()")
    shelf.keep(session, "first", "")
    shelf.keep(session, "second", "what\nit is")
    told = shelf.listing()
    assert [row["name"] for row in told["rows"]] == ["second", "first"]
    assert (told["chosen"], told["note"]) == (0, "")
    row = told["rows"][0]
    assert (row["variant"], row["skipped"]) == ("local-eval", "1")
    assert row["size"].endswith("KiB") and row["when"].startswith(time.strftime("%Y-"))
    name, about = shelf.about()
    assert name == "second" and "what\nit is" in about
    assert "Not in it:\nvariable lock: TypeError" in about


def test_each_page_sees_all_and_has_its_own_choice(session: Session) -> None:
    one, two = Shelf(), Shelf()
    one.keep(session, "first", "")
    told = two.listing()
    assert ([row["name"] for row in told["rows"]], told["chosen"]) == (["first"], -1)
    assert two.about() == ("", "")
    with pytest.raises(PageError, match="Choose"):
        two.delete("first")
    assert two.pick(told["serial"], 0)
    two.delete("first")
    assert one.listing()["rows"] == [] and one.about() == ("", "")


def test_a_row_of_an_old_table_chooses_nothing(session: Session) -> None:
    shelf = Shelf()
    shelf.keep(session, "first", "")
    shelf.keep(session, "second", "")
    serial = shelf.listing()["serial"]
    shelf.listing()
    assert not shelf.pick(serial, 1) and not shelf.pick(serial + 1, 2)
    assert shelf.about()[0] == "second"
    with pytest.raises(PageError):  # the page still shows the one before
        shelf.delete("first")
    assert len(shelf.listing()["rows"]) == 2


def test_a_name_twice_is_refused_and_all_stays(session: Session) -> None:
    shelf = Shelf()
    ran(session, "x = 1")
    shelf.keep(session, "first", "")
    with pytest.raises(ConfigurationError, match="already"):
        shelf.keep(session, "first", "")
    with pytest.raises(ConfigurationError, match="name"):
        shelf.keep(session, "", "")
    assert session.code.poll(0, 0)["outcome"] == "failed"
    assert ran(session, "x") == "1"


def test_one_that_was_deleted_meanwhile_is_said_and_the_sandbox_stays(session: Session) -> None:
    shelf = Shelf()
    ran(session, "x = 1")
    shelf.keep(session, "first", "")
    Sandbox.delete_snapshot("first")
    with pytest.raises(PageError, match="local-eval has no snapshot 'first'"):
        shelf.start(session, "first")
    with pytest.raises(PageError, match="deleted meanwhile"):
        shelf.delete("first")
    assert ran(session, "x") == "1"


def test_nothing_is_kept_while_code_runs(session: Session) -> None:
    session.run("import time; time.sleep(60)")
    with pytest.raises(PageError, match="still running"):
        Shelf().keep(session, "first", "")
    session.stop()
    session.code.join(20)


ENDLESS = """
class Endless:
    def __reduce__(self):
        while True: pass
endless = Endless()
"""


@pytest.mark.parametrize("end", ["stop", "restart", "end"])
def test_keeping_what_has_no_end_can_be_ended(session: Session, end: str) -> None:
    ran(session, ENDLESS + "kept = 7")
    with ThreadPoolExecutor(1) as pool:
        keeping = pool.submit(Shelf().keep, session, "first", "")
        wait_for(lambda: session.code.running)
        time.sleep(0.5)
        assert not keeping.done()
        getattr(session, end)()
        with pytest.raises((PageError, SandboxError)) as told:
            keeping.result(30)
    assert not Sandbox.list_snapshots()
    if end == "stop":
        assert str(told.value) == "Stopped; nothing was kept."
        assert session.code.poll(0, 0)["outcome"] == "stopped"
        assert ran(session, "kept") == "7"
    if end == "restart":
        assert "NameError" in ran(session, "kept")


def test_variables_that_never_come_back_are_said(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session_module, "MOST_RESTORING", 1.0)
    monkeypatch.setattr("code_sandboxes.keeping.LEAST", 1.0)  # that it has in any case
    ran(session, "class Trap:\n    def __reduce__(self): return exec, ('while True: pass',)")
    ran(session, "trap = Trap(); open('kept.txt', 'w').write('still here')")
    shelf = Shelf()
    shelf.keep(session, "first", "")
    assert "variables" in "".join(shelf.start(session, "first"))
    code = "import time; time.sleep(1.2); print(open('kept.txt').read())"
    assert ran(session, code) == "still here\n"  # that limit was for the start alone


def test_starting_ends_code_that_runs(session: Session) -> None:
    shelf = Shelf()
    shelf.keep(session, "first", "")
    session.run("import time; time.sleep(60)")
    time.sleep(0.3)
    shelf.start(session, "first")
    started = session.sandbox()
    session.code.join(20)
    assert not session.code.running
    assert ran(session, "2") == "2"
    assert session.sandbox() is started


class Slow:
    """A sandbox whose creation waits, and which warns."""

    def __init__(self) -> None:
        self.go, self.asked = threading.Event(), threading.Event()
        self.ended = self.closed = False
        self.id = "slow"

    def create(self, **options: Any) -> Any:
        self.asked.set()
        assert self.go.wait(10)
        warnings.warn(f"{HOSTILE}\x1b[31m", RuntimeWarning, stacklevel=2)
        return self

    def set_timeout(self, timeout: float | None) -> None:
        assert timeout is None

    def terminate(self) -> None:
        self.ended = True


@pytest.mark.parametrize("how", ["move", "end"])
def test_a_page_that_goes_on_while_it_starts_leaves_no_sandbox(how: str) -> None:
    slow = Slow()
    session = Session(HERE, slow.create)

    def start() -> None:
        with heard():
            session.start_from("first")

    with ThreadPoolExecutor(1) as pool:
        starting = pool.submit(start)
        assert slow.asked.wait(10)
        if how == "move":
            session.move(Place("other", "local-eval", "none", "Nothing."))
        else:
            session.end()
        slow.go.set()
        with pytest.raises(SessionEndedError, match="changed" if how == "move" else "has ended"):
            starting.result(10)
    assert slow.ended
    session.end()


def test_what_is_warned_of_is_told_as_text(session: Session) -> None:
    shelf = Shelf()
    shelf.keep(session, "first", "")
    slow = Slow()
    slow.go.set()
    warned = Session(HERE, slow.create)
    assert shelf.start(warned, "first") == [HOSTILE]
    for console in (warned.code, warned.shell):
        assert console.poll(0, 0)["items"][-1] == {"kind": "note", "text": HOSTILE}
    warned.end()


def test_each_thread_hears_its_own_warnings() -> None:
    both = threading.Barrier(2, timeout=10)

    def hear(text: str) -> list[str]:
        with heard() as said:
            both.wait()
            for _ in range(3):  # also what was said before, at the same place
                warnings.warn(text, RuntimeWarning, stacklevel=2)
            both.wait()
        return said

    before = warnings.showwarning, list(warnings.filters)
    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(hear, ["one", "two"])) == [["one"] * 3, ["two"] * 3]
    assert (warnings.showwarning, list(warnings.filters)) == before
    with pytest.warns(UserWarning, match="other"), heard() as said:
        warnings.warn("other", UserWarning, stacklevel=2)
    assert said == []


def test_few_of_many_warnings_are_told() -> None:
    told = told_of([f"{n}" * 10_000 for n in range(1_000)])
    assert len(told) == MOST_TOLD + 1 and told[-1] == "and 995 more"
    assert sum(map(len, told)) < 5_000


def listed(**more: Any) -> Any:
    snapshot = Snapshot(**{"id": "1", "name": "n", "variant": "v", **more})
    return lambda variant=None: [snapshot]


def test_hostile_text_loses_what_is_not_text(monkeypatch: pytest.MonkeyPatch) -> None:
    bad = f"{HOSTILE}\x1b[31m\u202e\ud800"
    monkeypatch.setattr(
        Sandbox,
        "list_snapshots",
        listed(name=bad, variant=bad, description=bad, skipped=(bad,) * 100),
    )
    shelf = Shelf()
    told = shelf.listing()
    assert shelf.pick(told["serial"], 0)
    for text in (*told["rows"][0].values(), *shelf.about()):
        assert not set("\x1b\u202e\ud800") & set(text)
    assert told["rows"][0]["name"] == f"{HOSTILE}?"


def test_what_is_not_known_is_not_invented(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Sandbox, "list_snapshots", listed())
    shelf = Shelf()
    told = shelf.listing()
    assert (told["rows"][0]["when"], told["rows"][0]["size"]) == ("", "")
    assert shelf.pick(told["serial"], 0)
    assert "unknown" in shelf.about()[1]


def test_a_service_that_cannot_be_asked_is_a_note(monkeypatch: pytest.MonkeyPatch) -> None:
    def troubled(variant: str | None = None) -> list[Snapshot]:
        warnings.warn("the cloud is away", RuntimeWarning, stacklevel=2)
        return []

    monkeypatch.setattr(Sandbox, "list_snapshots", troubled)
    assert Shelf().listing()["note"] == "the cloud is away"
    monkeypatch.setattr(Sandbox, "list_snapshots", lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):  # a mistake of ours is none of the user's
        Shelf().listing()


def test_errors_are_shown_as_the_page_shows_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    gradio = pytest.importorskip("gradio")
    from code_sandboxes_playground.handlers import Handlers

    sessions = Sessions("local-eval")
    page: Any = SimpleNamespace(session_hash="page")
    handlers = Handlers(sessions)
    assert handlers.keep(f" {HOSTILE} ", "", page)[1:] == ("", "")
    with pytest.raises(gradio.Error) as refused:
        handlers.keep(HOSTILE, "", page)
    assert "&lt;img" in refused.value.message and "<img" not in refused.value.message
    handlers.delete(None, page)  # thought better of it
    assert len(Sandbox.list_snapshots()) == 1
    handlers.delete(HOSTILE, page)
    for wrong in (handlers.delete, handlers.start):
        with pytest.raises(gradio.Error, match="Choose"):
            wrong(HOSTILE, page)
    full = OSError(28, "No space left on device")
    monkeypatch.setattr(Sandbox, "create_snapshot", lambda *_, **__: (_ for _ in ()).throw(full))
    with pytest.raises(gradio.Error, match="No space left"):
        handlers.keep("first", "", page)
    sessions.end_all()
