"""The tables of docs/scaling.md, made again from the measurements in docs/results/benchmark and docs/results/scaling.

Between `<!-- benchmark: NAME -->` and `<!-- end -->` stands the table of `docs/results/benchmark/NAME.json`, which
`mixtext-hf benchmark ... --output_file` wrote, and the command; between `<!-- scaling: SWEEP -->` and `<!-- end -->` that of a sweep of
`scripts/scaling.py`, `<!-- scaling: SWEEP memory -->` its peak memory. `python scripts/benchmark_tables.py` writes the tables, `--check`
says which pages would change.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from rewriting import rewrite
from scaling import SWEEPS


ROOT = Path(__file__).resolve().parent.parent
PAGES = ("docs/scaling.md",)
_BLOCK = re.compile(
    r"(<!-- (?P<kind>benchmark|scaling): (?P<name>\w+)(?P<memory> memory)? -->\n).*?(?P<end><!-- end -->)", re.DOTALL
)

# What a column shows of a row.
Column = Callable[[dict[str, Any]], str]


def _number(name: str, digits: int = 0) -> Column:
    return lambda row: f"{row[name]:,.{digits}f}"


def _text(name: str) -> Column:
    return lambda row: f"{row[name]}"


_IMAGES: dict[str, Column] = {
    "method": _text("method"),
    "step, ms": _number("step ms"),
    "of an `erm` step, mean": _number("ratio to erm", 2),
    "median": _number("median ratio", 2),
    "peak memory, MiB": _number("peak memory MiB"),
}
COLUMNS: dict[str, dict[str, Column]] = {
    "text": {
        "method": _text("method"),
        "step, ms": _number("milliseconds"),
        "of an `erm` step": _number("time_ratio", 2),
        "peak memory, MiB": _number("peak_mib"),
        "of that of `erm`": _number("memory_ratio", 2),
    },
    "mixtext": {
        "step": _text("step"),
        "rows": _text("rows"),
        "tokens a row": _text("tokens"),
        "step, ms": _number("milliseconds"),
        "`mixtext` / this": _number("mixtext_time_ratio", 2),
        "peak memory, MiB": _number("peak_mib"),
        "`mixtext` / this, memory": _number("mixtext_memory_ratio", 2),
    },
    "vision": _IMAGES,
    "vision_vit": _IMAGES,
    "parts": {
        "side, px": _text("px"),
        "blocks a side": _text("blocks"),
        **{f"{part}, ms": _number(part, 1) for part in ("terms", "cut", "transport")},
        "put together, ms": _number("apply", 1),
        "all, ms": _number("all", 1),
    },
    "trainer": {
        "method": _text("method"),
        "rows a batch": _text("rows"),
        "more of the processor, ms": _number("added_cpu_ms", 1),
    },
    "guesses": {
        "unlabelled rows": _number("rows"),
        "choose and fit, s": _number("fit_seconds", 1),
        "guess, s": _number("guess_seconds", 1),
        "guessed rows a second": lambda row: f"{row['rows'] / row['guess_seconds']:,.0f}",
        "memory of it, MiB": lambda row: f"{row['peak_mib'] - row['before_mib']:,.0f}",
    },
}
# What grows in a sweep, and what the column of it is called.
GROWING = {
    "batch": ("batch_size", "rows"),
    "length": ("seq_length", "tokens"),
    "classes": ("classes", "classes"),
    "image_batch": ("batch_size", "images"),
    "image_size": ("image_size", "side, px"),
    "image_classes": ("classes", "classes"),
}


def table(lines: Sequence[Sequence[str]]) -> str:
    """Lines of cells, the first of which is the head."""
    head, *rest = (f"| {' | '.join(cells)} |" for cells in lines)
    return "\n".join([head, f"|{'---|' * len(lines[0])}", *rest]) + "\n"


def benchmark_table(name: str) -> str:
    """
    The table of a file of `docs/results/benchmark`, and the command that wrote it.

    Raises:
        `ValueError`: if there is no table of that name.
    """
    if name not in COLUMNS:
        raise ValueError(f"There is no table of {name!r}: name one of {', '.join(COLUMNS)}.")
    report = json.loads((ROOT / "docs" / "results" / "benchmark" / f"{name}.json").read_text(encoding="utf-8"))
    columns = COLUMNS[name]
    cells = [[*columns], *([show(row) for show in columns.values()] for row in report["rows"])]
    torch, device = report["versions"]["torch"], report["device"]
    return f"{table(cells)}\n`{report['command']}`, torch {torch}, {device}\n"


def sweep_table(name: str, *, memory: bool = False) -> str:
    """
    The table of a sweep: a line a size, a column a method with what its step costs of that of `erm`.

    Args:
        name (`str`): One of `scripts/scaling.py`.
        memory (`bool`): The peak memory in place of the time.

    Raises:
        `ValueError`: if a point is missing.
    """
    points = [_measured(point) for point in SWEEPS[name]]
    if name == "processes":
        return _processes_table(points)
    if name == "guess_classes":
        return _guesses_table(points)
    grows, called = GROWING[name]
    own, ratio, unit = ("steps_mib", "memory_ratio", "MiB") if memory else ("milliseconds", "time_ratio", "ms")
    if not memory and points[0]["kind"] == "images":
        ratio = "mean_ratio"  # PuzzleMix draws its block count
    methods = [row["method"] for row in points[0]["rows"][1:]]
    cells = [[called, f"`erm`, {unit}", *(f"`{method}`" for method in methods)]]
    for point in points:
        plain, *others = point["rows"]
        cells.append([f"{point[grows]:,}", f"{plain[own]:,.0f}", *(f"{row[ratio]:.2f}" for row in others)])
    return table(cells)


def _processes_table(points: list[dict[str, Any]]) -> str:
    head = [f"{point['processes']} x {point['batch_size']} rows, ms" for point in points]
    lines = [["method", *head]]
    for number, row in enumerate(points[0]["rows"]):
        shown = [point["rows"][number] for point in points]
        lines.append([row["method"], *(f"{one['cpu_milliseconds']:.0f} ({one['milliseconds']:.0f})" for one in shown)])
    return table(lines)


def _guesses_table(points: list[dict[str, Any]]) -> str:
    head = ["classes", "labelled rows", "choose and fit, s", "guess, s", "memory of it, MiB"]
    lines = [head]
    for point in points:
        (row,) = point["rows"]
        own = [f"{row['fit_seconds']:,.1f}", f"{row['guess_seconds']:,.1f}", f"{row['steps_mib']:,.0f}"]
        lines.append([f"{point['classes']:,}", f"{10 * point['classes']:,}", *own])
    return table(lines)


def _measured(point: dict[str, Any]) -> dict[str, Any]:
    file = ROOT / "docs" / "results" / "scaling" / "points.jsonl"
    for line in file.read_text(encoding="utf-8").splitlines():
        found: dict[str, Any] = json.loads(line)
        if point.items() <= found.items():
            return found
    raise ValueError(f"{file} has no point {point}: python scripts/scaling.py measures it.")


def rewritten(text: str) -> str:
    """A page with the tables that belong into it."""

    def block(found: re.Match[str]) -> str:
        if found["kind"] == "benchmark":
            made = benchmark_table(found["name"])
        else:
            made = sweep_table(found["name"], memory=bool(found["memory"]))
        return f"{found[1]}\n{made}\n{found['end']}"

    return _BLOCK.sub(block, text)


if __name__ == "__main__":
    sys.exit(rewrite(__doc__, ROOT, PAGES, rewritten))
