"""MixText that mixes by another method, in training: whole runs, however they are run, and what is refused before them."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from image_runs import make_image_trainer
from runs import (
    OTHER_WAYS,
    RecordingTrainer,
    StopAt,
    arguments,
    assert_same_weights,
    make_trainer,
    series,
    weights,
)
from tiny import tiny_model
from unmixable import unmixable_text_model

from mixtext_hf.hub.card import make_card
from mixtext_hf.hub.facts import CardData
from mixtext_hf.methods import MixText
from mixtext_hf.mixing import MixPlan
from mixtext_hf.training import MixTrainer
from mixtext_hf.training.mixed_batch import mixed_batch


WORDS = [f"w{i}" for i in range(40)]
PARTS = ["embed_mixup", "ssmix", "puzzle_tmix"]
CHANCE = {"saliency": "random"}


def texts(count, *, label=None, seed=0):
    """Sentences of 5 to 12 words, each with the same words backwards as a view."""
    generator = np.random.default_rng(seed)
    rows = []
    for i in range(count):
        words = generator.choice(WORDS, int(generator.integers(5, 13))).tolist()
        row = {"text": " ".join(words), "back": " ".join(words[::-1])}
        rows.append(row if label is None else {**row, "label": label(i)})
    return rows


def make(out, name, *, model=None, rows=None, unlabelled=None, kind=RecordingTrainer, callbacks=(), **settings):
    settings = {
        "mix_method": "mixtext",
        "mix_kwargs": {"mix_with": name},
        "guesser": "model",
        "per_device_train_batch_size": 4,
        "per_device_unlabeled_batch_size": 6,
        "view_columns": ["back"],
        **settings,
    }
    return make_trainer(
        tiny_model() if model is None else model,
        arguments(out, **settings),
        texts(24, label=lambda i: i % 3, seed=1) if rows is None else rows,
        kind=kind,
        callbacks=[*callbacks],
        unlabeled_dataset=texts(30) if unlabelled is None else unlabelled,
    )


def trained(*args, **settings):
    trainer = make(*args, **settings)
    trainer.train()
    return trainer


def terms_of(trainer):
    names = ("loss_supervised", "loss_unlabeled", "loss_clean", "loss_clean_unlabeled", "loss_margin")
    return [values for name in names if (values := series(trainer, name))]


@pytest.mark.parametrize("within", ["all", "kind"])
@pytest.mark.parametrize("guesser", ["model", "gaussian"])
@pytest.mark.parametrize("name", PARTS)
def test_whole_runs(tmp_path, name, guesser, within):
    kwargs = {"mix_with": name, "mix_within": within, "margin_weight": 0.2}
    trainer = trained(tmp_path, name, guesser=guesser, mix_kwargs=kwargs, augmenters=["span_swap"])
    assert trainer.state.global_step == 6
    assert all(torch.isfinite(value).all() for value in weights(trainer.model).values())
    terms = terms_of(trainer)
    assert len(terms) == (3 if name == "embed_mixup" else 5)
    assert series(trainer, "loss") == pytest.approx([sum(step) for step in zip(*terms, strict=True)], rel=1e-4)
    if name != "embed_mixup":
        assert max(series(trainer, "mix_weight")) < 1 and series(trainer, "saliency_undefined") == [0] * 6
    assert (name == "puzzle_tmix") == bool(series(trainer, "mask_constant"))
    rows = 4 + 6 * 3
    for _, size, plan in trainer.plans:
        crosses = [(i < 4) != (int(j) < 4) for i, j in enumerate(plan.index)]
        assert size == rows and (within == "all" or not any(crosses))
    trainer.save_model()
    recipe = json.loads((tmp_path / "config.json").read_text())["mixtext"]
    assert recipe["hyperparameters"]["mix_with"] == name
    # A model that goes on without a word mixes as before.
    again = MixTrainer(type(trainer.model).from_pretrained(tmp_path), arguments(tmp_path / "again"))
    assert again.method == trainer.method


@pytest.mark.parametrize("name", ["ssmix", "puzzle_tmix"])
def test_by_chance_a_step_is_one_pass(tmp_path, name):
    kwargs = {"mix_with": name, "mix_with_kwargs": CHANCE}
    found = [trained(tmp_path, name, mix_kwargs=kwargs) for _ in range(2)]
    assert_same_weights(*(weights(trainer.model) for trainer in found))
    terms = terms_of(found[0])
    assert len(terms) == 4 and not series(found[0], "saliency_undefined")
    assert series(found[0], "loss") == pytest.approx([sum(step) for step in zip(*terms, strict=True)], rel=1e-4)


@pytest.mark.parametrize("name", ["ssmix", "puzzle_tmix"])
def test_a_step_that_mixes_nothing_is_that_of_tmix(tmp_path, name):
    found = [
        weights(trained(tmp_path, part, model=tiny_model(dropout=0.1), mix_prob=0.0).model) for part in ("tmix", name)
    ]
    assert_same_weights(*found)


@pytest.mark.parametrize(("name", "stop"), [("ssmix", 2), ("puzzle_tmix", 5)])
def test_a_resumed_run_ends_where_the_uninterrupted_one_does(tmp_path, name, stop):
    def train(folder, resume=None, callbacks=()):
        trainer = make(
            folder,
            name,
            model=tiny_model(dropout=0.1),
            mix_kwargs={"mix_with": name, "align": "labelled", "confidence_weights": True, "margin_weight": 0.1},
            mix_prob=0.8,
            augmenters=["word_dropout:0.3"],
            optim="adamw_torch",
            learning_rate=1e-3,
            lr_scheduler_type="linear",
            gradient_accumulation_steps=2,
            num_train_epochs=3,
            save_strategy="steps",
            save_steps=1,
            callbacks=callbacks,
        )
        trainer.train(resume_from_checkpoint=resume)
        return trainer

    whole = train(tmp_path / "whole")
    assert whole.state.global_step == 9
    assert train(tmp_path / "stopped", callbacks=[StopAt(stop)]).state.global_step == stop
    assert_same_weights(weights(whole.model), weights(train(tmp_path / "stopped", resume=True).model))


class PairsTrainer(MixTrainer):
    """Mixes labelled rows two by two, and each original with its view: the same however a batch is cut into pairs of rows."""

    def draw_plan(self, inputs):
        rows, count = len(inputs["labels"]), len(inputs["text_labels"])
        labelled = rows - 2 * count
        index = [i ^ 1 for i in range(labelled)]
        index += [labelled + (i + count) % (2 * count) for i in range(2 * count)]
        reads_ids = self.method.mix_with == "ssmix"
        lam = torch.full((rows,), 0.9 if reads_ids else 0.7)
        return MixPlan(torch.tensor(index), lam, layer=None if reads_ids else 2)


@pytest.mark.parametrize("name", ["ssmix", "puzzle_tmix"])
def test_accumulated_steps_make_the_trajectory_of_one(tmp_path, name):
    found = []
    for batch, accumulation in ((8, 1), (4, 2), (2, 4)):
        trainer = trained(
            tmp_path,
            name,
            kind=PairsTrainer,
            unlabelled=texts(32),
            mix_kwargs={"mix_with": name, "margin_weight": 0.3, "align": "off"},
            per_device_train_batch_size=batch,
            per_device_unlabeled_batch_size=batch,
            gradient_accumulation_steps=accumulation,
        )
        found.append([*terms_of(trainer), series(trainer, "loss"), series(trainer, "grad_norm")])
    for other in found[1:]:
        for one, values in zip(found[0], other, strict=True):
            assert len(one) == 3 and values == pytest.approx(one, rel=1e-4)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    return {
        name: series(trained(tmp_path_factory.mktemp(name), name, max_steps=3), "loss")
        for name in ("ssmix", "puzzle_tmix")
    }


@pytest.mark.parametrize("settings", OTHER_WAYS.values(), ids=OTHER_WAYS.keys())
@pytest.mark.parametrize("name", ["ssmix", "puzzle_tmix"])
def test_however_it_is_run(tmp_path, undisturbed, name, settings):
    trainer = trained(tmp_path, name, max_steps=3, **settings)
    assert series(trainer, "loss") == pytest.approx(undisturbed[name], rel=0.1 if "bf16" in settings else 1e-5)


@pytest.mark.parametrize("own", [{}, CHANCE], ids=["gradient", "chance"])
@pytest.mark.parametrize("model_type", ["gpt2", "squeezebert"])
def test_models_that_cannot_be_mixed_inside_are_mixed_in_their_ids(tmp_path, model_type, own):
    """The classifier of the labelled rows that guesses beside the clusters mixes nothing then."""
    model = unmixable_text_model(model_type)
    kwargs = {"mix_with": "ssmix", "mix_with_kwargs": own}
    trainer = trained(tmp_path, "ssmix", model=model, guesser="gaussian", guess_warm_up_steps=2, mix_kwargs=kwargs)
    assert max(series(trainer, "mix_weight")) < 1 and not hasattr(model, "mixer")
    with pytest.raises(ValueError, match=f"{model_type}"):
        make(tmp_path / "tmix", "tmix", model=unmixable_text_model(model_type))


def test_the_guesses_are_those_of_tmix_where_the_model_can_be_mixed_inside(tmp_path):
    found = [
        trained(tmp_path / name, name, guesser="gaussian", max_steps=1).guesses.table.probabilities
        for name in ("tmix", "ssmix")
    ]
    assert np.array_equal(*found)


@pytest.mark.parametrize("guesser", ["model", "gaussian"])
@pytest.mark.parametrize("name", ["ssmix", "puzzle_tmix"])
def test_a_batch_that_is_shown_is_the_one_that_is_trained_on(tmp_path, name, guesser):
    about = {"guesser": guesser, "guess_warm_up_steps": 0}
    whole, seen = make(tmp_path / "a", name, **about), []

    def look(model, args, kwargs):
        if model.training and torch.is_grad_enabled():
            seen.append(kwargs["input_ids"].clone())

    whole.model.register_forward_pre_hook(look, with_kwargs=True)
    whole.train()
    for step in (0, 2):
        batch = mixed_batch(make(tmp_path / "b", name, **about), step)
        assert torch.equal(batch.inputs["input_ids"], seen[2 * step]) and batch.unlabeled == 12
        assert batch.weight.mean().item() == pytest.approx(series(whole, "mix_weight")[step], abs=1e-6)
        if name == "ssmix":
            assert torch.equal(batch.tokens, seen[2 * step + 1])
            assert (batch.tokens != batch.inputs["input_ids"]).any(dim=1).sum() > 10
        else:
            assert batch.tokens is None


def test_a_card_tells_what_was_mixed_with():
    method = MixText(mix_with="puzzle_tmix", layers=(1,), mix_with_kwargs={"beta": 0.5, "xi": None})
    card = str(make_card(CardData("x", method=method)))
    assert "| `mix_with` | **puzzle_tmix** | tmix |" in card and "Puzzle Mix" in card
    assert "| `mix_with_kwargs` | **beta 0.5, xi none** | none |" in card and "| `layers` | **1** |" in card
    assert "mix: puzzle_tmix, its l being L" in card
    of_ids = str(make_card(CardData("x", method=MixText(mix_with="ssmix"))))
    assert "`layers`" not in of_ids and "`alpha`" not in of_ids and "SSMix" in of_ids


# ---- refused before training ----


@pytest.mark.parametrize(
    ("name", "model", "settings", "message"),
    [
        ("ssmix", tiny_model, {"torch_compile": True}, r"mixtext takes the saliency.*such as mix_with_kwargs=\{\"saliency\": \"random\"\} of ssmix"),
        ("puzzle_tmix", tiny_model, {"torch_compile": True}, "mixtext takes the saliency.*leave out torch_compile"),
        ("ssmix", tiny_model, {"optim": "lomo"}, "optim='lomo' steps at every backward pass, and mixtext makes 2 of a batch"),
        ("puzzle_tmix", lambda: unmixable_text_model("squeezebert"), {}, "squeezebert"),
        ("puzzle_tmix", tiny_model, {"mix_layers": [9]}, "mix_layers: .*9"),
        ("embed_mixup", tiny_model, {"mix_layers": [9]}, "mix_layers: .*9"),
        ("ssmix", tiny_model, {"mix_layers": [1]}, r"mix_with='ssmix': mix_layers=\(1,\)"),
        ("ssmix", tiny_model, {"mix_loss": "bce"}, "mix_loss='bce' is a mean over the classes, and mixtext"),
        ("ssmix", tiny_model, {"mix_kwargs": '{"mix_with": "ssmix", "mix_with_kwargs": {"share": 0.1, "share": 0.2}}'}, "'share' twice"),
    ],
    ids=["compiled", "compiled puzzle", "an optimiser of its own", "no layers", "no such layer", "nor here", "ids have no layers", "bce", "twice"],
)  # fmt: skip
def test_refused_before_training(tmp_path, name, model, settings, message):
    with pytest.raises(ValueError, match=message):
        make(tmp_path / "out", name, model=model(), **settings)
    assert not (tmp_path / "out").exists()


def test_images_are_refused(tmp_path):
    with pytest.raises(
        ValueError, match="mixtext replaces tokens of texts, and ViTForImageClassification reads images"
    ):
        make_image_trainer(tmp_path / "out", mix_method="mixtext", mix_kwargs={"mix_with": "ssmix"})
