"""Values as MIME bundles: what a plain interpreter shows for them."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Mapping

from . import cell, helper

TYPE_CHECKING = False  # not that of typing, which takes 10 ms to import
if TYPE_CHECKING:
    from typing import Any

REPRESENTATIONS = {
    "_repr_html_": "text/html",
    "_repr_markdown_": "text/markdown",
    "_repr_svg_": "image/svg+xml",
    "_repr_png_": "image/png",
    "_repr_jpeg_": "image/jpeg",
    "_repr_json_": "application/json",
    "_repr_latex_": "text/latex",
}

_counter = 0


def publish(**event: Any) -> None:
    """Send an event; the worker puts its own here."""


def bundle(value: Any) -> dict[str, Any]:
    """Every way in which a value can be shown, by MIME type; a way that fails is a warning."""
    plain = _attempt(lambda: repr(value), "repr")
    shown: dict[str, Any] = {} if plain is None else {"text/plain": plain}
    if isinstance(value, type) or _has_anything(value):
        return shown
    for name, mime in REPRESENTATIONS.items():
        found = _call(value, name)
        if found is not None:
            found = found[0] if isinstance(found, tuple) else found
            shown[mime] = helper.base64(found) if isinstance(found, bytes) else found
    made = _call(value, "_repr_mimebundle_")
    made = made[0] if isinstance(made, tuple) else made
    if isinstance(made, Mapping):
        shown |= {str(mime): _sendable(data) for mime, data in made.items()}
    return shown


def _has_anything(value: Any) -> bool:
    """Whether any name is an attribute, as with a mock: none of them means what it says."""
    try:
        return getattr(value, "_ipython_canary_method_should_not_exist_", None) is not None
    except Exception:  # noqa: BLE001 - the user's own __getattr__
        return True


def _call(value: Any, name: str) -> Any:
    method = getattr(value, name, None)
    return _attempt(method, name) if callable(method) else None


def _attempt(method: Callable[[], Any], name: str) -> Any:
    try:
        return method()
    except Exception as error:  # noqa: BLE001 - the user's own code
        print(f"{name} failed: {type(error).__name__}: {error}", file=sys.stderr)
        return None


def _sendable(data: Any) -> Any:
    return helper.base64(data) if isinstance(data, bytes | bytearray) else data


def display(
    *values: Any, display_id: str | bool | None = None, raw: bool = False, **options: Any
) -> Any:
    """Show values, as in a notebook; with a `display_id` they can be updated later."""
    global _counter
    if display_id is True:
        _counter += 1
        display_id = f"display-{_counter}"
    for value in values:
        data = dict(value) if raw else bundle(value)
        publish(display=data, main=False, id=display_id or None, update=bool(options.get("update")))
    return Handle(str(display_id)) if display_id else None


class Handle:
    """What was shown under an id, and can be shown anew."""

    def __init__(self, display_id: str) -> None:
        self.display_id = display_id

    def display(self, value: Any, **options: Any) -> None:
        """Show `value` under the same id."""
        display(value, display_id=self.display_id, **options)

    def update(self, value: Any, **options: Any) -> None:
        """Put `value` in the place of what was shown."""
        display(value, display_id=self.display_id, update=True, **options)


def clear_output(wait: bool = False) -> None:
    """Take back what was shown so far."""
    publish(clear=bool(wait))


def flush_figures(*_: Any, **__: Any) -> None:
    """Show the matplotlib figures that are open, and close them."""
    if (pyplot := sys.modules.get("matplotlib.pyplot")) is None:
        return
    for number in pyplot.get_fignums():
        figure = pyplot.figure(number)
        picture = io.BytesIO()
        figure.savefig(picture, format="png", bbox_inches="tight")
        data = {"image/png": helper.base64(picture.getvalue())}
        publish(display={"text/plain": repr(figure), **data}, main=False)
    pyplot.close("all")


# libraries that show things themselves ------------------------------------------------
def _pyplot(module: Any) -> None:
    module.show = flush_figures


def _matplotlib(module: Any) -> None:
    module.use("agg")


def _ipython_display(module: Any) -> None:
    module.display, module.clear_output, module.DisplayHandle = display, clear_output, Handle
    module.update_display = lambda value, *, display_id, **options: display(
        value, display_id=display_id, update=True, **options
    )


def _getpass(module: Any) -> None:
    module.getpass = lambda prompt="Password: ", stream=None: helper.read_line(prompt, True)


def _linecache(module: Any) -> None:
    module.cache.update(cell.kept)
    cell.kept.clear()


HOOKS: dict[str, Callable[[Any], None]] = {
    "getpass": _getpass,
    "linecache": _linecache,
    "matplotlib": _matplotlib,
    "matplotlib.pyplot": _pyplot,
    "IPython.core.display_functions": _ipython_display,
}


class Finder:
    """Adjusts a few modules right after their import."""

    def find_spec(self, fullname: str, path: Any, target: Any = None) -> Any:
        if fullname not in HOOKS:
            return None
        from importlib.machinery import PathFinder

        spec = PathFinder.find_spec(fullname, path)
        if spec is not None and spec.loader is not None:
            execute = spec.loader.exec_module

            def exec_module(module: Any) -> None:
                execute(module)
                HOOKS[fullname](module)

            spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec


def install() -> None:
    """Watch for the imports of `HOOKS`."""
    sys.meta_path.insert(0, Finder())
