"""Every number that is reported, each formula once: numpy in, a Python float out (or the counts of a table).

The `evaluate` modules, the Trainer's `compute_metrics` and the plots call these functions and hold no formula of their
own. This file knows no model, no trainer and no `evaluate`. It is long so that every formula is found in one place.

All metrics take keyword arguments, in `evaluate`'s order `(predictions, references)`, and raise a `ValueError` that
names the argument when a value cannot be right (see `validation.py`): other lengths, no example, NaN or inf, labels out
of range, rows of probabilities that do not sum to 1. Several metrics of one pair look at it once where it comes as
[`Checked`](validation.py).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .validation import (
    check_finite,
    check_label_pair,
    check_multi_hot_pair,
    check_n_bins,
    check_probability_pair,
    check_top_k,
    check_unit_interval_pair,
    check_value_pair,
)


# Of `top_k_accuracy` where nobody says; also scikit-learn's.
DEFAULT_TOP_K = 2


# From logits to probabilities


def softmax(logits: ArrayLike) -> NDArray[np.float64]:
    """
    Softmax over the last axis, in float64, so that no row is off by more than 1e-15 whatever the dtype of the model.

    Args:
        logits (array-like of shape `(N, C)`, finite): Unnormalised log-probabilities.

    Returns:
        `np.ndarray` of shape `(N, C)`, dtype float64, in `[0, 1]`, each row summing to 1.
    """
    return softmax_of_finite(check_finite("logits", logits, ndim=2))


def softmax_of_finite(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    """[`softmax`] of logits that were checked."""
    # The maximum leaves the quotient as it is and keeps `exp` from overflowing.
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    return exponentials / exponentials.sum(axis=1, keepdims=True)


def sigmoid(logits: ArrayLike) -> NDArray[np.float64]:
    """
    Logistic function of every logit, in float64.

    Args:
        logits (array-like of shape `(N, C)`, finite): One logit for each label.

    Returns:
        `np.ndarray` of shape `(N, C)`, dtype float64, in `[0, 1]`; the rows need not sum to 1.
    """
    return sigmoid_of_finite(check_finite("logits", logits, ndim=2))


def sigmoid_of_finite(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    """[`sigmoid`] of logits that were checked."""
    from scipy.special import expit

    return expit(logits)


# One label an example


def accuracy(*, predictions: ArrayLike, references: ArrayLike) -> float:
    """
    Share of the examples whose prediction is the reference.

    Args:
        predictions (array-like of shape `(N,)`, integer): Predicted classes.
        references (array-like of shape `(N,)`, integer): True classes.

    Returns:
        `float` in `[0, 1]`.
    """
    predictions, references = check_label_pair(predictions, references)
    return float(np.mean(predictions == references))


def _pair_of_classes(
    predictions: ArrayLike, references: ArrayLike, n_classes: int | None
) -> tuple[NDArray[np.int64], NDArray[np.int64], int]:
    """The classes, checked, and how many there are: one more than the highest that occurs where nobody says it."""
    if n_classes is not None and n_classes < 1:
        raise ValueError(
            f"`n_classes` must be at least 1, got {n_classes}. Leave it out to count the classes that occur."
        )
    predictions, references = check_label_pair(predictions, references, n_classes)
    count = int(max(predictions.max(), references.max())) + 1 if n_classes is None else n_classes
    return predictions, references, count


def class_recall(
    *, predictions: ArrayLike, references: ArrayLike, n_classes: int | None = None
) -> NDArray[np.float64]:
    """
    Recall of each class: the share of its examples that are predicted as it.

    Args:
        predictions (array-like of shape `(N,)`, integer): Predicted classes.
        references (array-like of shape `(N,)`, integer): True classes.
        n_classes (`int`, *optional*): The number of classes `C`; without it, one more than the highest class that occurs in either.

    Returns:
        `np.ndarray` of shape `(C,)`, dtype float64, in `[0, 1]`; nan for a class that no example has.

    Raises:
        ValueError: If `n_classes` is below 1 or a label is not below it.
    """
    predictions, references, n_classes = _pair_of_classes(predictions, references, n_classes)
    support = np.bincount(references, minlength=n_classes)
    hits = np.bincount(references[predictions == references], minlength=n_classes)
    recall = np.full(n_classes, np.nan)
    recall[support > 0] = hits[support > 0] / support[support > 0]
    return recall


def balanced_accuracy(*, predictions: ArrayLike, references: ArrayLike) -> float:
    """
    Unweighted mean of the recall of each class that occurs in the references, as scikit-learn's: the accuracy where all of them are
    equally frequent.

    Args:
        predictions (array-like of shape `(N,)`, integer): Predicted classes.
        references (array-like of shape `(N,)`, integer): True classes.

    Returns:
        `float` in `[0, 1]`.
    """
    return float(np.nanmean(class_recall(predictions=predictions, references=references)))


def macro_f1(*, predictions: ArrayLike, references: ArrayLike) -> float:
    """
    Unweighted mean of the F1 of each class.

    The mean runs over the classes that occur in the references or in the predictions, as scikit-learn's does by
    default: a class that occurs in neither has no F1. A class whose precision or recall is undefined counts 0.

    Args:
        predictions (array-like of shape `(N,)`, integer): Predicted classes.
        references (array-like of shape `(N,)`, integer): True classes.

    Returns:
        `float` in `[0, 1]`.
    """
    from sklearn.metrics import f1_score

    predictions, references = check_label_pair(predictions, references)
    return float(f1_score(references, predictions, average="macro", zero_division=0))


def binary_f1(*, predictions: ArrayLike, references: ArrayLike) -> float:
    """
    F1 of class 1 of two classes, what GLUE calls "f1" (MRPC, QQP); 0 where class 1 occurs in neither.

    Args:
        predictions (array-like of shape `(N,)`, integer): Predicted classes, 0 or 1.
        references (array-like of shape `(N,)`, integer): True classes, 0 or 1.

    Returns:
        `float` in `[0, 1]`.

    Raises:
        ValueError: If a label is above 1; `macro_f1` is for more classes.
    """
    from sklearn.metrics import f1_score

    predictions, references = check_label_pair(predictions, references, n_classes=2)
    return float(f1_score(references, predictions, average="binary", pos_label=1, zero_division=0))


def matthews_correlation(*, predictions: ArrayLike, references: ArrayLike) -> float:
    """
    Matthews' correlation coefficient (Matthews, 1975), for any number of classes (Gorodkin, 2004); CoLA's metric.

    Args:
        predictions (array-like of shape `(N,)`, integer): Predicted classes.
        references (array-like of shape `(N,)`, integer): True classes.

    Returns:
        `float` in `[-1, 1]`; 0 where predictions or references are constant, as in scikit-learn.
    """
    from sklearn.metrics import matthews_corrcoef

    predictions, references = check_label_pair(predictions, references)
    return float(matthews_corrcoef(references, predictions))


def confusion_matrix(
    *, predictions: ArrayLike, references: ArrayLike, n_classes: int | None = None
) -> NDArray[np.int64]:
    """
    How often each class was taken for each.

    Args:
        predictions (array-like of shape `(N,)`, integer): Predicted classes.
        references (array-like of shape `(N,)`, integer): True classes.
        n_classes (`int`, *optional*):
            The number of classes `C`, so that the matrices of several runs have one shape. Without it, one more than the
            highest class that occurs in either.

    Returns:
        `np.ndarray` of shape `(C, C)`, dtype int64: entry `[i, j]` counts the examples of class `i` that were predicted as
        `j`, scikit-learn's orientation. A class that does not occur has a row (or column) of zeros.

    Raises:
        ValueError: If `n_classes` is below 1 or a label is not below it.
    """
    from sklearn.metrics import confusion_matrix

    predictions, references, n_classes = _pair_of_classes(predictions, references, n_classes)
    return confusion_matrix(references, predictions, labels=np.arange(n_classes)).astype(np.int64)


# Regression


def pearson(*, predictions: ArrayLike, references: ArrayLike) -> float:
    """
    Pearson's correlation, STS-B's first metric.

    Args:
        predictions (array-like of shape `(N,)`, float): Predicted values, `N >= 2`.
        references (array-like of shape `(N,)`, float): True values.

    Returns:
        `float` in `[-1, 1]`, or **nan** where predictions or references are constant: the correlation is then not
        defined, and scipy, whose convention this is, warns. A nan tells a collapsed model from an uncorrelated one.
    """
    from scipy.stats import pearsonr

    predictions, references = check_value_pair(predictions, references, at_least=2)
    return float(pearsonr(predictions, references).statistic)


def spearman(*, predictions: ArrayLike, references: ArrayLike) -> float:
    """
    Spearman's rank correlation, STS-B's second metric; ties share their mean rank.

    Args:
        predictions (array-like of shape `(N,)`, float): Predicted values, `N >= 2`.
        references (array-like of shape `(N,)`, float): True values.

    Returns:
        `float` in `[-1, 1]`, or **nan** where predictions or references are constant, as for `pearson`.
    """
    from scipy.stats import spearmanr

    predictions, references = check_value_pair(predictions, references, at_least=2)
    return float(spearmanr(predictions, references).statistic)


def mean_squared_error(*, predictions: ArrayLike, references: ArrayLike) -> float:
    """
    Mean of the squared errors.

    Args:
        predictions (array-like of shape `(N,)`, float): Predicted values.
        references (array-like of shape `(N,)`, float): True values.

    Returns:
        `float` from 0 on, in the square of the references' unit.
    """
    predictions, references = check_value_pair(predictions, references)
    return float(np.mean(np.square(predictions - references)))


# Probabilities and calibration


def top_k_accuracy(*, probabilities: ArrayLike, references: ArrayLike, k: int = DEFAULT_TOP_K) -> float:
    """
    Share of the examples whose reference is among the `k` likeliest classes (1 - top-k error, Russakovsky et al., 2015,
    section 4.1).

    Of equal probabilities the lower class comes first, as with `argmax`, so that `k=1` is `accuracy` of the `argmax`.
    (scikit-learn's `top_k_accuracy_score` puts the higher class first; without ties both are the same.)

    Args:
        probabilities (array-like of shape `(N, C)`, float): In `[0, 1]`, rows summing to 1 (to 1e-3).
        references (array-like of shape `(N,)`, integer): True classes in `0 .. C-1`.
        k (`int`, *optional*, defaults to 2): In `1 .. C-1`.

    Returns:
        `float` in `[0, 1]`.

    Raises:
        ValueError: If `k` is below 1, or not below the number of classes, where every example would count as right.
    """
    probabilities, references = check_probability_pair(probabilities, references)
    n_classes = probabilities.shape[1]
    check_top_k(k, n_classes)
    of_reference = probabilities[np.arange(len(references)), references][:, None]
    is_earlier = np.arange(n_classes) < references[:, None]
    ahead = (probabilities > of_reference) | ((probabilities == of_reference) & is_earlier)
    return float(np.mean(ahead.sum(axis=1) < k))


def negative_log_likelihood(*, probabilities: ArrayLike, references: ArrayLike) -> float:
    """
    Mean of `-ln p(reference)`, in nats.

    Probabilities are clipped at the smallest normal float64 (2.2e-308), so that one example costs at most 708.4 nats:
    far enough out that a float64 `softmax` of a confidently wrong model still counts in full.

    Args:
        probabilities (array-like of shape `(N, C)`, float): In `[0, 1]`, rows summing to 1 (to 1e-3).
        references (array-like of shape `(N,)`, integer): True classes in `0 .. C-1`.

    Returns:
        `float` in `[0, 708.4]`.
    """
    probabilities, references = check_probability_pair(probabilities, references)
    of_reference = probabilities[np.arange(len(references)), references]
    # `0.0 -` rather than a minus sign: certain and right is 0.0, not -0.0.
    return float(0.0 - np.mean(np.log(np.maximum(of_reference, np.finfo(np.float64).tiny))))


def brier_score(*, probabilities: ArrayLike, references: ArrayLike) -> float:
    """
    Brier score (Brier, 1950, eq. 2): the squared error of the probabilities, summed over the classes and averaged over
    the examples. For two classes it is twice what scikit-learn's `brier_score_loss` gives for class 1.

    Args:
        probabilities (array-like of shape `(N, C)`, float): In `[0, 1]`, rows summing to 1 (to 1e-3).
        references (array-like of shape `(N,)`, integer): True classes in `0 .. C-1`.

    Returns:
        `float` in `[0, 2]`: 0 for certain and right, 2 for certain and wrong.
    """
    probabilities, references = check_probability_pair(probabilities, references)
    errors = probabilities.copy()
    errors[np.arange(len(references)), references] -= 1.0
    return float(np.mean(np.sum(np.square(errors), axis=1)))


@dataclass(frozen=True)
class ReliabilityBins:
    """
    Accuracy and mean confidence of the examples, binned by their confidence (Guo et al., 2017, section 2).

    Attributes:
        edges (`np.ndarray` of shape `(n_bins + 1,)`, float64): Bin `b` is `(edges[b], edges[b + 1]]`; bin 0 holds 0 too.
        counts (`np.ndarray` of shape `(n_bins,)`, int64): Examples in each bin.
        accuracy (`np.ndarray` of shape `(n_bins,)`, float64): In `[0, 1]`; nan where the bin is empty.
        confidence (`np.ndarray` of shape `(n_bins,)`, float64): In `[0, 1]`; nan where the bin is empty.
    """

    edges: NDArray[np.float64]
    counts: NDArray[np.int64]
    accuracy: NDArray[np.float64]
    confidence: NDArray[np.float64]


def reliability_bins(*, probabilities: ArrayLike, references: ArrayLike, n_bins: int = 15) -> ReliabilityBins:
    """
    Bins the examples by confidence, the largest probability of a row (Guo et al., 2017, "On Calibration of Modern
    Neural Networks", section 2). Of equal largest probabilities the first class is the prediction, as with `argmax`.

    Args:
        probabilities (array-like of shape `(N, C)`, float): In `[0, 1]`, rows summing to 1 (to 1e-3).
        references (array-like of shape `(N,)`, integer): True classes in `0 .. C-1`.
        n_bins (`int`, *optional*, defaults to 15): Number of bins of equal width, closed on the right.

    Returns:
        [`ReliabilityBins`]

    Raises:
        ValueError: If `n_bins` is below 1.
    """
    check_n_bins(n_bins)
    probabilities, references = check_probability_pair(probabilities, references)
    confidences = probabilities.max(axis=1)
    hits = probabilities.argmax(axis=1) == references

    edges = np.linspace(0.0, 1.0, n_bins + 1)
    # Only the inner edges: what lies on the outermost ones belongs to the first and the last bin.
    bins = np.digitize(confidences, edges[1:-1], right=True)
    counts = np.bincount(bins, minlength=n_bins)
    occupied = counts > 0
    mean_accuracy = np.full(n_bins, np.nan)
    mean_confidence = np.full(n_bins, np.nan)
    mean_accuracy[occupied] = np.bincount(bins, weights=hits, minlength=n_bins)[occupied] / counts[occupied]
    mean_confidence[occupied] = np.bincount(bins, weights=confidences, minlength=n_bins)[occupied] / counts[occupied]
    return ReliabilityBins(edges=edges, counts=counts, accuracy=mean_accuracy, confidence=mean_confidence)


def expected_calibration_error(*, probabilities: ArrayLike, references: ArrayLike, n_bins: int = 15) -> float:
    """
    Expected calibration error (Guo et al., 2017, eq. 3): `|accuracy - confidence|` of each bin of `reliability_bins`,
    averaged with the bins' shares of the examples as weights.

    Args:
        probabilities (array-like of shape `(N, C)`, float): In `[0, 1]`, rows summing to 1 (to 1e-3).
        references (array-like of shape `(N,)`, integer): True classes in `0 .. C-1`.
        n_bins (`int`, *optional*, defaults to 15): Number of bins of equal width.

    Returns:
        `float` in `[0, 1]`.
    """
    bins = reliability_bins(probabilities=probabilities, references=references, n_bins=n_bins)
    occupied = bins.counts > 0
    gaps = np.abs(bins.accuracy[occupied] - bins.confidence[occupied])
    return float(np.average(gaps, weights=bins.counts[occupied]))


def maximum_calibration_error(*, probabilities: ArrayLike, references: ArrayLike, n_bins: int = 15) -> float:
    """
    Maximum calibration error (Guo et al., 2017, section 2): the largest `|accuracy - confidence|` of the bins of
    `reliability_bins` that hold an example. A bin with a single example counts as much as any other: read it beside the
    counts.

    Args:
        probabilities (array-like of shape `(N, C)`, float): In `[0, 1]`, rows summing to 1 (to 1e-3).
        references (array-like of shape `(N,)`, integer): True classes in `0 .. C-1`.
        n_bins (`int`, *optional*, defaults to 15): Number of bins of equal width.

    Returns:
        `float` in `[0, 1]`, at least `expected_calibration_error`.
    """
    bins = reliability_bins(probabilities=probabilities, references=references, n_bins=n_bins)
    occupied = bins.counts > 0
    return float(np.max(np.abs(bins.accuracy[occupied] - bins.confidence[occupied])))


def ece_equal_mass(*, probabilities: ArrayLike, references: ArrayLike, n_bins: int = 15) -> float:
    """
    Adaptive expected calibration error: as `expected_calibration_error`, but over bins that hold equally many examples
    (Nguyen & O'Connor, 2015, "Posterior Calibration and Exploratory Analysis for Natural Language Processing Models";
    Nixon et al., 2019, "Measuring Calibration in Deep Learning"). It is steadier where most confidences lie close to 1,
    in a single bin of equal width.

    The examples are ranked by confidence from 0 on, and rank `r` of `N` belongs to bin `floor(r * n_bins / N)`: without
    ties the sizes of the bins differ by at most one. **Ties stay together**: examples of exactly the same confidence go
    whole into the bin of the middle one of their ranks (the lower of two), so that the order of the examples does not
    matter. Bins are then unequal, and one that is left empty counts nothing. With fewer examples than bins and no ties,
    every example is a bin.

    Args:
        probabilities (array-like of shape `(N, C)`, float): In `[0, 1]`, rows summing to 1 (to 1e-3).
        references (array-like of shape `(N,)`, integer): True classes in `0 .. C-1`.
        n_bins (`int`, *optional*, defaults to 15): Number of bins of equal mass.

    Returns:
        `float` in `[0, 1]`.

    Raises:
        ValueError: If `n_bins` is below 1.
    """
    check_n_bins(n_bins)
    probabilities, references = check_probability_pair(probabilities, references)
    confidences = probabilities.max(axis=1)
    hits = probabilities.argmax(axis=1) == references
    _, group, sizes = np.unique(confidences, return_inverse=True, return_counts=True)
    ends = np.cumsum(sizes)
    middle_ranks = (ends - sizes + ends - 1) // 2
    bins = (middle_ranks * n_bins // len(confidences))[group]
    gaps = np.bincount(bins, weights=hits - confidences, minlength=n_bins)
    return float(np.sum(np.abs(gaps)) / len(confidences))


def classwise_ece(*, probabilities: ArrayLike, references: ArrayLike, n_bins: int = 15) -> float:
    """
    Classwise expected calibration error (Kull et al., 2019, "Beyond temperature scaling", section 2): for each class, all
    examples are binned by the probability of that class, `|share of that class - mean probability|` of the bins is averaged
    with the bins' shares of the examples as weights; and the mean over the classes is taken. Unlike
    `expected_calibration_error` it sees the classes that are not predicted.

    Args:
        probabilities (array-like of shape `(N, C)`, float): In `[0, 1]`, rows summing to 1 (to 1e-3).
        references (array-like of shape `(N,)`, integer): True classes in `0 .. C-1`.
        n_bins (`int`, *optional*, defaults to 15):
            Number of bins of equal width, closed on the right as in `reliability_bins`.

    Returns:
        `float` in `[0, 1]`. The mean runs over all `C` columns; a class without an example counts its probabilities as its
        error.

    Raises:
        ValueError: If `n_bins` is below 1.
    """
    check_n_bins(n_bins)
    probabilities, references = check_probability_pair(probabilities, references)
    n_examples, n_classes = probabilities.shape
    edges = np.linspace(0.0, 1.0, n_bins + 1)
    bins = np.digitize(probabilities, edges[1:-1], right=True) + n_bins * np.arange(n_classes)
    excess = -probabilities
    excess[np.arange(n_examples), references] += 1.0
    gaps = np.bincount(bins.ravel(), weights=excess.ravel(), minlength=n_bins * n_classes)
    return float(np.sum(np.abs(gaps)) / (n_examples * n_classes))


# Out-of-distribution detection


def auroc(*, in_distribution: ArrayLike, out_of_distribution: ArrayLike) -> float:
    """
    Area under the ROC curve of a score that should be higher on the data the model was trained for: the probability that
    a random in-distribution example scores above a random out-of-distribution one, **ties counting half**.

    With the largest softmax probability, `softmax(logits).max(axis=1)`, as the score this is the baseline of Hendrycks &
    Gimpel (2017, "A Baseline for Detecting Misclassified and Out-of-Distribution Examples in Neural Networks", section 2
    and 3), in-distribution being the positive class.

    Args:
        in_distribution (array-like of shape `(N,)`, float): Scores of the examples of the model's own task.
        out_of_distribution (array-like of shape `(M,)`, float): Scores of the other examples.

    Returns:
        `float` in `[0, 1]`: 0.5 for a score that says nothing, 1 for one that separates the two.

    Raises:
        ValueError: If either is empty, or a score is NaN or infinite.
    """
    from sklearn.metrics import roc_auc_score

    inside = check_finite("in_distribution", in_distribution, ndim=1)
    outside = check_finite("out_of_distribution", out_of_distribution, ndim=1, shape="(M,)")
    is_inside = np.repeat([1, 0], [len(inside), len(outside)])
    return float(roc_auc_score(is_inside, np.concatenate([inside, outside])))


# Several labels an example


def f1_micro(*, predictions: ArrayLike, references: ArrayLike) -> float:
    """
    F1 of all decisions (example, label) pooled; 0 where no label is predicted or true.

    Args:
        predictions (array-like of shape `(N, C)`): Predicted labels, 0 or 1.
        references (array-like of shape `(N, C)`): True labels, 0 or 1.

    Returns:
        `float` in `[0, 1]`.
    """
    return _multi_label_f1(predictions, references, average="micro")


def f1_macro(*, predictions: ArrayLike, references: ArrayLike) -> float:
    """
    Unweighted mean over all `C` labels of each label's F1. A label that is neither predicted nor true counts 0, as in
    scikit-learn: unlike for `macro_f1`, the columns say which labels there are.

    Args:
        predictions (array-like of shape `(N, C)`): Predicted labels, 0 or 1.
        references (array-like of shape `(N, C)`): True labels, 0 or 1.

    Returns:
        `float` in `[0, 1]`.
    """
    return _multi_label_f1(predictions, references, average="macro")


def subset_accuracy(*, predictions: ArrayLike, references: ArrayLike) -> float:
    """
    Share of the examples with every label right ("exact match").

    Args:
        predictions (array-like of shape `(N, C)`): Predicted labels, 0 or 1.
        references (array-like of shape `(N, C)`): True labels, 0 or 1.

    Returns:
        `float` in `[0, 1]`.
    """
    predictions, references = check_multi_hot_pair(predictions, references)
    return float(np.mean(np.all(predictions == references, axis=1)))


def multilabel_nll(*, probabilities: ArrayLike, references: ArrayLike) -> float:
    """
    Mean binary negative log-likelihood, in nats, over all `N * C` decisions (the mean of `BCEWithLogitsLoss`).

    Probabilities are clipped to `[eps, 1 - eps]`, `eps` that of float64 (2.2e-16): closer to 1 a float64 cannot tell
    how unlikely the label's absence was. One decision costs at most 36.05 nats.

    Args:
        probabilities (array-like of shape `(N, C)`, float): In `[0, 1]`, each label for itself.
        references (array-like of shape `(N, C)`): True labels, 0 or 1.

    Returns:
        `float` in `[0, 36.05]`.
    """
    probabilities, references = check_unit_interval_pair(probabilities, references)
    epsilon = np.finfo(np.float64).eps
    clipped = np.clip(probabilities, epsilon, 1.0 - epsilon)
    return float(-np.mean(np.where(references == 1, np.log(clipped), np.log1p(-clipped))))


def _multi_label_f1(predictions: ArrayLike, references: ArrayLike, average: str) -> float:
    predictions, references = check_multi_hot_pair(predictions, references)
    hits = np.sum(predictions * references, axis=0)
    # F1 = 2 TP / (2 TP + FP + FN), and the denominator is the number of predicted plus the number of true labels.
    # scikit-learn reads a single column as a class vector, so that C = 1 would be scored as two classes there.
    marked = np.sum(predictions, axis=0) + np.sum(references, axis=0)
    if average == "micro":
        hits, marked = hits.sum(keepdims=True), marked.sum(keepdims=True)
    return float(np.mean(2.0 * hits / np.maximum(marked, 1)))
