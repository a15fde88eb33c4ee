"""PEFT around a mixable model, or a mixable model out of PEFT: the same numbers as the merged model mixed by hand."""

import copy

import pytest
import torch
from tiny import DEPTH, has_family, tiny_batch, tiny_model
from two_streams import two_stream_logits

from mixtext_hf.functional import MixPlan, make_mixable


peft = pytest.importorskip("peft")

INDEX = torch.tensor([2, 0, 3, 1])
LAM = torch.tensor([0.3, 0.6, 0.9, 0.8])
LAYERS = (0, 2, DEPTH, "head")
# family, what LoRA adapts, which parts are trained and saved whole
ADAPTERS = {
    "bert": ("bert", ["query", "value"], None),
    "bert, head saved whole": ("bert", ["query", "value"], ["classifier"]),
    "bert, head adapted": ("bert", ["query", "classifier"], None),
    "roberta, head saved whole": ("roberta", ["query", "dense"], ["classifier"]),
    "roberta, head adapted": ("roberta", ["query", "out_proj"], None),
    "modernbert": ("modernbert", ["Wqkv"], ["classifier"]),
    "albert": ("albert", ["query"], ["classifier"]),
}


def lora(model, targets, saved, task_type="SEQ_CLS"):
    config = peft.LoraConfig(
        r=4, task_type=task_type, target_modules=targets, modules_to_save=saved, init_lora_weights=False
    )
    return peft.get_peft_model(model, config).eval()


def adapted(name, order, task_type=None, **overrides):
    family, targets, saved = ADAPTERS[name]
    if not has_family(family):
        pytest.skip(f"the installed transformers has no {family}")
    model = tiny_model(family, **overrides).eval()
    if order == "mixable first":
        make_mixable(model)
    model = lora(model, targets, saved, task_type)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad and parameter.dim() > 1:
                parameter.normal_(std=0.2)
    return model


def mixed_logits(model, layer, index=INDEX, lam=LAM, batch=None):
    mixer = make_mixable(model)
    with mixer.applying(MixPlan(index, lam, layer=layer)):
        return model(**(batch or tiny_batch())).logits


def merged(model):
    """The plain transformers model of the same function, without hooks or adapters."""
    inner = copy.deepcopy(model).merge_and_unload()
    plain = type(inner)(inner.config).eval()
    plain.load_state_dict(inner.state_dict())
    assert not hasattr(plain, "mixer")
    return plain


@pytest.mark.parametrize("order", ["mixable first", "PEFT first"])
@pytest.mark.parametrize("name", ADAPTERS)
def test_equals_the_merged_model_mixed_by_hand(name, order):
    model = adapted(name, order)
    plain = merged(model)
    pad = "keep" if plain.config.model_type == "modernbert" else "mix"
    logits = model(**tiny_batch()).logits
    torch.testing.assert_close(plain(**tiny_batch()).logits, logits, rtol=1e-4, atol=1e-5)
    for layer in (0, 2, DEPTH):
        expected = two_stream_logits(plain, tiny_batch(), INDEX, LAM, layer, pad)
        torch.testing.assert_close(mixed_logits(model, layer), expected, rtol=1e-4, atol=1e-4)
    # The last layer is affine, its adapter included.
    expected = LAM[:, None] * logits + (1 - LAM[:, None]) * logits[INDEX]
    torch.testing.assert_close(mixed_logits(model, "head"), expected, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(expected, logits, atol=1e-2)
    become_row_0 = torch.tensor([0, 0, 0, 0]), torch.tensor([1.0, 0.0, 0.0, 0.0])
    for layer in LAYERS:
        swapped = mixed_logits(model, layer, *become_row_0)
        torch.testing.assert_close(swapped, logits[[0, 0, 0, 0]], rtol=1e-4, atol=1e-5)
    assert torch.equal(model(**tiny_batch()).logits, logits)


def test_a_copied_head_is_mixed_even_without_calling_it_again():
    model = tiny_model().eval()
    mixer = make_mixable(model)
    wrapped = lora(model, ["query"], ["classifier"])
    logits = wrapped(**tiny_batch()).logits
    with mixer.applying(MixPlan(INDEX, LAM, layer="head")):
        mixed = wrapped(**tiny_batch()).logits
    torch.testing.assert_close(mixed, LAM[:, None] * logits + (1 - LAM[:, None]) * logits[INDEX], rtol=1e-5, atol=1e-5)


def test_it_is_the_same_mixer_and_no_hook_is_doubled():
    model = tiny_model()
    mixer = make_mixable(model)
    wrapped = lora(model, ["query"], ["classifier"])
    assert make_mixable(wrapped) is make_mixable(wrapped) is make_mixable(model) is mixer
    for head in mixer.stack.heads:
        assert len(head._forward_pre_hooks) == 1
    assert len(mixer.stack.heads) == 2


@pytest.mark.parametrize("order", ["mixable first", "PEFT first"])
@pytest.mark.parametrize("task_type", [None, "SEQ_CLS"])
def test_a_head_that_pools_gets_the_union_through_peft(order, task_type):
    model = adapted("modernbert", order, task_type, classifier_pooling="mean")
    plain = merged(model)
    make_mixable(plain)
    for layer in LAYERS:
        expected = mixed_logits(plain, layer)
        torch.testing.assert_close(mixed_logits(model, layer), expected, rtol=1e-4, atol=1e-5)


def test_saved_adapters_mix_as_before(tmp_path):
    model = adapted("bert, head saved whole", "PEFT first", "SEQ_CLS")
    expected = {layer: mixed_logits(model, layer) for layer in LAYERS}
    model.save_pretrained(tmp_path)
    assert not any("mixer" in path.name for path in tmp_path.iterdir())
    loaded = peft.PeftModel.from_pretrained(tiny_model().eval(), tmp_path).eval()
    for layer in LAYERS:
        assert torch.equal(mixed_logits(loaded, layer), expected[layer])


def test_after_merging_the_model_mixes_as_before():
    model = adapted("bert, head adapted", "mixable first")
    expected = {layer: mixed_logits(model, layer) for layer in LAYERS}
    inner = model.merge_and_unload()
    for layer in LAYERS:
        torch.testing.assert_close(mixed_logits(inner, layer), expected[layer], rtol=1e-4, atol=1e-5)


def test_deep_copy_and_gradients():
    model = adapted("roberta, head saved whole", "PEFT first", "SEQ_CLS")
    mixed_logits(model, 2).sum().backward()
    expected = {name: p.grad.clone() for name, p in model.named_parameters() if p.requires_grad}
    twin = copy.deepcopy(model)
    twin.zero_grad()
    assert make_mixable(twin) is not make_mixable(model)
    mixed_logits(twin, 2).sum().backward()
    trained = {name: p.grad for name, p in twin.named_parameters() if p.requires_grad}
    assert trained.keys() == expected.keys() and any("lora_A" in name for name in trained)
    for name in expected:
        assert torch.equal(trained[name], expected[name]), name
