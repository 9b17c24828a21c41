"""Snapshots and pauses, and their refusal where a variant has none."""

from __future__ import annotations

import os

import pytest

from code_sandboxes import (
    Capability,
    ConfigurationError,
    Sandbox,
    SandboxPausedError,
    SnapshotNotFoundError,
    UnsupportedError,
)

from .base import Case, eventually


class KeepingCases(Case):
    """A sandbox is kept, and others start from it; it is paused, and goes on."""

    def test_what_cannot_be_kept_is_refused_with_the_variants_that_can(
        self, sandbox: Sandbox
    ) -> None:
        unknown = Capability(False, "it does not know it")
        known = {"snapshots": unknown, "snapshot_name": unknown, "pause": unknown}
        known |= Sandbox.capabilities(self.variant)
        if not known["snapshots"].supported:
            assert known["snapshots"].reason
            with pytest.raises(UnsupportedError, match="supported by"):
                sandbox.create_snapshot("never")
            with pytest.raises(UnsupportedError, match="supported by"):
                Sandbox.list_snapshots(self.variant)
            with pytest.raises(UnsupportedError, match="supported by"):
                Sandbox.delete_snapshot("never", variant=self.variant)
        if not known["snapshot_name"].supported:
            with pytest.raises(UnsupportedError, match="snapshot_name"):
                self.create(snapshot_name="never")
        if not known["pause"].supported:
            assert known["pause"].reason
            with pytest.raises(UnsupportedError, match="supported by"):
                sandbox.pause()
            with pytest.raises(UnsupportedError, match="supported by"):
                sandbox.resume()
            assert not sandbox.paused
        assert sandbox.run_code("1").text == "1"

    def test_snapshot(self) -> None:
        self.needs("snapshots")
        name = f"kept {os.urandom(4).hex()}"
        with self.create() as box:
            box.run_code("kept, table = 41, {'a': [1, 2]}")
            box.files.write("kept.txt", "here")
            made = box.create_snapshot(name, description="for a test")
            assert (made.name, made.variant, made.description) == (name, self.variant, "for a test")
            box.run_code("kept = 0")
            with pytest.raises(ConfigurationError, match="already"):
                box.create_snapshot(name)
        try:
            assert made.id in [found.id for found in Sandbox.list_snapshots(self.variant)]
            assert name in [found.name for found in Sandbox.list_snapshots()]
            for _ in range(2):  # as often as one likes
                with self.create(snapshot_name=name) as box:
                    assert box.run_code("kept + 1, table['a']").text == "(42, [1, 2])"
                    assert box.files.read("kept.txt") == "here"
        finally:
            Sandbox.delete_snapshot(name)
        assert name not in [found.name for found in Sandbox.list_snapshots(self.variant)]
        for call in (Sandbox.delete_snapshot, lambda name: self.create(snapshot_name=name)):
            with pytest.raises(SnapshotNotFoundError):
                call(name)

    def test_names_of_snapshots(self, sandbox: Sandbox) -> None:
        for bad in ("", "  ", "a\nb", "x" * 101, 5):
            with pytest.raises(ConfigurationError):
                sandbox.create_snapshot(bad)  # type: ignore[arg-type]

    def test_pause_and_resume(self) -> None:
        self.needs("pause")
        with self.create() as box:
            box.run_code("import threading, time\nkept, seen = 41, []")
            box.create_context("second")
            box.run_code("two = 2", context="second")
            box.run_code(
                "def count():\n    while True: seen.append(1); time.sleep(0.05)\n"
                "threading.Thread(target=count, daemon=True).start()"
            )
            box.resume()  # does nothing
            box.pause()
            assert box.paused
            for call in (lambda: box.run_code("1"), lambda: box.files.read("x"), box.pause):
                with pytest.raises(SandboxPausedError, match="resume"):
                    call()
            assert box.id in [info.id for info in Sandbox.list()]
            box.resume()
            assert not box.paused
            assert box.run_code("kept + 1").text == "42"
            assert box.run_code("two", context="second").text == "2"
            before = int(box.run_code("len(seen)").text)
            assert eventually(lambda: int(box.run_code("len(seen)").text) > before)
            box.files.write("after.txt", "x")
            assert box.commands.run("cat after.txt").stdout == "x"
            box.pause()
        assert box.id not in [info.id for info in Sandbox.list()]  # a paused one ends, too
