"""MixTrainer where tokens are classified: losses against loops, pieces of a batch, partners, guesses, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from datasets import Dataset
from runs import (
    GivenPlansTrainer,
    RecordingTrainer,
    StopAt,
    arguments,
    assert_same_trajectory,
    assert_same_weights,
    series,
    weights,
)
from sentences import piece_tokenizer, run_sentences, sentences, token_model
from tiny import tiny_image_model, tiny_model
from transformers import DataCollatorForTokenClassification

from mixtext_hf.data.tokens.collator import TokenCollator
from mixtext_hf.functional import make_mixable
from mixtext_hf.methods import ERM, LADA, UDA, EmbedMixup, ManifoldMixup, MixText, PooledMixup, PuzzleTMix, SSMix, TMix
from mixtext_hf.training import MixTrainer


TOKENIZER = piece_tokenizer()
ONLINE = MixText(online=True)


def make(tmp_path, method=None, *, rows=None, kind=MixTrainer, model=None, unlabeled=None, **settings):
    rows = sentences(32) if rows is None else rows
    if unlabeled is None and method is not None and method.uses_unlabeled:
        unlabeled = [{"tokens": row["tokens"]} for row in sentences(24, seed=8)]
    return kind(
        token_model() if model is None else model,
        arguments(tmp_path, **settings),
        train_dataset=rows,
        eval_dataset=sentences(12, seed=9),
        processing_class=TOKENIZER,
        method=method,
        unlabeled_dataset=unlabeled,
    )


# ---- the loss ----


@pytest.mark.parametrize(
    "method", [ERM(), TMix(), TMix(pad="keep"), TMix(clean_lam=0.5), EmbedMixup(), ManifoldMixup()]
)
def test_pieces_of_a_batch_train_as_the_whole(tmp_path, method):
    whole = run_sentences(tmp_path / "1", 16, 1, method)
    assert_same_trajectory(whole, run_sentences(tmp_path / "2", 8, 2, method))
    assert_same_trajectory(whole, run_sentences(tmp_path / "3", 4, 4, method))


def test_the_first_step_is_the_loop(tmp_path):
    rows = sentences(8)
    trainer = make(
        tmp_path, TMix(), rows=rows, kind=GivenPlansTrainer, train_sampling_strategy="sequential", max_steps=1
    )
    model, batch = token_model().eval(), TokenCollator(TOKENIZER)(rows)
    trainer.train()
    labels = batch.pop("labels")
    plan = trainer.draw_plan({"labels": labels})
    with torch.no_grad(), make_mixable(model).applying(plan):
        log_p = model(**batch).logits.log_softmax(dim=-1)
    total = 0.0
    for row in range(8):
        for position in range(labels.shape[1]):
            for label, weight in (
                (labels[row, position], plan.lam[row]),
                (labels[plan.index[row], position], 1 - plan.lam[row]),
            ):
                if label != -100:
                    total -= float(weight * log_p[row, position, label])
    assert series(trainer, "loss")[0] == pytest.approx(total / int((labels != -100).sum()), rel=1e-5)


def test_evaluation_is_the_mean_over_the_words(tmp_path):
    trainer = make(tmp_path, per_device_eval_batch_size=5)
    rows = sentences(12, seed=9)
    batch = TokenCollator(TOKENIZER)(rows)
    labels = batch.pop("labels")
    with torch.no_grad():
        logits = trainer.model.eval()(**batch).logits
    expected = torch.nn.functional.cross_entropy(logits.view(-1, 3), labels.view(-1))
    assert trainer.evaluate()["eval_loss"] == pytest.approx(float(expected), rel=1e-5)
    output = trainer.predict(rows)
    assert output.predictions.shape == (12, labels.shape[1], 3)
    np.testing.assert_array_equal(output.label_ids, labels.numpy())


@pytest.mark.parametrize(
    "method", [TMix(), LADA(), LADA(intra=1.0), LADA(intra=0.0), ONLINE], ids=lambda m: str(m)[:40]
)
def test_a_run_that_is_resumed_is_the_same_run(tmp_path, method):
    settings = {"num_train_epochs": 3, "save_strategy": "steps", "save_steps": 3, "per_device_train_batch_size": 8}
    whole = make(tmp_path / "whole", method, **settings)
    whole.train()
    part = make(tmp_path / "part", method, **settings)
    part.add_callback(StopAt(6))
    part.train()
    again = make(tmp_path / "part", method, **settings)
    again.train(resume_from_checkpoint=True)
    assert_same_weights(weights(whole.model), weights(again.model))


def test_sentences_without_labels_have_no_loss_and_are_not_mixed(tmp_path):
    rows = sentences(8)
    hidden = [{**row, "ner_tags": None} if number % 2 else row for number, row in enumerate(rows)]
    trainer = make(tmp_path, ERM(), rows=hidden, train_sampling_strategy="sequential", max_steps=1)
    trainer.train()
    known = make(tmp_path / "2", ERM(), rows=rows[::2], train_sampling_strategy="sequential", max_steps=1)
    known.train()
    assert series(trainer, "loss")[0] == pytest.approx(series(known, "loss")[0], rel=1e-5)


# ---- LADA ----


def test_batches_come_with_their_partners(tmp_path):
    trainer = make(tmp_path, LADA(intra=0.0, k=3, mu=1.0), kind=RecordingTrainer)
    seen = []
    make_step = trainer.make_step
    trainer.make_step = lambda *args: seen.append(make_step(*args)) or seen[-1]
    trainer.train()
    assert trainer.neighbours.shape == (32, 3)
    for step in seen:
        assert step.labels.shape[0] == 16 and step.partner_labels.shape[0] == 8
        assert (step.labels[8:] == -100).all() and (step.labels[:8] != -100).any(dim=1).all()
        assert (step.partner_labels != -100).any(dim=1).all()
    assert {plan.layer for _, _, plan in trainer.plans} <= {3}
    assert series(trainer, "mix_lambda")[0] > 0.9


def test_within_sentences_nothing_is_fetched(tmp_path):
    trainer = make(tmp_path, LADA(intra=1.0), per_device_train_batch_size=1, rows=sentences(2))
    trainer.train()
    assert trainer.neighbours is None and len(series(trainer, "loss")) == 2


def test_a_partner_needs_another_sentence(tmp_path):
    with pytest.raises(ValueError, match="There is one training row, and lada mixes it with another"):
        make(tmp_path, LADA(), rows=sentences(1))


def test_partners_are_fetched_in_an_order_of_their_own(tmp_path):
    with pytest.raises(ValueError, match=r"sentences with partners .lada. are drawn in an order of their own"):
        make(tmp_path, LADA(), train_sampling_strategy="sequential")


# ---- guesses ----


def test_guesses_of_words_are_learnt(tmp_path):
    trainer = make(tmp_path, ONLINE, num_train_epochs=2)
    trainer.train()
    assert all(np.isfinite(series(trainer, "loss"))) and min(series(trainer, "loss_unlabeled")) >= 0
    assert series(trainer, "guess_balance") and not series(trainer, "guess_accuracy")


def test_unmixed_guesses_equal_a_loop(tmp_path):
    method = MixText(online=True, alpha=0.0, align="off", temperature=0.5, view_weights="original")
    trainer = make(tmp_path, method, max_steps=1, per_device_train_batch_size=4)
    seen = []
    make_step = trainer.make_step
    trainer.make_step = lambda *args: seen.append(make_step(*args)) or seen[-1]
    trainer.train()
    (step,) = seen
    model = token_model().eval()
    with torch.no_grad():
        log_p = model(**step.inputs).logits.log_softmax(dim=-1)
    total, words = 0.0, 0
    for row in range(4, len(step.labels)):
        for position in step.word_starts[row].nonzero().flatten().tolist():
            guess = log_p[row, position].exp() ** 2
            guess = guess / guess.sum()
            total += float((guess * (guess.log() - log_p[row, position])).sum())
            words += 1
    assert series(trainer, "loss_unlabeled")[0] == pytest.approx(total / words, rel=1e-4)


def test_pieces_of_a_batch_with_guesses_train_as_the_whole(tmp_path):
    method = MixText(online=True, alpha=0.0, align="off", temperature=0.5, view_weights="original")
    found = []
    for pieces in (1, 2, 4):
        trainer = make(
            tmp_path / str(pieces),
            method,
            per_device_train_batch_size=16 // pieces,
            per_device_unlabeled_batch_size=8 // pieces,
            gradient_accumulation_steps=pieces,
        )
        trainer.train()
        found.append(
            {name: series(trainer, name) for name in ("loss", "loss_supervised", "loss_unlabeled", "grad_norm")}
        )
    for other in found[1:]:
        for name, values in found[0].items():
            assert values and other[name] == pytest.approx(values, rel=1e-3), name


def test_sentences_without_a_piece_of_a_word_have_no_guesses(tmp_path):
    trainer = make(tmp_path, ONLINE, unlabeled=[{"tokens": [""]} for _ in range(24)], max_steps=2)
    trainer.train()
    assert series(trainer, "loss_unlabeled") == [0.0, 0.0] and all(np.isfinite(series(trainer, "loss")))


# ---- what is refused ----


@pytest.mark.parametrize(
    ("method", "said"),
    [
        (PooledMixup(), "pooled_mixup mixes whole texts or images, .* use erm, tmix"),
        (SSMix(), "ssmix mixes whole texts"),
        (PuzzleTMix(), "puzzle_tmix mixes whole texts"),
        (UDA(online=True), "uda mixes whole texts"),
        (MixText(), "each token needs one: have them made by the model in training, online=True"),
        (MixText(online=True, mix_with="ssmix"), "mix_with='ssmix' of mixtext is of whole texts"),
        (MixText(online=True, margin_weight=1.0), "margin_weight=1.0"),
        (TMix(partner="same_class"), "partner='same_class' pairs rows by their one class"),
        (TMix(layers=("head",)), "reads every token"),
    ],
)
def test_methods_of_whole_texts_are_refused(tmp_path, method, said):
    with pytest.raises(ValueError, match=said):
        make(tmp_path, method)


@pytest.mark.parametrize("model", [tiny_model(), tiny_image_model()], ids=["texts", "images"])
def test_lada_is_for_tokens(tmp_path, model):
    with pytest.raises(ValueError, match="lada mixes tokens with labels of their own"):
        MixTrainer(model, arguments(tmp_path), method=LADA())


def test_arguments_of_whole_texts_are_refused(tmp_path):
    with pytest.raises(ValueError, match="mix_loss='bce' is of whole texts"):
        make(tmp_path, ERM(), mix_loss="bce")
    with pytest.raises(ValueError, match="words of two views do not meet"):
        make(tmp_path, ONLINE, augmenters=["word_dropout:0.1"])


@pytest.mark.parametrize(
    ("tags", "said"),
    [
        ([0, 7], "a label is 7, but the model has num_labels=3"),
        ([0, -1], "a label is -1"),
        ([0], "1 labels for 2 words"),
    ],
)
def test_labels_that_are_wrong_are_named(tmp_path, tags, said):
    trainer = make(tmp_path, rows=[*sentences(8), {"tokens": ["a", "b"], "ner_tags": tags}])
    with pytest.raises(ValueError, match=said):
        trainer.train()


def test_a_column_of_wrong_labels_is_refused_before_the_first_step(tmp_path):
    rows = sentences(8)
    for wrong, said in (
        ([{**row, "ner_tags": [9] * len(row["tokens"])} for row in rows], "In row 0 of `train_dataset` a label is 9"),
        ([{**row, "ner_tags": ["O"] * len(row["tokens"])} for row in rows], "labels of tokens are lists of class ids"),
        ([{**row, "ner_tags": [-100] * len(row["tokens"])} for row in rows], "has no label in any row"),
    ):
        trainer = make(tmp_path, ERM(), rows=Dataset.from_list(wrong))
        with pytest.raises(ValueError, match=said):
            trainer.train()


# ---- decoders, and collators of others ----


def test_decoders_of_tokens_are_padded_on_the_right(tmp_path):
    tokenizer = piece_tokenizer()
    trainer = MixTrainer(
        token_model("llama"),
        arguments(tmp_path, max_steps=1),
        train_dataset=sentences(16),
        processing_class=tokenizer,
        method=TMix(),
    )
    trainer.train()
    assert tokenizer.padding_side == "right" and not trainer.mixer.reads_last_token
    tokenizer.padding_side = "left"
    with pytest.raises(ValueError, match="pads on the left"):
        trainer.data_collator(sentences(2))


def test_sentences_without_labels_need_the_collator_that_knows_words(tmp_path):
    rows = [{"input_ids": [2, 5, 6, 3], "labels": [-100, 1, 0, -100]}] * 16
    with pytest.raises(
        ValueError, match="data_collator=DataCollatorForTokenClassification does not say where the words"
    ):
        MixTrainer(
            token_model(),
            arguments(tmp_path),
            data_collator=DataCollatorForTokenClassification(TOKENIZER),
            train_dataset=rows,
            processing_class=TOKENIZER,
            method=ONLINE,
            unlabeled_dataset=rows,
        )


@pytest.mark.parametrize("method", [ERM(), TMix()])
def test_words_of_a_decoder_are_padded_on_the_right(tmp_path, method):
    """Its labels stand where its words do, counted from the first on."""
    tokenizer = piece_tokenizer()
    tokenizer.pad_token, tokenizer.eos_token = None, "[SEP]"
    model = token_model("llama", pad_token_id=None)
    trainer = MixTrainer(
        model,
        arguments(tmp_path, max_steps=2),
        train_dataset=sentences(16),
        processing_class=tokenizer,
        method=method,
    )
    trainer.train()
    assert (tokenizer.pad_token, tokenizer.padding_side) == ("[SEP]", "right")
    batch = trainer.data_collator(sentences(8))
    assert bool((batch["labels"][:, 1] >= 0).all()) and bool((batch["input_ids"][:, 0] == 2).all())
