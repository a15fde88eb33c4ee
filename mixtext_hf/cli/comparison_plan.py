"""From what a comparison is told to the runs that it takes, each with its arguments; nothing is loaded, made or written."""

from __future__ import annotations

import enum
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
from transformers import TrainingArguments

from mixtext_hf._messages import check_at_least
from mixtext_hf._numbers import is_number
from mixtext_hf.evaluation.comparison.grid import BASELINE, make_grid, make_variants, split_label
from mixtext_hf.methods import METHODS

from .frozen import FROZEN
from .parsing import given_names, is_bad_input, to_flags
from .planned_run import Kind, PlannedRun
from .run_arguments import SelectionArguments


RUNS = "runs"

# Methods that draw a lambda from Beta(alpha, alpha), and methods that draw their layer from several.
_OF_WHOLES = {name: kind for name, kind in METHODS.items() if kind.mixes and kind.labels_texts}
WITH_ALPHA = tuple(name for name, kind in _OF_WHOLES.items() if kind().draws_lambda)
WITH_LAYERS = tuple(name for name, kind in _OF_WHOLES.items() if len(kind().layer_set(12) or ()) > 1)

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


@dataclass
class ComparisonSettings:
    """
    What is compared, and where to.

    These are the arguments of [`~mixtext_hf.compare`] and the flags of `mixtext-hf compare`, but for those of every run.
    """

    methods: list[str] = field(
        metadata={
            "help": f"Methods to compare; with {BASELINE}, the others are compared to it. For texts also frozen and "
            "frozen_gaussian: what the untouched encoder's features tell. LABEL=METHOD compares a method under a name of its own, "
            "with --method_arguments of its own."
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
    method_arguments: dict[str, Any] | str | None = field(
        default=None,
        metadata={
            "help": "Further training arguments of single methods, by their labels if they have one, as a JSON object (in the YAML file: a "
            "mapping), such as "
            '\'{"mixtext": {"augmenters": ["word_dropout:0.5"]}}\'.'
        },
    )
    step_costs: dict[str, Any] | str | None = field(
        default=None,
        metadata={
            "help": "Equal cost in place of equal steps: what a step of a method costs, in steps of those that are not named, as "
            "`mixtext-hf benchmark` measures it; a JSON object (in the YAML file: a mapping), such as '{\"puzzlemix\": 1.7}'. "
            "num_train_epochs or max_steps is then that of the dearest method, and the others train longer for it."
        },
    )
    max_predict_samples: int | None = field(
        default=None, metadata={"help": "Measure on at most this many rows, the same ones in all runs."}
    )
    keep_models: bool = field(default=False, metadata={"help": "Keep the model of every run, with its card."})


class WrongRun(ValueError):
    """
    What is given for one of the runs is wrong.

    Args:
        run (`str`): Its name.
        error (`Exception`): What is wrong with it.
    """

    def __init__(self, run: str, error: Exception):
        super().__init__(f"{run}: {error}")
        self.run, self.error = run, error


@contextmanager
def naming_the_run(name: str) -> Iterator[None]:
    """Say of which run it is what is wrong."""
    try:
        yield
    except Exception as error:
        if not is_bad_input(error):
            raise
        raise WrongRun(name, error) from error


def make_plans(kind: Kind, settings: ComparisonSettings, flags: Sequence[str]) -> list[PlannedRun]:
    """
    The runs of a comparison, seed by seed.

    Args:
        kind ([`Kind`]): What trains.
        settings ([`ComparisonSettings`]): What is compared.
        flags (`Sequence[str]`): What every run is given besides, as to the command that trains.

    Raises:
        ValueError: For wrong settings; a [`WrongRun`] for wrong arguments of a run.
    """
    a = settings
    check_at_least(2, a, "max_predict_samples")
    names = given_names(kind.parser, flags)
    for name in _TAKEN:
        if name in names:
            raise ValueError(f"--{name} is not for a comparison: {_TAKEN[name]}.")
    known = [*(name for name, one in METHODS.items() if one.labels_texts), *(FROZEN if kind.name == "text" else ())]
    for text in a.methods:
        label, method = split_label(text) if isinstance(text, str) else (None, text)
        if isinstance(method, str) and method in METHODS and method not in known:
            raise ValueError(
                f"--methods: {method} is of tagged words (train-text --task ner), and a comparison of whole texts or images: drop it."
            )
        if method not in known:
            raise ValueError(f"--methods: there is no method {method!r}, choose from {', '.join(known)}.")
        if label in known and label != method:
            raise ValueError(
                f"--methods: {label}={method} calls one method by the name of another: choose another label."
            )
    method_arguments = _method_arguments(a)
    costs = _step_costs(a)
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
            *flags,
            *as_flags(method_arguments.get(variant.called, {})),
            *to_flags({"mix_alpha": variant.alpha, "mix_layers": variant.layers and [*variant.layers]}),
            *to_flags({"labeled_per_class": setting.labeled_per_class}),
            *(
                f"--mix_method={FROZEN.get(variant.method, variant.method)}",
                f"--seed={setting.seed}",
                "--do_train",
                "--do_eval",
            ),
        ]
        with naming_the_run(setting.name):
            if costs and variant.method not in FROZEN:
                longer = max(costs.values()) / costs[variant.called]
                argv += _trained_longer(kind.parse(argv, Path(a.output_dir) / RUNS).args, longer)
            plans.append(PlannedRun(kind, setting, argv, Path(a.output_dir) / RUNS, a.max_predict_samples))
    return plans


def as_flags(arguments: Mapping[str, Any]) -> list[str]:
    """
    Arguments of Python as the flags of a command, so that the same run is recognised wherever it was asked for.

    Raises:
        TypeError: For what no flag can say, such as a model or a data set.
    """
    return to_flags({name: _plain(name, value) for name, value in arguments.items()})


def _plain(name: str, value: Any, *, within: bool = False) -> Any:
    if isinstance(value, enum.Enum):
        value = value.value
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, str | bool | int | float):
        return value
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, Mapping):
        return {str(key): _plain(name, inner, within=True) for key, inner in value.items()}
    if isinstance(value, list | tuple | range | np.ndarray):
        return [_plain(name, inner, within=True) for inner in value]
    raise TypeError(
        f"{name} {'holds' if within else 'is'} a {type(value).__name__}: give it as the command takes it, by a name, a path, a "
        "number or a list of these."
    )


def _method_arguments(settings: ComparisonSettings) -> dict[str, dict[str, Any]]:
    """`--method_arguments` as {method: {argument: value}}, checked."""
    example = '\'{"mixtext": {"augmenters": ["word_dropout:0.5"]}}\''
    given = _object(settings.method_arguments, "method_arguments", example)
    if not all(isinstance(value, dict) for value in given.values()):
        raise ValueError(f"--method_arguments must be an object of objects such as {example}, got {given!r}.")
    own = {field.name for field in fields(ComparisonSettings)}
    lists = (("mix_alpha", settings.alphas), ("mix_layers", settings.layer_sets))
    allowed = {name for name, values in lists if values is None}
    _check_are_compared(given, "method_arguments", settings)
    for method, arguments in given.items():
        for name in arguments:
            where = f"--method_arguments: {name!r} of {method}"
            if name in _TAKEN and name not in allowed:
                raise ValueError(f"{where} is not for a comparison: {_TAKEN[name]}.")
            if name in _SHARED | own:
                raise ValueError(f"{where} must be the same for all methods: give it for all.")
    return given


def _step_costs(settings: ComparisonSettings) -> dict[str, float]:
    """`--step_costs` of every method, 1 where nothing is said; empty if all take equal steps."""
    if settings.step_costs is None:
        return {}
    example = "'{\"puzzlemix\": 1.7}'"
    given = _object(settings.step_costs, "step_costs", example)
    _check_are_compared(given, "step_costs", settings)
    methods = _methods(settings)
    for called, cost in given.items():
        if not (is_number(cost) and cost > 0):
            raise ValueError(f"--step_costs: {called} must cost a number above 0 such as in {example}, got {cost!r}.")
        if methods[called] in FROZEN:
            raise ValueError(f"--step_costs: {called} takes no steps: leave it out.")
    return {called: float(given.get(called, 1)) for called, method in methods.items() if method not in FROZEN}


def _methods(settings: ComparisonSettings) -> dict[str, str]:
    """The methods by what they are called."""
    return {label or method: method for label, method in map(split_label, settings.methods)}


def _trained_longer(args: TrainingArguments, times: float) -> list[str]:
    """The flags that make a run so many times as long, to a thousandth."""
    if args.max_steps > 0:
        return [f"--max_steps={round(times * args.max_steps)}"]
    return [f"--num_train_epochs={times * args.num_train_epochs:.4g}"]


def _object(given: Mapping[str, Any] | str | None, name: str, example: str) -> dict[str, Any]:
    """An argument that is an object, or JSON that says one."""
    if isinstance(given, str):
        try:
            given = json.loads(given)
        except json.JSONDecodeError as error:
            raise ValueError(f"--{name} is no JSON ({error}): write an object such as {example}.") from error
    if given is not None and not isinstance(given, Mapping):
        raise ValueError(f"--{name} must be an object such as {example}, got {given!r}.")
    return dict(given or {})


def _check_are_compared(given: Mapping[str, Any], name: str, settings: ComparisonSettings) -> None:
    called = _methods(settings)
    for method in given:
        if method not in called:
            raise ValueError(f"--{name}: {method!r} is not among --methods, {', '.join(called)}.")


def _layers(text: str) -> list[int]:
    try:
        return [int(layer) for layer in text.strip("[]() ").split(",")]
    except ValueError as error:
        raise ValueError(f"--layer_sets: {text!r} is no list of layer numbers such as 7,9,12.") from error
