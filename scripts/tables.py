"""The tables of README.md and of the pages in docs, made again from the files in docs/results.

A table stands between a comment that says of which runs it is and `<!-- end -->`. FOLDER is one of docs/results.

- `<!-- table: FOLDER -->`: mean and standard deviation, a line a method, of the files `runs*.csv` that `mixtext-hf compare` wrote;
  `<!-- table: FOLDER by labels -->` has a line for each number of labels too, `<!-- table: FOLDER with steps -->` says how many optimiser
  steps the runs took.
- `<!-- seeds: FOLDER METRIC -->`: one metric of the same files, a line a method and a column a seed.
- `<!-- differences: FOLDER -->`: the table of `compare` with the paired differences to `erm` and their intervals, of its `results.csv`.
- `<!-- overview: FOLDER METRIC -->`: one metric of all folders in FOLDER, a column each.
- `<!-- lines: FOLDER/FILE COLUMN=NAME ... -->`: columns of the files `FILE*.csv`, line by line.
- `<!-- results: FOLDER KEY=NAME KEY=NAME ... -->`: columns of single runs, of files `METHOD-seedSEED.json`, each the `all_results.json` of one.

`python scripts/tables.py` writes the tables, `--check` says which would change. `scripts/keep_runs.py` puts the files there.
"""

from __future__ import annotations

import csv
import json
import re
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from rewriting import rewrite

from mixtext_hf.evaluation.comparison.tables import METRICS, mean_and_deviation, shown_metrics


ROOT = Path(__file__).resolve().parent.parent
BASELINE = "erm"
BLOCK = re.compile(
    r"(?P<start><!-- (?P<kind>table|seeds|differences|overview|results|lines): (?P<folder>[\w/-]+)(?P<told>(?: [^\s>]+)*) -->\n)"
    r".*?(?P<end><!-- end -->)",
    re.DOTALL,
)
_RESULTS = re.compile(r"(?P<method>.+)-seed(?P<seed>\d+)\.json")


def pages() -> list[str]:
    """README.md and the pages of docs that have a table of runs, by their paths from the root."""
    found = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    return [path.relative_to(ROOT).as_posix() for path in found if BLOCK.search(path.read_text(encoding="utf-8"))]


# ---- the files ----


def rows_of(runs: Path) -> list[dict[str, str]]:
    """The lines of the files `runs*.csv` of a folder; `ValueError` if it has none."""
    rows = []
    for path in sorted(runs.glob("runs*.csv")):
        rows += lines_of(path)
    if not rows:
        raise ValueError(f"{runs} holds no runs*.csv.")
    return rows


def lines_of(path: Path) -> list[dict[str, str]]:
    """The lines of a csv file."""
    with path.open(encoding="utf-8", newline="") as file:
        return [*csv.DictReader(file)]


def results_of(runs: Path) -> dict[str, dict[int, dict[str, float]]]:
    """The numbers of each method and seed, of files `METHOD-seedSEED.json`; `ValueError` if there are none, or other seeds of one."""
    found: dict[str, dict[int, dict[str, float]]] = {}
    for path in sorted(runs.glob("*.json")):
        name = _RESULTS.fullmatch(path.name)
        if name is None:
            raise ValueError(f"{path} is not called METHOD-seedSEED.json.")
        found.setdefault(name["method"], {})[int(name["seed"])] = json.loads(path.read_text(encoding="utf-8"))
    if not found:
        raise ValueError(f"{runs} holds no METHOD-seedSEED.json.")
    _check_seeds(runs, {method: of_seeds.keys() for method, of_seeds in found.items()})
    order = {"erm": 0, "tmix": 1}
    return {method: found[method] for method in sorted(found, key=lambda method: (order.get(method, 2), method))}


def _check_seeds(runs: Path, seeds: Mapping[Any, Iterable[Any]]) -> None:
    if len({tuple(sorted(of_method)) for of_method in seeds.values()}) > 1:
        raise ValueError(
            f"{runs}: the methods have other seeds: { ({key: sorted(of) for key, of in seeds.items()}) }."
        )


# ---- the tables ----


def as_table(header: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Markdown of cells."""
    header = [*header]
    lines = [f"| {' | '.join(header)} |", f"|{'---|' * len(header)}", *(f"| {' | '.join(row)} |" for row in rows)]
    return "\n".join(lines) + "\n"


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
    _check_seeds(runs, {key: [row["seed"] for row in found] for key, found in cells.items()})
    # Older runs do not tell of all metrics.
    known = [name for name in METRICS if all(name in row for row in rows)]
    values = {key: {name: [float(row[name]) for row in found] for name in known} for key, found in cells.items()}
    shown = shown_metrics({name: [of[name] for of in values.values()] for name in known})
    lines = []
    for (labels, variant), metrics in values.items():
        # Those of the runs of a line are the same, or `compare` makes no table.
        told = [cells[labels, variant][0]["steps"]] if with_steps else []
        for name in shown:
            of_all = [of[name] for (other, _), of in values.items() if other == labels]
            told.append(_cell(metrics[name], of_all, more_is_better=METRICS[name]))
        lines.append([*([labels] if by_labels else []), variant, *told])
    labels_first = ["labels a class"] if by_labels else []
    return as_table([*labels_first, "method", *(["steps"] if with_steps else []), *shown], lines)


def _cell(values: list[float], of_all: list[list[float]], *, more_is_better: bool) -> str:
    """Mean and deviation, bold if it is the best of several."""
    text, means = mean_and_deviation(values), [np.mean(other) for other in of_all]
    best = max(means) if more_is_better else min(means)
    return f"**{text}**" if len(means) > 1 and np.mean(values) == best else text


def seeds_table(runs: Path, metric: str) -> str:
    """One metric, a line a method and a column a seed; `ValueError` as of [`table`], and for more than one number of labels."""
    found: dict[str, dict[int, str]] = {}
    for row in rows_of(runs):
        of_method = found.setdefault(row["variant"], {})
        if int(row["seed"]) in of_method:
            raise ValueError(f"{runs}: {row['variant']} was run twice with seed {row['seed']}.")
        of_method[int(row["seed"])] = f"{float(row[metric]):.3f}"
    _check_seeds(runs, {method: of_method.keys() for method, of_method in found.items()})
    seeds = sorted(next(iter(found.values())))
    return as_table(
        [f"{metric}, seed", *map(str, seeds)],
        ([method, *(of_method[seed] for seed in seeds)] for method, of_method in found.items()),
    )


def differences_table(runs: Path) -> str:
    """
    Mean and deviation, and beside them the paired difference to `erm`, its interval, and the seeds in which the method is better.

    Raises:
        `ValueError`: if there is no `results.csv`, or its means are not those of the runs.
    """
    path = runs / "results.csv"
    if not path.is_file():
        raise ValueError(f"{runs} holds no results.csv.")
    summaries: dict[str, dict[str, dict[str, str]]] = {}
    for line in lines_of(path):
        summaries.setdefault(line["variant"], {})[line["metric"]] = line
    values: dict[tuple[str, str], list[float]] = {}
    for row in rows_of(runs):
        for metric in METRICS:
            if metric in row:
                values.setdefault((row["variant"], metric), []).append(float(row[metric]))
    for variant, of_metrics in summaries.items():
        for metric, line in of_metrics.items():
            if (variant, metric) in values and not np.isclose(np.mean(values[variant, metric]), float(line["mean"])):
                raise ValueError(f"{path}: the {metric} of {variant} is not that of the runs.")
    known = [name for name in METRICS if all((variant, name) in values for variant in summaries)]
    shown = shown_metrics({name: [values[variant, name] for variant in summaries] for name in known})
    rows = []
    for variant in summaries:
        cells = [variant]
        for metric in shown:
            line = summaries[variant][metric]
            cells += [mean_and_deviation(values[variant, metric]), _difference(line) if line["difference"] else ""]
        rows.append(cells)
    return as_table(["method", *(name for one in shown for name in (one, f"{one} - {BASELINE}"))], rows)


def _difference(line: dict[str, str]) -> str:
    middle, low, high = (_signed(float(line[name])) for name in ("difference", "low", "high"))
    return f"{middle} [{low}, {high}] {line['wins']}/{line['n_seeds']}"


def _signed(number: float) -> str:
    text = f"{number:+.3f}"
    return text if float(text) else text[1:]


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
    methods = dict.fromkeys(method for found in values for method in found)
    rows = []
    for method in methods:
        cells = [
            _cell(found[method], [*found.values()], more_is_better=METRICS[metric]) if method in found else ""
            for found in values
        ]
        rows.append([method, *cells])
    return as_table([metric, *(column.name for column in columns)], rows)


def lines_table(files: Path, columns: dict[str, str]) -> str:
    """
    Columns of csv files as they are, numbers that are not whole with three digits.

    Args:
        files (`Path`): A folder and the beginning of the names of the files, which end in `.csv`.
        columns (`dict[str, str]`): Columns, and what they are called.

    Raises:
        `ValueError`: if there are no such files, or one has no such column.
    """
    paths = sorted(files.parent.glob(f"{files.name}*.csv"))
    if not paths:
        raise ValueError(f"{files.parent} holds no {files.name}*.csv.")
    rows = []
    for path in paths:
        for line in lines_of(path):
            missing = [key for key in columns if key not in line]
            if missing:
                raise ValueError(f"{path} has no {missing[0]!r}.")
            rows.append([_rounded(line[key]) for key in columns])
    return as_table(columns.values(), rows)


def _rounded(cell: str) -> str:
    return f"{float(cell):.3f}" if re.fullmatch(r"-?\d+\.\d+(e-?\d+)?", cell) else cell


def results_table(runs: Path, columns: dict[str, str]) -> str:
    """
    Mean and standard deviation over the seeds of single runs, a line a method.

    Args:
        runs (`Path`): A folder with files `METHOD-seedSEED.json`, each an `all_results.json`.
        columns (`dict[str, str]`): Numbers in them, and what they are called.

    Raises:
        `ValueError`: if there are no such files, a number is in none, or methods were run with different seeds.
    """
    found = results_of(runs)
    rows = []
    for method, of_seeds in found.items():
        missing = [key for key in columns if any(key not in numbers for numbers in of_seeds.values())]
        if missing:
            raise ValueError(f"{runs}: {method} has no {missing[0]}.")
        cells = [mean_and_deviation([of_seeds[seed][key] for seed in sorted(of_seeds)]) for key in columns]
        rows.append([method, *cells])
    return as_table(["method", *columns.values()], rows)


# ---- the pages ----


def block(kind: str, folder: str, told: str) -> str:
    """The table that a comment asks for; `ValueError` if it asks for what there is not."""
    runs, words = ROOT / "docs" / "results" / folder, told.split()
    if kind == "table" and told in ("", " by labels", " with steps", " by labels with steps"):
        return table(runs, by_labels="labels" in words, with_steps="steps" in words)
    if kind == "differences" and not words:
        return differences_table(runs)
    if kind in ("results", "lines") and words and all("=" in word for word in words):
        columns = {key: name.replace("_", " ") for key, name in (word.split("=") for word in words)}
        return results_table(runs, columns) if kind == "results" else lines_table(runs, columns)
    metric = " ".join(words)
    if kind in ("seeds", "overview") and metric in METRICS:
        return seeds_table(runs, metric) if kind == "seeds" else overview(runs, metric)
    raise ValueError(f"<!-- {kind}: {folder}{told} --> asks for what there is not.")


def rewritten(text: str) -> str:
    """A page with the tables that belong into it."""
    return BLOCK.sub(
        lambda found: f"{found['start']}{block(found['kind'], found['folder'], found['told'])}{found['end']}", text
    )


if __name__ == "__main__":
    sys.exit(rewrite(__doc__, ROOT, pages(), rewritten))
