"""`make_compute_metrics`: from a Trainer's logits to the numbers of `metrics.py`."""

import evaluate
import numpy as np
import pytest
from transformers import EvalPrediction

from mixtext_hf.evaluation import DEFAULT_METRICS, METRIC_NAMES, make_compute_metrics, metric_path
from mixtext_hf.evaluation.measures import loading, metrics


RNG = np.random.default_rng(1)
LOGITS = (2 * RNG.normal(size=(60, 4))).astype(np.float32)
LABELS = RNG.integers(0, 4, 60)
SINGLE = "single_label_classification"
MULTI = "multi_label_classification"


def test_single_label_defaults():
    results = make_compute_metrics(SINGLE)(EvalPrediction(predictions=LOGITS, label_ids=LABELS))
    hard = {"predictions": LOGITS.argmax(axis=1), "references": LABELS}
    soft = {"probabilities": metrics.softmax(LOGITS), "references": LABELS}
    assert results == {
        "accuracy": metrics.accuracy(**hard),
        "balanced_accuracy": metrics.balanced_accuracy(**hard),
        "macro_f1": metrics.macro_f1(**hard),
        "nll": metrics.negative_log_likelihood(**soft),
        "brier": metrics.brier_score(**soft),
        "ece": metrics.expected_calibration_error(**soft),
    }
    assert all(type(value) is float for value in results.values())
    # NLL from the logits, by another road.
    shifted = LOGITS.astype(np.float64)
    expected = np.mean(np.log(np.exp(shifted).sum(axis=1)) - shifted[np.arange(60), LABELS])
    assert results["nll"] == pytest.approx(expected, abs=1e-9)


def test_every_binned_metric_gets_probabilities():
    functions = {
        "ece": metrics.expected_calibration_error,
        "ece_equal_mass": metrics.ece_equal_mass,
        "classwise_ece": metrics.classwise_ece,
        "mce": metrics.maximum_calibration_error,
    }
    results = make_compute_metrics(SINGLE, metrics=list(functions))(EvalPrediction(LOGITS, LABELS))
    soft = {"probabilities": metrics.softmax(LOGITS), "references": LABELS}
    assert results == {name: function(**soft) for name, function in functions.items()}
    assert len(set(results.values())) == 4


def test_top_k_of_any_k():
    compute_metrics = make_compute_metrics(
        SINGLE, metrics=["accuracy", "top_1_accuracy", "top_2_accuracy"], num_labels=4
    )
    results = compute_metrics(EvalPrediction(predictions=LOGITS, label_ids=LABELS))
    probabilities = metrics.softmax(LOGITS)
    assert list(results) == ["accuracy", "top_1_accuracy", "top_2_accuracy"]
    assert results["accuracy"] == results["top_1_accuracy"] < results["top_2_accuracy"]
    assert results["top_2_accuracy"] == metrics.top_k_accuracy(probabilities=probabilities, references=LABELS, k=2)
    assert not any("top" in name for names in DEFAULT_METRICS.values() for name in names)


def test_top_k_errors():
    # Before the first evaluation where the number of classes is known, in it where it is not.
    with pytest.raises(ValueError, match="got 4 for 4: top_4_accuracy would be 1"):
        make_compute_metrics(SINGLE, metrics=["top_4_accuracy"], num_labels=4)
    with pytest.raises(ValueError, match="got 2 for 2"):
        make_compute_metrics(SINGLE, metrics=["top_k_accuracy"], num_labels=2)
    compute_metrics = make_compute_metrics(SINGLE, metrics=["top_4_accuracy"])
    with pytest.raises(ValueError, match="got 4 for 4"):
        compute_metrics(EvalPrediction(predictions=LOGITS, label_ids=LABELS))
    for problem_type in (MULTI, "regression"):
        with pytest.raises(ValueError, match=r'"top_5_accuracy", which is not defined for problem_type'):
            make_compute_metrics(problem_type, metrics=["top_5_accuracy"])
    with pytest.raises(ValueError, match=r'such as top_5_accuracy.*got "top_0_accuracy"'):
        make_compute_metrics(SINGLE, metrics=["top_0_accuracy"])


def test_multi_label_defaults():
    logits, labels = LOGITS[:, :3], RNG.integers(0, 2, (60, 3)).astype(np.float32)
    results = make_compute_metrics(MULTI)(EvalPrediction(predictions=logits, label_ids=labels))
    hard = {"predictions": metrics.sigmoid(logits) > 0.5, "references": labels}
    assert results == {
        "f1_micro": metrics.f1_micro(**hard),
        "f1_macro": metrics.f1_macro(**hard),
        "subset_accuracy": metrics.subset_accuracy(**hard),
        "nll": metrics.multilabel_nll(probabilities=metrics.sigmoid(logits), references=labels),
    }
    assert 0 < results["f1_macro"] < 1


@pytest.mark.parametrize("predictions_shape, labels_shape", [((60, 1), (60,)), ((60,), (60,)), ((60, 1), (60, 1))])
def test_regression_defaults(predictions_shape, labels_shape):
    predictions, labels = RNG.normal(size=60), RNG.normal(size=60)
    prediction = EvalPrediction(
        predictions=predictions.reshape(predictions_shape), label_ids=labels.reshape(labels_shape)
    )
    pair = {"predictions": predictions, "references": labels}
    assert make_compute_metrics("regression")(prediction) == {
        "pearson": metrics.pearson(**pair),
        "spearman": metrics.spearman(**pair),
        "mse": metrics.mean_squared_error(**pair),
    }


def test_first_element_of_a_tuple_is_the_logits():
    compute_metrics = make_compute_metrics(SINGLE)
    hidden_states = np.zeros((60, 5, 8), dtype=np.float32)
    plain = compute_metrics(EvalPrediction(predictions=LOGITS, label_ids=LABELS))
    assert compute_metrics(EvalPrediction(predictions=(LOGITS, hidden_states), label_ids=LABELS)) == plain


def test_all_kinds_of_metrics():
    seen = []

    def error_rate(prediction):
        seen.append(prediction)
        return {"error": 1 - np.mean(prediction.predictions.argmax(axis=1) == prediction.label_ids)}

    own = evaluate.combine(
        [evaluate.load(metric_path("macro_f1")), evaluate.load(metric_path("matthews_correlation"))]
    )
    compute_metrics = make_compute_metrics(SINGLE, metrics=["ece", metric_path("accuracy"), own, error_rate])
    prediction = EvalPrediction(predictions=LOGITS, label_ids=LABELS)
    results = compute_metrics(prediction)
    assert list(results) == ["ece", "accuracy", "macro_f1", "matthews_correlation", "error"]
    assert results["accuracy"] == np.mean(LOGITS.argmax(axis=1) == LABELS)
    assert results["error"] == pytest.approx(1 - results["accuracy"])
    assert len(seen) == 1 and seen[0] is prediction


@pytest.mark.parametrize("problem_type", loading.METRICS_OF_PROBLEM)
def test_own_metrics_are_those_of_their_modules_without_the_way_through_arrow(problem_type, monkeypatch):
    names = list(loading.METRICS_OF_PROBLEM[problem_type])
    if problem_type == SINGLE:
        names += ["top_3_accuracy"]
        logits, labels = LOGITS, LABELS % 2
        logits = logits - np.array([0, 0, 50, 50], dtype=np.float32)  # classes 0 and 1, for f1
    elif problem_type == MULTI:
        logits, labels = LOGITS, RNG.integers(0, 2, (60, 4)).astype(np.float32)
    else:
        logits, labels = LOGITS[:, :1], RNG.normal(size=60).astype(np.float32)
    prediction = EvalPrediction(predictions=logits, label_ids=labels)
    inputs = loading._Inputs(problem_type, prediction)
    expected = {}
    for name in names:
        module = loading.load_metric(
            name, config_name="multilabel" if name == "nll" and problem_type == MULTI else None
        )
        soft = loading._module_and_k(name)[0] in loading.PROBABILITY_METRICS
        given = inputs.probabilities.values if soft else inputs.hard_predictions
        expected |= module.compute(predictions=given.tolist(), references=inputs.references.tolist())
    compute_metrics = make_compute_metrics(problem_type, metrics=names)

    def refuse(self, **keywords):
        raise AssertionError("through Arrow")

    monkeypatch.setattr(evaluate.EvaluationModule, "compute", refuse)
    assert compute_metrics(prediction) == expected
    assert len(expected) == len(names)


def test_probabilities_are_made_once(monkeypatch):
    calls, softmax = [], loading.softmax_of_finite
    monkeypatch.setattr(loading, "softmax_of_finite", lambda logits: calls.append(1) or softmax(logits))
    make_compute_metrics(SINGLE)(EvalPrediction(predictions=LOGITS, label_ids=LABELS))
    assert calls == [1]


def test_modules_are_loaded_once(monkeypatch):
    calls = []
    load_metric = loading.load_metric

    def counted(metric, **keywords):
        calls.append(metric)
        return load_metric(metric, **keywords)

    monkeypatch.setattr(loading, "load_metric", counted)
    compute_metrics = make_compute_metrics(SINGLE)
    assert calls == list(DEFAULT_METRICS[SINGLE])
    first, second = (compute_metrics(EvalPrediction(predictions=LOGITS, label_ids=LABELS)) for _ in range(2))
    assert first == second
    assert calls == list(DEFAULT_METRICS[SINGLE])


@pytest.mark.parametrize("problem_type", loading.METRICS_OF_PROBLEM)
def test_metrics_that_do_not_fit_are_refused_when_made(problem_type):
    fitting = loading.METRICS_OF_PROBLEM[problem_type]
    assert set(DEFAULT_METRICS[problem_type]) <= set(fitting) < set(METRIC_NAMES)
    for name in set(METRIC_NAMES) - set(fitting):
        with pytest.raises(ValueError, match=rf'"{name}", which is not defined for problem_type="{problem_type}"'):
            make_compute_metrics(problem_type, metrics=[name])


def test_make_errors():
    with pytest.raises(ValueError, match=r'`problem_type` must be one of.*got "ranking"'):
        make_compute_metrics("ranking")
    with pytest.raises(ValueError, match=r'got the string "accuracy"'):
        make_compute_metrics(SINGLE, metrics="accuracy")
    with pytest.raises(ValueError, match=r'got "bleu"'):
        make_compute_metrics(SINGLE, metrics=["bleu"])
    with pytest.raises(ValueError, match="got 3"):
        make_compute_metrics(SINGLE, metrics=[3])


@pytest.mark.parametrize(
    "problem_type, predictions, labels, message",
    [
        (SINGLE, LOGITS, np.full(60, -1), "`label_ids` must be labels from 0 on, got -1"),
        (SINGLE, LOGITS, LABELS + 0.7, "`label_ids` must be class labels of an integer dtype"),
        (SINGLE, np.full((60, 4), np.nan), LABELS, r"`predictions\[0, 0\]` is nan"),
        (SINGLE, LOGITS[:, 0], LABELS, r"`predictions` must have shape \(N, C\)"),
        (MULTI, LOGITS, LOGITS, r"`label_ids` must hold only 0 and 1"),
        ("regression", LOGITS, LABELS, r"`predictions` must have shape \(N,\), got \(60, 4\)"),
    ],
)
def test_wrong_data_is_refused(problem_type, predictions, labels, message):
    with pytest.raises(ValueError, match=message):
        make_compute_metrics(problem_type)(EvalPrediction(predictions=predictions, label_ids=labels))


def test_two_metrics_with_one_key():
    compute_metrics = make_compute_metrics(SINGLE, metrics=["accuracy", lambda prediction: {"accuracy": 1.0}])
    with pytest.raises(ValueError, match='return the key "accuracy"'):
        compute_metrics(EvalPrediction(predictions=LOGITS, label_ids=LABELS))


def test_a_metric_must_be_one_number():
    compute_metrics = make_compute_metrics(SINGLE, metrics=[lambda prediction: {"f1": np.array([0.5, 0.25])}])
    with pytest.raises(ValueError, match='The metric "f1" must be one number'):
        compute_metrics(EvalPrediction(predictions=LOGITS, label_ids=LABELS))
