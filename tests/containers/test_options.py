"""Each option is honoured, or refused with what to do about it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from code_sandboxes import (
    ConfigurationError,
    MissingExtraError,
    Sandbox,
    SandboxConfig,
    UnsupportedError,
)
from code_sandboxes.variants import engine as engine_module
from code_sandboxes.variants.container import arguments
from code_sandboxes.variants.container_probe import missing_image
from code_sandboxes.variants.engine import BUILD, IMAGE
from containers.helpers import VARIANT, unique


def create(**options: Any) -> Sandbox:
    return Sandbox.create(VARIANT, **{"network_policy": "none", **options})


def test_the_environment_is_told_to_nobody(engine: Any) -> None:
    with create(env={"API_KEY": "secret-value", "PYTHONPATH": "/data"}) as sandbox:
        assert "secret-value" not in str(engine.inspect_container(sandbox.id))
        sandbox.files.write("/data/mine.py", "x = 5")
        code = "import mine, os; (mine.x, os.environ['API_KEY'])"
        assert sandbox.run_code(code).text == "(5, 'secret-value')"
        assert sandbox.commands.run("echo $API_KEY").stdout == "secret-value\n"


def test_nothing_of_the_hosts_environment_is_inside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATALAYER_API_KEY", "host-secret")
    with create() as sandbox:
        assert "host-secret" not in sandbox.commands.run("env").stdout
        assert "host-secret" not in sandbox.run_code("import os; print(os.environ)").stdout


@pytest.mark.parametrize("directory", ["sub/deep", "/workspace/x", "/data/x"])
def test_working_dir(directory: str) -> None:
    with create(working_dir=directory) as sandbox:
        where = sandbox.files.resolve(".")
        assert where == (directory if directory[0] == "/" else f"/workspace/{directory}")
        assert sandbox.run_code("import os; os.getcwd()").text == repr(where)
        assert sandbox.commands.run("pwd").stdout.strip() == where


def test_options_that_cannot_be() -> None:
    bad: list[dict[str, Any]] = [
        {"working_dir": "/etc/x"},
        {"memory": 100},
        {"memory": 512, "disk": 512},
        {"disk": -1},
    ]
    for options in bad:
        with pytest.raises(ConfigurationError):
            create(**options)
    for refused, why in {"runtime": "has no runtime", "gpu": "GPU"}.items():
        with pytest.raises(UnsupportedError, match=why):
            create(**{refused: "no-such"})


def test_what_the_engine_is_asked_for_a_gpu_and_a_runtime_without_one() -> None:
    """No GPU, and no other runtime, is here to be used: this is the request alone."""
    image = {"Id": "sha256:x", "Config": {}}
    for gpu, count in {"all": -1, "2": 2}.items():
        made = arguments(SandboxConfig(gpu=gpu), "sb-x", ["python"], image, None)["HostConfig"]
        (asked,) = made["DeviceRequests"]
        assert (asked["Count"], asked["Capabilities"]) == (count, [["gpu"]])
        assert "Runtime" not in made
    made = arguments(SandboxConfig(runtime="runsc"), "sb-x", ["python"], image, None)["HostConfig"]
    assert (made["Runtime"], made["DeviceRequests"]) == ("runsc", [])
    with pytest.raises(UnsupportedError, match='say how many, or gpu="all"'):
        arguments(SandboxConfig(gpu="T4"), "sb-x", ["python"], image, None)


def test_disk_and_memory_by_keyword_and_by_config() -> None:
    config = SandboxConfig(disk_limit=200 << 20, memory_limit=600 << 20)
    with Sandbox.create(VARIANT, config=config, network_policy="none") as sandbox:
        ran = sandbox.commands.run("df -m --output=size /workspace | tail -1")
        assert int(ran.stdout) == 80  # two fifths


def test_an_image_of_the_users_own(engine: Any, tmp_path: Path) -> None:
    name = f"code-sandboxes-test:{unique()}"
    (tmp_path / "Dockerfile").write_text(f'FROM {IMAGE}\nENV MINE=yes\nENTRYPOINT ["false"]\n')
    for _ in engine.build(path=str(tmp_path), tag=name, rm=True):
        pass
    try:
        with create(environment=name) as sandbox:
            assert sandbox.commands.run("echo $MINE").stdout == "yes\n"
    finally:
        engine.remove_image(name)


def test_a_read_only_system_says_what_it_needs() -> None:
    with create() as sandbox, pytest.raises(UnsupportedError, match="writable_root=True"):
        sandbox.commands.install_system_packages(["hello"])


def test_a_writable_system_is_changed_by_root_alone() -> None:
    with create(writable_root=True) as sandbox:
        ran = sandbox.commands.install_system_packages(["no-such-package"])
        assert ran.exit_code != 0  # and it is apt that says so, not a missing right
        assert "Permission denied" not in ran.stderr
        with pytest.raises(ConfigurationError):
            sandbox.commands.install_system_packages(["--download-only"])
        assert sandbox.commands.run("touch /etc/mine").exit_code != 0
        with pytest.raises(PermissionError):
            sandbox.files.write("/etc/mine", "x")
        status = sandbox.commands.run("grep Cap /proc/self/status").stdout
        effective = [line.split()[1] for line in status.splitlines() if "CapEff" in line]
        assert effective == ["0" * 16]
        assert sandbox.run_code("6 * 7").text == "42"


def test_a_system_package_is_installed() -> None:
    with Sandbox.create(VARIANT, writable_root=True) as sandbox:
        if not sandbox.commands.run(["python", "-c", REACHES_DEBIAN]).success:
            pytest.skip("no Debian mirror can be reached from a container")
        assert not sandbox.commands.run("command -v tree").success
        ran = sandbox.commands.install_system_packages(["tree"])
        assert ran.success, ran
        assert sandbox.commands.run("tree --version").stdout.startswith("tree")


REACHES_DEBIAN = """
import urllib.request
urllib.request.urlopen("http://deb.debian.org/debian/dists/stable/InRelease", timeout=10)
"""


def test_without_the_image_the_command_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    assert BUILD in missing_image(IMAGE)
    assert "code-sandboxes image build" in missing_image(IMAGE)
    if engine_module.missing():
        pytest.skip(engine_module.missing())
    with pytest.raises(UnsupportedError):
        create(environment="no-such-image:at-all")


def test_without_an_engine_everything_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    if engine_module.missing():
        pytest.skip(engine_module.missing())
    monkeypatch.setenv("DOCKER_HOST", "unix:///no/such/socket")
    known = Sandbox.capabilities(VARIANT)
    assert not any(known.values())
    assert "DOCKER_HOST" in known["create"].reason
    with pytest.raises(UnsupportedError, match="DOCKER_HOST"):
        Sandbox.create(VARIANT)


WITHOUT_EXTRA = """
import sys
sys.modules["docker"] = None
from code_sandboxes import MissingExtraError, Sandbox
known = Sandbox.capabilities("local-docker")
print(known["create"].supported, known["create"].reason)
try:
    Sandbox.create("local-docker")
except MissingExtraError as error:
    print(error)
print("local-docker" in Sandbox.variants(), Sandbox.list())
"""


def test_without_the_extra_it_is_named() -> None:
    assert issubclass(MissingExtraError, ImportError)
    ran = subprocess.run(
        [sys.executable, "-c", WITHOUT_EXTRA], capture_output=True, text=True, check=False
    )
    lines = ran.stdout.splitlines()
    assert lines[0].startswith("False"), ran.stderr
    assert "code-sandboxes[docker]" in lines[0]
    assert "code-sandboxes[docker]" in lines[1]
    assert lines[2].startswith("True")


def test_importing_the_library_does_not_import_the_sdk() -> None:
    code = (
        "import sys, code_sandboxes\n"
        "code_sandboxes.Sandbox.variants()\n"
        "print([m for m in ('docker', 'requests', 'jupyter_kernel_client') if m in sys.modules])"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout == "[]\n"
