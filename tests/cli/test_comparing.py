"""`compare` from Python: the runs and the table of the command, and what it says of values that no command could be given."""

from __future__ import annotations

import csv
import inspect
import json
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
from comparisons import FLAGS
from table_files import write_table
from tiny import tiny_model, tiny_tokenizer
from transformers.trainer_utils import IntervalStrategy
from transformers.utils import logging as hf_logging

from mixtext_hf import compare
from mixtext_hf.cli import comparing
from mixtext_hf.cli.compare import main
from mixtext_hf.cli.comparing import IncomparableRuns
from mixtext_hf.cli.comparison_plan import ComparisonSettings, WrongRun, as_flags
from mixtext_hf.cli.planned_run import PlannedRun
from mixtext_hf.methods import TMix


@pytest.fixture(scope="module")
def given(tmp_path_factory) -> dict:
    """What every run here is given."""
    folder = tmp_path_factory.mktemp("given")
    tiny_model("bert", num_labels=2).base_model.save_pretrained(folder / "base")
    tiny_tokenizer().save_pretrained(folder / "base")
    rows = [{"text": f"w{i % 3 + 1} w{i % 7 + 5} w{i % 5 + 3}", "label": "abc"[i % 3]} for i in range(42)]
    return {
        "train_file": write_table(folder / "train.csv", rows[:30]),
        "test_file": write_table(folder / "test.csv", rows[18:]),
        "model_name_or_path": folder / "base",
        "cache_dir": folder / "cache",
        "use_cpu": True,
        "max_seq_length": 16,
        "max_steps": 2,
        "per_device_train_batch_size": np.int64(4),
        "learning_rate": 1e-2,
    }


@pytest.fixture(scope="module")
def commanded(tmp_path_factory, given) -> Path:
    """The folder of the command."""
    out = tmp_path_factory.mktemp("commanded")
    files = [f"--{name}={given[name]}" for name in ("train_file", "test_file", "model_name_or_path", "cache_dir")]
    own = ["--methods", "erm", "tmix", "--seeds", "0", "--labeled_per_class", "4", f"--output_dir={out}"]
    main(["text", *own, *files, *FLAGS])
    return out


def read_csv(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_the_table_of_the_command(tmp_path, given, commanded):
    settings = (hf_logging.get_verbosity(), hf_logging.is_progress_bar_enabled())
    report = compare("text", ("erm", "tmix"), tmp_path, seeds=np.arange(1), labeled_per_class=[4], **given)
    assert (hf_logging.get_verbosity(), hf_logging.is_progress_bar_enabled()) == settings
    assert str(report) == report.table == (commanded / "table.md").read_text(encoding="utf-8")
    assert report.output_dir == tmp_path and report.split == "test"
    assert {*report.files} == {path.name for path in commanded.iterdir() if path.is_file()}
    for name in ("table.md", "results.csv", "runs.csv"):
        assert (tmp_path / name).read_bytes() == (commanded / name).read_bytes(), name
    # The numbers are those of the files.
    for rows, name in ((report.rows, "results.csv"), (report.runs, "runs.csv")):
        written = [{key: "" if value is None else str(value) for key, value in row.items()} for row in rows]
        assert written == read_csv(commanded / name)
    for metric, row in {row["metric"]: row for row in report.rows if row["variant"] == "tmix"}.items():
        (of_erm, of_tmix) = (run[metric] for run in report.runs)
        assert row["mean"] == of_tmix and row["n_seeds"] == 1
        assert row["low"] <= row["difference"] <= row["high"]
        assert row["difference"] == pytest.approx(of_tmix - of_erm)


def test_it_goes_on_where_the_command_was(given, commanded, monkeypatch):
    before = (commanded / "table.md").read_bytes()
    executed = []
    execute = PlannedRun.execute

    def recorded(self, *, keep_model):
        executed.append(self.setting.name)
        execute(self, keep_model=keep_model)

    monkeypatch.setattr(PlannedRun, "execute", recorded)
    compare("text", ["erm", "tmix"], commanded, seeds=range(1), labeled_per_class=[4], **given)
    assert executed == [] and (commanded / "table.md").read_bytes() == before
    more = compare("text", ["erm", "tmix"], commanded, seeds=range(1), labeled_per_class=[4], alphas=[0.5], **given)
    assert executed == ["tmix-alpha0.5-labels4-seed0"]
    assert [row["variant"] for row in more.rows[::4]] == ["erm", "tmix, alpha 0.5"]


def test_what_methods_are_given(tmp_path, given, monkeypatch):
    planned = []

    class Planned(Exception):
        """Far enough."""

    def stop(comparison):
        planned.extend(comparison.plans)
        raise Planned

    monkeypatch.setattr(comparing.Comparison, "check", stop)
    with pytest.raises(Planned):
        compare(
            "text",
            ["erm", "tmix"],
            tmp_path,
            seeds=[3],
            layer_sets=[(1, 2), [2]],
            method_arguments={"tmix": {"mix_kwargs": {"partner": "same_class"}, "mix_alpha": 0.25}},
            max_predict_samples=12,
            eval_strategy=IntervalStrategy.EPOCH,
            validation_file=given["test_file"],
            **given,
        )
    assert [plan.setting.variant.name for plan in planned] == ["erm", "tmix, layers 1 2", "tmix, layers 2"]
    asked = [plan.configuration["training_arguments"] for plan in planned]
    assert [(one["mix_alpha"], one["mix_layers"], one["mix_kwargs"]) for one in asked] == [
        (None, None, None),
        (0.25, [1, 2], {"partner": "same_class"}),
        (0.25, [2], {"partner": "same_class"}),
    ]
    assert {(one["seed"], one["eval_strategy"], one["per_device_train_batch_size"]) for one in asked} == {
        (3, "epoch", 4)
    }
    assert {plan.max_rows for plan in planned} == {12}


def test_equal_cost_in_place_of_equal_steps(tmp_path, given):
    methods = ["erm", "tmix", "embed_mixup", "frozen"]
    report = compare("text", methods, tmp_path, seeds=[0], step_costs={"tmix": 2.0}, **given)
    # Two steps of the dearest, four of those that cost half of it.
    assert {run["variant"]: run["steps"] for run in report.runs} == {
        "erm": 4,
        "tmix": 2,
        "embed_mixup": 4,
        "frozen": 0,
    }
    assert "Equal cost in place of equal steps. Optimiser steps: tmix 2; erm 4; embed_mixup 4." in report.table
    # The runs are those of an ordinary comparison that took as many steps.
    alone = compare("text", ["erm"], tmp_path, seeds=[0], **{**given, "max_steps": 4})
    assert alone.runs[0]["run"] == report.runs[0]["run"] and "Equal cost" not in alone.table


def test_arguments_and_costs_of_one_method_under_two_names(tmp_path, given):
    report = compare(
        "text",
        ["erm", "tmix", "deep=tmix"],
        tmp_path,
        seeds=[0],
        method_arguments={"deep": {"mix_layers": [2]}},
        step_costs={"deep": 2.0},
        **given,
    )
    assert {run["variant"]: run["steps"] for run in report.runs} == {"erm": 4, "tmix": 4, "deep": 2}
    assert "Optimiser steps: deep 2; erm 4; tmix 4." in report.table
    runs = {plan.name: json.loads((plan / "result.json").read_text()) for plan in (tmp_path / "runs").glob("*0-*/")}
    layers = {
        name.rpartition("-seed0")[0]: run["configuration"]["training_arguments"]["mix_layers"]
        for name, run in runs.items()
    }
    assert layers == {"erm": None, "tmix": None, "deep": [2]}


def test_epochs_are_made_more_as_steps_are(tmp_path, given, monkeypatch):
    planned = []

    def stop(comparison):
        planned.extend(comparison.plans)
        raise KeyboardInterrupt

    monkeypatch.setattr(comparing.Comparison, "check", stop)
    epochs = {**given, "max_steps": -1, "num_train_epochs": 3}
    with pytest.raises(KeyboardInterrupt):
        compare("text", ["erm", "tmix"], tmp_path, seeds=[0], step_costs={"erm": 0.5, "tmix": 0.8}, **epochs)
    trained = [plan.configuration["training_arguments"]["num_train_epochs"] for plan in planned]
    assert trained == pytest.approx([4.8, 3])


def test_its_arguments_are_the_flags():
    parameters = list(inspect.signature(compare).parameters.values())[1:-1]
    own = fields(ComparisonSettings)
    assert {parameter.name for parameter in parameters} == {field.name for field in own}
    built = ComparisonSettings(methods=[], output_dir="")
    for parameter in parameters[2:]:
        default = getattr(built, parameter.name)
        assert parameter.default == (tuple(default) if isinstance(default, list) else default), parameter.name


@pytest.mark.parametrize(
    ("wrong", "kind", "said"),
    [
        ({"kind": "sound"}, ValueError, "kind='sound': choose from text, image"),
        ({"methods": "erm"}, TypeError, r"methods must be a list, got 'erm': write \['erm'\]"),
        ({"methods": [TMix()]}, ValueError, "--methods: there is no method TMix"),
        ({"methods": []}, ValueError, "methods is empty"),
        ({"seeds": 3}, TypeError, r"seeds must be a list, got 3: write \[3\]"),
        ({"seeds": [0.5]}, TypeError, "seeds must be whole numbers, got 0.5"),
        ({"seeds": [True]}, TypeError, "seeds must be whole numbers, got True"),
        ({"seeds": [-1]}, ValueError, "`seeds` must be at least 0, got -1"),
        ({"labeled_per_class": []}, ValueError, "labeled_per_class is empty"),
        ({"alphas": ["2"]}, TypeError, "alphas must be numbers, got '2'"),
        ({"layer_sets": [1, 2]}, TypeError, "layer_sets must be a list, got 1"),
        ({"method_arguments": {"uda": {}}}, ValueError, "'uda' is not among --methods"),
        ({"method_arguments": {"tmix": 3}}, ValueError, "must be an object of objects"),
        (
            {"model_name_or_path": tiny_model("bert")},
            TypeError,
            "model_name_or_path is a Bert.*give it as the command",
        ),
        (
            {"methods": ["erm", "frozen=tmix"]},
            ValueError,
            "--methods: frozen=tmix calls one method by the name of another",
        ),
        ({"methods": ["a=tmax"]}, ValueError, "--methods: there is no method 'tmax'"),
        ({"methods": ["a=tmix"], "method_arguments": {"tmix": {}}}, ValueError, "'tmix' is not among --methods, a"),
        ({"methods": ["a=frozen"], "step_costs": {"a": 1}}, ValueError, "--step_costs: a takes no steps"),
        ({"step_costs": {"uda": 2}}, ValueError, "--step_costs: 'uda' is not among --methods"),
        ({"step_costs": {"tmix": 0}}, ValueError, "--step_costs: tmix must cost a number above 0 .*, got 0"),
        ({"step_costs": {"tmix": "twice"}}, ValueError, "--step_costs: tmix must cost a number .*, got 'twice'"),
        (
            {"methods": ["erm", "frozen"], "step_costs": {"frozen": 1}},
            ValueError,
            "--step_costs: frozen takes no steps",
        ),
        ({"augmenters": [len]}, TypeError, "augmenters holds a builtin_function"),
        ({"mix_method": "tmix"}, ValueError, "--mix_method is not for a comparison"),
        ({"colour": "red"}, ValueError, "erm-seed0: --colour is no argument of"),
        ({"learning_rate": "fast"}, ValueError, "erm-seed0: argument --learning_rate.*invalid float value: 'fast'"),
        ({"alphas": [-1.0]}, WrongRun, "tmix-alpha-1-seed0: mix_alpha must be a finite number >= 0"),
        ({"test_file": "nowhere.csv"}, ValueError, "erm-seed0: .*nowhere.csv"),
        ({"config": "nowhere.yaml"}, ValueError, "--config nowhere.yaml: there is no such file"),
    ],
)
def test_wrong_values_are_raised_and_nothing_is_written(tmp_path, given, wrong, kind, said):
    out = tmp_path / "out"
    with pytest.raises(kind, match=said):
        compare(**{"kind": "text", "methods": ["erm", "tmix"], "output_dir": out, "seeds": [0], **given, **wrong})
    assert not out.exists()


def test_a_run_that_turns_out_wrong_is_named_and_the_others_are_kept(tmp_path, given, monkeypatch, capsys):
    execute = PlannedRun.execute

    def without_model(self, *, keep_model):
        if self.setting.variant.method == "erm":
            self.argv.append("--model_name_or_path=gone")
        execute(self, keep_model=keep_model)

    monkeypatch.setattr(PlannedRun, "execute", without_model)
    with pytest.raises(IncomparableRuns, match="1 of 2 runs failed, so there is no table: erm-seed0-"):
        compare("text", ["erm", "tmix"], tmp_path, seeds=[0], **given)
    assert "failed: model_name_or_path='gone'" in capsys.readouterr().err
    assert [path.parent.name[:10] for path in tmp_path.glob("runs/*/result.json")] == ["tmix-seed0"]


def test_values_of_python_as_flags():
    flags = as_flags({"a": None, "b": Path("x") / "y", "c": (1, np.float32(0.5)), "d": {"e": (1, 2)}, "f": True})
    assert flags == [f"--b={Path('x', 'y')}", "--c", "1", "0.5", '--d={"e": [1, 2]}', "--f=True"]
