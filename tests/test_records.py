"""What a crash, a full disk or another program leaves in the state directory harms nobody."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from code_sandboxes import Sandbox, SandboxNotFoundError, records
from code_sandboxes.testing.base import eventually

# Writes records as fast as it can, of a sandbox that this process seems to own.
WRITER = """
import itertools, json, sys
from code_sandboxes import records
print('writing', flush=True)
for n in itertools.count():
    tags = {'n': str(n), 'long': 'x' * (n % 50_000)}
    owner = json.loads(sys.argv[1])
    records.write(records.Record('sb-written', 'local-eval', {'tags': tags}, {}, **owner))
"""
# all fields, of other types
WRONG = b'{"id": "sb-broken", "variant": [], "config": 3, "place": null, "owner_pid": "x"}'


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CODE_SANDBOXES_HOME", str(tmp_path))
    assert Sandbox.list() == []
    return tmp_path / "sandboxes"


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{",
        b"[]",
        b"{}",
        b"null",
        b"\xff\xfe",
        b'{"id": 1}',
        b"[" * 100_000,
        b"\0" * 4096,
        WRONG,
    ],
    ids=["empty", "cut", "list", "object", "null", "no-text", "other", "deep", "zeros", "wrong"],
)
def test_what_is_no_record_is_none(folder: Path, text: bytes) -> None:
    (folder / "sb-broken.json").write_bytes(text)
    with Sandbox.create("local-eval") as box:
        with pytest.raises(SandboxNotFoundError):
            Sandbox.from_id("sb-broken")
        (folder / "sb-broken.json").write_bytes(text)
        assert [info.id for info in Sandbox.list()] == [box.id]
    assert not list(folder.iterdir())


def test_a_writer_that_is_killed_leaves_a_whole_record_or_none(folder: Path) -> None:
    start = records.start_of(os.getpid())
    owner = json.dumps({"owner_pid": os.getpid(), "owner_start": start})
    for _ in range(10):
        command = [sys.executable, "-c", WRITER, owner]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
            assert writer.stdout is not None
            writer.stdout.readline()
            seen = 0
            killer = threading.Timer(0.05, writer.send_signal, (signal.SIGKILL,))
            killer.start()
            while writer.poll() is None:  # a reader never sees half of one
                found = [info for info in Sandbox.list() if info.id == "sb-written"]
                assert seen == 0 or found
                seen = max(seen, len(found))
            killer.join()
        assert [info.id for info in Sandbox.list()] == ["sb-written"]
        assert [path.name for path in folder.iterdir()] == ["sb-written.json"]


def test_no_space_left_ends_what_was_made(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The record cannot be written: there is no sandbox, and nothing is left of it."""
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    folder.rmdir()
    folder.write_text("a file where the folder would be")
    with pytest.raises(OSError, match=r"sandboxes"):
        Sandbox.create("local-eval")
    assert eventually(lambda: not list((tmp_path / "tmp").iterdir()))
