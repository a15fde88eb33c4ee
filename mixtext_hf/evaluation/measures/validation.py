"""What may enter a metric: every check of `predictions`, `probabilities` and `references`, and no formula.

A metric over wrong inputs is a plausible wrong number, so nothing here repairs: a value that cannot be right is
refused, with its name and the remedy.
"""

from dataclasses import dataclass
from typing import Any, Literal, TypeGuard

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mixtext_hf._numbers import is_index


# A float32 softmax over a few thousand classes is off by some 1e-6; a row that is off by more than this is no
# distribution (logits, or a softmax taken in half precision).
ROW_SUM_TOLERANCE = 1e-3
# A float32 mean of float32 probabilities can leave [0, 1] by a few units in the last place.
RANGE_TOLERANCE = 1e-6


_DIVERGED = "A model that returns NaN or inf has diverged: lower the learning rate, or leave half precision."


def check_finite(
    name: str, values: ArrayLike, ndim: int, shape: str | None = None, *, remedy: str = _DIVERGED
) -> NDArray[np.float64]:
    """
    Real numbers, none of them NaN or infinite.

    Args:
        name (`str`): The argument's name, for the message.
        values (array-like of `ndim` dimensions): The numbers.
        ndim (`int`): The number of dimensions that is expected.
        shape (`str`, *optional*): What the dimensions are, for the message: "(N,)" or "(N, C)" unless said otherwise.
        remedy (`str`, *optional*): What to do, for the message; for what a model returns if not given.

    Returns:
        `np.ndarray` of dtype float64 and the shape of `values`.

    Raises:
        ValueError: If the number of dimensions is another, if there is no example, or if a value is not finite.
    """
    array = np.asarray(values, dtype=np.float64)
    _check_shape(name, array, ndim, shape)
    if not np.isfinite(array).all():
        where = tuple(int(i) for i in np.argwhere(~np.isfinite(array))[0])
        raise ValueError(
            f"`{name}` must be finite, but `{name}[{', '.join(map(str, where))}]` is {array[where]}. {remedy}"
        )
    return array


_HIDDEN = "NaN marks an example whose label is hidden: evaluate on a split that has labels."


def check_scores(name: str, values: ArrayLike) -> NDArray[np.float64]:
    """
    The scores `(N,)` of a regression that predictions are compared with: finite, as float64.

    Args:
        name (`str`): The argument's name, for the message.
        values (array-like of shape `(N,)`): The scores.

    Raises:
        ValueError: As [`check_finite`]; a hidden score is NaN.
    """
    return check_finite(name, values, ndim=1, remedy=_HIDDEN)


def check_labels(name: str, values: ArrayLike, n_classes: int | None = None) -> NDArray[np.int64]:
    """
    Class labels.

    Args:
        name (`str`): The argument's name, for the message.
        values (array-like of shape `(N,)`, integer or bool): Labels in `0 .. n_classes - 1`.
        n_classes (`int`, *optional*): The number of classes, when it is known.

    Returns:
        `np.ndarray` of shape `(N,)`, dtype int64.

    Raises:
        ValueError: If the labels are not integers, are negative, or are not below `n_classes`.
    """
    array = np.asarray(values)
    _check_shape(name, array, 1)
    if array.dtype.kind not in "iub":
        raise ValueError(
            f"`{name}` must be class labels of an integer dtype, got dtype {array.dtype}. Use `argmax` for logits or "
            "probabilities; numeric targets belong to the regression metrics."
        )
    labels = array.astype(np.int64)
    if labels.min() < 0:
        raise ValueError(
            f"`{name}` must be labels from 0 on, got {labels.min()}. A label of -1 (or -100) marks an example whose "
            "label is hidden, as in GLUE's test sets: evaluate on a split that has labels."
        )
    if n_classes is not None and labels.max() >= n_classes:
        raise ValueError(
            f"`{name}` must be labels in 0..{n_classes - 1}, for there are {n_classes} classes, got {labels.max()}. "
            "Give the model `num_labels` as the data has it."
        )
    return labels


def check_probabilities(values: ArrayLike, name: str = "probabilities") -> NDArray[np.float64]:
    """
    One distribution over the classes a row.

    Args:
        values (array-like of shape `(N, C)`, float): In `[0, 1]`, each row summing to 1 (to 1e-3).
        name (`str`, *optional*, defaults to `"probabilities"`): The argument's name, for the message.

    Returns:
        `np.ndarray` of shape `(N, C)`, dtype float64, in `[0, 1]`; the rows are not rescaled.

    Raises:
        ValueError: If a value is not finite or outside `[0, 1]`, or if a row does not sum to 1.
    """
    probabilities = check_unit_interval(name, values)
    sums = probabilities.sum(axis=1)
    worst = int(np.abs(sums - 1.0).argmax())
    if abs(sums[worst] - 1.0) > ROW_SUM_TOLERANCE:
        raise ValueError(
            f"Every row of `{name}` must sum to 1, but row {worst} sums to {sums[worst]:.6g}. For logits, call "
            "`softmax` in float32 or wider first."
        )
    return probabilities


def check_unit_interval(name: str, values: ArrayLike) -> NDArray[np.float64]:
    """
    Independent probabilities, one a label, as a sigmoid gives them.

    Args:
        name (`str`): The argument's name, for the message.
        values (array-like of shape `(N, C)`, float): In `[0, 1]` (to 1e-6).

    Returns:
        `np.ndarray` of shape `(N, C)`, dtype float64, in `[0, 1]`.

    Raises:
        ValueError: If a value is not finite or outside `[0, 1]`.
    """
    array = check_finite(name, values, ndim=2)
    outside = (array < -RANGE_TOLERANCE) | (array > 1.0 + RANGE_TOLERANCE)
    if outside.any():
        row, column = (int(i) for i in np.argwhere(outside)[0])
        raise ValueError(
            f"`{name}` must lie in [0, 1], but `{name}[{row}, {column}]` is {array[row, column]:.6g}. For logits, call "
            "`softmax` (one label an example) or `sigmoid` (several labels) first."
        )
    return np.clip(array, 0.0, 1.0)


def check_top_k(k: int, n_classes: int) -> None:
    """
    How many of the likeliest classes may hold the label.

    Args:
        k (`int`): The number.
        n_classes (`int`): The number of classes.

    Raises:
        ValueError: If `k` is no whole number from 1 to `n_classes - 1`.
    """
    if not is_index(k) or k < 1:
        raise ValueError(f"`k` must be a whole number from 1 on, got {k!r}. 1 is plain accuracy; ImageNet's is 5.")
    if k >= n_classes:
        raise ValueError(
            f"`k` must be less than the number of classes, got {k} for {n_classes}: top_{k}_accuracy would be 1 whatever "
            "the model says. Take a smaller k, or leave the metric out."
        )


def check_n_bins(n_bins: int) -> None:
    """
    Into how many bins a calibration error puts the examples.

    Args:
        n_bins (`int`): The number.

    Raises:
        ValueError: If `n_bins` is no whole number from 1 on.
    """
    if not is_index(n_bins):
        raise ValueError(f"`n_bins` must be a whole number, got {n_bins!r}. Guo et al. use 15.")
    if n_bins < 1:
        raise ValueError(f"`n_bins` must be at least 1, got {n_bins}. Guo et al. use 15.")


def check_multi_hot(name: str, values: ArrayLike) -> NDArray[np.int64]:
    """
    Several labels an example, as zeros and ones.

    Args:
        name (`str`): The argument's name, for the message.
        values (array-like of shape `(N, C)`): 0 or 1, of any numeric dtype (a Trainer carries them as floats).

    Returns:
        `np.ndarray` of shape `(N, C)`, dtype int64.

    Raises:
        ValueError: If a value is neither 0 nor 1.
    """
    array = check_finite(name, values, ndim=2, remedy=_HIDDEN)
    wrong = (array != 0.0) & (array != 1.0)
    if wrong.any():
        row, column = (int(i) for i in np.argwhere(wrong)[0])
        raise ValueError(
            f"`{name}` must hold only 0 and 1, but `{name}[{row}, {column}]` is {array[row, column]:.6g}. Threshold "
            "probabilities first, for example `probabilities > 0.5`."
        )
    return array.astype(np.int64)


def check_same_shape(name: str, array: NDArray, references: NDArray) -> None:
    """
    Predictions and references speak of the same examples.

    Args:
        name (`str`): What the predictions are called: "predictions" or "probabilities".
        array (`np.ndarray` of shape `(N, ...)`): The predictions.
        references (`np.ndarray` of shape `(N, ...)`): The references.

    Raises:
        ValueError: If the numbers of examples differ, or, where both are `(N, C)`, the numbers of labels.
    """
    if len(array) != len(references):
        raise ValueError(
            f"`{name}` and `references` must have the same length, got {len(array)} and {len(references)}. Pass one "
            "prediction for each reference, in the same order."
        )
    if array.ndim == references.ndim and array.shape != references.shape:
        raise ValueError(
            f"`{name}` and `references` must have the same shape, got {array.shape} and {references.shape}. Both need "
            "one column for each label."
        )


# Predictions and references together

Pair = Literal["labels", "values", "probabilities", "unit interval", "multi-hot"]


@dataclass(frozen=True, eq=False)
class Checked:
    """
    Predictions that were checked together with their references, or are right by the way they were made: every metric of the same
    pair takes them as they are. With other references they are checked as any array.

    Args:
        values (`np.ndarray`): The predictions or probabilities, as the check of a pair returns them.
        references (`np.ndarray`): Their references, likewise; metrics are given this very array.
        kind (`str`): Which check they passed.
        n_classes (`int`, *optional*): The number of classes that labels are below, if that was checked.
    """

    values: NDArray
    references: NDArray
    kind: Pair
    n_classes: int | None = None

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray:
        return np.array(self.values, dtype=dtype) if copy else np.asarray(self.values, dtype=dtype)


def _is_checked(predictions: Any, references: Any, kind: Pair) -> TypeGuard[Checked]:
    return isinstance(predictions, Checked) and predictions.references is references and predictions.kind == kind


def check_label_pair(
    predictions: ArrayLike | Checked, references: ArrayLike, n_classes: int | None = None
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Predicted and true classes, see [`check_labels`], of the same examples."""
    if _is_checked(predictions, references, "labels") and n_classes in (None, predictions.n_classes):
        return predictions.values, predictions.references
    checked = check_labels("predictions", predictions, n_classes), check_labels("references", references, n_classes)
    check_same_shape("predictions", *checked)
    return checked


def check_value_pair(
    predictions: ArrayLike | Checked, references: ArrayLike, at_least: int = 1
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Predicted and true values, see [`check_scores`], of the same examples, of which there are enough."""
    if _is_checked(predictions, references, "values"):
        checked = predictions.values, predictions.references
    else:
        checked = check_finite("predictions", predictions, ndim=1), check_scores("references", references)
        check_same_shape("predictions", *checked)
    if len(checked[0]) < at_least:
        raise ValueError(
            f"`predictions` must hold at least {at_least} examples for a correlation, got {len(checked[0])}."
        )
    return checked


def check_probability_pair(
    probabilities: ArrayLike | Checked, references: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Distributions, see [`check_probabilities`], and the true classes of the same examples."""
    if _is_checked(probabilities, references, "probabilities"):
        return probabilities.values, probabilities.references
    checked = check_probabilities(probabilities)
    labels = check_labels("references", references, n_classes=checked.shape[1])
    check_same_shape("probabilities", checked, labels)
    return checked, labels


def check_unit_interval_pair(
    probabilities: ArrayLike | Checked, references: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Independent probabilities, see [`check_unit_interval`], and the true labels of the same examples."""
    if _is_checked(probabilities, references, "unit interval"):
        return probabilities.values, probabilities.references
    checked = check_unit_interval("probabilities", probabilities)
    labels = check_multi_hot("references", references)
    check_same_shape("probabilities", checked, labels)
    return checked, labels


def check_multi_hot_pair(
    predictions: ArrayLike | Checked, references: ArrayLike
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Predicted and true labels, several an example, see [`check_multi_hot`], of the same examples."""
    if _is_checked(predictions, references, "multi-hot"):
        return predictions.values, predictions.references
    checked = check_multi_hot("predictions", predictions), check_multi_hot("references", references)
    check_same_shape("predictions", *checked)
    return checked


def _check_shape(name: str, array: NDArray, ndim: int, shape: str | None = None) -> None:
    shape = {1: "(N,)", 2: "(N, C)"}[ndim] if shape is None else shape
    if array.ndim != ndim:
        raise ValueError(f"`{name}` must have shape {shape}, got {array.shape}.")
    if array.size == 0:
        raise ValueError(f"`{name}` must hold at least one example, got shape {array.shape}.")
