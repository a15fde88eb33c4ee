"""Decoders under `MixTrainer`: how their texts are padded and what is said of it, what they learn, and what a checkpoint holds."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from runs import OTHER_WAYS, arguments, assert_same_trajectory, series, weights
from tiny import decoder_tokenizer, tiny_model, tiny_tokenizer
from transformers import AutoModelForSequenceClassification, AutoTokenizer, DataCollatorWithPadding, pipeline

from mixtext_hf.data import MixDataCollator
from mixtext_hf.functional import MixPlan
from mixtext_hf.models import MixableModelForSequenceClassification
from mixtext_hf.training import MixTrainer


NAMES = ("cat", "dog", "owl")


def decoder(kind="llama", **overrides):
    """As a decoder comes: it knows of no padding."""
    names = {"id2label": dict(enumerate(NAMES)), "label2id": {name: i for i, name in enumerate(NAMES)}}
    model = tiny_model(kind, "sdpa", num_hidden_layers=2, **names, **overrides)
    model.config.pad_token_id = None
    return model


def texts(count, seed=0):
    """The name of the class stands somewhere among other words."""
    rng = np.random.default_rng(seed)
    rows = []
    for i in range(count):
        words = [f"w{n}" for n in rng.integers(0, 40, size=rng.integers(1, 9))]
        words.insert(int(rng.integers(0, len(words) + 1)), NAMES[i % 3])
        rows.append({"text": " ".join(words), "label": i % 3})
    return rows


def tokenizer():
    return decoder_tokenizer(NAMES)


def trainer_of(tmp_path, model=None, rows=None, **settings):
    given = {
        name: settings.pop(name)
        for name in ("data_collator", "processing_class", "unlabeled_dataset")
        if name in settings
    }
    given.setdefault("processing_class", tokenizer())
    args = arguments(
        tmp_path,
        **{"mix_method": "tmix", "mix_layers": [1], "optim": "adamw_torch", "learning_rate": 3e-3, **settings},
    )
    return MixTrainer(decoder() if model is None else model, args, train_dataset=rows or texts(48), **given)


# ---- padding ----


def test_padding_is_settled_and_said_once(tmp_path, caplog):
    model, own = decoder(), tokenizer()
    trainer_of(tmp_path, model, processing_class=own)
    said = [record.getMessage() for record in caplog.records]
    assert [line.split(":")[0].split(" (")[0] for line in said] == [
        "The tokenizer has no padding token",
        "config.pad_token_id is 2 now, that of the tokenizer",
        "LlamaForSequenceClassification reads the last token of a text",
    ]
    assert (own.pad_token, own.padding_side, model.config.pad_token_id) == ("</s>", "left", 2)
    caplog.clear()
    trainer_of(tmp_path, model, processing_class=own)
    assert not caplog.records


def test_the_token_that_the_config_names_pads(tmp_path):
    model, own = decoder(), tokenizer()
    model.config.pad_token_id = own.convert_tokens_to_ids("w3")
    trainer_of(tmp_path, model, processing_class=own)
    assert own.pad_token == "w3"


def test_the_config_follows_the_padding_token_of_the_tokenizer(tmp_path):
    model, own = decoder(), tokenizer()
    own.pad_token, model.config.pad_token_id = "<s>", 5
    trainer_of(tmp_path, model, processing_class=own)
    assert model.config.pad_token_id == 0


def test_a_tokenizer_with_nothing_to_pad_by_is_refused(tmp_path):
    own = tokenizer()
    own.eos_token = None
    with pytest.raises(ValueError, match=r"no padding token, and none that ends a text .* set tokenizer.pad_token"):
        trainer_of(tmp_path, processing_class=own)


def test_two_tokenizers_that_pad_by_different_tokens_are_refused(tmp_path):
    own, other = tokenizer(), tokenizer()
    own.pad_token, other.pad_token = "</s>", "w3"
    collator = MixDataCollator(other, text_column="text")
    with pytest.raises(ValueError, match=r"pad by different tokens, 'w3' and '</s>', .* give both the same tokenizer"):
        trainer_of(tmp_path, processing_class=own, data_collator=collator, mix_method="erm", mix_layers=None)


def test_a_head_that_takes_the_mean_gets_a_padding_token_too(tmp_path):
    own = tokenizer()
    model = MixableModelForSequenceClassification.from_config(decoder().config, head="mean_pooling")
    trainer_of(tmp_path, model, processing_class=own, max_steps=2).train()
    assert (own.pad_token, own.padding_side) == ("</s>", "right")


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_where_nothing_is_mixed_inside_texts_are_padded_as_the_tokenizer_says(tmp_path, kind):
    sizes = {} if kind == "llama" else {"n_embd": 32, "n_head": 4, "n_layer": 2, "n_positions": 64}
    for method in ("erm", "ssmix"):
        model, own = decoder(kind, **sizes), tokenizer()
        trainer = trainer_of(tmp_path, model, processing_class=own, mix_method=method, mix_layers=None, max_steps=2)
        trainer.train()
        assert (own.pad_token, own.padding_side, model.config.pad_token_id) == ("</s>", "right", 2)


def test_a_collator_of_transformers_is_made_to_pad_on_the_left(tmp_path):
    own = tokenizer()
    rows = [{"label": row["label"], **own(row["text"])} for row in texts(24)]
    trainer_of(
        tmp_path, rows=rows, data_collator=DataCollatorWithPadding(own), processing_class=None, max_steps=2
    ).train()
    assert own.padding_side == "left"


def test_rows_that_bring_padding_on_the_right_are_refused_before_the_first_step(tmp_path):
    own = tokenizer()
    own.pad_token = "<s>"
    rows = [{"label": row["label"], **own(row["text"], padding="max_length", max_length=12)} for row in texts(24)]
    trainer = trainer_of(tmp_path, rows=rows, processing_class=own)
    message = r"Row \d of `train_dataset` ends in \d+ tokens of padding \(id 0\), row 0 of `train_dataset` in .*padding_side = 'left'"
    with pytest.raises(ValueError, match=message):
        trainer.train()
    own.padding_side = "left"
    rows = [{"label": row["label"], **own(row["text"], padding="max_length", max_length=12)} for row in texts(24)]
    trainer_of(tmp_path, rows=rows, processing_class=own, max_steps=2).train()
    for nothing in ([0] * 12, [], None):
        rows[5] = {**rows[5], "input_ids": nothing}
        with pytest.raises(ValueError, match="Row 5 of `train_dataset` has no token but padding"):
            trainer_of(tmp_path, rows=rows, processing_class=own).train()
    with pytest.raises(ValueError, match=r"`input_ids` of row \d of the batch is None, .* remove such rows"):
        trainer_of(tmp_path, rows=rows, processing_class=own, mix_method="erm", mix_layers=None).train()


@pytest.mark.parametrize("compiled", [False, True])
def test_a_collator_of_ones_own_that_pads_on_the_right_is_refused(tmp_path, compiled):
    own = tokenizer()
    own.pad_token = "<s>"

    def collate(features):
        encoded = own([row["text"] for row in features], padding=True, return_tensors="pt", padding_side="right")
        return {**encoded, "labels": torch.tensor([row["label"] for row in features])}

    trainer = trainer_of(tmp_path, processing_class=own, data_collator=collate, remove_unused_columns=False)
    # What a compiled model does not see its trainer does; nothing is compiled here.
    trainer.args.torch_compile = compiled
    with pytest.raises(ValueError, match=r"reads the last token .* Pad on the left"):
        trainer.compute_loss(trainer.model.train(), collate(texts(8)))


def test_a_text_without_a_token_is_named(tmp_path):
    rows = texts(8)
    rows[3]["text"] = ""
    with pytest.raises(ValueError, match=r"makes no token of the text '' \(row \d of the batch\)"):
        trainer_of(tmp_path, rows=rows).train()


# ---- what is learnt ----


@pytest.mark.parametrize("is_causal", [True, False])
def test_a_decoder_learns_with_tmix(tmp_path, is_causal):
    model = decoder(**({} if is_causal else {"is_causal": False}))
    trainer = trainer_of(tmp_path, model, texts(96), num_train_epochs=8, seed=1)
    trainer.train()
    held_out = texts(60, seed=1)
    predicted = trainer.predict(held_out).predictions.argmax(axis=1)
    # A third by chance.
    assert np.mean(predicted == [row["label"] for row in held_out]) > 0.8
    assert series(trainer, "loss")


def test_checkpoints_of_activations_change_nothing(tmp_path):
    def trajectory(**settings):
        trainer = trainer_of(tmp_path, **settings, max_steps=4)
        trainer.train()
        return {name: series(trainer, name) for name in ("loss", "grad_norm")}

    plain = trajectory()
    for way in ("checkpoints", "reentrant"):
        assert_same_trajectory(plain, trajectory(**OTHER_WAYS[way]))


@pytest.mark.parametrize("method", ["manifold_mixup", "embed_mixup", "pooled_mixup", "puzzle_tmix"])
def test_every_method_that_mixes_inside_runs(tmp_path, method):
    trainer = trainer_of(tmp_path, mix_method=method, mix_layers=None, max_steps=2)
    trainer.train()
    assert trainer.processing_class.padding_side == "left"


def test_the_token_that_is_read_is_mixed_as_special_tokens_are(tmp_path):
    own = tokenizer()
    trainer = trainer_of(tmp_path, processing_class=own, mix_method="puzzle_tmix", mix_layers=None)
    trainer._start_anew()
    batch = trainer.data_collator(texts(8))
    lam = torch.full((8,), 0.7)
    plan = MixPlan(torch.arange(8).roll(1), lam, layer=1, pad="keep")
    shown, step = {}, trainer.make_step(trainer.model, batch, plan)
    assert not step.segments[:, -1].any() and bool(step.segments[:, -2].all())
    step = replace(step, show=shown.__setitem__)
    for terms in trainer.method.losses(step):
        sum(terms.values()).backward()
    torch.testing.assert_close(shown["mask"][:, -1], lam)
    # Ids are pasted anywhere: the last one is a word as any other.
    pasting = trainer_of(tmp_path, processing_class=own, mix_method="ssmix", mix_layers=None)
    pasting._start_anew()
    assert bool(pasting.make_step(pasting.model, batch, plan).segments[:, -1].all())


def test_mixtext_guesses_by_the_mean_over_the_tokens(tmp_path):
    trainer = trainer_of(
        tmp_path,
        rows=texts(24),
        unlabeled_dataset=texts(60, seed=4),
        mix_method="mixtext",
        mix_layers=None,
        guesser="gaussian",
        max_steps=3,
    )
    trainer.train()
    assert trainer.guesses is not None and np.isfinite(trainer.guesses.table.probabilities).all()


# ---- what is kept ----


def test_a_checkpoint_is_right_in_plain_transformers(tmp_path):
    trainer = trainer_of(tmp_path, max_steps=4)
    trainer.train()
    trainer.save_model()
    rows = texts(9, seed=2)
    expected = trainer.predict(rows).predictions
    saved = AutoTokenizer.from_pretrained(tmp_path)
    assert (saved.padding_side, saved.pad_token) == ("left", "</s>")
    model = AutoModelForSequenceClassification.from_pretrained(tmp_path)
    assert model.config.pad_token_id == 2
    batch = saved([row["text"] for row in rows], padding=True, return_tensors="pt")
    np.testing.assert_allclose(model.eval()(**batch).logits.detach(), expected, rtol=1e-4, atol=1e-5)
    classifier = pipeline("text-classification", str(tmp_path), batch_size=4, device="cpu")
    found = classifier([row["text"] for row in rows])
    assert [answer["label"] for answer in found] == [NAMES[i] for i in expected.argmax(axis=1)]


def test_lora_with_a_trained_head_is_reloaded_with_equal_logits(tmp_path):
    peft = pytest.importorskip("peft")
    base = decoder()
    base.save_pretrained(tmp_path / "base")
    base = AutoModelForSequenceClassification.from_pretrained(tmp_path / "base")
    before = weights(base)
    config = peft.LoraConfig(task_type="SEQ_CLS", r=4, target_modules=["q_proj", "v_proj"])
    model = peft.get_peft_model(base, config)
    trainer = trainer_of(tmp_path / "out", model, num_train_epochs=2)
    trainer.train()
    trainer.save_model()
    trained = {name for name, p in model.named_parameters() if p.requires_grad}
    assert any("score.modules_to_save" in name for name in trained) and any("lora_A" in name for name in trained)
    rows = texts(9, seed=2)
    expected = trainer.predict(rows).predictions
    own = AutoTokenizer.from_pretrained(tmp_path / "out")
    batch = own([row["text"] for row in rows], padding=True, return_tensors="pt")
    plain = AutoModelForSequenceClassification.from_pretrained(tmp_path / "base")
    plain.config.pad_token_id = own.pad_token_id
    for again in (
        MixableModelForSequenceClassification.from_pretrained(tmp_path / "out"),
        peft.PeftModel.from_pretrained(plain, tmp_path / "out"),
    ):
        np.testing.assert_allclose(again.eval()(**batch).logits.detach(), expected, rtol=1e-4, atol=1e-5)
    assert not torch.equal(model.base_model.model.score.modules_to_save["default"].weight, before["score.weight"])
    # And it is mixed as it was.
    plan = MixPlan(torch.arange(9).roll(1), torch.full((9,), 0.7), layer=1)
    mixed = []
    for one in (model, MixableModelForSequenceClassification.from_pretrained(tmp_path / "out")):
        with trainer.mixer.applying(plan) if one is model else one.mixer.applying(plan):
            mixed.append(one.eval()(**batch).logits)
    torch.testing.assert_close(*mixed, rtol=1e-4, atol=1e-5)


def test_other_models_are_left_as_they_are(tmp_path, caplog):
    own = tiny_tokenizer(NAMES)
    trainer_of(tmp_path, tiny_model("bert", num_hidden_layers=2), processing_class=own)
    assert own.padding_side == "right" and "padding" not in caplog.text
