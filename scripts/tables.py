"""The tables of README.md and docs/results.md, made again from the `runs.csv` files in docs/results.

Between `<!-- table: FOLDER -->` and `<!-- end -->` stands the table of the runs in `docs/results/FOLDER`, in files `runs*.csv` that
`mixtext-hf compare` wrote; `<!-- table: FOLDER by labels -->` has a line for each number of labels too, `<!-- table: FOLDER with steps -->` says
how many optimiser steps the runs took. `python scripts/tables.py` writes the tables, `--check` says which would change.
"""

from __future__ import annotations

import argparse
import csv
import re
import sys
from pathlib import Path

import numpy as np

from mixtext_hf._files import write_text
from mixtext_hf.evaluation.comparison.tables import METRICS, mean_and_deviation


ROOT = Path(__file__).resolve().parent.parent
PAGES = ("README.md", "docs/results.md")
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
    rows = []
    for path in sorted(runs.glob("runs*.csv")):
        with path.open(encoding="utf-8", newline="") as file:
            rows += [*csv.DictReader(file)]
    if not rows:
        raise ValueError(f"{runs} holds no runs*.csv.")
    cells: dict[tuple[str, str], list[dict[str, str]]] = {}
    for row in rows:
        cells.setdefault((row["labeled_per_class"] if by_labels else "", row["variant"]), []).append(row)
    seeds = {key: sorted(row["seed"] for row in found) for key, found in cells.items()}
    if len({tuple(found) for found in seeds.values()}) > 1:
        raise ValueError(f"{runs}: the methods have other seeds: {seeds}.")
    values = {key: {name: [float(row[name]) for row in found] for name in METRICS} for key, found in cells.items()}
    labels_first = ["labels a class"] if by_labels else []
    header = [*labels_first, "method", *(["steps"] if with_steps else []), *METRICS]
    lines = [f"| {' | '.join(header)} |", f"|{'---|' * len(header)}"]
    for (labels, variant), metrics in values.items():
        # Those of the runs of a line are the same, or `compare` makes no table.
        told = [cells[labels, variant][0]["steps"]] if with_steps else []
        for name, more_is_better in METRICS.items():
            means = [np.mean(of[name]) for (other, _), of in values.items() if other == labels]
            best = max(means) if more_is_better else min(means)
            text = mean_and_deviation(metrics[name])
            told.append(f"**{text}**" if len(means) > 1 and np.mean(metrics[name]) == best else text)
        lines.append(f"| {' | '.join([*([labels] if by_labels else []), variant, *told])} |")
    return "\n".join(lines) + "\n"


def rewritten(text: str) -> str:
    """A page with the tables that belong into it."""

    def block(found: re.Match[str]) -> str:
        runs = ROOT / "docs" / "results" / found["folder"]
        found_table = table(runs, by_labels=bool(found["by"]), with_steps=bool(found["steps"]))
        return f"{found[1]}{found_table}{found['end']}"

    return _BLOCK.sub(block, text)


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
