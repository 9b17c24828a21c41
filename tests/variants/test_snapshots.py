"""Snapshots that are kept on this machine."""

from __future__ import annotations

import asyncio
import io
import json
import os
import signal
import subprocess
import sys
import tarfile
import threading
import time
import warnings
from pathlib import Path
from typing import Any

import pytest

from code_sandboxes import (
    AsyncSandbox,
    ConfigurationError,
    ExecutionFailedError,
    Sandbox,
    SandboxStartError,
    SnapshotNotFoundError,
)
from code_sandboxes.testing.base import eventually
from code_sandboxes.testing.package_cases import wheel

CONFINED = Sandbox.capabilities("local-jupyter")["confined"]
needs_confinement = pytest.mark.skipif(not CONFINED.supported, reason=CONFINED.reason)
KINDS = [
    pytest.param(("local-eval", {}), id="local-eval"),
    pytest.param(("local-jupyter", {}), id="local-jupyter"),
    pytest.param(("local-jupyter", {"confined": True}), id="confined", marks=needs_confinement),
]

STATE = """
import json as j, math, threading
kept, table, _private = 41, {'a': [1, 2]}, 7
alias = table
counter = 0
def bump():
    global counter
    counter += 1
    return counter
def factorial(n, *, of: int = 1) -> int:
    "its documentation"
    return of if n < 2 else n * factorial(n - 1)
factorial.mark = 'marked'
def make():
    n = 0
    def up():
        nonlocal n
        n += 1
        return n
    def down():
        nonlocal n
        n -= 1
        return n
    return up, down
up, down = make(); up(); up()
class Point:
    "a class"
    made = []
    def __init__(self, x): self.x = x; Point.made.append(self)
    def moved(self): return self.x + kept
class Further(Point):
    def moved(self): return super().moved() * 2
point = Further(1)
lock = threading.Lock()
def guarded():
    with lock: return 'guarded'
lines = (n for n in range(3))
"""

pytestmark = pytest.mark.usefixtures("store")


def evaluated(box: Sandbox, code: str) -> Any:
    ran = box.run_code(f"import json\nprint(json.dumps({code}))")
    assert ran.success, ran
    return json.loads(ran.stdout)


@pytest.mark.parametrize("kind", KINDS)
def test_variables_come_back_as_they_were(kind: tuple[str, dict[str, Any]]) -> None:
    variant, options = kind
    with Sandbox.create(variant, **options) as box:
        assert box.run_code(STATE).success
        second = box.create_context("second")
        box.run_code("two = 2", context=second)
        before = {found.name for found in box.list_variables()}
        made = box.create_snapshot("one")
        assert {line.partition(":")[0] for line in made.skipped} == {
            "variable lines",
            "variable lock",
        }
        box.run_code("kept = 0; table['a'] = []; del point")
        assert box.run_code("next(lines)").text == "0"  # nothing was taken away
    with Sandbox.create(variant, snapshot_name="one", **options) as box:
        assert {found.name for found in box.list_variables()} == before - {"lines", "lock"}
        assert evaluated(box, "[kept, table, _private, table is alias]") == [
            *(41, {"a": [1, 2]}, 7),
            True,
        ]
        assert evaluated(box, "[j.__name__, math.floor(1.5), factorial(5), factorial.mark]") == [
            *("json", 1, 120, "marked"),
        ]
        assert evaluated(box, "[factorial.__doc__, factorial(1, of=3), Point.__doc__]") == [
            *("its documentation", 3, "a class"),
        ]
        # functions see the namespace, and closures share what they shared
        assert evaluated(box, "[bump(), bump(), counter, up(), down(), down()]") == [
            *(1, 2, 2, 3, 2, 1),
        ]
        assert evaluated(box, "[point.moved(), Point.made[0] is point]") == [84, True]
        box.run_code("kept = 1\nimport threading\nlock = threading.Lock()")
        assert evaluated(box, "[point.moved(), guarded()]") == [4, "guarded"]
        assert [context.name for context in box.list_contexts()] == ["default", "second"]
        assert box.run_code("two", context="second").text == "2"
        assert box.create_context().name == "context-1"
        again = box.create_snapshot("of a restored one")
        assert {line.partition(":")[0] for line in again.skipped} == {"variable lock"}
    with Sandbox.create(variant, snapshot_name=again.id, **options) as box:
        assert evaluated(box, "[counter, bump(), factorial(4)]") == [2, 3, 24]


@pytest.mark.parametrize("kind", KINDS)
def test_files_come_back_as_they_were(kind: tuple[str, dict[str, Any]]) -> None:
    variant, options = kind
    big, odd = os.urandom(3_000_000), "odd \udcff\n name"
    with Sandbox.create(variant, working_dir="work", **options) as box:
        box.files.write("big", big)
        box.files.write("/deep/er/empty", b"")
        box.files.write("/.hidden", "h")
        box.files.write(odd, "odd")
        setup = """
            cd $HOME; chmod 751 work/big; touch -d '2020-02-02 UTC' work/big; mkdir none
            ln -s work/big link; ln -s /nowhere dangling; mkfifo pipe; mkdir shut
            echo x > shut/in; chmod 500 shut
        """
        assert box.commands.run(setup).success
        made = box.create_snapshot("files")
        assert list(made.skipped) == ["home/pipe: no file, but a socket, a pipe or a device"]
        assert made.size is not None and made.size > len(big)
    with Sandbox.create(variant, snapshot_name="files", working_dir="work", **options) as box:
        assert box.files.read_bytes("big") == big
        assert box.files.read(odd) == "odd"
        entries = {entry.path: entry for entry in box.files.list("/", depth=None)}
        below = {path[len(box.files.resolve("/")) :].lstrip("/"): e for path, e in entries.items()}
        assert {name for name in below if not name.startswith(".rustup")} == {
            *("work", "work/big", f"work/{odd}", "deep", "deep/er", "deep/er/empty", ".hidden"),
            *("none", "link", "dangling", "shut", "shut/in"),
        }
        assert (below["work/big"].mode, below["shut"].mode) == (0o751, 0o500)
        assert below["work/big"].modified == 1580601600
        assert box.commands.run("readlink ../link ../dangling").stdout == "work/big\n/nowhere\n"


@pytest.mark.parametrize("kind", KINDS)
def test_packages_come_along(kind: tuple[str, dict[str, Any]]) -> None:
    variant, options = kind
    with Sandbox.create(variant, **options) as box:
        box.files.write("cs_kept-1.0-py3-none-any.whl", wheel("cs_kept"))
        assert box.install_packages(["./cs_kept-1.0-py3-none-any.whl"]).success
        script = "#!$VIRTUAL_ENV/bin/python3\\nimport cs_kept; print(cs_kept.VALUE)\\n"
        tool = "$VIRTUAL_ENV/bin/kept-tool"
        assert box.commands.run(f'printf "{script}" > {tool}; chmod +x {tool}').success
        box.run_code("import cs_kept\ndef value(): return cs_kept.VALUE")
        box.create_snapshot("packages")
    with Sandbox.create(variant, snapshot_name="packages", **options) as box:
        assert box.run_code("value()").text == "42"
        assert box.commands.run("kept-tool").stdout == "42\n"
        listed = box.commands.run(
            "python -m pip list --path $(dirname $(python -c "
            "'import cs_kept; print(cs_kept.__file__)'))"
        )
        assert "cs_kept" in listed.stdout


HOSTILE = """
import os
class Hostile:
    def __reduce__(self): return os.system, ('touch $HOME/pwned',)
hostile = Hostile()
x = 1
"""


@needs_confinement
def test_code_gets_nowhere_by_way_of_a_snapshot() -> None:
    with Sandbox.create("local-jupyter", confined=True) as box:
        box.run_code(HOSTILE)
        box.files.write("cs_kept-1.0-py3-none-any.whl", wheel("cs_kept"))
        assert box.install_packages(["./cs_kept-1.0-py3-none-any.whl"]).success
        box.files.write(".local/lib/usercustomize.py", "1 / 0")
        box.files.write("data.txt", "data")
        made = box.create_snapshot("confined")
    with pytest.warns(RuntimeWarning, match="files alone.*confined.*none"):
        box = Sandbox.create("local-eval", snapshot_name=made.name)
    with box:
        assert box.files.read("data.txt") == "data"
        assert not box.files.exists("pwned")
        assert not box.files.exists(".local")
        assert box.run_code("'x' in globals()").text == "False"
        assert not box.run_code("import cs_kept").success
    with Sandbox.create("local-jupyter", confined=True, snapshot_name="confined") as box:
        assert box.files.exists("pwned")  # where it came from, it may do as it likes
        assert box.run_code("x").text == "1"
    with Sandbox.create("local-eval") as box:
        box.run_code("y = 2")
        box.create_snapshot("open")
    with Sandbox.create("local-jupyter", confined=True, snapshot_name="open") as box:
        assert box.run_code("y").text == "2"


def edited(store: Path, id: str, **fields: Any) -> None:
    about = json.loads((store / id / "snapshot.json").read_text())
    (store / id / "snapshot.json").write_text(json.dumps(about | fields))


def test_another_python_gets_the_files(store: Path) -> None:
    with Sandbox.create("local-eval") as box:
        box.run_code("x = 1")
        box.files.write("data.txt", "data")
        made = box.create_snapshot("old")
    edited(store, made.id, python="3.9.1")
    with pytest.warns(RuntimeWarning, match=r"it is of Python 3\.9, here is 3\.\d+"):
        box = Sandbox.create("local-eval", snapshot_name="old")
    with box:
        assert box.files.read("data.txt") == "data"
        assert box.run_code("'x' in globals()").text == "False"


def test_variables_that_cannot_be_loaded(store: Path) -> None:
    code = """
class Picky:
    def __init__(self, allowed): self.allowed = allowed
    def __setstate__(self, state): raise LookupError('no, thanks')
picky = Picky(True)
"""
    with Sandbox.create("local-eval") as box:
        box.run_code(code)
        box.run_code("two = 2", context=box.create_context("second"))
        box.create_snapshot("picky")
    with pytest.warns(RuntimeWarning, match="context 'default' were not restored.*no, thanks"):
        box = Sandbox.create("local-eval", snapshot_name="picky")
    with box:
        assert box.run_code("two", context="second").text == "2"
        assert box.run_code("'picky' in globals()").text == "False"


@pytest.mark.parametrize("how", ["os._exit(3)", "raise ValueError('no')"])
def test_variables_that_cannot_be_kept(how: str) -> None:
    code = f"import os\nclass Odd:\n    def __reduce__(self): {how}\nodd, x = Odd(), 1"
    with Sandbox.create("local-eval") as box:
        box.run_code(code)
        if "exit" in how:
            with pytest.raises(ExecutionFailedError, match="InterpreterDied"):
                box.create_snapshot("odd")
            assert Sandbox.list_snapshots() == []
        else:
            made = box.create_snapshot("odd")
            assert made.skipped == ("variable odd: ValueError: no, in context 'default'",)
        assert box.run_code("40 + 2").text == "42"


def archive(*members: tuple[tarfile.TarInfo, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as made:
        for member, data in members:
            member.size = len(data)
            made.addfile(member, io.BytesIO(data))
    return out.getvalue()


def member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "", mode: int = 0o644) -> Any:
    made = tarfile.TarInfo(name)
    made.type, made.linkname, made.mode = kind, link, mode
    return made


def test_a_hostile_archive_stays_inside(store: Path, tmp_path: Path) -> None:
    with Sandbox.create("local-eval") as box:
        made = box.create_snapshot("hostile")
    outside = tmp_path / "outside"
    outside.mkdir()
    entries = [
        (member("home/../../up"), b"x"),
        (member("home//etc/absolute"), b"below"),
        (member("../up"), b"x"),
        (member("home/way", tarfile.SYMTYPE, str(outside)), b""),
        (member("home/way/through"), b"x"),
        (member("home/hard", tarfile.LNKTYPE, "/etc/passwd"), b""),
        (member("home/device", tarfile.CHRTYPE), b""),
        (member("nowhere/file"), b"x"),
        (member("home/root", mode=0o6755), b"x"),
        (member("home/root"), b"twice"),
        (member("home/sparse", tarfile.GNUTYPE_SPARSE), b""),
        (member("home/..", tarfile.DIRTYPE), b""),
    ]
    (store / made.id / "files.tar").write_bytes(archive(*entries))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        box = Sandbox.create("local-eval", snapshot_name="hostile")
    with box:
        said = "\n".join(str(warning.message) for warning in caught)
        for name in ("home/../../up", "home/way", "home/hard", "home/device", "home/sparse"):
            assert f"{name}: " in said
        assert box.run_code("import os; os.path.islink('way')").text == "False"
        assert box.files.read("etc/absolute") == "below"
        assert box.files.stat("root").mode == 0o755
        assert box.files.read("root") == "x"
        base = Path(box.files.resolve("/")).parent
        found = [path for path in base.rglob("*") if path.name in ("up", "hard")]
        assert found == []
    assert list(outside.iterdir()) == []
    (store / made.id / "files.tar").write_bytes(os.urandom(100_000))
    with pytest.raises(SandboxStartError, match="no archive of ours"):
        Sandbox.create("local-eval", snapshot_name="hostile")
    assert Sandbox.list() == []


def test_only_one_of_a_name() -> None:
    outcomes: list[Any] = []

    def make(box: Sandbox) -> None:
        try:
            outcomes.append(box.create_snapshot("same"))
        except ConfigurationError as error:
            outcomes.append(error)

    with Sandbox.create("local-eval") as one, Sandbox.create("local-eval") as other:
        threads = [threading.Thread(target=make, args=(box,)) for box in (one, other) * 2]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert [type(outcome).__name__ for outcome in outcomes].count("Snapshot") == 1
    assert len(Sandbox.list_snapshots()) == 1
    Sandbox.delete_snapshot("same")
    with pytest.raises(SnapshotNotFoundError, match="list_snapshots"):
        Sandbox.delete_snapshot("same")


KILLED = """
from code_sandboxes import Sandbox
box = Sandbox.create("local-eval")
box.commands.run("head -c 400000000 /dev/zero > zeros")
print("made", flush=True)
box.create_snapshot("never")
"""


def test_a_maker_that_is_killed_leaves_nothing(store: Path) -> None:
    maker = subprocess.Popen([sys.executable, "-c", KILLED], stdout=subprocess.PIPE)
    assert maker.stdout is not None
    maker.stdout.readline()
    assert eventually(lambda: any(path.stat().st_size for path in store.glob("*/files.tar")))
    maker.send_signal(signal.SIGKILL)
    maker.wait()
    maker.stdout.close()
    assert Sandbox.list_snapshots() == []
    assert list(store.iterdir()) == []


def test_what_is_no_snapshot_is_passed_over(store: Path) -> None:
    with Sandbox.create("local-eval") as box:
        made = box.create_snapshot("whole")
        for name, text in (("a", "{}"), ("b", "[]"), ("c", "no")):
            (store / name).mkdir()
            (store / name / "snapshot.json").write_text(text)
        assert Sandbox.list_snapshots() == [made]
        assert Sandbox.list_snapshots("local-eval") == [made]
        assert Sandbox.list_snapshots("local-jupyter") == []
        with pytest.raises(SnapshotNotFoundError, match="there are: 'whole'"):
            Sandbox.create("local-eval", snapshot_name="other")


def test_code_that_runs_is_waited_for() -> None:
    with Sandbox.create("local-eval") as box:
        box.run_code("x = 0")
        running = threading.Thread(target=box.run_code, args=("import time; time.sleep(1); x = 1",))
        running.start()
        time.sleep(0.3)
        box.create_snapshot("after")
        running.join()
    with Sandbox.create("local-eval", snapshot_name="after") as box:
        assert box.run_code("x").text == "1"


def test_from_another_owner_and_async() -> None:
    box = Sandbox.create("local-jupyter")
    box.run_code("x = 41")
    id = box.detach(60)

    async def main() -> None:
        async with await AsyncSandbox.from_id(id) as adopted:
            made = await adopted.create_snapshot("adopted", description="d")
            assert made.description == "d"
        async with await AsyncSandbox.create("local-jupyter", snapshot_name="adopted") as again:
            assert (await again.run_code("x + 1")).text == "42"
        assert [kept.name for kept in await AsyncSandbox.list_snapshots()] == ["adopted"]
        await AsyncSandbox.delete_snapshot("adopted", variant="local-jupyter")

    asyncio.run(main())
