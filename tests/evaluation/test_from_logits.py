"""What is said of a classifier from its logits, against scikit-learn and the functions that it names."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
import sklearn.metrics as reference

from mixtext_hf.evaluation import (
    apply_temperature,
    brier_score,
    classwise_ece,
    ece_equal_mass,
    expected_calibration_error,
    fit_temperature,
    maximum_calibration_error,
    reliability_bins,
    softmax,
)
from mixtext_hf.evaluation.measures.from_logits import (
    assess_classes,
    assess_ood,
    assess_scores,
    assess_several_labels,
    assess_temperature,
    memorisation_history,
    wilson_interval,
)


NAMES = ["cat", "dog", "cow", "hen"]


def drawn(count, n_classes=4, seed=0, scale=3.0):
    """Logits that say something of their labels, and too loudly."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(n_classes, size=count)
    logits = rng.normal(size=(count, n_classes))
    logits[np.arange(count), labels] += 1.0
    return (scale * logits).astype(np.float32), labels


def test_metrics_are_those_of_scikit_learn_and_of_this_package():
    logits, labels = drawn(300)
    found = assess_classes(logits, labels, label_names=NAMES, top_k=[2, 3], n_bins=10)
    predictions, probabilities = logits.argmax(axis=1), softmax(logits)
    pair = {"probabilities": probabilities, "references": labels}
    assert found["samples"] == 300
    assert found["metrics"] == pytest.approx(
        {
            "accuracy": reference.accuracy_score(labels, predictions),
            "top_2_accuracy": reference.top_k_accuracy_score(labels, logits, k=2),
            "top_3_accuracy": reference.top_k_accuracy_score(labels, logits, k=3),
            "balanced_accuracy": reference.balanced_accuracy_score(labels, predictions),
            "macro_f1": reference.f1_score(labels, predictions, average="macro"),
            "matthews_correlation": reference.matthews_corrcoef(labels, predictions),
            "nll": reference.log_loss(labels, probabilities),
            "brier": brier_score(**pair),
            "ece": expected_calibration_error(**pair, n_bins=10),
            "ece_equal_mass": ece_equal_mass(**pair, n_bins=10),
            "classwise_ece": classwise_ece(**pair, n_bins=10),
            "mce": maximum_calibration_error(**pair, n_bins=10),
        }
    )
    precision, recall, f1, support = reference.precision_recall_fscore_support(labels, predictions)
    for row, *expected in zip(found["classes"], NAMES, precision, recall, f1, support, strict=True):
        assert [row[key] for key in ("name", "precision", "recall", "f1", "support")] == expected
    matrix = reference.confusion_matrix(labels, predictions)
    assert found["confusion_matrix"] == matrix.tolist()
    worst = found["most_confused"][0]
    off = matrix - np.diag(np.diag(matrix))
    true, said = NAMES.index(worst["true"]), NAMES.index(worst["predicted"])
    assert worst["count"] == off.max() == off[true, said]
    assert worst["share_of_true"] == worst["count"] / (labels == true).sum()


def test_calibration_has_the_bins_of_the_diagram():
    logits, labels = drawn(200)
    found = assess_classes(logits, labels, label_names=NAMES)["calibration"]
    bins = reliability_bins(probabilities=softmax(logits), references=labels)
    assert found["bins"]["counts"] == bins.counts.tolist()
    assert [math.nan if value is None else value for value in found["bins"]["accuracy"]] == pytest.approx(
        bins.accuracy.tolist(), nan_ok=True
    )
    assert None in found["bins"]["accuracy"], "no bin is empty: the test shows nothing"
    mean = softmax(logits).max(axis=1).mean()
    assert found["mean_confidence"] == pytest.approx(mean)
    assert found["overconfidence"] == pytest.approx(mean - np.mean(logits.argmax(axis=1) == labels))


@pytest.mark.parametrize(("n_classes", "named"), [(2, []), (4, ["top_2_accuracy"]), (7, ["top_5_accuracy"])])
def test_the_usual_k(n_classes, named):
    logits, labels = drawn(50, n_classes)
    found = assess_classes(logits, labels, label_names=[str(i) for i in range(n_classes)])
    assert [name for name in found["metrics"] if name.startswith("top_")] == named


def test_many_classes_have_no_matrix_and_absent_ones_no_recall():
    logits, labels = drawn(150, 101)
    labels[labels == 7] = 8
    found = assess_classes(logits, labels, label_names=[f"c{i}" for i in range(101)])
    assert found["confusion_matrix"] is None
    assert found["classes"][7]["recall"] is None and found["classes"][7]["support"] == 0


def test_names_must_fit():
    logits, labels = drawn(20)
    with pytest.raises(ValueError, match="3 names for 4 columns"):
        assess_classes(logits, labels, label_names=NAMES[:3])


def test_temperature_is_that_of_the_validation_data():
    logits, labels = drawn(300)
    of_validation = drawn(200, seed=1, scale=5.0)
    found = assess_temperature(
        logits, labels, validation_logits=of_validation[0], validation_references=of_validation[1], n_bins=10
    )
    assert found["value"] == fit_temperature(*of_validation) != pytest.approx(fit_temperature(logits, labels))
    assert found["validation_samples"] == 200 and found["notes"] == []
    scaled = {"probabilities": apply_temperature(logits, found["value"]), "references": labels}
    assert found["metrics"]["ece"] == expected_calibration_error(**scaled, n_bins=10)
    assert found["metrics"]["nll"] == pytest.approx(reference.log_loss(labels, scaled["probabilities"]))


def test_what_the_fit_warns_of_is_kept():
    logits, labels = drawn(30)
    perfect = np.eye(4)[labels]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = assess_temperature(logits, labels, validation_logits=perfect, validation_references=labels)
    assert len(found["notes"]) == 1 and found["value"] == 0.01


def test_several_labels():
    rng = np.random.default_rng(0)
    logits, labels = rng.normal(size=(60, 3)), rng.integers(2, size=(60, 3))
    found = assess_several_labels(logits, labels, label_names=["a", "b", "c"])
    predictions = (logits > 0).astype(int)
    assert found["metrics"] == pytest.approx(
        {
            "f1_micro": reference.f1_score(labels, predictions, average="micro"),
            "f1_macro": reference.f1_score(labels, predictions, average="macro"),
            "subset_accuracy": reference.accuracy_score(labels, predictions),
            "nll": reference.log_loss(labels.ravel(), 1 / (1 + np.exp(-logits.ravel()))),
        }
    )
    precision, recall, _, _ = reference.precision_recall_fscore_support(labels, predictions)
    assert [row["precision"] for row in found["classes"]] == precision.tolist()
    assert [row["recall"] for row in found["classes"]] == recall.tolist()


def test_scores():
    rng = np.random.default_rng(0)
    true = rng.normal(size=50)
    said = true + rng.normal(size=50)
    found = assess_scores(said[:, None], true)
    assert found["metrics"]["pearson"] == pytest.approx(np.corrcoef(said, true)[0, 1])
    assert found["metrics"]["mse"] == pytest.approx(reference.mean_squared_error(true, said))
    constant = assess_scores(np.zeros((50, 1)), true)["metrics"]
    assert constant["pearson"] is None and constant["spearman"] is None


def test_out_of_distribution():
    inside, _ = drawn(200)
    outside = np.random.default_rng(5).normal(size=(150, 4))
    found = assess_ood(inside, outside, temperature=2.0)
    scores = [softmax(values).max(axis=1) for values in (inside, outside)]
    is_inside = np.repeat([1, 0], [200, 150])
    assert found["auroc"] == pytest.approx(reference.roc_auc_score(is_inside, np.concatenate(scores)))
    scaled = np.concatenate([apply_temperature(values, 2.0).max(axis=1) for values in (inside, outside)])
    assert found["auroc_scaled"] == pytest.approx(reference.roc_auc_score(is_inside, scaled))
    fpr, tpr, _ = reference.roc_curve(is_inside, np.concatenate(scores), drop_intermediate=False)
    assert found["fpr_at_95_tpr"] == pytest.approx(fpr[tpr >= 0.95 - 1e-12][0])
    assert assess_ood(inside, outside)["auroc_scaled"] is None


def test_wilson():
    # Newcombe (1998, Statistics in Medicine 17), table I.
    assert wilson_interval(81, 263) == pytest.approx([0.2553, 0.3662], abs=1e-4)
    assert wilson_interval(0, 20) == pytest.approx([0.0, 0.1611], abs=1e-4)
    assert wilson_interval(20, 20)[1] == 1.0


def test_history_of_memorisation():
    log = [
        {"epoch": 1.0, "loss": 2.0},
        {"epoch": 1.0, "noise_memorised": 0.1, "noise_recovered": 0.8},
        {"epoch": 1.0, "eval_accuracy": 0.7},
        {"epoch": 2.0, "noise_memorised": 0.4, "noise_recovered": float("nan"), "noise_accuracy_on_right": 0.9},
        {"noise_memorised": 0.4},
        "no entry",
        {"epoch": 3.0, "noise_memorised": "much"},
    ]
    assert memorisation_history(log) == [
        {"epoch": 1.0, "noise_memorised": 0.1, "noise_recovered": 0.8, "eval_accuracy": 0.7},
        {"epoch": 2.0, "noise_memorised": 0.4, "noise_accuracy_on_right": 0.9},
    ]
    assert memorisation_history([{"epoch": 1.0, "eval_accuracy": 0.7}]) == []
