"""Features of checkpoints of sentence-transformers: pooling, dense layers and length as `modules.json` says, and what is refused."""

from __future__ import annotations

import copy
import logging
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from sentence_checkpoints import WIDTH, checkpoint, dense, newer, older, write
from tiny import tiny_model, tiny_tokenizer
from transformers import AutoModelForSequenceClassification

from mixtext_hf import MixableModelForSequenceClassification
from mixtext_hf.models.checkpoint_contents import RefusedCheckpoint
from mixtext_hf.models.features import pool, text_features
from mixtext_hf.models.sentence_checkpoint import POOLINGS, module_files, transformer_folder
from mixtext_hf.models.sentence_modules import sentence_modules_of, tell_of_features


load = MixableModelForSequenceClassification.from_pretrained
TEXTS = ["w1 w2 w3 w4 w5 w6", "w9", "w7 w8 w9 w10", "w3 w3 W3 w44 w2 w1 w1 w30 w31"]


def batch(texts=TEXTS, side: str = "right"):
    return tiny_tokenizer()(texts, padding=True, return_tensors="pt", padding_side=side)


@torch.no_grad()
def features(model, texts=TEXTS, side: str = "right") -> torch.Tensor:
    inputs = batch(texts, side)
    if side == "left":
        # Positions as without padding.
        inputs["position_ids"] = (inputs["attention_mask"].cumsum(dim=1) - 1).clamp(min=0)
    return text_features(model.eval(), dict(inputs))


@torch.no_grad()
def by_loop(model, names, texts=TEXTS) -> torch.Tensor:
    """One text at a time, without padding, token by token."""
    rows = []
    for text in texts:
        states = list(model.eval().base_model(**batch([text]))[0][0])
        n = len(states)
        ways = {
            "cls": states[0],
            "lasttoken": states[-1],
            "max": torch.stack([max(column) for column in zip(*states, strict=True)]),
            "mean": sum(states) / n,
            "mean_sqrt_len_tokens": sum(states) / n**0.5,
            "weightedmean": sum((t + 1) * state for t, state in enumerate(states)) / sum(range(1, n + 1)),
        }
        rows.append(torch.cat([ways[name] for name in names]))
    return torch.stack(rows)


def by_library(folder: Path, texts=TEXTS) -> torch.Tensor:
    library = pytest.importorskip("sentence_transformers")
    return torch.from_numpy(library.SentenceTransformer(str(folder), device="cpu").encode(list(texts)))


WAYS = [*((name,) for name in POOLINGS), ("cls", "mean"), ("max", "mean_sqrt_len_tokens", "lasttoken")]


@pytest.mark.parametrize("config", [older, newer])
@pytest.mark.parametrize("names", WAYS, ids="+".join)
def test_pooling_is_that_of_the_checkpoint(tmp_path, names, config):
    model = load(checkpoint(tmp_path, config(*names)), num_labels=3)
    expected = by_loop(model, names)
    assert expected.shape == (4, WIDTH * len(names))
    torch.testing.assert_close(features(model), expected, rtol=0, atol=1e-5)
    torch.testing.assert_close(features(model, side="left"), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("names", WAYS, ids="+".join)
def test_features_are_what_the_library_encodes(tmp_path, names):
    """With all that may stand behind the pooling."""
    width = WIDTH * len(names)
    folder = checkpoint(tmp_path, older(*names), "Dense", "Dropout", "Dense", "Normalize")
    dense(folder / "2_Dense", width, 24)
    write(folder / "3_Dropout" / "config.json", {"dropout": 0.5})
    dense(
        folder / "4_Dense",
        24,
        8,
        bias=False,
        activation_function="torch.nn.modules.linear.Identity",
        use_residual=True,
    )
    found = features(load(folder, num_labels=3))
    assert found.shape == (4, 8)
    torch.testing.assert_close(found, by_library(folder), rtol=0, atol=1e-5)


def test_vectors_are_cut_as_the_checkpoint_says(tmp_path):
    folder = checkpoint(tmp_path, older("mean"), "Normalize")
    whole = features(load(folder, num_labels=3))
    write(folder / "config_sentence_transformers.json", {"truncate_dim": 8})
    cut = load(folder, num_labels=3)
    torch.testing.assert_close(features(cut), whole[:, :8], rtol=0, atol=0)
    torch.testing.assert_close(features(cut), by_library(folder), rtol=0, atol=1e-5)
    assert str(sentence_modules_of(cut)) == "mean, length 1, the first 8"
    write(folder / "config_sentence_transformers.json", {"truncate_dim": 0})
    with pytest.raises(ValueError, match="truncate_dim=0"):
        features(load(folder, num_labels=3))


def test_dense_layers_are_applied_in_their_order(tmp_path):
    folder = checkpoint(tmp_path, newer("mean"), "Dense", "Normalize", "Dense")
    first = dense(folder / "2_Dense", WIDTH, WIDTH, use_residual=True)
    second = dense(folder / "4_Dense", WIDTH, 8, activation_function="torch.nn.modules.activation.ReLU")
    model = load(folder, num_labels=3)
    pooled = by_loop(model, ["mean"])
    rows = []
    for x in pooled:
        x = x + torch.tanh(first["linear.weight"] @ x + first["linear.bias"])
        x = x / x.square().sum().sqrt()
        rows.append((second["linear.weight"] @ x + second["linear.bias"]).clamp(min=0))
    torch.testing.assert_close(features(model), torch.stack(rows), rtol=0, atol=1e-5)


def test_of_an_encoder_and_a_decoder_the_encoder_is_asked():
    model = tiny_model("t5", d_model=WIDTH, d_kv=8, d_ff=48, num_layers=2, num_heads=4).eval()
    with torch.no_grad():
        rows = [model.get_encoder()(**batch([text]))[0][0].mean(dim=0) for text in TEXTS]
    expected = torch.nn.functional.normalize(torch.stack(rows), dim=-1)
    torch.testing.assert_close(features(model), expected, rtol=0, atol=1e-5)


def test_without_modules_it_is_the_mean_of_length_1(tmp_path):
    folder = checkpoint(tmp_path, newer("cls"))
    (folder / "modules.json").unlink()
    for model in (load(folder, num_labels=3), tiny_model()):
        expected = torch.nn.functional.normalize(by_loop(model, ["mean"]), dim=-1)
        torch.testing.assert_close(features(model), expected, rtol=0, atol=1e-5)


def test_the_transformer_may_have_a_folder_of_its_own(tmp_path):
    folder = checkpoint(tmp_path / "old", older("cls"), "Normalize", transformer="0_Transformer")
    assert transformer_folder(str(folder)) == str(folder / "0_Transformer")
    at_top = load(checkpoint(tmp_path / "new", older("cls"), "Normalize"), num_labels=3)
    for name in (folder, folder / "0_Transformer"):
        model = load(name, num_labels=3)
        assert type(model).__name__ == "BertForSequenceClassification"
        torch.testing.assert_close(features(model), features(at_top), rtol=0, atol=0)
        assert sentence_modules_of(model).max_length == 16
    torch.testing.assert_close(features(model), by_library(folder), rtol=0, atol=1e-5)
    assert {path.name for path in module_files(folder / "0_Transformer")} >= {"modules.json", "config.json"}


def test_any_loader_and_any_copy_has_the_same_features(tmp_path):
    peft = pytest.importorskip("peft")
    folder = checkpoint(tmp_path, older("max"))
    ours, plain = load(folder, num_labels=3), AutoModelForSequenceClassification.from_pretrained(folder, num_labels=3)
    adapted = peft.get_peft_model(copy.deepcopy(ours), peft.LoraConfig(task_type="SEQ_CLS", target_modules=["query"]))
    with_mean = load(folder, head="mean_pooling", num_labels=3)
    shutil.rmtree(folder / "1_Pooling")  # The note goes with a model, what lies elsewhere is looked up.
    for model in (ours, copy.deepcopy(ours), adapted, with_mean):
        assert features(model).shape == (4, WIDTH)
    write(folder / "1_Pooling" / "config.json", older("max"))
    for model in (ours, adapted, plain):
        torch.testing.assert_close(features(model), by_loop(ours, ["max"]), rtol=0, atol=1e-5)


def test_the_note_is_not_saved(tmp_path):
    model = load(checkpoint(tmp_path / "base", older("cls"), "Normalize"), num_labels=3)
    model.save_pretrained(tmp_path / "out")
    assert "sentence" not in (tmp_path / "out" / "config.json").read_text(encoding="utf-8")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["config.json", "model.safetensors"]
    assert not [name for name in model.state_dict() if "sentence" in name]


SPLADE = "sentence_transformers.sparse_encoder.models.SpladePooling"


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda f: checkpoint(f, newer("mean"), "LSTM"), ["sentence_transformers.models.LSTM", "2_LSTM"]),
        (lambda f: checkpoint(f, newer("mean"), "mine.Whitening"), ["mine.Whitening", "2_Whitening"]),
        (lambda f: checkpoint(f, None, SPLADE), [SPLADE]),
        (lambda f: checkpoint(f, None), ["names no Pooling"]),
        (lambda f: shutil.rmtree(checkpoint(f, newer("cls")) / "1_Pooling"), ["1_Pooling/config.json"]),
        (lambda f: checkpoint(f, newer("cls"), "Pooling"), ["sentence_transformers.models.Pooling", "2_Pooling"]),
        (lambda f: checkpoint(f, newer("median")), ["median", "weightedmean"]),
        (lambda f: checkpoint(f, {"pooling_mode": [["mean"]]}), ["['mean']"]),
        (lambda f: checkpoint(f, {"pooling_mode_median_tokens": True}), ["pooling_mode_median_tokens"]),
        (lambda f: checkpoint(f, newer("mean"), transformer_task="fill-mask"), ["fill-mask"]),
        (
            lambda f: checkpoint(f, newer("mean"), modality_config={"text": {"method_output_name": "pooler_output"}}),
            ["pooler_output"],
        ),
        (lambda f: dense(checkpoint(f, newer("mean"), "Dense") / "2_Dense", 31, 8), ["31", "32"]),
        (
            lambda f: dense(
                checkpoint(f, newer("mean"), "Dense") / "2_Dense", WIDTH, 8, activation_function="os.system"
            ),
            ["os.system", "Tanh"],
        ),
        (
            lambda f: dense(
                checkpoint(f, newer("mean"), "Dense") / "2_Dense", WIDTH, 8, module_input_name="token_embeddings"
            ),
            ["token_embeddings"],
        ),
        (
            lambda f: write(checkpoint(f, newer("mean"), "Dense") / "2_Dense" / "pytorch_model.bin", {}),
            ["2_Dense", "safetensors"],
        ),
    ],
)
def test_what_is_not_understood_is_named_when_features_are_asked_for(tmp_path, make, words):
    make(tmp_path)
    model = load(tmp_path, num_labels=3)  # It trains as a classifier.
    with pytest.raises(ValueError, match="not understood") as caught:
        features(model)
    for word in [*words, str(tmp_path), "without modules.json"]:
        assert word in str(caught.value)


def test_weights_that_are_not_those_of_the_config_are_named(tmp_path):
    folder = checkpoint(tmp_path, newer("mean"), "Dense")
    dense(folder / "2_Dense", WIDTH, 8)
    write(folder / "2_Dense" / "config.json", {"in_features": WIDTH, "out_features": 9})
    with pytest.raises(ValueError, match=r"2_Dense/model.safetensors does not hold"):
        features(load(folder, num_labels=3))
    weights = dense(folder / "2_Dense", WIDTH, 8)
    save_file({**weights, "linear.bias": torch.zeros(5)}, folder / "2_Dense" / "model.safetensors")
    with pytest.raises(ValueError, match=r"2_Dense/model.safetensors does not hold"):
        features(load(folder, num_labels=3))
    (folder / "2_Dense" / "model.safetensors").write_bytes(b"no weights")
    with pytest.raises(ValueError, match=r"2_Dense/model.safetensors cannot be read"):
        features(load(folder, num_labels=3))


def test_a_pooling_of_another_width_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"31 units, and the model has 32"):
        features(load(checkpoint(tmp_path, {**newer("mean"), "embedding_dimension": 31}), num_labels=3))


def test_a_dense_layer_of_another_width_is_named_where_no_pooling_says_its_own(tmp_path):
    folder = checkpoint(tmp_path, {"pooling_mode": "mean"}, "Dense")
    dense(folder / "2_Dense", 31, 8)
    with pytest.raises(ValueError, match=r"takes 31 numbers, and there are 32 before it"):
        features(load(folder, num_labels=3))


def test_a_missing_folder_of_the_transformer_is_named(tmp_path):
    folder = checkpoint(tmp_path, newer("mean"), transformer="0_Transformer")
    shutil.rmtree(folder / "0_Transformer")
    with pytest.raises(ValueError, match=r"its transformer is in '0_Transformer', and there is no such folder"):
        load(folder, num_labels=3)


@pytest.mark.parametrize(
    ("modules", "words"),
    [
        ({}, "holds a dict, where a list"),
        ([{"type": "sentence_transformers.models.Transformer", "path": "../else"}], "not inside the checkpoint"),
        ([{"type": 3, "path": ""}], "a `type` and a `path`"),
        (["Transformer"], "a `type` and a `path`"),
    ],
)
def test_an_unsafe_or_broken_list_of_modules_is_refused(tmp_path, modules, words):
    write(checkpoint(tmp_path, newer("mean")) / "modules.json", modules)
    with pytest.raises(RefusedCheckpoint, match=words):
        load(tmp_path, num_labels=3)


def test_what_is_done_otherwise_than_by_the_library_is_said(tmp_path, caplog):
    folder = checkpoint(tmp_path, older("cls"), "Normalize", do_lower_case=True)
    write(
        folder / "config_sentence_transformers.json",
        {"prompts": {"query": "find: ", "document": ""}, "default_prompt_name": "query"},
    )
    model = load(folder, num_labels=3)
    with caplog.at_level(logging.INFO, logger="mixtext_hf"):
        tell_of_features(model, tiny_tokenizer(["a", "A"]), 12)
    said = "\n".join(caplog.messages)
    for words in ("cls, length 1", "cut to 12", "encode: 16", "'find: '", "lower case"):
        assert words in said
    write(folder / "config_sentence_transformers.json", {"prompts": {"query": "find: "}, "default_prompt_name": None})
    quiet = load(folder, num_labels=3)
    caplog.clear()
    with caplog.at_level(logging.INFO, logger="mixtext_hf"):
        tell_of_features(tiny_model(), tiny_tokenizer(), 12)
        tell_of_features(quiet, tiny_tokenizer(), 12)
    assert len(caplog.messages) == 1  # Unknown words are the same, large or small.


def test_a_text_without_a_token_is_zero():
    hidden, mask = torch.randn(2, 5, 3), torch.tensor([[1, 1, 0, 0, 0], [0, 0, 0, 0, 0]])
    found = pool(hidden, mask, list(POOLINGS))
    assert found.isfinite().all() and (found[1] == 0).all() and (found[0] != 0).any()
    everywhere = pool(hidden, None, ["max"])
    torch.testing.assert_close(everywhere, hidden.amax(dim=1), rtol=0, atol=0)
