"""The `evaluate` modules: loaded by path, without a network, each gives its function's number."""

import os
import random
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import evaluate
import numpy as np
import pytest
from processes import run_python

from mixtext_hf.evaluation import METRIC_NAMES, load_metric, metric_path
from mixtext_hf.evaluation.measures import metrics


RNG = np.random.default_rng(0)
LABELS = {"predictions": RNG.integers(0, 2, 40), "references": RNG.integers(0, 2, 40)}
VALUES = {"predictions": RNG.normal(size=40), "references": RNG.normal(size=40)}
PROBABILITIES = {"predictions": metrics.softmax(RNG.normal(size=(40, 3))), "references": RNG.integers(0, 3, 40)}
MULTI_HOT = {"predictions": RNG.integers(0, 2, (40, 3)), "references": RNG.integers(0, 2, (40, 3))}
CASES = {
    "accuracy": (metrics.accuracy, LABELS),
    "balanced_accuracy": (metrics.balanced_accuracy, LABELS),
    "macro_f1": (metrics.macro_f1, LABELS),
    "f1": (metrics.binary_f1, LABELS),
    "matthews_correlation": (metrics.matthews_correlation, LABELS),
    "top_k_accuracy": (metrics.top_k_accuracy, PROBABILITIES),
    "pearson": (metrics.pearson, VALUES),
    "spearman": (metrics.spearman, VALUES),
    "mse": (metrics.mean_squared_error, VALUES),
    "nll": (metrics.negative_log_likelihood, PROBABILITIES),
    "brier": (metrics.brier_score, PROBABILITIES),
    "ece": (metrics.expected_calibration_error, PROBABILITIES),
    "ece_equal_mass": (metrics.ece_equal_mass, PROBABILITIES),
    "classwise_ece": (metrics.classwise_ece, PROBABILITIES),
    "mce": (metrics.maximum_calibration_error, PROBABILITIES),
    "f1_micro": (metrics.f1_micro, MULTI_HOT),
    "f1_macro": (metrics.f1_macro, MULTI_HOT),
    "subset_accuracy": (metrics.subset_accuracy, MULTI_HOT),
}


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    def refuse(*arguments, **keywords):
        raise AssertionError(f"a metric reached for the network: {arguments}")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


def key(name):
    return "top_2_accuracy" if name == "top_k_accuracy" else name


def expected_value(name):
    function, pair = CASES[name]
    first = "probabilities" if pair is PROBABILITIES else "predictions"
    return function(**{first: pair["predictions"], "references": pair["references"]})


def test_there_is_a_case_for_every_module():
    folder = Path(metric_path("accuracy")).parent.parent
    assert set(CASES) == set(METRIC_NAMES)
    assert {path.name for path in folder.iterdir() if (path / f"{path.name}.py").exists()} == set(METRIC_NAMES)


@pytest.mark.parametrize("name", METRIC_NAMES)
def test_module_gives_the_function_s_number(name, tmp_path):
    expected = {key(name): expected_value(name)}
    module = load_metric(name)
    assert module.name == name
    assert module.compute(**CASES[name][1]) == expected
    # As anybody would, with files instead of memory.
    plain = evaluate.load(metric_path(name), cache_dir=str(tmp_path))
    assert plain.compute(**CASES[name][1]) == expected
    assert module.description and module.citation.startswith("@") and "references" in module.inputs_description


@pytest.mark.parametrize("name", ["accuracy", "ece"])
def test_copied_module_loads(name, tmp_path):
    copy = tmp_path / name / f"{name}.py"
    copy.parent.mkdir()
    shutil.copyfile(metric_path(name), copy)
    for path in (copy, copy.parent):
        assert load_metric(str(path)).compute(**CASES[name][1]) == {name: expected_value(name)}


def test_combine():
    combined = evaluate.combine([load_metric(name) for name in ("accuracy", "macro_f1", "f1")])
    assert combined.compute(**LABELS) == {name: expected_value(name) for name in ("accuracy", "macro_f1", "f1")}
    calibration = evaluate.combine([load_metric(name) for name in ("nll", "brier", "ece")])
    assert calibration.compute(**PROBABILITIES) == {name: expected_value(name) for name in ("nll", "brier", "ece")}


def test_batches_are_collected():
    module = load_metric("ece")
    other = load_metric("ece")
    other.add_batch(predictions=[[1.0, 0.0, 0.0]], references=[1])
    for start in range(0, 40, 16):
        module.add_batch(**{key: values[start : start + 16] for key, values in PROBABILITIES.items()})
    assert module.compute() == {"ece": expected_value("ece")}
    assert other.compute() == {"ece": 1.0}


def test_loaded_modules_share_no_file():
    first, second = load_metric("accuracy"), load_metric("accuracy")
    assert first.experiment_id != second.experiment_id
    before = sorted(Path(first.data_dir).iterdir())
    first.add_batch(**LABELS)
    assert sorted(Path(first.data_dir).iterdir()) == before
    assert first.compute() == {"accuracy": expected_value("accuracy")}


@pytest.mark.parametrize("name", ["ece", "ece_equal_mass", "classwise_ece", "mce"])
def test_binned_modules_take_n_bins(name):
    probabilities, references = PROBABILITIES["predictions"], PROBABILITIES["references"]
    function, _ = CASES[name]
    coarse, fine = (function(probabilities=probabilities, references=references, n_bins=n) for n in (2, 15))
    assert coarse != fine
    assert load_metric(name).compute(**PROBABILITIES, n_bins=2) == {name: coarse}


def test_top_k_takes_k_from_its_name_or_its_configuration(tmp_path):
    probabilities = metrics.softmax(np.random.default_rng(2).normal(size=(40, 12)))
    pair = {"predictions": probabilities, "references": np.arange(40) % 12}
    found = set()
    for k in (1, 2, 5, 10):
        value = metrics.top_k_accuracy(probabilities=probabilities, references=pair["references"], k=k)
        expected = {f"top_{k}_accuracy": value}
        assert load_metric(f"top_{k}_accuracy").compute(**pair) == expected
        assert load_metric("top_k_accuracy", config_name=str(k)).compute(**pair) == expected
        plain = evaluate.load(metric_path("top_k_accuracy"), str(k), cache_dir=str(tmp_path))
        assert plain.compute(**pair) == expected
        found.add(value)
    assert len(found) == 4
    combined = evaluate.combine([load_metric(f"top_{k}_accuracy") for k in (2, 5)])
    assert list(combined.compute(**pair)) == ["top_2_accuracy", "top_5_accuracy"]


def test_top_k_errors():
    for name in ("top_0_accuracy", "top_02_accuracy", "top_-1_accuracy", "top_1.5_accuracy", "top_accuracy"):
        with pytest.raises(ValueError, match=rf'top_<k>_accuracy \(such as top_5_accuracy\).*got "{re.escape(name)}"'):
            load_metric(name)
    with pytest.raises(ValueError, match=r'must be k.*got "five"'):
        load_metric("top_k_accuracy", config_name="five")
    with pytest.raises(ValueError, match=r'"top_5_accuracy" says k already.*got "3"'):
        load_metric("top_5_accuracy", config_name="3")
    with pytest.raises(ValueError, match=r'got "top_5_accuracy". Write `evaluate.load\(.*"5"\)`'):
        metric_path("top_5_accuracy")
    with pytest.raises(ValueError, match="`k` must be less than the number of classes, got 3 for 3"):
        load_metric("top_3_accuracy").compute(**PROBABILITIES)


def test_nll_of_several_labels():
    probabilities = metrics.sigmoid(np.linspace(-3, 3, 120).reshape(40, 3))
    expected = metrics.multilabel_nll(probabilities=probabilities, references=MULTI_HOT["references"])
    module = load_metric("nll", config_name="multilabel")
    assert module.compute(predictions=probabilities, references=MULTI_HOT["references"]) == {"nll": expected}
    with pytest.raises(ValueError, match=r'"default" or "multilabel", got "several"'):
        load_metric("nll", config_name="several")


def test_a_refused_batch_leaves_nothing_behind():
    module = load_metric("accuracy")
    with pytest.raises(ValueError, match="hidden"):
        module.compute(predictions=[0, 1], references=[-1, -1])
    with pytest.raises(ValueError, match="Mismatch in the number of predictions"):
        module.compute(predictions=[0, 1, 1], references=[0, 1])
    assert module.compute(predictions=[0, 1], references=[0, 0]) == {"accuracy": 0.5}


def test_random_states_are_left_alone():
    torch = pytest.importorskip("torch")
    module = load_metric("brier")
    before = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()
    module.compute(**PROBABILITIES)
    assert before == (random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist())


def test_load_errors():
    for load in (metric_path, load_metric):
        with pytest.raises(ValueError, match=r'accuracy.*subset_accuracy.*got "acuracy"'):
            load("acuracy")
    with pytest.raises(TypeError, match="got int"):
        load_metric(3)
    loaded = load_metric("accuracy")
    assert load_metric(loaded) is loaded


# Two at once: forks, so that what all need is imported once.
SCRIPT = """
import os, socket, sys, traceback
def refuse(*arguments, **keywords): raise SystemExit("reached for the network: %r" % (arguments,))
socket.socket.connect = socket.getaddrinfo = refuse
import evaluate
from mixtext_hf.evaluation import METRIC_NAMES, load_metric

def load(number):
    modules = [load_metric(name) for name in METRIC_NAMES]
    found = modules[0].compute(predictions=[0, 1], references=[0, 0])
    open(os.path.join(sys.argv[1], str(number)), "w").write(f"{found} {len(modules)}")

forks = []
for number in range(2):
    forks.append(os.fork())
    if not forks[-1]:
        try:
            load(number)
        except BaseException:
            traceback.print_exc()
        os._exit(0)
for fork in forks:
    os.waitpid(fork, 0)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
def test_parallel_processes_with_an_empty_cache_and_no_offline_flag(tmp_path):
    environment = {key: value for key, value in os.environ.items() if not key.endswith("_OFFLINE")}
    environment |= {"HF_HOME": str(tmp_path), "HF_MODULES_CACHE": str(tmp_path / "modules"), "OMP_NUM_THREADS": "1"}
    done = run_python(SCRIPT, tmp_path, environment=environment)
    for number in ("0", "1"):
        assert (tmp_path / number).is_file(), done.stderr
        assert (tmp_path / number).read_text() == f"{{'accuracy': 0.5}} {len(METRIC_NAMES)}"


def test_import_is_light():
    script = (
        "import sys\n"
        "import mixtext_hf\n"
        "before = set(sys.modules)\n"
        "import mixtext_hf.evaluation\n"
        "heavy = {'matplotlib', 'evaluate', 'sklearn', 'scipy', 'datasets'} & (set(sys.modules) - before)\n"
        "sys.exit(', '.join(heavy) or None)\n"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    finished = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True)
    assert finished.returncode == 0, finished.stderr
