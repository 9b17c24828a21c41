"""What `doctor` found, for people."""

from __future__ import annotations

from rich.padding import Padding
from rich.text import Text

from ..text import printable
from .doctor import Report, VariantReport, by_reason
from .output import console

GOOD, BAD, DIM = "green", "red", "dim"


class Page:
    """Lines on a terminal, wrapped below their own start; on a pipe, never wrapped."""

    def __init__(self) -> None:
        self._console = console()

    def line(self, *parts: str | tuple[str, str], indent: int = 0) -> None:
        """One line of texts, or of (text, style)."""
        text = Text()
        for part in parts:
            words, style = (part, "") if isinstance(part, str) else part
            text.append(printable(words), style)
        self._console.print(Padding(text, (0, 0, 0, indent), expand=False))


def show(report: Report) -> None:
    """Print it all, the verdict last."""
    page = Page()
    page.line((f"code-sandboxes {report.version}", "bold"))
    page.line(f"Python       {report.python} ({report.python_executable})")
    page.line(f"system       {report.system}")
    trouble = (f": {report.state_problem}", BAD) if report.state_problem else ""
    page.line(f"state        {report.state_directory}", trouble)
    page.line(f"bubblewrap   {report.bubblewrap or 'none'}")
    works = report.confinement
    page.line("confinement  ", ("works", GOOD) if works else (works.reason, BAD))
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
    page.line(
        (variant.name, "bold"), " (default)" if variant.default else "", ": ", verdict(variant)
    )
    for paragraph in variant.isolates.split("\n\n"):
        page.line((" ".join(paragraph.split()), DIM), indent=2)
    can = [name for name, able in variant.capabilities.items() if able.supported]
    if can:
        page.line(("can     ", GOOD), ", ".join(can), indent=2)
    for reason, names in by_reason(variant.capabilities):
        page.line(("cannot  ", BAD), ", ".join(names), (f": {reason}", DIM), indent=2)
    for command in variant.remedies:
        page.line("try     ", command, indent=2)


def verdict(variant: VariantReport) -> tuple[str, str]:
    """Whether it runs, in a word or a reason."""
    if variant.runs:
        return f"runs (first result after {variant.seconds or 0.0:.2f} s)", GOOD
    if variant.runs is None:
        return "not tried: it may cost money or minutes", DIM
    return f"cannot run: {variant.reason}", BAD
