"""A step that fails leaves nothing behind that the next one would take for its own."""

from __future__ import annotations

import pytest
import torch
from runs import arguments, assert_same_weights, make_trainer, tiny_rows, weights
from tiny import tiny_batch, tiny_model
from torch.distributed.algorithms._checkpoint.checkpoint_wrapper import checkpoint_wrapper

from mixtext_hf.mixing import MixPlan
from mixtext_hf.models import make_mixable
from mixtext_hf.training import MixTrainer


def wrap_layers(model):
    """In checkpoints that hold their hooks, as FSDP does it: these run again in backward."""
    layers = model.base_model.encoder.layer
    for number, layer in enumerate(layers):
        layers[number] = checkpoint_wrapper(layer)
    return model


class FailingTrainer(MixTrainer):
    """Its first step runs out of memory, between forward and backward or in the forward pass of a layer."""

    fails_in_forward = False
    failures = 0

    def compute_loss(self, model, *args, **kwargs):
        handle = None
        if self.failures == 0 and self.fails_in_forward:
            handle = self.mixer.stack.layers[-1].register_forward_hook(self.fail)
        try:
            loss = super().compute_loss(model, *args, **kwargs)
        finally:
            if handle is not None:
                handle.remove()
        if self.failures == 0:
            self.fail()
        return loss

    def fail(self, *args):
        self.failures += 1
        raise RuntimeError("CUDA out of memory.")


def train(folder, model, *, kind=MixTrainer, **settings):
    args = arguments(folder, mix_method="tmix", mix_layers=[1, 2, 3], max_steps=3, **settings)
    trainer = make_trainer(model, args, tiny_rows(32), kind=kind)
    trainer.train()
    return trainer


@pytest.mark.parametrize("fails_in_forward", [False, True])
def test_a_step_that_ran_out_of_memory_is_made_again_with_fewer_rows(tmp_path, monkeypatch, fails_in_forward):
    monkeypatch.setattr(FailingTrainer, "fails_in_forward", fails_in_forward)
    model = wrap_layers(make_model())
    found = train(tmp_path / "retried", model, kind=FailingTrainer, auto_find_batch_size=True)
    assert found.failures == 1 and found.state.global_step == 3 and found._train_batch_size == 7
    assert found.mixer.plan is None


def test_a_failed_training_is_followed_by_another_of_the_same_model(tmp_path):
    model = wrap_layers(make_model())
    before = weights(model)
    with pytest.raises(RuntimeError, match="CUDA out of memory"):
        train(tmp_path / "failed", model, kind=FailingTrainer)
    assert_same_weights(weights(model), before)
    found = train(tmp_path / "again", model)
    expected = train(tmp_path / "alone", wrap_layers(make_model()))
    assert_same_weights(weights(found.model), weights(expected.model))


def test_a_model_that_was_trained_plain_may_be_wrapped_later(tmp_path):
    model = train(tmp_path / "plain", make_model()).model
    found = train(tmp_path / "wrapped", wrap_layers(model))
    assert found.state.global_step == 3


def test_a_loop_of_ones_own_resets_the_mixer():
    model = wrap_layers(make_model().train())
    mixer, plan = model.mixer, MixPlan(torch.tensor([1, 2, 3, 0]), torch.full((4,), 0.7), layer=2)
    for other in (None, plan):
        with mixer.applying(other):
            loss = model(**tiny_batch()).logits.sum()
        if other is None:
            del loss  # its backward pass failed
            mixer.reset()
    loss.backward()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)


def make_model():
    model = tiny_model("bert")
    make_mixable(model)
    return model
