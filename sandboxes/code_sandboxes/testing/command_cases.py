"""The commands API."""

from __future__ import annotations

import threading
import time

import pytest

from code_sandboxes import ConfigurationError, OutputMessage, Sandbox, UnsupportedError

from .base import PROMPT, SLACK, Case, Stopwatch, eventually


def count(sandbox: Sandbox, mark: str) -> int:
    """How many processes in the sandbox have this in their command line."""
    code = f"""
import os
found = 0
for entry in os.listdir('/proc'):
    if entry.isdigit() and int(entry) != os.getpid():
        try:
            with open(f'/proc/{{entry}}/cmdline', 'rb') as file:
                found += {mark!r}.encode() in file.read()
        except OSError: pass
print(found)
"""
    ran = sandbox.commands.run(["python", "-"], stdin=code)
    return int(ran.stdout)


class CommandCases(Case):
    """Programs beside the interpreters."""

    def test_run(self, sandbox: Sandbox) -> None:
        ran = sandbox.commands.run("echo out; echo err >&2; exit 3", env={"A": "b"})
        assert (ran.exit_code, ran.stdout, ran.stderr) == (3, "out\n", "err\n")
        assert (ran.success, ran.error) == (False, None)
        assert sandbox.commands.run(["echo", "a b", "$HOME"]).stdout == "a b $HOME\n"
        assert sandbox.commands.run("echo $A", env={"A": "b c"}).stdout == "b c\n"
        assert sandbox.commands.run("pwd").stdout.strip() == sandbox.files.resolve(".")
        sandbox.files.mkdir("/data/cwd")
        ran = sandbox.commands.run("pwd", cwd="/data/cwd")
        assert ran.stdout.strip() == sandbox.files.resolve("/data/cwd")
        for _ in range(30):  # a fast command loses neither output nor status
            assert sandbox.commands.run("echo x; exit 7").exit_code == 7

    def test_what_cannot_run(self, sandbox: Sandbox) -> None:
        assert sandbox.commands.run(["no-such-program"]).exit_code == 127
        assert sandbox.commands.run("no-such-program").exit_code == 127
        sandbox.files.write("plain.txt", "no program")
        assert sandbox.commands.run([sandbox.files.resolve("plain.txt")]).exit_code == 126
        assert sandbox.commands.run("true", cwd="none").exit_code == 126
        for bad in ([], [1], "a\0b", ["a\0b"]):
            with pytest.raises(ConfigurationError):
                sandbox.commands.run(bad)  # type: ignore[arg-type]

    def test_stdin(self, sandbox: Sandbox) -> None:
        assert sandbox.commands.run("cat", stdin="in").stdout == "in"
        assert sandbox.commands.run("cat").stdout == ""  # at its end, not waiting
        large = b"\x00\xff" * 1_000_000
        assert sandbox.commands.run("wc -c", stdin=large).stdout.strip() == "2000000"
        assert sandbox.commands.run("true", stdin=large).exit_code == 0

    def test_bytes(self, sandbox: Sandbox) -> None:
        ran = sandbox.commands.run("printf '\\000\\377x'")
        assert ran.stdout_bytes == b"\x00\xffx"
        assert ran.stdout == "\x00\ufffdx"
        ran = sandbox.commands.run("head -c 3000000 /dev/zero")
        assert len(ran.stdout_bytes) == 3_000_000

    def test_a_timeout_kills_the_tree(self, sandbox: Sandbox) -> None:
        watch = Stopwatch()
        ran = sandbox.commands.run(
            "(sleep 471101 & sleep 471101) & echo up; sleep 471101", timeout=0.5
        )
        assert watch.seconds < 0.5 + PROMPT + SLACK
        assert (ran.exit_code, ran.stdout) == (124, "up\n")
        assert ran.error is not None
        assert ran.error.name == "ExecutionTimeout"
        assert eventually(lambda: count(sandbox, "471101") == 0)
        ran = sandbox.commands.run("trap '' TERM; while true; do sleep 0.1; done", timeout=0.5)
        assert ran.exit_code == 124

    def test_killed_by_a_signal(self, sandbox: Sandbox) -> None:
        assert sandbox.commands.run("kill -9 $$").exit_code == 137
        assert sandbox.commands.run("kill -INT $$").exit_code == 130  # not ignored

    def test_callbacks(self, sandbox: Sandbox) -> None:
        got: list[OutputMessage] = []
        times: list[float] = []

        def note(message: OutputMessage) -> None:
            got.append(message)
            times.append(time.monotonic())

        code = "for i in 1 2 3; do echo $i; sleep 0.2; done; echo e >&2; printf part"
        sandbox.commands.run(code, on_stdout=note, on_stderr=note)
        assert [m.line for m in got if not m.error] == ["1", "2", "3", "part"]
        assert [m.line for m in got if m.error] == ["e"]
        assert times[2] - times[0] > 0.2

    def test_exec_has_live_pipes(self, sandbox: Sandbox) -> None:
        process = sandbox.commands.exec("python", "-c", "print('hello')")
        assert list(process.stdout) == ["hello\n"]
        assert process.wait().exit_code == 0
        code = "import sys\nfor line in sys.stdin: print(line.upper(), end='', flush=True)"
        with sandbox.commands.exec("python", "-u", "-c", code) as process:
            lines = iter(process.stdout)
            for word in ("one\n", "two\n"):
                process.stdin.write(word)
                assert next(lines) == word.upper()
            assert process.poll() is None
            process.stdin.close()
            assert process.wait(10).exit_code == 0
            assert process.exit_code == 0

    def test_exec_of_what_is_missing(self, sandbox: Sandbox) -> None:
        process = sandbox.commands.exec("no-such-program")
        assert process.wait().exit_code == 127
        assert list(process.stdout) == []

    def test_both_streams_without_a_stall(self, sandbox: Sandbox) -> None:
        code = "for i in $(seq 1 30000); do echo out $i; echo error $i >&2; done; echo end"
        process = sandbox.commands.exec("sh", "-c", code)
        assert list(process.stdout)[-1] == "end\n"
        assert len(process.stderr.read().splitlines()) == 30000

    def test_a_process_that_nobody_reads_stalls_only_itself(self, sandbox: Sandbox) -> None:
        with sandbox.commands.exec("yes") as flood:
            watch = Stopwatch()
            assert sandbox.run_code("6 * 7").text == "42"
            sandbox.files.write("calm", "x" * 3_000_000)
            assert sandbox.commands.run("echo hi").stdout == "hi\n"
            assert watch.seconds < 5
            assert flood.poll() is None
        assert flood.exit_code == 137

    def test_background(self, sandbox: Sandbox) -> None:
        process = sandbox.commands.exec("sh", "-c", "read x; echo got $x; sleep 471102")
        found = [info for info in sandbox.commands.list() if info.pid == process.pid]
        assert found[0].command == ("sh", "-c", "read x; echo got $x; sleep 471102")
        assert abs(found[0].started - time.time()) < 60
        assert process.pid is not None
        again = sandbox.commands.connect(process.pid)
        again.stdin.write("it\n")
        assert next(iter(again.stdout)) == "got it\n"
        sandbox.commands.kill(process.pid)
        assert again.wait(10).exit_code == 137
        assert eventually(lambda: count(sandbox, "471102") == 0)
        assert eventually(lambda: process.pid not in [p.pid for p in sandbox.commands.list()])
        with pytest.raises(ProcessLookupError):
            sandbox.commands.kill(process.pid)
        with pytest.raises(ProcessLookupError):
            sandbox.commands.connect(process.pid)

    def test_a_background_child_does_not_hold_the_command(self, sandbox: Sandbox) -> None:
        watch = Stopwatch()
        assert sandbox.commands.run("sleep 30 & echo started").stdout == "started\n"
        assert watch.seconds < 5

    def test_commands_in_parallel(self, sandbox: Sandbox) -> None:
        threads = [
            threading.Thread(target=lambda: sandbox.commands.run("sleep 1")) for _ in range(5)
        ]
        watch = Stopwatch()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert watch.seconds < 4

    def test_system_packages(self, sandbox: Sandbox) -> None:
        if not Sandbox.capabilities(self.variant)["install_system_packages"].supported:
            with pytest.raises(UnsupportedError, match="variants that can"):
                sandbox.commands.install_system_packages(["curl"])

    def test_bad_packages(self, sandbox: Sandbox) -> None:
        for bad in ([], "six", [""], ["--index-url=x"], [3]):
            with pytest.raises(ConfigurationError):
                sandbox.install_packages(bad)  # type: ignore[arg-type]

    def test_commands_async(self) -> None:
        async def main() -> None:
            async with await self.create_async() as box:
                ran = await box.commands.run("echo hi; exit 2")
                assert (ran.stdout, ran.exit_code) == ("hi\n", 2)
                async with await box.commands.exec("cat") as process:
                    await process.stdin.write("line\n")
                    await process.stdin.close()
                    assert [line async for line in process.stdout] == ["line\n"]
                    assert (await process.wait()).exit_code == 0
                await box.files.write("a", "b")
                assert await box.files.read("a") == "b"
                assert [f.name for f in await box.files.list()] == ["a"]
                assert b"".join([piece async for piece in box.files.read_stream("a")]) == b"b"

        self.run_async(main)
