"""A playground server and a real browser, for the tests of the page."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import psutil
import pytest

ROOT = Path(__file__).parents[2]
ROOTS = [str(ROOT / name) for name in ("sandboxes", "playground")]
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


@dataclass
class Server:
    """A playground in a process of its own.

    Attributes:
        url: its address with the token.
        process: the server.
        temporary: its directory for temporary files.
        log: what it said on stderr.
    """

    url: str
    process: subprocess.Popen[str]
    temporary: Path
    log: IO[str]

    @property
    def base(self) -> str:
        """Its address alone."""
        return self.url.partition("/?")[0]

    def inside(self) -> list[psutil.Process]:
        """Everything that the server started and that still lives."""
        return psutil.Process(self.process.pid).children(recursive=True)

    def said(self) -> str:
        """What it said on stderr so far."""
        self.log.seek(0)
        return self.log.read()

    def stop(self) -> int:
        """Stop it as `kill` does, and give its exit status."""
        if self.process.stdout is not None:
            self.process.stdout.close()
        self.process.terminate()
        return self.process.wait(30)

    def close(self) -> None:
        """Stop it if it runs, and forget what it said."""
        if self.process.poll() is None:
            self.stop()
        self.log.close()


def start_server(*arguments: str, temporary: Path) -> Server:
    """Start the playground on a free port and wait until it says its address."""
    log = tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed by `stop`
    process = subprocess.Popen(
        [sys.executable, "-m", "code_sandboxes_playground", "--port", "0", *arguments],
        env=os.environ
        | {"PYTHONPATH": os.pathsep.join(ROOTS), "TMPDIR": str(temporary), "MPLBACKEND": "agg"},
        stdout=subprocess.PIPE,
        stderr=log,
        text=True,
        cwd=temporary,
    )
    assert process.stdout is not None
    said = process.stdout.readline()
    found = re.search(r"http://\S+", said)
    if found is None:
        process.kill()
        process.wait(10)
        pytest.fail(f"the playground did not start: {said!r}")
    return Server(found[0], process, temporary, log)


@pytest.fixture
def new_server() -> Iterator[Any]:
    """A function that starts servers; what still runs at the end of the test is stopped."""
    started: list[Server] = []
    # a short path: sockets of sandboxes are in it
    with tempfile.TemporaryDirectory(prefix="pg-") as temporary:

        def start(*arguments: str) -> Server:
            started.append(start_server(*arguments, temporary=Path(temporary)))
            return started[-1]

        yield start
        for server in started:
            server.close()


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    """One server for all tests of the page."""
    with tempfile.TemporaryDirectory(prefix="pg-") as temporary:
        started = start_server("--variant", "local-eval", temporary=Path(temporary))
        yield started
        status, said = started.stop(), started.said()
        started.close()
        assert (status, said) == (0, "")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A headless Chromium."""
    sync_api = pytest.importorskip("playwright.sync_api")
    named = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, BROWSERS)), None)
    with sync_api.sync_playwright() as playwright:
        path = named or playwright.chromium.executable_path
        if not Path(path).exists():
            pytest.skip("no Chromium: `apt-get install chromium`, or set CHROMIUM to its path")
        arguments = ["--disable-dev-shm-usage", "--disable-gpu"]
        if hasattr(os, "geteuid") and os.geteuid() == 0:
            arguments.append("--no-sandbox")  # it refuses to run as root otherwise
        running = playwright.chromium.launch(executable_path=path, args=arguments)
        yield running
        running.close()


@dataclass
class Page:
    """The page in the browser, and what went wrong on it.

    Attributes:
        page: of playwright.
        base: the address of the server.
        late: what playwright raises when it waited in vain.
        expected: console errors that the test is about, as patterns.
        errors: what the console and failed requests said.
        foreign: requests that left the server.
    """

    page: Any
    base: str
    late: type[Exception]
    expected: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    foreign: list[str] = field(default_factory=list)

    def open(self, url: str) -> None:
        """Load it, and wait until its session is known."""
        self.page.on("console", self._console)
        self.page.on("pageerror", lambda error: self.errors.append(f"pageerror: {error}"))
        self.page.on("request", self._request)
        for _ in range(4):
            self.page.goto(url)
            with suppress(self.late):
                self.page.wait_for_function(
                    "document.querySelector('#cs-code .cs-where')?.textContent", timeout=15_000
                )
                return
            # Chromium drops all requests when a network device comes or goes (a container's)
            if not any("ERR_NETWORK" in error for error in self.errors):
                break
            self.errors.clear()
        pytest.fail(f"the page did not load: {self.errors}")

    def write(self, code: str) -> None:
        """Replace the code in the editor."""
        self.page.click("#cs-editor .cm-content")
        self.page.keyboard.press("Control+A")
        self.page.keyboard.insert_text(code)

    def start(self, code: str) -> None:
        """Run code with Ctrl+Enter, and wait until it began."""
        self.write(code)
        before = self.page.get_attribute("#cs-code .cs-console", "data-run")
        self.page.keyboard.press("Control+Enter")
        self.page.wait_for_function(
            "run => document.querySelector('#cs-code .cs-console').dataset.run !== run", arg=before
        )

    def run(self, code: str) -> str:
        """Run code to its end, and give what the console shows."""
        self.start(code)
        self.wait_done()
        return self.output()

    def wait_done(self, console: str = "#cs-code") -> None:
        """Wait until nothing runs in a console."""
        self.page.wait_for_function(
            "id => document.querySelector(id + ' .cs-console').dataset.state !== 'running'",
            arg=console,
        )

    def wait_for(self, text: str, where: str = "#cs-code .cs-out") -> None:
        """Wait until a part of the page shows a text."""
        self.page.wait_for_function(
            "([where, text]) => document.querySelector(where)?.innerText.includes(text)",
            arg=[where, text],
        )

    def output(self, console: str = "#cs-code") -> str:
        """What a console shows."""
        return str(self.page.inner_text(f"{console} .cs-out"))

    def tab(self, name: str) -> None:
        """Go to a tab."""
        self.page.get_by_role("tab", name=name).click()

    def choose(self, place: str) -> None:
        """Choose where code runs, and wait until the page says so."""
        self.page.get_by_role("radio", name=place, exact=True).check()
        self.wait_for(place, "#cs-code .cs-where")

    def close(self) -> None:
        """Close it as a user closes a tab."""
        self.page.context.close()

    def unexpected(self) -> list[str]:
        """What went wrong, without what the test is about."""
        return [
            error
            for error in self.errors
            if not any(re.search(pattern, error) for pattern in self.expected)
        ]

    def _console(self, message: Any) -> None:
        if message.type in ("error", "warning"):
            self.errors.append(f"{message.type}: {message.text}")

    def _request(self, request: Any) -> None:
        if not request.url.startswith((self.base + "/", "data:", "blob:", "about:")):
            self.foreign.append(request.url)


@pytest.fixture
def open_page(browser: Any) -> Iterator[Any]:
    """A function that opens a fresh page of a server.

    At the end of the test nothing may have gone wrong on it, or have left the server.
    """
    from playwright.sync_api import TimeoutError as Late

    opened: list[Page] = []

    def open_one(server: Server) -> Page:
        context = browser.new_context(viewport={"width": 1360, "height": 800})
        context.set_default_timeout(30_000)
        opened.append(Page(context.new_page(), server.base, Late))
        opened[-1].open(server.url)
        return opened[-1]

    yield open_one
    for page in opened:
        page.close()
    for page in opened:
        assert not page.unexpected()
        assert not page.foreign


@pytest.fixture
def page(open_page: Any, server: Server) -> Page:
    """A fresh page of the server that most tests share."""
    opened: Page = open_page(server)
    return opened
