"""Which models are refused, with which words, and what the probe leaves behind: nothing."""

import pytest
import torch
from tiny import VOCAB_SIZE, has_family, tiny_batch
from torch import nn
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForSequenceClassification,
    BertConfig,
    BertForSequenceClassification,
)
from transformers.modeling_outputs import BaseModelOutputWithPastAndCrossAttentions
from transformers.models.bert.modeling_bert import BertLayer

from mixtext_hf.functional import MixPlan, make_mixable
from mixtext_hf.models import REFUSED_MODEL_TYPES, find_stack


DEPTH = 3
SIZES = {
    "vocab_size": VOCAB_SIZE,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_attention_heads": 4,
    "num_hidden_layers": DEPTH,
    "max_position_embeddings": 64,
    "pad_token_id": 0,
    "num_labels": 3,
}
_FUNNEL = {"d_model": 32, "n_head": 4, "d_head": 8, "d_inner": 48, "block_sizes": [1, 1, 1]}
_REFORMER = {
    "attn_layers": ["local"] * DEPTH,
    "axial_pos_shape": (8, 8),
    "axial_pos_embds_dim": (16, 16),
    "attention_head_size": 8,
    "feed_forward_size": 48,
    "is_decoder": False,
}
REFUSED = {
    "big_bird": ({}, "block-sparse"),
    "canine": ({}, "down-sampled"),
    "funnel": (_FUNNEL, "shorten the sequence"),
    "longformer": ({"attention_window": 4}, "index masks"),
    "reformer": (_REFORMER, "hashing attention"),
    "xlnet": ({"d_model": 32, "n_layer": DEPTH, "n_head": 4, "d_inner": 48}, "sequence-first"),
}
_EUROBERT = {"head_dim": 8, "num_key_value_heads": 4}
ACCEPTED = [
    ("data2vec-text", {}),
    ("esm", {}),
    ("eurobert", {**_EUROBERT, "classifier_pooling": "bos"}),
    ("eurobert", {**_EUROBERT, "classifier_pooling": "mean"}),
    ("eurobert", {**_EUROBERT, "classifier_pooling": "late"}),
    ("luke", {"entity_vocab_size": 10, "entity_emb_size": 8}),
    ("roberta-prelayernorm", {}),
    (
        "roc_bert",
        {
            "pronunciation_vocab_size": 20,
            "shape_vocab_size": 20,
            "pronunciation_embed_dim": 8,
            "shape_embed_dim": 8,
        },
    ),
    ("xmod", {"languages": ["en_XX", "de_DE"]}),
]


def build(model_type, overrides, auto=AutoModelForSequenceClassification):
    folder = {"data2vec-text": "data2vec"}.get(model_type, model_type)
    if not has_family(folder):
        pytest.skip(f"the installed transformers has no {model_type}")
    sizes = dict(SIZES)
    if model_type in ("funnel", "xlnet"):
        # They do not let `num_hidden_layers` or the length be set.
        sizes = {name: sizes[name] for name in ("vocab_size", "pad_token_id", "num_labels")}
    config = AutoConfig.for_model(model_type, **{**sizes, **overrides})
    for name in ("bos_token_id", "eos_token_id"):
        if isinstance(getattr(config, name, None), int) and getattr(config, name) >= VOCAB_SIZE:
            setattr(config, name, None)
    model = auto.from_config(config)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.normal_(std=0.2)
    return model


def hooks_of(model):
    return [dict(hooks) for m in model.modules() for hooks in (m._forward_pre_hooks, m._forward_hooks)]


def assert_refused_without_a_trace(model, message):
    hooks, flags = hooks_of(model), [module.training for module in model.modules()]
    with pytest.raises(ValueError, match=message):
        make_mixable(model)
    assert hooks_of(model) == hooks and not hasattr(model, "mixer")
    assert [module.training for module in model.modules()] == flags


def test_the_refused_types_are_all_tested_here():
    # Those of images are tested beside the ones that work.
    assert set(REFUSED) | {"cvt", "poolformer", "pvt", "siglip2", "timm_wrapper"} == set(REFUSED_MODEL_TYPES)


@pytest.mark.parametrize("model_type", REFUSED)
def test_types_that_are_known_not_to_work_are_refused_with_the_reason(model_type):
    overrides, reason = REFUSED[model_type]
    model = build(model_type, overrides)
    assert_refused_without_a_trace(model, f"Models of type '{model_type}' cannot be mixed: .*{reason}")
    with pytest.raises(ValueError, match=reason):
        find_stack(model)


_DECODER = {"encoder_attention_heads": 4, "decoder_attention_heads": 4, "encoder_ffn_dim": 48, "decoder_ffn_dim": 48}


@pytest.mark.parametrize(
    "model_type, overrides",
    [
        ("bart", {"d_model": 32, "encoder_layers": 3, "decoder_layers": 3, **_DECODER}),
        ("mbart", {"d_model": 32, "encoder_layers": 3, "decoder_layers": 3, **_DECODER}),
        ("t5", {"d_model": 32, "d_kv": 8, "d_ff": 48, "num_layers": 3, "num_heads": 4}),
    ],
    ids=["bart", "mbart", "t5"],
)
def test_encoder_decoders_are_refused_for_their_decoder(model_type, overrides):
    model = build(model_type, {**overrides, "decoder_start_token_id": 1})
    assert_refused_without_a_trace(model, f"'{model_type}' cannot be mixed: it is an encoder-decoder, .* unmixed text")


def test_layers_that_are_called_past_their_hooks_are_said_to_be():
    model = build("squeezebert", {"embedding_size": 32})
    assert_refused_without_a_trace(model, "type 'squeezebert'.* called past their hooks")


def test_a_model_that_cannot_run_the_probe_says_why():
    model = build("xmod", {"languages": ["en_XX"]})
    assert_refused_without_a_trace(model, "the probe that would have to show .* fails: .*language")
    headless = build("data2vec-text", {}, AutoModel)
    assert_refused_without_a_trace(headless, "Data2VecTextModel .* fails: .*logits")


def test_models_with_two_lists_of_layers_are_refused():
    model = build("xlm", {"emb_dim": 32, "n_layers": DEPTH, "n_heads": 4})
    assert_refused_without_a_trace(model, "Several lists of 3 layers stand side by side")


def test_a_config_that_lies_about_its_depth_is_refused():
    model = BertForSequenceClassification(BertConfig(**SIZES))
    model.config.num_hidden_layers = 7
    assert_refused_without_a_trace(model, "No list of 7 layers was found in BertForSequenceClassification")


@pytest.mark.parametrize("model_type, overrides", ACCEPTED, ids=lambda v: v if isinstance(v, str) else "")
def test_untested_types_that_are_right_pass(model_type, overrides):
    model = build(model_type, overrides)
    if model_type == "xmod":
        model.set_default_language("en_XX")
    model.eval()
    plain = model(**tiny_batch()).logits
    mixer = make_mixable(model)
    assert mixer is model.mixer and mixer.depth == DEPTH and mixer.plan is None
    pooling = overrides.get("classifier_pooling")
    assert mixer.stack.head_pools_with_mask == (pooling in ("mean", "late"))
    assert bool(mixer.stack.heads) == (pooling != "late")
    assert torch.equal(model(**tiny_batch()).logits, plain)
    layers = [*range(DEPTH + 1), *(["head"] if mixer.stack.heads else [])]
    for layer in layers:
        with mixer.applying(MixPlan(torch.zeros(4, dtype=torch.long), torch.tensor([1.0, 0, 0, 0]), layer=layer)):
            swapped = model(**tiny_batch()).logits
        torch.testing.assert_close(swapped, plain[[0, 0, 0, 0]], rtol=1e-4, atol=1e-4)
        with mixer.applying(MixPlan(torch.tensor([1, 2, 3, 0]), torch.full((4,), 0.5), layer=layer)):
            assert not torch.allclose(model(**tiny_batch()).logits, plain, atol=1e-3)


@pytest.mark.parametrize("passes", [True, False])
def test_the_probe_leaves_no_trace(passes):
    model = build("luke", dict(ACCEPTED)["luke"]) if passes else unknown(HeadReadsIds)
    model.train()
    # A part that was frozen by hand stays frozen.
    next(model.base_model.children()).eval()
    flags = [module.training for module in model.modules()]
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    gradients = [p.requires_grad for p in model.parameters()]
    config, random_state = model.config.to_dict(), torch.get_rng_state()
    if passes:
        make_mixable(model)
    else:
        with pytest.raises(ValueError, match="would be wrong"):
            make_mixable(model)
    assert torch.equal(torch.get_rng_state(), random_state)
    assert [module.training for module in model.modules()] == flags
    assert {True, False} == set(flags)
    assert model.state_dict().keys() == weights.keys()
    assert all(torch.equal(value, weights[name]) for name, value in model.state_dict().items())
    assert [p.requires_grad for p in model.parameters()] == gradients
    assert all(p.grad is None for p in model.parameters())
    assert model.config.to_dict() == config


# ---- a BERT of an unknown type, whole and sabotaged ----


class UnknownConfig(BertConfig):
    model_type = "unknown_bert"


class Unknown(BertForSequenceClassification):
    config_class = UnknownConfig


class ScaledLayer(BertLayer):
    def forward(self, hidden_states, attention_mask, row_scale):
        return super().forward(hidden_states, attention_mask) * row_scale


class ScalingEncoder(nn.Module):
    """Hands its layers something of each row that is neither in the hidden states nor in the mask."""

    def __init__(self, config):
        super().__init__()
        self.layer = nn.ModuleList(ScaledLayer(config) for _ in range(config.num_hidden_layers))

    def forward(self, hidden_states, attention_mask=None, **kwargs):
        for layer in self.layer:
            hidden_states = layer(hidden_states, attention_mask, row_scale=self.row_scale)
        return BaseModelOutputWithPastAndCrossAttentions(last_hidden_state=hidden_states)


class HandsRowsToLayers(Unknown):
    def __init__(self, config):
        super().__init__(config)
        self.bert.encoder = ScalingEncoder(config)

    def forward(self, input_ids=None, attention_mask=None, **kwargs):
        self.bert.encoder.row_scale = 1 + input_ids[:, :1, None].float() / VOCAB_SIZE
        return super().forward(input_ids=input_ids, attention_mask=attention_mask, **kwargs)


class HandsTheSameToAllRows(HandsRowsToLayers):
    def forward(self, input_ids=None, attention_mask=None, **kwargs):
        self.bert.encoder.row_scale = torch.full((len(input_ids), 1, 1), 1.5)
        return BertForSequenceClassification.forward(self, input_ids=input_ids, attention_mask=attention_mask)


class HeadReadsIds(Unknown):
    def forward(self, input_ids=None, attention_mask=None, **kwargs):
        output = super().forward(input_ids=input_ids, attention_mask=attention_mask, **kwargs)
        output.logits = output.logits + input_ids[:, 1:2].float() / VOCAB_SIZE
        return output


def unknown(kind):
    model = kind(UnknownConfig(**SIZES))
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.normal_(std=0.2)
    return model


def test_an_unknown_type_that_is_right_passes():
    mixer = make_mixable(unknown(Unknown))
    assert mixer.depth == DEPTH and mixer.stack.pads_are_defined and len(mixer.stack.heads) == 1


def test_layers_that_receive_a_tensor_for_each_row_are_refused():
    assert_refused_without_a_trace(unknown(HandsRowsToLayers), "receive a tensor 'row_scale' that differs")


def test_what_all_rows_share_is_no_reason_to_refuse(monkeypatch):
    model = unknown(HandsTheSameToAllRows)
    # It cannot tell its hidden states, so it is not asked whether padding changes them.
    monkeypatch.setattr("mixtext_hf.models.probe._pads_are_defined", lambda *arguments: True)
    assert make_mixable(model).depth == DEPTH


def test_a_head_that_reads_the_ids_is_refused():
    message = r"mixing at layer 0 would be wrong: lambda 0 must turn a row .* head reads the token ids"
    assert_refused_without_a_trace(unknown(HeadReadsIds), message)


def test_a_listed_type_is_not_probed():
    model = BertForSequenceClassification(BertConfig(**SIZES))
    calls = []
    model.register_forward_pre_hook(lambda module, args: calls.append(args))
    make_mixable(model)
    assert calls == []


def test_a_model_that_gives_all_texts_the_same_logits_cannot_be_probed():
    model = unknown(Unknown)
    with torch.no_grad():
        for parameter in model.classifier.parameters():
            parameter.zero_()
    assert_refused_without_a_trace(model, "the same logits, so that the probe cannot tell")
