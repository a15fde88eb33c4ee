"""Translating with random tiny models: the order, what chance depends on, what is cut, which languages are refused."""

from __future__ import annotations

import pytest
import torch
from tiny import tiny_model, tiny_tokenizer
from transformers import M2M100Config, M2M100ForConditionalGeneration, NllbTokenizer
from translators import SIZES, WORDS, randomise, save_marian

from mixtext_hf.data.texts.back_translation import Translator, back_translate, default_device, default_dtype


MAX_LENGTH = 12
# As the published checkpoints have them.
PUBLISHED = {"num_beams": 4, "max_length": 512, "bad_words_ids": [[0]]}


@pytest.fixture(scope="module")
def marian(tmp_path_factory) -> str:
    return save_marian(tmp_path_factory.mktemp("marian"), longest=MAX_LENGTH, **PUBLISHED)


@pytest.fixture(scope="module")
def nllb(tmp_path_factory) -> str:
    folder = tmp_path_factory.mktemp("nllb")
    vocab = {"<s>": 0, "<pad>": 1, "</s>": 2, "<unk>": 3, "▁": 4, **{letter: 5 + i for i, letter in enumerate("wxyz")}}
    tokenizer = NllbTokenizer(vocab=vocab, merges=[])
    tokenizer.save_pretrained(folder)
    config = M2M100Config(vocab_size=len(tokenizer), **SIZES)
    model = M2M100ForConditionalGeneration(config)
    randomise(model, 0)
    model.save_pretrained(folder)
    return str(folder)


def record(translator: Translator) -> list[tuple[dict, torch.Tensor]]:
    """What goes into `generate` of the model from now on, and what comes out."""
    calls = []
    generate = type(translator.model).generate

    def recorded(**inputs):
        output = generate(translator.model, **inputs)
        calls.append((inputs, output))
        return output

    translator.model.generate = recorded
    return calls


TEXTS = ["w1", "w1 w2 w3 w4 w5", "w6 w7", "w8 w9 w10", "w11 w12 w13 w14 w15 w16", "w2", "w20 w3 w21 w4"]


# ---- what a translation depends on ----


def test_without_sampling_each_text_stands_for_itself(marian):
    translator = Translator(marian)
    translations = translator.translate(TEXTS, temperature=0)
    assert len(set(translations)) > 3
    for text, translation in zip(TEXTS, translations, strict=True):
        assert translator.translate([text], temperature=0) == [translation]
    assert translator.translate(TEXTS[::-1], temperature=0) == translations[::-1]
    for batch_size in (1, 2, 3):
        assert Translator(marian, batch_size=batch_size).translate(TEXTS, temperature=0) == translations


def test_without_sampling_it_is_the_beam_search_of_the_checkpoint(marian):
    translator = Translator(marian)
    calls = record(translator)
    translator.translate(["w1 w2"], temperature=0)
    translator.translate(["w1 w2"], temperature=0.7)
    (greedy, _), (sampled, _) = calls
    assert greedy["do_sample"] is False and not {"num_beams", "temperature"} & set(greedy)
    assert translator.model.generation_config.num_beams == 4
    # From the whole vocabulary: the default of transformers is the 50 likeliest words.
    assert (sampled["do_sample"], sampled["temperature"], sampled["num_beams"]) == (True, 0.7, 1)
    assert (sampled["top_k"], sampled["top_p"]) == (0, 1.0)


def test_sampling_is_a_function_of_texts_and_seed(marian):
    translator = Translator(marian, batch_size=3)
    first = translator.translate(TEXTS, seed=[3, 1])
    translator.translate(TEXTS, seed=[9, 9])
    torch.manual_seed(1234)
    assert translator.translate(TEXTS, seed=[3, 1]) == first
    assert Translator(marian, batch_size=3).translate(TEXTS, seed=[3, 1]) == first
    others = [translator.translate(TEXTS, seed=seed) for seed in ([3, 2], [1, 3], [3, 1, 1])]
    assert all(other != first for other in others)
    assert translator.translate(TEXTS, seed=[3, 1], temperature=0.5) != first


def test_the_random_state_of_the_caller_is_left_alone(marian):
    translator = Translator(marian)
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    translator.translate(TEXTS)
    assert torch.equal(torch.rand(3), expected)


def test_sampling_follows_the_model(marian):
    """The first word of many samples has the distribution that the logits say, at the temperature asked for."""
    translator = Translator(marian, batch_size=2000, max_length=3)
    temperature = 0.7
    inputs = translator.tokenizer("w1 w2", return_tensors="pt")
    with torch.no_grad():
        logits = translator.model(**inputs, decoder_input_ids=torch.zeros(1, 1, dtype=torch.long)).logits[0, 0]
    logits[0] = float("-inf")  # padding is never generated
    expected = torch.softmax(logits / temperature, dim=0)
    words = translator.translate(["w1 w2"] * 2000, temperature=temperature)
    counts = torch.zeros(len(expected))
    for word in words:
        # One word, then the end, which `max_length` forces.
        counts[translator.tokenizer.convert_tokens_to_ids(word) if word else 1] += 1
    counts[2] += counts[1]
    expected[2] += expected[1]
    counts[1] = expected[1] = 0  # <unk> is a special token, and reads as nothing
    assert torch.allclose(counts / 2000, expected, atol=0.05)


# ---- what goes through as it is, and what is cut ----


def test_empty_texts(marian):
    translator = Translator(marian)
    texts = ["", *TEXTS, "  \n", ""]
    translations = translator.translate(texts, temperature=0)
    assert translations == ["", *translator.translate(TEXTS, temperature=0), "  \n", ""]
    assert translator.translate([], temperature=0) == []
    assert translator.translate(["", " "]) == ["", " "]


def test_long_texts_are_cut_and_counted(marian):
    translator = Translator(marian)
    assert translator.max_length == MAX_LENGTH  # the tokenizer's, the smaller one
    whole = " ".join(WORDS[: MAX_LENGTH - 1])  # and the end token
    long = " ".join(WORDS)
    translations = translator.translate([long, "w1", whole], temperature=0)
    assert translations[0] == translations[2]
    assert translator.num_cut == 1
    shorter = Translator(marian, max_length=4)
    shorter.translate(["w1 w2 w3", "w1 w2 w3 w4", long, ""], temperature=0)
    assert shorter.num_cut == 2
    assert all(len(text.split()) <= 3 for text in shorter.translate(TEXTS * 3))


def test_back_translation_goes_there_and_back(marian, tmp_path):
    forward, backward = Translator(marian), Translator(save_marian(tmp_path / "back", seed=1))
    middle = forward.translate(TEXTS, temperature=0)
    assert back_translate(TEXTS, forward, backward, temperature=0) == backward.translate(middle, temperature=0)
    sampled = back_translate(TEXTS, forward, backward, seed=[4, 2])
    middle = forward.translate(TEXTS, seed=[4, 2, 0])
    assert sampled == backward.translate(middle, seed=[4, 2, 1])


# ---- multilingual checkpoints ----


def test_languages_of_a_multilingual_model(nllb):
    german = Translator(nllb, src_lang="eng_Latn", tgt_lang="deu_Latn", max_length=8)
    back = german.between("deu_Latn", "eng_Latn")
    assert back.model is german.model
    calls = record(german)
    for translator, source, target in ((german, "eng_Latn", "deu_Latn"), (back, "deu_Latn", "eng_Latn")) * 2:
        translator.translate(["wxyz", "w"])
        inputs, output = calls[-1]
        source_id, target_id = translator.tokenizer.convert_tokens_to_ids([source, target])
        assert (inputs["input_ids"][:, 0] == source_id).all() and (output[:, 1] == target_id).all()


@pytest.mark.parametrize(
    ("languages", "said"),
    [
        ({}, ["multilingual", "`src_lang`", "--text_language"]),
        ({"src_lang": "eng_Latn"}, ["multilingual", "`tgt_lang`"]),
        ({"src_lang": "en", "tgt_lang": "deu_Latn"}, ["src_lang='en'", "model card"]),
        ({"src_lang": "eng_Latn", "tgt_lang": "de"}, ["tgt_lang='de'", "model card"]),
    ],
)
def test_wrong_languages(nllb, languages, said):
    with pytest.raises(ValueError) as refused:
        Translator(nllb, **languages)
    for part in (nllb, *said):
        assert part in str(refused.value)


# ---- wrong input ----


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"batch_size": 0}, ["batch_size", "0", "at least 1"]),
        ({"max_length": 13}, ["max_length=13", "2..12"]),
        ({"max_length": 1}, ["max_length=1", "2..12"]),
        ({"device": "meta"}, ["device='meta'", "'cuda'"]),
        ({"src_lang": "de"}, ["no language tokens", "src_lang='de'"]),
    ],
)
def test_wrong_arguments(marian, arguments, said):
    with pytest.raises(ValueError) as refused:
        Translator(marian, **arguments)
    for part in said:
        assert part in str(refused.value)


@pytest.mark.parametrize("temperature", [-0.1, float("nan"), float("inf")])
def test_wrong_temperatures(marian, temperature):
    with pytest.raises(ValueError, match="temperature must be a finite number from 0"):
        Translator(marian).translate(["w1"], temperature=temperature)


def test_no_model(tmp_path):
    for name in ("no/such-model", str(tmp_path)):
        with pytest.raises(ValueError, match="No translation model could be loaded from") as refused:
            Translator(name)
        assert name in str(refused.value) and "sentencepiece" in str(refused.value)


def test_a_model_that_writes_no_texts(tmp_path):
    tiny_model("bert").save_pretrained(tmp_path)
    tiny_tokenizer().save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="it is a model of type bert, which writes no texts") as refused:
        Translator(str(tmp_path))
    assert len(str(refused.value)) < 300 + len(str(tmp_path))


def test_the_default_device_and_dtype(marian, monkeypatch):
    assert default_dtype(torch.device("cpu")) is torch.float32
    assert default_device().type == ("cuda" if torch.cuda.is_available() else "cpu")
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: True)
    assert default_dtype(torch.device("cuda")) is torch.bfloat16
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: False)
    assert default_dtype(torch.device("cuda")) is torch.float32
    translator = Translator(marian, device="cpu", dtype=torch.bfloat16)
    assert {parameter.dtype for parameter in translator.model.parameters()} == {torch.bfloat16}
    assert translator.translate(TEXTS) == translator.translate(TEXTS)
