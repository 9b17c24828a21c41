"""Every test has a state directory of its own: what a developer's own sandboxes do, stays out."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.register_assert_rewrite("code_sandboxes.testing")
# a job in the background ignores it, and its children would: those that tests interrupt, too
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def state_directory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with pytest.MonkeyPatch.context() as patch:
        path = tmp_path_factory.mktemp("state")
        patch.setenv("CODE_SANDBOXES_HOME", str(path))
        roots = [str(Path(__file__).parents[1] / "sandboxes")]
        patch.setenv("PYTHONPATH", ":".join(roots))
        yield path
