"""Wrong labels of training: which rows get them, and how much of them is learnt, epoch by epoch."""

from __future__ import annotations

import json

import datasets
import numpy as np
import pytest
import torch
from runs import arguments as tiny_arguments
from runs import make_trainer
from table_files import write_table
from tiny import VOCAB_SIZE, tiny_model, tiny_tokenizer

from mixtext_hf.cli.train_text import main
from mixtext_hf.data import load_image_datasets, load_text_datasets
from mixtext_hf.data.labels.noise import CLEAN_LABEL, LabelNoise, corrupt_labels
from mixtext_hf.training import MixTrainer
from mixtext_hf.training.memorisation import MEMORISED, WatchMemorisation, last_memorisation


NAMES = ["egg", "ham", "spam"]


@pytest.fixture(autouse=True)
def private_cache(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


def rows(count, seed=0):
    generator = np.random.default_rng(seed)
    made = []
    for i in range(count):
        text = " ".join(f"w{n}" for n in generator.integers(0, VOCAB_SIZE - 5, 6))
        given = NAMES[(i + (i % 4 == 0)) % 3]  # every fourth is wrong
        made.append({"text": text, "label": NAMES[i % 3], "given": given})
    return made


@pytest.fixture
def train_csv(tmp_path):
    return write_table(tmp_path / "train.csv", rows(48))


@pytest.fixture
def dev_csv(tmp_path):
    return write_table(tmp_path / "dev.csv", rows(12, seed=1))


@pytest.mark.parametrize("kind", ["uniform", "pair"])
def test_the_chosen_rows_get_wrong_labels_and_keep_the_right_ones(train_csv, dev_csv, kind):
    files = {"train_file": train_csv, "validation_file": dev_csv, "labeled_per_class": 10, "seed": 3}
    plain = load_text_datasets(**files)
    noisy = load_text_datasets(**files, label_noise=0.4, label_noise_kind=kind)
    assert noisy.train["text"][:] == plain.train["text"][:]
    assert noisy.train[CLEAN_LABEL][:] == plain.train["label"][:]
    assert noisy.train["label"][:] == corrupt_labels(plain.train["label"][:], 3, 0.4, seed=3, kind=kind).tolist()
    assert noisy.train.features["label"].names == noisy.train.features[CLEAN_LABEL].names == plain.label_names
    assert noisy.source["wrong_labels"] == 12 and noisy.source["label_noise_kind"] == kind
    # What is measured on, and what is learnt from without labels, stays right.
    for split in ("validation", "test"):
        for name, rows_of in getattr(noisy, split).items():
            assert rows_of["label"][:] == getattr(plain, split)[name]["label"][:]
    assert noisy.rest["label"][:] == plain.rest["label"][:]
    assert "wrong_labels" not in plain.source


def test_labels_that_somebody_gave(train_csv, dev_csv):
    data = load_text_datasets(train_file=train_csv, validation_file=dev_csv, noisy_label_column="given")
    assert [data.label_names[i] for i in data.train["label"][:]] == [row["given"] for row in rows(48)]
    assert [data.label_names[i] for i in data.train[CLEAN_LABEL][:]] == [row["label"] for row in rows(48)]
    assert data.source["wrong_labels"] == 12


def test_given_labels_must_be_classes(tmp_path):
    path = write_table(
        tmp_path / "train.parquet", [{**row, "given": 0.0 if i else np.nan} for i, row in enumerate(rows(8))]
    )
    with pytest.raises(
        ValueError, match=r"`noisy_label_column` 'given': .* hidden \(None, NaN, .* the first at row 0"
    ):
        load_text_datasets(train_file=path, noisy_label_column="given")


def test_images_too():
    plain, noisy = (load_image_datasets(labeled_per_class=4, **more) for more in ({}, {"label_noise": 0.25}))
    assert noisy.train[CLEAN_LABEL][:] == plain.train["label"][:]
    assert sum(np.asarray(noisy.train["label"][:]) != np.asarray(plain.train["label"][:])) == 10
    assert np.array_equal(noisy.train[0]["image"], plain.train[0]["image"])


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"label_noise": 0.2, "noisy_label_column": "given"}, "either made or given"),
        ({"label_noise": 1.0}, r"must lie in \(0, 1\), got 1.0"),
        ({"label_noise": -0.1}, r"must lie in \(0, 1\)"),
        ({"label_noise": 0.2, "label_noise_kind": "triple"}, "uniform, pair"),
        ({"noisy_label_column": "nobody"}, "the columns of train are"),
        ({"noisy_label_column": "text"}, "w"),
        ({"noisy_label_column": "label"}, "`label`|columns of train"),
        ({"label_noise": 0.001}, "changes none of the 48"),
    ],
)
def test_noise_that_cannot_be(train_csv, arguments, message):
    with pytest.raises(ValueError, match=message):
        load_text_datasets(train_file=train_csv, **arguments)


def test_noise_needs_rows_with_one_class_each(dev_csv):
    with pytest.raises(ValueError, match="there is no training split"):
        load_text_datasets(validation_file=dev_csv, label_noise=0.2)
    with pytest.raises(ValueError, match="one class a row"):
        LabelNoise(0.2).apply(datasets.Dataset.from_dict({"label": [0.5]}), [], "regression", 0)


def test_what_is_logged_is_what_the_model_says_of_its_training_rows(tmp_path):
    clean, noisy = [0, 1, 2] * 8, [0, 1, 2] * 6 + [1, 2, 0] * 2
    generator = torch.Generator().manual_seed(0)
    ids = [torch.randint(5, VOCAB_SIZE, (6,), generator=generator).tolist() for _ in clean]
    data = datasets.Dataset.from_dict(
        {"input_ids": ids, "attention_mask": [[1] * 6] * 24, "label": noisy, CLEAN_LABEL: clean}
    )
    model = tiny_model("bert", num_labels=3)
    args = tiny_arguments(tmp_path / "out", num_train_epochs=2, learning_rate=0.0)
    trainer = make_trainer(model, args, data, kind=MixTrainer)
    trainer.add_callback(WatchMemorisation(trainer))
    trainer.train()
    with torch.no_grad():
        said = model.eval()(input_ids=torch.tensor(ids)).logits.argmax(-1).tolist()
    wrong = [i for i in range(24) if clean[i] != noisy[i]]
    right = [i for i in range(24) if clean[i] == noisy[i]]
    expected = {
        "noise_memorised": np.mean([said[i] == noisy[i] for i in wrong]),
        "noise_recovered": np.mean([said[i] == clean[i] for i in wrong]),
        "noise_accuracy_on_right": np.mean([said[i] == clean[i] for i in right]),
    }
    logged = [entry for entry in trainer.state.log_history if MEMORISED[0] in entry]
    assert [entry["epoch"] for entry in logged] == [1.0, 2.0]
    for entry in logged:
        assert {name: entry[name] for name in MEMORISED} == pytest.approx(expected)
    assert last_memorisation(trainer.state.log_history) == pytest.approx(expected)
    assert last_memorisation([{"loss": 1.0}]) == {}


def test_of_many_rows_some_are_asked(tmp_path):
    data = datasets.Dataset.from_dict(
        {"input_ids": [[5, 6]] * 40, "attention_mask": [[1, 1]] * 40, "label": [1] * 40, CLEAN_LABEL: [0, 1] * 20}
    )
    trainer = make_trainer(tiny_model("bert"), tiny_arguments(tmp_path / "out"), data, kind=MixTrainer)
    one, other = WatchMemorisation(trainer, max_rows=15), WatchMemorisation(trainer, max_rows=15)
    assert len(one.rows) == 15 == len(one.clean) and one.clean.tolist() == other.clean.tolist()
    with pytest.raises(ValueError, match=CLEAN_LABEL):
        WatchMemorisation(make_trainer(tiny_model("bert"), tiny_arguments(tmp_path / "other"), kind=MixTrainer))
    # A single wrong label, wherever it is: without it there is nothing to measure after the first epoch.
    for wrong in range(0, 40, 5):
        trainer.train_dataset = data.remove_columns(CLEAN_LABEL).add_column(
            CLEAN_LABEL, [int(i != wrong) for i in range(40)]
        )
        watch = WatchMemorisation(trainer, max_rows=15)
        assert len(watch.rows) == 15 and (watch.clean != watch.noisy).sum() == 1


def test_the_command_records_the_noise_and_what_was_learnt_of_it(tmp_path, train_csv, dev_csv):
    tiny_model("bert").base_model.save_pretrained(tmp_path / "base")
    tiny_tokenizer().save_pretrained(tmp_path / "base")
    out = tmp_path / "out"
    flags = ["--use_cpu", "--max_seq_length=16", "--save_strategy=no", "--disable_tqdm=true", "--eval_strategy=epoch"]
    main(
        [
            f"--train_file={train_csv}",
            f"--validation_file={dev_csv}",
            f"--model_name_or_path={tmp_path / 'base'}",
            *flags,
            "--label_noise=0.25",
            "--do_train",
            "--do_eval",
            f"--output_dir={out}",
            "--num_train_epochs=2",
        ]
    )
    results = json.loads((out / "all_results.json").read_text())
    history = json.loads((out / "trainer_state.json").read_text())["log_history"]
    assert {name: results[name] for name in MEMORISED} == last_memorisation(history)
    assert (
        sum("noise_memorised" in entry for entry in history) == sum("eval_accuracy" in entry for entry in history) == 2
    )
    assert json.loads((out / "run.json").read_text())["data"]["wrong_labels"] == 12
    assert (
        "Of the 48 labels of training, 12 are wrong: uniform noise, share 0.25, seed"
        in (out / "README.md").read_text()
    )
