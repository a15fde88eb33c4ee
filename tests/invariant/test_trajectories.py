"""One global batch, one trajectory: however it is cut into micro-batches, loss, gradient and evaluation are the same.

The plain Trainer is no reference here: for most text classifiers it multiplies loss and gradients by the accumulation
steps (https://github.com/huggingface/transformers/issues/47688).
"""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from runs import (
    GivenPlansTrainer,
    SumOfTwo,
    TwoLosses,
    arguments,
    assert_same_trajectory,
    group_plan,
    make_trainer,
    run,
    series,
    tiny_rows,
)
from tiny import tiny_model

from mixtext_hf.models import make_mixable


@pytest.mark.parametrize(
    ("labels", "settings"),
    [
        ("classes", {"mix_method": "erm"}),
        ("classes", {"mix_method": "tmix"}),
        ("classes", {"mix_method": "tmix", "label_smoothing_factor": 0.2}),
        ("multi", {"mix_method": "tmix", "label_smoothing_factor": 0.2}),
        ("scores", {"mix_method": "tmix"}),
        ("classes", {"mix_method": "ssmix"}),
        ("classes", {"mix_method": "ssmix", "mix_kwargs": {"contiguous": False, "clean_lam": 0.5}}),
        ("multi", {"mix_method": "ssmix", "label_smoothing_factor": 0.2}),
        ("scores", {"mix_method": "ssmix"}),
        ("classes", {"mix_method": "puzzle_tmix"}),
        ("multi", {"mix_method": "puzzle_tmix", "mix_kwargs": {"gamma": 0.5, "xi": 0.05}}),
    ],
    ids=[
        *("erm", "tmix", "smoothed", "multi-label", "regression"),
        *("ssmix", "ssmix of tokens", "ssmix multi-label", "ssmix regression"),
        *("puzzle_tmix", "puzzle_tmix that moves tokens"),
    ],
)
def test_same_global_batch_same_trajectory(tmp_path, labels, settings):
    # Scores are spread wide: a smaller step keeps the three runs from drifting apart by rounding.
    settings = {"learning_rate": 0.01, **settings}
    reference = run(tmp_path, 16, 1, labels=labels, **settings)
    assert min(reference["grad_norm"]) > 0.1
    for batch, accumulation in ((8, 2), (4, 4)):
        assert_same_trajectory(reference, run(tmp_path, batch, accumulation, labels=labels, **settings))


@pytest.mark.parametrize("accumulation", [1, 2])
def test_two_losses_a_step_are_their_sum(tmp_path, accumulation):
    runs = [run(tmp_path, 16 // accumulation, accumulation, count=32, method=m()) for m in (SumOfTwo, TwoLosses)]
    assert_same_trajectory(*runs, rel=1e-6)


class KeepsGradients(GivenPlansTrainer):
    """Remembers the gradients of every optimiser step."""

    def _clip_grad_norm(self, model):
        kept = self.__dict__.setdefault("gradients", [])
        kept.append({name: p.grad.clone() for name, p in model.named_parameters()})
        return super()._clip_grad_norm(model)


@pytest.mark.parametrize(
    ("method", "batch", "accumulation"), [("erm", 8, 2), ("erm", 5, 4), ("tmix", 8, 2), ("tmix", 4, 4)]
)
def test_an_uneven_last_step_counts_every_row_once(tmp_path, method, batch, accumulation):
    """22 rows: 8 x 2 leaves a step of one micro-batch of 6, 4 x 4 one of 4 and 2, 5 x 4 one of 2."""
    rows = tiny_rows(22)
    args = arguments(
        tmp_path,
        per_device_train_batch_size=batch,
        gradient_accumulation_steps=accumulation,
        train_sampling_strategy="sequential",
        mix_method=method,
        learning_rate=0.0,
    )
    trainer = make_trainer(tiny_model("bert"), args, rows, kind=KeepsGradients)
    trainer.train()
    first = batch * accumulation
    expected = [by_hand(chunk, trainer.data_collator, method) for chunk in (rows[:first], rows[first:])]
    assert series(trainer, "loss") == pytest.approx([loss for loss, _ in expected], rel=1e-4)
    for ours, (_, theirs) in zip(trainer.gradients, expected, strict=True):
        for name, gradient in theirs.items():
            torch.testing.assert_close(ours[name], gradient, rtol=1e-3, atol=1e-6)


def by_hand(chunk, collator, method):
    """Loss and gradients of the mean over all rows of the chunk, in one forward pass of plain PyTorch."""
    model = tiny_model("bert")
    mixer = make_mixable(model)
    batch = collator(chunk)
    labels = batch.pop("labels")
    plan = group_plan(len(chunk)) if method == "tmix" else None
    with mixer.applying(plan):
        logits = model(**batch).logits
    index = torch.arange(len(chunk)) if plan is None else plan.index
    lam = torch.ones(len(chunk)) if plan is None else plan.lam
    targets = lam[:, None] * F.one_hot(labels, 3) + (1 - lam[:, None]) * F.one_hot(labels[index], 3)
    loss = -(targets * logits.log_softmax(-1)).sum() / len(chunk)
    loss.backward()
    return loss.item(), {name: p.grad for name, p in model.named_parameters()}
