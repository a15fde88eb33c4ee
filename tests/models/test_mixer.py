"""The hooks leave the model what it is; plans reach every copy, every recomputation and every head they should."""

import copy
import io
import json

import pytest
import torch
from tiny import DEPTH, has_family, tiny_batch, tiny_model
from torch.distributed.algorithms._checkpoint.checkpoint_wrapper import CheckpointImpl, checkpoint_wrapper
from torch.utils.hooks import RemovableHandle
from transformers import AutoModelForSequenceClassification
from two_streams import two_stream_logits

from mixtext_hf.functional import MixPlan, make_mixable
from mixtext_hf.models import MixableModelForSequenceClassification


INDEX = torch.tensor([2, 0, 3, 1])
LAM = torch.tensor([0.3, 0.6, 0.9, 0.8])


def plan_at(layer, **arguments):
    return MixPlan(INDEX, LAM, layer=layer, **arguments)


def mixed_logits(model, plan, batch=None):
    with model.mixer.applying(plan):
        return model(**(batch or tiny_batch())).logits


def mixable(*arguments, **options):
    model = tiny_model(*arguments, **options).eval()
    make_mixable(model)
    return model


def gradients(model, plan, batch=None):
    model.zero_grad()
    mixed_logits(model, plan, batch).square().sum().backward()
    return {name.replace("_checkpoint_wrapped_module.", ""): p.grad.clone() for name, p in model.named_parameters()}


def assert_same_gradients(actual, expected, atol=1e-5):
    assert actual.keys() == expected.keys()
    for name in expected:
        torch.testing.assert_close(
            actual[name], expected[name], rtol=1e-4, atol=atol, msg=lambda m, n=name: f"{n}: {m}"
        )


# ---- the model stays what it is ----


def test_calling_it_again_returns_the_same_mixer_and_adds_no_hook():
    model = tiny_model()
    mixer = make_mixable(model)
    hooks = [len(m._forward_pre_hooks) + len(m._forward_hooks) for m in model.modules()]
    assert make_mixable(model) is mixer is model.mixer
    assert [len(m._forward_pre_hooks) + len(m._forward_hooks) for m in model.modules()] == hooks
    assert sum(hooks) > 0 and mixer.depth == DEPTH


def test_class_state_and_config_are_unchanged():
    model = tiny_model()
    kind, keys, config = type(model), list(model.state_dict()), copy.deepcopy(model.config.to_dict())
    modules = [name for name, _ in model.named_modules()]
    mixed_logits_before = model.eval()(**tiny_batch()).logits
    make_mixable(model)
    mixed_logits(model, plan_at(2))
    assert type(model) is kind and list(model.state_dict()) == keys and model.config.to_dict() == config
    assert [name for name, _ in model.named_modules()] == modules
    assert torch.equal(model(**tiny_batch()).logits, mixed_logits_before)


def test_a_saved_model_loads_in_plain_transformers(tmp_path):
    model = mixable()
    mixed_logits(model, plan_at(2))
    model.save_pretrained(tmp_path)
    assert json.loads((tmp_path / "config.json").read_text())["architectures"] == ["BertForSequenceClassification"]
    plain = AutoModelForSequenceClassification.from_pretrained(tmp_path, attn_implementation="eager").eval()
    assert type(plain) is type(model) and not hasattr(plain, "mixer")
    assert torch.equal(plain(**tiny_batch()).logits, model(**tiny_batch()).logits)

    loaded = MixableModelForSequenceClassification.from_pretrained(tmp_path, attn_implementation="eager").eval()
    assert type(loaded) is type(model)
    assert torch.equal(mixed_logits(loaded, plan_at(2)), mixed_logits(model, plan_at(2)))
    from_config = MixableModelForSequenceClassification.from_config(model.config)
    assert type(from_config) is type(model) and from_config.mixer.depth == DEPTH
    with pytest.raises(OSError, match=r"is a loader: use MixableModelForSequenceClassification\.from_pretrained"):
        MixableModelForSequenceClassification()


@pytest.mark.parametrize("family", ["bert", "albert", "deberta-v2", "modernbert"])
@pytest.mark.parametrize("layer", [None, 0, 2, DEPTH, "head"])
def test_identity_changes_nothing_at_all(family, layer):
    model = tiny_model(family).eval()
    plain = model(**tiny_batch()).logits
    make_mixable(model)
    assert torch.equal(model(**tiny_batch()).logits, plain)
    assert torch.equal(mixed_logits(model, None), plain)
    assert torch.equal(mixed_logits(model, MixPlan.identity(4)), plain)
    assert torch.equal(mixed_logits(model, MixPlan(INDEX, torch.ones(4), layer=layer)), plain)
    if layer is not None:
        assert not torch.allclose(mixed_logits(model, plan_at(layer)), plain, atol=1e-3)


def test_only_transformers_models_and_none_that_is_compiled_already():
    with pytest.raises(TypeError, match=r"`model` must be \(or wrap\) a transformers model, got Linear"):
        make_mixable(torch.nn.Linear(2, 2))
    with pytest.raises(ValueError, match=r"already compiled: call make_mixable\(model\) first"):
        make_mixable(torch.compile(tiny_model(), backend="eager"))


# ---- plans ----


def test_applying_nests_restores_and_clears_after_exceptions():
    model = mixable()
    mixer, outer, inner = model.mixer, plan_at(1), plan_at(3)
    expected = {plan: mixed_logits(model, plan) for plan in (outer, inner)}
    with mixer.applying(outer):
        with mixer.applying(inner):
            assert torch.equal(model(**tiny_batch()).logits, expected[inner])
        assert torch.equal(model(**tiny_batch()).logits, expected[outer])
        with mixer.applying(None):
            assert mixer.plan is None
        assert mixer.plan is outer
    assert mixer.plan is None
    with pytest.raises(KeyError, match="boom"), mixer.applying(outer):
        raise KeyError("boom")
    assert mixer.plan is None
    assert not torch.equal(model(**tiny_batch()).logits, expected[outer])


@pytest.mark.parametrize("layer", [0, 2, DEPTH, "head"])
@pytest.mark.parametrize("rows", [3, 5])
@pytest.mark.parametrize("pooling", [None, "mean"])
def test_a_plan_for_another_batch_size_is_refused(layer, rows, pooling):
    model = mixable("modernbert", classifier_pooling=pooling) if pooling else mixable()
    plan = MixPlan(torch.arange(rows).roll(1), torch.full((rows,), 0.5), layer=layer)
    with pytest.raises(ValueError, match=f"The plan was drawn for a batch of {rows} rows, .* called with 4"):
        mixed_logits(model, plan)
    # Nothing of the failure is left behind.
    reference = tiny_model("modernbert", classifier_pooling=pooling) if pooling else tiny_model()
    assert torch.equal(model(**tiny_batch()).logits, reference.eval()(**tiny_batch()).logits)


def test_layers_that_the_model_does_not_have_are_refused():
    model = mixable()
    with pytest.raises(
        ValueError, match=r"layer 5 .* BertForSequenceClassification has 4 layers: choose from 0 .* to 4"
    ):
        mixed_logits(model, plan_at(DEPTH + 1))
    with pytest.raises(ValueError, match="layer -1 was asked for"):
        model.mixer.check_layer(-1)
    for layer in (None, 0, DEPTH, "head"):
        model.mixer.check_layer(layer)
    assert model.mixer.plan is None


def test_a_head_that_is_not_there_is_refused():
    base = tiny_model().bert.eval()
    mixer = make_mixable(base)
    with (
        pytest.raises(ValueError, match="layer 'head' was asked for, but BertModel has no final linear layer"),
        mixer.applying(plan_at("head")),
    ):
        pass
    with mixer.applying(plan_at(2)):
        mixed = base(**tiny_batch()).last_hidden_state
    assert not torch.allclose(mixed, base(**tiny_batch()).last_hidden_state, atol=1e-3)


def test_a_failed_forward_pass_leaves_nothing_behind():
    model = mixable("modernbert", classifier_pooling="mean")
    expected = mixed_logits(model, plan_at(2))
    other = tiny_batch(lengths=(5, 12, 3, 9))
    with model.mixer.applying(plan_at(2)):
        failing = model.model.embeddings.register_forward_pre_hook(_fail)
        with pytest.raises(ArithmeticError):
            model(**other)
        failing.remove()
        assert torch.equal(model(**tiny_batch()).logits, expected)


def _fail(module, args):
    raise ArithmeticError


@pytest.mark.parametrize("layer", [0, 2, DEPTH, "head"])
def test_backward_may_come_after_the_context(layer):
    model = mixable()
    plan = plan_at(layer)
    with model.mixer.applying(plan):
        model(**tiny_batch()).logits.square().sum().backward()
    inside = {name: p.grad.clone() for name, p in model.named_parameters()}
    assert_same_gradients(gradients(model, plan), inside, atol=0)


def test_hidden_states_below_and_above_the_mix():
    model = mixable()
    plain = model(**tiny_batch(), output_hidden_states=True).hidden_states
    with model.mixer.applying(plan_at(2)):
        mixed = model(**tiny_batch(), output_hidden_states=True).hidden_states
    assert len(mixed) == DEPTH + 1
    for m in (0, 1, 2):
        assert torch.equal(mixed[m], plain[m])
    for m in (3, 4):
        assert not torch.allclose(mixed[m], plain[m], atol=1e-3)


def test_head_parameters_are_those_outside_the_base_model():
    model = mixable("roberta")
    expected = {name for name, _ in model.named_parameters() if name.startswith("classifier.")}
    ids = {id(p) for p in model.mixer.head_parameters()}
    assert {name for name, p in model.named_parameters() if id(p) in ids} == expected
    assert len(expected) == 4


# ---- dtypes ----


@pytest.mark.parametrize("family", ["bert", "modernbert", "albert"])
@pytest.mark.parametrize("layer", [0, 2, DEPTH, "head"])
def test_dtypes_are_kept_in_bfloat16(family, layer):
    model = mixable(family)
    reference = mixed_logits(model, plan_at(layer))
    seen = []
    for module in model.modules():
        module.register_forward_hook(lambda m, a, output: seen.append(getattr(output, "dtype", None)))

    def dtypes(plan):
        seen.clear()
        logits = mixed_logits(model, plan)
        return list(seen), logits

    with torch.autocast("cpu", dtype=torch.bfloat16):
        plain, _ = dtypes(None)
        mixed, logits = dtypes(plan_at(layer))
    assert mixed == plain and torch.bfloat16 in mixed
    torch.testing.assert_close(logits.float(), reference, rtol=0.1, atol=0.1)
    model.bfloat16()
    mixed, logits = dtypes(plan_at(layer))
    assert set(mixed) - {None} == {torch.bfloat16} and logits.dtype == torch.bfloat16


# ---- copies ----


def test_a_deep_copy_of_the_model_has_a_mixer_of_its_own():
    model = mixable("deberta-v2", conv_kernel_size=3)
    plain = model(**tiny_batch()).logits
    mixed = {layer: mixed_logits(model, plan_at(layer)) for layer in (0, 2, DEPTH, "head")}
    with model.mixer.applying(plan_at(1)):
        twin = copy.deepcopy(model)
    assert twin.mixer is not model.mixer and twin.mixer.plan is None
    assert twin.mixer.stack.model is twin and twin.mixer.stack.encoder is twin.deberta
    for layer, expected in mixed.items():
        with twin.mixer.applying(plan_at(layer)):
            assert torch.equal(twin(**tiny_batch()).logits, expected)
            assert torch.equal(model(**tiny_batch()).logits, plain)
        with model.mixer.applying(plan_at(layer)):
            assert torch.equal(model(**tiny_batch()).logits, expected)
            assert torch.equal(twin(**tiny_batch()).logits, plain)
    with torch.no_grad():
        twin.classifier.weight.zero_()
    assert torch.equal(model(**tiny_batch()).logits, plain)


def test_a_deep_copy_of_the_head_keeps_its_link():
    model = mixable("roberta")
    expected, plain = mixed_logits(model, plan_at("head")), model(**tiny_batch()).logits
    model.classifier = copy.deepcopy(model.classifier)
    assert torch.equal(mixed_logits(model, plan_at("head")), expected)
    assert torch.equal(model(**tiny_batch()).logits, plain)


@pytest.mark.parametrize("family", ["bert", "albert", "modernbert"])
def test_a_pickled_model_mixes_as_before(family, monkeypatch):
    # As in a process of its own and then in another, where torch numbers hooks from 0 again: hooks that come later must
    # not take the place of those that were loaded.
    monkeypatch.setattr(RemovableHandle, "next_id", 0)
    model = mixable(family)
    mixed = {layer: mixed_logits(model, plan_at(layer)) for layer in (0, 2, DEPTH, "head")}
    buffer = io.BytesIO()
    torch.save(copy.deepcopy(model), buffer)
    buffer.seek(0)
    monkeypatch.setattr(RemovableHandle, "next_id", 0)
    loaded = torch.load(buffer, weights_only=False)
    assert loaded.mixer.stack.model is loaded
    for _ in range(10):
        loaded.mixer.stack.layers[-1].register_forward_pre_hook(_nothing)
        loaded.mixer.stack.layers[-1].register_forward_hook(_nothing)
    for layer, expected in mixed.items():
        assert torch.equal(mixed_logits(loaded, plan_at(layer)), expected)
    assert torch.equal(loaded(**tiny_batch()).logits, model(**tiny_batch()).logits)


def _nothing(module, args, output=None):
    return None


# ---- hooks inside an activation checkpoint ----


def checkpointed(model, reentrant=False):
    """A copy of the model whose layers are wrapped as FSDP does it, so that their hooks run again in backward."""
    model = copy.deepcopy(model)
    impl = CheckpointImpl.REENTRANT if reentrant else CheckpointImpl.NO_REENTRANT
    layers = model.base_model.layers if hasattr(model.base_model, "layers") else model.base_model.encoder.layer
    for number, layer in enumerate(layers):
        layers[number] = checkpoint_wrapper(layer, checkpoint_impl=impl)
    return model


@pytest.mark.parametrize("reentrant", [False, True], ids=["non-reentrant", "reentrant"])
@pytest.mark.parametrize(
    "family, layer, pad",
    [("bert", layer, "mix") for layer in (0, 2, DEPTH, "head")]
    + [("bert", 2, "keep"), ("modernbert", 0, "mix"), ("modernbert", 3, "mix")],
)
def test_gradients_are_the_same_inside_a_checkpoint(family, layer, pad, reentrant):
    model = mixable(family).train()
    if reentrant:
        # Its layers would have no input that needs a gradient otherwise, in any model.
        model.enable_input_require_grads()
    plans = [plan_at(layer, pad=pad), MixPlan(INDEX.flip(0), LAM.flip(0), layer=1), None]
    expected = [gradients(model, plan) for plan in plans]
    model = checkpointed(model, reentrant)
    for plan, reference in zip(plans, expected, strict=True):
        # One after the other, each with its own plan: nothing to confuse.
        assert_same_gradients(gradients(model, plan), reference)


def test_accumulating_under_one_plan_inside_a_checkpoint():
    model = mixable().train()
    plan, batches = plan_at(2), [tiny_batch(seed=1), tiny_batch(seed=2)]

    def both(model):
        model.zero_grad()
        with model.mixer.applying(plan):
            losses = [model(**batch).logits.square().sum() for batch in batches]
        sum(losses).backward()
        return {n.replace("_checkpoint_wrapped_module.", ""): p.grad.clone() for n, p in model.named_parameters()}

    assert_same_gradients(both(checkpointed(model)), both(model), atol=1e-4)


@pytest.mark.parametrize("other", [None, plan_at(3)], ids=["and one without", "both mixed"])
def test_two_pending_plans_inside_a_checkpoint_are_refused(other):
    model = checkpointed(mixable().train())
    first = mixed_logits(model, plan_at(2)).sum()
    mixed_logits(model, other).sum()
    with pytest.raises(
        RuntimeError, match=r"two forward passes with different mix plans .* Call backward on the first"
    ):
        first.backward()
    # It recovers: the next step is fine.
    gradients(model, plan_at(2))


def test_a_pass_without_gradient_between_forward_and_backward_is_not_mistaken_for_it():
    model = mixable().train()
    expected = gradients(model, plan_at(2))
    model = checkpointed(model)
    with torch.no_grad():
        model(**tiny_batch())
    assert_same_gradients(gradients(model, plan_at(2)), expected)
    loss = mixed_logits(model, plan_at(2)).sum()
    with torch.no_grad():
        model(**tiny_batch())
    with pytest.raises(RuntimeError, match="two forward passes with different mix plans"):
        loss.backward()


def test_without_checkpoints_any_number_of_plans_may_wait():
    model = mixable().train()
    plans = [plan_at(2), None, plan_at("head"), plan_at(0)]
    expected = [gradients(model, plan) for plan in plans]
    model.zero_grad()
    losses = [mixed_logits(model, plan).square().sum() for plan in plans]
    for loss in losses:
        loss.backward()
    total = {name: sum(g[name] for g in expected) for name in expected[0]}
    assert_same_gradients({n: p.grad for n, p in model.named_parameters()}, total, atol=1e-4)


# ---- one layer called many times ----


def test_albert_counts_its_calls_anew_in_every_pass():
    model = mixable("albert")
    expected = {
        layer: two_stream_logits(tiny_model("albert").eval(), tiny_batch(), INDEX, LAM, layer) for layer in (1, 4)
    }
    for layer in (1, 4, 1, None, 4, 4, 1):
        if layer is None:
            model(**tiny_batch())
            model.albert.encoder.albert_layer_groups[0](torch.zeros(1, 2, 32), None)
        else:
            torch.testing.assert_close(mixed_logits(model, plan_at(layer)), expected[layer], rtol=1e-5, atol=1e-5)


def test_albert_with_two_groups_of_parameters():
    model = mixable("albert", num_hidden_groups=2)
    plain = model(**tiny_batch()).logits
    # All rows become the longest, whose mask contains theirs.
    become_row_0 = torch.tensor([0, 0, 0, 0]), torch.tensor([1.0, 0.0, 0.0, 0.0])
    for layer in range(DEPTH + 1):
        swapped = mixed_logits(model, MixPlan(*become_row_0, layer=layer))
        torch.testing.assert_close(swapped, plain[[0, 0, 0, 0]], rtol=1e-5, atol=1e-5)
        assert not torch.allclose(mixed_logits(model, plan_at(layer)), plain, atol=1e-3)


def test_a_recomputed_call_of_a_shared_layer_is_refused():
    model = mixable("albert").train()
    expected = gradients(model, None)
    model = copy.deepcopy(model)
    groups = model.albert.encoder.albert_layer_groups
    groups[0] = checkpoint_wrapper(groups[0])
    assert_same_gradients(gradients(model, None), expected)
    with pytest.raises(RuntimeError, match="called once more than the model has layers: activation checkpointing"):
        gradients(model, plan_at(2))


def test_a_recomputed_encoder_counts_its_calls_anew():
    model = mixable("albert").train()
    expected = gradients(model, plan_at(2))
    model = copy.deepcopy(model)
    model.albert = checkpoint_wrapper(model.albert)
    assert_same_gradients(gradients(model, plan_at(2)), expected)


# ---- heads that pool with the mask ----


def test_a_head_that_pools_gets_the_union():
    if not has_family("modernbert"):
        pytest.skip("the installed transformers has no modernbert")
    model = tiny_model("modernbert", classifier_pooling="mean").eval()
    batch = tiny_batch()
    last = []
    hook = model.model.layers[-1].register_forward_hook(
        lambda m, a, output: last.append(output[0] if isinstance(output, tuple) else output)
    )
    plain = model(**batch).logits
    hook.remove()
    # Two streams: the last layer of both, its real tokens kept where only one partner has one.
    states, real = last[0], batch["attention_mask"].bool()
    mixed, union = states.clone(), real | real[INDEX]
    for row, partner in enumerate(INDEX.tolist()):
        for position in range(states.shape[1]):
            weight = LAM[row]
            if real[row, position] != real[partner, position]:
                weight = real[row, position].float()
            mixed[row, position] = weight * states[row, position] + (1 - weight) * states[partner, position]
    mixed = model.model.final_norm(mixed)
    pooled = torch.stack([mixed[row, union[row]].mean(dim=0) for row in range(4)])
    expected = model.classifier(model.drop(model.head(pooled)))

    make_mixable(model)
    torch.testing.assert_close(mixed_logits(model, plan_at(DEPTH)), expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(model(**batch).logits, plain, rtol=0, atol=0)
    by_position = lambda: model(batch["input_ids"], batch["attention_mask"]).logits  # noqa: E731
    with model.mixer.applying(plan_at(DEPTH)):
        torch.testing.assert_close(by_position(), expected, rtol=1e-5, atol=1e-5)
    without_mask = {"input_ids": batch["input_ids"]}
    assert mixed_logits(model, plan_at(2), without_mask).shape == (4, 3)


def test_a_head_that_pools_and_is_called_past_the_hooks_says_so():
    model = mixable("modernbert", classifier_pooling="mean")
    plain = model(**tiny_batch()).logits
    with (
        model.mixer.applying(plan_at(2)),
        pytest.raises(RuntimeError, match=r"pools with the attention mask, and was"),
    ):
        model.forward(**tiny_batch())
    assert torch.equal(model.forward(**tiny_batch()).logits, plain)


def test_a_plan_without_a_layer_must_not_mix_labels_alone():
    mixer = mixable().mixer
    with (
        pytest.raises(ValueError, match="names no layer, so the model would mix nothing"),
        mixer.applying(plan_at(None)),
    ):
        pass
    with mixer.applying(MixPlan.identity(4)):
        pass
