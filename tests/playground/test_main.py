"""Starting the playground from the command line: what it refuses, and what it warns of."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import urllib.request
from typing import Any

import pytest

import code_sandboxes_playground
from code_sandboxes_playground.__main__ import main
from code_sandboxes_playground.variants import places, warning_for


def python(script: str) -> subprocess.CompletedProcess[str]:
    """Run it in a process of its own: importing Gradio leaves event loops and sockets open."""
    return subprocess.run(
        [sys.executable, "-c", script],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        capture_output=True,
        text=True,
        check=False,
    )


def started(*arguments: str) -> subprocess.CompletedProcess[str]:
    """What `main` says that cannot start."""
    return python(
        "import sys\nfrom code_sandboxes_playground.__main__ import main\n"
        f"sys.exit(main({list(arguments)!r}))"
    )


def test_help_and_wrong_arguments(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    assert "--variant" in capsys.readouterr().out
    assert main(["--nonsense"]) == 2
    assert main(["--port", "many"]) == 2


def test_an_unknown_variant_is_refused() -> None:
    done = started("--port", "0", "--variant", "nonsense")
    assert done.returncode == 1
    assert "nonsense" in done.stderr and "local-eval" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_port_that_is_taken_is_said() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = started("--port", str(port), "--variant", "local-eval")
    assert done.returncode == 1
    assert "in use" in done.stderr and "Traceback" not in done.stderr


def test_without_gradio_it_says_what_to_install() -> None:
    done = python(
        "import sys; sys.modules['gradio'] = None\n"
        "from code_sandboxes_playground.__main__ import main\n"
        "sys.exit(main(['--port', '0']))"
    )
    assert done.returncode == 1
    assert "code-sandboxes[playground]" in done.stderr


def test_importing_the_package_does_not_import_gradio() -> None:
    done = python("import sys, code_sandboxes_playground.__main__\nprint('gradio' in sys.modules)")
    assert done.stdout.strip() == "False"


def test_build_app_is_a_gradio_app_and_warns_of_nothing() -> None:
    done = python(
        "import gradio as gr, warnings\nwarnings.simplefilter('error')\n"
        "from code_sandboxes_playground import build_app\n"
        "app = build_app()\nassert isinstance(app, gr.Blocks)\nprint(app.title)"
    )
    assert done.stdout.strip() == "Code Sandboxes", done.stderr


def test_there_is_nothing_else_in_the_package() -> None:
    with pytest.raises(AttributeError):
        _ = code_sandboxes_playground.nonsense  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("host", "quiet"),
    [
        ("127.0.0.1", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("::", False),
        ("192.0.2.7", False),
        ("example.org", False),
    ],
)
def test_it_warns_where_other_machines_reach_code_that_nothing_isolates(
    host: str, quiet: bool
) -> None:
    warning = warning_for(host, places())
    assert (warning == "") is quiet
    if not quiet:
        assert "local-eval and local-jupyter isolate nothing" in warning


def test_the_warning_is_on_the_terminal_and_on_the_page(new_server: Any) -> None:
    server = new_server("--variant", "local-eval", "--host", "0.0.0.0")
    assert "127.0.0.1" in server.url  # a link that works, for who started it
    opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor())
    with opener.open(server.url) as page:
        assert "isolate nothing" in page.read().decode()
    assert server.stop() == 0
    assert "WARNING: Other machines can reach this server" in server.said()
