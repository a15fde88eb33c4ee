"""What [CLS] attends to, from one row of scores: against the whole attention that the models themselves compute eagerly."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
from tiny import has_family, tiny_image_model, tiny_images

from mixtext_hf.models.cls_attention import ATTENDING_MODEL_TYPES, ClsAttention
from mixtext_hf.models.stack import patch_size_of


VARIANTS = [(family, {}) for family in ATTENDING_MODEL_TYPES]
VARIANTS += [
    ("beit", {"use_relative_position_bias": True}),
    ("beit", {"use_shared_relative_position_bias": True}),
    ("beit", {"use_relative_position_bias": True, "use_shared_relative_position_bias": True}),
    ("data2vec-vision", {"use_relative_position_bias": True}),
    ("data2vec-vision", {"use_relative_position_bias": True, "use_shared_relative_position_bias": True}),
    ("deit", {"architecture": "DeiTForImageClassificationWithTeacher"}),
    ("dinov2_with_registers", {"num_register_tokens": 2}),
    ("vit", {"qkv_bias": False}),
]


def name_of(value):
    return ",".join(value) if isinstance(value, dict) else str(value)


def make(family, attention="sdpa", **overrides):
    if not has_family("data2vec" if family == "data2vec-vision" else family):
        pytest.skip(f"the installed transformers has no {family}")
    return tiny_image_model(family, attention=attention, **overrides)


def told(model, inputs):
    attention = ClsAttention(model)
    with attention.watching(), torch.no_grad():
        logits = model(**inputs).logits
    return logits, attention.take(inputs["pixel_values"].shape[-2:])


def hooks_of(model):
    return [
        hook
        for module in model.modules()
        for hooks in (module._forward_hooks, module._forward_pre_hooks, module._backward_hooks)
        for hook in hooks.values()
    ]


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@pytest.mark.parametrize("family, overrides", VARIANTS, ids=name_of)
def test_it_is_the_row_of_the_whole_attention(family, overrides, attention):
    model, inputs = make(family, attention, **overrides), tiny_images(family)
    eager = make(family, "eager", **overrides)
    eager.load_state_dict(model.state_dict())
    with torch.no_grad():
        whole = eager(**inputs, output_attentions=True).attentions[-1]
    logits, attended = told(model, inputs)
    patch = patch_size_of(model.config)[0]
    height, width = inputs["pixel_values"].shape[-2:]
    rows, columns = height // patch, width // patch
    special = whole.shape[-1] - rows * columns
    assert special == {"deit": 2, "dinov2_with_registers": 1 + overrides.get("num_register_tokens", 4)}.get(family, 1)
    # The first token asks; patches stand row by row, behind all that is none.
    expected = whole[:, :, 0, special:].mean(dim=1).view(len(whole), rows, columns)
    torch.testing.assert_close(attended.weights, expected, rtol=0, atol=1e-5)
    assert attended.patch_size == (patch, patch)
    # Patches differ in what is attended to, and rows among each other: nothing else would show a wrong order.
    assert attended.weights.std() > 1e-3 and (attended.weights[0] - attended.weights[1]).abs().max() > 1e-3
    # The model is what it was, and ran as it does.
    with torch.no_grad():
        assert torch.equal(model(**inputs).logits, logits)
    assert hooks_of(model) == []


def test_gradients_are_those_of_a_pass_that_nobody_watches():
    model, inputs = make("beit", use_relative_position_bias=True), tiny_images("beit")
    grads = []
    for is_watched in (False, True):
        model.zero_grad()
        attention = ClsAttention(model)
        if is_watched:
            with attention.watching():
                loss = model(**inputs).logits.square().sum()
            attended = attention.take((48, 32))
            assert not attended.weights.requires_grad
            # A constant in the loss, whatever it weighs.
            (loss * attended.weights.sum() / attended.weights.sum()).backward()
        else:
            model(**inputs).logits.square().sum().backward()
        grads.append({name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None})
    assert grads[0].keys() == grads[1].keys()
    for name, grad in grads[0].items():
        assert torch.equal(grad, grads[1][name]), name


@pytest.mark.parametrize("reentrant", [False, True])
def test_checkpoints_of_activations(reentrant):
    model, inputs = make("vit").train(), tiny_images("vit")
    plain, _ = told(model, inputs)
    expected = told(model, inputs)[1].weights
    model.gradient_checkpointing_enable({"use_reentrant": reentrant})
    model.enable_input_require_grads()
    attention = ClsAttention(model)
    attention.install()
    with attention.watching():
        logits = model(**inputs).logits
    taken = attention.take((48, 32)).weights
    torch.testing.assert_close(taken, expected)
    logits.sum().backward()
    # The layer ran once more for its backward pass: nobody watched.
    with pytest.raises(RuntimeError, match="ran past its hooks"):
        attention.take((48, 32))
    attention.remove()
    assert torch.equal(plain, logits)


def test_it_is_told_once_and_only_of_passes_that_are_watched():
    model, inputs = make("vit"), tiny_images("vit")
    attention = ClsAttention(model)
    attention.install()
    attention.install()
    assert len(hooks_of(model)) == 4
    model(**inputs)
    with pytest.raises(RuntimeError, match="ran past its hooks"):
        attention.take((48, 32))
    with attention.watching():
        model(**inputs)
    assert len(hooks_of(model)) == 4
    attention.take((48, 32))
    with pytest.raises(RuntimeError, match="ran past its hooks"):
        attention.take((48, 32))
    with pytest.raises(ZeroDivisionError), attention.watching():
        model(**inputs)
        _ = 1 / 0
    attention.remove()
    assert hooks_of(model) == []


def test_copies_and_pickles_tell_of_themselves():
    model, inputs = make("vit"), tiny_images("vit")
    attention = ClsAttention(model)
    attention.install()
    for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        with attention.watching():
            twin(**inputs)
        with pytest.raises(RuntimeError, match="ran past its hooks"):
            attention.take((48, 32))


def test_reduced_precision_is_no_reason_for_reduced_weights():
    model, inputs = make("vit"), tiny_images("vit")
    expected = told(model, inputs)[1].weights
    with torch.autocast("cpu", dtype=torch.bfloat16):
        weights = told(model, inputs)[1].weights
    assert weights.dtype == torch.float32
    torch.testing.assert_close(weights, expected, rtol=0.1, atol=0.02)
    half = told(model.bfloat16(), {"pixel_values": inputs["pixel_values"].bfloat16()})[1].weights
    torch.testing.assert_close(half, expected, rtol=0.1, atol=0.02)
    whole = half.sum(dim=(1, 2))
    assert half.dtype == torch.float32 and bool((whole < 1).all())


def test_adapters_of_queries_and_keys_count():
    peft = pytest.importorskip("peft")
    model, inputs = make("vit"), tiny_images("vit")
    before = told(model, inputs)[1].weights
    config = peft.LoraConfig(r=2, target_modules=["q_proj", "k_proj", "query", "key"], init_lora_weights=False)
    adapted = peft.get_peft_model(model, config).eval()
    weights = told(model, inputs)[1].weights
    assert (weights - before).abs().max() > 1e-3
    merged = adapted.merge_and_unload()
    torch.testing.assert_close(weights, told(merged, inputs)[1].weights, rtol=0, atol=1e-5)


@pytest.mark.compiled
def test_a_compiled_model_tells_the_same():
    torch._dynamo.reset()
    model, inputs = make("vit", num_hidden_layers=1), tiny_images("vit")
    expected = told(model, inputs)[1].weights
    attention = ClsAttention(model)
    attention.install()
    compiled = torch.compile(model, backend="eager", fullgraph=True)
    for _ in range(2):
        with torch.no_grad():
            compiled(**inputs)
            with attention.watching():
                compiled(**inputs)
        torch.testing.assert_close(attention.take((48, 32)).weights, expected)
    attention.remove()
    torch._dynamo.reset()


@pytest.mark.parametrize("family", ["resnet", "swin", "siglip", "ijepa", "convnext", "hiera", "levit"])
def test_models_without_are_refused(family):
    with pytest.raises(ValueError, match=rf"\(type '{family}'\) is none of beit, clip, .*vit, vit_msn$"):
        ClsAttention(tiny_image_model(family))


def test_a_layer_without_projections_of_its_own_is_refused():
    model = make("vit")
    layer = model.vit.layers[-1] if hasattr(model.vit, "layers") else model.vit.encoder.layer[-1]
    for module in layer.modules():
        for name in ("q_proj", "query"):
            if name in module._modules:
                module.qkv = module._modules.pop(name)
    with pytest.raises(ValueError, match="has no two projections that are called"):
        ClsAttention(model)
