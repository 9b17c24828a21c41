"""The files of a sandbox, optionally kept below one directory."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from .entries import describe, known, sorted_entries, translate

TYPE_CHECKING = False  # not that of typing, which takes 10 ms to import
if TYPE_CHECKING:
    from typing import Any, BinaryIO

DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
MOST_LINKS = 40


class Files:
    """Paths are walked by directory descriptors: no `..`, link or race leads out of the root.

    Args:
        home: the sandbox's home.
        cwd: where relative paths start.
        rooted: whether the root is the home (else it is the file system's).
    """

    def __init__(self, home: str, cwd: str, *, rooted: bool) -> None:
        self.root = os.path.realpath(home) if rooted else "/"
        self.cwd = os.path.realpath(cwd)
        self._unfinished: set[str] = set()  # names that no listing shows

    def below(self, root: str) -> Files:
        """The same, below another directory."""
        made = Files(root, root, rooted=True)
        made._unfinished = self._unfinished
        return made

    def parts(self, path: str) -> list[str]:
        """The components of `path` below the root."""
        if "\0" in path:
            raise ValueError("a path holds no NUL character")
        path = self._absolute(path)
        below = path if self.root == "/" else self._unhomed(path)
        return [part for part in below.split("/") if part not in ("", ".")]

    def _absolute(self, path: str) -> str:
        return f"/{path.lstrip('/')}" if path.startswith("/") else f"{self.cwd}/{path}"

    def _unhomed(self, path: str) -> str:
        inside = path == self.root or path.startswith(self.root + "/")
        return path[len(self.root) :] if inside else path

    def resolve(self, path: str) -> str:
        """The path that code must use."""
        kept: list[str] = []
        for part in self.parts(path):
            if part != "..":
                kept.append(part)
            elif kept:
                kept.pop()
            elif self.root != "/":
                raise PermissionError(errno.EACCES, "the path leads out of the sandbox")
        return "/".join([self.root.rstrip("/"), *kept]) or "/"

    @contextmanager
    def parent(
        self, path: str, *, make: bool = False, follow: bool = True
    ) -> Iterator[tuple[int, str]]:
        """The descriptor of the directory that holds `path`, and its name there (`.`: the root)."""
        todo, links = self.parts(path)[::-1], 0
        stack = [os.open(self.root, DIRECTORY)]
        name = "."
        try:
            while todo:
                name = todo.pop()
                if name == "..":
                    if len(stack) == 1:
                        raise PermissionError(errno.EACCES, "the path leads out of the sandbox")
                    os.close(stack.pop())
                    name = "."
                    continue
                target = self._link(name, stack[-1]) if todo or follow else None
                if target is not None:
                    links += 1
                    if links > MOST_LINKS:
                        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
                    if target.startswith("/"):
                        target = self._inward(target)
                        while len(stack) > 1:
                            os.close(stack.pop())
                    todo += [p for p in target.split("/") if p not in ("", ".")][::-1]
                    name = "."
                elif todo:
                    if make:
                        with suppress(FileExistsError):
                            os.mkdir(name, dir_fd=stack[-1])
                    stack.append(os.open(name, DIRECTORY | os.O_NOFOLLOW, dir_fd=stack[-1]))
                    name = "."
            yield stack[-1], name
        finally:
            for descriptor in stack:
                os.close(descriptor)

    @staticmethod
    def _link(name: str, parent: int) -> str | None:
        try:
            return os.readlink(name, dir_fd=parent)
        except OSError:
            return None

    def _inward(self, target: str) -> str:
        if self.root != "/" and self._unhomed(target) == target:
            raise PermissionError(errno.EACCES, "a link leads out of the sandbox")
        return self._unhomed(target) if self.root != "/" else target

    def open(self, path: str) -> BinaryIO:
        """A regular file, or a device, to read."""
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        with self.parent(path) as (parent, name):
            descriptor = os.open(name, flags, dir_fd=parent)
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        return os.fdopen(descriptor, "rb", 0)

    @contextmanager
    def replace(self, path: str) -> Iterator[BinaryIO]:
        """A file to write; it takes the place of `path` whole, or not at all."""
        with self.parent(path, make=True) as (parent, name):
            mode = None
            if name == "." or path.endswith("/"):
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
            with suppress(FileNotFoundError):
                status = os.stat(name, dir_fd=parent, follow_symlinks=False)
                if stat.S_ISDIR(status.st_mode):
                    raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
                mode = stat.S_IMODE(status.st_mode)
                if not os.access(name, os.W_OK, dir_fd=parent):  # a rename would not ask
                    raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
            temporary = f".{os.urandom(8).hex()}.part"
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
            with self._unlisted(temporary):
                descriptor = os.open(temporary, flags, 0o666, dir_fd=parent)
                try:
                    with os.fdopen(descriptor, "wb", 0) as file:
                        yield file
                        if mode is not None:
                            os.fchmod(file.fileno(), mode)
                    os.replace(temporary, name, src_dir_fd=parent, dst_dir_fd=parent)
                except BaseException:
                    with suppress(FileNotFoundError):
                        os.unlink(temporary, dir_fd=parent)
                    raise

    @contextmanager
    def _unlisted(self, name: str) -> Iterator[None]:
        self._unfinished.add(name)
        try:
            yield
        finally:
            self._unfinished.discard(name)

    def realpath(self, path: str) -> str:
        """Where a path leads: every link is followed, what is not there is left as it is."""
        path = self._absolute(path)
        real = os.path.realpath(self.root.rstrip("/") + self._unhomed(path) or "/")
        if self.root != "/" and self._unhomed(real) == real:
            raise PermissionError(errno.EACCES, "the path leads out of the sandbox")
        return real

    def stat(self, path: str, *, follow_symlinks: bool = False) -> dict[str, Any]:
        """What is known of a path; of a link, not of what it leads to, unless that is asked for."""
        with self.parent(path, follow=follow_symlinks) as (parent, name):
            status = os.stat(name, dir_fd=parent, follow_symlinks=False)
        return describe(path.rstrip("/").rsplit("/", 1)[-1], self.resolve(path), status)

    def exists(self, path: str) -> bool:
        try:
            with self.parent(path) as (parent, name):
                os.stat(name, dir_fd=parent, follow_symlinks=False)
        except (FileNotFoundError, NotADirectoryError):
            return False
        return True

    def entries(self, path: str, depth: int | None) -> Iterator[dict[str, Any]]:
        """What lies below a directory, `depth` levels deep (None: all), parents first."""
        for _, found, status in self.walk(path, depth):
            yield describe(found.rpartition("/")[2], found, status)

    def walk(self, path: str, depth: int | None) -> Iterator[tuple[int, str, os.stat_result]]:
        """The same: the descriptor of the directory that holds it, its path, what is known."""
        with self.parent(path) as (parent, name):
            directory = os.open(name, DIRECTORY | os.O_NOFOLLOW, dir_fd=parent)
        above = [(directory, sorted_entries(directory), self.resolve(path).rstrip("/"))]
        try:
            while above:
                directory, waiting, base = above[-1]
                if (entry := next(waiting, None)) is None:
                    os.close(directory)
                    above.pop()
                    continue
                if entry.name in self._unfinished or (status := known(entry)) is None:
                    continue
                found = f"{base}/{entry.name}"
                yield directory, found, status
                if stat.S_ISDIR(status.st_mode) and (depth is None or len(above) < depth):
                    with suppress(OSError):  # unreadable, or swapped: it is listed, no more
                        below = os.open(entry.name, DIRECTORY | os.O_NOFOLLOW, dir_fd=directory)
                        above.append((below, iter(()), found))
                        above[-1] = (below, sorted_entries(below), found)
        finally:
            for directory, _, _ in above:
                os.close(directory)

    def glob(self, pattern: str) -> Iterator[dict[str, Any]]:
        """Entries whose path matches; `*` stays within a component, `**` does not."""
        import re  # with the first glob

        wanted = "/".join(["", *self.parts(pattern)])
        fixed = wanted[: re.search(r"[*?\[]|$", wanted).start()].rpartition("/")[0]  # type: ignore[union-attr]
        try:
            matches = re.compile(translate(wanted)).fullmatch
        except re.error as error:
            raise ValueError(f"{pattern!r} is no pattern: {error}") from error
        start = self.root.rstrip("/") + fixed
        depth = None if "**" in wanted else wanted.count("/") - fixed.count("/")
        if not self.exists(start or "/"):
            return
        for entry in self.entries(start or "/", depth):
            if matches(self._unhomed(entry["path"])):
                yield entry

    def mkdir(self, path: str, *, exist_ok: bool = True) -> None:
        """A directory and its parents."""
        with self.parent(path, make=True) as (parent, name):
            if name == ".":
                return
            try:
                os.mkdir(name, dir_fd=parent)
            except FileExistsError:
                status = os.stat(name, dir_fd=parent, follow_symlinks=False)
                if not exist_ok or not stat.S_ISDIR(status.st_mode):
                    raise

    def remove(self, path: str) -> None:
        """A file, a link, or a directory with all that is in it."""
        with self.parent(path, follow=False) as (parent, name):
            self._not_root(name)
            if stat.S_ISDIR(os.lstat(name, dir_fd=parent).st_mode):
                import shutil  # 5 ms that a start need not pay

                shutil.rmtree(name, dir_fd=parent)
            else:
                os.unlink(name, dir_fd=parent)

    def move(self, source: str, destination: str, *, overwrite: bool = False) -> None:
        """Rename; into a directory, if that is what the destination is."""
        with (
            self.parent(source, follow=False) as (before, old),
            self.parent(destination, make=True) as (after, new),
        ):
            self._not_root(old)
            try:
                is_directory = stat.S_ISDIR(
                    os.stat(new, dir_fd=after, follow_symlinks=False).st_mode
                )
            except FileNotFoundError:
                os.rename(old, new, src_dir_fd=before, dst_dir_fd=after)
                return
            if is_directory:
                self.move(source, f"{destination.rstrip('/')}/{old}", overwrite=overwrite)
                return
            if not overwrite:
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))
            os.replace(old, new, src_dir_fd=before, dst_dir_fd=after)

    @staticmethod
    def _not_root(name: str) -> None:
        if name == ".":
            raise PermissionError(errno.EACCES, "that is the sandbox's own root")
