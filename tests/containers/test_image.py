"""The image, and the command that makes it."""

from __future__ import annotations

from typing import Any

import pytest

from code_sandboxes import Sandbox
from code_sandboxes.image import dockerfile, main
from code_sandboxes.variants.engine import IMAGE
from containers.helpers import VARIANT, unique


def test_the_dockerfile_works_with_the_classic_builder() -> None:
    text = dockerfile().decode()
    for word in ("--mount", "<<", "COPY", "ADD", "# syntax"):
        assert word not in text
    assert "USER 1000:1000" in text


def test_the_command_builds_an_image(engine: Any, capsys: pytest.CaptureFixture[str]) -> None:
    name = f"code-sandboxes-test:{unique()}"
    try:
        # from our own image: what it installs is there, so no index is asked
        status = main(["build", "--base", IMAGE, "--tag", name])
        told = capsys.readouterr()
        if status != 0 and "Permission" not in told.err:
            assert told.err.startswith("code-sandboxes: the image cannot be built")
            pytest.skip(f"no image can be built here: {told.err}")
    finally:
        if engine.images(name):
            engine.remove_image(name)


def test_an_image_that_cannot_be_built_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["build", "--base", "no such image", "--tag", "code-sandboxes-test:none"]) == 1
    assert capsys.readouterr().err.startswith("code-sandboxes: ")


def test_what_the_image_is_made_of(engine: Any) -> None:
    known = engine.inspect_image(IMAGE)["Config"]
    assert known["User"] == "1000:1000"
    with Sandbox.create(VARIANT, network_policy="none") as sandbox:
        code = "import jupyter_server, ipykernel; ipykernel.__cached__"
        path = sandbox.run_code(code).text.strip("'")
        assert sandbox.files.exists(path)  # compiled: nothing could be written here later
