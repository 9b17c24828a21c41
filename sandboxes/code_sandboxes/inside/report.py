"""What the user's code raised, as text: its class, message and traceback may all be hostile."""

from __future__ import annotations

from contextlib import suppress
from types import TracebackType

TYPE_CHECKING = False  # not that of typing, which takes 10 ms to import
if TYPE_CHECKING:
    import traceback

OURS = "<_code_sandboxes."  # how the frames of our own modules are named
MOST = 1 << 20  # characters of a message, or of a traceback
MOST_FRAMES = 60
# as the interpreter itself knows them, whatever a subclass or a metaclass says
_name = type.__dict__["__name__"].__get__
_code = SystemExit.__dict__["code"].__get__


def report(error: BaseException) -> list[str]:
    """The name, the message and the traceback of an exception."""
    name: str = _name(type(error))
    try:
        value = shortened(str(error))
    except BaseException as broken:  # noqa: BLE001 - the user's own __str__, or it was interrupted
        value = f"<str failed: {_name(type(broken))}>"
    try:
        import traceback  # 2 ms that a start need not pay

        described = traceback.TracebackException.from_exception(error)
        hide_ours(described)
        trace = shortened("".join(described.format()))
    except BaseException:  # noqa: BLE001 - the same, or a chain without end
        trace = f"{name}: {value}\n"
    return [name, value, trace]


def exit_status(error: BaseException) -> int:
    """0 for an exit that is no failure, the status of another one, 1 for what is no exit."""
    code = _code(error) if issubclass(type(error), SystemExit) else 1
    return int(code) if type(code) in (int, bool) else int(code is not None)


def shorten_traceback(error: BaseException | None) -> None:
    """Leave the middle frames out of an exception, and of those that led to it."""
    seen: set[int] = set()
    with suppress(Exception):  # attributes of the user's own class may do anything
        while error is not None and id(error) not in seen:
            seen.add(id(error))
            frames = []
            frame = error.__traceback__
            while frame is not None:
                frames.append(frame)
                frame = frame.tb_next
            if left_out := max(0, len(frames) - MOST_FRAMES):
                for one in (*frames[-MOST_FRAMES // 2 :][::-1], *frames[: MOST_FRAMES // 2][::-1]):
                    frame = TracebackType(frame, one.tb_frame, one.tb_lasti, one.tb_lineno)
                error.__traceback__ = frame
                error.add_note(f"[... {left_out:,} frames left out of the middle ...]")
            error = error.__cause__ or error.__context__


def shortened(text: str) -> str:
    """The head and the tail of a text that is too long."""
    if len(text) <= MOST:
        return text
    left_out = f"\n[... {len(text) - MOST:,} characters left out ...]\n"
    return text[: MOST // 2] + left_out + text[-MOST // 2 :]


def hide_ours(described: traceback.TracebackException) -> None:
    """Leave only the user's frames, in a whole chain of exceptions."""
    from traceback import StackSummary

    todo, seen = [described], set()
    while todo:
        one = todo.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        kept = [frame for frame in one.stack if not frame.filename.startswith(OURS)]
        one.stack = StackSummary.from_list(kept)
        below = (one.__cause__, one.__context__, *(one.exceptions or ()))
        todo += [other for other in below if other is not None]
