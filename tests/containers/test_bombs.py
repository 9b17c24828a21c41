"""Too much of everything, by code and commands: the sandbox outlives it, and says what it was."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from code_sandboxes import Sandbox
from code_sandboxes.testing.base import Stopwatch, eventually
from code_sandboxes.testing.promise import bounded_memory
from containers.helpers import VARIANT

MIB = 1 << 20
SIZE = 200_000_000


@pytest.fixture(scope="module")
def small() -> Iterator[Sandbox]:
    with Sandbox.create(VARIANT, network_policy="none", memory=300, timeout=30) as made:
        yield made


@pytest.fixture(autouse=True)
def survived(small: Sandbox) -> Iterator[None]:
    """After each, everything works, and the variables are still there."""
    small.run_code("kept = 'kept'")
    yield
    assert small.run_code("kept").text == "'kept'"
    assert small.commands.run("echo yes").stdout == "yes\n"
    small.files.write("/data/f", "x")


def test_much_output_of_a_command(small: Sandbox) -> None:
    with bounded_memory(100 * MIB):
        ran = small.commands.run(f"head -c {SIZE} /dev/zero | tr '\\0' x")
    assert ran.success, ran
    note = len(f"\n[... {ran.dropped:,} bytes left out ...]\n")
    assert ran.dropped + len(ran.stdout) - note == SIZE


def test_much_output_of_code(small: Sandbox) -> None:
    with bounded_memory(150 * MIB):
        ran = small.run_code(f"for _ in range({SIZE} // 1_000_000): print('x' * 999_999)")
    assert ran.success, ran
    note = len(f"\n[... {ran.dropped:,} bytes left out ...]\n")
    assert ran.dropped + len(ran.stdout) - note == SIZE


def test_processes_without_end(small: Sandbox) -> None:
    watch = Stopwatch()
    ran = small.commands.run("bomb() { bomb | bomb & }; bomb; exec sleep 20", timeout=2)
    assert watch.seconds < 15
    assert not ran.success
    count = "ls /proc | grep -c '^[0-9]'"  # the dead, too, until they are buried
    assert eventually(lambda: int(small.commands.run(count).stdout or 999) < 60)


def test_files_without_end(small: Sandbox) -> None:
    code = """
import os
os.mkdir("/remote/many")
made = 0
try:
    while made < 200_000:
        open(f"/remote/many/{made}", "w").close()
        made += 1
except OSError as error:
    print(error.strerror)
"""
    ran = small.run_code(code)
    assert ran.stdout == "No space left on device\n"
    with pytest.raises(OSError, match="No space"):
        small.files.write("/remote/one-more", "x")
    assert small.commands.run("rm -rf /remote/many").success


def test_memory_of_a_command(small: Sandbox) -> None:
    ran = small.commands.run(["python", "-c", "held = b'x' * (280 << 20)"])
    assert ran.exit_code == 1
    assert "MemoryError" in ran.stderr


HOLD = "import time; held = b'x' * (90 << 20); time.sleep(20)"


def test_memory_of_many_commands(small: Sandbox) -> None:
    """Each is within its own bound: the kernel ends what is largest, which is nothing of ours."""
    script = f'for i in 1 2 3; do python -c "{HOLD}" & done; wait -n; echo $?; kill $(jobs -p)'
    ran = small.commands.run(["bash", "-c", script])
    assert ran.stdout == "137\n", ran
    assert eventually(lambda: small.commands.list() == [])
