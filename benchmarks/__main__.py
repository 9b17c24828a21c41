"""`python -m benchmarks [--quick] [--write]`: each figure beside the raw way, as a table.

The machine may be noisy: what counts is the ratio, both sides being measured in turn.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

from code_sandboxes import Sandbox

from . import cloud, containers, ours, raw, remote
from .measure import Row, rested, side_by_side

VARIANTS = ("local-eval", "local-jupyter")
TEN = os.urandom(10 << 20)


def python(code: str) -> Callable[[], None]:
    """A fresh Python that runs some code."""
    return lambda: subprocess.run([sys.executable, "-c", code], check=True) and None


def starts(few: int) -> list[Row]:
    """Rows about starting."""
    bare, imported = side_by_side(2 * few, python("pass"), python("import code_sandboxes"))
    rows: list[Row] = [("import code_sandboxes", "python -c pass", bare, {"": imported}, "")]
    first = [ours.until_first_result(variant) for variant in VARIANTS]
    bare, kernel, ready, evaluated, jupyter = side_by_side(
        few, python("pass"), raw.start_kernel, ours.until_ready("local-eval"), *first
    )
    rows.append(("create", "python -c pass", bare, {"local-eval": ready}, "3"))
    rows.append(("create to first result", "python -c pass", bare, {"local-eval": evaluated}, ""))
    rows.append(
        ("create to first result", "jupyter_client", kernel, {"local-jupyter": jupyter}, "0.5")
    )
    with ours.pool("local-jupyter") as take:
        raw_start, taken_from = side_by_side(few, raw.start_kernel, take)
    rows.append(
        ("pool to first result", "jupyter_client", raw_start, {"local-jupyter": taken_from}, "")
    )
    with Sandbox.create("local-jupyter") as box:
        raw_start, context, again = side_by_side(
            few, raw.start_kernel, ours.new_context(box), ours.restart(box)
        )
    rows.append(("new context", "jupyter_client", raw_start, {"local-jupyter": context}, "0.2"))
    rows.append(("restart", "jupyter_client", raw_start, {"local-jupyter": again}, "0.2"))
    raw_twenty, *taken = side_by_side(1, raw.twenty_kernels, *map(ours.twenty, VARIANTS))
    rows.append(("20 in parallel", "jupyter_client", raw_twenty, by_name(taken), ""))
    return rows


def calls(boxes: dict[str, Sandbox], many: int) -> list[Row]:
    """Rows about calls."""
    rows: list[Row] = []
    run = {name: partial(box.run_code, "1+1") for name, box in boxes.items()}
    # by themselves: after nine milliseconds of a kernel every cache is cold
    with raw.plain_child() as child:
        plain, ours_warm = side_by_side(many, partial(child, "1+1"), run["local-eval"])
        after_pause, ours_after = side_by_side(
            many // 4, partial(rested, partial(child, "1+1")), partial(rested, run["local-eval"])
        )
    rows.append(("warm 1+1", "plain child", plain, {"local-eval": ours_warm}, "< 0.5 ms"))
    rows.append(("1+1 after a pause", "plain child", after_pause, {"local-eval": ours_after}, ""))
    with raw.kernel() as kernel:
        kernels, ours_warm = side_by_side(many, partial(kernel, "1+1"), run["local-jupyter"])
    rows.append(("warm 1+1", "jupyter_client", kernels, {"local-jupyter": ours_warm}, "1.3"))
    raw_line = raw.first_line()
    lines = [ours.first_line(box) for box in boxes.values()]
    first, *taken = side_by_side(many // 4, raw_line, *lines)
    raw_line.close()  # type: ignore[attr-defined]
    rows.append(("first streamed line", "jupyter_client", first, by_name(taken), ""))
    output = [ours.twenty_megabytes(box) for box in boxes.values()]
    captured, *taken = side_by_side(3, raw.twenty_megabytes, *output)
    rows.append(("20 MB of output", "subprocess.run", captured, by_name(taken), ""))
    with raw.plain_child() as child:
        host = [ours.host_calls(box, 200) for box in boxes.values()]
        plain, *taken = side_by_side(3, partial(child, "1"), *host)
    rows.append(("a host call", "plain child", plain, by_name(taken), ""))
    return rows


def files(boxes: dict[str, Sandbox], many: int) -> list[Row]:
    """Rows about files and commands."""
    rows: list[Row] = []
    transfers = [ours.write_and_read(box, TEN) for box in boxes.values()]
    # more than elsewhere: a round is either fast or slow, as memory and caches happen to be
    plain, *taken = side_by_side(many, partial(raw.write_and_read, TEN), *transfers)
    rows.append(("10 MB write + read", "plain files", plain, by_name(taken), "3"))
    for box in boxes.values():
        box.files.write("here", "")
    exists = [partial(box.files.exists, "here") for box in boxes.values()]
    plain, *taken = side_by_side(many, partial(os.path.exists, __file__), *exists)
    rows.append(("files.exists", "os.path", plain, by_name(taken), "< 0.5 ms"))
    for box in boxes.values():
        box.run_code("import os; os.mkdir('d')\nfor i in range(1000): open(f'd/{i}', 'w').close()")
    folder = next(iter(boxes.values())).files.resolve("d")
    listings = [partial(box.files.list, "d") for box in boxes.values()]
    plain, *taken = side_by_side(many // 2, partial(raw.list_thousand, folder), *listings)
    rows.append(("a listing of 1,000", "os.scandir", plain, by_name(taken), ""))
    commands = [partial(box.commands.run, ["true"]) for box in boxes.values()]
    plain, *taken = side_by_side(
        many, partial(subprocess.run, ["true"], capture_output=True, check=True), *commands
    )
    rows.append(("`true` as a command", "subprocess.run", plain, by_name(taken), "2"))
    return rows


def by_name(taken: list[float]) -> dict[str, float]:
    """Figures by variant."""
    return dict(zip(VARIANTS, taken, strict=True))


def table(rows: list[Row]) -> str:
    """Markdown."""
    out = [
        "| what | variant | ms | the raw way | ms | ratio | goal |",
        "|---|---|---|---|---|---|---|",
    ]
    for what, against, base, found, goal in rows:
        for variant, taken in found.items():
            ratio = f"{taken / base:.2f}" if base > 0.05 else "-"
            out.append(
                f"| {what} | {variant} | {taken:.2f} | {against} | {base:.2f} | {ratio} | {goal} |"
            )
    return "\n".join(out)


def main() -> None:
    """Measure, print, and put the table into README.md."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer rounds")
    parser.add_argument(
        "--write", action="store_true", help="put the table into benchmarks/README.md"
    )
    options = parser.parse_args()
    few, many = (3, 20) if options.quick else (9, 100)
    rows = starts(few)
    boxes = {variant: Sandbox.create(variant) for variant in VARIANTS}
    try:
        rows += calls(boxes, many) + files(boxes, many)
    finally:
        for box in boxes.values():
            box.terminate()
    rows += containers.rows(few, many) + remote.rows(few, many) + cloud.rows(few, many)
    lines = [table(rows), "", "Memory (PSS) of one of five open sandboxes, its processes together:"]
    lines += [f"- {variant}: {ours.memory(variant):.0f} MB" for variant in VARIANTS]
    text = "\n".join(lines)
    print(text)
    if options.write:
        readme = Path(__file__).with_name("README.md")
        head = readme.read_text().split("<!-- table -->")[0]
        readme.write_text(f"{head}<!-- table -->\n\n{text}\n")


if __name__ == "__main__":
    main()
