"""What a runtime has for itself: a home, an interpreter to install into, folders of Jupyter's."""

from __future__ import annotations

import json
import os
import site
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .root import HOME, remove

FOLDERS = (f"root/{HOME}", "tmp", "ipython/profile_default/startup", "jupyter", "config", "state")
KERNEL = {
    "display_name": "Python 3 (ipykernel)",
    "language": "python",
    "metadata": {"debugger": True},
    "kernel_protocol_version": "5.5",
}
LAUNCH = ["-Xfrozen_modules=off", "-m", "ipykernel_launcher", "-f", "{connection_file}"]
PIP = "#!{python}\nimport runpy\nrunpy.run_module('pip', run_name='__main__')\n"


@dataclass(frozen=True)
class Machine:
    """The folder of one runtime.

    Args:
        base: where it is; made by `make`.
    """

    base: Path

    @property
    def root(self) -> Path:
        """The files of the user's, which a snapshot has: the runtime's root, if it has one."""
        return self.base / "root"

    @property
    def state(self) -> Path:
        """The variables of the snapshot that it was started from."""
        return self.base / "state"

    @property
    def startup(self) -> Path:
        """What every kernel runs first."""
        return self.base / "ipython/profile_default/startup"

    @property
    def socket(self) -> str:
        """Where its server listens."""
        return str(self.base / "s")

    @property
    def log(self) -> Path:
        """What its server says."""
        return self.base / "log"

    def make(self) -> None:
        """Make it."""
        for name in FOLDERS:
            (self.base / name).mkdir(parents=True)
        python = self._make_interpreter()
        spec = self.base / "share/kernels/python3/kernel.json"
        spec.parent.mkdir(parents=True)
        spec.write_text(json.dumps({**KERNEL, "argv": [str(python), *LAUNCH]}))

    def _make_interpreter(self) -> Path:
        """A virtual environment in front of this one: what is installed there stays there."""
        folder = self.base / "venv"
        paths = {"base": str(folder), "platbase": str(folder)}
        packages = Path(sysconfig.get_path("purelib", "venv", vars=paths))
        packages.mkdir(parents=True)
        (packages / "below.pth").write_text("\n".join(site.getsitepackages()))
        real = os.path.realpath(sys.executable)
        home = f"home = {os.path.dirname(real)}\ninclude-system-site-packages = false\n"
        (folder / "pyvenv.cfg").write_text(home)
        programs = folder / "bin"
        programs.mkdir()
        for name in ("python", "python3"):
            (programs / name).symlink_to(real)
        (programs / "pip").write_text(PIP.format(python=programs / "python"))
        (programs / "pip").chmod(0o755)
        return programs / "python"

    def server(self, base_url: str, token: str, *, rooted: bool) -> dict[str, Any]:
        """How the nursery starts its Jupyter Server: a stock one, but for where it is.

        Args:
            base_url: see ServerApp.
            token: its token.
            rooted: it gets a root of its own.
        """
        home = f"/{HOME}" if rooted else str(self.root / HOME)
        config = self.base / "config.json"  # its kernels inherit arguments and environment
        config.write_text(json.dumps({"IdentityProvider": {"token": token}}))
        config.chmod(0o600)
        argv = ["--no-browser", "--allow-root", f"--config={config}"]
        argv += [f"--ServerApp.sock={self.socket}", f"--ServerApp.base_url={base_url}"]
        argv += [f"--ServerApp.root_dir={home}", "--ServerApp.log_level=WARN"]
        # what datalayer-core brings for a machine of the user's is in no runtime
        argv += ["--ServerApp.jpserver_extensions={'datalayer_core': False}"]
        return {
            "base": str(self.base),
            "root": str(self.root) if rooted else None,
            "cwd": home,
            "env": self._environment(home),
            "argv": argv,
        }

    def _environment(self, home: str) -> dict[str, str]:
        kept = ("LANG", "LC_ALL", "TZ", "PIP_INDEX_URL", "PIP_CONFIG_FILE", "SSL_CERT_FILE")
        return {
            **{name: os.environ[name] for name in kept if name in os.environ},
            "PATH": f"{self.base}/venv/bin{os.pathsep}{os.environ.get('PATH', os.defpath)}",
            "HOME": home,
            "TMPDIR": str(self.base / "tmp"),
            "IPYTHONDIR": str(self.base / "ipython"),
            "JUPYTER_CONFIG_DIR": str(self.base / "config"),
            "JUPYTER_RUNTIME_DIR": str(self.base / "jupyter"),
            "JUPYTER_PATH": str(self.base / "share"),
        }

    def remove(self) -> None:
        """Remove it; what never started has no keeper to do that."""
        remove(self.base)
