"""Ctrl-C in the host, at any moment: it is noticed soon, and leaves a usable sandbox."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from code_sandboxes import Sandbox
from code_sandboxes.ctrl_c import Whole

ROUNDS = int(os.environ.get("CODE_SANDBOXES_SOAK", "10")) * 9
VARIANTS = ["local-eval", "local-jupyter"]

# Interrupts itself at a random moment, over and over, and looks at what is left.
AT_ANY_MOMENT = """
import os, random, signal, sys, threading, time
from code_sandboxes import Sandbox

def press(delay):
    time.sleep(delay)
    os.kill(os.getpid(), signal.SIGINT)

with Sandbox.create(sys.argv[1], timeout=60) as box:
    box.run_code('import time; kept = 1')
    for n in range(int(sys.argv[2])):
        delay = random.random() * (0.005 if n % 4 else 0.05)
        presser = threading.Thread(target=press, args=(delay,))
        began = time.monotonic()
        try:
            presser.start()
            while True:
                if n % 3 == 0:
                    box.run_code('time.sleep(30)')
                elif n % 3 == 1:
                    box.run_code('x = 1')
                else:
                    box.files.write('file', b'x' * 3000)
                    box.commands.run('true')
        except KeyboardInterrupt:
            pass
        noticed = time.monotonic() - began - delay
        presser.join()
        ran = box.run_code('kept', timeout=20)
        assert ran.text == '1', f'{n}: {ran!r} {ran.error}'
        assert noticed < 3, f'{n}: {noticed}'
print('whole')
"""

# The signal is noted by another thread while the main one waits: what happens where it comes
# right before the wait.
BEFORE_A_WAIT = """
import os, signal, sys, threading, time
from code_sandboxes import Sandbox

with Sandbox.create(sys.argv[1], timeout=60) as box:
    box.run_code('kept = 1')
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    for wait in (
        lambda: box.run_code('import time; time.sleep(30)'),
        lambda: box.commands.run('sleep 30'),
        lambda: box.commands.exec('sleep', '30').wait(),
    ):
        threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()
        began = time.monotonic()
        try:
            wait()
        except KeyboardInterrupt:
            print(time.monotonic() - began < 5, box.run_code('kept').text)
"""


def run(script: str, *arguments: str) -> tuple[str, str]:
    """The output and the errors of a program."""
    options = ["-X", "dev", "-W", "error", "-c", script, *arguments]
    ran = subprocess.run(
        [sys.executable, *options],
        capture_output=True,
        text=True,
        timeout=60 + ROUNDS,
        check=False,
    )
    return ran.stdout, ran.stderr


@pytest.mark.parametrize("variant", VARIANTS)
def test_at_any_moment_it_leaves_a_usable_sandbox(variant: str) -> None:
    assert run(AT_ANY_MOMENT, variant, str(ROUNDS)) == ("whole\n", "")


@pytest.mark.parametrize("variant", VARIANTS)
def test_right_before_a_wait_it_is_noticed_soon(variant: str) -> None:
    assert run(BEFORE_A_WAIT, variant) == ("True 1\n" * 3, "")


def press() -> None:
    os.kill(os.getpid(), signal.SIGINT)


def test_what_must_be_whole_is_done_first() -> None:
    done = []
    with pytest.raises(KeyboardInterrupt):
        with Whole():
            with Whole():
                press()
                done.append("inner")
            done.append("outer")
    assert done == ["inner", "outer"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_handler_of_the_programs_own_is_called_later() -> None:
    called: list[str] = []
    before = signal.signal(signal.SIGINT, lambda *_: called.append("handler"))
    try:
        with Whole():
            press()
            called.append("whole")
    finally:
        signal.signal(signal.SIGINT, before)
    assert called == ["whole", "handler"]


def test_other_threads_are_let_be() -> None:
    failed: list[BaseException] = []

    def work() -> None:
        try:
            with Whole():
                time.sleep(0)
        except BaseException as error:
            failed.append(error)
            raise

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert not failed


# Interrupts itself while it starts sandboxes, and looks at what is left.
WHILE_STARTING = """
import gc, os, random, signal, sys, tempfile, threading, time
import psutil
from code_sandboxes import Sandbox

def press(delay):
    time.sleep(delay)
    os.kill(os.getpid(), signal.SIGINT)

def held():
    gc.collect()
    me = psutil.Process()
    return len(me.children(recursive=True)), threading.active_count(), me.num_fds()

def start():
    Sandbox.create(sys.argv[1], confined=sys.argv[3] == 'confined').terminate()

start()
began = time.monotonic()
start()
takes = time.monotonic() - began
before, interrupted = held(), 0
for n in range(int(sys.argv[2])):
    presser = threading.Thread(target=press, args=(random.random() * (takes, takes / 10)[n % 2],))
    try:
        presser.start()
        start()
        time.sleep(5)
    except KeyboardInterrupt:
        interrupted += 1
    presser.join()
until = time.monotonic() + 10
while (held() > before or os.listdir(tempfile.gettempdir())) and time.monotonic() < until:
    time.sleep(0.05)
assert interrupted == int(sys.argv[2])
print(os.listdir(tempfile.gettempdir()), Sandbox.list(), held() <= before or (before, held()))
"""


@pytest.mark.parametrize("variant", [*VARIANTS, "confined"])
def test_while_a_sandbox_starts_it_leaves_nothing(
    variant: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if variant == "confined" and not (able := Sandbox.capabilities("local-jupyter")[variant]):
        pytest.skip(able.reason)
    for name in ("TMPDIR", "CODE_SANDBOXES_HOME"):
        (tmp_path / name).mkdir()
        monkeypatch.setenv(name, str(tmp_path / name))
    name = variant.replace("confined", "local-jupyter")
    assert run(WHILE_STARTING, name, str(ROUNDS // 9), variant) == ("[] [] True\n", "")
    assert not list((tmp_path / "CODE_SANDBOXES_HOME" / "sandboxes").iterdir())


def test_what_must_be_whole_holds_one_back_and_not_two() -> None:
    done = []
    with pytest.raises(KeyboardInterrupt), Whole():
        signal.raise_signal(signal.SIGINT)
        done.append("whole")
    assert done == ["whole"]
    with pytest.raises(KeyboardInterrupt), Whole():
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
        done.append("never")
    assert done == ["whole"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
