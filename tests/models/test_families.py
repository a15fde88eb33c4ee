"""Every family, at every layer, against two streams written out; eager and sdpa; checkpointing on and off."""

import pytest
import torch
from tiny import (
    DECODERS,
    DEPTH,
    FAMILIES,
    IMAGE_FAMILIES,
    VARIANTS,
    WITHOUT_CHECKPOINTING,
    WITHOUT_SDPA,
    has_family,
    tiny_batch,
    tiny_model,
    variant_name,
)
from two_streams import two_stream_logits

from mixtext_hf.functional import MixPlan, make_mixable
from mixtext_hf.models import TESTED_MODEL_TYPES


INDEX = torch.tensor([2, 0, 3, 1])
LAM = torch.tensor([0.3, 0.6, 1.0, 0.8])
PADS_UNDEFINED = {"deberta", "deberta-v2", "modernbert"}
# fnet has no mask, mobilebert reads trigrams of tokens, convbert convolves over them: all three see padding.
SEES_PADDING = {"fnet", "mobilebert", "convbert"}


def _needs(family):
    if not has_family(family):
        pytest.skip(f"the installed transformers has no {family}")


def test_the_list_of_tested_types_is_this_one():
    # Decoders and those of images are tested in files of their own.
    assert set(FAMILIES) | set(DECODERS) | set(IMAGE_FAMILIES) == TESTED_MODEL_TYPES


@pytest.mark.parametrize("family, attention, overrides", VARIANTS, ids=variant_name)
def test_equals_two_streams_at_every_layer(family, attention, overrides):
    _needs(family)
    model = tiny_model(family, attention, **overrides).eval()
    batch = tiny_batch()
    plain = model(**batch).logits
    # A row with lambda 1 is its own partner in the reference as well.
    index = torch.where(LAM == 1, torch.arange(4), INDEX)
    pools_with_mask = overrides.get("classifier_pooling") == "mean"
    pad = "keep" if family in PADS_UNDEFINED else "mix"
    expected = {}
    if not pools_with_mask:
        expected = {layer: two_stream_logits(model, batch, index, LAM, layer, pad) for layer in range(DEPTH + 1)}

    mixer = make_mixable(model)
    torch.testing.assert_close(model(**batch).logits, plain, rtol=0, atol=0)
    for layer in range(DEPTH + 1):
        with mixer.applying(MixPlan(INDEX, LAM, layer=layer)):
            mixed = model(**batch).logits
        if expected:
            torch.testing.assert_close(mixed, expected[layer], rtol=1e-5, atol=1e-5)
        # The reference with mean pooling would have to be told the union: swap says as much.
        assert not torch.allclose(mixed[0], plain[0], atol=1e-3)
        torch.testing.assert_close(mixed[2], plain[2], rtol=1e-5, atol=1e-5)
        with mixer.applying(MixPlan(torch.tensor([0, 0, 0, 0]), torch.tensor([1.0, 0.0, 0.0, 0.0]), layer=layer)):
            swapped = model(**batch).logits
        if family != "fnet":
            torch.testing.assert_close(swapped, plain[[0, 0, 0, 0]], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("family", FAMILIES)
def test_mixing_at_the_head_equals_mixing_its_input_by_hand(family):
    _needs(family)
    model = tiny_model(family).eval()
    batch = tiny_batch()
    plain = model(**batch).logits
    mixer = make_mixable(model)
    with mixer.applying(MixPlan(INDEX, LAM, layer="head")):
        mixed = model(**batch).logits
    # The last layer is affine and the weights sum to 1, so its outputs are mixed as its inputs are.
    index = torch.where(LAM == 1, torch.arange(4), INDEX)
    expected = LAM[:, None] * plain + (1 - LAM[:, None]) * plain[index]
    torch.testing.assert_close(mixed, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("reentrant", [False, True], ids=["non-reentrant", "reentrant"])
@pytest.mark.parametrize("family", [f for f in FAMILIES if f not in WITHOUT_CHECKPOINTING])
def test_gradients_are_the_same_with_activation_checkpointing(family, reentrant):
    _needs(family)
    model = tiny_model(family, "eager" if family in WITHOUT_SDPA else "sdpa").train()
    mixer = make_mixable(model)
    batch, plan = tiny_batch(), MixPlan(INDEX, LAM, layer=2)

    def gradients():
        model.zero_grad()
        with mixer.applying(plan):
            loss = model(**batch).logits.square().sum()
        loss.backward()
        return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}

    expected = gradients()
    model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": reentrant})
    actual = gradients()
    assert actual.keys() == expected.keys()
    for name in expected:
        torch.testing.assert_close(
            actual[name], expected[name], rtol=1e-4, atol=1e-5, msg=lambda m, n=name: f"{n}: {m}"
        )


@pytest.mark.parametrize("family", sorted(SEES_PADDING))
def test_some_models_see_padding_even_unmixed(family):
    """Why they are left out of the next test: their own logits change with the padding."""
    _needs(family)
    model = tiny_model(family).eval()
    assert not torch.allclose(model(**tiny_batch()).logits, model(**tiny_batch(longest=20)).logits, atol=1e-4)


@pytest.mark.parametrize("family", [f for f in FAMILIES if f not in SEES_PADDING])
@pytest.mark.parametrize("layer", [0, 2, DEPTH, "head"])
def test_logits_do_not_change_with_padding(family, layer):
    _needs(family)
    model = tiny_model(family).eval()
    mixer = make_mixable(model)
    logits = []
    for longest in (12, 20):
        with mixer.applying(MixPlan(INDEX, LAM, layer=layer)):
            logits.append(model(**tiny_batch(longest=longest)).logits)
    torch.testing.assert_close(logits[0], logits[1], rtol=1e-5, atol=1e-5)
