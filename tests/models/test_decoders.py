"""Decoders, whose head reads the last token: every type at every layer against two streams, padded on the left; what is refused, and why."""

import pytest
import torch
from tiny import DECODERS, DEPTH, WITHOUT_SDPA, has_family, tiny_batch, tiny_config, tiny_model, widen
from torch import nn
from transformers import LlamaConfig, LlamaModel, LlamaPreTrainedModel
from transformers.modeling_outputs import SequenceClassifierOutput
from two_streams import two_stream_logits

from mixtext_hf.functional import MixPlan, make_mixable
from mixtext_hf.models import MeanPoolingForSequenceClassification
from mixtext_hf.models.last_token import reads_last_token


INDEX = torch.tensor([2, 0, 3, 1])
LAM = torch.tensor([0.3, 0.6, 1.0, 0.8])
# A row with lambda 1 is its own partner in the reference as well.
PARTNERS = torch.where(LAM == 1, torch.arange(4), INDEX)
LAYERS = [*range(DEPTH + 1), "head"]
# Masks for each kind of layer, sliding windows and none: of these three all that there is.
IN_FULL = ("gemma3_text", "llama", "mistral")


def attention_of(kind):
    return "eager" if kind in WITHOUT_SDPA else "sdpa"


def shallow(kind, is_shallow):
    """Tests of the other types, as far as these three hold what they show."""
    return () if kind in IN_FULL or is_shallow else pytest.mark.deep


VARIANTS = [
    pytest.param(kind, attention, is_causal, marks=shallow(kind, attention == attention_of(kind) and is_causal))
    for kind in DECODERS
    for attention in sorted({"eager", attention_of(kind)})
    for is_causal in (True, False)
]


def decoder(kind="llama", attention="sdpa", **overrides):
    if not has_family(kind.removesuffix("_text")):
        pytest.skip(f"the installed transformers has no {kind}")
    return tiny_model(kind, attention, **overrides).eval()


def left(**settings):
    return tiny_batch(**settings, side="left")


def mixed_logits(model, layer, batch=None, index=INDEX, lam=LAM, pad="mix"):
    with make_mixable(model).applying(MixPlan(index, lam, layer=layer, pad=pad)):
        return model(**(batch or left())).logits


@pytest.mark.parametrize("kind, attention, is_causal", VARIANTS)
def test_equals_two_streams_at_every_layer(kind, attention, is_causal):
    model = decoder(kind, attention, **({} if is_causal else {"is_causal": False}))
    batch = left()
    plain = model(**batch).logits
    # Padding has no states of its own, so that it is kept out of the mix.
    expected = {layer: two_stream_logits(model, batch, PARTNERS, LAM, layer, "keep") for layer in range(DEPTH + 1)}
    # The head is linear, without a bias.
    expected["head"] = LAM[:, None] * plain + (1 - LAM[:, None]) * plain[PARTNERS]
    make_mixable(model)
    assert torch.equal(model(**batch).logits, plain)
    become_row_0 = {"index": torch.zeros(4, dtype=torch.long), "lam": torch.tensor([1.0, 0, 0, 0])}
    for layer in LAYERS:
        mixed = mixed_logits(model, layer)
        torch.testing.assert_close(mixed, expected[layer], rtol=1e-4, atol=1e-5)
        assert torch.equal(mixed, mixed_logits(model, layer, pad="keep"))
        assert not torch.allclose(mixed[0], plain[0], atol=1e-3)
        torch.testing.assert_close(mixed[2], plain[2], rtol=1e-4, atol=1e-5)
        swapped = mixed_logits(model, layer, **become_row_0)
        torch.testing.assert_close(swapped, plain[[0, 0, 0, 0]], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kind", [pytest.param(kind, marks=shallow(kind, False)) for kind in DECODERS])
def test_attention_is_causal_unless_the_config_says_otherwise(kind):
    """What the variants above rest on: the last token changes an earlier one in a bidirectional decoder alone."""
    batch = left(lengths=(6, 6))
    batch["input_ids"][1] = batch["input_ids"][0]
    batch["input_ids"][1, -1] += 1
    for is_causal in (True, False):
        model = decoder(kind, "eager", **({} if is_causal else {"is_causal": False}))
        first = model(**batch, output_hidden_states=True).hidden_states[2][:, 0]
        assert torch.allclose(first[0], first[1], atol=1e-5) == is_causal


@pytest.mark.parametrize("is_causal", [True, False])
@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@pytest.mark.parametrize("kind", ["llama", "mistral", "gemma3_text"])
def test_logits_do_not_change_with_padding(kind, attention, is_causal):
    model = decoder(kind, attention, **({} if is_causal else {"is_causal": False}))
    for layer in LAYERS:
        logits = [mixed_logits(model, layer, left(longest=longest)) for longest in (12, 20)]
        torch.testing.assert_close(logits[0], logits[1], rtol=1e-4, atol=1e-5)


def test_both_attentions_mix_alike():
    one, other = decoder(attention="eager"), decoder(attention="sdpa")
    for layer in LAYERS:
        torch.testing.assert_close(mixed_logits(one, layer), mixed_logits(other, layer), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("reentrant", [False, True], ids=["non-reentrant", "reentrant"])
@pytest.mark.parametrize("kind", [pytest.param(kind, marks=shallow(kind, False)) for kind in DECODERS])
def test_gradients_are_the_same_with_activation_checkpointing(kind, reentrant):
    model = decoder(kind, attention_of(kind)).train()
    mixer, plan = make_mixable(model), MixPlan(INDEX, LAM, layer=2)

    def gradients():
        model.zero_grad()
        with mixer.applying(plan):
            loss = model(**left()).logits.square().sum()
        loss.backward()
        return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}

    expected = gradients()
    model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": reentrant})
    actual = gradients()
    assert actual.keys() == expected.keys()
    for name in expected:
        torch.testing.assert_close(actual[name], expected[name], rtol=1e-4, atol=1e-4, msg=f"{name} differs")


# ---- where a row is read ----


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("with_mask", [True, False])
def test_padding_on_the_right_is_refused_with_the_reason(layer, with_mask):
    model = decoder()
    batch = tiny_batch() if with_mask else {"input_ids": tiny_batch()["input_ids"]}
    plain = model(**batch).logits
    message = (
        "The head of LlamaForSequenceClassification reads the last token .*: row 3 of this batch ends at position 3, row 0 ends at "
        "position 11 of 12.* same place. Pad on the left, tokenizer.padding_side = 'left'"
    )
    with pytest.raises(ValueError, match=message):
        mixed_logits(model, layer, batch)
    # Unmixed it is in order.
    assert torch.equal(model(**batch).logits, plain)


def test_the_mask_is_asked_as_well_as_the_ids():
    model, batch = decoder(), left()
    batch["attention_mask"][1, -2:] = 0
    with pytest.raises(ValueError, match="row 1 of this batch ends at position 9, row 0 ends at position 11"):
        mixed_logits(model, 2, batch)


def test_a_row_without_a_token_is_refused():
    batch = left()
    batch["input_ids"][2] = 0
    with pytest.raises(ValueError, match=r"row 2 of this batch has no token.* leave out rows without a token"):
        mixed_logits(decoder(), 2, batch)


def test_padding_on_the_right_of_all_rows_alike_is_in_order():
    model = decoder()
    batch = tiny_batch((6, 6, 6, 6), longest=8)
    expected = two_stream_logits(model, batch, PARTNERS, LAM, 2, "keep")
    torch.testing.assert_close(mixed_logits(model, 2, batch), expected, rtol=1e-4, atol=1e-5)


def test_a_padding_token_that_ends_every_text_is_in_order():
    """Where one token pads and ends a text, the head reads the token before it, in every row."""
    model, batch = decoder(), left()
    batch["input_ids"][:, -1] = model.config.pad_token_id
    plain = model(**batch).logits
    swapped = mixed_logits(model, 2, batch, torch.zeros(4, dtype=torch.long), torch.tensor([1.0, 0, 0, 0]))
    torch.testing.assert_close(swapped, plain[[0, 0, 0, 0]], rtol=1e-4, atol=1e-5)


def test_embeddings_in_place_of_ids_are_refused():
    model, batch = decoder(), left()
    embedded = {
        "inputs_embeds": model.get_input_embeddings()(batch["input_ids"]),
        "attention_mask": batch["attention_mask"],
    }
    mixer = make_mixable(model)
    model(**embedded)
    with (
        mixer.applying(MixPlan(INDEX, LAM, layer=1)),
        pytest.raises(ValueError, match=r"called with inputs_embeds .* input_ids"),
    ):
        model(**embedded)


def test_positions_that_differ_between_rows_are_refused():
    model, batch = decoder(), left()
    positions = (batch["attention_mask"].cumsum(dim=1) - 1).clamp(min=0)
    with pytest.raises(
        ValueError, match=r"position_ids that LlamaForSequenceClassification .* differ between the rows"
    ):
        mixed_logits(model, 1, {**batch, "position_ids": positions})
    same = torch.arange(12).expand(4, -1)
    assert torch.equal(mixed_logits(model, 1, {**batch, "position_ids": same}), mixed_logits(model, 1))


def test_without_a_padding_token_it_says_what_to_set():
    model = decoder()
    model.config.pad_token_id = None
    make_mixable(model)
    with pytest.raises(ValueError, match=r"config.pad_token_id of LlamaForSequenceClassification is None"):
        mixed_logits(model, 1)


# ---- types that nobody tested ----

_GPT2 = {"n_embd": 32, "n_head": 4, "n_layer": DEPTH, "n_positions": 64}
ACCEPTED = {"arcee": {}, "nemotron": {}, "persimmon": {}, "mixtral": {"num_local_experts": 4}}
REFUSED = {
    "bloom": ({"n_layer": DEPTH, "n_head": 4}, "lambda 0 must turn a row into its partner"),
    "gpt2": (_GPT2, "padded on the left, and there it counts the padding as positions"),
    "gpt_bigcode": (_GPT2, "counts the padding as positions"),
    "opt": ({"ffn_dim": 48, "word_embed_proj_dim": 32}, "receive a tensor 'position_ids' that differs"),
}


@pytest.mark.parametrize("pad", [0, None, -1, 999])
@pytest.mark.parametrize("kind", ACCEPTED)
def test_other_types_are_probed_on_the_left(kind, pad):
    model = decoder(kind, **{"num_key_value_heads": 2, "bos_token_id": 1, "eos_token_id": 2, **ACCEPTED[kind]})
    model.config.pad_token_id = pad
    assert make_mixable(model).reads_last_token and not model.mixer.stack.pads_are_defined
    assert model.config.pad_token_id == pad
    model.config.pad_token_id = 0
    plain = model(**left()).logits
    for layer in LAYERS:
        swapped = mixed_logits(model, layer, None, torch.zeros(4, dtype=torch.long), torch.tensor([1.0, 0, 0, 0]))
        torch.testing.assert_close(swapped, plain[[0, 0, 0, 0]], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kind", REFUSED)
def test_types_that_fail_the_probe_are_refused_with_the_reason(kind):
    overrides, reason = REFUSED[kind]
    model = decoder(kind, "eager", **overrides)
    with pytest.raises(ValueError, match=reason):
        make_mixable(model)
    assert not hasattr(model, "mixer")


class OwnConfig(LlamaConfig):
    model_type = "own_llama"


class OwnDecoder(LlamaPreTrainedModel):
    """Neither its type nor its class says that it reads the last token, which it finds by the mask."""

    config_class = OwnConfig

    def __init__(self, config):
        super().__init__(config)
        self.model = LlamaModel(config)
        self.score = nn.Linear(config.hidden_size, config.num_labels)
        self.post_init()

    def forward(self, input_ids=None, attention_mask=None, **kwargs):
        outputs = self.model(input_ids, attention_mask=attention_mask, **kwargs)
        last = (attention_mask * torch.arange(1, input_ids.shape[1] + 1)).argmax(dim=1)
        pooled = outputs.last_hidden_state[torch.arange(len(last)), last]
        return SequenceClassifierOutput(logits=self.score(pooled), hidden_states=outputs.hidden_states)


def test_what_reads_the_last_token_unknown_to_anybody_is_found_by_the_probe():
    model = OwnDecoder(OwnConfig(**{k: v for k, v in tiny_config("llama").to_dict().items() if k != "model_type"}))
    widen(model, std=0.2)
    model.eval()
    assert not reads_last_token(model) and make_mixable(model).reads_last_token
    plain = model(**left()).logits
    swapped = mixed_logits(model, 2, None, torch.zeros(4, dtype=torch.long), torch.tensor([1.0, 0, 0, 0]))
    torch.testing.assert_close(swapped, plain[[0, 0, 0, 0]], rtol=1e-4, atol=1e-4)
    with pytest.raises(ValueError, match="padding_side = 'left'"):
        mixed_logits(model, 2, tiny_batch())


def test_a_class_of_ones_own_is_told_by_its_base():
    model = decoder()
    model.config.model_type = "own_llama"
    assert reads_last_token(model) and make_mixable(model).reads_last_token


def test_a_head_that_takes_the_mean_is_padded_as_anybody_likes():
    model = MeanPoolingForSequenceClassification(tiny_config("llama")).eval()
    widen(model, std=0.2)
    assert not make_mixable(model).reads_last_token
    for batch in (tiny_batch(), left()):
        plain = model(**batch).logits
        for layer in LAYERS:
            swapped = mixed_logits(model, layer, batch, torch.zeros(4, dtype=torch.long), torch.tensor([1.0, 0, 0, 0]))
            torch.testing.assert_close(swapped, plain[[0, 0, 0, 0]], rtol=1e-4, atol=1e-4)
