"""Training on guesses that are made before: who guesses, what is learnt from, and runs that are ended in any round."""

from __future__ import annotations

import json
import logging

import numpy as np
import pytest
import torch
from runs import RecordingTrainer, arguments, assert_same_weights, make_trainer, series, weights
from tiny import tiny_model, tiny_tokenizer
from transformers import AutoModelForSequenceClassification

from mixtext_hf.data.guesses import GuessTable, checked_probabilities, guesses_of_column
from mixtext_hf.data.texts.two_streams import TwoStreams
from mixtext_hf.methods import UDA, MixText
from mixtext_hf.training import MixTrainer
from mixtext_hf.training.guesses import ROUNDS


NAMES = ["ant", "bee", "cat"]


def sentences(count, seed=0, names=("text", "label")):
    """A class has thirteen words of its own."""
    rng = np.random.default_rng(seed)
    rows = []
    for i in range(count):
        words = [f"w{13 * (i % 3) + int(j)}" for j in rng.integers(0, 13, int(rng.integers(4, 9)))]
        rows.append({names[0]: " ".join(words), names[1]: i % 3})
    return rows


def named_model(**options):
    model = tiny_model(**options)
    model.config.id2label = dict(enumerate(NAMES))
    model.config.label2id = {name: i for i, name in enumerate(NAMES)}
    return model


def trainer_of(folder, method=None, *, unlabelled=None, model=None, kind=RecordingTrainer, **settings):
    settings = {
        "per_device_train_batch_size": 4,
        "per_device_unlabeled_batch_size": 6,
        "max_steps": 6,
        "guess_warm_up_steps": 4,
        "learning_rate": 1e-3,
        "optim": "adamw_torch",
        **settings,
    }
    if method is None:
        settings.setdefault("mix_method", "mixtext")
    return make_trainer(
        named_model() if model is None else model,
        arguments(folder, **settings),
        sentences(12, seed=1),
        kind=kind,
        method=method,
        unlabeled_dataset=sentences(60) if unlabelled is None else unlabelled,
    )


@pytest.fixture
def seen(monkeypatch):
    """The unlabelled rows that training asks for."""
    rows: list[str] = []
    original = TwoStreams.__getitems__

    def look(self, batch):
        made = original(self, batch)
        rows.extend(one.rows[0]["text"] for which, one in zip(batch, made, strict=True) if which.stream == 1)
        return made

    monkeypatch.setattr(TwoStreams, "__getitems__", look)
    return rows


@pytest.mark.parametrize("name", ["mixtext", "uda"])
def test_the_surest_guesses_are_learnt_from_and_no_others(tmp_path, seen, name):
    trainer = trainer_of(tmp_path, mix_method=name, surest=[0.5], max_steps=20)
    trainer.train()
    table = GuessTable.read(tmp_path / "guesses" / "round-1")
    assert table is not None and len(table) == 60 and table.label_names == tuple(NAMES)
    np.testing.assert_allclose(table.probabilities.sum(axis=1), 1, atol=1e-5)
    rows = trainer.guesses.rows
    texts = sentences(60)
    assert set(seen) == {texts[i]["text"] for i in rows} and 29 <= len(rows) <= 32
    assert (table.about["report"]["labelled"] == 12 and "Gaussian" in table.about["why"]) or "logistic" in table.about[
        "why"
    ]
    facts = trainer.guesses.rounds[0]
    right = (table.probabilities.argmax(axis=1) == np.arange(60) % 3).mean()
    assert facts["accuracy"] == pytest.approx(right) and sum(facts["shares"].values()) == pytest.approx(1)
    assert len(series(trainer, "guess_accuracy")) == 20
    assert trainer.model.config.mixtext["hyperparameters"]["online"] is False


def test_hard_targets_are_the_likeliest_class_and_soft_ones_the_guess():
    guess = torch.tensor([[0.6, 0.3, 0.1], [0.2, 0.2, 0.6]])
    assert MixText(targets="hard").targets_of(guess).tolist() == [[1, 0, 0], [0, 0, 1]]
    torch.testing.assert_close(MixText(temperature=1).targets_of(guess), guess)
    sharp = guess**2 / (guess**2).sum(dim=1, keepdim=True)
    torch.testing.assert_close(UDA(targets="soft", temperature=0.5).targets_of(guess), sharp)


def test_what_is_guessed_before_does_not_depend_on_known_labels(tmp_path):
    ends = []
    for number, label in enumerate((True, False)):
        rows = [row if label else {"text": row["text"]} for row in sentences(60)]
        trainer = trainer_of(tmp_path / str(number), unlabelled=rows)
        trainer.train()
        ends.append(weights(trainer.model))
    assert_same_weights(*ends)


def test_guesses_of_the_same_run_serve_again(tmp_path, caplog, monkeypatch):
    first = trainer_of(tmp_path)
    first.train()
    made = (tmp_path / "guesses" / "round-1" / "probabilities.npy").stat().st_mtime_ns
    with caplog.at_level(logging.INFO):
        again = trainer_of(tmp_path)
        again.train()
    assert (tmp_path / "guesses" / "round-1" / "probabilities.npy").stat().st_mtime_ns == made
    assert any("serve again" in record.getMessage() for record in caplog.records)
    assert_same_weights(weights(first.model), weights(again.model))
    other = trainer_of(tmp_path, guess_warm_up_steps=2)
    with pytest.raises(
        ValueError, match=r"round-1 holds the guesses of another run \(other warm_up_steps\).*overwrite_output_dir"
    ):
        other.train(resume_from_checkpoint=True)
    other.train()
    assert (tmp_path / "guesses" / "round-1" / "probabilities.npy").stat().st_mtime_ns != made
    assert not list((tmp_path / "guesses").glob("features*"))


class Ended(Exception):
    """As a signal would."""


def in_rounds(folder):
    """Warm-ups take 3 times 4 steps, then come two rounds of 8."""
    settings = {"guess_rounds": 2, "max_steps": 8, "save_strategy": "steps", "save_steps": 2, "surest": [0.5, 0.8]}
    return trainer_of(folder, model=named_model(dropout=0.1), kind=MixTrainer, **settings)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run that nobody disturbed."""
    trainer = in_rounds(tmp_path_factory.mktemp("whole"))
    trainer.train()
    return trainer


@pytest.mark.parametrize("after", [3, 16, 20, 25])
def test_a_run_ended_in_any_round_goes_on_bit_for_bit(tmp_path, monkeypatch, whole, after):
    """Ended in a warm-up, a round, at its end, and in the last."""
    count = 0
    plain = MixTrainer.training_step

    def counting(self, *args, **kwargs):
        nonlocal count
        if count == after:
            raise Ended
        count += 1
        return plain(self, *args, **kwargs)

    monkeypatch.setattr(MixTrainer, "training_step", counting)
    with pytest.raises(Ended):
        in_rounds(tmp_path / "ended").train()
    monkeypatch.setattr(MixTrainer, "training_step", plain)
    resumed = in_rounds(tmp_path / "ended")
    resumed.train(resume_from_checkpoint=True)
    assert_same_weights(weights(whole.model), weights(resumed.model))
    assert (tmp_path / "ended" / ROUNDS / "round-1" / "trained.pt").is_file()
    assert [facts["round"] for facts in resumed.guesses.rounds] == [1, 2]
    assert resumed.guesses.metrics() == whole.guesses.metrics()
    again = in_rounds(tmp_path / "ended")
    again.train(resume_from_checkpoint=True)
    assert_same_weights(weights(whole.model), weights(again.model))
    assert again.guesses.metrics() == whole.guesses.metrics()


def test_a_column_of_the_data_is_a_guess(tmp_path, seen):
    rows = [{**row, "mine": {"ant": 0.1, "bee": 0.8, "cat": 0.1}} for row in sentences(30)]
    trainer = trainer_of(tmp_path, unlabelled=rows, guess_column="mine", surest=[1.0])
    trainer.train()
    assert trainer.guesses.table.shares() == {"ant": 0.0, "bee": 1.0, "cat": 0.0}
    assert series(trainer, "guess_accuracy")[0] == pytest.approx(1 / 3, abs=0.34)
    assert json.loads((tmp_path / "guesses" / "guesses.json").read_text())["column"] == "mine"


def test_guesses_in_a_column_may_be_written_in_several_ways():
    expected = [[0, 1, 0], [0.2, 0.3, 0.5], [0.5, 0.25, 0.25], [0, 0, 1]]
    column = ["bee", [0.2, 0.3, 0.5], {"cat": 0.25, "ant": 0.5, "bee": 0.25}, 2]
    np.testing.assert_allclose(guesses_of_column(column, NAMES, name="g"), expected)
    for wrong, message in (
        ("dog", r"guess_column 'g' holds 'dog' in row 7, which is no class: the classes are ant, bee, cat"),
        (None, "holds None in row 7, which is no class"),
        (3, "holds 3 in row 7, which is no class"),
        ([0.5, 0.5], r"it has 2 probabilities, and there are 3 classes \(ant, bee, cat\)"),
        ([0.5, 0.5, 0.5], r"of row 7 are \[0.5, 0.5, 0.5\], which sum to 1.5"),
        ([1.5, -0.5, 0.0], "of row 7 are"),
        ([float("nan"), 0.5, 0.5], r"of row 7 are \[nan, 0.5, 0.5\]"),
        ([None, 0.5, 0.5], r"of row 7 are \[nan, 0.5, 0.5\]"),
        (float("nan"), "holds nan in row 7, which is no class"),
        ({"ant": 1.0, "dog": 0.0}, "its classes are ant, dog, those of the labelled rows are ant, bee, cat"),
        ({"ant": 1.0, "bee": None, "cat": 0.0}, "of row 7 are"),
    ):
        with pytest.raises(ValueError, match=message):
            guesses_of_column([wrong], NAMES, name="g", first_row=7)


def test_a_table_is_there_whole_or_not_at_all(tmp_path):
    pieces = [np.full((4, 3), 1 / 3), np.full((2, 3), 1 / 3)]
    with pytest.raises(ValueError, match="There are guesses for 6 rows, but 7 rows"):
        GuessTable.write(tmp_path, pieces, 7, NAMES, {})
    assert GuessTable.read(tmp_path) is None
    table = GuessTable.write(tmp_path, pieces, 6, NAMES, {"guesser": "x"})
    assert isinstance(table.probabilities, np.memmap) and len(table) == 6 and table.about["guesser"] == "x"
    with pytest.raises(ValueError, match="row 3 are"):
        GuessTable.write(tmp_path, [np.concatenate([pieces[0][:3], [[0.5, 0.5, 0.5]]])], 4, NAMES, {})
    assert GuessTable.read(tmp_path) is None
    assert table.accuracy(np.array([-1, -1, 0, 0, 1, 5])) == pytest.approx(2 / 3)
    assert table.accuracy(np.full(6, -1)) is None
    with pytest.raises(ValueError, match=r"have 2 probabilities a row, but there are 3 classes \(ant, bee, cat\)"):
        checked_probabilities(np.ones((1, 2)), NAMES)


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    """A classifier with the classes in another order, and what it says."""
    folder = tmp_path_factory.mktemp("teacher")
    model = tiny_model(seed=3)
    model.config.id2label = {0: "cat", 1: "ant", 2: "bee"}
    model.config.label2id = {"cat": 0, "ant": 1, "bee": 2}
    model.save_pretrained(folder)
    tiny_tokenizer().save_pretrained(folder)
    return str(folder)


def test_a_teacher_guesses_by_the_names_of_its_classes(tmp_path, teacher):
    trainer = trainer_of(tmp_path, guesser=f"checkpoint:{teacher}", surest=[1.0])
    trainer.train()
    model = AutoModelForSequenceClassification.from_pretrained(teacher).eval()
    tokenizer = tiny_tokenizer()
    with torch.no_grad():
        for row, guess in zip(sentences(60)[:9], trainer.guesses.table.probabilities, strict=False):
            p = model(**tokenizer(row["text"], return_tensors="pt")).logits.softmax(dim=-1)[0]
            np.testing.assert_allclose(guess, p[[1, 2, 0]].numpy(), atol=1e-5)
    assert "distillation" in trainer.guesses.sentences()[0]
    other = tiny_model()
    other.config.id2label = {0: "x", 1: "y", 2: "z"}
    with pytest.raises(ValueError, match="has the classes cat, ant, bee, those of the labelled rows are x, y, z"):
        trainer_of(tmp_path / "other", model=other, guesser=f"checkpoint:{teacher}").train()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"guesser": "oracle"}, "guesser='oracle' is none: choose from gaussian, checkpoint:FOLDER_OR_ID, column"),
        ({"guesser": "checkpoint:"}, "guesser='checkpoint:' names no checkpoint"),
        ({"guesser": "column"}, "guesser='column' and guess_column=None: a column is named where, and only where"),
        ({"guesser": "gaussian", "guess_column": "x"}, "guesser='gaussian' and guess_column='x'"),
        ({"guess_rounds": 0}, "guess_rounds must be at least 1, got 0"),
        (
            {"guess_rounds": 2, "guesser": "model"},
            "guess_rounds=2 makes guesses again, but those of guesser='model' stay",
        ),
        ({"surest": [0.5, 0.0]}, r"surest must be shares in \(0, 1\], one for each round, got \[0.5, 0.0\]"),
        ({"surest": []}, "surest must be shares"),
        ({"guess_warm_up_steps": -1}, "guess_warm_up_steps must be at least 0, got -1"),
        ({"guess_shares": "even"}, "guess_shares must be one of auto, uniform, labelled, estimated or one number"),
        ({"guesser": "gaussian", "mix_kwargs": {"online": True}}, "say different things of who guesses"),
    ],
)
def test_bad_arguments_are_named(tmp_path, settings, message):
    with pytest.raises(ValueError, match=message):
        arguments(tmp_path, mix_method="mixtext", **settings)


def test_shares_that_do_not_fit_the_classes_are_refused_before_training(tmp_path):
    with pytest.raises(ValueError, match="guess_shares has 2 numbers, but there are 3 classes"):
        trainer_of(tmp_path, guess_shares="0.5,0.5")
    trainer = trainer_of(tmp_path, guess_shares="0.5,0.3,0.2")
    trainer.train()
    assert (
        "given shares" in trainer.guesses.table.about["report"]["chosen"]
        or "logistic" in trainer.guesses.table.about["why"]
    )


def test_who_guesses_is_said_by_the_guesser_or_by_the_preset(tmp_path):
    def online(**settings):
        return arguments(tmp_path, **settings).make_method().online

    assert not online(mix_method="mixtext")
    assert online(mix_method="mixtext", guesser="model") and online(mix_method="uda", guesser="model")
    assert online(mix_method="mixtext", mix_preset="paper")
    assert not online(mix_method="mixtext", mix_preset="paper", guesser="gaussian")
    assert not hasattr(arguments(tmp_path, mix_method="tmix", guesser="model").make_method(), "online")
