"""Long tails by the commands: made, trained on, measured by class, and compared."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import datasets
import numpy as np
import pytest
from comparisons import FLAGS
from table_files import write_table
from tiny import tiny_model, tiny_tokenizer

from mixtext_hf.cli import compare, train_image
from mixtext_hf.cli.train_text import main, make_run
from mixtext_hf.data import load_image_datasets


NAMES = ("ham", "spam", "egg")


@pytest.fixture(autouse=True)
def private_cache(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> str:
    folder = tmp_path_factory.mktemp("base")
    tiny_model("bert", num_labels=2).base_model.save_pretrained(folder)
    tiny_tokenizer().save_pretrained(folder)
    return str(folder)


def rows(count: int) -> list[dict]:
    return [{"text": f"w{i % 3 + 1} w{i % 7 + 5} w{i % 5 + 3} w{i % 11}", "label": NAMES[i % 3]} for i in range(count)]


@pytest.fixture
def given(tmp_path, base) -> list[str]:
    files = [
        f"--{name}_file={write_table(tmp_path / f'{name}.csv', rows(n))}" for name, n in (("train", 90), ("test", 31))
    ]
    return [*files, f"--model_name_or_path={base}", *FLAGS]


def flags(out: Path, given: list[str], *more: str) -> list[str]:
    own = ["--save_strategy=no", "--report_to=none", "--disable_tqdm=true", f"--output_dir={out}"]
    return [*given, *own, "--do_train", *more]


def test_a_long_tail_is_made_trained_on_and_measured(tmp_path, given):
    out = tmp_path / "out"
    asked = ["--imbalance=10", "--labeled_per_class=20", "--mix_method=tmix", "--class_weights", "balanced"]
    asked += ["--logit_adjustment=0.5", "--sampler=balanced", "--remix_kappa=3"]
    returned = main(flags(out, given, *asked, "--do_eval", "--do_predict"))
    run = json.loads((out / "run.json").read_text())
    assert run["data"]["imbalance"] == 10 and run["data"]["sizes"]["train"] == 28
    assert run["data_summary"]["splits"]["train"]["classes"] == {"egg": 20, "ham": 6, "spam": 2}

    results = json.loads((out / "all_results.json").read_text())
    assert {name: results[name] for name in returned} == pytest.approx(returned)
    with (out / "predictions.csv").open(encoding="utf-8", newline="") as file:
        predicted = list(csv.DictReader(file))
    recall = {
        name: np.mean([row["prediction"] == name for row in predicted if row["label"] == name]) for name in NAMES
    }
    for prefix in ("eval", "predict"):
        found = {name: results[f"{prefix}_recall_{name}"] for name in NAMES}
        assert found == pytest.approx(recall)
        assert results[f"{prefix}_balanced_accuracy"] == pytest.approx(np.mean([*recall.values()]))

    card = (out / "README.md").read_text(encoding="utf-8")
    assert "of each class" not in card and "made imbalanced, 10 to 1" in card
    assert "| Balanced accuracy ↑ |" in card and "Recall by class: `egg` " in card
    for line in (
        "`class_weights` | `balanced`",
        "`logit_adjustment` | `0.5`",
        "`sampler` | `balanced`",
        "`remix_kappa` | `3`",
    ):
        assert f"| {line} |" in card, line
    assert json.loads((out / "run.json").read_text())["card"]["results"][0]["recall"].keys() == set(NAMES)


@pytest.mark.parametrize(
    "typed", [["1", "2", "4"], ["1,2,4"], ['{"ham": 2, "spam": 4}']], ids=["words", "commas", "names"]
)
def test_class_weights_on_the_command_line(tmp_path, given, typed):
    trainer = make_run(flags(tmp_path / "out", given, "--class_weights", *typed)).trainer
    assert trainer.loss.long_tail.weights.tolist() == pytest.approx([3 / 7, 6 / 7, 12 / 7])


def test_class_weights_in_a_file_of_arguments(tmp_path, given):
    for number, line in enumerate(("[1, 2, 4]", "{ham: 2, spam: 4}")):
        (tmp_path / "run.yaml").write_text(f"class_weights: {line}\n")
        config = f"--config={tmp_path / 'run.yaml'}"
        trainer = make_run(flags(tmp_path / str(number), given, config)).trainer
        assert trainer.loss.long_tail.weights.tolist() == pytest.approx([3 / 7, 6 / 7, 12 / 7])


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--imbalance=0.5"], "`imbalance` is 0.5"),
        (["--class_weights", "1", "2"], "class_weights has 2 numbers"),
        (["--class_weights", '{"bacon": 2}'], "class_weights names 'bacon', which is no class of the model"),
        (["--sampler=even"], "sampler must be one of"),
        (["--remix_kappa=3", "--mix_method=erm"], "erm does not mix"),
    ],
)
def test_wrong_input_is_one_line(tmp_path, given, more, said, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(flags(tmp_path / "out", given, *more))
    assert stopped.value.code == 2
    assert said in capsys.readouterr().err.strip().splitlines()[-1]


def test_images_have_a_long_tail_too(tmp_path):
    data = load_image_datasets(dataset_name="digits", labeled_per_class=20, imbalance=20)
    sizes = np.bincount(data.train["label"][:])
    assert sizes.tolist() == [max(int(20 * 20 ** (-k / 9) + 0.5), 1) for k in range(10)]
    run = train_image.make_run(
        [
            *("--dataset_name=digits", "--labeled_per_class=20", "--imbalance=20", "--class_weights", "balanced"),
            *("--use_cpu", "--do_train", "--max_steps=1", "--report_to=none", f"--output_dir={tmp_path / 'out'}"),
        ]
    )
    expected = sizes.sum() / (10 * sizes)
    assert run.trainer.loss.long_tail.weights.tolist() == pytest.approx(expected.tolist())


def test_a_comparison(tmp_path, given):
    own = {"weights": {"class_weights": [1, 2, 3]}, "adjusted": {"logit_adjustment": 1.0}}
    out = tmp_path / "compared"
    methods = ["--methods", "erm", "weights=erm", "adjusted=tmix"]
    shared = ["--seeds", "0", "--imbalance=10", "--labeled_per_class", "20", f"--output_dir={out}", *given]
    compare.main(["text", *methods, *shared, f"--method_arguments={json.dumps(own)}"])
    table = (out / "table.md").read_text()
    assert "| balanced accuracy | balanced accuracy - erm |" in table
    with (out / "runs.csv").open(encoding="utf-8", newline="") as file:
        found = {row["variant"]: row for row in csv.DictReader(file)}
    assert set(found) == {"erm", "weights", "adjusted"}
    assert len({row["NLL"] for row in found.values()}) == 3
    assert all(0 <= float(row["balanced accuracy"]) <= 1 for row in found.values())


def test_frozen_features_are_not_weighed(tmp_path, given, capsys):
    with pytest.raises(SystemExit):
        compare.main(
            [
                *("text", "--methods", "erm", "frozen", "--seeds", "0", "--class_weights", "balanced"),
                *(f"--output_dir={tmp_path / 'compared'}", *given),
            ]
        )
    assert (
        "class_weights='balanced' is for methods that train a network, and frozen trains none"
        in capsys.readouterr().err
    )
