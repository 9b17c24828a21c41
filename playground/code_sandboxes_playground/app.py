"""The page, as a Gradio app: what is on it, and which part talks to which function."""

from __future__ import annotations

import atexit
import html
from importlib.resources import files as resources
from typing import Any

import gradio as gr

from .examples import EXAMPLES
from .handlers import Handlers
from .sessions import Sessions
from .variants import isolation_line

# of an event that answers at once and is no API
_QUICK: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden", "queue": False}
# of one that takes long, or has notices: those come by the queue only
_SLOW: dict[str, Any] = {"api_visibility": "private", "show_progress": "minimal"}
_SURE = "name => !name || confirm(`Delete the snapshot “${name}”?`) ? name : null"


def build_app(sessions: Sessions | None = None, *, notice: str = "") -> gr.Blocks:
    """The playground as a Gradio app, complete with its style and scripts.

    Args:
        sessions: where the sandboxes of its pages are kept; whoever passes it ends it with
            `end_all`. None makes one that ends with this process.
        notice: a warning to show on top of the page.

    Returns:
        the app: ``launch()`` it, or mount it in a server. It has no access control of its own;
        ``python -m code_sandboxes_playground`` serves it behind a token.

    Raises:
        LookupError: no variant can run here.

    Example:
        >>> app = build_app()
        >>> app.title
        'Code Sandboxes'
    """
    if sessions is None:
        sessions = Sessions()
        atexit.register(sessions.end_all)
    handlers = Handlers(sessions)
    page: gr.Blocks
    with gr.Blocks(
        title="Code Sandboxes", analytics_enabled=False, delete_cache=(600, 3600), fill_width=True
    ) as page:
        _header(notice)
        place, isolation = _chooser(sessions)
        with gr.Tabs(elem_id="cs-tabs"):
            with gr.Tab("Code", id="code"):
                code = _code_tab(handlers)
            with gr.Tab("Files", id="files") as files_tab:
                table, path = _files_tab(handlers)
            with gr.Tab("Commands", id="commands"):
                shell = _commands_tab(handlers)
            consoles = [code, shell]
            with gr.Tab("Snapshots", id="snapshots") as snapshots_tab:
                known = _snapshots_tab(handlers, [*consoles, table])
        place.input(handlers.move, place, [isolation, *consoles, table], **_QUICK)
        files_tab.select(handlers.listing, path, [table, path], **_QUICK)
        snapshots_tab.select(handlers.snapshots, None, known, **_QUICK)
        page.load(handlers.begin, None, [place, isolation, *consoles], **_QUICK)
        page.unload(handlers.bye)
    page.queue(default_concurrency_limit=None, api_open=False)
    return page


def _asset(name: str) -> str:
    return (resources("code_sandboxes_playground") / "assets" / name).read_text("utf-8")


def _header(notice: str) -> None:
    text = _asset("header.html")
    if notice:
        text += f'<div class="cs-notice" role="alert">{html.escape(notice)}</div>'
    gr.HTML(
        text, elem_id="cs-header", head=f"<style>{_asset('style.css')}</style>", js_on_load=None
    )


def _chooser(sessions: Sessions) -> tuple[gr.Radio, gr.HTML]:
    usable = [place.name for place in sessions.places if not place.refusal]
    with gr.Row(elem_id="cs-place", equal_height=True):
        place = gr.Radio(
            usable,
            value=sessions.start.name,
            label="Where code runs",
            elem_id="cs-variant",
            min_width=420,
        )
        isolation = gr.HTML(
            isolation_line(sessions.start, sessions.places), elem_id="cs-isolation", js_on_load=None
        )
    return place, isolation


def _console(handlers: Handlers, kind: str) -> gr.HTML:
    return gr.HTML(
        {},
        kind=kind,
        html_template=_asset("console.html"),
        js_on_load=_asset("console.js"),
        apply_default_css=False,
        server_functions=handlers.for_scripts(),
        elem_id=f"cs-{kind}",
        elem_classes="cs-console-box",
    )


def _table(template: str, columns: list[str], elem_id: str) -> gr.HTML:
    return gr.HTML(
        {},
        columns=columns,
        html_template=_asset(template),
        js_on_load=_asset("table.js"),
        apply_default_css=False,
        elem_id=elem_id,
    )


def _code_tab(handlers: Handlers) -> gr.HTML:
    first = next(iter(EXAMPLES))
    with gr.Row(elem_classes="cs-split"):
        with gr.Column(scale=1, min_width=380):
            editor = gr.Code(
                EXAMPLES[first],
                language="python",
                lines=24,
                max_lines=24,
                interactive=True,
                show_label=False,
                elem_id="cs-editor",
                buttons=[],
            )
            with gr.Row(elem_classes="cs-actions"):
                run = gr.Button("Run", variant="primary", elem_id="cs-run", min_width=90)
                stop = gr.Button("Stop", elem_id="cs-stop", min_width=80)
                restart = gr.Button("Restart", elem_id="cs-restart", min_width=90)
                example = gr.Dropdown(
                    [(f"Example: {name}", name) for name in EXAMPLES],
                    value=first,
                    show_label=False,
                    container=False,
                    elem_id="cs-example",
                    min_width=140,
                )
        with gr.Column(scale=1, min_width=380):
            console = _console(handlers, "code")
    example.change(lambda name: EXAMPLES[name], example, editor, **_QUICK)
    run.click(handlers.run, editor, console, **_QUICK)
    stop.click(handlers.stop, None, console, **_QUICK)
    restart.click(handlers.restart, None, console, **_QUICK)
    return console


def _commands_tab(handlers: Handlers) -> gr.HTML:
    console = _console(handlers, "shell")
    with gr.Row(elem_classes="cs-actions"):
        command = gr.Textbox(
            placeholder="a shell command, for example  ls -la",
            show_label=False,
            container=False,
            max_lines=1,
            elem_id="cs-command",
            scale=8,
        )
        run = gr.Button("Run", variant="primary", elem_id="cs-command-run", min_width=90)
        stop = gr.Button("Stop", elem_id="cs-command-stop", min_width=80)
    gr.on([command.submit, run.click], handlers.command, command, [console, command], **_QUICK)
    stop.click(handlers.stop_command, None, console, **_QUICK)
    return console


def _files_tab(handlers: Handlers) -> tuple[gr.HTML, gr.Textbox]:
    with gr.Row(elem_classes="cs-split"):
        with gr.Column(scale=1, min_width=380):
            with gr.Row(elem_classes="cs-actions"):
                up = gr.Button("Up", elem_id="cs-up", min_width=60)
                path = gr.Textbox(
                    ".", show_label=False, container=False, max_lines=1, elem_id="cs-path", scale=6
                )
                refresh = gr.Button("Refresh", elem_id="cs-refresh", min_width=80)
                upload = gr.UploadButton(
                    "Upload", file_count="multiple", elem_id="cs-upload", min_width=80
                )
            table = _table("files.html", ["size", "when"], "cs-table")
        with gr.Column(scale=1, min_width=380):
            with gr.Row(elem_classes="cs-actions"):
                name = gr.Textbox(
                    "", show_label=False, container=False, interactive=False, elem_id="cs-opened",
                    placeholder="no file open", scale=6,
                )  # fmt: skip
                fetch = gr.Button("Download", elem_id="cs-fetch", min_width=90)
                ready = gr.DownloadButton(elem_id="cs-download", visible="hidden")
            text = gr.Textbox(
                show_label=False, container=False, lines=18, max_lines=18, interactive=False,
                elem_id="cs-text", placeholder="Choose a file to see its text.",
            )  # fmt: skip
    seen = [table, path]
    up.click(handlers.up, None, seen, **_QUICK)
    gr.on([path.submit, refresh.click], handlers.listing, path, seen, **_QUICK)
    table.select(handlers.pick, None, [*seen, name, text], **_QUICK)
    upload.upload(handlers.upload, upload, seen, **_QUICK)
    fetched = fetch.click(handlers.fetch, None, ready, **_QUICK)
    click = "() => setTimeout(() => document.querySelector('#cs-download')?.click(), 100)"
    fetched.success(None, None, None, js=click, **_QUICK)
    return table, path


def _line(elem_id: str, placeholder: str, **more: Any) -> gr.Textbox:
    return gr.Textbox(
        show_label=False, container=False, max_lines=1, elem_id=elem_id, placeholder=placeholder,
        min_width=120, **more,
    )  # fmt: skip


def _snapshots_tab(handlers: Handlers, replaced: list[gr.HTML]) -> list[Any]:
    with gr.Row(elem_classes="cs-split"):
        with gr.Column(scale=1, min_width=380):
            with gr.Row(elem_classes="cs-actions"):
                name = _line("cs-keep-name", "name of a snapshot", scale=3)
                about = _line("cs-keep-about", "what it is, if you like", scale=4)
                keep = gr.Button("Keep", variant="primary", elem_id="cs-keep", min_width=80)
            table = _table("snapshots.html", ["variant", "when", "size", "skipped"], "cs-snapshots")
        with gr.Column(scale=1, min_width=380):
            with gr.Row(elem_classes="cs-actions"):
                chosen = _line("cs-chosen", "no snapshot chosen", interactive=False)
                start = gr.Button("Start", elem_id="cs-start", min_width=80)
                delete = gr.Button("Delete", elem_id="cs-delete", min_width=80)
            text = gr.Textbox(
                show_label=False, container=False, lines=18, max_lines=18, interactive=False,
                elem_id="cs-about", placeholder="Choose a snapshot to see what it is.",
            )  # fmt: skip
    known = [table, chosen, text]
    table.select(handlers.choose, None, known, **_QUICK)
    slow = {**_SLOW, "show_progress_on": table}
    asked, lines = [name.submit, about.submit, keep.click], [name, about]
    kept = gr.on(asked, handlers.keep, lines, [replaced[0], *lines], **slow)
    started = start.click(handlers.start, chosen, replaced, **slow)
    deleted = delete.click(handlers.delete, chosen, None, js=_SURE, **slow)
    for done in (kept, started, deleted):  # or failed: others may have changed the list
        done.then(handlers.snapshots, None, known, **_QUICK)
    return known
