"""``code-sandboxes image build``: the image of local-docker, without a source tree."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from .errors import SandboxError
from .text import printable
from .variants.engine import IMAGE, Engine


def dockerfile() -> bytes:
    """The text of our Dockerfile: part of an installed package, or of the source tree."""
    here = Path(__file__).parent
    installed = here / "docker" / "Dockerfile"
    tree = here.parents[1] / "docker" / "Dockerfile"
    return (installed if installed.exists() else tree).read_bytes()


def parser() -> argparse.ArgumentParser:
    """The command's arguments."""
    made = argparse.ArgumentParser("code-sandboxes image", description=__doc__)
    verbs = made.add_subparsers(dest="verb", required=True)
    build = verbs.add_parser("build", help=f"make the image {IMAGE}")
    build.add_argument("--base", metavar="IMAGE", help="what to build it from")
    build.add_argument(
        "--packages",
        default="",
        help='Python packages to install too, for example "numpy pandas matplotlib"',
    )
    build.add_argument("--tag", default=IMAGE, help="its name (default: %(default)s)")
    return made


def main(argv: Sequence[str]) -> int:
    """Run the command; its exit status."""
    asked = parser().parse_args(list(argv))
    arguments = {"PACKAGES": asked.packages} | ({"BASE_IMAGE": asked.base} if asked.base else {})
    try:
        engine = Engine()
        try:
            for line in engine.build(dockerfile(), asked.tag, arguments):
                print(printable(line), flush=True)
        finally:
            engine.close()
    except SandboxError as error:
        print(f"code-sandboxes: {printable(str(error))}", file=sys.stderr)
        return 1
    return 0
