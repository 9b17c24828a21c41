"""Code that attacks what runs it: the control socket, the fork server, the supervisor."""

from __future__ import annotations

import os
import sys
import threading
import time

import pytest

from code_sandboxes import Sandbox, SandboxGoneError

from .base import PROMPT, SLACK, Stopwatch, eventually
from .lifetime_cases import alive
from .promise import Survivor

TOOLS = """
import json, os, signal, socket, struct, time
def is_control(fd):
    try:
        with socket.socket(fileno=os.dup(fd)) as s:
            pair = not s.getsockname() and not s.getpeername()
            return s.family == socket.AF_UNIX and s.type == socket.SOCK_STREAM and pair
    except OSError: return False
control = [int(n) for n in os.listdir('/proc/self/fd') if int(n) > 2 and is_control(int(n))]
def say(data):
    for fd in control:
        with socket.socket(fileno=os.dup(fd)) as s:
            try: s.sendall(data, socket.MSG_DONTWAIT)
            except OSError: pass
def stat(pid):
    with open(f'/proc/{pid}/stat') as file: return file.read().rpartition(') ')[2].split()
def name(pid):
    with open(f'/proc/{pid}/cmdline', 'rb') as file: return file.read()
pid, ours = os.getppid(), []
while pid > 1 and b'_code_sandboxes' in name(pid):
    ours.append(pid); pid = int(stat(pid)[1])
ours = [pid for pid in ours if not name(pid).startswith(b'/bin/sh')]
# the fork server, and the supervisor: where that is PID 1 of a namespace, signals do not reach it
forks, supervisor = (*ours, None, None)[:2]
if forks and pid == 1: supervisor = 1
"""
SOCKET = {
    "garbage": r"say(b'garbage\n'); say(bytes(range(256)) * 100 + b'\n')",
    "no-event": r"say(b'[1, 2]\n'); say(b'{}\n')",
    "nested": r"say(b'[' * 200_000 + b'\n')",
    "not-a-number": r"""say(b'{"done": NaN}\n')""",
    "long-number": r"""say(b'{"done": ' + b'9' * 100_000 + b'}\n')""",
    "forged-end": r"""say(b'{"done": 77}\n{"done": 78, "run": 1}\n')""",
    "forged-output": r"""say(b'{"out": "forged", "stream": "stdout"}\n')""",
    "forged-bad-output": r"""say(b'{"out": 3, "stream": "x"}\n')""",
    "forged-display": r"""say(b'{"display": {"text/plain": {"a": [1]}}, "main": true}\n')""",
    "forged-call": r"""
say(b'{"ask": 999, "kind": "call", "payload": {"function": [1], "args": 3, "kwargs": []}}\n')""",
    "forged-reply": r"""say(b'{"reply": 1, "value": 2}\n')""",
    "closed": "for fd in control: os.close(fd)",
    "shut-down": "for fd in control: socket.socket(fileno=os.dup(fd)).shutdown(socket.SHUT_RDWR)",
    "non-blocking": "for fd in control: os.set_blocking(fd, False)\n"
    "for _ in range(20_000): print('x' * 100)",
    "replaced": "n = os.open('/dev/null', os.O_RDWR)\nfor fd in control: os.dup2(n, fd)",
}
SIGNALS = {
    "supervisor-stopped": "if supervisor: os.kill(supervisor, signal.SIGSTOP)",
    "supervisor-interrupted": "if supervisor: os.kill(supervisor, signal.SIGINT)",
    "supervisor-hung-up": "if supervisor: os.kill(supervisor, signal.SIGHUP)",
    "fork-server-stopped": "if forks: os.kill(forks, signal.SIGSTOP)",
    "fork-server-killed": "if forks: os.kill(forks, signal.SIGKILL)",
}
DAEMON = """
import os, subprocess, time
def daemon():
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            os.execvp('sh', ['sh', '-c', 'while :; do echo daemon; sleep 0.05; done'])
        os._exit(0)
daemon()
kept_process = subprocess.Popen(['sleep', '{mark}'], start_new_session=True)
pid = os.fork()
if pid == 0:
    os.setsid()
    os.execvp('sleep', ['sleep', '{mark}'])
"""

linux = pytest.mark.skipif(sys.platform != "linux", reason="it is done by /proc")


class AttackCases(Survivor):
    """In a variant without a boundary some of this ends the sandbox: then that is said."""

    @linux
    @pytest.mark.parametrize("code", SOCKET.values(), ids=SOCKET)
    def test_attack_on_the_control_socket(self, victim: Sandbox, code: str) -> None:
        self.survive(victim, f"{TOOLS}{code}\ntime.sleep(0.05)", timeout=3)

    @linux
    def test_attack_by_a_line_without_end(self, victim: Sandbox) -> None:
        code = """
for fd in control:
    with socket.socket(fileno=os.dup(fd)) as s:
        for _ in range(80):
            try: s.sendall(b'x' * 1_000_000)
            except OSError: break
"""
        self.survive(victim, TOOLS + code, timeout=5)

    @linux
    @pytest.mark.parametrize("code", SIGNALS.values(), ids=SIGNALS)
    def test_attack_on_those_above(self, fresh: Sandbox, code: str) -> None:
        fresh.run_code("kept = 'kept'")
        watch = Stopwatch()
        ran = fresh.run_code(f"{TOOLS}{code}", timeout=1)
        assert watch.seconds < 1 + PROMPT + SLACK
        fresh.files.write("written", "yes")
        assert fresh.files.read("written") == "yes"
        assert self.lost(ran) or fresh.run_code("kept", timeout=10).text == "'kept'"
        fresh.restart()
        assert fresh.run_code("1 + 1", timeout=10).text == "2"
        watch = Stopwatch()
        fresh.terminate()
        assert watch.seconds < PROMPT + SLACK

    @linux
    def test_attack_on_the_fork_server_while_it_forks(self, fresh: Sandbox) -> None:
        """Stopped over and over, it is woken over and over."""
        code = """
end = time.time() + 2
if os.fork() == 0:
    while time.time() < end: os.kill(forks, signal.SIGSTOP)
    os._exit(0)
None
"""
        assert fresh.run_code(TOOLS + code, timeout=20).success
        for name in ("second", "third"):
            fresh.create_context(name)
            assert fresh.run_code("1 + 1", context=name, timeout=20).text == "2"

    @linux
    def test_attack_on_a_stopped_sandbox_that_is_left(self) -> None:
        box = self.create()
        home = box.files.resolve(".")
        code = "if supervisor: os.kill(os.getppid(), signal.SIGSTOP); os.kill(supervisor, 19)"
        box.run_code(f"{TOOLS}{code}", timeout=1)
        watch = Stopwatch()
        box.terminate()
        assert watch.seconds < PROMPT + SLACK
        assert eventually(lambda: not os.path.exists(home))

    @linux
    @pytest.mark.parametrize("kind", [2, 3, 7])
    def test_attack_by_frames_to_the_host(self, kind: int) -> None:
        """The pipes of the supervisor are out of reach, but where code runs as root."""
        code = f"""
frame = struct.pack('>BBII', {kind}, 0, 1, 12) + b'{{"ok": 1234}}'
for n in os.listdir(f'/proc/{{supervisor}}/fd') if supervisor else ():
    try:
        path = f'/proc/{{supervisor}}/fd/{{n}}'
        if os.readlink(path).startswith('pipe:') and os.stat(path).st_mode & 0o200:
            fd = os.open(path, os.O_WRONLY | os.O_NONBLOCK)
            os.write(fd, frame); os.close(fd)
    except OSError: pass
time.sleep(0.1)
"""
        with self.create() as box:
            watch = Stopwatch()
            box.run_code(TOOLS + code, timeout=2)
            assert watch.seconds < 2 + PROMPT + SLACK
            try:
                assert box.run_code("1 + 1", timeout=2).text in ("2", "")
                box.run_code("2", timeout=2)
            except SandboxGoneError:
                return

    def test_nothing_is_left_of_daemons(self) -> None:
        mark = f"9{time.time_ns() % 10**7}"
        threads = threading.active_count()
        with self.create() as box:
            home = box.files.resolve(".")
            self.survive(box, DAEMON.replace("{mark}", mark) + "None")
            self.survive(
                box,
                "import threading, time\nfor _ in range(50): "
                "threading.Thread(target=time.sleep, args=(100,)).start()",
            )
            watch = Stopwatch()
        assert watch.seconds < PROMPT + SLACK
        assert eventually(lambda: not alive(mark)), alive(mark)
        assert eventually(lambda: not os.path.exists(home))
        assert eventually(lambda: threading.active_count() <= threads)
