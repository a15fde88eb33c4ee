"""The figure of what methods change on several data sets, from the `runs*.csv` of `mixtext-hf compare`.

`python scripts/differences.py FOLDER FIGURE.png [--leave_out METHOD ...]`: FOLDER is one of docs/results, with a folder for each data set.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Collection
from pathlib import Path

from tables import ROOT, rows_of

from mixtext_hf.evaluation.comparison.differences import differences_figure


BASELINE, DRAWN = "erm", ("accuracy", "NLL")


def differences(folder: Path, metric: str, leave_out: Collection[str] = ()) -> dict[str, list[float]]:
    """
    What each method changes in a metric, beside `erm` of the same seed and number of labels.

    Args:
        folder (`Path`): With files `runs*.csv`.
        metric (`str`): A column of these.
        leave_out (collection of `str`): Methods.

    Raises:
        `ValueError`: if `erm` was not run where a method was.
    """
    known = {(row["variant"], row["labeled_per_class"], row["seed"]): float(row[metric]) for row in rows_of(folder)}
    found: dict[str, list[float]] = {}
    for (method, labels, seed), value in known.items():
        if method == BASELINE or method in leave_out:
            continue
        if (BASELINE, labels, seed) not in known:
            raise ValueError(f"{folder}: {method} was run with seed {seed}, and {BASELINE} was not.")
        found.setdefault(method, []).append(value - known[BASELINE, labels, seed])
    return found


def main(argv: list[str] | None = None) -> int:
    """Run the command; returns its exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder")
    parser.add_argument("figure", type=Path)
    parser.add_argument("--leave_out", nargs="+", default=[])
    args = parser.parse_args(argv)
    folders = sorted({path.parent for path in (ROOT / "docs" / "results" / args.folder).glob("*/runs*.csv")})
    of_metrics = {
        metric: {folder.name: differences(folder, metric, args.leave_out) for folder in folders} for metric in DRAWN
    }
    try:
        differences_figure(of_metrics, BASELINE, args.figure)
    except ValueError as error:
        print(f"docs/results/{args.folder}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
