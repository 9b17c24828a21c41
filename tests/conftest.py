"""Every test has a state directory of its own: what a developer's own sandboxes do, stays out."""

import os
import signal
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.register_assert_rewrite("code_sandboxes.testing")
WAITING = Path(__file__).parent / "remote"
SCALE = int(os.environ.get("CODE_SANDBOXES_SOAK", "10"))
# a job in the background ignores it, and its children would: those that tests interrupt, too
signal.signal(signal.SIGINT, signal.default_int_handler)
sys.modules.setdefault("rfc3987_syntax", None)  # type: ignore[arg-type]  # see there


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Of a class or module with `sample = 3` every third case is run; all by `make soak`."""
    seen: Counter[object] = Counter()
    left_out = []
    for item in items if SCALE < 200 else ():
        home = getattr(item, "cls", None) or getattr(item, "module", None)
        every = getattr(home, "sample", 1)
        if seen[home] % every:
            left_out.append(item)
        seen[home] += 1
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        gone = set(left_out)
        items[:] = [item for item in items if item not in gone]
    # what mostly waits goes first: the last to end must not hold up the rest
    items.sort(key=lambda item: not item.path.is_relative_to(WAITING))


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where this test's snapshots are kept; nothing that is not whole stays there."""
    monkeypatch.setenv("CODE_SANDBOXES_HOME", str(tmp_path / "state"))
    folder = tmp_path / "state" / "snapshots"
    yield folder
    assert [path.name for path in folder.glob("*.part") if path.is_dir()] == []


@pytest.fixture(scope="session", autouse=True)
def state_directory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with pytest.MonkeyPatch.context() as patch:
        path = tmp_path_factory.mktemp("state")
        patch.setenv("CODE_SANDBOXES_HOME", str(path))
        roots = [Path(__file__).parents[1] / "sandboxes", Path(__file__).parent / "no_grammar"]
        patch.setenv("PYTHONPATH", os.pathsep.join(map(str, roots)))
        yield path
