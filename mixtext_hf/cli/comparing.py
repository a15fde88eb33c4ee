"""Methods compared over seeds and numbers of labels, on texts or images: [`compare`], and what `mixtext-hf compare` does.

Every run has a folder of its own in `output_dir/runs`, named after its settings and a hash of its whole configuration. Runs
that are there already are kept, so that the same call goes on where it was killed; started several times, on one machine or
on several that share the folder, it spreads the runs. All end in the same table, csv files and figures.
"""

from __future__ import annotations

import gc
import os
import shutil
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from numbers import Integral, Real
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import torch
from filelock import FileLock, Timeout
from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm
from transformers.utils import logging as hf_logging

from mixtext_hf._files import write_text
from mixtext_hf.errors import RunError
from mixtext_hf.evaluation.comparison.plots import comparison_figure, has_memorisation, memorisation_figure
from mixtext_hf.evaluation.comparison.report import ComparisonReport
from mixtext_hf.evaluation.comparison.tables import as_csv, summarise
from mixtext_hf.problem_types import SINGLE_LABEL

from .comparison_plan import RUNS, ComparisonSettings, as_flags, make_plans, naming_the_run
from .failures import failure
from .planned_run import FEATURES, LOG, Kind, PlannedRun, make_kind, measured_split
from .run import Run


TABLE, RESULTS, EACH_RUN = "table.md", "results.csv", "runs.csv"
FIGURE, MEMORISATION = "comparison.png", "memorisation.png"

_POLL_SECONDS = 0.5


class IncomparableRuns(RunError):
    """There is no table: runs failed, or do not go together."""


def compare(
    kind: Literal["text", "image"],
    methods: Iterable[str],
    output_dir: str | os.PathLike[str],
    *,
    seeds: Iterable[int] = (0, 1, 2, 3, 4),
    labeled_per_class: Iterable[int] | None = None,
    alphas: Iterable[float] | None = None,
    layer_sets: Iterable[Iterable[int]] | None = None,
    method_arguments: Mapping[str, Mapping[str, Any]] | None = None,
    step_costs: Mapping[str, float] | None = None,
    max_predict_samples: int | None = None,
    keep_models: bool = False,
    **arguments: Any,
) -> ComparisonReport:
    r"""
    Compare methods over seeds and numbers of labels; the command `mixtext-hf compare` does this.

    All runs are made in this process, one after the other, each in a folder of its own in `output_dir`. Those that are there already
    are kept: the same call, or the same command, goes on where it was stopped, and several processes that make it at the same time
    share the runs.

    Args:
        kind (`str`): What is classified, `"text"` or `"image"`.
        methods (`Iterable[str]`): Methods to compare; with `"erm"`, the others are compared to it. For texts also `"frozen"` and
            `"frozen_gaussian"`: what the untouched encoder's features tell. `"label=method"` compares a method under a name of its
            own, with `method_arguments` of its own.
        output_dir (`str` or `os.PathLike`): Folder of the runs, the table and the figures.
        seeds (`Iterable[int]`, *optional*, defaults to `(0, 1, 2, 3, 4)`): The seeds themselves: each draws its own labelled
            rows, head, batches and mixes.
        labeled_per_class (`Iterable[int]`, *optional*): Numbers of labelled rows of each class; all rows if not given.
        alphas (`Iterable[float]`, *optional*): Values of `mix_alpha`, for the methods that have one: each is a line of its own.
        layer_sets (`Iterable[Iterable[int]]`, *optional*): Values of `mix_layers`, such as `[[7, 9, 12], [3, 4]]`, for the methods
            that draw a layer.
        method_arguments (`Mapping[str, Mapping[str, Any]]`, *optional*): Further training arguments of single methods, by their labels
            if they have one, such as
            `{"mixtext": {"augmenters": ["word_dropout:0.5"]}}`.
        step_costs (`Mapping[str, float]`, *optional*): Equal cost in place of equal steps: what a step of a method costs, in steps of
            those that are not named, such as `{"puzzlemix": 1.7}`. `num_train_epochs` or `max_steps` is then that of the dearest
            method, and the others train longer for it.
        max_predict_samples (`int`, *optional*): Measure on at most this many rows, the same ones in all runs.
        keep_models (`bool`, *optional*, defaults to `False`): Keep the model of every run, with its card.
        arguments: Those of every run, by the names of the flags of `mixtext-hf train-text` or `train-image`: `train_file`,
            `test_file`, `model_name_or_path`, `max_steps` and so on. With neither data nor a model the embedded example is taken.

    Returns:
        [`~mixtext_hf.evaluation.comparison.report.ComparisonReport`]: the table, its numbers, and those of each run.

    Raises:
        `ValueError`, `OSError`, `TypeError`: for wrong arguments, data or models, before anything is trained.
        `IncomparableRuns`: if runs failed or cannot be compared; those that are finished are kept.

    Example:

    ```python
    report = compare(
        "text", ["erm", "tmix"], "comparison", seeds=range(3), labeled_per_class=[10, 50], train_file="train.csv",
        test_file="test.csv", model_name_or_path="bert-base-uncased", max_steps=200,
    )
    print(report.table)
    ```
    """
    settings = ComparisonSettings(
        methods=_listed("methods", methods),
        output_dir=os.fspath(output_dir),
        seeds=_numbers("seeds", seeds),
        labeled_per_class=None if labeled_per_class is None else _numbers("labeled_per_class", labeled_per_class),
        alphas=None if alphas is None else _numbers("alphas", alphas, whole=False),
        layer_sets=None
        if layer_sets is None
        else [",".join(map(str, _numbers("layer_sets", layers))) for layers in _listed("layer_sets", layer_sets)],
        method_arguments=None if method_arguments is None else dict(method_arguments),
        step_costs=None if step_costs is None else dict(step_costs),
        max_predict_samples=max_predict_samples,
        keep_models=keep_models,
    )
    verbosity, shows_bars = hf_logging.get_verbosity(), hf_logging.is_progress_bar_enabled()
    try:
        comparison = Comparison(make_kind(kind), settings, as_flags(arguments))
        comparison.check()
        comparison.run()
        return comparison.finish()
    finally:
        hf_logging.set_verbosity(verbosity)
        if shows_bars:
            hf_logging.enable_progress_bar()


def _listed(name: str, values: Any) -> list[Any]:
    if isinstance(values, str) or not isinstance(values, Iterable):
        raise TypeError(f"{name} must be a list, got {values!r}: write [{values!r}] for one alone.")
    found = list(values)
    if not found:
        raise ValueError(f"{name} is empty: name at least one, or leave it out.")
    return found


def _numbers(name: str, values: Any, *, whole: bool = True) -> list[Any]:
    found = _listed(name, values)
    for value in found:
        if isinstance(value, bool) or not isinstance(value, Integral if whole else Real):
            raise TypeError(f"{name} must be {'whole ' if whole else ''}numbers, got {value!r}.")
    # Those of numpy are written otherwise.
    return [int(value) if whole else float(value) for value in found]


class Comparison:
    """
    All runs of a comparison. Construction parses the arguments of every run, [`check`] loads data and models to find what is
    wrong with them, [`run`] makes what is not there yet, [`finish`] the table.

    Args:
        kind ([`Kind`]): What trains.
        settings ([`ComparisonSettings`]): What is compared.
        flags (`Sequence[str]`): What every run is given besides, as to the command that trains.

    Raises:
        `ValueError`, `OSError`: on construction and by [`check`], for wrong input.
    """

    def __init__(self, kind: Kind, settings: ComparisonSettings, flags: Sequence[str]):
        self.kind, self.settings = kind, settings
        self.output_dir = Path(settings.output_dir)
        if self.output_dir.exists() and not self.output_dir.is_dir():
            raise ValueError(f"--output_dir {self.output_dir} is a file: name a folder.")
        if int(os.environ.get("WORLD_SIZE", "1")) > 1:
            raise ValueError(
                "torchrun was used to start this, but every run takes one process: start the command once for each GPU, with "
                "CUDA_VISIBLE_DEVICES=0, =1, ... and the same --output_dir, and they share the runs."
            )
        self.plans = make_plans(kind, settings, flags)

    # ---- before ----

    def check(self) -> None:
        """Load data and model of every variant at every number of labels, of which there is something left to run."""
        hf_logging.disable_progress_bar()
        left: dict[Any, PlannedRun] = {}
        for plan in self._unfinished():
            left.setdefault((plan.setting.variant, plan.setting.labeled_per_class), plan)
        for plan in left.values():
            with TemporaryDirectory() as elsewhere, naming_the_run(plan.setting.name):
                self._check_measured(self.kind.make(plan.argv, elsewhere))
        (self.output_dir / RUNS).mkdir(parents=True, exist_ok=True)
        if left:
            with self._table_lock():
                # Others may have finished all of them since, and made the table.
                if self._unfinished():
                    self._remove_table()

    def _unfinished(self) -> list[PlannedRun]:
        return [plan for plan in self.plans if plan.result() is None]

    def _table_lock(self) -> FileLock:
        return FileLock(self.output_dir / RUNS / "table.lock")

    def _remove_table(self) -> None:
        """It is made anew of the runs; until then there shall be none that leaves some of them out."""
        for name in (TABLE, RESULTS, EACH_RUN, FIGURE, MEMORISATION):
            (self.output_dir / name).unlink(missing_ok=True)

    def _check_measured(self, run: Run) -> None:
        if run.data.problem_type != SINGLE_LABEL:
            raise ValueError(
                f"A comparison measures the accuracy and the calibration of one class a row, but the task is "
                f"{run.data.problem_type}."
            )
        name, split = measured_split(run)
        if len(split) < 2:
            raise ValueError(f"The {name} split has one row: there is nothing to resample.")
        chosen = ("validation_split_fraction", "max_eval_samples")
        by_seed = [each for each in chosen if getattr(run.data_args, each) is not None]
        is_same = name not in run.data.validation or run.data_args.split_seed is not None
        if by_seed and not is_same and len(self.settings.seeds) > 1:
            raise ValueError(
                f"--{by_seed[0]} chooses the rows of the {name} split anew for every seed, and all seeds must be measured on "
                "the same: give a --test_file or --validation_file, or a --split_seed for all (which also makes the labelled "
                "rows the same)."
            )

    # ---- the runs ----

    def run(self) -> None:
        """Make all runs that are not there and that no other process is at, then wait for those of other processes."""
        left = self._unfinished()
        bar = tqdm(
            total=len(self.plans), initial=len(self.plans) - len(left), unit="run", desc="runs", file=sys.stderr
        )
        with bar, logging_redirect_tqdm():
            while left:
                others = [plan for plan in left if not self._try(plan, bar)]
                is_waiting, left = len(others) == len(left), others
                if left and is_waiting:
                    bar.set_postfix_str("waiting for other processes")
                    time.sleep(_POLL_SECONDS)

    def _try(self, plan: PlannedRun, bar: tqdm) -> bool:
        """Whether the run is done with: there, or failed."""
        try:
            with plan.lock():
                if plan.result() is None:
                    bar.set_postfix_str(plan.setting.name)
                    try:
                        plan.execute(keep_model=self.settings.keep_models)
                    except Exception as error:
                        message = failure(error) or " ".join(f"{type(error).__name__}: {error}".split())
                        bar.write(f"{plan.folder.name} failed: {message}", file=sys.stderr)
                    # What this run held, before the next one takes its own: trainer and callbacks hold each other.
                    gc.collect()
                    if torch.cuda.is_available():
                        torch.cuda.empty_cache()
        except Timeout:
            return False
        bar.update()
        return True

    # ---- after ----

    def finish(self) -> ComparisonReport:
        """
        Write table, csv files and figures.

        Raises:
            `IncomparableRuns`: if runs failed or cannot be compared; then there is no table.
        """
        # Others that shared the runs write the same; one after the other, for a half-written file has one name.
        with self._table_lock():
            try:
                return self._make_table()
            except IncomparableRuns:
                # There may be one of other runs, by an earlier command.
                self._remove_table()
                raise
            finally:
                shutil.rmtree(self.output_dir / RUNS / FEATURES, ignore_errors=True)

    def _make_table(self) -> ComparisonReport:
        found = [plan.result() for plan in self.plans]
        results = [result for result in found if result is not None]
        if len(results) < len(found):
            missing = [plan.folder.name for plan, result in zip(self.plans, found, strict=True) if result is None]
            raise IncomparableRuns(
                f"{len(missing)} of {len(found)} runs failed, so there is no table: {', '.join(missing)}. See {LOG} in "
                f"their folders in {self.output_dir / RUNS}; the same command tries them again."
            )
        _check_steps(self.plans, results, equal=self.settings.step_costs is None)
        try:
            return self._write(results)
        except ValueError as error:
            raise IncomparableRuns(f"There is no table: {error}") from error

    def _write(self, results: Sequence[Mapping[str, Any]]) -> ComparisonReport:
        folder, seeds = self.output_dir, self.settings.seeds
        outcomes = [plan.outcome() for plan in self.plans]
        summaries = summarise(outcomes)
        each = [
            {
                "run": plan.folder.name,
                "variant": plan.setting.variant.name,
                "labeled_per_class": plan.setting.labeled_per_class,
                "seed": plan.setting.seed,
                "split": result["split"],
                "n_examples": len(outcome.references),
                "steps": result["global_step"],
                **outcome.metrics(),
            }
            for plan, result, outcome in zip(self.plans, results, outcomes, strict=True)
        ]
        histories: dict[tuple[int | None, str], list[Any]] = {}
        for plan, result in zip(self.plans, results, strict=True):
            cell = plan.setting.labeled_per_class, plan.setting.variant.name
            histories.setdefault(cell, []).append(result["log_history"])
        title = f"mean ± standard deviation of {len(seeds)} seeds" if len(seeds) > 1 else f"seed {seeds[0]}"
        files = [TABLE, RESULTS, EACH_RUN, FIGURE]
        if has_memorisation(histories):
            memorisation_figure(histories, folder / MEMORISATION, title)
            files.append(MEMORISATION)
        else:
            (folder / MEMORISATION).unlink(missing_ok=True)
        comparison_figure(summaries, folder / FIGURE, title)
        report = ComparisonReport(summaries, each, seeds, results[0]["split"], folder, files)
        write_text(folder / EACH_RUN, as_csv(each))
        write_text(folder / RESULTS, as_csv(report.rows))
        write_text(folder / TABLE, report.table)
        return report


def _check_steps(plans: Sequence[PlannedRun], results: Sequence[Mapping[str, Any]], *, equal: bool) -> None:
    """Raise `IncomparableRuns` unless all runs with the same number of labels (or else those of each method) took as many steps."""
    steps: dict[tuple[int | None, str | None], dict[int, str]] = {}
    for plan, result in zip(plans, results, strict=True):
        if plan.baseline is not None:
            continue
        alike = plan.setting.labeled_per_class, None if equal else plan.setting.variant.called
        steps.setdefault(alike, {}).setdefault(result["global_step"], plan.setting.name)
    for taken in steps.values():
        if len(taken) > 1:
            each = ", ".join(f"{number} in {name}" for number, name in taken.items())
            raise IncomparableRuns(
                f"Runs with as many labels took different numbers of optimiser steps ({each}), so there is no table: give "
                "--max_steps."
            )
