"""From a metric's name to an `evaluate` module, and from a list of metrics to `Trainer(compute_metrics=...)`.

The modules are loaded from their path, never by a Hub id: `evaluate.load("accuracy")` would download code.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from mixtext_hf.problem_types import MULTI_LABEL, REGRESSION, SINGLE_LABEL

from .metrics import DEFAULT_TOP_K, sigmoid_of_finite, softmax_of_finite
from .validation import (
    Checked,
    Pair,
    check_finite,
    check_labels,
    check_multi_hot,
    check_same_shape,
    check_scores,
    check_top_k,
)


if TYPE_CHECKING:
    import evaluate
    from transformers import EvalPrediction
    from transformers.trainer_utils import PredictionOutput

ComputeMetrics: TypeAlias = "Callable[[EvalPrediction], dict[str, float]]"
Metric: TypeAlias = "str | evaluate.EvaluationModule | evaluate.CombinedEvaluations | ComputeMetrics"

METRICS_OF_PROBLEM: dict[str, tuple[str, ...]] = {
    SINGLE_LABEL: (
        "accuracy",
        "balanced_accuracy",
        "macro_f1",
        "f1",
        "matthews_correlation",
        "top_k_accuracy",
        "nll",
        "brier",
        "ece",
        "ece_equal_mass",
        "classwise_ece",
        "mce",
    ),
    MULTI_LABEL: ("f1_micro", "f1_macro", "subset_accuracy", "nll"),
    REGRESSION: ("pearson", "spearman", "mse"),
}
DEFAULT_METRICS: dict[str, tuple[str, ...]] = {
    SINGLE_LABEL: ("accuracy", "balanced_accuracy", "macro_f1", "nll", "brier", "ece"),
    MULTI_LABEL: ("f1_micro", "f1_macro", "subset_accuracy", "nll"),
    REGRESSION: ("pearson", "spearman", "mse"),
}
METRIC_NAMES: tuple[str, ...] = tuple(dict.fromkeys(name for names in METRICS_OF_PROBLEM.values() for name in names))

# All others take hard predictions.
PROBABILITY_METRICS = ("top_k_accuracy", "nll", "brier", "ece", "ece_equal_mass", "classwise_ece", "mce")

# What their hard predictions are.
_DECIDED: dict[str, Pair] = {SINGLE_LABEL: "labels", MULTI_LABEL: "multi-hot", REGRESSION: "values"}

# Less of these is better; "loss" is what a Trainer adds.
ERRORS = ("nll", "brier", "ece", "ece_equal_mass", "classwise_ece", "mce", "mse", "loss")

# top_5_accuracy is the module top_k_accuracy in its configuration "5".
_TOP_K = re.compile("top_([1-9][0-9]*)_accuracy")


def is_greater_better(metric: str) -> bool:
    """
    Whether more of a metric is better.

    Args:
        metric (`str`): As a Trainer names it: "nll", "eval_nll", or "eval_dev_nll" of one of several splits.
    """
    return not any(metric == name or metric.endswith(f"_{name}") for name in ERRORS)


def metric_path(name: str) -> str:
    """
    Where the `evaluate` module of a metric lies, for `evaluate.load(metric_path("ece"))`.

    Args:
        name (`str`): One of `METRIC_NAMES`. "top_k_accuracy" takes k for its configuration, as a string, else it is 2.

    Returns:
        `str`, the absolute path of the module's file.

    Raises:
        ValueError: If there is no such metric; the message lists those there are.
    """
    if name not in METRIC_NAMES:
        _, k = _module_and_k(name)
        hint = "" if k is None else f' Write `evaluate.load(metric_path("top_k_accuracy"), "{k}")`.'
        raise ValueError(f'`name` must be one of {", ".join(METRIC_NAMES)}; got "{name}".{hint}')
    return str(Path(__file__).resolve().parent / "modules" / name / f"{name}.py")


def check_metric_name(argument: str, name: str) -> None:
    """
    Raises:
        `ValueError`: if a metric that a command names by `argument` is none, nor the path of a script.
    """
    if _module_and_k(name)[0] in METRIC_NAMES or Path(name).exists():
        return
    near = get_close_matches(name, METRIC_NAMES, n=1)
    meant = f" (did you mean {near[0]}?)" if near else ""
    raise ValueError(
        f"{argument} {name}: there is no such metric{meant}. Choose from {_listed(METRIC_NAMES)}, or give the path of an `evaluate` script."
    )


def load_metric(
    metric: str | evaluate.EvaluationModule | evaluate.CombinedEvaluations, *, config_name: str | None = None
) -> evaluate.EvaluationModule | evaluate.CombinedEvaluations:
    """
    Loads an `evaluate` module without the Hub, safe to use in parallel processes.

    The module keeps its examples in memory under an experiment id of its own, so that processes that evaluate at the
    same time share no file and wait for no lock in `compute`.

    Args:
        metric (`str` or `evaluate.EvaluationModule`):
            A name of `METRIC_NAMES`, or `top_<k>_accuracy` for any k from 1 on ("top_k_accuracy" is k = 2), the path of an
            `evaluate` script or of the folder of its name, or a module that is loaded already, which is returned as it is.
        config_name (`str`, *optional*):
            The module's configuration: "multilabel" for "nll" of several labels an example, k for "top_k_accuracy".

    Returns:
        `evaluate.EvaluationModule`

    Raises:
        ValueError: If `metric` is neither a name nor an existing path. Hub ids are not looked up: load such a module
            with `evaluate.load` and pass it. Also if `top_<k>_accuracy` is given a `config_name`.
        TypeError: If `metric` is something else.
    """
    import evaluate

    if isinstance(metric, (evaluate.EvaluationModule, evaluate.CombinedEvaluations)):
        return metric
    if not isinstance(metric, str):
        raise TypeError(f"`metric` must be a name, a path or an `evaluate` module, got {type(metric).__name__}.")
    name, k = _module_and_k(metric)
    if k is not None:
        if config_name is not None:
            raise ValueError(f'"{metric}" says k already: leave out `config_name`, got "{config_name}".')
        config_name = str(k)
    if name in METRIC_NAMES:
        path = metric_path(name)
    elif Path(metric).exists():
        path = str(Path(metric).resolve())
    else:
        raise ValueError(
            f'`metric` must be one of {_listed(METRIC_NAMES)}, or the path of an `evaluate` script; got "{metric}". '
            f'For a metric of the Hub, pass the module itself: `evaluate.load("{metric}")`.'
        )
    return evaluate.load(path, config_name=config_name, experiment_id=uuid.uuid4().hex, keep_in_memory=True)


def make_compute_metrics(
    problem_type: str, *, metrics: Sequence[Metric] | None = None, num_labels: int | None = None
) -> ComputeMetrics:
    """
    Makes the function that `Trainer(compute_metrics=...)` calls after each evaluation.

    Logits become hard predictions (`argmax`; `sigmoid > 0.5` for several labels; the value itself for regression) and,
    for `top_<k>_accuracy`, "nll", "brier" and the calibration errors, probabilities (`softmax` or `sigmoid`, in float64). All
    modules are loaded here, once.

    Args:
        problem_type (`str`):
            As in the model's config: "single_label_classification" (logits `(N, C)`, labels `(N,)` integer),
            "multi_label_classification" (logits and labels `(N, C)`, labels 0 or 1) or "regression" (logits `(N,)` or
            `(N, 1)`, labels alike). Where a model returns a tuple, its first element is the logits.
        metrics (sequence, *optional*):
            Names of `METRIC_NAMES`, `top_<k>_accuracy` for any k from 1 on, paths of `evaluate` scripts, `evaluate` modules
            of your own (both get the hard predictions), and functions from `EvalPrediction` to a dict (these get it untouched). Defaults to
            `DEFAULT_METRICS[problem_type]`.
        num_labels (`int`, *optional*):
            The number of classes, when it is known: a k that is too large for it is then refused here, and not when the
            first evaluation is over.

    Returns:
        A function from [`~transformers.EvalPrediction`] to `dict[str, float]`. It raises a `ValueError` if two metrics
        return the same key or one returns something else than a number.

    Raises:
        ValueError: If `problem_type` is unknown, or a named metric does not fit it or `num_labels`.
    """
    if problem_type not in METRICS_OF_PROBLEM:
        raise ValueError(f'`problem_type` must be one of {", ".join(METRICS_OF_PROBLEM)}; got "{problem_type}".')
    if isinstance(metrics, str):
        raise ValueError(f'`metrics` must be a sequence of metrics, got the string "{metrics}"; write ["{metrics}"].')
    chosen = DEFAULT_METRICS[problem_type] if metrics is None else metrics
    computations = [_computation(problem_type, metric, num_labels) for metric in chosen]

    def compute_metrics(eval_prediction: EvalPrediction) -> dict[str, float]:
        results: dict[str, float] = {}
        inputs = _Inputs(problem_type, eval_prediction)
        for compute in computations:
            for key, value in compute(inputs).items():
                if key in results:
                    raise ValueError(f'Two of `metrics` return the key "{key}"; leave one of them out.')
                results[key] = _as_float(key, value)
        return results

    return compute_metrics


class _Inputs:
    """What metrics read off an `EvalPrediction`, each made once, by the first that needs it."""

    def __init__(self, problem_type: str, eval_prediction: EvalPrediction):
        self.problem_type, self.eval_prediction = problem_type, eval_prediction

    @cached_property
    def logits(self) -> NDArray[np.float64]:
        """Finite, `(N, C)`; the values `(N,)` of a regression."""
        return _finite_logits(self.problem_type, logits_of(self.eval_prediction))

    @cached_property
    def hard_predictions(self) -> NDArray:
        return _hard_predictions(self.problem_type, self.logits)

    @cached_property
    def references(self) -> NDArray:
        return _references(self.problem_type, self.eval_prediction)

    # What the package's own metrics take without another look.

    @cached_property
    def decided(self) -> Checked:
        check_same_shape("predictions", self.hard_predictions, self.references)
        return Checked(self.hard_predictions, self.references, _DECIDED[self.problem_type])

    @cached_property
    def probabilities(self) -> Checked:
        several = self.problem_type == MULTI_LABEL
        if not several:
            check_labels("references", self.references, n_classes=self.logits.shape[1])
        values = (sigmoid_of_finite if several else softmax_of_finite)(self.logits)
        check_same_shape("probabilities", values, self.references)
        return Checked(values, self.references, "unit interval" if several else "probabilities")


def _computation(problem_type: str, metric: Metric, num_labels: int | None) -> Callable[[_Inputs], Mapping[str, Any]]:
    import evaluate

    if not isinstance(metric, (str, evaluate.EvaluationModule, evaluate.CombinedEvaluations)):
        if not callable(metric):
            raise ValueError(
                "Each of `metrics` must be a name, a path, an `evaluate` module or a function of an EvalPrediction, got "
                f"{metric!r}."
            )
        return lambda inputs: metric(inputs.eval_prediction)

    name, k = _module_and_k(metric) if isinstance(metric, str) else (None, None)
    if name in METRIC_NAMES and name not in METRICS_OF_PROBLEM[problem_type]:
        raise ValueError(
            f'`metrics` holds "{metric}", which is not defined for problem_type="{problem_type}"; choose from '
            f"{_listed(METRICS_OF_PROBLEM[problem_type])}."
        )
    if name == "top_k_accuracy" and num_labels is not None:
        check_top_k(DEFAULT_TOP_K if k is None else k, num_labels)
    of_several_labels = metric == "nll" and problem_type == MULTI_LABEL
    module = load_metric(metric, config_name="multilabel" if of_several_labels else None)
    # The package's own formulas take the arrays as they are, which `compute` would carry through lists of Arrow.
    if name not in METRIC_NAMES:
        return lambda inputs: module.compute(predictions=inputs.hard_predictions, references=inputs.references)

    def compute(inputs: _Inputs) -> Mapping[str, Any]:
        predictions = inputs.probabilities if name in PROBABILITY_METRICS else inputs.decided
        return module._compute(predictions=predictions, references=inputs.references)

    return compute


def _module_and_k(name: str) -> tuple[str, int | None]:
    """The module of a name, which is its own but for `top_<k>_accuracy`, and k."""
    match = _TOP_K.fullmatch(name)
    return (name, None) if match is None else ("top_k_accuracy", int(match[1]))


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names).replace("top_k_accuracy", "top_<k>_accuracy (such as top_5_accuracy)")


def logits_of(eval_prediction: EvalPrediction | PredictionOutput) -> NDArray:
    predictions = eval_prediction.predictions
    return np.asarray(predictions[0] if isinstance(predictions, tuple) else predictions)


def _finite_logits(problem_type: str, logits: NDArray) -> NDArray[np.float64]:
    if problem_type == REGRESSION:
        return check_finite("predictions", _column(logits), ndim=1)
    return check_finite("predictions", logits, ndim=2)


def _hard_predictions(problem_type: str, logits: NDArray[np.float64]) -> NDArray:
    if problem_type == REGRESSION:
        return logits
    # A logit above 0 is a probability above 0.5.
    return (logits > 0.0).astype(np.int64) if problem_type == MULTI_LABEL else logits.argmax(axis=1)


def _references(problem_type: str, eval_prediction: EvalPrediction) -> NDArray:
    # Checked here, for `evaluate` cuts floats down to integers where a module declares integers.
    if problem_type == REGRESSION:
        return check_scores("label_ids", _column(np.asarray(eval_prediction.label_ids)))
    if problem_type == MULTI_LABEL:
        return check_multi_hot("label_ids", eval_prediction.label_ids)
    return check_labels("label_ids", eval_prediction.label_ids)


def _column(values: NDArray) -> NDArray:
    """`(N, 1)`, what a head with one output returns, is `(N,)`."""
    return values[:, 0] if values.ndim == 2 and values.shape[1] == 1 else values


def _as_float(key: str, value: Any) -> float:
    if np.ndim(value) != 0:
        raise ValueError(
            f'The metric "{key}" must be one number, got {value!r}. A Trainer logs numbers only: pass a function that '
            "calls the metric and names its parts."
        )
    return float(value)
