"""Multi-class metrics, calibration errors and AUROC against scikit-learn and against loops over pairs and examples.

Accuracy, binary F1 and MCC, NLL, Brier and the plain ECE meet their loops in `test_metrics.py`; here they meet
scikit-learn on several classes, and every metric the edges: one example, ties, a missing class, exact 0 and 1, NaN.
"""

import math
import warnings
from itertools import product

import numpy as np
import pytest
import sklearn.metrics
from depth import examples
from evaluation_pairs import label_pairs, probability_pairs
from hypothesis import given
from hypothesis import strategies as st

from mixtext_hf.evaluation.measures import metrics


few = examples(80)
BINS = st.sampled_from([1, 2, 5, 15])


@st.composite
def score_pairs(draw):
    """Scores in 0, 1/4 .. 1, so that there are ties within a side and between the two."""
    scores = st.integers(0, 4).map(lambda quarter: quarter / 4)
    return tuple(np.array(draw(st.lists(scores, min_size=1, max_size=20))) for _ in range(2))


@pytest.mark.filterwarnings("ignore:A single label was found:UserWarning")
@few
@given(label_pairs())
def test_f1_mcc_and_confusion_of_several_classes(pair):
    predictions, references = pair
    labels = {"predictions": predictions, "references": references}
    n_classes = max(predictions.max(), references.max()) + 1
    counts = [
        [sum(r == i and p == j for p, r in zip(predictions, references, strict=True)) for j in range(n_classes)]
        for i in range(n_classes)
    ]
    assert metrics.confusion_matrix(**labels).tolist() == counts
    padded = metrics.confusion_matrix(**labels, n_classes=n_classes + 2)
    assert padded.shape == (n_classes + 2, n_classes + 2) and padded.dtype == np.int64
    assert padded[:n_classes, :n_classes].tolist() == counts and padded.sum() == len(references)

    # Gorodkin (2004), eq. 8, as sums over the triples of classes.
    table, classes = np.array(counts), range(n_classes)
    covariance = sum(
        table[k, k] * table[m, n] - table[n, k] * table[k, m] for k, n, m in product(classes, classes, classes)
    )
    of_predictions = sum(table[:, k].sum() * (table.sum() - table[:, k].sum()) for k in classes)
    of_references = sum(table[k].sum() * (table.sum() - table[k].sum()) for k in classes)
    root = math.sqrt(of_predictions * of_references)
    assert metrics.matthews_correlation(**labels) == pytest.approx(covariance / root if root else 0.0, abs=1e-6)

    expected = sklearn.metrics.f1_score(references, predictions, average="macro", zero_division=0)
    assert metrics.macro_f1(**labels) == pytest.approx(expected, abs=1e-6)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of classes that are predicted and never true
        expected = sklearn.metrics.balanced_accuracy_score(references, predictions)
    assert metrics.balanced_accuracy(**labels) == pytest.approx(expected, abs=1e-12)


@few
@given(probability_pairs(n_classes=2))
def test_brier_of_two_classes_is_twice_scikit_learn_s(pair):
    probabilities, references = pair
    expected = 2 * sklearn.metrics.brier_score_loss(references, probabilities[:, 1], pos_label=1)
    assert metrics.brier_score(probabilities=probabilities, references=references) == pytest.approx(expected, abs=1e-6)


def gap(members):
    """|mean of the hits - mean of the probabilities| of one bin, times its size."""
    probabilities, hits = zip(*members, strict=True)
    return abs(sum(hits) / len(hits) - sum(probabilities) / len(probabilities)) * len(members)


def bin_of(probability, n_bins):
    edges = np.linspace(0, 1, n_bins + 1)
    [home] = [
        b for b in range(n_bins) if edges[b] < probability <= edges[b + 1] or (b == 0 and probability == edges[0])
    ]
    return home


@few
@given(probability_pairs(), BINS)
def test_classwise_ece(pair, n_bins):
    probabilities, references = pair
    total = 0.0
    for label in range(probabilities.shape[1]):
        bins = {}
        for row, reference in zip(probabilities, references, strict=True):
            bins.setdefault(bin_of(row[label], n_bins), []).append((row[label], float(reference == label)))
        total += sum(gap(members) for members in bins.values()) / len(references)
    result = metrics.classwise_ece(probabilities=probabilities, references=references, n_bins=n_bins)
    assert result == pytest.approx(total / probabilities.shape[1], abs=1e-6)


@few
@given(probability_pairs(), BINS)
def test_maximum_calibration_error(pair, n_bins):
    probabilities, references = pair
    bins = {}
    for row, reference in zip(probabilities, references, strict=True):
        hit = float(row.tolist().index(max(row)) == reference)
        bins.setdefault(bin_of(max(row), n_bins), []).append((max(row), hit))
    worst = max(gap(members) / len(members) for members in bins.values())
    soft = {"probabilities": probabilities, "references": references, "n_bins": n_bins}
    assert metrics.maximum_calibration_error(**soft) == pytest.approx(worst, abs=1e-6)
    assert metrics.maximum_calibration_error(**soft) >= metrics.expected_calibration_error(**soft) - 1e-12


@few
@given(probability_pairs(), BINS, st.randoms(use_true_random=False))
def test_ece_equal_mass(pair, n_bins, random):
    probabilities, references = pair
    examples = sorted(
        (max(row), float(row.tolist().index(max(row)) == reference))
        for row, reference in zip(probabilities, references, strict=True)
    )
    ranked = [confidence for confidence, _ in examples]
    bins = {}
    for confidence, hit in examples:
        ranks = [rank for rank, other in enumerate(ranked) if other == confidence]
        middle = ranks[(len(ranks) - 1) // 2]
        bins.setdefault(math.floor(middle * n_bins / len(examples)), []).append((confidence, hit))
    expected = sum(gap(members) for members in bins.values()) / len(examples)
    soft = {"probabilities": probabilities, "references": references}
    assert metrics.ece_equal_mass(**soft, n_bins=n_bins) == pytest.approx(expected, abs=1e-6)
    order = list(range(len(references)))
    random.shuffle(order)
    shuffled = {"probabilities": probabilities[order], "references": references[order]}
    assert metrics.ece_equal_mass(**shuffled, n_bins=n_bins) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("n_examples, n_bins", [(100, 10), (103, 7), (5, 15)])
def test_equal_mass_without_ties_is_numpy_s_split(n_examples, n_bins):
    rng = np.random.default_rng(n_examples)
    confidences = rng.permutation(np.linspace(0.5, 0.999, n_examples))
    probabilities, references = np.stack([confidences, 1 - confidences], axis=1), rng.integers(0, 2, n_examples)
    order = np.argsort(confidences)
    # Rank r belongs to bin floor(r * n_bins / N): the bins start at ceil(b * N / n_bins).
    starts = [math.ceil(b * n_examples / n_bins) for b in range(1, n_bins)]
    parts = [part for part in np.split(order, starts) if len(part)]
    assert max(map(len, parts)) - min(map(len, parts)) <= 1
    expected = sum(abs(np.sum((references[part] == 0) - confidences[part])) for part in parts) / n_examples
    result = metrics.ece_equal_mass(probabilities=probabilities, references=references, n_bins=n_bins)
    assert result == pytest.approx(expected, abs=1e-12)


def test_equal_mass_keeps_ties_together():
    # Ranks 0 1 | 2 3 | 4 5 without ties; the four certain ones (ranks 2 to 5, middle 3) are one bin: 3 of 4 are right.
    probabilities = [[0.5, 0.5], [0.75, 0.25], [1.0, 0.0], [1.0, 0.0], [1.0, 0.0], [1.0, 0.0]]
    references = [0, 1, 0, 0, 0, 1]
    result = metrics.ece_equal_mass(probabilities=probabilities, references=references, n_bins=3)
    assert result == pytest.approx((abs(1 - 1.25) + abs(3 - 4)) / 6)


@few
@given(score_pairs())
def test_auroc_counts_ties_half(pair):
    inside, outside = pair
    wins = sum((i > o) + 0.5 * (i == o) for i, o in product(inside, outside))
    result = metrics.auroc(in_distribution=inside, out_of_distribution=outside)
    assert result == pytest.approx(wins / (len(inside) * len(outside)), abs=1e-6)
    exchanged = metrics.auroc(in_distribution=outside, out_of_distribution=inside)
    assert exchanged == pytest.approx(1 - result, abs=1e-12)


def test_auroc_of_many_scores_is_the_share_of_pairs():
    rng = np.random.default_rng(0)
    inside, outside = rng.normal(1, 1, 300).round(1), rng.normal(0, 1, 200).round(1)
    share = np.mean((inside[:, None] > outside) + 0.5 * (inside[:, None] == outside))
    assert 0.6 < share < 0.9
    assert metrics.auroc(in_distribution=inside, out_of_distribution=outside) == pytest.approx(share, abs=1e-9)
    assert metrics.auroc(in_distribution=np.exp(inside), out_of_distribution=np.exp(outside)) == pytest.approx(share)


@pytest.mark.parametrize(
    "inside, outside, expected", [([0.9], [0.1], 1.0), ([0.1], [0.9], 0.0), ([1.0, 1.0], [1.0], 0.5)]
)
def test_auroc_of_few_scores(inside, outside, expected):
    assert metrics.auroc(in_distribution=inside, out_of_distribution=outside) == expected


def test_auroc_errors():
    with pytest.raises(ValueError, match=r"`out_of_distribution\[1\]` is nan"):
        metrics.auroc(in_distribution=[0.5], out_of_distribution=[0.5, np.nan])
    with pytest.raises(ValueError, match=r"`in_distribution\[0\]` is inf"):
        metrics.auroc(in_distribution=[np.inf], out_of_distribution=[0.5])
    with pytest.raises(ValueError, match="`in_distribution` must hold at least one example"):
        metrics.auroc(in_distribution=[], out_of_distribution=[0.5])
    with pytest.raises(ValueError, match=r"`out_of_distribution` must have shape \(M,\), got \(1, 2\)"):
        metrics.auroc(in_distribution=[0.5], out_of_distribution=[[0.5, 0.5]])


def test_confusion_matrix_errors():
    with pytest.raises(ValueError, match=r"`references` must be labels in 0\.\.1.*got 2"):
        metrics.confusion_matrix(predictions=[0, 1], references=[0, 2], n_classes=2)
    with pytest.raises(ValueError, match="`n_classes` must be at least 1, got 0"):
        metrics.confusion_matrix(predictions=[0], references=[0], n_classes=0)


@pytest.mark.parametrize("label, expected", [(0, 0.0), (1, 1.0)])
def test_one_certain_example(label, expected):
    soft = {"probabilities": [[1.0, 0.0]], "references": [label]}
    assert metrics.ece_equal_mass(**soft) == metrics.classwise_ece(**soft) == expected
    assert metrics.maximum_calibration_error(**soft) == metrics.expected_calibration_error(**soft) == expected


@few
@given(st.lists(st.lists(st.integers(0, 5), min_size=3, max_size=3).filter(any), min_size=1, max_size=6), BINS)
def test_a_calibrated_table_has_no_error(tables, n_bins):
    # Every row once for each of its counts, with that class: whatever the bins, all calibration errors are 0.
    examples = [
        ([count / sum(counts) for count in counts], label)
        for counts in tables
        for label, count in enumerate(counts)
        for _ in range(count)
    ]
    probabilities, references = (list(column) for column in zip(*examples, strict=True))
    for metric in (metrics.ece_equal_mass, metrics.classwise_ece, metrics.maximum_calibration_error):
        result = metric(probabilities=probabilities, references=references, n_bins=n_bins)
        assert result == pytest.approx(0.0, abs=1e-9)
