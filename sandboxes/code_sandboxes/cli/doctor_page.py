"""What `doctor` found, for people."""

from __future__ import annotations

from rich.text import Text

from ..text import printable
from .doctor import Report, VariantReport, by_reason
from .output import console

GOOD, BAD, DIM = "green", "red", "dim"
Part = str | tuple[str, str]


class Page:
    """Lines on a terminal, wrapped below their own start; on a pipe, never wrapped."""

    def __init__(self) -> None:
        self._console = console()

    def line(self, *parts: Part, label: Part = "") -> None:
        """One line of texts, or of (text, style), behind a label."""
        head, text = styled(label), styled(*parts)
        width = max(20, self._console.width - len(head))
        for words in text.wrap(self._console, width) or [text]:
            words.rstrip()
            self._console.print(head + words, soft_wrap=True)
            head = Text(" " * len(head))

    def command(self, command: str, *, label: str) -> None:
        """A command, in one piece, to be copied."""
        self._console.print(styled(label, command), soft_wrap=True)


def styled(*parts: Part) -> Text:
    """Texts in a row; never as markup, since they may hold brackets of others."""
    text = Text()
    for part in parts:
        words, style = (part, "") if isinstance(part, str) else part
        text.append(printable(words), style)
    return text


def show(report: Report) -> None:
    """Print it all, the verdict last."""
    page = Page()
    page.line((f"code-sandboxes {report.version}", "bold"))
    page.line(f"{report.python} ({report.python_executable})", label="Python       ")
    page.line(report.system, label="system       ")
    trouble = (f": {report.state_problem}", BAD) if report.state_problem else ""
    page.line(report.state_directory, trouble, label="state        ")
    page.line(report.bubblewrap or "none", label="bubblewrap   ")
    works = report.confinement
    page.line(("works", GOOD) if works else (works.reason, BAD), label="confinement  ")
    for variant in report.variants:
        show_variant(page, variant)
    page.line()
    if report.problem:
        page.line(("The default variant cannot run: ", BAD), report.problem)
    else:
        page.line(("The default variant can run.", GOOD))


def show_variant(page: Page, variant: VariantReport) -> None:
    """One variant, whether it runs first."""
    page.line()
    default = " (default)" if variant.default else ""
    page.line((variant.name, "bold"), default, ": ", verdict(variant))
    for paragraph in variant.isolates.split("\n\n"):
        page.line((" ".join(paragraph.split()), DIM), label="  ")
    can = [name for name, able in variant.capabilities.items() if able.supported]
    if can:
        page.line(", ".join(can), label=("  can     ", GOOD))
    for reason, names in by_reason(variant.capabilities):
        page.line(", ".join(names), (f": {reason}", DIM), label=("  cannot  ", BAD))
    for command in variant.remedies:
        page.command(command, label="  try     ")


def verdict(variant: VariantReport) -> tuple[str, str]:
    """Whether it runs, in a word or a reason."""
    if variant.runs:
        return f"runs (first result after {variant.seconds or 0.0:.2f} s)", GOOD
    if variant.runs is None:
        return "not tried: it may cost money or minutes", DIM
    return f"cannot run: {variant.reason}", BAD
