"""Files and directories between this machine and a sandbox; names from inside are hostile."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from .errors import FileError, from_inside

if TYPE_CHECKING:
    from .files import Files

Progress = Callable[[int, int | None], Any]
PIECE = 1 << 20


class Counter:
    """Tells a progress callback how far a transfer is."""

    def __init__(self, total: int, tell: Progress | None) -> None:
        self._total, self._tell, self._so_far = total, tell, 0

    def add(self, size: int) -> None:
        """So many bytes more."""
        self._so_far += size
        if self._tell is not None:
            self._tell(self._so_far, self._total)


def upload(files: Files, local: Path, path: str, on_progress: Progress | None) -> None:
    """See Files.upload."""
    if not local.exists():
        raise from_inside("FileNotFoundError", errno.ENOENT, "no such local file", str(local))
    if local.is_file():
        counter = Counter(local.stat().st_size, on_progress)
        files.write(path, _chunks(local, counter))
        return
    inside = [Path(at, name) for at, _, names in os.walk(local) for name in names]
    regular = [file for file in sorted(inside) if file.is_file() and not file.is_symlink()]
    counter = Counter(sum(file.stat().st_size for file in regular), on_progress)
    files.mkdir(path)
    for at, folders, _ in os.walk(local):
        for folder in folders:
            below = Path(at, folder).relative_to(local).as_posix()
            files.mkdir(f"{path.rstrip('/')}/{below}")
    for file in regular:
        below = file.relative_to(local).as_posix()
        files.write(f"{path.rstrip('/')}/{below}", _chunks(file, counter))


def _chunks(local: Path, counter: Counter) -> Iterator[bytes]:
    with local.open("rb") as file:
        while data := file.read(PIECE):
            yield data
            counter.add(len(data))


def download(files: Files, path: str, local: Path, on_progress: Progress | None) -> None:
    """See Files.download."""
    found = files.stat(path)
    if found.is_dir:
        _download_folder(files, path, local, on_progress)
        return
    if local.is_dir():
        local = local / _component(path.rstrip("/").rsplit("/", 1)[-1])
    _download_file(files, path, local, Counter(found.size, on_progress))


def _download_folder(files: Files, path: str, local: Path, on_progress: Progress | None) -> None:
    root = files.resolve(path).rstrip("/") + "/"
    entries = [e for e in files.list(path, depth=None) if e.type in ("file", "directory")]
    counter = Counter(sum(e.size for e in entries if e.type == "file"), on_progress)
    local.mkdir(parents=True, exist_ok=True)
    for entry in entries:
        if not entry.path.startswith(root):
            raise _hostile(entry.path)
        parts = [_component(part) for part in entry.path[len(root) :].split("/")]
        target = _below(local, parts)
        if entry.is_dir:
            target.mkdir(exist_ok=True)
        else:
            _download_file(files, entry.path, target, counter)


def _component(name: str) -> str:
    """A name from inside, if it can be one here and leads nowhere."""
    if name in ("", ".", "..") or "/" in name or "\0" in name or os.sep in name:
        raise _hostile(name)
    return name


def _below(local: Path, parts: list[str]) -> Path:
    """A path below `local`; a local link on the way would lead out of it."""
    for part in parts[:-1]:
        local = local / part
        if local.is_symlink():
            raise _hostile(str(local))
    return local / parts[-1]


def _hostile(name: str) -> FileError:
    text = "the sandbox names a path that leads out of the download's folder"
    return cast(FileError, from_inside("PermissionError", errno.EACCES, text, name))


def _download_file(files: Files, path: str, local: Path, counter: Counter) -> None:
    with closing(files.read_stream(path)) as pieces:  # type: ignore[type-var]
        handle, temporary = tempfile.mkstemp(dir=local.parent, prefix=".", suffix=".part")
        try:
            with os.fdopen(handle, "wb") as file:
                for piece in pieces:
                    file.write(piece)
                    counter.add(len(piece))
            os.chmod(temporary, 0o666 & ~_umask())
            os.replace(temporary, local)
        except BaseException:
            with suppress(FileNotFoundError):
                os.unlink(temporary)
            raise


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
