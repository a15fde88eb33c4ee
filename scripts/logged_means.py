"""The mean of what a method logs of its steps, such as `mask_constant`, over the runs of `mixtext-hf compare`.

`python scripts/logged_means.py TERM FOLDER [FOLDER ...]`: the folders are those of `--output_dir`; one line a method and number of labels,
with `--output_file` into a csv file. Each line of a run's log counts by the steps that it is of.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from statistics import fmean
from typing import Any

from mixtext_hf._files import write_text
from mixtext_hf.evaluation.comparison.tables import as_csv


_RUN = re.compile(r"(?P<method>.+)-(?P<labels>labels\d+|all)-seed(?P<seed>\d+)-[0-9a-f]{8}")
_STEP = re.compile(r"step (?P<step>\d+)/\d+,")


def mean_of_run(log: str, term: str) -> float | None:
    """
    The mean of a logged term over the steps of a run.

    Args:
        log (`str`): What the run printed.
        term (`str`): Its name there.

    Returns:
        `float`; `None` if no line has the term.
    """
    value = re.compile(rf"(?:^|[ ,]){re.escape(term)} (?P<value>[-+.\deE]+|nan|inf)(?:,|$)")
    values: dict[int, float | None] = {}
    for line in log.splitlines():
        if at := _STEP.search(line):
            # A run that went on from a checkpoint made these steps once more.
            values = {step: known for step, known in values.items() if step < int(at["step"])}
            found = value.search(line)
            values[int(at["step"])] = None if found is None else float(found["value"])
    lengths = {step: step - before for before, step in pairwise([0, *values])}
    told = {step: known for step, known in values.items() if known is not None}
    return (
        sum(lengths[step] * known for step, known in told.items()) / sum(lengths[step] for step in told)
        if told
        else None
    )


def runs_of(folders: list[Path], term: str) -> Iterator[tuple[str, str, float]]:
    """Method, number of labels and mean of each run that logged the term."""
    for folder in folders:
        for log in sorted(folder.glob("runs/*/output.log")):
            name = _RUN.fullmatch(log.parent.name)
            mean = mean_of_run(log.read_text(encoding="utf-8"), term)
            if name is not None and mean is not None:
                yield name["method"], name["labels"].removeprefix("labels"), mean


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("term")
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--output_file", type=Path, help="A csv file for the table.")
    args = parser.parse_args(argv)
    found: dict[tuple[str, str], list[float]] = {}
    for method, labels, mean in runs_of(args.folders, args.term):
        found.setdefault((method, labels), []).append(mean)
    if not found:
        print(f"No run in {', '.join(map(str, args.folders))} has logged {args.term!r}.", file=sys.stderr)
        return 1
    rows: list[dict[str, Any]] = [
        {"variant": method, "labeled_per_class": labels, "runs": len(means), args.term: f"{fmean(means):.6g}"}
        for (method, labels), means in found.items()
    ]
    print(f"| method | labels a class | runs | {args.term} |\n|---|---|---|---|")
    for method, labels, runs, value in (row.values() for row in rows):
        print(f"| {method} | {labels} | {runs} | {float(value):.3f} |")
    if args.output_file is not None:
        write_text(args.output_file, as_csv(rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
