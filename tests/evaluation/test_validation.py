"""Each array is looked at once a call, however many metrics are made of it; and what was not checked is."""

from __future__ import annotations

import numpy as np
import pytest
from transformers import EvalPrediction

from mixtext_hf.evaluation import DEFAULT_METRICS, make_compute_metrics
from mixtext_hf.evaluation.comparison.tables import Outcome
from mixtext_hf.evaluation.measures import metrics, validation
from mixtext_hf.evaluation.measures.from_logits import (
    assess_classes,
    assess_scores,
    assess_several_labels,
    assess_temperature,
)
from mixtext_hf.evaluation.measures.loading import METRICS_OF_PROBLEM
from mixtext_hf.evaluation.measures.validation import Checked, check_probability_pair
from mixtext_hf.evaluation.robustness.noisy_rows import measured
from mixtext_hf.problem_types import MULTI_LABEL, REGRESSION, SINGLE_LABEL


RNG = np.random.default_rng(0)
LOGITS, CLASSES = RNG.normal(size=(40, 4)), RNG.integers(0, 4, 40)
SEVERAL = RNG.integers(0, 2, (40, 4))
PAIRS = {
    SINGLE_LABEL: (LOGITS, CLASSES),
    MULTI_LABEL: (LOGITS, SEVERAL.astype(np.float32)),
    REGRESSION: (LOGITS[:, :1], LOGITS[:, 1]),
}


@pytest.fixture
def looked_at(monkeypatch):
    """The names of the arrays that are checked, each time they are."""
    names = []
    check_shape = validation._check_shape

    def spy(name, *args):
        names.append(name)
        check_shape(name, *args)

    monkeypatch.setattr(validation, "_check_shape", spy)
    return names


@pytest.mark.parametrize("top_k", [[], [1, 2, 3]])
def test_a_report_looks_at_its_arrays_once(looked_at, top_k):
    found = assess_classes(LOGITS, CLASSES, label_names="abcd", top_k=top_k)
    assert len(found["metrics"]) == 10 + len(top_k) and looked_at == ["logits", "references"]


def test_so_do_those_of_other_tasks(looked_at):
    assess_several_labels(LOGITS, SEVERAL, label_names="abcd")
    assert looked_at == ["logits", "references"]
    looked_at.clear()
    assess_scores(*PAIRS[REGRESSION])
    assert looked_at == ["predictions", "references"]


def test_of_the_scaled_logits_there_are_two_looks(looked_at):
    """Before the division, and behind it: a small temperature may take them beyond what a float holds."""
    assess_temperature(LOGITS, CLASSES, validation_logits=LOGITS, validation_references=CLASSES)
    assert looked_at == ["logits", "references", "logits", "logits", "references"]


def test_what_is_measured_of_noise_and_of_runs(looked_at):
    measured(LOGITS, CLASSES)
    assert looked_at == ["logits", "probabilities", "references"]
    looked_at.clear()
    Outcome("erm", None, 0, metrics.softmax(LOGITS), CLASSES).metrics()
    assert looked_at == ["logits", "probabilities", "references"]


@pytest.mark.parametrize("task", PAIRS)
def test_an_evaluation_looks_as_often_for_all_metrics_as_for_the_usual(task, looked_at):
    logits, references = PAIRS[task]
    # Those of two classes alone are left out.
    names = [name for name in METRICS_OF_PROBLEM[task] if name != "f1"]
    counts = []
    for chosen in (names[:1], list(DEFAULT_METRICS[task]), names):
        compute = make_compute_metrics(task, metrics=chosen)
        looked_at.clear()
        found = compute(EvalPrediction(predictions=logits, label_ids=references))
        assert len(found) == len(chosen)
        counts.append(len(looked_at))
    # Once more of the classes, whose number the probabilities tell.
    assert counts[0] == 2 and counts[1] == counts[2] == (3 if task == SINGLE_LABEL else 2)


@pytest.mark.parametrize("name", ["negative_log_likelihood", "brier_score", "classwise_ece", "ece_equal_mass"])
def test_what_was_checked_gives_the_same_number(name):
    probabilities = metrics.softmax(LOGITS)
    checked = Checked(*check_probability_pair(probabilities, CLASSES), "probabilities")
    metric = getattr(metrics, name)
    assert metric(probabilities=checked, references=checked.references) == metric(
        probabilities=probabilities, references=CLASSES
    )


def test_with_other_references_or_as_another_kind_it_is_checked():
    probabilities = metrics.softmax(LOGITS)
    checked = Checked(probabilities, CLASSES, "probabilities")
    for others, said in ((CLASSES[:-1], "the same length"), (CLASSES + 4, r"labels in 0\.\.3")):
        with pytest.raises(ValueError, match=said):
            metrics.brier_score(probabilities=checked, references=others)
    wrong = Checked(2 * probabilities, CLASSES, "unit interval")
    with pytest.raises(ValueError, match="must lie in"):
        metrics.brier_score(probabilities=wrong, references=CLASSES)
    decided = Checked(CLASSES, CLASSES, "labels")
    with pytest.raises(ValueError, match=r"labels in 0\.\.1"):
        metrics.binary_f1(predictions=decided, references=CLASSES)
