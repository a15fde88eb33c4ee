"""The gradient of the states that a pass went through: the slope of the loss where these states are mixed, and autograd's own."""

from __future__ import annotations

import pytest
import torch
from tiny import DEPTH, FAMILIES, has_family, tiny_batch, tiny_model

from mixtext_hf.functional import MixPlan, make_mixable
from mixtext_hf.models.any_classifier import Classifier


INDEX = torch.tensor([2, 0, 3, 1])
STEP = 2.0**-12
# Parts of these compute in float32, whatever the model is in: a slope of them is known less well.
FLOAT32_WITHIN = {"deberta", "modernbert"}


def full_batch():
    """Without padding: where a partner has a token and the row has none, the mask is mixed too."""
    batch = tiny_batch()
    return {**batch, "attention_mask": torch.ones_like(batch["attention_mask"])}


def loss_of(model, batch):
    labels = torch.arange(len(batch["input_ids"])) % 3
    return torch.nn.functional.cross_entropy(model(**batch).logits, labels)


def watch(mixer, model, batch, layer):
    with mixer.watching(layer) as watched:
        loss = loss_of(model, batch)
    loss.backward()
    return watched


@pytest.mark.parametrize("family", FAMILIES)
def test_the_gradient_is_the_slope_of_mixing_at_that_layer(family):
    if not has_family(family):
        pytest.skip(f"the installed transformers has no {family}")
    model = tiny_model(family).double().eval()
    mixer, batch = make_mixable(model), full_batch()

    def mixed_loss(layer, lam):
        with mixer.applying(MixPlan(INDEX, torch.full((4,), lam), layer=layer)), torch.no_grad():
            return loss_of(model, batch)

    plain = loss_of(model, batch).detach()
    for layer in range(DEPTH + 1):
        watched = watch(mixer, model, batch, layer)
        slope = (3 * plain - 4 * mixed_loss(layer, 1 - STEP) + mixed_loss(layer, 1 - 2 * STEP)) / (2 * STEP)
        states = watched.states
        told = (watched.gradient.double() * (states - states[INDEX])).sum()
        torch.testing.assert_close(told, slope, rtol=2e-2 if family in FLOAT32_WITHIN else 1e-4, atol=1e-7)


@pytest.mark.parametrize("family", ["bert", "roberta", "distilbert", "albert", "deberta-v2", "modernbert"])
def test_it_is_that_of_autograd_and_the_pass_stays_what_it_was(family):
    model = tiny_model(family).eval()
    batch = tiny_batch()
    outputs = model(**batch, output_hidden_states=True)
    labels = torch.arange(4) % 3
    loss = torch.nn.functional.cross_entropy(outputs.logits, labels)
    layers = range(DEPTH)
    expected = torch.autograd.grad(loss, [outputs.hidden_states[layer] for layer in layers])
    mixer = make_mixable(model)
    for layer in layers:
        with mixer.watching(layer) as watched:
            logits = model(**batch).logits
        assert torch.equal(logits, outputs.logits)
        torch.nn.functional.cross_entropy(logits, labels).backward()
        torch.testing.assert_close(watched.gradient, expected[layer], rtol=1e-4, atol=1e-7)
        torch.testing.assert_close(watched.states, outputs.hidden_states[layer], rtol=0, atol=0)


@pytest.mark.parametrize("use_reentrant", [False, True])
@pytest.mark.parametrize("layer", [0, 2, DEPTH])
def test_activation_checkpoints_change_nothing(use_reentrant, layer):
    def gradient(checkpoints):
        model = tiny_model("bert").train()
        mixer = make_mixable(model)
        if checkpoints:
            model.gradient_checkpointing_enable({"use_reentrant": use_reentrant})
        watched = watch(mixer, model, tiny_batch(), layer)
        return watched.gradient, model.bert.encoder.layer[0].output.dense.weight.grad

    for plain, recomputed in zip(gradient(False), gradient(True), strict=True):
        torch.testing.assert_close(recomputed, plain, rtol=1e-6, atol=1e-9)


def test_with_frozen_weights_and_in_half_precision_there_is_a_gradient():
    model = tiny_model("bert").eval()
    expected = watch(make_mixable(model), model, tiny_batch(), 1).gradient
    model.bert.requires_grad_(False)
    torch.testing.assert_close(watch(make_mixable(model), model, tiny_batch(), 1).gradient, expected)
    model.to(torch.bfloat16)
    half = watch(make_mixable(model), model, tiny_batch(), 1)
    assert half.states.dtype == torch.bfloat16 and half.gradient.dtype == torch.float32
    assert torch.nn.functional.cosine_similarity(half.gradient.flatten(), expected.flatten(), dim=0) > 0.99


@pytest.mark.parametrize("family", ["bert", "modernbert"])
def test_a_model_that_is_not_mixable_shows_its_embeddings(family):
    model = tiny_model(family).eval()
    classifier = Classifier(model)
    hooks = len(model.get_input_embeddings()._forward_hooks)
    watched = watch(classifier, model, tiny_batch(), 0)
    assert len(model.get_input_embeddings()._forward_hooks) == hooks
    words = model.get_input_embeddings()(tiny_batch()["input_ids"])
    torch.testing.assert_close(watched.states, words)
    words = words.detach().requires_grad_()
    batch = {**tiny_batch(), "inputs_embeds": words}
    labels = torch.arange(4) % 3
    del batch["input_ids"]
    torch.nn.functional.cross_entropy(model(**batch).logits, labels).backward()
    torch.testing.assert_close(watched.gradient, words.grad)
    with pytest.raises(ValueError, match="was not made mixable"), classifier.watching(1):
        pass


def test_a_pass_that_is_not_watched_is_not_seen():
    model = tiny_model("bert").train()
    mixer = make_mixable(model)
    with mixer.watching(1) as watched:
        pass
    with pytest.raises(RuntimeError, match="layer 1 were not seen"):
        _ = watched.gradient
    with mixer.watching(1) as watched:
        loss = loss_of(model, tiny_batch())
    seen = watched.states
    loss_of(model, tiny_batch()).backward()
    assert watched.states is seen
    with pytest.raises(RuntimeError, match="no gradient yet"):
        _ = watched.gradient
    loss.backward()
    assert watched.gradient.abs().sum() > 0
    with pytest.raises(ValueError, match="layer 9"), mixer.watching(9):
        pass
