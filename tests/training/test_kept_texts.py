"""Trainers whose SSMix and PuzzleMix in hidden states keep the saliency of their texts: which rows are looked at, that checkpoints
hold what is kept, and what is refused.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from datasets import Dataset
from runs import (
    TOKENIZER,
    GivenPlansTrainer,
    Rows,
    StopAt,
    arguments,
    assert_same_weights,
    make_trainer,
    partly_labelled_rows,
    series,
    tiny_rows,
    weights,
)
from safetensors.torch import load_file
from tiny import tiny_model
from transformers import DataCollatorWithPadding

from mixtext_hf.methods import SSMix
from mixtext_hf.training import MixTrainer
from mixtext_hf.training.mixed_batch import mixed_batch


METHODS = ("ssmix", "puzzle_tmix")


def make(folder, method="ssmix", every=2, rows=20, *, model=None, kind=None, data=None, callbacks=None, **settings):
    kwargs = {} if every is None else {"mix_kwargs": {"saliency_every": every}}
    args = arguments(
        folder,
        **{"mix_method": method, "per_device_train_batch_size": 4, "num_train_epochs": 3, **kwargs, **settings},
    )
    model = tiny_model("bert", dropout=0.1) if model is None else model
    return make_trainer(model, args, tiny_rows(rows) if data is None else data, kind=kind, callbacks=callbacks)


def count_passes(trainer):
    """The rows of every pass in training, by step, as the run goes."""
    counts = {}

    def count(model, args, inputs):
        if model.training:
            counts.setdefault(trainer.state.global_step, []).append(len(inputs["input_ids"]))

    trainer.model.register_forward_pre_hook(count, with_kwargs=True)
    return counts


@pytest.mark.parametrize("method", METHODS)
def test_each_text_is_looked_at_in_every_kth_epoch_and_trained_on_in_all(tmp_path, method):
    # A step that mixes nothing makes one pass: none does, though the last batch has two rows.
    trainer = make(
        tmp_path, method, rows=18, mix_alpha=1.0, mix_kwargs={"saliency_every": 2, "partner": "derangement"}
    )
    counts = count_passes(trainer)
    trainer.train()
    # Five batches an epoch, the last of two rows.
    rows = {step: 2 if step % 5 == 4 else 4 for step in range(15)}
    assert counts == {step: [rows[step]] if 5 <= step < 10 else [rows[step]] * 2 for step in range(15)}
    assert trainer._memory.archive["saliency_epoch"].tolist() == [2] * 18
    assert np.isfinite(series(trainer, "loss")).all() and series(trainer, "saliency_undefined") == [0] * 15
    assert len(series(trainer, "loss_clean")) == 10
    assert np.mean(series(trainer, "mix_weight")) < 1


def test_the_batch_says_which_rows_it_holds_only_where_it_must(tmp_path):
    kept, plain = make(tmp_path), make(tmp_path, every=1)
    batches = list(kept.get_train_dataloader())
    assert sorted(torch.cat([batch["visits"] for batch in batches])[:, 0].tolist()) == list(range(20))
    for batch in batches:
        for (row, epoch), ids, label in zip(
            batch["visits"].tolist(), batch["input_ids"], batch["labels"], strict=True
        ):
            expected = tiny_rows(20)[row]
            assert ids.tolist()[: len(expected["input_ids"])] == expected["input_ids"] and label == expected["label"]
            assert epoch == 0
    assert "visits" not in next(iter(plain.get_train_dataloader()))
    assert "visits" not in next(iter(kept.get_eval_dataloader(tiny_rows(4))))
    assert np.isfinite(kept.evaluate(tiny_rows(4))["eval_loss"])


def test_the_order_of_a_run_that_keeps_nothing_is_that_of_other_methods(tmp_path):
    seen = []
    for settings in ({"method": "erm", "every": None}, {"method": "ssmix", "every": 1}):
        torch.manual_seed(0)
        loader = make(tmp_path, **settings).get_train_dataloader()
        seen.append([batch["input_ids"].tolist() for batch in loader])
    assert seen[0] == seen[1]


class OwnCollator:
    """Somebody's, that reads a column of its own and would not know what to do with another."""

    def __init__(self, names):
        self.names = names

    def __call__(self, features):
        for feature in features:
            assert set(feature) == self.names
        batch = TOKENIZER.pad(
            [{n: f[n] for n in ("input_ids", "attention_mask")} for f in features], return_tensors="pt"
        )
        batch["labels"] = torch.tensor([feature["label"] for feature in features])
        return batch


NAMES = {"input_ids", "attention_mask", "label"}


@pytest.mark.parametrize("data", ["list", "table", "transformed", "Dataset of torch"])
@pytest.mark.parametrize("own", [True, False])
def test_any_rows_by_any_collator(tmp_path, data, own):
    """The columns that a collator is given are those of a run that keeps nothing."""
    rows = [{**row, "title": "a"} for row in tiny_rows(12)]
    table = Dataset.from_list(rows)
    names = NAMES | ({"title"} if data == "transformed" else set())
    collator = OwnCollator(names) if own else DataCollatorWithPadding(TOKENIZER)
    if data == "transformed" and not own:
        table = table.remove_columns("title")
    given = {
        "list": rows,
        "table": table,
        "transformed": table.with_transform(lambda batch: batch),
        "Dataset of torch": Rows(rows),
    }[data]
    settings = {"mix_method": "ssmix", "per_device_train_batch_size": 4, "num_train_epochs": 2}
    for every in (1, 2):
        trainer = MixTrainer(
            tiny_model(),
            arguments(tmp_path, mix_kwargs={"saliency_every": every}, **settings),
            data_collator=collator,
            train_dataset=given,
            processing_class=TOKENIZER,
        )
        trainer.train()
        assert np.isfinite(series(trainer, "loss")).all()
    assert trainer._memory.archive["saliency_epoch"].tolist() == [0] * 12


def test_raw_texts(tmp_path):
    rows = [{"text": " ".join(f"w{(i * j) % 40}" for j in range(1, 5 + i % 4)), "label": i % 3} for i in range(12)]
    trainer = make(tmp_path, data=Dataset.from_list(rows), every=3, num_train_epochs=4)
    counts = count_passes(trainer)
    trainer.train()
    assert [len(counts[step]) for step in range(12)] == [2] * 3 + [1] * 6 + [2] * 3


def test_texts_without_a_label_are_never_looked_at(tmp_path):
    trainer = make(tmp_path, data=partly_labelled_rows(), per_device_train_batch_size=8)
    trainer.train()
    made = trainer._memory.archive["saliency_epoch"]
    assert all(made[i] == (-1 if i % 16 >= 12 else 2) for i in range(32))
    assert np.isfinite(series(trainer, "loss")).all()


@pytest.mark.parametrize(("method", "stop", "workers"), [("ssmix", 3, 0), ("puzzle_tmix", 7, 2), ("ssmix", 12, 0)])
@pytest.mark.filterwarnings("ignore:This DataLoader will create")
def test_a_resumed_run_ends_where_the_uninterrupted_one_does(tmp_path, method, stop, workers):
    """From a step in which saliency was kept for the first time, from one in which it serves, and from one that renews it."""
    settings = {"optim": "adamw_torch", "learning_rate": 1e-3, "dataloader_num_workers": workers}
    whole = make(tmp_path / "whole", method, **settings)
    whole.train()
    settings |= {"save_strategy": "steps", "save_steps": stop}
    make(tmp_path / "stopped", method, callbacks=[StopAt(stop)], **settings).train()
    kept = load_file(tmp_path / "stopped" / f"checkpoint-{stop}" / "archive.safetensors")
    assert (kept["saliency_epoch"] >= 0).sum() == min(4 * stop, 20)
    resumed = make(tmp_path / "stopped", method, **{**settings, "save_total_limit": 1})
    counts = count_passes(resumed)
    resumed.train(resume_from_checkpoint=True)
    assert_same_weights(weights(whole.model), weights(resumed.model))
    assert torch.equal(whole._memory.archive["saliency"], resumed._memory.archive["saliency"])
    twice = {*range(5), *range(10, 15)}
    assert {step: len(found) for step, found in counts.items()} == {s: 1 + (s in twice) for s in range(stop, 15)}


@pytest.mark.parametrize("method", METHODS)
def test_accumulation(tmp_path, method):
    """One trajectory however a batch is cut, over epochs that look and epochs that do not."""
    found = {}
    for batch, accumulation in ((16, 1), (8, 2), (4, 4)):
        trainer = make(
            tmp_path,
            method,
            rows=32,
            model=tiny_model("bert"),
            kind=GivenPlansTrainer,
            per_device_train_batch_size=batch,
            gradient_accumulation_steps=accumulation,
        )
        if method == "ssmix":
            # Its rows are mixed before the model sees them.
            trainer.draw_plan = without_a_layer(trainer.draw_plan)
        trainer.train()
        found[batch] = [*series(trainer, "loss"), *series(trainer, "grad_norm")]
        kept = trainer._memory.archive["saliency"].float()
        found[batch, "kept"] = kept
    assert len(found[16]) == 12 and np.isfinite(found[16]).all()
    for batch in (8, 4):
        assert found[batch] == pytest.approx(found[16], rel=1e-4)
        torch.testing.assert_close(found[batch, "kept"], found[16, "kept"], rtol=1e-2, atol=1e-2)


def without_a_layer(draw):
    return lambda inputs: replace(draw(inputs), layer=None)


def test_a_second_training_begins_with_nothing_kept(tmp_path):
    trainer = make(tmp_path, learning_rate=0.0, num_train_epochs=1)
    trainer.train()
    counts = count_passes(trainer)
    trainer.train()
    assert [len(found) for found in counts.values()] == [2] * 5


def test_a_batch_that_is_shown_is_that_of_the_run(tmp_path):
    seen, whole = [], make(tmp_path / "a")

    def look(model, args, inputs):
        if model.training:
            seen.append((whole.state.global_step, inputs["input_ids"].clone()))

    whole.model.register_forward_pre_hook(look, with_kwargs=True)
    whole.train()
    for step in (0, 6):
        batch = mixed_batch(make(tmp_path / "b"), step)
        passes = [ids for number, ids in seen if number == step]
        assert len(passes) == (2 if step == 0 else 1) and "visits" not in batch.inputs
        assert torch.equal(batch.tokens, passes[-1])
        assert batch.weight.mean().item() == pytest.approx(series(whole, "mix_weight")[step], abs=1e-6)


# ---- refused ----


def test_streams_and_other_orders_are_refused_before_training(tmp_path):
    stream = Dataset.from_list(tiny_rows(8)).to_iterable_dataset()
    with pytest.raises(
        ValueError, match=r"saliency_every=2 keeps the saliency of a text by the number of a row.*a stream"
    ):
        make(tmp_path / "out", data=stream, max_steps=2)
    for strategy in ("sequential", "group_by_length"):
        with pytest.raises(ValueError, match=rf"train_sampling_strategy='{strategy}': texts whose .*saliency_every=2"):
            make(tmp_path / "out", train_sampling_strategy=strategy)
    assert not (tmp_path / "out").exists()
    make(tmp_path / "out", every=1, data=stream, max_steps=2).train()


@pytest.mark.parametrize(
    ("collate", "message"),
    [
        (lambda batch: {name: value[1:] for name, value in batch.items()}, "data_collator makes 3 rows of 4"),
        (lambda batch: list(batch.values()), "data_collator makes a list of a batch"),
    ],
    ids=["fewer rows", "no mapping"],
)
def test_collators_that_hide_the_rows(tmp_path, collate, message):
    args = arguments(tmp_path, per_device_train_batch_size=4)
    trainer = MixTrainer(
        tiny_model(),
        args,
        data_collator=lambda features: collate(OwnCollator(NAMES)(features)),
        train_dataset=tiny_rows(8),
        processing_class=TOKENIZER,
        method=SSMix(saliency_every=2),
    )
    with pytest.raises(ValueError, match=rf"The {message}.*saliency_every"):
        trainer.train()
