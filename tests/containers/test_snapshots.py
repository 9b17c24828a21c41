"""Snapshots of containers, and of what starts from them elsewhere."""

from __future__ import annotations

import warnings
from typing import Any

import pytest

from code_sandboxes import Sandbox, SandboxError, SandboxStartError
from code_sandboxes.testing.package_cases import wheel
from containers.helpers import VARIANT, create, unique

pytestmark = pytest.mark.usefixtures("store")


def fill(sandbox: Sandbox) -> None:
    sandbox.files.write("/data/d.txt", "data")
    sandbox.files.write("h.txt", "home")
    sandbox.files.write(".hidden", "hidden")
    sandbox.files.write("cs_kept-1.0-py3-none-any.whl", wheel("cs_kept"))
    assert sandbox.install_packages(["./cs_kept-1.0-py3-none-any.whl"]).success
    assert sandbox.run_code("import cs_kept\nx = 1\ndef f(): return x + cs_kept.VALUE").success


def test_all_of_it_comes_back() -> None:
    with create() as sandbox:
        fill(sandbox)
        made = sandbox.create_snapshot("whole")
        assert (made.skipped, made.variant) == ((), VARIANT)
    with create(snapshot_name="whole") as sandbox:
        assert sandbox.run_code("f()").text == "43"
        assert sandbox.files.read("/data/d.txt") + sandbox.files.read(".hidden") == "datahidden"
        assert not sandbox.files.exists("/home/sandbox/.variables/default.pickle")
        # what is ours in the user's own directory is not part of it
        sandbox.run_code("x = 2")
        sandbox.create_snapshot("again")
    with create(snapshot_name="again") as sandbox:
        assert sandbox.run_code("f()").text == "44"


def test_into_a_sandbox_that_isolates_less() -> None:
    with create() as sandbox:
        fill(sandbox)
        sandbox.create_snapshot("contained")
    with pytest.warns(RuntimeWarning, match="files alone.*container.*none"):
        local = Sandbox.create("local-eval", snapshot_name="contained")
    with local:
        assert local.files.read("/data/d.txt") + local.files.read("h.txt") == "datahome"
        assert not local.files.exists(".hidden")
        assert local.run_code("'f' in globals()").text == "False"
        assert not local.run_code("import cs_kept").success
        assert not local.files.exists("/remote")


def test_into_a_container() -> None:
    with Sandbox.create("local-eval") as local:
        fill(local)
        local.create_snapshot("local")
        inside = local.run_code("import sys; '%d.%d' % sys.version_info[:2]").text
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        sandbox = create(snapshot_name="local")
    with sandbox:
        there = sandbox.run_code("import sys; '%d.%d' % sys.version_info[:2]").text
        assert sandbox.files.read("data/d.txt") + sandbox.files.read("h.txt") == "datahome"
        if inside == there:
            assert caught == []
            assert sandbox.run_code("f()").text == "43"
        else:
            assert ["files alone" in str(warning.message) for warning in caught] == [True]


def test_variables_that_do_not_fit() -> None:
    with create(disk=100) as sandbox:
        sandbox.run_code("x = bytearray(70_000_000)")
        with pytest.raises(SandboxError, match="variables of context 'default'.*No space left"):
            sandbox.create_snapshot("large")
        assert Sandbox.list_snapshots() == []
        other = sandbox.run_code("x", context=sandbox.create_context())
        assert other.error is not None and other.error.name == "NameError"  # it has started
        assert sandbox.run_code("x = x[:1000]; len(x)").text == "1000"
        assert sandbox.create_snapshot("small").skipped == ()


def test_what_does_not_fit_is_an_error(engine: Any) -> None:
    with Sandbox.create("local-eval") as local:
        assert local.commands.run("head -c 100000000 /dev/urandom > big").success
        local.create_snapshot("big")
    mark = {"of": unique()}
    with pytest.raises(SandboxStartError, match="snapshot 'big' cannot be restored.*space"):
        create(snapshot_name="big", disk=64, tags=mark)
    made = engine.containers(all=True)
    assert [found for found in made if mark["of"] in str(found["Labels"])] == []
    assert Sandbox.list() == []
