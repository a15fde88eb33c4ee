"""Under torch.compile: one graph for each mixing layer and one without, none after that, and the numbers of eager."""

import copy

import pytest
import torch
from tiny import DECODERS, IMAGE_FAMILIES, tiny_batch, tiny_image_model, tiny_images, tiny_model
from torch._dynamo.testing import CompileCounterWithBackend

from mixtext_hf.functional import MixPlan, make_mixable


pytestmark = pytest.mark.compiled

DEPTH = 2  # tracing takes its time


@pytest.fixture(autouse=True)
def _fresh_dynamo():
    limit = torch._dynamo.config.recompile_limit
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()
    torch._dynamo.config.recompile_limit = limit


def random_plan(layer, seed, pad="mix"):
    generator = torch.Generator().manual_seed(seed)
    return MixPlan(torch.randperm(4, generator=generator), torch.rand(4, generator=generator), layer=layer, pad=pad)


def compiled_twin(model, backend="eager"):
    """The compiled copy of a mixable model, its mixer, and the counter of its graphs."""
    twin = copy.deepcopy(model)
    counter = CompileCounterWithBackend(backend)
    return torch.compile(twin, backend=counter, fullgraph=True, dynamic=False), twin.mixer, counter


def mixable(family, attention="sdpa", **overrides):
    if family in IMAGE_FAMILIES:
        model = tiny_image_model(family)
    else:
        model = tiny_model(family, attention, **{"num_hidden_layers": DEPTH, **overrides}).eval()
    make_mixable(model)
    return model


def batch_for(model, seed=1):
    family = model.config.model_type
    if family in IMAGE_FAMILIES:
        return tiny_images(family, seed=seed)
    return tiny_batch(seed=seed, side="left" if family in DECODERS else "right")


def assert_equal_to_eager(model, compiled, mixer, plan, seed=1):
    batch = batch_for(model, seed)
    with model.mixer.applying(plan):
        expected = model(**batch).logits
    with mixer.applying(plan):
        actual = compiled(**batch).logits
    torch.testing.assert_close(actual, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    "family",
    [
        "bert",
        "llama",
        "resnet",
        *(pytest.param(name, marks=pytest.mark.deep) for name in ("modernbert", "albert", "gemma3_text", "vit")),
    ],
)
def test_one_graph_for_each_layer_and_one_without(family):
    model = mixable(family)
    compiled, mixer, counter = compiled_twin(model)
    layers = [None, 0, 1, model.mixer.depth, "head"]
    for number, layer in enumerate(layers, start=1):
        with torch.no_grad():
            assert_equal_to_eager(model, compiled, mixer, None if layer is None else random_plan(layer, 0))
        # `fullgraph=True` raises at the first break: every frame is a whole graph.
        assert counter.frame_count == number
    with torch.no_grad():
        for seed in range(1, 4):
            for layer in reversed(layers):
                plan = None if layer is None else random_plan(layer, seed)
                assert_equal_to_eager(model, compiled, mixer, plan, seed=seed)
            assert_equal_to_eager(model, compiled, mixer, MixPlan.identity(4))
            unmixed = MixPlan(torch.tensor([1, 2, 3, 0]), torch.ones(4), layer=1)
            assert_equal_to_eager(model, compiled, mixer, unmixed)
    assert counter.frame_count == len(layers)


@pytest.mark.parametrize("family, overrides", [("modernbert", {"classifier_pooling": "mean"}), ("deberta-v2", {})])
def test_pooling_heads_and_kept_padding_compile_too(family, overrides):
    model = mixable(family, "eager", **overrides)
    compiled, mixer, counter = compiled_twin(model)
    with torch.no_grad():
        for number, layer in enumerate((None, 0, 1), start=1):
            for seed in (0, 1, 2):
                plan = None if layer is None else random_plan(layer, seed, pad="keep")
                assert_equal_to_eager(model, compiled, mixer, plan, seed=seed)
                if seed == 0:
                    graphs = counter.frame_count
                    assert graphs >= number
            # The hook of the outermost module may be a graph of its own; other plans and masks compile nothing.
            assert counter.frame_count == graphs


# torch's own limit of 8 takes a deeper model to reach, and minutes to trace it. (Not by `monkeypatch`, which deletes what it set.)
@torch._dynamo.config.patch(recompile_limit=3)
def test_more_layers_than_torch_would_recompile():
    depth = 4
    model = mixable("bert", num_hidden_layers=depth)
    compiled, mixer, counter = compiled_twin(model)
    plans = [None, *(random_plan(layer, 0) for layer in range(depth + 1))]
    assert len(plans) > torch._dynamo.config.recompile_limit
    with torch.no_grad():
        for plan in plans:
            assert_equal_to_eager(model, compiled, mixer, plan)
        assert counter.frame_count == len(plans)
        operations = counter.op_count
        # Past its limit torch would run these eagerly: then the compiled code would not be what runs. It is, for with
        # compilation forbidden they still succeed, and a new layer does not.
        with torch.compiler.set_stance("fail_on_recompile"):
            for layer in range(depth + 1):
                assert_equal_to_eager(model, compiled, mixer, random_plan(layer, 1))
            with pytest.raises(RuntimeError, match="fail_on_recompile"), mixer.applying(random_plan("head", 1)):
                compiled(**tiny_batch())
    assert (counter.frame_count, counter.op_count) == (len(plans), operations)


@pytest.mark.parametrize(
    "family, checkpointing",
    [
        pytest.param("bert", False, marks=pytest.mark.deep),
        ("bert", True),
        ("resnet", False),
        pytest.param("vit", True, marks=pytest.mark.deep),
    ],
)
def test_gradients_are_those_of_eager(family, checkpointing):
    model = mixable(family).train()
    compiled, mixer, counter = compiled_twin(model, "aot_eager")
    if checkpointing:
        # transformers would warn of it, in the middle of the graph.
        compiled._orig_mod.config.use_cache = False
        compiled._orig_mod.gradient_checkpointing_enable()
    plans = [random_plan(1, 0), None, random_plan(1, 3)]
    for plan in plans:
        model.zero_grad()
        compiled.zero_grad()
        for callable_model, handle in ((model, model.mixer), (compiled, mixer)):
            with handle.applying(plan):
                loss = callable_model(**batch_for(model)).logits.square().sum()
            loss.backward()
        for (name, expected), actual in zip(model.named_parameters(), compiled.parameters(), strict=True):
            torch.testing.assert_close(
                actual.grad, expected.grad, rtol=1e-4, atol=1e-5, msg=lambda m, n=name: f"{n}: {m}"
            )
    assert counter.frame_count == 2


def test_compiling_the_layers_one_by_one():
    model = mixable("bert", num_hidden_layers=4)
    twin = copy.deepcopy(model)
    counter = CompileCounterWithBackend("eager")
    for layer in twin.mixer.stack.layers:
        layer.compile(backend=counter, fullgraph=True, dynamic=False)
    with torch.no_grad():
        for layer in (None, 0, 1, 2, 3, 4, "head"):
            assert_equal_to_eager(model, twin, twin.mixer, None if layer is None else random_plan(layer, 0))
        assert counter.frame_count > 4
        graphs = counter.frame_count
        for layer in (0, 1, 2, 3, 4, "head", None):
            assert_equal_to_eager(model, twin, twin.mixer, None if layer is None else random_plan(layer, 1))
        assert counter.frame_count == graphs
