"""Real training on a GPU: the losses of a CPU, nothing that waits, and labels that the device is never asked about."""

from __future__ import annotations

from contextlib import contextmanager

import numpy as np
import pytest
import torch
from image_runs import make_image_trainer
from runs import Rows, arguments, make_trainer, series, tiny_rows, weights
from tiny import tiny_model

from mixtext_hf.methods import Step, make_method
from mixtext_hf.mixing import MixedLoss, PatchAttention


pytestmark = pytest.mark.gpu

TEXTS = ("erm", "tmix", "manifold_mixup", "ssmix", "puzzle_tmix", "mixtext")
IMAGES = ("mixup", "cutmix", "resizemix", "puzzlemix", "transmix", "maskmix")


def make(output_dir, method, **settings):
    """A trainer of four steps of a tiny model without dropout."""
    settings = {"mix_method": method, "max_steps": 4, **settings}
    if method in IMAGES:
        return make_image_trainer(output_dir, **settings)
    more = {}
    if method == "mixtext":
        more = {"unlabeled_dataset": [{k: v for k, v in row.items() if k != "label"} for row in tiny_rows(30, seed=5)]}
        settings |= {"guesser": "model", "per_device_train_batch_size": 4, "per_device_unlabeled_batch_size": 6}
    return make_trainer(tiny_model(dropout=0.0), arguments(output_dir, **settings), **more)


@pytest.mark.parametrize("method", [*TEXTS, *IMAGES])
def test_a_gpu_trains_as_a_cpu_does(tmp_path, method):
    losses = []
    for use_cpu in (True, False):
        trainer = make(tmp_path, method, use_cpu=use_cpu)
        before = weights(trainer.model)
        trainer.train()
        assert (
            trainer.args.device.type == next(trainer.model.parameters()).device.type == ("cpu" if use_cpu else "cuda")
        )
        after = weights(trainer.model)
        assert all(value.isfinite().all() for value in after.values())
        assert any(not torch.equal(before[name], value.to(before[name].device)) for name, value in after.items())
        losses.append(series(trainer, "loss"))
    assert len(losses[1]) == 4
    # Of costs that are all but equal, the two solvers of the cut may take different ones.
    assert losses[1] == pytest.approx(losses[0], rel=0.2 if method == "puzzlemix" else 1e-2)


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
@pytest.mark.parametrize("method", ["tmix", "ssmix", "puzzle_tmix", "puzzlemix", "transmix"])
def test_half_precision(tmp_path, method, precision):
    trainer = make(tmp_path, method, use_cpu=False, **{precision: True})
    trainer.train()
    assert all(np.isfinite(series(trainer, "loss"))) and all(p.isfinite().all() for p in trainer.model.parameters())


@pytest.mark.parametrize("label", [3, -7])
def test_a_class_that_is_not_there_never_reaches_the_device(tmp_path, label):
    rows = tiny_rows(32)
    rows[20]["label"] = label
    args = arguments(
        tmp_path,
        mix_method="tmix",
        use_cpu=False,
        remove_unused_columns=False,
        train_sampling_strategy="sequential",
    )
    with pytest.raises(ValueError, match=f"In row 4 of the batch a label is {label}, but the model has num_labels=3"):
        make_trainer(tiny_model(), args, Rows(rows)).train()
    # After an assertion of the device nothing works any more in this process.
    assert torch.ones(2, device="cuda").sum().item() == 2


@contextmanager
def waits_are_errors():
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


WAYS = {
    "erm": {},
    "tmix": {},
    "mixtext": {"margin_weight": 1.0},
    "mixtext of its own guesses": {"online": True, "align": (0.5, 0.25, 0.25), "confidence_weights": True},
    "cutmix": {},
    "resizemix": {},
    "transmix": {},
    "maskmix": {},
}


@pytest.mark.parametrize("way", WAYS)
def test_a_step_does_not_wait(way):
    method = make_method(way.split()[0], **WAYS[way])
    texts, views = (2, 2) if method.uses_unlabeled else (0, 1)
    rows = 4 + texts * views
    weight = torch.rand(3, 3, device="cuda", requires_grad=True)
    images, labels = torch.rand(rows, 3, 16, 16, device="cuda"), torch.zeros(rows, dtype=torch.int64, device="cuda")
    known, guesses = labels[:texts].clone(), torch.full((texts, 3), 1 / 3, device="cuda")

    def forward(inputs, plan=None, *, dropout=True):
        return inputs["pixel_values"].mean(dim=(2, 3)) @ weight

    def attending(inputs):
        return forward(inputs), PatchAttention(torch.ones(rows, 4, 4, device="cuda"), (4, 4))

    def losses():
        rng = np.random.default_rng(0)
        plan = method.draw(rows, depth=3, rng=rng, unlabeled=texts * views, image_size=(16, 16))
        about = {"text_labels": known, "text_guesses": guesses, "views": views} if texts else {}
        loss = MixedLoss("single_label_classification", 3)
        about["attending_forward"] = attending
        step = Step(forward, {"pixel_values": images}, labels, plan.to("cuda"), loss, **about)
        for terms in method.losses(step):
            sum(terms.values()).backward()

    # Once for what waits the first time only: libraries are loaded.
    losses()
    with waits_are_errors():
        losses()
