"""Commands that start from a checkpoint of sentence-transformers: whose features they take, and what a changed pooling makes anew."""

from __future__ import annotations

import json
import logging

import datasets
import numpy as np
import pyarrow.parquet as pq
import pytest
from comparisons import FLAGS
from sentence_checkpoints import checkpoint, newer, older, write
from table_files import write_table
from tiny import tiny_tokenizer

from mixtext_hf.cli import compare, evaluate, guess_labels, predict, train_text
from mixtext_hf.cli.guessers import Gaussian
from mixtext_hf.data import MixDataCollator
from mixtext_hf.data.in_batches import run_over
from mixtext_hf.guessing import fit_frozen_guesser
from mixtext_hf.models import MixableModelForSequenceClassification
from mixtext_hf.models.features import text_features
from mixtext_hf.training.guesses.frozen import features_path


NAMES = ("ant", "bee", "cat")


@pytest.fixture(autouse=True)
def private_cache(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


def rows(count: int, seed: int) -> list[dict]:
    """A class has thirteen words of its own."""
    generator = np.random.default_rng(seed)
    drawn = generator.integers(0, 13, (count, 6))
    return [
        {"text": " ".join(f"w{13 * (i % 3) + int(word)}" for word in row), "label": NAMES[i % 3]}
        for i, row in enumerate(drawn)
    ]


@pytest.fixture
def files(tmp_path) -> dict[str, str]:
    sizes = {"train": 60, "test": 24}
    return {name: write_table(tmp_path / f"{name}.csv", rows(n, i)) for i, (name, n) in enumerate(sizes.items())}


def guess(files, encoder, out, *more: str) -> list[str]:
    given = [f"--train_file={files['train']}", "--labeled_per_class=4", f"--model_name_or_path={encoder}"]
    return [files["test"], str(out), *given, "--max_seq_length=16", "--chunk_size=8", "--device=cpu", *more]


def test_guesses_are_those_of_the_pooling(files, tmp_path, monkeypatch):
    """And a run that another pooling began is not gone on with."""
    encoder = checkpoint(tmp_path / "encoder", older("cls"), transformer="0_Transformer")
    plain, out, calls = Gaussian.look_at, tmp_path / "out.parquet", []

    def ending(self, texts):
        calls.append(texts)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return plain(self, texts)

    monkeypatch.setattr(Gaussian, "look_at", ending)
    with pytest.raises(KeyboardInterrupt):
        guess_labels.main(guess(files, encoder, out))
    monkeypatch.setattr(Gaussian, "look_at", plain)
    write(encoder / "1_Pooling" / "config.json", older("max"))
    with pytest.raises(SystemExit):
        guess_labels.main(guess(files, encoder, out))
    guess_labels.main(guess(files, encoder, out, "--overwrite_output_file"))
    guess_labels.main(guess(files, checkpoint(tmp_path / "top", newer("max")), tmp_path / "same.parquet"))
    guess_labels.main(guess(files, checkpoint(tmp_path / "mean", newer("mean")), tmp_path / "mean.parquet"))
    tables = [pq.read_table(tmp_path / f"{name}.parquet") for name in ("out", "same", "mean")]
    assert tables[0].equals(tables[1]) and not tables[0].equals(tables[2])


def test_what_is_not_understood_is_refused_before_anything_is_written(files, tmp_path, capsys):
    encoder = checkpoint(tmp_path / "encoder", newer("mean"), "WordWeights")
    with pytest.raises(SystemExit) as caught:
        guess_labels.main(guess(files, encoder, tmp_path / "out.parquet"))
    assert caught.value.code == 2 and "WordWeights" in capsys.readouterr().err
    assert not list(tmp_path.glob("out*"))


def test_frozen_baselines_take_the_features_of_the_checkpoint(files, tmp_path, caplog):
    """What they predict is what guessers fitted on these say; with another pooling they are run again, `erm` as well."""
    encoder = checkpoint(tmp_path / "encoder", older("lasttoken"), transformer="0_Transformer")
    given = [f"--train_file={files['train']}", f"--test_file={files['test']}", f"--model_name_or_path={encoder}"]
    argv = ["text", "--methods", "frozen", "frozen_gaussian", f"--output_dir={tmp_path / 'out'}", "--seeds", "0"]
    argv += [*given, "--labeled_per_class", "4", *FLAGS]
    with caplog.at_level(logging.INFO, logger="mixtext_hf"):
        compare.main(argv)
    runs = {path.parent.name.split("-")[0]: path.parent for path in tmp_path.glob("out/runs/*/result.json")}
    assert set(runs) == {"frozen", "frozen_gaussian"}

    data = train_text.load_text_datasets(
        train_file=files["train"], test_file=files["test"], labeled_per_class=4, seed=0
    )
    model = MixableModelForSequenceClassification.without_hooks(str(encoder), num_labels=3).eval()
    collator = MixDataCollator(tiny_tokenizer(), text_column="text", max_length=16)

    def of(split):
        return np.concatenate(
            list(
                run_over(split, collator, lambda batch: text_features(model, batch), device=model.device, batch_size=8)
            )
        )

    labelled, labels, test = of(data.train), np.asarray(data.train["label"][:]), of(data.test["test"])
    guesser = fit_frozen_guesser(labelled, labelled, labels, 3, family="logistic", seed=0)
    expected = np.exp(guesser.log_probabilities(test))
    with np.load(runs["frozen"] / "predictions.npz") as arrays:
        np.testing.assert_allclose(arrays["probabilities"], expected, rtol=0, atol=1e-4)

    compare.main(argv)
    assert len(list(tmp_path.glob("out/runs/*/result.json"))) == 2
    write(encoder / "1_Pooling" / "config.json", older("cls"))
    compare.main(argv)
    assert len(list(tmp_path.glob("out/runs/*/result.json"))) == 4


def trained(files, encoder, out, *more: str):
    """A run of `mixtext`, checked and ready."""
    return train_text.make_run(
        [
            f"--train_file={files['train']}",
            f"--model_name_or_path={encoder}",
            f"--output_dir={out}",
            "--mix_method=mixtext",
            "--labeled_per_class=4",
            "--do_train",
            "--per_device_unlabeled_batch_size=4",
            "--guess_warm_up_steps=0",
            *FLAGS,
            *more,
        ]
    )


def test_stored_features_and_guesses_know_the_pooling(files, tmp_path):
    encoder = checkpoint(tmp_path / "encoder", older("cls"))
    runs = [trained(files, encoder, tmp_path / "out", "--save_strategy=steps", "--save_steps=1")]
    runs[0]()
    config = json.loads((tmp_path / "out" / "config.json").read_text(encoding="utf-8"))
    assert config["architectures"] == ["BertForSequenceClassification"]
    write(encoder / "1_Pooling" / "config.json", older("mean"))
    runs.append(trained(files, encoder, tmp_path / "other"))
    paths = [features_path(run.trainer, tmp_path).name for run in runs]
    assert paths[0] != paths[1]
    same = [features_path(trained(files, encoder, tmp_path / "third").trainer, tmp_path).name]
    assert same == paths[1:]
    again = trained(files, encoder, tmp_path / "out", "--resume_from_checkpoint=True")
    with pytest.raises(ValueError, match=r"guesses of another run \(other features\)"):
        again()


def test_texts_are_cut_to_what_the_checkpoint_was_trained_on(files, tmp_path):
    encoder = checkpoint(tmp_path / "encoder", older("cls"), max_seq_length=7)
    run = train_text.make_run(
        [
            f"--train_file={files['train']}",
            f"--test_file={files['test']}",
            f"--model_name_or_path={encoder}",
            f"--output_dir={tmp_path / 'out'}",
            "--do_train",
            "--use_cpu",
        ]
    )
    assert run.data_args.max_seq_length == run.trainer.data_collator.max_length == 7


def test_a_checkpoint_that_guesses_need_nothing_of_trains(files, tmp_path, capsys):
    """`erm` asks for no features; and a teacher or a column makes none."""
    encoder = checkpoint(tmp_path / "encoder", newer("mean"), "LSTM")
    run = train_text.make_run(
        [
            f"--train_file={files['train']}",
            f"--model_name_or_path={encoder}",
            f"--output_dir={tmp_path / 'out'}",
            "--mix_method=erm",
            "--do_train",
            *FLAGS,
        ]
    )
    run()
    capsys.readouterr()
    with pytest.raises(SystemExit) as caught:
        trained(files, encoder, tmp_path / "guessed")
    assert caught.value.code == 2 and "sentence_transformers.models.LSTM" in capsys.readouterr().err


@pytest.mark.parametrize("command", [predict, evaluate])
def test_what_is_no_classifier_is_said_to_be_none(files, tmp_path, capsys, command):
    encoder = checkpoint(tmp_path / "encoder", older("cls"), transformer="0_Transformer")
    argv = [str(encoder), files["test"], f"--output_file={tmp_path / 'out.csv'}"]
    if command is evaluate:
        argv = [f"--model_name_or_path={encoder}", f"--test_file={files['test']}", f"--output_dir={tmp_path / 'out'}"]
    with pytest.raises(SystemExit):
        command.main(argv)
    assert "a checkpoint of sentence-transformers: train a classifier from it" in capsys.readouterr().err
