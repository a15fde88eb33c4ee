"""A model is another one for a while, and the same as before afterwards."""

from __future__ import annotations

import pytest
import torch
from tiny import tiny_image_model, tiny_model
from torch import nn

from mixtext_hf.models.modes import evaluating, full_precision


def training_flags(model):
    return {name: module.training for name, module in model.named_modules()}


def test_evaluation_mode_puts_every_module_back_as_it_was():
    model = tiny_model("bert", dropout=0.5).train()
    # Somebody froze the embeddings and one layer, but for its attention.
    model.bert.embeddings.eval()
    model.bert.encoder.layer[1].eval()
    model.bert.encoder.layer[1].attention.train()
    before = training_flags(model)
    assert len(set(before.values())) == 2
    with evaluating(model):
        assert not any(training_flags(model).values())
        with evaluating(model):
            assert not any(training_flags(model).values())
        assert not any(training_flags(model).values())
    assert training_flags(model) == before


def test_evaluating_leaves_a_model_in_evaluation_mode_there():
    model = tiny_model("bert").eval()
    model.dropout.train()
    before = training_flags(model)
    with evaluating(model):
        assert not model.dropout.training
    assert training_flags(model) == before and not model.training


def test_evaluating_puts_back_after_an_error():
    model = nn.Sequential(nn.Dropout(0.5), nn.Sequential(nn.Dropout(0.5).eval(), nn.Linear(2, 2)))
    before = training_flags(model)
    with pytest.raises(RuntimeError, match="out of memory"), evaluating(model):
        raise RuntimeError("out of memory")
    assert training_flags(model) == before


def test_evaluating_a_model_with_a_train_of_its_own():
    """Such as one that keeps a part in evaluation mode whatever is asked for."""

    class Frozen(nn.Sequential):
        def train(self, mode=True):
            super().train(mode)
            self[0].training = False
            return self

    model = Frozen(nn.Dropout(0.5), nn.Dropout(0.5)).train()
    before = training_flags(model)
    assert before["0"] is False and before["1"] is True
    with evaluating(model):
        assert not any(training_flags(model).values())
    assert training_flags(model) == before


def test_full_precision_sets_aside_autocast_and_what_was_put_onto_the_object():
    model, pixels, ran = tiny_image_model("resnet"), torch.rand(2, 3, 32, 32), []
    plain = model(pixel_values=pixels).logits

    def reduced(**inputs):
        ran.append("reduced")
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return type(model).forward(model, **inputs)

    model.forward = reduced
    model.register_forward_pre_hook(lambda module, args: ran.append("hook"))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert not torch.equal(model(pixel_values=pixels).logits, plain)
        ran.clear()
        with pytest.raises(RuntimeError, match="later"), full_precision(model):
            assert torch.equal(model(pixel_values=pixels).logits, plain)
            raise RuntimeError("later")
    assert ran == ["hook"]
    assert model.forward is reduced


def test_a_module_whose_mode_is_more_than_a_flag_is_asked_by_its_own_methods():
    class Caching(nn.Linear):
        calls = ()

        def train(self, mode=True):
            self.calls = (*self.calls, mode)
            return super().train(mode)

    inner = Caching(2, 2)
    model = nn.Sequential(nn.Sequential(inner), nn.Dropout(0.5)).train()
    inner.calls = ()
    with evaluating(model):
        assert inner.calls == (False,) and not any(training_flags(model).values())
    assert inner.calls == (False, True) and all(training_flags(model).values())


def test_a_method_on_the_object_counts_as_its_own():
    model, asked = nn.Sequential(nn.Dropout(0.5)), []
    model[0].train = lambda mode=True: asked.append(mode) or nn.Module.train(model[0], mode)
    with evaluating(model):
        assert not model[0].training
    assert asked == [False, True] and model[0].training


def test_a_model_with_kernels_chooses_them_anew(monkeypatch):
    model, chosen = tiny_model("bert").train(), []
    monkeypatch.setattr(type(model), "use_kernels", True)
    monkeypatch.setattr(type(model), "set_use_kernels", lambda self, *args: chosen.append(self.training))
    with evaluating(model):
        assert chosen == [False] and not any(training_flags(model).values())
    assert chosen == [False, True] and all(training_flags(model).values())


def test_a_compiled_model_and_a_module_in_two_places():
    shared = nn.Dropout(0.5)
    model = nn.Sequential(shared, nn.Sequential(shared, nn.Linear(2, 2))).train()
    for whole in (model, torch.compile(model)):
        with evaluating(whole):
            assert not whole.training and not any(training_flags(whole).values())
        assert whole.training and all(training_flags(whole).values())
