"""Token classification models: mixed at every layer as two streams are, and what they cannot be asked for."""

import pytest
import torch
from sentences import token_model
from tiny import DEPTH, has_family, tiny_batch, tiny_model
from two_streams import two_stream_logits

from mixtext_hf.functional import MixPlan, make_mixable
from mixtext_hf.models import MixableModelForTokenClassification
from mixtext_hf.models.modality import classifies_tokens


INDEX = torch.tensor([2, 0, 3, 1])
LAM = torch.tensor([0.3, 0.6, 0.9, 0.8])
FAMILIES = (
    "albert",
    "bert",
    "camembert",
    "deberta-v2",
    "distilbert",
    "electra",
    "llama",
    "modernbert",
    "mpnet",
    "qwen2",
    "roberta",
    "xlm-roberta",
)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("pad", ["mix", "keep"])
def test_equals_two_streams_at_every_layer(family, pad):
    if not has_family(family):
        pytest.skip(f"the installed transformers has no {family}")
    model = token_model(family).eval()
    batch = tiny_batch()
    really = "keep" if family in ("deberta-v2", "llama", "modernbert", "qwen2") else pad
    expected = [two_stream_logits(model, batch, INDEX, LAM, layer, really) for layer in range(DEPTH + 1)]
    mixer = make_mixable(model)
    real = (batch["attention_mask"] | batch["attention_mask"][INDEX]).bool()
    for layer in range(DEPTH + 1):
        with mixer.applying(MixPlan(INDEX, LAM, layer=layer, pad=pad)):
            mixed = model(**batch).logits
        assert mixed.shape == (4, 12, 3)
        torch.testing.assert_close(mixed[real], expected[layer][real], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("family", ["llama", "qwen2"])
def test_decoders_are_mixed_position_by_position_too(family):
    """Each word has a state of its own: nothing is read at the last one."""
    model = token_model(family, "sdpa").eval()
    batch = tiny_batch()
    expected = [two_stream_logits(model, batch, INDEX, LAM, layer, "keep") for layer in range(DEPTH + 1)]
    mixer = make_mixable(model)
    assert not mixer.reads_last_token
    real = (batch["attention_mask"] | batch["attention_mask"][INDEX]).bool()
    for layer in range(DEPTH + 1):
        with mixer.applying(MixPlan(INDEX, LAM, layer=layer)):
            torch.testing.assert_close(model(**batch).logits[real], expected[layer][real], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("family", ["bert", "distilbert", "roberta"])
def test_more_padding_changes_no_logit_of_a_word(family):
    model = token_model(family).eval()
    mixer = make_mixable(model)
    short, long = tiny_batch(), tiny_batch(longest=16)
    for name in short:
        long[name][:, :12] = short[name]
    for layer in range(DEPTH + 1):
        with mixer.applying(MixPlan(INDEX, LAM, layer=layer)):
            torch.testing.assert_close(model(**long).logits[:, :12], model(**short).logits, rtol=1e-4, atol=1e-5)


def test_the_loader_makes_an_ordinary_model_with_hooks(tmp_path):
    token_model("distilbert").save_pretrained(tmp_path)
    model = MixableModelForTokenClassification.from_pretrained(tmp_path)
    assert type(model).__name__ == "DistilBertForTokenClassification" and model.mixer.depth == DEPTH
    assert MixableModelForTokenClassification.from_config(model.config).mixer.depth == DEPTH
    with pytest.raises(OSError, match="is a loader"):
        MixableModelForTokenClassification()


def test_there_is_no_vector_of_a_text_to_mix():
    mixer = make_mixable(token_model())
    with pytest.raises(ValueError, match="reads every token"):
        mixer.check_layer("head")


def test_which_models_classify_tokens():
    assert classifies_tokens(token_model()) and not classifies_tokens(tiny_model())
