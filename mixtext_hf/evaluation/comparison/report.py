"""What a comparison found: its table, the numbers of it, and what each run measured.

Knows no trainer: `mixtext_hf.cli.comparing` makes the runs, and this of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .tables import Summary, as_markdown, as_rows


@dataclass(frozen=True, eq=False)
class ComparisonReport:
    """
    What a comparison found. Printed, and as the last line of a notebook's cell, it is its table.

    Args:
        summaries (`list[Summary]`): Each metric of each method at each number of labels: its value for every seed, and its paired
            difference to the baseline with an interval.
        runs (`list[dict[str, Any]]`): One row a run, as in `runs.csv`: `run` (its folder), `variant`, `labeled_per_class`, `seed`,
            `split`, `n_examples`, `steps`, and its metrics.
        seeds (`Sequence[int]`): The seeds.
        split (`str`): The split that was measured.
        output_dir (`Path`): Where all of it is.
        files (`Sequence[str]`): The table, the csv files and the figures, by their names in `output_dir`.
    """

    summaries: list[Summary]
    runs: list[dict[str, Any]]
    seeds: Sequence[int]
    split: str
    output_dir: Path
    files: Sequence[str]

    @property
    def table(self) -> str:
        """
        The table as Markdown, a line a method: mean ± standard deviation over the seeds, and the difference to the baseline with its
        interval and the seeds it is won in. Below it stands what the numbers are.
        """
        return as_markdown(self.summaries, split=self.split, seeds=self.seeds, steps=self._steps())

    def _steps(self) -> dict[str, list[int]]:
        """The optimiser steps of each method that takes any, from the fewest labels to the most."""
        steps: dict[str, list[int]] = {}
        for run in sorted(self.runs, key=lambda run: run["steps"]):
            of_method = steps.setdefault(run["variant"], [])
            if run["steps"] and run["steps"] not in of_method:
                of_method.append(run["steps"])
        return {variant: taken for variant, taken in steps.items() if taken}

    @property
    def rows(self) -> list[dict[str, Any]]:
        """The numbers of the table in full, one row for each number of labels, method and metric, as in `results.csv`."""
        return as_rows(self.summaries)

    def __str__(self) -> str:
        return self.table

    def _repr_markdown_(self) -> str:
        return self.table
