"""The tables of README.md and docs/results.md, made again from the `runs.csv` files in docs/results.

Between `<!-- table: FOLDER -->` and `<!-- end -->` stands the table of the runs in `docs/results/FOLDER`, in files `runs*.csv` that
`mixtext-hf compare` wrote; `<!-- table: FOLDER by labels -->` has a line for each number of labels too, `<!-- table: FOLDER with steps -->` says
how many optimiser steps the runs took. Between `<!-- overview: FOLDER accuracy -->` and `<!-- end -->` stands one metric of all folders in
`docs/results/FOLDER`, a column each. `python scripts/tables.py` writes the tables, `--check` says which would change.
"""

from __future__ import annotations

import argparse
import csv
import re
import sys
from pathlib import Path

import numpy as np

from mixtext_hf._files import write_text
from mixtext_hf.evaluation.comparison.tables import METRICS, mean_and_deviation, shown_metrics


ROOT = Path(__file__).resolve().parent.parent
PAGES = ("README.md", "docs/results.md")
_OVERVIEW = re.compile(
    rf"(<!-- overview: (?P<folder>[\w/-]+) (?P<metric>{'|'.join(METRICS)}) -->\n).*?(?P<end><!-- end -->)", re.DOTALL
)
_BLOCK = re.compile(
    r"(<!-- table: (?P<folder>[\w/-]+)(?P<by> by labels)?(?P<steps> with steps)? -->\n).*?(?P<end><!-- end -->)",
    re.DOTALL,
)


def table(runs: Path, *, by_labels: bool = False, with_steps: bool = False) -> str:
    """
    Mean and standard deviation over the seeds, a line a method; the best mean of each metric is bold.

    Args:
        runs (`Path`): A folder with files `runs*.csv` of `mixtext-hf compare`.
        by_labels (`bool`): A line for each number of labels too.
        with_steps (`bool`): A column of the optimiser steps.

    Raises:
        `ValueError`: if there are no runs, or methods were run with different seeds.
    """
    rows = rows_of(runs)
    cells: dict[tuple[str, str], list[dict[str, str]]] = {}
    for row in rows:
        cells.setdefault((row["labeled_per_class"] if by_labels else "", row["variant"]), []).append(row)
    seeds = {key: sorted(row["seed"] for row in found) for key, found in cells.items()}
    if len({tuple(found) for found in seeds.values()}) > 1:
        raise ValueError(f"{runs}: the methods have other seeds: {seeds}.")
    # Older runs do not tell of all metrics.
    known = [name for name in METRICS if all(name in row for row in rows)]
    values = {key: {name: [float(row[name]) for row in found] for name in known} for key, found in cells.items()}
    shown = shown_metrics({name: [of[name] for of in values.values()] for name in known})
    labels_first = ["labels a class"] if by_labels else []
    header = [*labels_first, "method", *(["steps"] if with_steps else []), *shown]
    lines = [f"| {' | '.join(header)} |", f"|{'---|' * len(header)}"]
    for (labels, variant), metrics in values.items():
        # Those of the runs of a line are the same, or `compare` makes no table.
        told = [cells[labels, variant][0]["steps"]] if with_steps else []
        for name in shown:
            more_is_better = METRICS[name]
            means = [np.mean(of[name]) for (other, _), of in values.items() if other == labels]
            best = max(means) if more_is_better else min(means)
            text = mean_and_deviation(metrics[name])
            told.append(f"**{text}**" if len(means) > 1 and np.mean(metrics[name]) == best else text)
        lines.append(f"| {' | '.join([*([labels] if by_labels else []), variant, *told])} |")
    return "\n".join(lines) + "\n"


def overview(folder: Path, metric: str) -> str:
    """
    One metric of several comparisons, a line a method and a column a folder: mean and standard deviation over the seeds, the best mean
    of each column bold; empty where a method was not run.

    Raises:
        `ValueError`: if there are no folders, or one has no runs.
    """
    columns = sorted(path for path in folder.iterdir() if path.is_dir())
    if not columns:
        raise ValueError(f"{folder} holds no folders of runs.")
    values: list[dict[str, list[float]]] = []
    for column in columns:
        found: dict[str, list[float]] = {}
        for row in rows_of(column):
            found.setdefault(row["variant"], []).append(float(row[metric]))
        values.append(found)
    methods = list(dict.fromkeys(method for found in values for method in found))
    best = [(max if METRICS[metric] else min)(np.mean(numbers) for numbers in found.values()) for found in values]
    lines = [
        f"| {metric} | {' | '.join(column.name for column in columns)} |",
        f"|{'---|' * (len(columns) + 1)}",
    ]
    for method in methods:
        cells = []
        for found, most in zip(values, best, strict=True):
            text = mean_and_deviation(found[method]) if method in found else ""
            cells.append(f"**{text}**" if text and np.mean(found[method]) == most else text)
        lines.append(f"| {method} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def rows_of(runs: Path) -> list[dict[str, str]]:
    """The lines of the files `runs*.csv` of a folder; `ValueError` if it has none."""
    rows = []
    for path in sorted(runs.glob("runs*.csv")):
        with path.open(encoding="utf-8", newline="") as file:
            rows += [*csv.DictReader(file)]
    if not rows:
        raise ValueError(f"{runs} holds no runs*.csv.")
    return rows


def rewritten(text: str) -> str:
    """A page with the tables that belong into it."""

    def block(found: re.Match[str]) -> str:
        runs = ROOT / "docs" / "results" / found["folder"]
        found_table = table(runs, by_labels=bool(found["by"]), with_steps=bool(found["steps"]))
        return f"{found[1]}{found_table}{found['end']}"

    def many(found: re.Match[str]) -> str:
        return f"{found[1]}{overview(ROOT / 'docs' / 'results' / found['folder'], found['metric'])}{found['end']}"

    return _OVERVIEW.sub(many, _BLOCK.sub(block, text))


def main() -> int:
    """Run the command; returns its exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--check", action="store_true", help="Write nothing; fail if a table is not what the runs say."
    )
    check = parser.parse_args().check
    stale = []
    for name in PAGES:
        path = ROOT / name
        text = path.read_text(encoding="utf-8")
        new = rewritten(text)
        if new != text:
            stale.append(name)
            if not check:
                write_text(path, new)
    print(f"{'Not what the runs say' if check else 'Written'}: {', '.join(stale) or 'nothing'}.")
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
