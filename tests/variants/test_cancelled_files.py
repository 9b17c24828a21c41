"""What is left of an awaited transfer that was cancelled: nothing, at either end."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from code_sandboxes import AsyncSandbox
from code_sandboxes.testing.base import eventually

BIG = os.urandom(30 << 20)


def files_in_use(box: AsyncSandbox) -> int:
    """How many of these files its supervisor still reads or writes."""
    pid = box._core.machine._hello.result()["pid"]
    folder = Path(f"/proc/{pid}/fd")
    return sum(os.readlink(entry).endswith(("big", ".part")) for entry in folder.iterdir())


async def cancelled(make: Callable[[], Awaitable[object]], seconds: float) -> None:
    task = asyncio.ensure_future(make())
    await asyncio.sleep(seconds)
    task.cancel()
    try:
        await task
    except asyncio.CancelledError:
        return
    raise AssertionError("it was over before")


def slowly() -> Iterator[bytes]:
    for _ in range(100):
        yield b"x" * 100_000
        time.sleep(0.02)


def test_a_cancelled_request_is_given_up(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        async with await AsyncSandbox.create("local-eval") as box:
            await box.commands.run(
                "truncate -s 900M large; mkdir many; cd many; seq 30000 | xargs touch"
            )
            streams = box._core.machine.mux._streams
            before = set(streams)
            for make in (
                lambda: box.files.read_bytes("large"),
                lambda: box.files.list("many"),
                lambda: box.files.glob("many/*"),
            ):
                await cancelled(make, 0.02)
                await asyncio.sleep(0.05)
                assert set(streams) <= before, make  # it does not come to its end

    asyncio.run(main())
    failed = [record for record in caplog.records if record.name == "concurrent.futures"]
    assert failed == []  # no callback


def test_cancelled_transfers(tmp_path: Path) -> None:
    (tmp_path / "local").write_bytes(BIG * 4)

    async def main() -> None:
        async with await AsyncSandbox.create("local-eval") as box:
            await box.files.write("kept", "before")
            await box.files.write("big", BIG)
            for n in range(5):
                await cancelled(lambda: box.files.write("kept", BIG), 0.001 * n)
                await cancelled(lambda: box.files.read_bytes("big"), 0.001 * n)
            await cancelled(lambda: box.files.write("kept", slowly()), 0.1)
            await cancelled(lambda: box.files.upload(tmp_path / "local", "kept"), 0.01)
            await cancelled(lambda: box.files.download("big", tmp_path / "out"), 0.005)
            assert eventually(lambda: files_in_use(box) == 0)
            assert eventually(lambda: os.listdir(tmp_path) == ["local"])
            assert await box.files.read("kept") == "before"
            assert {entry.name for entry in await box.files.list()} == {"kept", "big"}

    asyncio.run(main())
