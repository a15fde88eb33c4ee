"""Methods compared over seeds and numbers of labels, on texts or images: `mixtext-hf compare`.

```bash
mixtext-hf compare text --methods erm tmix --seeds 0 1 2 3 4 --labeled_per_class 10 50 --output_dir comparison \
    --train_file train.parquet --test_file test.parquet --model_name_or_path bert-base-uncased --max_steps 200
```

Every run has a folder of its own in `output_dir/runs`, named after its settings and a hash of its whole configuration. Runs
that are there already are kept, so that the same command goes on where it was killed; started several times, on one machine or
on several that share the folder, it spreads the runs. All end in the same table, csv files and figures.
"""

from __future__ import annotations

import gc
import json
import os
import shutil
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from filelock import FileLock, Timeout
from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm
from transformers import HfArgumentParser
from transformers.utils import logging as hf_logging

from mixtext_hf._files import write_text
from mixtext_hf.errors import RunError
from mixtext_hf.evaluation.comparison.grid import BASELINE, make_grid, make_variants
from mixtext_hf.evaluation.comparison.plots import comparison_figure, has_memorisation, memorisation_figure
from mixtext_hf.evaluation.comparison.tables import as_csv, as_markdown, as_rows, summarise
from mixtext_hf.methods import METHODS, ResizeMix
from mixtext_hf.problem_types import SINGLE_LABEL

from .failures import failure, reporting_failures
from .frozen import FROZEN
from .parsing import Parser, given_names, parse, reporting_bad_input, share_out, to_flags
from .planned_run import FEATURES, LOG, PlannedRun, make_kind, measured_split
from .run import Run
from .run_arguments import SelectionArguments


RUNS = "runs"
TABLE, RESULTS, EACH_RUN = "table.md", "results.csv", "runs.csv"
FIGURE, MEMORISATION = "comparison.png", "memorisation.png"

# Methods that draw a lambda from Beta(alpha, alpha), and methods that draw their layer from several.
WITH_ALPHA = tuple(name for name, kind in METHODS.items() if kind.mixes and kind is not ResizeMix)
WITH_LAYERS = tuple(name for name, kind in METHODS.items() if kind.mixes and len(kind().layer_set(12) or ()) > 1)

# Arguments of the training command that are not for the user to give, and what is.
_TAKEN = {
    "mix_method": "name methods by --methods",
    "mix_alpha": "give --alphas, or mix_alpha for one method in --method_arguments",
    "mix_layers": "give --layer_sets, or mix_layers for one method in --method_arguments",
    "seed": "give --seeds",
    "do_train": "every run trains",
    "do_eval": "every run is measured",
    "do_predict": "every run is measured",
    "overwrite_output_dir": "finished runs are kept; delete the folder of one to have it run again",
    "resume_from_checkpoint": "finished runs are kept, and others start anew",
    "push_to_hub": "keep the models by --keep_models, and push one by `mixtext-hf push FOLDER`",
    "baseline_dir": f"the table compares with {BASELINE}",
}
# What must be the same for all methods, or the comparison is none.
_SHARED = {field.name for field in fields(SelectionArguments)} | {
    "dataset_name",
    "task_name",
    "max_steps",
    "num_train_epochs",
    # These hold for the process, and so for every run that comes after in it.
    "tf32",
    "full_determinism",
}
_KINDS = ("text", "image")
_POLL_SECONDS = 0.5


@dataclass
class CompareArguments:
    """What is compared, and where to."""

    methods: list[str] = field(
        metadata={
            "help": f"Methods to compare; with {BASELINE}, the others are compared to it. For texts also frozen and "
            "frozen_gaussian: what the untouched encoder's features tell."
        }
    )
    output_dir: str = field(metadata={"help": "Folder of the runs, the table and the figures."})
    seeds: list[int] = field(
        default_factory=lambda: [0, 1, 2, 3, 4],
        metadata={"help": "The seeds themselves: each draws its own labelled rows, head, batches and mixes."},
    )
    labeled_per_class: list[int] | None = field(
        default=None, metadata={"help": "Numbers of labelled rows of each class; all rows if not given."}
    )
    alphas: list[float] | None = field(
        default=None,
        metadata={"help": "Values of mix_alpha, for the methods that have one: each is a line of its own."},
    )
    layer_sets: list[str] | None = field(
        default=None, metadata={"help": "Values of mix_layers, such as 7,9,12 3,4, for the methods that draw a layer."}
    )
    method_arguments: str | None = field(
        default=None,
        metadata={
            "help": "Further training arguments of single methods, as a JSON object (in the YAML file: a mapping), such as "
            '\'{"mixtext": {"augmenters": ["word_dropout:0.5"]}}\'.'
        },
    )
    max_predict_samples: int | None = field(
        default=None, metadata={"help": "Measure on at most this many rows, the same ones in all runs."}
    )
    keep_models: bool = field(default=False, metadata={"help": "Keep the model of every run, with its card."})


def make_parser() -> HfArgumentParser:
    """The parser of the command's own arguments; all others go to `train-text` or `train-image`."""
    parser = Parser(
        [CompareArguments],
        prog="mixtext-hf compare",
        usage="mixtext-hf compare {text,image} --methods METHOD [METHOD ...] --output_dir FOLDER [--seeds ...] [...]",
        description="Compare methods over seeds and numbers of labels, in runs that can be killed, resumed and spread over "
        "machines. All further arguments go to every run: see `mixtext-hf train-text --help` and `train-image --help`.",
    )
    parser.add_argument("kind", choices=_KINDS, help="What is classified.")
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command."""
    argv = list(sys.argv[1:] if argv is None else argv)
    parser = make_parser()
    with reporting_bad_input(parser):
        comparison = Comparison(parser, argv)
        comparison.check()
    with reporting_failures(parser.prog):
        comparison.run()
        print(comparison.finish())


class IncomparableRuns(RunError):
    """There is no table: runs failed, or do not go together."""


class Comparison:
    """
    All runs of a comparison. Construction parses the arguments of every run, [`check`] loads data and models to find what is
    wrong with them, [`run`] makes what is not there yet, [`finish`] the table.

    Raises:
        `ValueError`, `OSError`: on construction and by [`check`], for wrong input.
    """

    def __init__(self, parser: HfArgumentParser, argv: Sequence[str]):
        kind = make_kind(argv[0] if argv and argv[0] in _KINDS else _KINDS[0])
        own, forwarded = share_out(parser, kind.parser, argv)
        # Exits where the first word names no kind.
        self.args: CompareArguments = parse(parser, own)[0]
        self.prog, self.kind = parser.prog, kind
        self.output_dir = Path(self.args.output_dir)
        if self.output_dir.exists() and not self.output_dir.is_dir():
            raise ValueError(f"--output_dir {self.output_dir} is a file: name a folder.")
        if int(os.environ.get("WORLD_SIZE", "1")) > 1:
            raise ValueError(
                "torchrun was used to start this, but every run takes one process: start the command once for each GPU, with "
                "CUDA_VISIBLE_DEVICES=0, =1, ... and the same --output_dir, and they share the runs."
            )
        if self.args.max_predict_samples is not None and self.args.max_predict_samples < 2:
            raise ValueError(f"--max_predict_samples must be at least 2, got {self.args.max_predict_samples}.")
        names = given_names(kind.parser, forwarded)
        for name in _TAKEN:
            if name in names:
                raise ValueError(f"--{name} is not for a comparison: {_TAKEN[name]}.")
        self.plans = self._make_plans(forwarded)

    def _make_plans(self, forwarded: Sequence[str]) -> list[PlannedRun]:
        a = self.args
        known = [*METHODS, *(FROZEN if self.kind.name == "text" else ())]
        unknown = [method for method in a.methods if method not in known]
        if unknown:
            raise ValueError(f"--methods: there is no method {unknown[0]!r}, choose from {', '.join(known)}.")
        method_arguments = _method_arguments(a)
        variants = make_variants(
            a.methods,
            alphas=a.alphas or (),
            layer_sets=[_layers(text) for text in a.layer_sets or ()],
            with_alpha=WITH_ALPHA,
            with_layers=WITH_LAYERS,
        )
        plans = []
        for setting in make_grid(variants, a.labeled_per_class or [None], a.seeds):
            variant = setting.variant
            argv = [
                *forwarded,
                *to_flags(method_arguments.get(variant.method, {})),
                *to_flags({"mix_alpha": variant.alpha, "mix_layers": variant.layers and [*variant.layers]}),
                *to_flags({"labeled_per_class": setting.labeled_per_class}),
                *(
                    f"--mix_method={FROZEN.get(variant.method, variant.method)}",
                    f"--seed={setting.seed}",
                    "--do_train",
                    "--do_eval",
                ),
            ]
            with self.kind.naming(f"{self.prog}: {setting.name}"):
                plans.append(PlannedRun(self.kind, setting, argv, self.output_dir / RUNS, a.max_predict_samples))
        return plans

    # ---- before ----

    def check(self) -> None:
        """Load data and model of every variant at every number of labels, of which there is something left to run."""
        hf_logging.disable_progress_bar()
        left: dict[Any, PlannedRun] = {}
        for plan in self._unfinished():
            left.setdefault((plan.setting.variant, plan.setting.labeled_per_class), plan)
        for plan in left.values():
            with TemporaryDirectory() as elsewhere, self.kind.naming(f"{self.prog}: {plan.setting.name}"):
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
        if by_seed and not is_same and len(self.args.seeds) > 1:
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
                        plan.execute(keep_model=self.args.keep_models)
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

    def finish(self) -> str:
        """
        Write table, csv files and figures.

        Returns:
            `str`: the table, and where it is.

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

    def _make_table(self) -> str:
        found = [plan.result() for plan in self.plans]
        results = [result for result in found if result is not None]
        if len(results) < len(found):
            missing = [plan.folder.name for plan, result in zip(self.plans, found, strict=True) if result is None]
            raise IncomparableRuns(
                f"{len(missing)} of {len(found)} runs failed, so there is no table: {', '.join(missing)}. See {LOG} in "
                f"their folders in {self.output_dir / RUNS}; the same command tries them again."
            )
        _check_steps(self.plans, results)
        try:
            return self._write(results)
        except ValueError as error:
            raise IncomparableRuns(f"There is no table: {error}") from error

    def _write(self, results: Sequence[Mapping[str, Any]]) -> str:
        folder, seeds = self.output_dir, self.args.seeds
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
        write_text(folder / EACH_RUN, as_csv(each))
        write_text(folder / RESULTS, as_csv(as_rows(summaries)))
        table = as_markdown(summaries, split=results[0]["split"], seeds=seeds)
        write_text(folder / TABLE, table)
        return f"\n{table}\n{', '.join(files)} in {folder}"


def _method_arguments(args: CompareArguments) -> dict[str, dict[str, Any]]:
    """`--method_arguments` as {method: {argument: value}}, checked."""
    if args.method_arguments is None:
        return {}
    example = '\'{"mixtext": {"augmenters": ["word_dropout:0.5"]}}\''
    try:
        given = json.loads(args.method_arguments)
    except json.JSONDecodeError as error:
        raise ValueError(f"--method_arguments is no JSON ({error}): write an object such as {example}.") from error
    if not isinstance(given, dict) or not all(isinstance(value, dict) for value in given.values()):
        raise ValueError(f"--method_arguments must be an object of objects such as {example}, got {given!r}.")
    own = {field.name for field in fields(CompareArguments)}
    allowed = {name for name, lists in (("mix_alpha", args.alphas), ("mix_layers", args.layer_sets)) if lists is None}
    for method, arguments in given.items():
        if method not in args.methods:
            raise ValueError(f"--method_arguments: {method!r} is not among --methods, {', '.join(args.methods)}.")
        for name in arguments:
            where = f"--method_arguments: {name!r} of {method}"
            if name in _TAKEN and name not in allowed:
                raise ValueError(f"{where} is not for a comparison: {_TAKEN[name]}.")
            if name in _SHARED | own:
                raise ValueError(f"{where} must be the same for all methods: give it for all.")
    return given


def _layers(text: str) -> list[int]:
    try:
        return [int(layer) for layer in text.strip("[]() ").split(",")]
    except ValueError as error:
        raise ValueError(f"--layer_sets: {text!r} is no list of layer numbers such as 7,9,12.") from error


def _check_steps(plans: Sequence[PlannedRun], results: Sequence[Mapping[str, Any]]) -> None:
    """Raise `IncomparableRuns` unless all runs with the same number of labels took as many optimiser steps."""
    steps: dict[int | None, dict[int, str]] = {}
    for plan, result in zip(plans, results, strict=True):
        if plan.baseline is not None:
            continue
        steps.setdefault(plan.setting.labeled_per_class, {}).setdefault(result["global_step"], plan.setting.name)
    for taken in steps.values():
        if len(taken) > 1:
            each = ", ".join(f"{number} in {name}" for number, name in taken.items())
            raise IncomparableRuns(
                f"Runs with as many labels took different numbers of optimiser steps ({each}), so there is no table: give "
                "--max_steps."
            )


if __name__ == "__main__":
    main()
