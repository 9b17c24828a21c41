"""Code in a sandbox against whoever starts another one from a snapshot of it."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from code_sandboxes import Sandbox

CONFINED = Sandbox.capabilities("local-jupyter")["confined"]
DOCKER = Sandbox.capabilities("local-docker")
ISOLATED = [
    pytest.param(
        ("local-jupyter", {"confined": True}),
        id="confined",
        marks=pytest.mark.skipif(not CONFINED.supported, reason=CONFINED.reason),
    ),
    pytest.param(
        ("local-docker", {"network_policy": "none"}),
        id="local-docker",
        marks=pytest.mark.skipif(not DOCKER["create"].supported, reason=DOCKER["create"].reason),
    ),
]
isolated = pytest.mark.parametrize("kind", ISOLATED)
Kind = tuple[str, dict[str, Any]]

pytestmark = pytest.mark.usefixtures("store")


@pytest.fixture
def outside(tmp_path: Path) -> Iterator[Path]:
    """A directory of the host, in which nothing is changed."""
    folder = tmp_path / "outside"
    folder.mkdir()
    (folder / "precious").write_text("precious")
    yield folder
    assert [path.name for path in folder.iterdir()] == ["precious"]
    assert (folder / "precious").read_text() == "precious"


def restored(variant: str, **options: Any) -> tuple[Sandbox, str]:
    """A sandbox from the snapshot, and the warnings."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        box = Sandbox.create(variant, snapshot_name="attack", **options)
    return box, "\n".join(str(warning.message) for warning in caught)


@isolated
@pytest.mark.parametrize("place", ["data", "remote"])
def test_a_link_in_the_place_of_a_place(kind: Kind, place: str, outside: Path) -> None:
    variant, options = kind
    with Sandbox.create(variant, **options) as box:
        at = "~" if variant == "local-jupyter" else f"/{place}"
        setup = f"ln -s {outside} ~/{place}; echo evil > {at}/precious; echo evil > {at}/further"
        box.commands.run(setup)
        box.create_snapshot("attack")
    box, said = restored("local-eval")
    with box:
        assert "files alone" in said
        assert box.run_code(f"import os; os.path.islink({place!r})").text == "False"


@isolated
def test_links_that_lead_out(kind: Kind, outside: Path) -> None:
    variant, options = kind
    with Sandbox.create(variant, **options) as box:
        links = {
            "absolute": str(outside / "precious"),
            "up": "../../../../../../.." + str(outside / "precious"),
            "d": ".",
            "chained": f"d/{'../' * 8}{str(outside)[1:]}/precious",
        }
        box.commands.run("mkdir sub; echo fine > sub/file")
        for name, target in links.items():
            box.run_code(f"import os; os.symlink({target!r}, {name!r})")
        box.run_code("os.symlink('sub/file', 'good'); os.symlink('../sub/file', 'sub/better')")
        box.create_snapshot("attack")
    box, said = restored("local-eval")
    with box:
        for name in ("absolute", "up", "chained"):
            assert f"home/{name}: the link leads out" in said
            assert box.run_code(f"import os; os.path.lexists({name!r})").text == "False"
        assert box.commands.run("cat good sub/better").stdout == "fine\nfine\n"
    with Sandbox.create(variant, snapshot_name="attack", **options) as box:  # its own affair
        assert box.commands.run("readlink absolute").stdout.strip() == str(outside / "precious")


@isolated
def test_modules_that_nobody_asked_for(kind: Kind, tmp_path: Path) -> None:
    variant, options = kind
    mark = tmp_path / "pwned"
    evil = f"try: open({str(mark)!r}, 'a').write(__name__ + '\\n')\nexcept OSError: pass\n"
    names = (
        *("unicodedata", "comm", "IPython", "subprocess", "traceback", "pip", "pickle", "tarfile"),
        *("shutil", "cloudpickle", "socket", "sitecustomize", "array", "packaging", "pdb"),
    )
    with Sandbox.create(variant, **options) as box:
        box.run_code("x = 1")
        for name in names:
            box.files.write(f"{name}.py", evil)
        box.files.write("decimal/__init__.py", evil)
        box.files.write("tools/mine.py", "VALUE = 1")
        box.files.write("data.csv", "1,2")
        box.create_snapshot("attack")
    for variant in ("local-eval", "local-jupyter"):
        box, said = restored(variant)
        with box:
            assert "home/comm.py: Python would load it where code starts" in said
            box.run_code("import decimal; 1 / 0")
            box.run_code("import subprocess; 1")
            box.commands.run("python -c 'import shutil'; true")
            box.install_packages(["./nothing.whl"])
            box.create_snapshot(f"of {variant}")
            assert box.files.read("data.csv") == "1,2"
            assert box.files.read("tools/mine.py") == "VALUE = 1"
        assert not mark.exists(), mark.read_text()


@pytest.mark.parametrize("variant", ["local-eval", "local-jupyter"])
def test_a_home_with_modules_of_well_known_names(variant: str) -> None:
    with Sandbox.create(variant) as box:
        box.run_code("x = 1")
        for name in ("tarfile", "shutil", "comm", "socket", "pickle", "tempfile"):
            box.files.write(f"{name}.py", "raise SystemError('not the real one')")
        box.files.write("mine.py", "VALUE = 42")
        assert box.run_code("import mine; mine.VALUE").text == "42"
        made = box.create_snapshot("attack")
        assert made.skipped == ()
    with Sandbox.create(variant, snapshot_name="attack") as box:
        assert box.run_code("x, mine.VALUE").text == "(1, 42)"


@pytest.mark.skipif(not DOCKER["create"].supported, reason=DOCKER["create"].reason)
def test_an_offline_sandbox_gets_no_network_by_a_snapshot() -> None:
    hosts = ["a.test", "b.test"]
    with Sandbox.create("local-docker", network_policy="none") as box:
        box.run_code("x = 1")
        box.create_snapshot("attack")
    box, said = restored("local-docker")
    with box:
        assert "by its network_policy" in said
        assert box.run_code("'x' in globals()").text == "False"
    options: dict[str, Any] = {"network_policy": "allowlist", "allowed_hosts": hosts}
    box, said = restored("local-docker", **options)
    box.terminate()
    assert "by its network_policy" in said
    with Sandbox.create("local-docker", **options) as box:
        box.run_code("x = 2")
        Sandbox.delete_snapshot("attack")
        box.create_snapshot("attack")
    box, said = restored("local-docker", network_policy="allowlist", allowed_hosts=hosts[:1])
    with box:
        assert (said, box.run_code("x").text) == ("", "2")
    box, said = restored("local-docker", network_policy="none")
    box.terminate()
    assert said == ""


@pytest.mark.skipif(not DOCKER["create"].supported, reason=DOCKER["create"].reason)
def test_files_that_claim_any_size() -> None:
    with Sandbox.create("local-docker", network_policy="none", disk=100) as box:
        box.commands.run("truncate -s 4G holes")
        with pytest.raises(Exception, match="too much to keep"):
            box.create_snapshot("attack")
        assert Sandbox.list_snapshots() == []
        box.files.remove("holes")
        box.create_snapshot("attack")


def test_nothing_of_it_is_obeyed_by_a_terminal() -> None:
    with Sandbox.create("local-eval") as box:
        box.run_code("import os, threading\nos.mkfifo('\\x1b[31mred\\x07\\n\\u202e')")
        box.run_code("globals()['\\x1b]0;title\\x07'] = threading.Lock()")
        made = box.create_snapshot("attack")
    assert len(made.skipped) == 2
    for line in made.skipped:
        assert line.isprintable()
