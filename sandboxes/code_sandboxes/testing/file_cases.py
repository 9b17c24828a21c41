"""The files API."""

from __future__ import annotations

import errno
import io
import os
import threading
from array import array
from pathlib import Path
from typing import Any

import pytest

from code_sandboxes import ConfigurationError, FileError, Sandbox

from .base import Case, Stopwatch, eventually


class FileCases(Case):
    """Files go past the interpreter, and never out of the sandbox."""

    @pytest.mark.parametrize(
        "data", [b"", b"\x00\xff" * 10, b"x" * 3_000_000, "text \u2028 é 🎉\r\n".encode()]
    )
    def test_bytes_come_back(self, sandbox: Sandbox, data: bytes) -> None:
        sandbox.files.write("/data/bytes.bin", data)
        assert sandbox.files.read_bytes("/data/bytes.bin") == data
        assert sandbox.files.stat("/data/bytes.bin").size == len(data)
        assert b"".join(sandbox.files.read_stream("/data/bytes.bin")) == data

    def test_text(self, sandbox: Sandbox) -> None:
        sandbox.files.write("/data/test.txt", "Hello Wörld")
        assert sandbox.files.read("/data/test.txt") == "Hello Wörld"
        sandbox.files.write("binary", b"\xff\xfe")
        with pytest.raises(UnicodeDecodeError):
            sandbox.files.read("binary")

    def test_code_commands_and_files_see_the_same(self, sandbox: Sandbox) -> None:
        sandbox.files.write("shared/a.txt", "1")
        assert sandbox.run_code("open('shared/a.txt').read()").text == "'1'"
        assert sandbox.commands.run("cat shared/a.txt").stdout == "1"
        sandbox.run_code("with open('shared/b.txt', 'w') as f: f.write('2')")
        assert sandbox.files.read("shared/b.txt") == "2"
        path = sandbox.files.resolve("/data/c.txt")
        sandbox.files.write("/data/c.txt", "3")
        assert sandbox.run_code(f"open({path!r}).read()").text == "'3'"
        assert sandbox.files.resolve(path) == path
        assert sandbox.files.read(path) == "3"

    def test_streams_in(self, sandbox: Sandbox) -> None:
        sandbox.files.write("s1", io.BytesIO(b"abc" * 1_000_000))
        assert sandbox.files.stat("s1").size == 3_000_000
        sandbox.files.write("s2", (b"%d," % i for i in range(1000)))
        assert sandbox.files.read("s2").startswith("0,1,2,")

        def breaks() -> Any:
            yield b"x" * 3_000_000
            raise LookupError("mine")

        sandbox.files.write("s3", "before")
        with pytest.raises(LookupError):
            sandbox.files.write("s3", breaks())
        assert sandbox.files.read("s3") == "before"
        assert eventually(lambda: not self.parts_in(sandbox, "."))
        for view in (memoryview(array("i", range(1000))), memoryview(b"abcdef")[::2]):
            sandbox.files.write("s5", view)
            assert sandbox.files.read_bytes("s5") == view.tobytes()
        with pytest.raises(ConfigurationError, match="no utf-8"):
            sandbox.files.write("s3", "a lone \ud800")
        for bad in (3, None, ["text"]):
            with pytest.raises(ConfigurationError):
                sandbox.files.write("s4", bad)  # type: ignore[arg-type]

    def test_a_file_that_may_not_be_written_is_not_replaced(self, sandbox: Sandbox) -> None:
        if sandbox.commands.run("id -u").stdout == "0\n":
            pytest.skip("root may write any file")
        sandbox.files.write("kept", "as it was")
        sandbox.commands.run("chmod 444 kept")
        with pytest.raises(PermissionError):
            sandbox.files.write("kept", "other")
        assert sandbox.files.read("kept") == "as it was"

    def test_links_are_followed_where_that_is_asked_for(self, sandbox: Sandbox) -> None:
        sandbox.files.write("led/to/f", "12345")
        sandbox.run_code("import os\nos.symlink('to/f', 'led/file'); os.symlink('to', 'led/dir')")
        sandbox.run_code("os.symlink('nothing', 'led/broken'); os.symlink('loop', 'led/loop')")
        real = sandbox.files.resolve("led")
        assert sandbox.files.read(f"/{real}/to/f") == "12345"  # one slash or two
        assert sandbox.files.realpath(f"/{real}/file") == f"{real}/to/f"
        for path, leads_to in (
            ("led/file", "/to/f"),
            ("led/dir/missing", "/to/missing"),
            ("led/dir/..", ""),
            ("led/broken/x", "/nothing/x"),
        ):
            assert sandbox.files.realpath(path) == real + leads_to
        assert sandbox.files.realpath(f"{real}/dir") == f"{real}/to"
        assert sandbox.files.realpath("/") == sandbox.files.resolve("/")
        assert [sandbox.files.stat(f"led/{name}").type for name in ("file", "dir")] == [
            "symlink"
        ] * 2
        file, folder = (
            sandbox.files.stat(f"led/{name}", follow_symlinks=True) for name in ("file", "dir")
        )
        assert (file.type, file.size, folder.type) == ("file", 5, "directory")
        for name in ("broken", "loop"):
            with pytest.raises(OSError):
                sandbox.files.stat(f"led/{name}", follow_symlinks=True)

    @staticmethod
    def parts_in(sandbox: Sandbox, path: str) -> list[str]:
        """Half-written files that were left."""
        return [f.name for f in sandbox.files.list(path) if f.name.endswith(".part")]

    def test_listing(self, sandbox: Sandbox) -> None:
        for name in ("tree/b", "tree/a", "tree/sub/deep/x"):
            sandbox.files.write(name, name)
        sandbox.run_code("import os; os.symlink('a', 'tree/link')")
        found = sandbox.files.list("tree")
        assert [(f.name, f.type) for f in found] == [
            ("a", "file"),
            ("b", "file"),
            ("link", "symlink"),
            ("sub", "directory"),
        ]
        assert found[0].size == 6
        below = [f.path.split("tree/")[1] for f in sandbox.files.list("tree", depth=None)]
        assert below == ["a", "b", "link", "sub", "sub/deep", "sub/deep/x"]
        assert len(sandbox.files.list("tree", depth=2)) == 5
        assert [f.name for f in sandbox.files.glob("tree/**/x")] == ["x"]
        assert [f.name for f in sandbox.files.glob("tree/[ab]")] == ["a", "b"]
        assert sandbox.files.glob("nothing/*") == []
        assert [f.name for f in sandbox.files.glob("tree/[!b]")] == ["a"]
        assert sandbox.files.glob("tree[!a]a") == []  # a set is no separator
        with pytest.raises(ConfigurationError):
            sandbox.files.glob("[b-a]")
        with pytest.raises(NotADirectoryError):
            sandbox.files.list("tree/a")
        with pytest.raises(ConfigurationError):
            sandbox.files.list("tree", depth=0)

    def test_a_listing_of_many(self, sandbox: Sandbox) -> None:
        sandbox.run_code(
            "import os; os.makedirs('many')\nfor i in range(2500): open(f'many/{i}', 'w').close()"
        )
        assert len(sandbox.files.list("many")) == 2500

    def test_a_large_file_that_changes_while_it_is_read(self, sandbox: Sandbox) -> None:
        """There is an end to it, and nothing that was never in the file."""
        code = """
import threading, time
over = time.monotonic() + 60
def change():
    while time.monotonic() < over:
        with open('changing', 'wb') as file:
            for _ in range(30): file.write(b'x' * 100_000)
threading.Thread(target=change, daemon=True).start()
"""
        sandbox.files.write("changing", "x")  # what is read first must be there
        sandbox.run_code(code)
        for _ in range(20):
            assert set(sandbox.files.read_bytes("changing")) <= set(b"x")
        sandbox.run_code("over = 0")

    def test_what_memory_cannot_hold_is_not_read(self, sandbox: Sandbox) -> None:
        sandbox.run_code("open('sparse', 'wb').truncate(1 << 31)")
        with pytest.raises(FileError) as failed:
            sandbox.files.read_bytes("sparse")
        assert failed.value.errno == errno.EFBIG
        assert "download" in str(failed.value)
        sandbox.files.remove("sparse")

    def test_an_unfinished_file_is_not_listed(self, sandbox: Sandbox) -> None:
        sandbox.files.mkdir("listed")
        writing = threading.Thread(
            target=sandbox.files.write, args=("listed/whole", b"x" * 20_000_000)
        )
        writing.start()
        seen = {entry.name for entry in sandbox.files.list("listed")}
        while writing.is_alive():
            seen |= {entry.name for entry in sandbox.files.list("listed")}
        writing.join()
        assert seen <= {"whole"}

    def test_make_move_remove(self, sandbox: Sandbox) -> None:
        files = sandbox.files
        files.mkdir("m/one/two")
        files.mkdir("m/one/two")
        with pytest.raises(FileExistsError):
            files.mkdir("m/one", exist_ok=False)
        files.write("m/f", "1")
        files.move("m/f", "m/g")
        assert (files.exists("m/f"), files.read("m/g")) == (False, "1")
        files.move("m/g", "m/one")  # into a directory
        assert files.read("m/one/g") == "1"
        files.write("m/h", "2")
        with pytest.raises(FileExistsError):
            files.move("m/h", "m/one/g")
        files.move("m/h", "m/one/g", overwrite=True)
        assert files.read("m/one/g") == "2"
        files.remove("m")
        assert not files.exists("m")
        with pytest.raises(PermissionError):
            files.remove("/")

    def test_errors_are_ours_and_the_builtins(self, sandbox: Sandbox) -> None:
        sandbox.files.write("e/file", "x")
        cases: list[tuple[type[OSError], Any]] = [
            (FileNotFoundError, lambda: sandbox.files.read("none")),
            (FileNotFoundError, lambda: sandbox.files.stat("none/deeper")),
            (FileNotFoundError, lambda: sandbox.files.remove("none")),
            (FileNotFoundError, lambda: sandbox.files.list("none")),
            (IsADirectoryError, lambda: sandbox.files.read("e")),
            (IsADirectoryError, lambda: sandbox.files.write("e", "x")),
            (NotADirectoryError, lambda: sandbox.files.write("e/file/below", "x")),
            (FileNotFoundError, lambda: sandbox.files.upload("/no/such/local", "x")),
        ]
        for kind, call in cases:
            with pytest.raises(kind) as caught:
                call()
            assert isinstance(caught.value, FileError)
            assert caught.value.errno
        assert not sandbox.files.exists("e/file/below")
        assert self.parts_in(sandbox, "e") == []
        for bad in ("", "a\0b", 3):
            with pytest.raises(ConfigurationError):
                sandbox.files.read(bad)  # type: ignore[arg-type]

    def test_odd_names(self, sandbox: Sandbox) -> None:
        for name in (" ", "a b", "ü/日本", "-rf", "new\nline", "q'uote\"", "\udcff\udcfe"):
            sandbox.files.write(f"odd/{name}", "x")
            assert sandbox.files.read(f"odd/{name}") == "x"
        names = {f.name for f in sandbox.files.list("odd")}
        assert {" ", "a b", "ü", "-rf", "new\nline", "q'uote\"", "\udcff\udcfe"} == names

    def test_files_work_while_code_runs(self, sandbox: Sandbox) -> None:
        runner = threading.Thread(target=lambda: sandbox.run_code("import time; time.sleep(1.5)"))
        runner.start()
        watch = Stopwatch()
        sandbox.files.write("while/running.bin", b"\x00\xff" * 1_500_000)
        assert sandbox.files.read_bytes("while/running.bin") == b"\x00\xff" * 1_500_000
        assert watch.seconds < 1.4
        runner.join()

    def test_files_answer_during_a_transfer(self, sandbox: Sandbox) -> None:
        sandbox.run_code("with open('big', 'wb') as f: f.truncate(200_000_000)")
        stream = sandbox.files.read_stream("big")
        next(stream)  # and then nobody reads on
        watch = Stopwatch()
        for _ in range(20):
            assert sandbox.files.exists("big")
        assert sandbox.run_code("6 * 7").text == "42"
        assert watch.seconds < 2
        assert sum(map(len, stream)) > 190_000_000
        sandbox.files.remove("big")

    def test_upload_and_download(self, sandbox: Sandbox, tmp_path: Path) -> None:
        (tmp_path / "local.txt").write_text("up")
        told: list[tuple[int, int | None]] = []
        sandbox.files.upload(
            tmp_path / "local.txt", "/remote/f.txt", on_progress=lambda n, of: told.append((n, of))
        )
        assert sandbox.files.read("/remote/f.txt") == "up"
        assert told[-1] == (2, 2)
        sandbox.files.download("/remote/f.txt", str(tmp_path / "out.txt"))
        assert (tmp_path / "out.txt").read_text() == "up"
        sandbox.files.download("/remote/f.txt", tmp_path)  # into a directory
        assert (tmp_path / "f.txt").read_text() == "up"
        with pytest.raises(FileNotFoundError):
            sandbox.files.download("/remote/none", tmp_path / "none")
        assert sorted(p.name for p in tmp_path.iterdir()) == ["f.txt", "local.txt", "out.txt"]

    def test_directories_up_and_down(self, sandbox: Sandbox, tmp_path: Path) -> None:
        for name in ("a.txt", "sub/b.bin", "sub/deep/c"):
            path = tmp_path / "tree" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(name.encode())
        (tmp_path / "tree" / "empty").mkdir()
        sandbox.files.upload(tmp_path / "tree", "up/there")
        assert sandbox.files.read("up/there/sub/deep/c") == "sub/deep/c"
        sandbox.run_code("import os; os.symlink('/etc/passwd', 'up/there/leak')")
        sandbox.files.download("up/there", tmp_path / "back")
        found = sorted(
            p.relative_to(tmp_path / "back").as_posix() for p in tmp_path.glob("back/**/*")
        )
        assert found == ["a.txt", "empty", "sub", "sub/b.bin", "sub/deep", "sub/deep/c"]

    def test_a_download_follows_no_local_link(self, sandbox: Sandbox, tmp_path: Path) -> None:
        sandbox.files.write("d/sub/f", "x")
        (tmp_path / "outside").mkdir()
        (tmp_path / "into").mkdir()
        (tmp_path / "into" / "sub").symlink_to(tmp_path / "outside")
        with pytest.raises(PermissionError):
            sandbox.files.download("d", tmp_path / "into")
        assert list((tmp_path / "outside").iterdir()) == []

    def test_watch(self, sandbox: Sandbox) -> None:
        sandbox.files.mkdir("watched")
        changes = sandbox.files.watch("watched")
        got: list[tuple[str, str]] = []

        def collect() -> None:
            for change in changes:
                got.append((change.kind, change.path.rsplit("/", 1)[1]))
                if change.kind == "removed":
                    return

        reader = threading.Thread(target=collect)
        reader.start()
        sandbox.files.write("watched/f", "1")
        assert eventually(lambda: ("added", "f") in got)
        sandbox.run_code("open('watched/f', 'a').write('more')")
        assert eventually(lambda: ("changed", "f") in got)
        sandbox.files.remove("watched/f")
        reader.join(10)
        assert got[-1] == ("removed", "f")
        changes.close()  # type: ignore[attr-defined]

    def test_no_path_leads_out(self, sandbox: Sandbox) -> None:
        if not self.rooted(sandbox):
            pytest.skip("it has a file system of its own")
        sandbox.run_code("import os\nos.symlink('/etc', 'out'); os.symlink('../../..', 'upward')")
        sandbox.run_code("os.makedirs('in', exist_ok=True); os.symlink('in', 'inward')")
        sandbox.run_code("os.symlink('/etc/passwd', 'file-out'); os.symlink('me', 'me')")
        for path in ("../../../etc/passwd", "out/passwd", "upward/etc/passwd", "file-out", "me"):
            for call in (sandbox.files.read, lambda p: sandbox.files.write(p, "x")):
                with pytest.raises(OSError):
                    call(path)
            with pytest.raises(OSError):
                sandbox.files.stat(path, follow_symlinks=True)
        for path in ("out/passwd", "upward/etc/passwd", "file-out"):
            with pytest.raises(PermissionError):
                sandbox.files.realpath(path)
        with pytest.raises(OSError):
            sandbox.files.list("out")
        with pytest.raises(OSError):
            sandbox.files.resolve("../" * 9 + "etc")
        with pytest.raises(OSError):
            sandbox.files.move("in", "out/moved")
        sandbox.files.write("inward/x", "y")
        assert sandbox.files.read("/in/x") == "y"
        sandbox.files.remove("out")  # the link, not what it leads to
        assert Path("/etc/passwd").exists()

    def test_no_race_leads_out(self, sandbox: Sandbox, tmp_path: Path) -> None:
        if not self.rooted(sandbox):
            pytest.skip("it has a file system of its own")
        (tmp_path / "secret").write_text("secret")
        sandbox.files.write("race/real/secret", "mine")
        swap = f"""
import os, time
until = time.monotonic() + 1.5
while time.monotonic() < until:
    os.symlink({str(tmp_path)!r}, 'race/new'); os.rename('race/real', 'race/aside')
    os.rename('race/new', 'race/real')
    os.unlink('race/real'); os.rename('race/aside', 'race/real')
"""
        swapper = threading.Thread(target=lambda: sandbox.run_code(swap))
        swapper.start()
        while swapper.is_alive():
            try:
                assert sandbox.files.read("race/real/secret") == "mine"
            except OSError:
                continue
        swapper.join()
        assert os.listdir(tmp_path) == ["secret"]

    @staticmethod
    def rooted(sandbox: Sandbox) -> bool:
        """Whether absolute paths are mapped below the home."""
        return sandbox.files.resolve("/etc") != "/etc"
