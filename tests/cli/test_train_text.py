"""`train-text` from files to results, in this process, and every wrong input it must refuse."""

from __future__ import annotations

import csv
import json
import math
import shutil
from pathlib import Path

import datasets
import numpy as np
import pytest
import torch
import yaml
from datasets import ClassLabel, Features, Value
from safetensors.torch import load_file
from table_files import write_table
from tiny import VOCAB_SIZE, tiny_image_model, tiny_model, tiny_tokenizer
from transformers import AutoModelForSequenceClassification

from mixtext_hf.cli import predict
from mixtext_hf.cli.train_text import main, make_parser, make_run
from mixtext_hf.data import docstring_corpus
from mixtext_hf.training import MixTrainingArguments


NAMES = ["spam", "ham", "egg"]  # not in alphabetical order
COMMON = [
    "--use_cpu",
    "--max_seq_length=16",
    "--per_device_train_batch_size=4",
    "--save_strategy=no",
    "--disable_tqdm=true",
    "--report_to=none",
    "--learning_rate=1e-3",
    "--num_train_epochs=1",
]


@pytest.fixture(autouse=True)
def private_cache(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


def save_model(folder: Path, **overrides) -> str:
    """A random classifier that predicts every one of its classes for some of `texts(24)`."""
    model, tokenizer = tiny_model("bert", **overrides), tiny_tokenizer()
    batch = tokenizer(texts(24), padding=True, return_tensors="pt")
    with torch.no_grad():
        logits = model.eval()(**batch).logits
        model.classifier.bias -= logits.mean(dim=0)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="session")
def base(tmp_path_factory) -> str:
    """A model without a head, as `bert-base-uncased` is."""
    folder = tmp_path_factory.mktemp("base")
    tiny_model("bert", num_labels=2).base_model.save_pretrained(folder)
    tiny_tokenizer().save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="session")
def trained(tmp_path_factory) -> str:
    """A classifier that knows the names of its three classes."""
    names = {"id2label": dict(enumerate(NAMES)), "label2id": {name: i for i, name in enumerate(NAMES)}}
    return save_model(
        tmp_path_factory.mktemp("trained"), **names, problem_type="single_label_classification", num_labels=3
    )


def texts(count: int, seed: int = 0) -> list[str]:
    generator = np.random.default_rng(seed)
    return [" ".join(f"w{i}" for i in generator.integers(0, VOCAB_SIZE - 5, 6)) for _ in range(count)]


def rows(count: int, names=("ham", "spam", "egg"), seed: int = 0, **columns) -> list[dict]:
    return [{"text": text, "label": names[i % len(names)]} for i, text in enumerate(texts(count, seed))]


@pytest.fixture
def train_csv(tmp_path) -> str:
    return write_table(tmp_path / "train.csv", rows(12))


@pytest.fixture
def dev_csv(tmp_path) -> str:
    return write_table(tmp_path / "dev.csv", rows(9, seed=1))


def read_predictions(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def results_of(output_dir: Path) -> dict[str, float]:
    return json.loads((output_dir / "all_results.json").read_text())


# ---- from files to results ----


def test_files_in_another_dialect(tmp_path, base):
    lines = ["text^label", *(f"{row['text']}^0{i % 3}" for i, row in enumerate(rows(12)))]
    for name in ("train.csv", "dev.txt"):
        (tmp_path / name).write_text("\n".join(lines).replace("w1 ", "ç "), encoding="cp1252")
    files = [f"--train_file={tmp_path / 'train.csv'}", f"--validation_file={tmp_path / 'dev.txt'}"]
    flags = [f"--model_name_or_path={base}", f"--output_dir={tmp_path / 'out'}", "--delimiter=^", "--encoding=cp1252"]
    run = make_run([*files, *flags, *COMMON, "--do_train"])
    assert run.data.label_names == ["00", "01", "02"] and len(run.data.validation["validation"]) == 12
    assert run.model_args is not None and run.config.id2label == {0: "00", 1: "01", 2: "02"}


@pytest.mark.parametrize("suffix", ["parquet", "json"])
def test_the_kind_of_a_file_makes_no_difference(tmp_path, base, suffix):
    def data_of(suffix):
        files = [
            f"--{name}_file={write_table(tmp_path / f'{name}.{suffix}', rows(count, seed=seed))}"
            for name, count, seed in (("train", 12, 0), ("validation", 9, 1), ("test", 7, 2))
        ]
        flags = [f"--model_name_or_path={base}", f"--output_dir={tmp_path / suffix}", "--do_train", "--do_predict"]
        data = make_run([*files, *flags, *COMMON]).data
        return [split.to_dict() for split in (data.train, *data.validation.values(), *data.test.values())]

    assert data_of(suffix) == data_of("csv")


@pytest.mark.pictures
def test_train_evaluate_and_predict(tmp_path, base):
    out, suffix = tmp_path / "out", "csv"
    test_rows = [{**row, "id": f"row-{i}"} for i, row in enumerate(rows(7, seed=2))]
    files = [
        f"--train_file={write_table(tmp_path / f'train.{suffix}', rows(12))}",
        f"--validation_file={write_table(tmp_path / f'dev.{suffix}', rows(9, seed=1))}",
        f"--test_file={write_table(tmp_path / f'test.{suffix}', test_rows)}",
    ]
    flags = [f"--model_name_or_path={base}", f"--output_dir={out}", "--mix_method=tmix", "--mix_alpha=0.5"]
    returned = main([*files, *flags, *COMMON, "--do_train", "--do_eval", "--do_predict"])

    results = results_of(out)
    assert results == pytest.approx({name: returned[name] for name in results}) and set(results) == set(returned)
    for name in ("accuracy", "macro_f1", "nll", "brier", "ece", "loss", "samples"):
        assert math.isfinite(results[f"eval_{name}"]) and math.isfinite(results[f"predict_{name}"])
    assert (results["train_samples"], results["eval_samples"], results["predict_samples"]) == (12, 9, 7)
    assert results["train_samples_per_second"] > 0 and results["train_loss"] > 0

    predictions = read_predictions(out / "predictions.csv")
    probabilities = ["probability_egg", "probability_ham", "probability_spam"]
    assert list(predictions[0]) == ["id", "text", "label", "prediction", "confidence", *probabilities]
    assert [row["id"] for row in predictions] == [f"row-{i}" for i in range(7)]
    assert [{name: row[name] for name in ("id", "text", "label")} for row in predictions] == test_rows
    hits = 0
    for row, given in zip(predictions, test_rows, strict=True):
        chances = {name: float(row[f"probability_{name}"]) for name in ("egg", "ham", "spam")}
        assert sum(chances.values()) == pytest.approx(1)
        assert row["prediction"] == max(chances, key=lambda name: chances[name])
        assert float(row["confidence"]) == max(chances.values())
        hits += row["prediction"] == given["label"]
    assert results["predict_accuracy"] == pytest.approx(hits / 7)

    assert (out / "reliability_diagram.png").read_bytes().startswith(b"\x89PNG")
    run = json.loads((out / "run.json").read_text())
    assert run["method"] == "tmix" and run["hyperparameters"]["alpha"] == 0.5
    assert run["columns"] == ["text", None] and run["data"]["sizes"] == {"train": 12, "validation": 9, "test": 7}
    assert not list(out.glob("*.part"))

    model = AutoModelForSequenceClassification.from_pretrained(out)
    assert model.config.id2label == {0: "egg", 1: "ham", 2: "spam"}
    assert model.config.label2id == {"egg": 0, "ham": 1, "spam": 2}
    assert model.config.mixtext["method"] == "tmix"


def test_a_file_in_the_working_directory_names_the_data(tmp_path, base, monkeypatch):
    write_table(tmp_path / "data.csv", rows(12))
    monkeypatch.chdir(tmp_path)
    main(["--train_file=data.csv", f"--model_name_or_path={base}", "--output_dir=out", "--do_train", *COMMON])
    card = (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
    assert "unnamed" not in card and "data.csv" in card.split("## Data")[1]


def test_rows_of_the_test_file_that_were_chosen_keep_their_numbers(tmp_path, trained):
    everything = rows(40)
    path = write_table(tmp_path / "test.csv", everything)
    predict_with(trained, path, tmp_path / "out", "--max_predict_samples=5")
    found = read_predictions(tmp_path / "out" / "predictions.csv")
    numbers = [int(row["id"]) for row in found]
    assert len(numbers) == 5 and numbers == sorted(numbers) and numbers != list(range(5))
    assert all(row["text"] == everything[int(row["id"])]["text"] for row in found)


def test_an_id_column_that_is_not_there_is_said_before_training(tmp_path, base, capsys):
    path = write_table(tmp_path / "data.csv", rows(12))
    argv = [f"--train_file={path}", f"--test_file={path}", f"--model_name_or_path={base}", "--id_column=nr"]
    with pytest.raises(SystemExit):
        main([*argv, f"--output_dir={tmp_path / 'out'}", "--do_train", "--do_predict", *COMMON])
    assert "--id_column nr: there is no such column, choose from" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_hidden_labels_give_predictions_and_no_metrics(tmp_path, base):
    out = tmp_path / "out"
    hidden = [{"text": text, "label": -1} for text in texts(5)]
    numbered = [{"text": row["text"], "label": i % 3} for i, row in enumerate(rows(12))]
    results = main(
        [
            f"--train_file={write_table(tmp_path / 'train.csv', numbered)}",
            f"--test_file={write_table(tmp_path / 'test.csv', hidden)}",
            f"--model_name_or_path={base}",
            f"--output_dir={out}",
            "--do_train",
            "--do_predict",
            *COMMON,
        ]
    )
    predictions = read_predictions(out / "predictions.csv")
    assert [row["id"] for row in predictions] == ["0", "1", "2", "3", "4"]
    assert {row["prediction"] for row in predictions} <= {"0", "1", "2"}
    assert "predict_loss" not in results and "predict_accuracy" not in results
    assert results["predict_samples"] == 5


def test_pairs(tmp_path, base):
    content = [
        {"premise": one, "hypothesis": two, "label": i % 2}
        for i, (one, two) in enumerate(zip(texts(8), texts(8, seed=1), strict=True))
    ]
    run = make_run(
        [
            f"--train_file={write_table(tmp_path / 'train.csv', content)}",
            f"--model_name_or_path={base}",
            f"--output_dir={tmp_path / 'out'}",
            "--do_train",
            *COMMON,
        ]
    )
    batch = run.trainer.data_collator(content[:2])
    separators = (batch["input_ids"] == run.tokenizer.sep_token_id).sum(dim=1)
    assert separators.tolist() == [2, 2]
    assert math.isfinite(run()["train_loss"])
    assert run.describe()["columns"] == ["premise", "hypothesis"]


def test_several_label_columns(tmp_path, base):
    out = tmp_path / "out"
    content = [{"text": text, "toxic": i % 2, "rude": i % 3 // 2} for i, text in enumerate(texts(12))]
    path = write_table(tmp_path / "train.csv", content)
    results = main(
        [
            f"--train_file={path}",
            f"--validation_file={path}",
            f"--test_file={path}",
            "--label_column=toxic,rude",
            f"--model_name_or_path={base}",
            f"--output_dir={out}",
            "--do_train",
            "--do_eval",
            "--do_predict",
            "--label_smoothing_factor=0.1",
            *COMMON,
        ]
    )
    assert {"eval_f1_micro", "eval_f1_macro", "eval_subset_accuracy", "eval_nll"} <= set(results)
    predictions = read_predictions(out / "predictions.csv")
    assert list(predictions[0]) == [
        *("id", "text", "label", "prediction", "confidence"),
        *("probability_toxic", "probability_rude"),
    ]
    for row in predictions:
        named = [name for name in ("toxic", "rude") if float(row[f"probability_{name}"]) > 0.5]
        assert row["prediction"] == "|".join(named)
    config = json.loads((out / "config.json").read_text())
    assert config["problem_type"] == "multi_label_classification" and config["id2label"] == {"0": "toxic", "1": "rude"}


def test_regression_by_the_name_of_its_task(tmp_path, base):
    out = tmp_path / "out"
    content = [
        {"sentence1": one, "sentence2": two, "label": float(i % 5)}
        for i, (one, two) in enumerate(zip(texts(12), texts(12, seed=1), strict=True))
    ]
    path = write_table(tmp_path / "data.csv", content)
    hidden = write_table(tmp_path / "test.csv", [{**row, "label": -1.0} for row in content])
    results = main(
        [
            "--task_name=stsb",
            f"--train_file={path}",
            f"--validation_file={path}",
            f"--test_file={hidden}",
            f"--model_name_or_path={base}",
            f"--output_dir={out}",
            "--do_train",
            "--do_eval",
            "--do_predict",
            *COMMON,
        ]
    )
    assert {"eval_pearson", "eval_spearman", "eval_mse"} <= set(results)
    predictions = read_predictions(out / "predictions.csv")
    assert list(predictions[0]) == ["id", "sentence1", "sentence2", "prediction"] and len(predictions) == 12
    assert all(math.isfinite(float(row["prediction"])) for row in predictions)
    assert not (out / "reliability_diagram.png").exists()
    # The trained model alone: what it is comes from its config.
    again = tmp_path / "again"
    main([f"--test_file={hidden}", f"--model_name_or_path={out}", f"--output_dir={again}", "--do_predict", *COMMON])
    assert [row["prediction"] for row in read_predictions(again / "predictions.csv")] == pytest.approx(
        [row["prediction"] for row in predictions]
    )


def test_mnli_is_evaluated_on_both_of_its_splits(tmp_path, base):
    def pairs(count, seed):
        both = zip(texts(count, seed), texts(count, seed + 1), strict=True)
        return [{"premise": one, "hypothesis": two, "label": i % 3} for i, (one, two) in enumerate(both)]

    matched = write_table(tmp_path / "matched.csv", pairs(6, 2))
    mismatched = write_table(tmp_path / "mismatched.csv", pairs(9, 4))
    results = main(
        [
            "--task_name=mnli",
            f"--train_file={write_table(tmp_path / 'train.csv', pairs(12, 0))}",
            f"--validation_file={matched},{mismatched}",
            f"--model_name_or_path={base}",
            f"--output_dir={tmp_path / 'out'}",
            "--do_train",
            "--do_eval",
            *COMMON,
        ]
    )
    assert (results["eval_samples"], results["eval_mismatched_samples"]) == (6, 9)
    assert {"eval_accuracy", "eval_mismatched_accuracy", "eval_mismatched_ece"} <= set(results)


def test_evaluation_during_training_and_a_held_out_split(tmp_path, base, train_csv):
    results = main(
        [
            f"--train_file={train_csv}",
            "--validation_split_fraction=0.25",
            "--eval_strategy=epoch",
            f"--model_name_or_path={base}",
            f"--output_dir={tmp_path / 'out'}",
            "--do_train",
            "--do_eval",
            *COMMON,
        ]
    )
    assert (results["train_samples"], results["eval_samples"]) == (9, 3)
    history = json.loads((tmp_path / "out" / "trainer_state.json").read_text())["log_history"]
    assert any("eval_accuracy" in entry for entry in history)


def test_few_labels(tmp_path, base, train_csv):
    flags = [f"--model_name_or_path={base}", f"--output_dir={tmp_path / 'out'}", "--do_train", *COMMON]
    run = make_run([f"--train_file={train_csv}", "--labeled_per_class=2", *flags])
    assert sorted(run.data.train["label"]) == [0, 0, 1, 1, 2, 2]
    assert len(run.data.rest) == 6
    other = make_run([f"--train_file={train_csv}", "--labeled_per_class=2", "--split_seed=1", *flags])
    assert set(run.data.train["text"]) != set(other.data.train["text"])


# ---- unlabelled texts ----


def viewed(count: int, seed: int = 5, **columns) -> list[dict]:
    """Unlabelled texts with a view of each."""
    return [{"text": text, "de": " ".join(reversed(text.split())), **columns} for text in texts(count, seed)]


def test_mixtext_on_a_file_of_texts(tmp_path, base, train_csv, dev_csv):
    out, unlabelled = tmp_path / "out", write_table(tmp_path / "more.parquet", viewed(20))
    files = [f"--train_file={train_csv}", f"--validation_file={dev_csv}", f"--unlabeled_file={unlabelled}"]
    flags = [f"--model_name_or_path={base}", f"--output_dir={out}", "--mix_method=mixtext", "--logging_steps=1"]
    # The steps before guessing are 600 at their default, on this data as on any other.
    flags += ["--guess_warm_up_steps=4"]
    views = ["--view_columns", "de", "--augmenters", "word_dropout:0.3", "--per_device_unlabeled_batch_size=5"]
    kwargs = ['--mix_kwargs={"temperature": 0.7, "view_weights": [2, 1, 0]}']
    main([*files, *flags, *views, *kwargs, *COMMON, "--do_train", "--do_eval"])
    results = results_of(out)
    assert (results["train_samples"], results["unlabeled_samples"]) == (12, 20) and math.isfinite(results["eval_nll"])
    run = json.loads((out / "run.json").read_text())
    assert run["method"] == "mixtext" and run["hyperparameters"]["view_weights"] == [2, 1, 0]
    assert run["data"]["sizes"]["unlabeled"] == 20 and run["training_arguments"]["view_columns"] == "['de']"
    history = json.loads((out / "trainer_state.json").read_text())["log_history"]
    assert {"loss_supervised", "loss_unlabeled", "guess_entropy", "guess_balance"} <= set(history[0])
    model = AutoModelForSequenceClassification.from_pretrained(out)
    assert type(model).__name__ == "BertForSequenceClassification" and model.config.mixtext["method"] == "mixtext"


def test_a_teacher_whose_classes_a_map_names(tmp_path, base, train_csv, capsys):
    teacher = save_model(tmp_path / "teacher", id2label={0: "S", 1: "E", 2: "H"}, num_labels=3)
    unlabelled = write_table(tmp_path / "more.parquet", viewed(20))
    (tmp_path / "map.csv").write_text("s,spam\nh,ham\ne,egg\n")
    flags = [f"--model_name_or_path={base}", f"--train_file={train_csv}", f"--unlabeled_file={unlabelled}"]
    flags += ["--mix_method=mixtext", "--view_columns", "de", f"--guesser=checkpoint:{teacher}", *COMMON, "--do_train"]
    main([*flags, f"--output_dir={tmp_path / 'out'}", f"--label_map={tmp_path / 'map.csv'}"])
    about = json.loads((tmp_path / "out" / "guesses" / "guesses.json").read_text())
    assert about["label_names"] == ["egg", "ham", "spam"]
    probabilities = np.load(tmp_path / "out" / "guesses" / "probabilities.npy")
    model = AutoModelForSequenceClassification.from_pretrained(teacher).eval()
    with torch.no_grad():
        batch = tiny_tokenizer()([row["text"] for row in viewed(20)], padding=True, return_tensors="pt")
        expected = model(**batch).logits.softmax(-1).numpy()[:, [1, 2, 0]]
    np.testing.assert_allclose(probabilities, expected, atol=1e-5)
    with pytest.raises((SystemExit, ValueError)):
        main([*flags, f"--output_dir={tmp_path / 'other'}"])
    assert "--label_map" in capsys.readouterr().err


@pytest.mark.parametrize("names", [("1.0", "2.0", "10.0"), ("001", "010", "100"), ("true", "false", "NA")])
def test_classes_are_called_what_is_written_to_the_end(tmp_path, base, names):
    """In the config, the predictions, the card and what is measured."""
    lines = [f"{row['text']},{row['label']}" for row in rows(12, names)]
    (tmp_path / "data.csv").write_text("text,label\n" + "\n".join(lines) + "\n")
    files = [f"--train_file={tmp_path / 'data.csv'}", f"--test_file={tmp_path / 'data.csv'}"]
    out = tmp_path / "out"
    main([*files, f"--model_name_or_path={base}", f"--output_dir={out}", *COMMON, "--do_train", "--do_predict"])
    config = json.loads((out / "config.json").read_text())
    assert sorted(config["id2label"].values()) == sorted(names)
    found = read_predictions(out / "predictions.csv")
    assert [row["label"] for row in found] == [row["label"] for row in rows(12, names)]
    assert {row["prediction"] for row in found} <= set(names)
    card = (out / "README.md").read_text()
    assert all(f"`{name}`" in card or f"| {name}" in card or f"{name}," in card for name in names)
    predict.main([str(out), str(tmp_path / "data.csv"), f"--output_file={tmp_path / 'p.csv'}", "--use_cpu"])
    again = read_predictions(tmp_path / "p.csv")
    assert [(row["label"], row["prediction"]) for row in again] == [(row["label"], row["prediction"]) for row in found]


def test_what_few_labels_leave_is_the_unlabelled_data(tmp_path, base, train_csv):
    flags = [f"--model_name_or_path={base}", f"--output_dir={tmp_path / 'out'}", "--do_train", *COMMON]
    flags += [f"--train_file={train_csv}", "--labeled_per_class=2", "--per_device_unlabeled_batch_size=3"]
    run = make_run([*flags, "--mix_method=mixtext"])
    assert sorted(run.data.unlabeled["text"]) == sorted(run.data.rest["text"]) and len(run.data.rest) == 6
    assert run.trainer.unlabeled_dataset is run.data.unlabeled
    few_labels = [flag for flag in flags if "unlabeled" not in flag]
    assert make_run([*few_labels, "--mix_method=tmix"]).trainer.unlabeled_dataset is None
    few = make_run([*flags, "--mix_method=uda", "--augmenters=span_swap", "--unlabeled_per_class=1"]).data.unlabeled
    assert sorted(few["label"]) == [0, 1, 2] and set(few["text"]) <= set(run.data.rest["text"])
    more = write_table(tmp_path / "more.csv", [{"text": text, "label": "spam"} for text in texts(7, seed=9)])
    of_file = make_run([*flags, "--mix_method=mixtext", f"--unlabeled_file={more}"])
    # The summary counts the texts that are in both; the trainer need not.
    assert (
        of_file.summary is not None
        and "unlabeled" in of_file.summary.shared["train"]
        and of_file.trainer.overlap_is_told
    )
    alone = of_file.data.unlabeled
    assert len(alone) == 7 and set(alone["label"]) == {2}
    both = make_run(
        [*flags, "--mix_method=mixtext", f"--unlabeled_file={more}", "--unlabeled_rest=True"]
    ).data.unlabeled
    assert sorted(both["text"]) == sorted([*run.data.rest["text"], *alone["text"]]) and len(both["label"]) == 13


def test_a_preset_brings_its_training_arguments(tmp_path, base, train_csv):
    flags = [
        f"--train_file={train_csv}",
        f"--model_name_or_path={base}",
        f"--output_dir={tmp_path / 'out'}",
        "--do_train",
    ]
    flags += ["--use_cpu", "--max_seq_length=16", "--labeled_per_class=2", "--mix_method=mixtext"]
    run = make_run([*flags, "--mix_preset=official_code", "--per_device_unlabeled_batch_size=6"])
    assert (run.args.learning_rate, run.args.head_learning_rate) == (5e-6, 5e-4)
    assert (run.args.per_device_train_batch_size, run.args.unlabeled_batch_size) == (4, 6)
    assert run.trainer.method.guess_dropout and run.trainer.method.view_weights == "original"
    config = tmp_path / "config.yaml"
    config.write_text("mix_preset: paper\nlearning_rate: 0.002\nper_device_unlabeled_batch_size: 2\n")
    run = make_run([*flags, f"--config={config}", "--head_learning_rate=0.5"])
    assert (run.args.learning_rate, run.args.head_learning_rate, run.args.unlabeled_batch_size) == (0.002, 0.5, 2)
    assert run.trainer.method.ramp_steps == 0


def test_the_head_of_the_paper(tmp_path, base, train_csv):
    out = tmp_path / "out"
    flags = [f"--train_file={train_csv}", f"--model_name_or_path={base}", f"--output_dir={out}", "--head=mean_pooling"]
    main([*flags, *COMMON, "--do_train"])
    config = json.loads((out / "config.json").read_text())
    assert config["mixtext_head"] == "mean_pooling"
    again = [f"--test_file={train_csv}", f"--model_name_or_path={out}", f"--output_dir={tmp_path / 'again'}"]
    results = main([*again, *COMMON, "--do_predict"])
    assert results["predict_samples"] == 12


# ---- a trained model alone ----


def predict_with(model, test_file, out, *flags):
    files = [f"--test_file={test_file}", f"--model_name_or_path={model}", f"--output_dir={out}"]
    return main([*files, "--do_predict", *flags, *COMMON])


def test_the_classes_of_a_trained_model_are_its_own(tmp_path, trained):
    texts_only = write_table(tmp_path / "texts.csv", [{"text": text} for text in texts(24)])
    results = predict_with(trained, texts_only, tmp_path / "one")
    predictions = read_predictions(tmp_path / "one" / "predictions.csv")
    assert list(predictions[0]) == [
        "id",
        "text",
        "prediction",
        "confidence",
        *(f"probability_{name}" for name in NAMES),
    ]
    assert "predict_accuracy" not in results
    found = [row["prediction"] for row in predictions]
    assert set(found) == set(NAMES)

    # What it predicted, given as labels: by name, by id, and as the classes of a parquet file in another order.
    kept = [i for i, name in enumerate(found) if name != "egg"]  # without one of the classes
    by_name = [{"text": texts(24)[i], "label": found[i]} for i in kept]
    by_id = [{**row, "label": NAMES.index(row["label"])} for row in by_name]
    typed = Features({"text": Value("string"), "label": ClassLabel(names=sorted(NAMES))})
    as_class = [{**row, "label": sorted(NAMES).index(row["label"])} for row in by_name]
    for path in (
        write_table(tmp_path / "names.csv", by_name),
        write_table(tmp_path / "ids.csv", by_id),
        write_table(tmp_path / "classes.parquet", as_class, typed),
    ):
        out = tmp_path / Path(path).stem
        results = predict_with(trained, path, out, "--do_eval")
        assert results["predict_accuracy"] == results["eval_accuracy"] == 1.0, path
        assert list(read_predictions(out / "predictions.csv")[0])[5:] == [f"probability_{name}" for name in NAMES]
    # One class alone is data enough for a model that knows the others.
    alone = write_table(tmp_path / "alone.csv", [row for row in by_name if row["label"] == "ham"])
    assert predict_with(trained, alone, tmp_path / "alone")["predict_accuracy"] == 1.0


def test_classes_that_are_named_by_numbers_are_looked_up_by_name(tmp_path):
    names = ["1", "2", "3"]
    model = save_model(
        tmp_path / "model", id2label=dict(enumerate(names)), label2id={name: i for i, name in enumerate(names)}
    )
    content = [{"text": text, "label": 1 + i % 3} for i, text in enumerate(texts(12))]
    path = write_table(tmp_path / "test.csv", content)
    results = predict_with(model, path, tmp_path / "out")
    found = [row["prediction"] for row in read_predictions(tmp_path / "out" / "predictions.csv")]
    hits = [str(row["label"]) == name for row, name in zip(content, found, strict=True)]
    assert set(found) == set(names) and results["predict_accuracy"] == pytest.approx(np.mean(hits))


def test_a_model_without_names_takes_the_ids_of_the_data(tmp_path):
    model = save_model(tmp_path / "model", num_labels=3)
    typed = Features({"text": Value("string"), "label": ClassLabel(names=["a", "b", "c"])})
    content = [{"text": text, "label": 2 * (i % 2)} for i, text in enumerate(texts(12))]
    accuracies = [
        predict_with(model, path, tmp_path / Path(path).suffix[1:])["predict_accuracy"]
        for path in (write_table(tmp_path / "t.csv", content), write_table(tmp_path / "t.parquet", content, typed))
    ]
    predictions = read_predictions(tmp_path / "csv" / "predictions.csv")
    found = [int(row["prediction"].removeprefix("LABEL_")) for row in predictions]
    expected = np.mean([row["label"] == i for row, i in zip(content, found, strict=True)])
    assert accuracies == pytest.approx([expected, expected])


def test_a_trained_multi_label_model_alone(tmp_path):
    names = ["toxic", "rude", "kind"]
    model = save_model(
        tmp_path / "model",
        id2label=dict(enumerate(names)),
        label2id={name: i for i, name in enumerate(names)},
        problem_type="multi_label_classification",
    )
    texts_only = write_table(tmp_path / "texts.csv", [{"text": text} for text in texts(12)])
    predict_with(model, texts_only, tmp_path / "one")
    predictions = read_predictions(tmp_path / "one" / "predictions.csv")
    assert list(predictions[0])[4:] == [f"probability_{name}" for name in names]
    found = [row["prediction"].split("|") for row in predictions]
    assert len({tuple(chosen) for chosen in found}) > 3
    # The same, as columns in another order and as lists of names.
    columns = [
        {"text": text, **{name: int(name in chosen) for name in ("kind", "toxic", "rude")}}
        for text, chosen in zip(texts(12), found, strict=True)
    ]
    lists = [
        {"text": text, "labels": [name for name in chosen if name]}
        for text, chosen in zip(texts(12), found, strict=True)
    ]
    by_columns = predict_with(
        model, write_table(tmp_path / "c.csv", columns), tmp_path / "two", "--label_column=kind,toxic,rude"
    )
    by_lists = predict_with(model, write_table(tmp_path / "l.json", lists), tmp_path / "three")
    assert by_columns["predict_subset_accuracy"] == by_lists["predict_subset_accuracy"] == 1.0


def test_training_that_goes_on_keeps_the_order_of_the_classes(tmp_path, trained):
    path = write_table(tmp_path / "train.csv", rows(24))
    flags = [f"--train_file={path}", f"--output_dir={tmp_path / 'out'}", "--do_train"]
    run = make_run([*COMMON, *flags, "--model_name_or_path", trained])
    assert run.data.label_names == NAMES
    labels = [NAMES[i] for i in run.data.train["label"]]
    assert labels == [row["label"] for row in rows(24)]


def test_epochs_replace_the_steps_of_the_embedded_example(tmp_path, monkeypatch):
    few = docstring_corpus(("networkx", "pyarrow"), max_per_class=40, test_size=20)
    monkeypatch.setattr("mixtext_hf.data.tables.sources.docstring_corpus", lambda: few)
    run = make_run([f"--output_dir={tmp_path}", "--num_train_epochs=2", "--use_cpu"])
    assert run.args.max_steps == -1 and run.args.num_train_epochs == 2


def test_labels_that_the_model_does_not_have_are_refused(tmp_path, trained, capsys):
    path = write_table(tmp_path / "test.csv", rows(6, names=("ham", "bacon")))
    message = refused(capsys, tmp_path / "out", [f"--test_file={path}", "--do_predict"], model=trained)
    assert "'bacon'" in message and str(NAMES) in message and "does not have" in message


def test_a_model_of_another_task_is_refused(tmp_path, trained, capsys):
    content = [{"sentence1": text, "sentence2": text, "label": float(i)} for i, text in enumerate(texts(4))]
    path = write_table(tmp_path / "test.csv", content)
    flags = [f"--test_file={path}", "--task_name=stsb", "--do_predict"]
    message = refused(capsys, tmp_path / "out", flags, model=trained)
    assert "model_name_or_path" in message and "3 outputs" in message and "regression" in message


# ---- arguments ----


def test_a_yaml_file_gives_arguments_and_flags_override_them(tmp_path, base, train_csv):
    settings = {
        "train_file": train_csv,
        "model_name_or_path": base,
        "output_dir": str(tmp_path / "out"),
        "mix_method": "manifold_mixup",
        "mix_alpha": 0.25,
        "mix_layers": [0, 1, 2],
        "mix_kwargs": {"pad": "keep"},
        "learning_rate": 1e-5,
        "do_train": True,
        "mix_fold": None,
    }
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(settings))
    flags = [flag for flag in COMMON if "learning_rate" not in flag]
    run = make_run([f"--config={path}", "--mix_alpha=4.0", "--mix_layers", "1", "3", *flags])
    assert (run.args.mix_method, run.args.mix_alpha, run.args.mix_layers) == ("manifold_mixup", 4.0, [1, 3])
    assert run.args.learning_rate == 1e-5 and run.args.do_train and run.trainer.method.pad == "keep"
    # The flags win wherever they stand.
    run = make_run(["--mix_alpha", "4.0", *flags, "--config", str(path)])
    assert run.args.mix_alpha == 4.0 and run.args.mix_layers == [0, 1, 2]
    # Data that only the file names is no reason to run the embedded example.
    assert run.args.max_steps == -1 and run.data_args.labeled_per_class is None


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("mix_alhpa: 1\n", "unknown arguments: mix_alhpa"),
        ("config: other.yaml\n", "unknown arguments: config"),
        ("- 1\n", "must hold `name: value` lines"),
        ("a: [1\nb: 2", "is not valid YAML"),
        (None, "there is no such file"),
    ],
)
def test_a_wrong_yaml_file_is_refused(tmp_path, capsys, base, content, said):
    path = tmp_path / "config.yaml"
    if content is not None:
        path.write_text(content)
    message = refused(capsys, tmp_path / "out", [f"--config={path}", "--do_train"], model=base)
    assert "--config" in message and said in message


def test_help_names_every_argument_of_mixing(capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["--help"])
    assert stopped.value.code == 0
    text = capsys.readouterr().out
    fields = [name for name in MixTrainingArguments.__dataclass_fields__ if name.startswith("mix_")]
    assert len(fields) == 11
    more = ("view_columns", "augmenters", "per_device_unlabeled_batch_size", "unlabeled_file", "unlabeled_per_class")
    for name in (*fields, *more, "head_learning_rate", "labeled_per_class", "config", "overwrite_output_dir"):
        assert f"--{name}" in text


def test_without_data_and_model_it_is_the_embedded_example():
    from mixtext_hf.cli.embedded import DEFAULTS
    from mixtext_hf.cli.parsing import parse

    model_args, data_args, training_args = parse(make_parser(), ["--seed=3", "--max_steps=5"], DEFAULTS)[:3]
    assert (data_args.labeled_per_class, training_args.seed, training_args.max_steps) == (10, 3, 5)
    assert training_args.do_train and model_args.model_name_or_path is None


# ---- resuming ----


def test_resuming_gives_the_result_of_the_uninterrupted_run(tmp_path, base, train_csv, capsys, caplog):
    def flags(out):
        return [
            f"--train_file={train_csv}",
            f"--model_name_or_path={base}",
            f"--output_dir={out}",
            "--do_train",
            *[flag for flag in COMMON if "save_strategy" not in flag and "epochs" not in flag],
            "--save_strategy=steps",
            "--save_steps=2",
            "--num_train_epochs=2",
            "--lr_scheduler_type=constant",
        ]

    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    main(flags(whole))
    # Stopped by a limit: checkpoint-4 lies in the middle of the second epoch.
    main([*flags(stopped), "--max_steps=4"])
    with pytest.raises(SystemExit) as refused:
        main([*flags(stopped), "--resume_from_checkpoint", "True"])
    assert refused.value.code == 1 and "max_steps: 4 then, not given now" in capsys.readouterr().err
    main([*flags(stopped), "--resume_from_checkpoint", "True", "--resume_changed", "True"])
    one, other = (load_file(folder / "model.safetensors") for folder in (whole, stopped))
    assert all((one[name] == other[name]).all() for name in one)
    assert (stopped / "checkpoint-6").is_dir()
    assert results_of(stopped)["train_loss"] == pytest.approx(results_of(whole)["train_loss"])
    assert "do not match the ones in" not in caplog.text


def test_overwriting_leaves_nothing_of_the_other_run(tmp_path, base, train_csv, dev_csv):
    out = tmp_path / "out"
    flags = [f"--train_file={train_csv}", f"--model_name_or_path={base}", f"--output_dir={out}", "--do_train"]
    flags += [flag for flag in COMMON if "save_strategy" not in flag] + ["--save_strategy=steps", "--save_steps=1"]
    main([*flags, f"--validation_file={dev_csv}", "--do_eval"])
    assert (out / "checkpoint-3").is_dir() and "eval_accuracy" in results_of(out)
    (out / "notes.txt").write_text("mine")
    main([*flags, "--max_steps=1", "--overwrite_output_dir"])
    assert sorted(path.name for path in out.glob("checkpoint-*")) == ["checkpoint-1"]
    assert "eval_accuracy" not in results_of(out) and not (out / "eval_results.json").exists()
    assert (out / "notes.txt").read_text() == "mine"


# ---- wrong input ----


def refused(capsys, out: Path, flags: list[str], model: str) -> str:
    """The one line on stderr that says what is wrong; checks the exit status and that nothing was written."""
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*")} if out.exists() else None
    capsys.readouterr()
    with pytest.raises(SystemExit) as stopped:
        main([f"--model_name_or_path={model}", f"--output_dir={out}", *COMMON, *flags])
    assert stopped.value.code == 2
    # Progress bars may stand before it.
    *others, last = capsys.readouterr().err.splitlines()
    assert last.startswith("mixtext-hf train-text: error: ")
    assert not [line for line in others if "rror" in line or "usage" in line]
    after = {path: path.stat().st_mtime_ns for path in out.rglob("*")} if out.exists() else None
    assert before == after
    return last


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--mix_method=mixup9"], ["mix_method", "'mixup9'", "choose from erm, tmix"]),
        (["--mix_layers", "3", "9"], ["layer 9", "choose from 0"]),
        (["--mix_kwargs={pad: keep}"], ["mix_kwargs", "JSON"]),
        (["--per_device_train_batch_size=1"], ["per_device_train_batch_size=1", "at least 2"]),
        (["--label_smoothing_factor=1.5"], ["label_smoothing_factor", "1.5", "[0, 1)"]),
        (["--max_seq_length=64"], ["max_seq_length=64", "2..32"]),
        (["--max_seq_length=1"], ["max_seq_length=1 ", "2..32"]),
        (["--labeled_per_class=5"], ["labeled_per_class", "only 4", "at most 4"]),
        (["--labeled_per_class=0"], ["labeled_per_class", "0", "at least 1"]),
        (["--text_column=body"], ["'body'", "['text', 'label']", "--text_column"]),
        (["--label_column=klass"], ["'klass'", "['text', 'label']", "--label_column"]),
        (["--resume_from_checkpoint=True"], ["resume_from_checkpoint", "there is no folder"]),
        (["--resume_from_checkpoint=elsewhere"], ["resume_from_checkpoint='elsewhere'", "no folder"]),
        (["--do_predict"], ["--do_predict", "--test_file"]),
        (["--do_eval"], ["--do_eval", "--validation_file", "--validation_split_fraction"]),
        (["--eval_strategy=epoch"], ["--eval_strategy", "--validation_file"]),
        (["--metric_for_best_model=brierr"], ["--metric_for_best_model brierr", "accuracy", "nll", "--metrics"]),
        (["--max_steps=0"], ["max_steps", "got 0"]),
        (["--report_to=nobody"], ["report_to='nobody'", "none"]),
        (["--validation_split_fraction=1.5"], ["validation_split_fraction", "1.5", "between 0 and 1"]),
        (["--metrics", "accuracy", "rouge"], ["rouge", "accuracy, balanced_accuracy, macro_f1"]),
        (["--metrics", "acuracy"], ["--metrics acuracy", "did you mean accuracy?"]),
        (["--metric_for_best_model=top_9_accuracy"], ["--metric_for_best_model top_9_accuracy is not measured"]),
        (
            ["--load_best_model_at_end=True"],
            ["load_best_model_at_end=True", "eval_strategy='no'", "eval_strategy='epoch'"],
        ),
        (["--mix_method=mixtext"], ["mixtext", "unlabeled_dataset", "--unlabeled_file", "--labeled_per_class"]),
        (["--mix_method=mixtext", "--labeled_per_class=2"], ["6 unlabelled rows", "8 of a batch"]),
        (["--mix_method=mixtext", "--unlabeled_file=none.csv"], ["none.csv"]),
        (["--mix_method=mixtext", "--unlabeled_per_class=1"], ["unlabeled_per_class", " labeled_per_class"]),
        (["--unlabeled_file=none.csv"], ["--unlabeled_file is for", "(mixtext and uda)", "mix_method='tmix'"]),
        (["--mix_method=erm", "--guesser=gaussian"], ["--guesser is for", "(mixtext and uda)", "mix_method='erm'"]),
        (["--augmenters", "word_dropout"], ["--augmenters is for", "mix_method='tmix'"]),
        (
            ["--mix_method=mixtext", "--guesser=model", "--guess_names=True"],
            ["--guess_names is for --guesser gaussian", "is model"],
        ),
        (["--mix_method=uda", "--guess_column=g", "--guess_warm_up_steps=0"], ["--guess_warm_up_steps", "is column"]),
        (["--mix_method=mixtext", "--mix_preset=paper", "--surest=0.5"], ["--surest is for --guesser", "is model"]),
        (["--tokenizer_name={images}"], ["no tokenizer in", "--tokenizer_name"]),
        (["--pad_to_multiple_of=0"], ["pad_to_multiple_of", "at least 1"]),
        (["--pad_to_multiple_of=100"], ["pad_to_multiple_of=100", "takes"]),
        (["--max_train_samples=1"], ["one training row", "tmix", "mix_method='erm'"]),
        (["--label_noise_kind=pair"], ["label_noise_kind", "'pair'", "label_noise"]),
        (["--up_to"], ["--up_to", "--labeled_per_class"]),
        (["--id_column=text"], ["--id_column text", "--do_predict"]),
        (['--mix_kwargs={"pad": "keep", "pad": "mix"}'], ["mix_kwargs has 'pad' twice"]),
        (["--image_augmentations", "flip"], ["image_augmentations=['flip'] change images", "reads texts"]),
        (
            ["--mix_method=uda", "--labeled_per_class=2", "--view_columns", "ru"],
            ["'ru'", "['text', 'label']", "augment-text", "--augmenters"],
        ),
        (["--mix_method=mixtext", '--mix_kwargs={"temperature": 0}'], ["temperature", "positive"]),
        (["--mix_method=mixtext", "--mix_preset=quick"], ["mix_preset='quick'", "ours, paper, official_code"]),
        (["--head=cls"], ["head", "'cls'", "mean_pooling"]),
        (["--mix_alpha=much"], ["--mix_alpha", "'much'"]),
        (["--mix_alph=1"], ["--mix_alph is no argument", "--mix_alpha"]),
        (["--seed=4294967296"], ["seed", "below 2**32", "got 4294967296"]),
        (["--train_sampling_strategy=group_by_length"], ["--train_sampling_strategy group_by_length", "sequential"]),
        (["--problem_type=ranking"], ["problem_type", "'ranking'", "regression"]),
        (["--task_name=boolq"], ["task_name", "'boolq'", "'sst2'"]),
        (["--model_name_or_path=no/such-model"], ["model_name_or_path='no/such-model'", "path of a checkpoint"]),
    ],
)
def test_wrong_arguments(tmp_path, capsys, base, train_csv, flags, said):
    (tmp_path / "images").mkdir()
    flags = [flag.replace("{images}", str(tmp_path / "images")) for flag in flags]
    message = refused(capsys, tmp_path / "out", [f"--train_file={train_csv}", "--do_train", *flags], model=base)
    for part in said:
        assert part in message


def test_an_image_classifier_learns_no_texts(tmp_path, capsys, train_csv):
    tiny_image_model("vit").save_pretrained(tmp_path / "vit")
    flags = [f"--train_file={train_csv}", "--do_train", "--new_head"]
    message = refused(capsys, tmp_path / "out", flags, model=str(tmp_path / "vit"))
    assert "is a classifier of images (ViTForImageClassification)" in message and "train-image" in message


@pytest.mark.parametrize("name", ["train.csv", "base/config.json"])
def test_a_file_is_no_model(tmp_path, capsys, base, train_csv, name):
    shutil.copytree(base, tmp_path / "base")
    flags = [f"--train_file={train_csv}", "--do_train"]
    message = refused(capsys, tmp_path / "out", flags, model=str(tmp_path / name))
    assert f"{name}' is a file" in message and "name the folder of a model" in message


def test_results_are_not_written_among_the_data(tmp_path, capsys, base):
    data = tmp_path / "data"
    data.mkdir()
    write_table(data / "train.csv", rows(12))
    for out in (data, data / "out"):
        message = refused(capsys, out, [f"--dataset_name={data}", "--do_train"], model=base)
        assert "is in the folder of the data" in message and "name a folder outside of it" in message


def test_texts_are_cut_to_what_the_model_takes_where_nobody_says(tmp_path, base, train_csv):
    flags = [flag for flag in COMMON if "max_seq_length" not in flag]
    flags += [
        f"--model_name_or_path={base}",
        f"--output_dir={tmp_path / 'out'}",
        f"--train_file={train_csv}",
        "--do_train",
    ]
    run = make_run(flags)
    assert run.trainer.data_collator.max_length == 32
    assert run.describe()["data_arguments"]["max_seq_length"] == 32


def test_a_validation_split_without_labels(tmp_path, capsys, base, train_csv):
    hidden = write_table(tmp_path / "hidden.csv", [{"text": "w1 w2"}, {"text": "w3"}])
    flags = [f"--train_file={train_csv}", f"--validation_file={hidden}", "--do_train", "--do_eval"]
    message = refused(capsys, tmp_path / "out", flags, model=base)
    assert "needs labelled data, and the validation split has no labels: give --validation_file" in message


def test_a_file_is_no_data_set(tmp_path, capsys, base, train_csv):
    message = refused(capsys, tmp_path / "out", [f"--dataset_name={train_csv}", "--do_train"], model=base)
    assert f"`dataset_name` is {train_csv!r}, which is a file: give it as --train_file" in message


def test_a_head_of_another_shape_is_one_line(tmp_path, capsys, caplog):
    model = save_model(tmp_path / "model", num_labels=2)
    data = write_table(tmp_path / "train.csv", rows(12))
    message = refused(capsys, tmp_path / "out", [f"--train_file={data}", "--do_train"], model=model)
    assert (
        "has a head of another shape than the one for the 3 classes of the data: add --ignore_mismatched_sizes"
        in message
    )
    assert "classifier.weight" not in caplog.text


def test_no_output_dir(tmp_path, monkeypatch, capsys, base, train_csv):
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.iterdir())
    with pytest.raises(SystemExit) as stopped:
        main([f"--model_name_or_path={base}", f"--train_file={train_csv}", "--do_train", *COMMON])
    assert stopped.value.code == 2 and "--output_dir is needed" in capsys.readouterr().err
    assert sorted(tmp_path.iterdir()) == before


def test_nothing_to_do(tmp_path, capsys, base, train_csv):
    message = refused(capsys, tmp_path / "out", [f"--train_file={train_csv}"], model=base)
    assert "--do_train, --do_eval or --do_predict" in message


def test_training_without_training_data(tmp_path, capsys, base, dev_csv):
    message = refused(capsys, tmp_path / "out", [f"--validation_file={dev_csv}", "--do_train"], model=base)
    assert "--train_file" in message


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", ["train_file", "is empty"]),
        ("text,label\n", ["train_file", "no rows"]),
        ("text,label\nw1,a\nw2\n", ["train_file", "train.csv", "line 3", "1 cell"]),
        ("text,label\nw1,0.5\nw2,nan\n", ["'label'", "nan", "row 1", "finite"]),
        ("text,label\nw1,a\nw2,a\n", ["'label'", "single class", "--label_column"]),
        ("text,label\nw1,a\nw2,\n", ["row 1", "hidden", "remove"]),
        ("body,label\nw1,a\nw2,b\n", ["['body', 'label']", "--text_column"]),
        ("text,klass\nw1,a\nw2,b\n", ["['text', 'klass']", "--label_column"]),
    ],
    ids=["empty", "header", "short", "nan", "one-class", "hidden", "no-text", "no-label"],
)
def test_wrong_training_files(tmp_path, capsys, base, content, said):
    path = tmp_path / "train.csv"
    path.write_text(content)
    message = refused(capsys, tmp_path / "out", [f"--train_file={path}", "--do_train"], model=base)
    for part in said:
        assert part in message


def test_a_missing_file(tmp_path, capsys, base):
    message = refused(capsys, tmp_path / "out", ["--train_file=nowhere.csv", "--do_train"], model=base)
    assert "train_file" in message and "'nowhere.csv'" in message and "Check the path" in message


def test_a_text_that_is_missing(tmp_path, capsys, base):
    path = write_table(tmp_path / "train.parquet", [{"text": "w1", "label": 0}, {"text": None, "label": 1}])
    message = refused(capsys, tmp_path / "out", [f"--train_file={path}", "--do_train"], model=base)
    assert "'text'" in message and "None" in message and "row 1" in message


def test_labels_of_test_that_train_does_not_have(tmp_path, capsys, base, train_csv):
    path = write_table(tmp_path / "test.csv", rows(4, names=("ham", "bacon")))
    flags = [f"--train_file={train_csv}", f"--test_file={path}", "--do_train", "--do_predict"]
    message = refused(capsys, tmp_path / "out", flags, model=base)
    assert "'test'" in message and "'bacon'" in message and "training split does not have" in message


def test_a_folder_that_holds_no_model(tmp_path, capsys, train_csv):
    (tmp_path / "empty").mkdir()
    flags = [f"--train_file={train_csv}", "--do_train"]
    message = refused(capsys, tmp_path / "out", flags, model=str(tmp_path / "empty"))
    assert "model_name_or_path" in message and "config.json" in message


def test_another_run_in_the_output_dir_is_left_alone(tmp_path, capsys, base, train_csv):
    out = tmp_path / "out"
    (out / "checkpoint-3").mkdir(parents=True)
    (out / "all_results.json").write_text("{}")
    message = refused(capsys, out, [f"--train_file={train_csv}", "--do_train"], model=base)
    for part in ("output_dir", "all_results.json, checkpoint-3", "--resume_from_checkpoint", "--overwrite_output_dir"):
        assert part in message


def test_a_classifier_of_another_number_of_classes(tmp_path, capsys, trained, base):
    path = write_table(tmp_path / "train.csv", rows(8, names=("yes", "no")))
    flags = [f"--train_file={path}", "--do_train"]
    with pytest.raises(SystemExit) as stopped:
        make_run([f"--model_name_or_path={trained}", f"--output_dir={tmp_path / 'out'}", *COMMON, *flags])
    assert stopped.value.code == 2
    message = capsys.readouterr().err.splitlines()[-1]
    assert "['no', 'yes']" in message and str(NAMES) in message and "--new_head" in message
    run = make_run(
        [
            f"--model_name_or_path={trained}",
            f"--output_dir={tmp_path / 'out'}",
            *COMMON,
            *flags,
            "--ignore_mismatched_sizes",
        ]
    )
    assert run.trainer.model.config.id2label == {0: "no", 1: "yes"}
