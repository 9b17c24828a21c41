"""The command line as a process of its own, on pipes or on a terminal."""

from __future__ import annotations

import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

PROGRAM = [sys.executable, "-W", "error", "-m", "code_sandboxes"]
# a process started by Popen has no controlling terminal, which Ctrl-C and getpass need
_ON_TERMINAL = """
import fcntl, os, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.argv[1], sys.argv[1:])
"""


def environment(**more: str) -> dict[str, str]:
    """This process's, with local-eval as the default variant."""
    plain = {"PYTHONUNBUFFERED": "", "NO_COLOR": "", "TERM": "xterm", "COLUMNS": ""}
    return os.environ | plain | {"CODE_SANDBOXES_VARIANT": "local-eval", **more}


def cli(
    *arguments: str, stdin: bytes = b"", env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run it to its end; the output is decoded, but otherwise as it is."""
    done = subprocess.run(
        [*PROGRAM, *arguments],
        input=stdin,
        capture_output=True,
        env=environment(**env or {}),
        timeout=100,
    )
    out, err = done.stdout.decode(), done.stderr.decode()
    return subprocess.CompletedProcess(done.args, done.returncode, out, err)


def complaint(*arguments: str, status: int, env: Mapping[str, str] | None = None) -> str:
    """The one line on stderr, of a call that must fail with nothing on stdout."""
    done = cli(*arguments, env=env)
    assert (done.returncode, done.stdout) == (status, "")
    assert "Traceback" not in done.stderr
    lines = done.stderr.splitlines()
    assert len(lines) == (2 if lines[0].startswith("usage:") else 1)
    return lines[-1]


def start(
    *arguments: str, program: Sequence[str] = PROGRAM, env: Mapping[str, str] | None = None
) -> subprocess.Popen[str]:
    """Start it on pipes."""
    return subprocess.Popen(
        [*program, *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(**env or {}),
    )


def on_terminal(*arguments: str, typed: Sequence[tuple[str, str]] = ()) -> tuple[str, int]:
    """Run it on a terminal of 100 columns.

    Args:
        typed: (text, keys): once the text is on the screen, these keys are typed.

    Returns:
        All that came to the screen, and the exit status.
    """
    ours, theirs = pty.openpty()
    fcntl.ioctl(ours, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 100, 0, 0))
    argv = [sys.executable, "-c", _ON_TERMINAL, *PROGRAM, *arguments]
    process = subprocess.Popen(
        argv, stdin=theirs, stdout=theirs, stderr=theirs, env=environment(), start_new_session=True
    )
    os.close(theirs)
    screen, waiting = b"", list(typed)
    while piece := _read(ours):
        screen += piece
        if waiting and waiting[0][0].encode() in screen:
            os.write(ours, waiting.pop(0)[1].encode())
    os.close(ours)
    return screen.decode().replace("\r\n", "\n"), process.wait(30)


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 1 << 16)
    except OSError:  # how Linux says that the other end is closed
        return b""


def until(condition: Callable[[], bool], seconds: float = 20.0) -> bool:
    """Whether it becomes true in time."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


def fake_distribution(folder: Path, entry_points: str, **modules: str) -> dict[str, str]:
    """A package as if it were installed.

    Args:
        entry_points: the content of its entry_points.txt.
        modules: source by module name.

    Returns:
        The environment in which it is found.
    """
    info = folder / "further_things-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: further-things\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(entry_points)
    for name, source in modules.items():
        (folder / f"{name}.py").write_text(source)
    return {"PYTHONPATH": f"{os.environ['PYTHONPATH']}:{folder}"}
