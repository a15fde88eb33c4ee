"""A decoder through the commands: trained, predicted with, measured, a teacher, drawn; its tokenizer knows of no padding at first."""

from __future__ import annotations

import csv
import json

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from table_files import write_table
from tiny import decoder_tokenizer, tiny_model
from transformers import AutoModelForSequenceClassification, AutoTokenizer, pipeline

from mixtext_hf.cli import evaluate, guess_labels, predict, train_text
from mixtext_hf.evaluation.pictures.mix_examples import read_texts
from mixtext_hf.evaluation.pictures.token_examples import read_pair_of_texts
from mixtext_hf.methods import METHODS
from mixtext_hf.training.guesses.teacher import Teacher


QUIET = ["--use_cpu", "--disable_tqdm=true"]
NAMES = ["ham", "spam"]


def rows(count, seed=0):
    rng = np.random.default_rng(seed)
    return [
        {"text": " ".join(f"w{n}" for n in rng.integers(0, 50, size=rng.integers(2, 9))), "label": NAMES[i % 2]}
        for i in range(count)
    ]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """By tmix, from a decoder without a head or a padding token."""
    folder = tmp_path_factory.mktemp("decoder")
    model = tiny_model("qwen3", "sdpa", num_hidden_layers=2)
    model.config.pad_token_id = None
    model.model.save_pretrained(folder / "base")
    decoder_tokenizer().save_pretrained(folder / "base")
    flags = [f"--train_file={write_table(folder / 'train.csv', rows(16))}", f"--model_name_or_path={folder / 'base'}"]
    flags += [f"--output_dir={folder / 'out'}", "--do_train", "--max_steps=4", "--per_device_train_batch_size=4"]
    train_text.main([*flags, "--mix_method=tmix", "--save_strategy=no", "--report_to=none", *QUIET])
    return folder / "out"


@pytest.fixture
def file(tmp_path):
    return write_table(tmp_path / "new.csv", rows(11, seed=1))


def test_what_is_saved_is_right_in_plain_transformers_and_in_predict(tmp_path, trained, file):
    tokenizer, config = AutoTokenizer.from_pretrained(trained), json.loads((trained / "config.json").read_text())
    assert tokenizer.padding_side == "left" and tokenizer.pad_token_id == config["pad_token_id"] is not None
    predict.main([str(trained), file, f"--output_file={tmp_path / 'out.csv'}", *QUIET])
    with (tmp_path / "out.csv").open(encoding="utf-8") as lines:
        found = list(csv.DictReader(lines))
    classifier = pipeline("text-classification", str(trained), device="cpu", batch_size=4)
    for row, answer in zip(found, classifier([row["text"] for row in rows(11, seed=1)]), strict=True):
        assert row["prediction"] == answer["label"]
        assert float(row["confidence"]) == pytest.approx(answer["score"], abs=1e-5)


def test_without_a_padding_token_it_is_the_one_that_ends_a_text(tmp_path, trained, file, caplog):
    model = AutoModelForSequenceClassification.from_pretrained(trained)
    model.config.pad_token_id = None
    model.save_pretrained(tmp_path / "bare")
    decoder_tokenizer().save_pretrained(tmp_path / "bare")
    found = []
    for name, out in (("bare", "one.csv"), (trained, "other.csv")):
        predict.main([str(tmp_path / name), file, f"--output_file={tmp_path / out}", *QUIET])
        with (tmp_path / out).open(encoding="utf-8") as lines:
            found.append([(row["prediction"], float(row["confidence"])) for row in csv.DictReader(lines)])
    # One is padded on the right, the other on the left.
    for one, other in zip(*found, strict=True):
        assert one[0] == other[0] and one[1] == pytest.approx(other[1], abs=1e-5)
    assert "The tokenizer has no padding token: it is '</s>' now" in caplog.text


def test_it_is_measured(tmp_path, trained, file):
    evaluate.main(
        [
            f"--model_name_or_path={trained}",
            f"--test_file={file}",
            f"--output_dir={tmp_path / 'out'}",
            "--robustness_samples=4",
            *QUIET,
        ]
    )
    found = json.loads((tmp_path / "out" / "report.json").read_text())
    assert found["model"]["architecture"] == "Qwen3ForSequenceClassification"


def test_it_is_a_teacher(trained):
    teacher = Teacher(str(trained), None, device=torch.device("cpu"), batch_size=3)
    one = np.concatenate(list(teacher.guess(rows(7), "text", disable_tqdm=True)))
    teacher.tokenizer.padding_side = "right"
    np.testing.assert_allclose(one, np.concatenate(list(teacher.guess(rows(7), "text", disable_tqdm=True))), atol=1e-5)


def test_pictures_show_the_padding_on_the_left(trained):
    texts = read_texts(("w1 w2 w3", "w4"), str(trained))
    assert texts.tokens == [[None, None, "w1", "w2", "w3"], [None, None, None, None, "w4"]]
    pair = read_pair_of_texts(("w1 w2 w3", "w4 w5"), str(trained), mixable=True, seed=0)
    assert pair.inputs["attention_mask"].tolist() == [[1, 1, 1], [0, 1, 1]]
    row = pair.mix(METHODS["puzzle_tmix"](), 0.5, 1)
    assert 0 < row.labels.weight < 1


def test_guesses_need_no_padding_token(tmp_path, trained, caplog):
    """An encoder alone, whose tokenizer has none: each text is the mean over its tokens, whatever it is beside."""
    train = write_table(tmp_path / "few.csv", rows(12, seed=2))
    texts = write_table(tmp_path / "texts.csv", rows(11, seed=1))
    found = []
    for size in (1, 4):
        flags = [f"--train_file={train}", f"--model_name_or_path={trained.parent / 'base'}", f"--batch_size={size}"]
        guess_labels.main([texts, str(tmp_path / f"{size}.parquet"), *flags, "--device=cpu"])
        guesses = pq.read_table(tmp_path / f"{size}.parquet")["guess_probabilities"].to_pylist()
        found.append([guess["spam"] for guess in guesses])
    np.testing.assert_allclose(*found, rtol=0, atol=1e-3)
    assert "The tokenizer has no padding token: it is '</s>' now" in caplog.text
