"""Everything that can be said of a classifier from its logits: one JSON-serialisable dict, for the report and for `report.json`.

numpy in, numbers out: this file knows no model, no file and no picture. Every number is that of a function of `metrics.py`
or `temperature.py`, called on the logits as they are given. What is not defined, such as the accuracy of a bin without
examples, is `None`.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mixtext_hf._numbers import is_number

from . import metrics
from .mistakes import remarks, surest_mistakes
from .temperature import apply_temperature, fit_with_notes
from .validation import (
    Checked,
    check_finite,
    check_labels,
    check_multi_hot,
    check_probability_pair,
    check_same_shape,
    check_top_k,
    check_value_pair,
)


DEFAULT_N_BINS = 15
# A matrix of more classes says little to a reader, and is large as JSON.
MAX_CONFUSION_CLASSES = 100
CONFUSED_PAIRS = 10
# Of the normal distribution, for two-sided intervals of 95 %.
_Z = 1.959963984540054


def usual_top_k(n_classes: int) -> tuple[int, ...]:
    """The k of top-k accuracy that are usual for so many classes: 5 where there are more, else 2; none for two classes."""
    return (5,) if n_classes > 5 else (2,) if n_classes > 2 else ()


def assess_classes(
    logits: ArrayLike,
    references: ArrayLike,
    *,
    label_names: Sequence[str],
    top_k: Sequence[int] | None = None,
    n_bins: int = DEFAULT_N_BINS,
) -> dict[str, Any]:
    """
    Accuracy, calibration and confusions of a classifier with one class an example.

    Args:
        logits (array-like of shape `(N, C)`, finite): Unnormalised log-probabilities.
        references (array-like of shape `(N,)`, integer): True classes in `0 .. C-1`.
        label_names (`Sequence[str]` of length `C`): Names of the classes.
        top_k (`Sequence[int]`, *optional*): Each in `1 .. C-1`; [`usual_top_k`] if not given.
        n_bins (`int`, *optional*, defaults to 15): Bins of the calibration errors.

    Returns:
        `dict[str, Any]`:
            `samples`; `accuracy_interval`, that of Wilson (1927) for 95 %, which takes the examples for independent;
            `metrics` by their names; `calibration` ([`calibration_of`]); `classes`, one dict a class with `name`,
            `support`, `predicted`, `precision`, `recall` and `f1`; `confusion_matrix`, rows are true classes, or `None`
            beyond 100 classes; `most_confused`, the largest entries off its diagonal; `surest_mistakes`
            ([`~mixtext_hf.evaluation.measures.mistakes.surest_mistakes`]); and `remarks`, where it seems to have learnt nothing.

    Raises:
        ValueError: If logits and references do not fit, or a k or `n_bins` is out of range.
    """
    logits = check_finite("logits", logits, ndim=2)
    n_classes = logits.shape[1]
    references = check_labels("references", references, n_classes=n_classes)
    check_same_shape("logits", logits, references)
    if len(label_names) != n_classes:
        raise ValueError(
            f"`label_names` must name every class, got {len(label_names)} names for {n_classes} columns of `logits`."
        )
    # Right by the way they are made: of these no metric has to look again.
    probabilities = Checked(metrics.softmax_of_finite(logits), references, "probabilities")
    predictions = Checked(logits.argmax(axis=1), references, "labels", n_classes)
    matrix = metrics.confusion_matrix(predictions=predictions, references=references, n_classes=n_classes)
    hits = int(np.trace(matrix))
    return {
        "samples": len(references),
        "accuracy_interval": wilson_interval(hits, len(references)),
        "metrics": {
            **_of_decisions(predictions, probabilities, usual_top_k(n_classes) if top_k is None else top_k),
            **_of_probabilities(probabilities, n_bins),
        },
        "calibration": _calibration(probabilities, n_bins),
        "classes": _by_class(matrix, label_names),
        "confusion_matrix": matrix.tolist() if n_classes <= MAX_CONFUSION_CLASSES else None,
        "most_confused": _most_confused(matrix, label_names),
        "surest_mistakes": surest_mistakes(probabilities.values, references, label_names),
        "remarks": remarks(predictions.values, references, label_names),
    }


def recall_by_name(logits: NDArray, references: NDArray, names: Sequence[str]) -> dict[str, float]:
    """
    The recall of each class that examples have, by its name.

    Args:
        logits (`np.ndarray` of shape `(N, C)`): The model's outputs.
        references (`np.ndarray` of shape `(N,)`, integer): True classes, below 0 where they are hidden.
        names (`Sequence[str]` of length `C`): Names of the classes.

    Returns:
        `dict[str, float]`, in the order of `names`; empty where no class is known.
    """
    known = references >= 0
    if not known.any():
        return {}
    recall = metrics.class_recall(
        predictions=logits.argmax(axis=1)[known], references=references[known], n_classes=len(names)
    )
    return {name: float(value) for name, value in zip(names, recall, strict=True) if np.isfinite(value)}


def assess_temperature(
    logits: ArrayLike,
    references: ArrayLike,
    *,
    validation_logits: ArrayLike,
    validation_references: ArrayLike,
    n_bins: int = DEFAULT_N_BINS,
) -> dict[str, Any]:
    """
    Fits a temperature on validation data, and nothing else, and measures what it does to the probabilities of other data
    (Guo et al., 2017, section 4.2). No prediction changes.

    Args:
        logits (array-like of shape `(N, C)`, finite): Of the data that is measured.
        references (array-like of shape `(N,)`, integer): Its true classes.
        validation_logits (array-like of shape `(M, C)`, finite): Of the data that the temperature is fitted on.
        validation_references (array-like of shape `(M,)`, integer): Its true classes.
        n_bins (`int`, *optional*, defaults to 15): Bins of the calibration errors.

    Returns:
        `dict[str, Any]`:
            `value`, the temperature; `notes`, what [`fit_temperature`] warned of; `validation_samples`; and `metrics` and
            `calibration` of the measured data after scaling.

    Raises:
        ValueError: As [`fit_temperature`].
    """
    value, notes = fit_with_notes(validation_logits, validation_references)
    return {
        "value": value,
        "notes": notes,
        "validation_samples": len(np.asarray(validation_references)),
        **at_temperature(logits, references, value, n_bins=n_bins),
    }


def at_temperature(
    logits: ArrayLike, references: ArrayLike, temperature: float, *, n_bins: int = DEFAULT_N_BINS
) -> dict[str, Any]:
    """
    What the probabilities of a classifier come to at a temperature.

    Args:
        logits (array-like of shape `(N, C)`, finite): Of the data that is measured.
        references (array-like of shape `(N,)`, integer): Its true classes.
        temperature (`float`): Above 0.
        n_bins (`int`, *optional*, defaults to 15): Bins of the calibration errors.

    Returns:
        `dict[str, Any]`: `metrics` and `calibration`, those alone that a temperature changes.

    Raises:
        ValueError: As [`~mixtext_hf.evaluation.apply_temperature`].
    """
    scaled = apply_temperature(logits, temperature)
    checked = check_labels("references", references, n_classes=scaled.shape[1])
    check_same_shape("probabilities", scaled, checked)
    probabilities = Checked(scaled, checked, "probabilities")
    return {"metrics": _of_probabilities(probabilities, n_bins), "calibration": _calibration(probabilities, n_bins)}


def assess_several_labels(logits: ArrayLike, references: ArrayLike, *, label_names: Sequence[str]) -> dict[str, Any]:
    """
    The metrics of a classifier with any number of labels an example; a label is predicted where its logit is above 0.

    Args:
        logits (array-like of shape `(N, C)`, finite): One a label.
        references (array-like of shape `(N, C)`): 0 or 1.
        label_names (`Sequence[str]` of length `C`): Names of the labels.

    Returns:
        `dict[str, Any]`: `samples`, `metrics`, and `classes` as [`assess_classes`] has them.
    """
    logits = check_finite("logits", logits, ndim=2)
    labels = check_multi_hot("references", references)
    check_same_shape("logits", logits, labels)
    predictions = (logits > 0).astype(np.int64)
    pair: dict[str, Any] = {"predictions": Checked(predictions, labels, "multi-hot"), "references": labels}
    probabilities = Checked(metrics.sigmoid_of_finite(logits), labels, "unit interval")
    return {
        "samples": len(labels),
        "metrics": {
            "f1_micro": metrics.f1_micro(**pair),
            "f1_macro": metrics.f1_macro(**pair),
            "subset_accuracy": metrics.subset_accuracy(**pair),
            "nll": metrics.multilabel_nll(probabilities=probabilities, references=labels),
        },
        "classes": _class_rows(
            label_names, (predictions * labels).sum(axis=0), labels.sum(axis=0), predictions.sum(axis=0)
        ),
    }


def assess_scores(logits: ArrayLike, references: ArrayLike) -> dict[str, Any]:
    """
    The metrics of a regression model.

    Args:
        logits (array-like of shape `(N,)` or `(N, 1)`, finite): Predicted values.
        references (array-like of shape `(N,)`, finite): True values.

    Returns:
        `dict[str, Any]`: `samples` and `metrics`; a correlation is `None` where predictions or references are constant.
    """
    values = np.asarray(logits)
    values = values[:, 0] if values.ndim == 2 and values.shape[1] == 1 else values
    checked, scores = check_value_pair(values, references)
    pair: dict[str, Any] = {"predictions": Checked(checked, scores, "values"), "references": scores}
    with warnings.catch_warnings():
        # scipy's, of constant input: the correlation is then nan, and None here.
        warnings.simplefilter("ignore", category=RuntimeWarning)
        correlations = {"pearson": metrics.pearson(**pair), "spearman": metrics.spearman(**pair)}
    return {
        "samples": len(values),
        "metrics": {
            **{name: _number(value) for name, value in correlations.items()},
            "mse": metrics.mean_squared_error(**pair),
        },
    }


def assess_ood(logits: ArrayLike, ood_logits: ArrayLike, *, temperature: float | None = None) -> dict[str, Any]:
    """
    Whether the largest probability tells data of the model's task from other data (Hendrycks & Gimpel, ICLR 2017).

    Args:
        logits (array-like of shape `(N, C)`, finite): Of data of the task.
        ood_logits (array-like of shape `(M, C)`, finite): Of other data.
        temperature (`float`, *optional*): To divide both by, for `auroc_scaled`.

    Returns:
        `dict[str, Any]`:
            `samples` of the other data; `auroc` ([`~mixtext_hf.evaluation.measures.metrics.auroc`]); `auroc_scaled` or `None`;
            `fpr_at_95_tpr`, the share of the other data that is kept where the threshold keeps 95 % of the task's; and
            `mean_confidence` and `mean_confidence_ood`.
    """
    inside, outside = (metrics.softmax(values).max(axis=1) for values in (logits, ood_logits))
    scaled = None
    if temperature is not None:
        scaled = [apply_temperature(values, temperature).max(axis=1) for values in (logits, ood_logits)]
    # The largest threshold that keeps at least 95 % of the task's examples.
    threshold = np.sort(inside)[::-1][math.ceil(0.95 * len(inside)) - 1]
    return {
        "samples": len(outside),
        "auroc": metrics.auroc(in_distribution=inside, out_of_distribution=outside),
        "auroc_scaled": None
        if scaled is None
        else metrics.auroc(in_distribution=scaled[0], out_of_distribution=scaled[1]),
        "fpr_at_95_tpr": float(np.mean(outside >= threshold)),
        "mean_confidence": float(inside.mean()),
        "mean_confidence_ood": float(outside.mean()),
    }


def calibration_of(
    probabilities: NDArray[np.float64], references: NDArray[np.int64], n_bins: int = DEFAULT_N_BINS
) -> dict[str, Any]:
    """
    Mean confidence, how much it is above the accuracy, and the bins of the reliability diagram.

    Args:
        probabilities (`np.ndarray` of shape `(N, C)`, float): Rows sum to 1.
        references (`np.ndarray` of shape `(N,)`, integer): True classes.
        n_bins (`int`, *optional*, defaults to 15): Bins of equal width.

    Returns:
        `dict[str, Any]`:
            `mean_confidence`; `overconfidence`, mean confidence minus accuracy, negative for a model that is not confident
            enough; and `bins` with `edges`, `counts`, `accuracy` and `confidence` as
            [`~mixtext_hf.evaluation.measures.metrics.ReliabilityBins`] has them.
    """
    values, labels = check_probability_pair(probabilities, references)
    return _calibration(Checked(values, labels, "probabilities"), n_bins)


def _calibration(pair: Checked, n_bins: int) -> dict[str, Any]:
    probabilities, references = pair.values, pair.references
    bins = metrics.reliability_bins(probabilities=pair, references=references, n_bins=n_bins)
    confidence = float(probabilities.max(axis=1).mean())
    hits = float(np.mean(probabilities.argmax(axis=1) == references))
    return {
        "mean_confidence": confidence,
        "overconfidence": confidence - hits,
        "bins": {
            "edges": bins.edges.tolist(),
            "counts": bins.counts.tolist(),
            "accuracy": [_number(value) for value in bins.accuracy],
            "confidence": [_number(value) for value in bins.confidence],
        },
    }


def memorisation_history(log_history: Sequence[Mapping[str, Any]]) -> list[dict[str, float]]:
    """
    What a training with wrong labels logged of their memorisation, in the order of its epochs.

    Args:
        log_history (`Sequence[Mapping]`): `trainer_state.json`'s, which may be anybody's: entries are taken as they are
            found, and values that are no finite numbers are left out.

    Returns:
        `list[dict[str, float]]`: `epoch` and those of `noise_memorised`, `noise_recovered`, `noise_accuracy_on_right` and
        `eval_accuracy` that were logged then; empty where nothing was logged of wrong labels.
    """
    by_epoch: dict[float, dict[str, float]] = {}
    for entry in log_history:
        epoch = _finite(entry.get("epoch")) if isinstance(entry, Mapping) else None
        found = {
            name: value for name in MEMORISED if epoch is not None and (value := _finite(entry.get(name))) is not None
        }
        if epoch is not None and found:
            by_epoch.setdefault(epoch, {"epoch": epoch}).update(found)
    rows = [by_epoch[epoch] for epoch in sorted(by_epoch)]
    return rows if any(name.startswith("noise_") for row in rows for name in row) else []


MEMORISED = ("noise_memorised", "noise_recovered", "noise_accuracy_on_right", "eval_accuracy")


def wilson_interval(hits: int, total: int) -> list[float]:
    """The 95 % interval of a share (Wilson, 1927, JASA 22): `[low, high]`, for independent examples."""
    share, z2 = hits / total, _Z**2
    centre = (share + z2 / (2 * total)) / (1 + z2 / total)
    half = _Z / (1 + z2 / total) * math.sqrt(share * (1 - share) / total + z2 / (4 * total**2))
    # At a share of 0 or 1 the end is that share, up to rounding.
    return [max(0.0, min(centre - half, share)), min(1.0, max(centre + half, share))]


def _of_decisions(predictions: Checked, probabilities: Checked, top_k: Sequence[int]) -> dict[str, float]:
    for k in top_k:
        check_top_k(k, probabilities.values.shape[1])
    pair: dict[str, Any] = {"predictions": predictions, "references": predictions.references}
    return {
        "accuracy": metrics.accuracy(**pair),
        **{
            f"top_{k}_accuracy": metrics.top_k_accuracy(
                probabilities=probabilities, references=probabilities.references, k=k
            )
            for k in top_k
        },
        "balanced_accuracy": metrics.balanced_accuracy(**pair),
        "macro_f1": metrics.macro_f1(**pair),
        "matthews_correlation": metrics.matthews_correlation(**pair),
    }


def _of_probabilities(probabilities: Checked, n_bins: int) -> dict[str, float]:
    pair: dict[str, Any] = {"probabilities": probabilities, "references": probabilities.references}
    return {
        "nll": metrics.negative_log_likelihood(**pair),
        "brier": metrics.brier_score(**pair),
        "ece": metrics.expected_calibration_error(**pair, n_bins=n_bins),
        "ece_equal_mass": metrics.ece_equal_mass(**pair, n_bins=n_bins),
        "classwise_ece": metrics.classwise_ece(**pair, n_bins=n_bins),
        "mce": metrics.maximum_calibration_error(**pair, n_bins=n_bins),
    }


def _by_class(matrix: NDArray[np.int64], names: Sequence[str]) -> list[dict[str, Any]]:
    return _class_rows(names, np.diag(matrix), matrix.sum(axis=1), matrix.sum(axis=0))


def _class_rows(names: Sequence[str], hits: NDArray, support: NDArray, predicted: NDArray) -> list[dict[str, Any]]:
    return [
        {
            "name": name,
            "support": int(true),
            "predicted": int(said),
            "precision": float(hit / said) if said else None,
            "recall": float(hit / true) if true else None,
            # Of a class that is neither true nor predicted nothing can be said.
            "f1": float(2 * hit / (true + said)) if true + said else None,
        }
        for name, hit, true, said in zip(names, hits, support, predicted, strict=True)
    ]


def _most_confused(matrix: NDArray[np.int64], names: Sequence[str]) -> list[dict[str, Any]]:
    off = matrix.copy()
    np.fill_diagonal(off, 0)
    # Stable: of equal counts the pair that comes first.
    largest = np.argsort(-off, axis=None, kind="stable")[:CONFUSED_PAIRS]
    pairs = [divmod(int(place), off.shape[1]) for place in largest if off.flat[place] > 0]
    return [
        {
            "true": names[true],
            "predicted": names[said],
            "count": int(off[true, said]),
            "share_of_true": float(off[true, said] / matrix[true].sum()),
        }
        for true, said in pairs
    ]


def _number(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _finite(value: Any) -> float | None:
    return float(value) if is_number(value) else None
