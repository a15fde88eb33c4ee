"""SSMix in training: a whole step against a plain loop written from the paper, however it is run, and what is refused before it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from image_runs import make_image_trainer
from runs import (
    OTHER_WAYS,
    TOKENIZER,
    RecordingTrainer,
    arguments,
    assert_same_weights,
    make_trainer,
    partly_labelled_rows,
    rows_that_end,
    series,
    tiny_rows,
    tokenizer_that_ends,
    weights,
)
from tiny import VOCAB_SIZE, has_family, tiny_model, widen
from torch.utils.data import default_collate
from transformers import DataCollatorWithPadding, PreTrainedConfig, PreTrainedModel
from unmixable import unmixable_text_model

from mixtext_hf.methods import SSMix
from mixtext_hf.models import make_mixable
from mixtext_hf.training import MixTrainer
from mixtext_hf.training.mixed_batch import mixed_batch


CLS, SEP, MASK, UNK = 2, 3, 4, 1


def text_rows(count, *, pairs=False, seed=5):
    """Tokenised texts of 5 to 14 words, or pairs of these, in which `[MASK]` and `[UNK]` occur."""
    generator = np.random.default_rng(seed)
    rows = []
    for i in range(count):
        texts = [generator.integers(5, VOCAB_SIZE, generator.integers(5, 15)).tolist() for _ in range(1 + pairs)]
        texts[0][i % 4] = (UNK, MASK)[i % 2]
        ids = [CLS]
        for text in texts:
            ids += [*text, SEP]
        types = [0] * (len(texts[0]) + 2) + [1] * (len(ids) - len(texts[0]) - 2)
        rows.append({"input_ids": ids, "attention_mask": [1] * len(ids), "token_type_ids": types, "label": i % 3})
    return rows


class Keeping(RecordingTrainer):
    """Remembers the gradients of every optimiser step, and the rows it saw."""

    def _training_loss(self, model, inputs):
        self.seen = {name: value.clone() for name, value in inputs.items()}
        return super()._training_loss(model, inputs)

    def _clip_grad_norm(self, model):
        self.gradients = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
        return super()._clip_grad_norm(model)


def one_step(out, model, rows, **settings):
    args = arguments(
        out,
        **{
            "mix_method": "ssmix",
            "learning_rate": 0.0,
            "max_steps": 1,
            "per_device_train_batch_size": len(rows),
            **settings,
        },
    )
    trainer = make_trainer(model, args, rows, kind=Keeping)
    trainer.train()
    return trainer


# ---- the loop ----


def sentences_of(ids):
    """Positions of the words of each sentence: what stands between special tokens that end one. `[MASK]` is no word."""
    found, current = [], []
    for position, token in enumerate(ids):
        if token in (CLS, SEP, 0):
            found, current = ([*found, current] if current else found), []
        elif token != MASK:
            current.append(position)
    return [*found, current] if current else found


def saliency_of(model, embeddings, row, label):
    """Of each token of a row by itself, without padding."""
    kept = []
    hook = embeddings.register_forward_hook(lambda module, given, output: kept.append(output))
    logits = model(**row).logits
    hook.remove()
    (gradient,) = torch.autograd.grad(F.cross_entropy(logits, label), kept[0])
    return gradient[0].square().mean(dim=1).sqrt().tolist()


def windows(positions, width):
    """Those whose tokens stand next to each other."""
    found = [positions[i : i + width] for i in range(len(positions) - width + 1)]
    return [window for window in found if window[-1] - window[0] == width - 1]


def loop(model, embeddings, batch, index, share, contiguous, clean_lam):
    """The loss of a step and its label weights, row by row."""
    lengths = batch["attention_mask"].sum(dim=1).tolist()
    rows = [
        {name: value[i : i + 1, :length] for name, value in batch.items() if name != "labels"}
        for i, length in enumerate(lengths)
    ]
    labels = batch["labels"]
    saliencies = [saliency_of(model, embeddings, row, labels[i : i + 1]) for i, row in enumerate(rows)]
    total, kept_shares = 0.0, []
    for i, row in enumerate(rows):
        j = int(index[i])
        own, other = row["input_ids"][0].tolist(), rows[j]["input_ids"][0].tolist()
        mixed, replaced = list(own), 0
        for mine, theirs in zip(sentences_of(own), sentences_of(other), strict=True):
            width = max(int(share * len(mine)), 1)
            if contiguous:
                out = windows(mine, width)
                into = windows(theirs, width)
                if i == j or not out or not into:
                    continue
                least = min(out, key=lambda window: sum(saliencies[i][k] for k in window))
                most = max(into, key=lambda window: sum(saliencies[j][k] for k in window))
            else:
                if i == j or len(theirs) < width:
                    continue
                least = sorted(sorted(mine, key=lambda k: saliencies[i][k])[:width])
                most = sorted(sorted(theirs, key=lambda k: -saliencies[j][k])[:width])
            for here, there in zip(least, most, strict=True):
                mixed[here] = other[there]
            replaced += width
        weight = 1 - replaced / sum(len(words) for words in sentences_of(own))
        logits = model(**{**row, "input_ids": torch.tensor([mixed])}).logits
        mixed_loss = weight * F.cross_entropy(logits, labels[i : i + 1])
        mixed_loss = mixed_loss + (1 - weight) * F.cross_entropy(logits, labels[j : j + 1])
        clean_loss = F.cross_entropy(model(**row).logits, labels[i : i + 1])
        total = total + (clean_lam * clean_loss + mixed_loss) / (1 + clean_lam) / len(rows)
        kept_shares.append(weight)
    return total, kept_shares


def mixable_model():
    return tiny_model("bert"), lambda model: model.bert.embeddings


def any_classifier():
    model = unmixable_text_model("squeezebert", hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
    torch.manual_seed(1)
    widen(model, std=0.2)
    return model, lambda model: model.get_input_embeddings()


@pytest.mark.parametrize("make_model", [mixable_model, any_classifier], ids=["mixable", "any classifier"])
@pytest.mark.parametrize("contiguous", [True, False], ids=["windows", "tokens"])
@pytest.mark.parametrize("pairs", [False, True], ids=["singles", "pairs"])
def test_a_step_equals_a_plain_loop(tmp_path, pairs, contiguous, make_model):
    model, _ = make_model()
    share, clean_lam = (0.3, 0.5) if pairs else (0.1, 1.0)
    given = {"share": share, "contiguous": contiguous, "clean_lam": clean_lam}
    trainer = one_step(tmp_path, model, text_rows(8, pairs=pairs), mix_kwargs=given)
    ((_, _, plan),) = trainer.plans
    plain, embeddings_of = make_model()
    loss, kept = loop(plain, embeddings_of(plain), trainer.seen, plan.index, share, contiguous, clean_lam)
    assert series(trainer, "loss") == pytest.approx([loss.item()], rel=1e-5)
    assert series(trainer, "mix_weight") == pytest.approx([np.mean(kept)], rel=1e-6)
    assert len(set(kept)) > 3 and max(kept[i] for i in range(8) if plan.index[i] != i) < 1
    parts = series(trainer, "loss_clean") + series(trainer, "loss_supervised")
    assert sum(parts) == pytest.approx(loss.item(), rel=1e-5) and len(parts) == 2
    loss.backward()
    for name, parameter in plain.named_parameters():
        torch.testing.assert_close(trainer.gradients[name], parameter.grad, rtol=1e-4, atol=1e-6)


# ---- however it is run ----


@pytest.mark.parametrize(
    "settings", [{"mix_prob": 0.0}, {"mix_start": 0.99}, {"mix_alpha": 0.0}], ids=lambda one: next(iter(one))
)
@pytest.mark.parametrize("saliency", ["gradient", "random"])
def test_a_step_that_mixes_nothing_is_plain_training(tmp_path, saliency, settings):
    found = []
    for method in ({"mix_method": "erm"}, {"mix_method": "ssmix", "mix_kwargs": {"saliency": saliency}, **settings}):
        trainer = make_trainer(tiny_model(dropout=0.1), arguments(tmp_path, **method))
        trainer.train()
        found.append((weights(trainer.model), series(trainer, "loss")))
    assert_same_weights(found[0][0], found[1][0])
    assert found[0][1] == found[1][1]


def trained(out, model=None, rows=None, **settings):
    args = arguments(out, **{"mix_method": "ssmix", "max_steps": 3, **settings})
    trainer = make_trainer(tiny_model() if model is None else model, args, rows)
    trainer.train()
    return trainer


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    trainer = trained(tmp_path_factory.mktemp("plain"))
    return series(trainer, "loss"), series(trainer, "mix_weight")


@pytest.mark.parametrize(
    "settings",
    OTHER_WAYS.values(),
    ids=OTHER_WAYS.keys(),
)
@pytest.mark.parametrize("mixable", [False, True], ids=["as it is", "mixable before"])
def test_however_it_is_run(tmp_path, undisturbed, settings, mixable):
    model = tiny_model()
    if mixable:
        make_mixable(model)
    trainer = trained(tmp_path, model, **settings)
    assert series(trainer, "loss") == pytest.approx(undisturbed[0], rel=0.1 if "bf16" in settings else 1e-5)
    assert series(trainer, "mix_weight") == pytest.approx(undisturbed[1])


def test_with_adapters_above_embeddings_that_are_frozen(tmp_path):
    peft = pytest.importorskip("peft")
    config = peft.LoraConfig(r=2, target_modules=["query", "value"], task_type="SEQ_CLS")
    model = peft.get_peft_model(tiny_model(), config)
    embeddings = model.get_input_embeddings()
    assert not embeddings.weight.requires_grad
    trainer = trained(tmp_path, model)
    assert max(series(trainer, "mix_weight")) < 1 and series(trainer, "saliency_undefined") == [0, 0, 0]
    assert np.isfinite(series(trainer, "loss")).all() and not embeddings._forward_hooks


@pytest.mark.parametrize("model_type", ["gpt2", "squeezebert"])
def test_models_that_cannot_be_mixed_inside_are_mixed_in_their_ids(tmp_path, model_type):
    model = unmixable_text_model(model_type)
    trainer = trained(tmp_path, model)
    assert max(series(trainer, "mix_weight")) < 1 and not hasattr(model, "mixer")
    assert all(not module._forward_hooks for module in model.modules())
    assert model.config.mixtext["method"] == "ssmix"


@pytest.mark.parametrize("family", ["deberta-v2", "modernbert", "roberta", "fnet"])
def test_families(tmp_path, family):
    if not has_family(family):
        pytest.skip(f"the installed transformers has no {family}")
    trainer = trained(tmp_path, tiny_model(family), max_steps=2)
    assert max(series(trainer, "mix_weight")) < 1 and series(trainer, "saliency_undefined") == [0, 0]


@pytest.mark.parametrize("model_type", ["bart", "mt5", "xlnet"])
def test_by_chance_every_model_of_texts_trains(tmp_path, model_type):
    model = unmixable_text_model(model_type)
    args = arguments(tmp_path, mix_method="ssmix", max_steps=2, mix_kwargs={"saliency": "random"})
    trainer = make_trainer(model, args, rows_that_end(24), tokenizer=tokenizer_that_ends())
    trainer.train()
    assert np.isfinite(series(trainer, "loss")).all() and max(series(trainer, "mix_weight")) < 1


@pytest.mark.parametrize("contiguous", [True, False])
def test_chance_is_counted(tmp_path, contiguous):
    given = {"saliency": "random", "contiguous": contiguous}
    found = [trained(tmp_path, mix_kwargs=given) for _ in range(2)]
    assert_same_weights(*(weights(trainer.model) for trainer in found))
    other = trained(tmp_path, mix_kwargs=given, seed=7)
    assert series(other, "loss") != series(found[0], "loss")


def test_rows_without_a_label(tmp_path):
    trainer = trained(tmp_path, rows=partly_labelled_rows(), train_sampling_strategy="sequential", max_steps=4)
    assert np.isfinite(series(trainer, "loss")).all()
    # Of the second half of every 16 rows, half are unmixed.
    one, other = np.mean(series(trainer, "mix_weight")[::2]), np.mean(series(trainer, "mix_weight")[1::2])
    assert one < other < 1


def test_the_tokens_that_are_trained_on_are_those_of_a_batch_that_is_shown(tmp_path):
    seen, whole = [], make_trainer(tiny_model(), arguments(tmp_path / "a", mix_method="ssmix"))

    def look(model, args, kwargs):
        seen.append(kwargs["input_ids"].clone())

    whole.model.register_forward_pre_hook(look, with_kwargs=True)
    whole.train()
    for step in (0, 2):
        batch = mixed_batch(make_trainer(tiny_model(), arguments(tmp_path / "b", mix_method="ssmix")), step)
        assert torch.equal(batch.inputs["input_ids"], seen[2 * step])
        assert torch.equal(batch.tokens, seen[2 * step + 1])
        assert batch.weight.mean().item() == pytest.approx(series(whole, "mix_weight")[step], abs=1e-6)
    plain = mixed_batch(make_trainer(tiny_model(), arguments(tmp_path / "c", mix_method="ssmix", mix_start=0.5)))
    assert plain.tokens is None and plain.weight.tolist() == [1] * 8


def test_a_batch_of_mixed_states_shows_the_weights_of_its_labels_and_no_mixed_ids(tmp_path):
    whole, shown = (
        make_trainer(tiny_model(), arguments(tmp_path / name, mix_method="puzzle_tmix")) for name in ("a", "b")
    )
    whole.train()
    batch = mixed_batch(shown, 0)
    assert batch.tokens is None and batch.plan.layer in (1, 2, 3)
    assert not torch.equal(batch.weight, batch.plan.lam)
    assert batch.weight.mean().item() == pytest.approx(series(whole, "mix_weight")[0], abs=1e-6)


# ---- who says what a word is ----


class Processor:
    """Holds a tokenizer beside other things."""

    tokenizer = TOKENIZER
    model_input_names = ("input_ids",)

    def save_pretrained(self, folder):
        pass


@pytest.mark.parametrize("place", ["processing_class", "a part of it", "data_collator"])
def test_the_tokenizer_is_found(tmp_path, undisturbed, place):
    given = {
        "processing_class": {"processing_class": TOKENIZER},
        "a part of it": {"processing_class": Processor()},
        "data_collator": {"data_collator": DataCollatorWithPadding(TOKENIZER)},
    }[place]
    trainer = MixTrainer(
        tiny_model(), arguments(tmp_path, mix_method="ssmix", max_steps=3), train_dataset=tiny_rows(32), **given
    )
    trainer.train()
    assert series(trainer, "loss") == pytest.approx(undisturbed[0], rel=1e-6)


def test_who_evaluates_alone_needs_no_tokenizer(tmp_path):
    model = trained(tmp_path / "a").model
    rows = [{**row, "input_ids": row["input_ids"][:4], "attention_mask": [1] * 4} for row in tiny_rows(8)]
    trainer = MixTrainer(model, arguments(tmp_path / "b"), eval_dataset=rows)
    assert trainer.method == SSMix() and np.isfinite(trainer.evaluate()["eval_loss"])
    assert trainer.predict(rows).predictions.shape == (8, 3)


# ---- refused before training ----


class SilentConfig(PreTrainedConfig):
    model_type = "silent"


class Silent(PreTrainedModel):
    """A classifier of texts by another name of their ids, or one that does not say what embeds them."""

    config_class = SilentConfig
    main_input_name = "ids"

    def __init__(self, config):
        super().__init__(config)
        self.table = torch.nn.Parameter(torch.randn(VOCAB_SIZE, 3))
        self.post_init()

    def forward(self, ids=None, labels=None):
        return {"logits": self.table[ids].mean(dim=1)}

    def get_input_embeddings(self):
        raise NotImplementedError


class SilentOfIds(Silent):
    main_input_name = "input_ids"

    def forward(self, input_ids=None, attention_mask=None, labels=None):
        return super().forward(input_ids)


@pytest.mark.parametrize(
    ("model", "settings", "message"),
    [
        (tiny_model, {"torch_compile": True}, "ssmix takes the saliency.*nothing in a compiled pass.*leave out torch_compile"),
        (lambda: unmixable_text_model("bart"), {}, 'BartFor.* reads each token twice.*such as ssmix with saliency="random"'),
        (lambda: Silent(SilentConfig(num_labels=3)), {}, "ssmix replaces the input_ids of texts, and Silent takes none"),
        (lambda: SilentOfIds(SilentConfig(num_labels=3)), {}, "SilentOfIds does not say which of its modules embeds the tokens"),
        (tiny_model, {"per_device_train_batch_size": 1}, "per_device_train_batch_size=1 leaves ssmix nothing to mix"),
        (tiny_model, {"optim": "lomo"}, "optim='lomo' steps at every backward pass, and ssmix makes 2 of a batch"),
    ],
    ids=["compiled", "encoder-decoder", "no ids", "no embeddings", "one row", "an optimiser of its own"],
)  # fmt: skip
def test_refused_before_training(tmp_path, model, settings, message):
    args = arguments(tmp_path / "out", mix_method="ssmix", **settings)
    with pytest.raises(ValueError, match=message):
        make_trainer(model(), args, rows_that_end(32))
    assert not (tmp_path / "out").exists()


def test_images_are_refused(tmp_path):
    with pytest.raises(
        ValueError, match="ssmix replaces tokens of texts, and ViTForImageClassification reads images: use mixup"
    ):
        make_image_trainer(tmp_path / "out", mix_method="ssmix")


def test_no_tokenizer_and_no_ids(tmp_path):
    rows = [{**row, "input_ids": row["input_ids"][:4], "attention_mask": [1] * 4} for row in tiny_rows(32)]
    args = arguments(tmp_path / "out", mix_method="ssmix")
    with pytest.raises(ValueError, match="nothing says which ids are some: give the tokenizer as processing_class"):
        MixTrainer(tiny_model(), args, train_dataset=rows)
    embedded = [{"inputs_embeds": [[0.0] * 32] * 4, "label": row["label"]} for row in rows]
    with pytest.raises(ValueError, match="the rows of `train_dataset` have inputs_embeds in their place"):
        MixTrainer(tiny_model(), args, train_dataset=embedded)
    assert not (tmp_path / "out").exists()

    def embeds(features):
        batch = default_collate([{"labels": feature["label"]} for feature in features])
        return {**batch, "inputs_embeds": torch.zeros(len(features), 4, 32)}

    trainer = MixTrainer(tiny_model(), args, data_collator=embeds, train_dataset=rows, processing_class=TOKENIZER)
    with pytest.raises(
        ValueError, match="the batch has none, only labels, inputs_embeds: let the data_collator make them"
    ):
        trainer.train()


def test_states_that_stand_in_another_order_are_not_taken_for_tokens(tmp_path):
    with pytest.raises(
        ValueError, match=r"layer 0 of XLNetForSequenceClassification.*they do not say which token they are of"
    ):
        trained(tmp_path, unmixable_text_model("xlnet"))
