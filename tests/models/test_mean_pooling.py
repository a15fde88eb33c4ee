"""The head of the MixText paper: its numbers by hand, mixed and not; its checkpoints; training with it."""

import copy
import io
import json

import pytest
import torch
from runs import arguments, assert_same_weights, make_trainer, tiny_rows, weights
from tiny import (
    DEPTH,
    FAMILIES,
    VARIANTS,
    WITHOUT_CHECKPOINTING,
    WITHOUT_SDPA,
    has_family,
    tiny_batch,
    tiny_config,
    tiny_model,
    variant_name,
    widen,
)
from transformers import (
    AutoModel,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    T5Config,
    TrainerCallback,
    pipeline,
)
from two_streams import two_stream_logits

from mixtext_hf import MeanPoolingForSequenceClassification, MixableModelForSequenceClassification
from mixtext_hf.functional import MixPlan, make_mixable
from mixtext_hf.models.mean_pooling import mean_over_tokens


INDEX = torch.tensor([2, 0, 3, 1])
LAM = torch.tensor([0.3, 0.6, 1.0, 0.8])
# A row with lambda 1 is its own partner in the reference as well.
PARTNER = torch.where(LAM == 1, torch.arange(4), INDEX)
LAYERS = (0, 2, DEPTH, "head")
PADS_UNDEFINED = {"deberta", "deberta-v2", "modernbert"}
SEES_PADDING = {"fnet", "mobilebert", "convbert"}


def pooling_model(family="bert", attention="eager", *, seed=0, dropout=0.0, **overrides):
    """Random, with weights large enough for rows to differ; without hooks."""
    if not has_family(family):
        pytest.skip(f"the installed transformers has no {family}")
    config = tiny_config(family, dropout=dropout, **overrides)
    torch.manual_seed(seed)
    model = MeanPoolingForSequenceClassification._from_config(config, attn_implementation=attention)
    widen(model, std=0.2)
    return model.eval()


def by_hand(model, states, mask):
    """Logits of the states `(B, L, D)` of the last layer, text by text and token by token."""
    rows = []
    for row in range(len(states)):
        real = [states[row, i] for i in range(states.shape[1]) if mask[row, i]]
        pooled = sum(real) / len(real)
        inner = torch.tanh(model.classifier.weight @ pooled + model.classifier.bias)
        rows.append(model.classifier.out_proj.weight @ inner + model.classifier.out_proj.bias)
    return torch.stack(rows)


def mixed_logits(model, layer, index=INDEX, lam=LAM, batch=None):
    mixer = make_mixable(model)
    with mixer.applying(MixPlan(index, lam, layer=layer)):
        return model(**(batch or tiny_batch())).logits


# ---- the head ----


@pytest.mark.parametrize("family", FAMILIES)
def test_logits_are_those_of_the_mean_over_the_real_tokens(family):
    model, batch = pooling_model(family), tiny_batch()
    states = model.base_model(**batch).last_hidden_state
    torch.testing.assert_close(
        model(**batch).logits, by_hand(model, states, batch["attention_mask"]), rtol=1e-5, atol=1e-5
    )
    assert model.classifier.weight.shape == (128, 32) and model.classifier.out_proj.weight.shape == (3, 128)


def test_only_the_real_tokens_count():
    states = torch.randn(2, 5, 3)
    mask = torch.tensor([[1, 1, 0, 0, 0], [0, 1, 1, 1, 0]])
    expected = torch.stack([states[0, :2].mean(dim=0), states[1, 1:4].mean(dim=0)])
    for kind in (torch.int64, torch.bool, torch.float32):
        torch.testing.assert_close(mean_over_tokens(states, mask.to(kind)), expected)
    states[0, 3] = float("nan")
    states[1, 4] = float("inf")
    torch.testing.assert_close(mean_over_tokens(states, mask), expected)
    assert torch.equal(mean_over_tokens(states, torch.zeros_like(mask)), torch.zeros(2, 3))
    ones = torch.randn(2, 5, 3)
    torch.testing.assert_close(mean_over_tokens(ones), ones.mean(dim=1))
    # A count of 300 is no number of bfloat16.
    many = torch.full((1, 301, 2), 3.0, dtype=torch.bfloat16)
    assert torch.equal(mean_over_tokens(many, torch.ones(1, 301)), many[:, 0])
    with pytest.raises(ValueError, match=r"`attention_mask` has the shape \(2, 1, 5, 5\), .* give the 2-D mask"):
        mean_over_tokens(states, torch.ones(2, 1, 5, 5))


def test_no_dropout_in_the_head_and_the_outputs_of_the_encoder():
    model = pooling_model(dropout=0.5).train()
    model.bert.eval()
    batch = tiny_batch()
    assert torch.equal(model(**batch).logits, model(**batch).logits)
    outputs = model(**batch, output_hidden_states=True, output_attentions=True)
    assert len(outputs.hidden_states) == DEPTH + 1 and len(outputs.attentions) == DEPTH and outputs.loss is None
    assert torch.equal(model(**batch, return_dict=False)[0], outputs.logits)
    embeds = model.get_input_embeddings()(batch["input_ids"])
    by_embeds = model(inputs_embeds=embeds, attention_mask=batch["attention_mask"]).logits
    torch.testing.assert_close(by_embeds, outputs.logits)


@pytest.mark.parametrize("family", ["bert", "distilbert", "modernbert", "roformer"])
def test_token_types_are_the_encoders_business(family):
    model, batch = pooling_model(family), tiny_batch()
    token_type_ids = torch.zeros_like(batch["input_ids"])
    assert torch.equal(model(**batch, token_type_ids=token_type_ids).logits, model(**batch).logits)
    if family == "bert":
        assert not torch.equal(model(**batch, token_type_ids=token_type_ids + 1).logits, model(**batch).logits)


@pytest.mark.parametrize(
    "overrides, labels, reference",
    [
        ({}, torch.tensor([0, 2, 1, 0]), torch.nn.functional.cross_entropy),
        (
            {"problem_type": "multi_label_classification"},
            torch.tensor([[1.0, 0, 1], [0, 0, 0], [1, 1, 1], [0, 1, 0]]),
            torch.nn.functional.binary_cross_entropy_with_logits,
        ),
        ({"num_labels": 1}, torch.tensor([[0.5], [1.0], [-1.0], [2.0]]), torch.nn.functional.mse_loss),
    ],
)
def test_labels_give_the_loss_of_the_task_and_leave_the_config_alone(overrides, labels, reference):
    model = pooling_model(**overrides)
    problem_type = model.config.problem_type
    outputs = model(**tiny_batch(), labels=labels)
    torch.testing.assert_close(outputs.loss, reference(outputs.logits, labels))
    assert model.config.problem_type == problem_type


def test_the_head_starts_as_the_linear_layers_of_torch_do():
    config = tiny_config("bert", initializer_range=0.02)
    head = MeanPoolingForSequenceClassification(config).classifier
    for parameter, fan_in in ((head.weight, 32), (head.bias, 32), (head.out_proj.weight, 128)):
        assert 0.9 * fan_in**-0.5 < parameter.abs().max() <= fan_in**-0.5


# ---- mixing ----


@pytest.mark.parametrize("family, attention, overrides", VARIANTS, ids=variant_name)
def test_equals_two_streams_at_every_layer(family, attention, overrides):
    model, batch = pooling_model(family, attention, **overrides), tiny_batch()
    plain = model(**batch).logits
    pad = "keep" if family in PADS_UNDEFINED else "mix"
    union = batch["attention_mask"] | batch["attention_mask"][PARTNER]
    states = []
    hook = model.base_model.register_forward_hook(lambda m, a, output: states.append(output.last_hidden_state))
    expected = {}
    for layer in range(DEPTH + 1):
        two_stream_logits(model, batch, PARTNER, LAM, layer, pad)
        expected[layer] = by_hand(model, states[-1], union)
    hook.remove()

    mixer = make_mixable(model)
    assert mixer.depth == DEPTH and mixer.stack.heads == [model.classifier.out_proj]
    assert torch.equal(model(**batch).logits, plain)
    for layer in range(DEPTH + 1):
        mixed = mixed_logits(model, layer)
        torch.testing.assert_close(mixed, expected[layer], rtol=1e-5, atol=1e-5)
        assert not torch.allclose(mixed[0], plain[0], atol=1e-3)
        swapped = mixed_logits(model, layer, torch.tensor([0, 0, 0, 0]), torch.tensor([1.0, 0.0, 0.0, 0.0]))
        if family != "fnet":
            torch.testing.assert_close(swapped, plain[[0, 0, 0, 0]], rtol=1e-4, atol=1e-4)
    # The last layer is affine, and its input is of each text's own tokens.
    expected_at_head = LAM[:, None] * plain + (1 - LAM[:, None]) * plain[PARTNER]
    torch.testing.assert_close(mixed_logits(model, "head"), expected_at_head, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("family", [f for f in FAMILIES if f not in SEES_PADDING])
def test_logits_do_not_change_with_padding(family):
    model = pooling_model(family)
    logits = [model(**tiny_batch(longest=longest)).logits for longest in (12, 20)]
    torch.testing.assert_close(logits[0], logits[1], rtol=1e-5, atol=1e-5)
    for layer in LAYERS:
        logits = [mixed_logits(model, layer, batch=tiny_batch(longest=longest)) for longest in (12, 20)]
        torch.testing.assert_close(logits[0], logits[1], rtol=1e-5, atol=1e-5)


def test_what_a_config_says_of_its_own_head_does_not_concern_this_one():
    model = pooling_model("eurobert", num_key_value_heads=4, classifier_pooling="late")
    plain = model(**tiny_batch()).logits
    # Not among the tested types: probed.
    assert make_mixable(model).stack.heads == [model.classifier.out_proj]
    expected = LAM[:, None] * plain + (1 - LAM[:, None]) * plain[PARTNER]
    torch.testing.assert_close(mixed_logits(model, "head"), expected, rtol=1e-5, atol=1e-5)


def test_the_mask_may_come_by_position_or_not_at_all():
    model, batch = pooling_model(), tiny_batch()
    expected = mixed_logits(model, 2)
    with model.mixer.applying(MixPlan(INDEX, LAM, layer=2)):
        assert torch.equal(model(batch["input_ids"], batch["attention_mask"]).logits, expected)
        everywhere = model(batch["input_ids"], torch.ones_like(batch["input_ids"])).logits
        torch.testing.assert_close(model(batch["input_ids"]).logits, everywhere)
        with pytest.raises(RuntimeError, match="MeanPoolingForSequenceClassification pools with the attention mask"):
            model.forward(**batch)


@pytest.mark.parametrize("family", ["bert", "roberta", "deberta-v2", "modernbert"])
@pytest.mark.parametrize("reentrant", [False, True], ids=["non-reentrant", "reentrant"])
def test_gradients_are_the_same_with_activation_checkpointing(family, reentrant):
    model = pooling_model(family, "eager" if family in WITHOUT_SDPA else "sdpa").train()
    mixer, plan = make_mixable(model), MixPlan(INDEX, LAM, layer=2)

    def gradients():
        model.zero_grad()
        with mixer.applying(plan):
            loss = model(**tiny_batch()).logits.square().sum()
        loss.backward()
        return {name: p.grad.clone() for name, p in model.named_parameters()}

    expected = gradients()
    model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": reentrant})
    assert model.is_gradient_checkpointing
    for name, gradient in gradients().items():
        torch.testing.assert_close(gradient, expected[name], rtol=1e-4, atol=1e-5)


def test_a_copied_and_a_pickled_model_mix_as_before():
    model = pooling_model()
    expected = {layer: mixed_logits(model, layer) for layer in LAYERS}
    buffer = io.BytesIO()
    torch.save(model, buffer)
    buffer.seek(0)
    for twin in (copy.deepcopy(model), torch.load(buffer, weights_only=False)):
        assert twin.mixer is not model.mixer and twin.mixer.stack.model is twin
        for layer in LAYERS:
            assert torch.equal(mixed_logits(twin, layer), expected[layer])


# ---- a model as any other ----


@pytest.mark.parametrize("family", FAMILIES)
def test_the_head_is_all_that_is_outside_the_base_model(family):
    model = pooling_model(family)
    ids = {id(p) for p in make_mixable(model).head_parameters()}
    assert {name for name, p in model.named_parameters() if id(p) in ids} == {
        "classifier.weight",
        "classifier.bias",
        "classifier.out_proj.weight",
        "classifier.out_proj.bias",
    }
    prefix = tiny_model(family).base_model_prefix
    assert model.base_model is getattr(model, prefix) and model.base_model_prefix == prefix
    assert model.supports_gradient_checkpointing == (family not in WITHOUT_CHECKPOINTING)


@pytest.mark.parametrize("family", FAMILIES)
def test_embeddings_can_be_resized(family):
    model = pooling_model(family)
    width = model.get_input_embeddings().weight.shape[1]
    model.resize_token_embeddings(70)
    assert model.get_input_embeddings() is model.base_model.get_input_embeddings()
    assert model.get_input_embeddings().weight.shape == (70, width) and model.config.vocab_size == 70
    batch = {name: value.clone() for name, value in tiny_batch().items()}
    batch["input_ids"][:, 1] = 69
    assert mixed_logits(model, 2, batch=batch).shape == (4, 3)


def test_the_attention_is_the_encoders(tmp_path):
    model = pooling_model("bert", "sdpa")
    assert model.config._attn_implementation == model.bert.config._attn_implementation == "sdpa"
    logits = model(**tiny_batch()).logits
    model.set_attn_implementation("eager")
    assert model.bert.config._attn_implementation == "eager"
    torch.testing.assert_close(model(**tiny_batch()).logits, logits, rtol=1e-4, atol=1e-5)
    model.save_pretrained(tmp_path)
    load = MixableModelForSequenceClassification.from_pretrained
    assert load(tmp_path).config._attn_implementation == "sdpa"
    assert load(tmp_path, attn_implementation="eager").config._attn_implementation == "eager"
    assert load(tmp_path, dtype=torch.bfloat16)(**tiny_batch()).logits.dtype == torch.bfloat16
    assert pooling_model("deberta", None).config._attn_implementation == "eager"
    with pytest.raises(ValueError, match=r"does not support .*scaled_dot_product_attention"):
        pooling_model("deberta", "sdpa")


# ---- checkpoints ----


@pytest.mark.parametrize("family", FAMILIES)
def test_checkpoints(family, tmp_path, caplog):
    """Back bit for bit without naming the head again; the encoder for everybody; an error for a class of another head."""
    model = pooling_model(family)
    make_mixable(model)
    model.save_pretrained(tmp_path)
    saved = json.loads((tmp_path / "config.json").read_text())
    assert saved["architectures"] == ["MeanPoolingForSequenceClassification"]
    assert saved["mixtext_head"] == "mean_pooling" and saved["model_type"] == family
    loaded = MixableModelForSequenceClassification.from_pretrained(tmp_path, attn_implementation="eager").eval()
    assert type(loaded) is MeanPoolingForSequenceClassification and "mixer" in vars(loaded)
    assert_same_weights(weights(loaded), weights(model))
    for layer in (None, *LAYERS):
        lam = torch.ones(4) if layer is None else LAM
        assert torch.equal(mixed_logits(loaded, layer, lam=lam), mixed_logits(model, layer, lam=lam))

    encoder = AutoModel.from_pretrained(tmp_path, attn_implementation="eager").eval()
    assert torch.equal(encoder(**tiny_batch()).last_hidden_state, model.base_model(**tiny_batch()).last_hidden_state)
    with pytest.raises(RuntimeError, match="ignore_mismatched_sizes"):
        AutoModelForSequenceClassification.from_pretrained(tmp_path)


def test_plain_tools_do_not_take_the_checkpoint_for_another(tmp_path):
    pooling_model().save_pretrained(tmp_path)
    with pytest.raises(RuntimeError, match="ignore_mismatched_sizes"):
        AutoModelForTokenClassification.from_pretrained(tmp_path)
    with pytest.raises((RuntimeError, ValueError, OSError)):
        pipeline("text-classification", str(tmp_path))


def test_starting_from_other_checkpoints(tmp_path):
    load = MixableModelForSequenceClassification.from_pretrained
    classifier = tiny_model()
    classifier.bert.save_pretrained(tmp_path / "encoder")
    classifier.save_pretrained(tmp_path / "classifier")
    model = load(tmp_path / "encoder", num_labels=5, head="mean_pooling")
    again = load(tmp_path / "classifier", num_labels=5, head="mean_pooling", ignore_mismatched_sizes=True)
    for each in (model, again):
        assert each.config.num_labels == 5 and each.classifier.out_proj.out_features == 5
        for name, value in each.bert.state_dict().items():
            assert torch.equal(value, classifier.bert.state_dict()[name]), name
        assert 0.05 < each.classifier.out_proj.weight.abs().max() < 0.09
    with pytest.raises(RuntimeError, match="ignore_mismatched_sizes"):
        load(tmp_path / "classifier", head="mean_pooling")
    assert type(load(tmp_path / "classifier")).__name__ == "BertForSequenceClassification"
    # And on with the head as it is; a config object is as good as a file.
    model.save_pretrained(tmp_path / "pooling")
    for further in (
        load(tmp_path / "pooling", head="mean_pooling"),
        load(tmp_path / "encoder", config=model.config),
        load(tmp_path / "pooling", config=model.config),
        MeanPoolingForSequenceClassification.from_pretrained(tmp_path / "pooling"),
    ):
        assert type(further) is type(model) and further.config.num_labels == 5
    assert torch.equal(further.classifier.weight, model.classifier.weight)


def test_from_config_leaves_the_config_alone():
    config = tiny_config("bert")
    make = MixableModelForSequenceClassification.from_config
    model = make(config, head="mean_pooling", attn_implementation="eager")
    assert type(model) is MeanPoolingForSequenceClassification and model.mixer.depth == DEPTH
    assert "mixtext_head" not in config.to_dict()
    assert type(make(config)).__name__ == "BertForSequenceClassification"
    assert type(make(model.config)) is MeanPoolingForSequenceClassification


def test_heads_and_models_that_there_are_not(tmp_path):
    with pytest.raises(ValueError, match=r"head='cls' is no head .* use 'mean_pooling' .* or None"):
        MixableModelForSequenceClassification.from_pretrained("nowhere", head="cls")
    with pytest.raises(ValueError, match="head='' is no head"):
        MixableModelForSequenceClassification.from_config(tiny_config("bert"), head="")
    tiny_model(mixtext_head="of tomorrow").save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=r"config\.mixtext_head='of tomorrow' is no head"):
        MixableModelForSequenceClassification.from_pretrained(tmp_path)
    with pytest.raises(OSError, match="nowhere"):
        MixableModelForSequenceClassification.from_pretrained(str(tmp_path / "nowhere"))
    with pytest.raises(ValueError, match=r"head='mean_pooling' needs one encoder, .* T5Config \(type 't5'\)"):
        MeanPoolingForSequenceClassification(T5Config())


# ---- training ----


class StopAt(TrainerCallback):
    def __init__(self, step):
        self.step = step

    def on_step_end(self, args, state, control, **kwargs):
        control.should_training_stop = state.global_step == self.step


def train(output_dir, *callbacks, resume=None):
    args = arguments(
        output_dir,
        mix_method="tmix",
        optim="adamw_torch",
        learning_rate=1e-3,
        head_learning_rate=1e-2,
        lr_scheduler_type="linear",
        num_train_epochs=2,
        save_strategy="steps",
        save_steps=2,
    )
    model = pooling_model(dropout=0.1)
    trainer = make_trainer(model, args, tiny_rows(24), eval_dataset=tiny_rows(8), callbacks=[*callbacks])
    trainer.train(resume_from_checkpoint=resume)
    return trainer


def test_training_saving_and_resuming(tmp_path):
    whole = train(tmp_path / "whole")
    before = weights(pooling_model())
    assert all(
        not torch.equal(value, before[name]) for name, value in whole.model.classifier.named_parameters("classifier")
    )
    head = {id(p) for p in whole.model.classifier.parameters()}
    for group in whole.optimizer.param_groups:
        assert {id(p) in head for p in group["params"]} == {group["initial_lr"] == 1e-2}
    assert sum(len(g["params"]) for g in whole.optimizer.param_groups if g["initial_lr"] == 1e-2) == 4

    stopped = train(tmp_path / "stopped", StopAt(4))
    assert stopped.state.global_step == 4 < whole.state.global_step
    resumed = train(tmp_path / "stopped", resume=True)
    assert_same_weights(weights(resumed.model), weights(whole.model))

    whole.save_model(tmp_path / "model")
    loaded = MixableModelForSequenceClassification.from_pretrained(tmp_path / "model")
    assert type(loaded) is MeanPoolingForSequenceClassification
    assert_same_weights(weights(loaded), weights(whole.model))
    assert loaded.config.mixtext["method"] == "tmix" and loaded.config.mixtext_head == "mean_pooling"
    evaluated = make_trainer(loaded, arguments(tmp_path / "again"), eval_dataset=tiny_rows(8)).evaluate()
    assert evaluated["eval_loss"] == pytest.approx(whole.evaluate()["eval_loss"], rel=1e-4)


# ---- PEFT ----


@pytest.mark.parametrize("order", ["mixable first", "PEFT first"])
@pytest.mark.parametrize("task_type", [None, "SEQ_CLS"])
def test_peft(order, task_type, tmp_path):
    peft = pytest.importorskip("peft")
    plain = pooling_model()
    inner = copy.deepcopy(plain)
    if order == "mixable first":
        make_mixable(inner)
    config = peft.LoraConfig(
        r=4,
        task_type=task_type,
        target_modules=["query", "dense"],
        modules_to_save=["classifier"],
        init_lora_weights=False,
    )
    model = peft.get_peft_model(inner, config).eval()
    trained = {name for name, p in model.named_parameters() if p.requires_grad and "lora" not in name}
    assert len(trained) == 4 and all("classifier.modules_to_save" in name for name in trained)
    assert {id(p) for p in make_mixable(model).head_parameters() if p.requires_grad} == {
        id(p) for name, p in model.named_parameters() if name in trained
    }
    expected = {layer: mixed_logits(model, layer) for layer in LAYERS}
    merged = copy.deepcopy(model).merge_and_unload()
    reference = type(merged)(copy.deepcopy(merged.config)).eval()
    reference.load_state_dict(merged.state_dict())
    for layer in LAYERS:
        torch.testing.assert_close(mixed_logits(reference, layer), expected[layer], rtol=1e-4, atol=1e-5)
    model.save_pretrained(tmp_path)
    loaded = peft.PeftModel.from_pretrained(copy.deepcopy(plain), tmp_path).eval()
    for layer in LAYERS:
        assert torch.equal(mixed_logits(loaded, layer), expected[layer])
