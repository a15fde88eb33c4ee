"""The longest text that a model takes, against the model itself: one token more is an index out of range."""

from __future__ import annotations

import pytest
import torch
from tiny import VOCAB_SIZE, has_family, tiny_model, tiny_tokenizer
from transformers import AutoConfig, AutoModelForSequenceClassification

from mixtext_hf.models.lengths import check_max_length, check_tokenizer_fits, longest_text, usable_positions


_AFTER_PADDING = (
    "camembert",
    "data2vec-text",
    "ibert",
    "roberta",
    "roberta-prelayernorm",
    "xlm-roberta",
    "xlm-roberta-xl",
)
_SIZES = {
    "vocab_size": VOCAB_SIZE,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_attention_heads": 4,
    "num_hidden_layers": 1,
    "max_position_embeddings": 20,
    "num_labels": 3,
}


def build(model_type, **overrides):
    if not has_family({"data2vec-text": "data2vec"}.get(model_type, model_type)):
        pytest.skip(f"the installed transformers has no {model_type}")
    given = {**_SIZES, "pad_token_id": 1, "bos_token_id": 2, "eos_token_id": 3, **overrides}
    return AutoModelForSequenceClassification.from_config(AutoConfig.for_model(model_type, **given)).eval()


def run(model, length):
    ids = torch.full((2, length), 7)
    with torch.no_grad():
        return model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits


@pytest.mark.parametrize("model_type", _AFTER_PADDING)
@pytest.mark.parametrize("padding", [0, 1, 3])
def test_positions_that_are_numbered_after_the_padding(model_type, padding):
    model = build(model_type, pad_token_id=padding)
    limit = usable_positions(model.config)
    assert limit == 20 - padding - 1
    assert run(model, limit).shape == (2, 3)
    with pytest.raises((IndexError, RuntimeError)):
        run(model, limit + 1)


def test_roberta_as_it_is_published():
    config = AutoConfig.for_model("roberta", max_position_embeddings=514, pad_token_id=1)
    assert usable_positions(config) == 512
    # Its padding is always 1, whatever the config says.
    model = build("mpnet", pad_token_id=0)
    assert usable_positions(model.config) == 18 and run(model, 18).shape == (2, 3)
    with pytest.raises((IndexError, RuntimeError)):
        run(model, 19)


@pytest.mark.parametrize("model_type", ["bert", "distilbert", "electra", "gpt2", "opt", "fnet", "albert"])
def test_positions_that_are_numbered_from_0(model_type):
    own = {
        "gpt2": {"n_embd": 32, "n_head": 4, "n_layer": 1, "n_positions": 20},
        "distilbert": {"dim": 32, "n_heads": 4},
    }
    model = build(model_type, **own.get(model_type, {}))
    assert usable_positions(model.config) == 20 and run(model, 20).shape == (2, 3)
    with pytest.raises((IndexError, RuntimeError)):
        run(model, 21)


@pytest.mark.parametrize(
    "model_type, overrides, limit",
    [
        ("deberta-v2", {"relative_attention": True, "position_biased_input": False}, None),
        ("deberta-v2", {"relative_attention": True, "position_biased_input": True}, 20),
        ("t5", {"d_model": 32, "d_kv": 8, "d_ff": 48, "num_layers": 1, "num_heads": 4}, None),
        ("xlnet", {"d_model": 32, "n_layer": 1, "n_head": 4, "d_inner": 48}, None),
        ("modernbert", {"max_position_embeddings": 8192}, 8192),
        ("llama", {}, 20),
        ("esm", {"position_embedding_type": "rotary"}, 20),
        ("esm", {"position_embedding_type": "absolute"}, 18),
        ("bloom", {}, None),
    ],
)
def test_relative_positions_have_no_limit_and_rotary_ones_that_of_the_config(model_type, overrides, limit):
    sizes = dict(_SIZES)
    if model_type in ("t5", "xlnet", "bloom"):
        sizes = {"vocab_size": VOCAB_SIZE}
    assert usable_positions(AutoConfig.for_model(model_type, **{**sizes, "pad_token_id": 1, **overrides})) == limit


def test_the_longest_text_is_what_both_can_take():
    tokenizer, config = tiny_tokenizer(), AutoConfig.for_model("roberta", **_SIZES, pad_token_id=1)
    relative = AutoConfig.for_model("deberta-v2", **_SIZES, position_biased_input=False)
    tokenizer.model_max_length = 10**30
    assert longest_text(config, tokenizer) == 18 and longest_text(relative, tokenizer) is None
    tokenizer.model_max_length = 12
    assert longest_text(config, tokenizer) == 12 and longest_text(relative, tokenizer) == 12
    check_max_length("max_length", 12, config, tokenizer)
    for wrong in (1, 13):
        with pytest.raises(ValueError, match=rf"max_length={wrong} must lie in 2..12, which is what the model takes"):
            check_max_length("max_length", wrong, config, tokenizer)
    tokenizer.model_max_length = 10**30
    check_max_length("max_length", 100_000, relative, tokenizer)
    with pytest.raises(ValueError, match="max_length=1 must be at least 2"):
        check_max_length("max_length", 1, relative, tokenizer)


def test_a_tokenizer_may_not_have_more_tokens_than_the_model():
    tokenizer, model = tiny_tokenizer(), tiny_model()
    tokens = len(tokenizer)
    check_tokenizer_fits(tokenizer, model)
    tokenizer.add_tokens([f"new{i}" for i in range(VOCAB_SIZE + 1 - tokens)])
    message = rf"{VOCAB_SIZE + 1} tokens, and BertFor\w+ embeddings for {VOCAB_SIZE}: .*resize_token_embeddings"
    with pytest.raises(ValueError, match=message):
        check_tokenizer_fits(tokenizer, model)
    model.resize_token_embeddings(len(tokenizer))
    check_tokenizer_fits(tokenizer, model)
