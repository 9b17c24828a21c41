"""Packages: into the sandbox's own directory, for the interpreters that run."""

from __future__ import annotations

import importlib.util
import io
import zipfile

from code_sandboxes import Sandbox

from .base import Case


def wheel(name: str) -> bytes:
    """The smallest package that can be installed."""
    about = f"{name}-1.0.dist-info"
    files = {
        f"{name}.py": "VALUE = 42\n",
        f"{about}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n",
        f"{about}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    files[f"{about}/RECORD"] = "".join(f"{path},,\n" for path in [*files, f"{about}/RECORD"])
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for path, text in files.items():
            archive.writestr(path, text)
    return out.getvalue()


class PackageCases(Case):
    """`install_packages`, and its like from code. No package index is asked."""

    def test_packages_are_the_sandboxes_own(self, sandbox: Sandbox) -> None:
        self.needs("install_packages")
        sandbox.run_code("import sys")  # an interpreter that runs already
        for name in ("cs_probe_a", "cs_probe_b"):
            sandbox.files.write(f"{name}-1.0-py3-none-any.whl", wheel(name))
        path = sandbox.files.resolve("cs_probe_a-1.0-py3-none-any.whl")
        installed = sandbox.install_packages([path])
        assert installed.exit_code == 0, installed
        assert sandbox.run_code("import cs_probe_a; cs_probe_a.VALUE").text == "42"
        ran = sandbox.run_code("%pip install --no-index ./cs_probe_b-1.0-py3-none-any.whl")
        assert "Successfully installed" in ran.stdout, ran
        assert sandbox.run_code("import cs_probe_b; cs_probe_b.VALUE").text == "42"
        listed = sandbox.commands.run(["python", "-c", "import cs_probe_a; print('found')"])
        assert listed.stdout == "found\n"
        assert importlib.util.find_spec("cs_probe_a") is None  # the host's stay as they are
        with self.create() as other:
            missing = other.run_code("import cs_probe_a").error
            assert missing is not None
            assert missing.name == "ModuleNotFoundError"

    def test_a_package_that_is_not_there(self, sandbox: Sandbox) -> None:
        self.needs("install_packages")
        failed = sandbox.install_packages(["./no-such-package.whl"])
        assert not failed.success
        assert "no-such-package" in failed.stdout + failed.stderr
