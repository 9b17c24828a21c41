"""What a console keeps: in order, once each, and never more than a page can hold."""

from __future__ import annotations

import json
import threading

import pytest

from code_sandboxes_playground.console import Console, Outcome
from code_sandboxes_playground.feed import (
    MOST_RICH,
    MOST_TAIL,
    MOST_TEXT,
    Feed,
    Item,
    note,
)


def text_of(items: list[Item]) -> str:
    return "".join(text for item in items for text, _ in item.get("parts", ()))


def shown(items: list[Item]) -> str:
    """What the page makes of the items: `over` rewrites the line that has no end."""
    out = ""
    for item in items:
        if item.get("over"):
            out = out[: out.rfind("\n") + 1]
        out += text_of([item])
    return out


def test_each_item_is_given_once_and_in_order() -> None:
    feed, seen, got = Feed(), 0, []
    for number in range(50):
        feed.text("stdout" if number % 3 else "stderr", f"{number}\n")
        if number % 7 == 0:
            told = feed.since(0, seen)
            seen = told["next"]
            got += told["items"]
    got += feed.since(0, seen)["items"]
    assert text_of(got) == "".join(f"{number}\n" for number in range(50))
    assert {item["kind"] for item in got} == {"stdout", "stderr"}


def test_text_between_two_requests_is_one_item() -> None:
    feed = Feed()
    for _ in range(10_000):
        feed.text("stdout", "x")
    assert len(feed.since(0, 0)["items"]) == 1


def test_a_new_run_empties_the_console() -> None:
    feed = Feed()
    feed.text("stdout", "old")
    before = feed.since(0, 0)
    feed.begin()
    feed.text("stdout", "new")
    told = feed.since(before["epoch"], before["next"])
    assert told["epoch"] != before["epoch"]
    assert text_of(told["items"]) == "new"


def test_endless_output_is_bounded_and_its_end_is_shown() -> None:
    feed = Feed()
    for number in range(100_000):
        feed.text("stdout", f"line {number:06}\n")
    assert len(text_of(feed.since(0, 0)["items"])) <= MOST_TEXT
    assert feed.since(0, 0)["hidden"] > 0
    feed.end()
    items = feed.since(0, 0)["items"]
    everything = text_of(items)
    assert everything.startswith("line 000000\n")
    assert everything.endswith("line 099999\n")
    assert len(everything) <= MOST_TEXT + 2 * MOST_TAIL
    said = next(item["text"] for item in items if item["kind"] == "note")
    assert int(said.split()[0].replace(",", "")) == 100_000 * 12 - len(everything)


def test_one_enormous_piece_is_bounded() -> None:
    feed = Feed()
    feed.text("stdout", "x" * 5_000_000)
    feed.end()
    assert len(text_of(feed.since(0, 0)["items"])) == MOST_TEXT + MOST_TAIL


def test_a_change_of_stream_with_every_character_is_bounded() -> None:
    feed = Feed()
    for number in range(100_000):
        feed.text(("stdout", "stderr")[number % 2], "x")
    feed.end()
    assert len(feed.since(0, 0)["items"]) < 20_000


def test_endless_results_are_bounded() -> None:
    feed = Feed()
    for number in range(5_000):
        feed.add({"kind": "value", "text": str(number)})
    items = feed.since(0, 0)["items"]
    assert len(items) < 2_000
    assert items[-1] == note("further results of this run are not shown")


def test_large_results_are_bounded() -> None:
    feed = Feed()
    for _ in range(20):
        feed.add({"kind": "image", "src": "x" * 4_000_000})
    assert len(json.dumps(feed.since(0, 0))) < MOST_RICH + 1_000_000


def test_an_update_replaces_what_it_updates() -> None:
    feed = Feed()
    feed.add({"kind": "value", "text": "1", "key": "a"})
    feed.add({"kind": "value", "text": "2", "key": "a"})  # the page has not seen the first
    told = feed.since(0, 0)
    assert [item["text"] for item in told["items"]] == ["2"]
    feed.add({"kind": "value", "text": "3", "key": "a"})
    told = feed.since(0, told["next"])
    assert [item["text"] for item in told["items"]] == ["3"]
    assert [item["kind"] for item in feed.since(0, 0)["items"]] == ["gone", "value"]


def test_endless_updates_are_all_shown() -> None:
    feed, seen = Feed(), 0
    for number in range(5_000):
        feed.add({"kind": "value", "text": str(number), "key": "bar"})
        told = feed.since(0, seen)
        seen = told["next"]
        assert told["items"][-1]["text"] == str(number)


def test_clear_output_now_and_with_the_next_output() -> None:
    feed = Feed()
    feed.text("stdout", "one")
    feed.clear()
    assert feed.since(0, 0)["items"] == []
    feed.text("stdout", "two")
    feed.clear(wait=True)
    assert text_of(feed.since(0, 0)["items"]) == "two"
    feed.text("stdout", "three")
    assert text_of(feed.since(0, 0)["items"]) == "three"


@pytest.mark.parametrize("cut", range(1, 20))
def test_a_carriage_return_rewrites_the_line(cut: int) -> None:
    """Wherever the output is cut in pieces."""
    output = "a\r\nb\n10%\r50%\r100%\nend\r"
    feed = Feed()
    items: list[Item] = []
    for piece in (output[:cut], output[cut:]):
        feed.text("stdout", piece)
        items += feed.since(0, len(items))["items"]
    assert shown(items) == "a\nb\n100%\nend"


def test_everything_can_be_sent_as_json() -> None:
    feed = Feed()
    feed.text("stdout", "\ud800\x00\x1b[31m\x1b")
    json.dumps(feed.since(0, 0)).encode()


def test_a_console_runs_one_thing_at_a_time() -> None:
    console, go = Console(), threading.Event()

    def work() -> Outcome:
        go.wait(10)
        return Outcome("ok", "done")

    assert console.start(work)
    assert not console.start(work)
    assert console.poll(0, 0)["running"]
    go.set()
    console.join(10)
    told = console.poll(0, 0)
    assert (told["running"], told["outcome"]) == (False, "ok")
    assert told["status"].startswith("done · ")
    assert console.start(work)
    console.join(10)


def test_a_question_waits_for_its_answer() -> None:
    console = Console()
    got: list[str] = []

    def work() -> Outcome:
        got.append(console.ask("name?", password=True))
        return Outcome("ok", "done")

    console.start(work)
    while not (question := console.poll(0, 0)["question"]):
        pass
    assert question == {"prompt": "name?", "password": True}
    console.answer("Ada")
    console.join(10)
    assert got == ["Ada"]
    assert console.poll(0, 0)["question"] is None
    console.answer("too late")


def test_a_question_that_is_taken_back_ends() -> None:
    console, ended = Console(), []

    def work() -> Outcome:
        with pytest.raises(EOFError):
            console.ask("name?")
        ended.append(True)
        return Outcome("stopped", "stopped")

    console.start(work)
    while not console.poll(0, 0)["question"]:
        pass
    console.answer(None)
    console.join(10)
    assert ended
