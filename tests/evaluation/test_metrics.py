"""Every metric against scikit-learn or against a plain loop written from the paper, on random and adversarial inputs."""

import math
import warnings
from functools import partial

import numpy as np
import pytest
import scipy.stats
import sklearn.metrics
from depth import examples
from evaluation_pairs import label_pairs, probability_pairs
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from mixtext_hf.evaluation.measures import metrics


few = examples(60)
LABEL_METRICS = [
    metrics.accuracy,
    metrics.balanced_accuracy,
    metrics.class_recall,
    metrics.macro_f1,
    metrics.binary_f1,
    metrics.matthews_correlation,
    metrics.confusion_matrix,
]
BINNED_METRICS = [
    metrics.expected_calibration_error,
    metrics.maximum_calibration_error,
    metrics.ece_equal_mass,
    metrics.classwise_ece,
]
VALUE_METRICS = [metrics.pearson, metrics.spearman, metrics.mean_squared_error]
MULTI_HOT_METRICS = [metrics.f1_micro, metrics.f1_macro, metrics.subset_accuracy]
PROBABILITY_METRICS = [
    metrics.negative_log_likelihood,
    metrics.brier_score,
    metrics.expected_calibration_error,
    metrics.reliability_bins,
    metrics.maximum_calibration_error,
    metrics.ece_equal_mass,
    metrics.classwise_ece,
    partial(metrics.top_k_accuracy, k=1),
]


@st.composite
def multi_hot_pairs(draw):
    shape = draw(st.tuples(st.integers(1, 15), st.integers(1, 5)))
    return tuple(draw(hnp.arrays(np.int64, shape, elements=st.integers(0, 1))) for _ in range(2))


def loop_f1(predictions, references, label):
    tp = sum(p == label and r == label for p, r in zip(predictions, references, strict=True))
    fp = sum(p == label and r != label for p, r in zip(predictions, references, strict=True))
    fn = sum(p != label and r == label for p, r in zip(predictions, references, strict=True))
    return 2 * tp / (2 * tp + fp + fn) if tp + fp + fn else 0.0


@few
@given(label_pairs())
def test_label_metrics(pair):
    predictions, references = pair
    present = sorted({*predictions.tolist(), *references.tolist()})
    expected_macro = sum(loop_f1(predictions, references, label) for label in present) / len(present)
    assert metrics.accuracy(predictions=predictions, references=references) == pytest.approx(
        sum(p == r for p, r in zip(predictions, references, strict=True)) / len(references), abs=1e-12
    )
    assert metrics.macro_f1(predictions=predictions, references=references) == pytest.approx(expected_macro, abs=1e-9)
    of_class = {label: [p == label for p, r in zip(*pair, strict=True) if r == label] for label in present}
    recall = {label: sum(hits) / len(hits) for label, hits in of_class.items() if hits}
    found = metrics.class_recall(predictions=predictions, references=references, n_classes=max(present) + 2)
    assert len(found) == max(present) + 2
    assert dict(enumerate(found.tolist())) == pytest.approx(
        {label: recall.get(label, math.nan) for label in range(max(present) + 2)}, nan_ok=True
    )
    expected = sum(recall.values()) / len(recall)
    assert metrics.balanced_accuracy(predictions=predictions, references=references) == pytest.approx(
        expected, abs=1e-12
    )


@pytest.mark.filterwarnings("ignore:A single label was found:UserWarning")
@few
@given(label_pairs(n_classes=2))
def test_binary_metrics(pair):
    predictions, references = pair
    assert metrics.binary_f1(predictions=predictions, references=references) == pytest.approx(
        loop_f1(predictions, references, 1), abs=1e-9
    )
    tp, tn = np.sum((predictions == 1) & (references == 1)), np.sum((predictions == 0) & (references == 0))
    fp, fn = np.sum((predictions == 1) & (references == 0)), np.sum((predictions == 0) & (references == 1))
    root = math.sqrt((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn))
    expected = (tp * tn - fp * fn) / root if root else 0.0
    assert metrics.matthews_correlation(predictions=predictions, references=references) == pytest.approx(
        expected, abs=1e-9
    )


@few
@given(st.lists(st.tuples(st.integers(-4, 4), st.integers(-4, 4)), min_size=2, max_size=20))
def test_regression_metrics(pairs):
    predictions, references = (np.array(column, dtype=float) for column in zip(*pairs, strict=True))

    def loop_correlation(a, b):
        a, b = a - a.mean(), b - b.mean()
        return (a * b).sum() / math.sqrt((a * a).sum() * (b * b).sum())

    assert metrics.mean_squared_error(predictions=predictions, references=references) == pytest.approx(
        sum((p - r) ** 2 for p, r in pairs) / len(pairs), abs=1e-12
    )
    constant = len(set(predictions)) == 1 or len(set(references)) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", scipy.stats.ConstantInputWarning)
        pearson = metrics.pearson(predictions=predictions, references=references)
        spearman = metrics.spearman(predictions=predictions, references=references)
    if constant:
        assert math.isnan(pearson) and math.isnan(spearman)
    else:
        ranks = scipy.stats.rankdata(predictions), scipy.stats.rankdata(references)
        assert pearson == pytest.approx(loop_correlation(predictions, references), abs=1e-9)
        assert spearman == pytest.approx(loop_correlation(*ranks), abs=1e-9)


@few
@given(probability_pairs())
def test_nll_and_brier(pair):
    probabilities, references = pair
    nll, brier = [], []
    for row, label in zip(probabilities, references, strict=True):
        nll.append(-math.log(max(row[label], 2.2250738585072014e-308)))
        brier.append(sum((p - (c == label)) ** 2 for c, p in enumerate(row)))
    given_pair = {"probabilities": probabilities, "references": references}
    assert metrics.negative_log_likelihood(**given_pair) == pytest.approx(np.mean(nll), rel=1e-9, abs=1e-12)
    assert metrics.brier_score(**given_pair) == pytest.approx(np.mean(brier), abs=1e-9)
    if (probabilities > 0).all():
        expected = sklearn.metrics.log_loss(references, probabilities, labels=range(probabilities.shape[1]))
        assert metrics.negative_log_likelihood(**given_pair) == pytest.approx(expected, abs=1e-6)


@few
@given(probability_pairs(), st.data())
def test_top_k(pair, data):
    probabilities, references = pair
    n_classes = probabilities.shape[1]
    k = data.draw(st.integers(1, n_classes - 1))
    top_k = metrics.top_k_accuracy(probabilities=probabilities, references=references, k=k)
    hits = []
    for row, label in zip(probabilities.tolist(), references, strict=True):
        # Of equal probabilities the lower class comes first.
        ranked = sorted(range(n_classes), key=lambda c: (-row[c], c))
        hits.append(label in ranked[:k])
    assert top_k == pytest.approx(np.mean(hits), abs=1e-12)
    if k == 1:
        assert top_k == metrics.accuracy(predictions=probabilities.argmax(axis=1), references=references)


@pytest.mark.parametrize("k", [1, 2, 4])
def test_top_k_is_scikit_learn_s_where_there_are_no_ties(k):
    generator = np.random.default_rng(k)
    probabilities, references = metrics.softmax(generator.normal(size=(200, 5))), generator.integers(0, 5, 200)
    expected = sklearn.metrics.top_k_accuracy_score(references, probabilities, k=k, labels=range(5))
    assert 0 < expected < 1
    assert metrics.top_k_accuracy(probabilities=probabilities, references=references, k=k) == pytest.approx(expected)


def test_top_k_of_equal_probabilities():
    uniform = [[0.25, 0.25, 0.25, 0.25]] * 4
    for k in (1, 2, 3):
        assert metrics.top_k_accuracy(probabilities=uniform, references=[0, 1, 2, 3], k=k) == k / 4
    assert metrics.top_k_accuracy(probabilities=[[0.25, 0.5, 0.25]] * 2, references=[0, 2]) == 0.5


@pytest.mark.parametrize(
    ("k", "message"),
    [
        (0, "`k` must be a whole number from 1 on, got 0"),
        (-1, "got -1"),
        (1.5, "got 1.5"),
        (True, "got True"),
        (3, "`k` must be less than the number of classes, got 3 for 3: top_3_accuracy would be 1"),
        (5, "got 5 for 3"),
    ],
)
def test_top_k_error(k, message):
    with pytest.raises(ValueError, match=message):
        metrics.top_k_accuracy(probabilities=[[1.0, 0.0, 0.0]], references=[0], k=k)


@few
@given(probability_pairs(), st.sampled_from([1, 2, 5, 10, 15]))
def test_calibration(pair, n_bins):
    probabilities, references = pair
    edges = np.linspace(0, 1, n_bins + 1)
    members = [[] for _ in range(n_bins)]
    for row, label in zip(probabilities, references, strict=True):
        confidence = max(row)
        hit = float(list(row).index(confidence) == label)
        [home] = [
            b for b in range(n_bins) if edges[b] < confidence <= edges[b + 1] or (b == 0 and confidence == edges[0])
        ]
        members[home].append((confidence, hit))
    bins = metrics.reliability_bins(probabilities=probabilities, references=references, n_bins=n_bins)
    expected = 0.0
    for b, content in enumerate(members):
        assert bins.counts[b] == len(content)
        if content:
            confidence, hits = np.mean(content, axis=0)
            assert bins.confidence[b] == pytest.approx(confidence, abs=1e-9)
            assert bins.accuracy[b] == pytest.approx(hits, abs=1e-9)
            expected += len(content) / len(references) * abs(hits - confidence)
        else:
            assert math.isnan(bins.confidence[b]) and math.isnan(bins.accuracy[b])
    ece = metrics.expected_calibration_error(probabilities=probabilities, references=references, n_bins=n_bins)
    assert ece == pytest.approx(expected, abs=1e-9)


def test_bins_are_closed_on_the_right():
    # 0.5, 0.75 and 1.0 are edges of four bins and exact in binary; 0.625 lies inside the third.
    probabilities = np.array([[0.5, 0.5], [0.75, 0.25], [1.0, 0.0], [0.375, 0.625]])
    bins = metrics.reliability_bins(probabilities=probabilities, references=[0, 0, 0, 0], n_bins=4)
    assert bins.edges.tolist() == [0, 0.25, 0.5, 0.75, 1]
    assert bins.counts.tolist() == [0, 1, 2, 1]
    assert bins.accuracy.tolist()[1:] == [1.0, 0.5, 1.0]
    assert bins.confidence.tolist()[1:] == [0.5, 0.6875, 1.0]


@pytest.mark.parametrize(
    "label, nll, brier, ece", [(0, 0.0, 0.0, 0.0), (1, -math.log(np.finfo(np.float64).tiny), 2.0, 1.0)]
)
def test_certain_and_right_or_wrong(label, nll, brier, ece):
    pair = {"probabilities": [[1.0, 0.0, 0.0]], "references": [label]}
    assert metrics.negative_log_likelihood(**pair) == pytest.approx(nll)
    assert metrics.brier_score(**pair) == brier
    assert metrics.expected_calibration_error(**pair) == ece


def test_nll_counts_a_confident_error_in_full():
    probabilities = metrics.softmax([[0.0, 100.0]])
    assert metrics.negative_log_likelihood(probabilities=probabilities, references=[0]) == pytest.approx(100.0)


@few
@given(multi_hot_pairs())
def test_multi_label_metrics(pair):
    predictions, references = pair
    columns = range(references.shape[1])
    given_pair = {"predictions": predictions, "references": references}
    macro = np.mean([loop_f1(predictions[:, c], references[:, c], 1) for c in columns])
    subset = np.mean([p.tolist() == r.tolist() for p, r in zip(predictions, references, strict=True)])
    assert metrics.f1_macro(**given_pair) == pytest.approx(macro, abs=1e-9)
    assert metrics.f1_micro(**given_pair) == pytest.approx(
        loop_f1(predictions.ravel(), references.ravel(), 1), abs=1e-9
    )
    assert metrics.subset_accuracy(**given_pair) == pytest.approx(subset, abs=1e-12)
    if len(columns) > 1:
        for average, metric in (("micro", metrics.f1_micro), ("macro", metrics.f1_macro)):
            expected = sklearn.metrics.f1_score(references, predictions, average=average, zero_division=0)
            assert metric(**given_pair) == pytest.approx(expected, abs=1e-9)


def test_multilabel_nll():
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    logits, references = 3 * rng.normal(size=(20, 4)), rng.integers(0, 2, size=(20, 4))
    expected = torch.nn.BCEWithLogitsLoss()(torch.tensor(logits), torch.tensor(references, dtype=torch.float64))
    nll = metrics.multilabel_nll(probabilities=metrics.sigmoid(logits), references=references)
    assert nll == pytest.approx(expected.item(), abs=1e-9)
    saturated = metrics.multilabel_nll(probabilities=[[1.0, 0.0]], references=[[0, 1]])
    assert saturated == pytest.approx(-math.log(np.finfo(np.float64).eps))


def test_softmax_and_sigmoid():
    logits = np.array([[1e4, 1e4, -1e4], [0.0, math.log(3), -1e3]])
    np.testing.assert_allclose(metrics.softmax(logits), [[0.5, 0.5, 0], [0.25, 0.75, 0]], atol=1e-12)
    np.testing.assert_allclose(metrics.sigmoid([[0.0, math.log(3), -1e4, 1e4]]), [[0.5, 0.75, 0, 1]], atol=1e-12)
    assert metrics.softmax(np.zeros((1, 2), dtype=np.float16)).dtype == np.float64


def test_float32_softmax_is_accepted():
    torch = pytest.importorskip("torch")
    logits = torch.randn(50, 1000, generator=torch.Generator().manual_seed(0)) * 4
    probabilities = torch.softmax(logits, dim=-1).numpy()
    assert probabilities.dtype == np.float32 and np.abs(probabilities.sum(axis=1, dtype=np.float64) - 1).max() > 0
    references = np.arange(50)
    exact = metrics.softmax(logits.numpy())
    for metric in PROBABILITY_METRICS[:3]:
        assert metric(probabilities=probabilities, references=references) == pytest.approx(
            metric(probabilities=exact, references=references), abs=1e-5
        )
    # A float32 mean may exceed 1 by one unit in the last place.
    above = np.array([[np.nextafter(np.float32(1), np.float32(2)), 0]], dtype=np.float32)
    assert metrics.brier_score(probabilities=above, references=[0]) == 0.0


@pytest.mark.parametrize("metric", LABEL_METRICS)
def test_label_errors(metric):
    with pytest.raises(ValueError, match="same length, got 2 and 3"):
        metric(predictions=[0, 1], references=[0, 1, 1])
    with pytest.raises(ValueError, match="`predictions` must hold at least one"):
        metric(predictions=[], references=[])
    with pytest.raises(ValueError, match=r"`references` must be labels from 0 on, got -1.*hidden"):
        metric(predictions=[0, 1], references=[0, -1])
    with pytest.raises(ValueError, match="`predictions` must be class labels of an integer dtype, got dtype float64"):
        metric(predictions=[0.0, np.nan], references=[0, 1])
    with pytest.raises(ValueError, match=r"`predictions` must have shape \(N,\), got \(2, 1\)"):
        metric(predictions=[[0], [1]], references=[0, 1])


def test_binary_f1_refuses_a_third_class():
    with pytest.raises(ValueError, match=r"`references` must be labels in 0\.\.1.*got 2"):
        metrics.binary_f1(predictions=[0, 1], references=[0, 2])


@pytest.mark.parametrize("metric", VALUE_METRICS)
def test_value_errors(metric):
    with pytest.raises(ValueError, match=r"`predictions\[1\]` is nan"):
        metric(predictions=[0.0, np.nan], references=[0.0, 1.0])
    with pytest.raises(ValueError, match=r"`references\[0\]` is -inf"):
        metric(predictions=[0.0, 1.0], references=[-np.inf, 1.0])
    with pytest.raises(ValueError, match=r"`references\[1\]` is nan.*hidden: evaluate on a split that has labels"):
        metric(predictions=[0.0, 1.0], references=[0.0, np.nan])
    with pytest.raises(ValueError, match="same length, got 2 and 1"):
        metric(predictions=[0.0, 1.0], references=[0.0])


@pytest.mark.parametrize("metric", [metrics.pearson, metrics.spearman])
def test_a_correlation_needs_two_examples(metric):
    with pytest.raises(ValueError, match="at least 2 examples"):
        metric(predictions=[1.0], references=[1.0])


@pytest.mark.parametrize("metric", PROBABILITY_METRICS)
def test_probability_errors(metric):
    good = [[0.5, 0.5], [0.25, 0.75]]
    with pytest.raises(ValueError, match=r"`references` must be labels in 0\.\.1.*got 2"):
        metric(probabilities=good, references=[0, 2])
    with pytest.raises(ValueError, match="got -1"):
        metric(probabilities=good, references=[-1, 0])
    with pytest.raises(ValueError, match=r"row 1 sums to 0\.9"):
        metric(probabilities=[[0.5, 0.5], [0.2, 0.7]], references=[0, 1])
    with pytest.raises(ValueError, match=r"`probabilities\[0, 0\]` is -0.5"):
        metric(probabilities=[[-0.5, 1.5]], references=[0])
    with pytest.raises(ValueError, match=r"`probabilities\[0, 1\]` is nan"):
        metric(probabilities=[[0.5, np.nan]], references=[0])
    with pytest.raises(ValueError, match="same length, got 2 and 1"):
        metric(probabilities=good, references=[0])
    with pytest.raises(ValueError, match="at least one example"):
        metric(probabilities=np.zeros((0, 2)), references=np.zeros(0, dtype=int))


@pytest.mark.parametrize("metric", MULTI_HOT_METRICS)
def test_multi_hot_errors(metric):
    with pytest.raises(ValueError, match=r"`predictions\[0, 1\]` is 0.5"):
        metric(predictions=[[0, 0.5]], references=[[0, 1]])
    with pytest.raises(ValueError, match=r"same shape, got \(1, 2\) and \(1, 3\)"):
        metric(predictions=[[0, 1]], references=[[0, 1, 1]])


@pytest.mark.parametrize("metric", BINNED_METRICS)
def test_n_bins_error(metric):
    with pytest.raises(ValueError, match="`n_bins` must be at least 1, got 0"):
        metric(probabilities=[[1.0, 0.0]], references=[0], n_bins=0)
    with pytest.raises(ValueError, match=r"`n_bins` must be a whole number, got 2\.5"):
        metric(probabilities=[[1.0, 0.0]], references=[0], n_bins=2.5)
