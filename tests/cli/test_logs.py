"""What somebody sees while a command works: readable lines, each warning once, no table for a new head."""

from __future__ import annotations

import logging
import re

import datasets
import pytest
from table_files import write_table
from tiny import tiny_model, tiny_tokenizer
from transformers.utils import logging as hf_logging

from mixtext_hf import MixableModelForSequenceClassification
from mixtext_hf._quiet import errors_alone
from mixtext_hf.cli import show_mixes
from mixtext_hf.cli.benchmark import command as benchmark
from mixtext_hf.cli.log_lines import metrics_line
from mixtext_hf.cli.logs import OnceOnly, set_up_logging
from mixtext_hf.cli.train_text import main
from mixtext_hf.training import MixTrainingArguments


def test_a_warning_passes_once():
    def record(level, text):
        return logging.LogRecord("some.module", level, "file.py", 1, "%s", (text,), None)

    once = OnceOnly()
    passed = [once.filter(record(logging.WARNING, text)) for text in ("a", "b", "a", "a", "b")]
    assert passed == [True, True, False, False, False]
    assert [once.filter(record(logging.INFO, "a")) for _ in range(2)] == [True, True]


def test_a_warning_of_transformers_comes_once(capsys):
    for _ in range(2):
        set_up_logging()
    handlers = logging.getLogger("transformers").handlers
    assert any(type(handler) is logging.StreamHandler for handler in handlers)
    for handler in handlers:
        # That of the tests, which others may add too, is left alone.
        is_its_own = type(handler) is logging.StreamHandler
        assert sum(isinstance(one, OnceOnly) for one in handler.filters) == is_its_own


def test_requests_are_not_logged():
    set_up_logging()
    for name in ("httpx", "httpx2", "httpcore", "urllib3"):
        assert not logging.getLogger(name).isEnabledFor(logging.INFO)


def test_the_results_of_a_split_are_one_line():
    metrics = {
        **{"eval_accuracy": 0.92512, "eval_loss": 0.21, "eval_samples": 1400, "eval_runtime": 2.14},
        **{"eval_samples_per_second": 654.2, "eval_steps_per_second": 81.8, "epoch": 3.0},
    }
    expected = "validation: loss 0.21, accuracy 0.9251 (1,400 texts, 2.1 s)"
    assert metrics_line("validation", metrics, "eval", "texts") == expected


def test_a_split_without_labels_has_its_size_alone():
    metrics = {"predict_samples": 300, "predict_runtime": 1.13, "predict_model_preparation_time": 0.0013}
    assert metrics_line("test", metrics, "predict", "texts") == "test: 300 texts, 1.1 s"


@pytest.fixture
def base(tmp_path):
    """A model without a head."""
    tiny_model("bert").base_model.save_pretrained(tmp_path / "base")
    tiny_tokenizer().save_pretrained(tmp_path / "base")
    return str(tmp_path / "base")


def test_training_is_told_in_some_twenty_lines(tmp_path, base, capsys, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    rows = [{"text": f"w{i % 7} w{i % 5}", "label": "ab"[i % 2]} for i in range(12)]
    argv = [f"--train_file={write_table(tmp_path / 'train.csv', rows)}", f"--model_name_or_path={base}"]
    quiet = ["--use_cpu", "--disable_tqdm=true", "--report_to=none", "--save_strategy=no", "--max_seq_length=16"]
    shape = ["--max_steps=40", "--per_device_train_batch_size=2", "--validation_split_fraction=0.25"]
    capsys.readouterr()
    main([*argv, *quiet, *shape, f"--output_dir={tmp_path / 'out'}", "--do_train", "--do_eval"])
    lines = capsys.readouterr().out.splitlines()
    steps = [line for line in lines if line.startswith("step ")]
    assert len(steps) == 20
    assert re.fullmatch(r"step 2/40, epoch 0\.4: loss \d.*, learning_rate 4\.875e-05.*", steps[0])
    assert not any("{" in line or "***" in line for line in lines)
    assert any(re.fullmatch(r"train: loss \d\S* \(9 texts, \S+ s\)", line) for line in lines)
    assert any(re.match(r"validation: loss \d\S*, accuracy \d\S*, .* \(3 texts, \S+ s\)", line) for line in lines)


def test_lines_fit_the_length_and_evaluations_stay_apart(tmp_path):
    settings = {"output_dir": str(tmp_path), "use_cpu": True, "report_to": "none"}
    args = MixTrainingArguments(**settings, eval_strategy="steps", load_best_model_at_end=True)
    assert (args.logging_steps, args.eval_steps, args.save_steps) == (0.05, 500, 500)
    given = MixTrainingArguments(**settings, eval_strategy="steps", logging_steps=50)
    assert (given.logging_steps, given.eval_steps) == (50, 50)


@pytest.fixture
def heard(monkeypatch):
    """What transformers logs goes on to `caplog`, which by itself hears it from pytest 9 on only."""
    monkeypatch.setattr(logging.getLogger("transformers"), "propagate", True)


def test_a_new_head_is_one_line(base, caplog, heard):
    with caplog.at_level(logging.INFO):
        MixableModelForSequenceClassification.from_pretrained(base, num_labels=3)
    said = [record.getMessage() for record in caplog.records if "head" in record.getMessage()]
    assert said == ["The head is new: classifier.bias, classifier.weight."]
    assert "LOAD REPORT" not in caplog.text
    caplog.clear()
    # Whoever measures wants a head that was trained.
    MixableModelForSequenceClassification.without_hooks(base, num_labels=3, may_be_new=False)
    (record,) = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert "does not hold classifier.bias, classifier.weight (2 weights of the head)" in record.getMessage()


def test_where_loading_fails_the_table_comes(tmp_path, caplog, heard):
    tiny_model("bert", num_labels=5).save_pretrained(tmp_path)
    with pytest.raises(RuntimeError):
        MixableModelForSequenceClassification.from_pretrained(str(tmp_path), num_labels=3)
    assert "classifier.weight" in caplog.text


def test_quiet_is_over_when_a_command_is(capsys):
    before = hf_logging.get_verbosity()
    for command in (show_mixes.main, benchmark.main):
        with pytest.raises(SystemExit):
            command(["--nothing"])
        assert hf_logging.get_verbosity() == before
    with errors_alone():
        assert hf_logging.get_verbosity() == logging.ERROR
    assert hf_logging.get_verbosity() == before
