"""Each method's hyper-parameters, layers and losses, against the papers' numbers written out here."""

import json

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from tiny import DEPTH, tiny_batch, tiny_model
from waits import no_waits

from mixtext_hf.functional import MixedLoss, MixPlan, make_mixable
from mixtext_hf.methods import (
    ERM,
    METHODS,
    Citation,
    EmbedMixup,
    ManifoldMixup,
    PooledMixup,
    Step,
    TMix,
    make_method,
    puzzlemix,
    scaled_layers,
)
from mixtext_hf.mixing import PatchAttention, puzzle


COMMON = {"layers": None, "per": "batch", "prob": 1.0, "partner": "any", "pad": "mix", "clean_lam": 0.0}
# alpha, fold, and the layers in a model of 12.
DEFAULTS = {
    "erm": (ERM, 0.0, False, None),
    "tmix": (TMix, 16.0, True, [7, 9, 12]),
    "manifold_mixup": (ManifoldMixup, 2.0, False, list(range(12))),
    "embed_mixup": (EmbedMixup, 0.2, True, [0]),
    "pooled_mixup": (PooledMixup, 1.0, False, ["head"]),
}
MIXING = [name for name in DEFAULTS if name != "erm"]


def test_every_method_is_tested_here():
    # Those that learn from unlabelled texts: test_mixtext.py; that mix pixels: test_pixels.py; that mix tokens: test_ssmix.py,
    # test_puzzle_tmix.py; that label tokens alone: test_lada.py.
    elsewhere = {
        name
        for name, kind in METHODS.items()
        if kind.uses_unlabeled or kind.mixes_pixels or kind().reads_tokens or not kind.labels_texts
    }
    assert METHODS.keys() - elsewhere == set(DEFAULTS)


@pytest.mark.parametrize("name", DEFAULTS)
def test_defaults(name):
    kind, alpha, fold, layers = DEFAULTS[name]
    method = make_method(name)
    assert type(method) is kind is METHODS[name] and kind.name == name
    assert method == kind() and method.mixes == (name != "erm")
    assert method.passes(MixPlan.identity(2)) == 1
    assert method.hyperparameters() == {"alpha": alpha, "fold": fold, **COMMON}
    found = method.layer_set(12)
    assert (found if found is None else list(found)) == layers
    if name != "erm":
        assert list(kind(alpha=1.0, layers=[3, "head"]).layer_set(12)) == [3, "head"]


@pytest.mark.parametrize("name", DEFAULTS)
def test_each_says_where_it_comes_from(name):
    kind = METHODS[name]
    assert kind.equation
    if name == "erm":
        assert kind.citation is None
    else:
        assert isinstance(kind.citation, Citation) and kind.citation.url.startswith("https://")
        assert f"({kind.citation.year}). {kind.citation.title}." in str(kind.citation)


@pytest.mark.parametrize(
    "depth, expected",
    [
        (1, (1,)),
        (2, (1, 2)),
        (3, (2, 3)),
        (4, (2, 3, 4)),
        (6, (4, 5, 6)),
        (8, (5, 6, 8)),
        (12, (7, 9, 12)),
        (24, (14, 18, 24)),
    ],
)
def test_layers_scale_with_the_depth(depth, expected):
    assert scaled_layers((7, 9, 12), depth) == expected == TMix().layer_set(depth)


@pytest.mark.parametrize("depth", range(1, 49))
def test_layers_exist_and_do_not_repeat(depth):
    for name in MIXING:
        layers = list(make_method(name).layer_set(depth))
        assert layers and len(set(layers)) == len(layers)
        assert all(layer == "head" or 0 <= layer <= depth for layer in layers)
    # Round half up, in numbers that floats hold exactly.
    assert list(scaled_layers((7, 9, 12), depth)) == sorted({int(np.floor(depth * m / 12 + 0.5)) for m in (7, 9, 12)})


def test_unknown_names_are_answered_with_the_known_ones():
    message = (
        r"Unknown mix_method 'tmixx': choose from erm, tmix, manifold_mixup, embed_mixup, pooled_mixup, ssmix, puzzle_tmix, lada, "
        r"mixtext, uda, mixup, cutmix, mixup_cutmix, resizemix, augmix, puzzlemix, transmix, maskmix\."
    )
    with pytest.raises(ValueError, match=message):
        make_method("tmixx")
    message = (
        "tmix has no hyper-parameter 'aplha', 'layer': it has alpha, layers, fold, per, prob, partner, pad, clean_lam"
    )
    with pytest.raises(ValueError, match=message):
        make_method("tmix", layer=[1], aplha=2)


@pytest.mark.parametrize("name", DEFAULTS)
def test_hyperparameters_survive_json(name):
    given = {"layers": (0, 2, "head"), "per": "example", "prob": 0.25, "partner": "other_class", "pad": "keep"}
    given = {} if name == "erm" else {**given, "alpha": 0.75, "fold": True}
    for method in (make_method(name), make_method(name, **given)):
        stored = json.loads(json.dumps(method.hyperparameters()))
        again = make_method(name, **stored)
        assert again == method and hash(again) == hash(method)
        assert again.hyperparameters() == stored


@pytest.mark.parametrize("name", DEFAULTS)
@pytest.mark.parametrize(
    "wrong, message",
    [
        ({"alpha": -0.1}, r"mix_alpha must be a finite number >= 0, got -0\.1"),
        ({"alpha": float("nan")}, "mix_alpha must be a finite number >= 0, got nan"),
        ({"alpha": float("inf")}, "mix_alpha must be a finite number >= 0, got inf"),
        ({"alpha": "16"}, "mix_alpha must be a finite number >= 0, got '16'"),
        ({"prob": -0.1}, r"mix_prob must lie in \[0, 1\], got -0\.1"),
        ({"prob": 1.01}, r"mix_prob must lie in \[0, 1\], got 1\.01"),
        ({"prob": float("nan")}, r"mix_prob must lie in \[0, 1\], got nan"),
        ({"prob": "0.5"}, r"mix_prob must lie in \[0, 1\], got '0\.5'"),
        ({"per": "row"}, r"mix_per must be one of \('batch', 'example'\), got 'row'"),
        ({"partner": "friend"}, "mix_partner must be one of .*'nearest_length'.*, got 'friend'"),
        ({"pad": "drop"}, r"mix_pad must be one of \('mix', 'keep'\), got 'drop'"),
        ({"layers": []}, "mix_layers is empty: name at least one layer"),
        ({"layers": [7, -1]}, r"mix_layers must be a list of layer numbers >= 0 or 'head', got \[7, -1\]"),
        ({"layers": [7.0]}, r"mix_layers must be a list .*, got \[7\.0\]"),
        ({"layers": ["tail"]}, r"mix_layers must be a list .*, got \['tail'\]"),
        ({"layers": 7}, "mix_layers must be a list .*, got 7"),
        ({"layers": 7.5}, "mix_layers must be a list .*, got 7.5"),
        ({"layers": "head"}, "mix_layers must be a list .*, got 'head'"),
    ],
    ids=str,
)
def test_wrong_hyperparameters_are_named(name, wrong, message):
    with pytest.raises(ValueError, match=message):
        make_method(name, **wrong)


def test_erm_does_not_take_an_alpha():
    with pytest.raises(ValueError, match=r"mix_alpha=2\.0 was given, but erm does not mix: name a mixing method"):
        ERM(alpha=2.0)


# ---- drawing ----


@pytest.mark.parametrize("name", DEFAULTS)
def test_draws_from_its_own_layers_with_its_own_lambdas(name):
    _, _, fold, _ = DEFAULTS[name]
    method, generator = make_method(name), np.random.default_rng(0)
    plans = [method.draw(6, depth=DEPTH, rng=generator) for _ in range(200)]
    lam = torch.stack([plan.lam for plan in plans])
    if name == "erm":
        assert {plan.layer for plan in plans} == {None} and bool((lam == 1).all())
        return
    assert {plan.layer for plan in plans} == set(method.layer_set(DEPTH))
    assert bool((lam == lam[:, :1]).all())
    assert bool((lam < 0.5).any()) != fold


def test_every_hyperparameter_reaches_the_draw():
    labels, generator = torch.tensor([0, 0, 1, 1]), np.random.default_rng(0)
    method = ManifoldMixup(alpha=1.0, layers=[3], fold=True, per="example", partner="same_class", pad="keep")
    plan = method.draw(4, depth=DEPTH, rng=generator, labels=labels)
    assert plan.layer == 3 and plan.pad == "keep" and plan.index.tolist() == [1, 0, 3, 2]
    assert plan.lam.unique().numel() == 4 and plan.lam.min() >= 0.5
    paired = ManifoldMixup(partner="nearest_length").draw(
        4, depth=DEPTH, rng=generator, lengths=torch.tensor([9, 1, 2, 8])
    )
    assert paired.index.tolist() == [3, 2, 1, 0]
    assert ManifoldMixup(prob=0.0).draw(4, depth=DEPTH, rng=generator).layer is None


# ---- losses ----


@pytest.mark.parametrize("name", DEFAULTS)
def test_losses_are_the_weighted_pairs_on_the_mixed_model(name):
    model = tiny_model().eval()
    batch, labels = tiny_batch(), torch.tensor([0, 2, 1, 2])
    plain = model(**batch).logits
    mixer, method = make_mixable(model), make_method(name)
    plan = method.draw(4, depth=DEPTH, rng=np.random.default_rng(1))
    given = []

    def forward(inputs, plan=None, *, dropout=True):
        given.append((inputs, plan))
        with mixer.applying(plan):
            return model(**inputs).logits

    terms = list(method.losses(Step(forward, batch, labels, plan, MixedLoss("single_label_classification", 3))))
    assert len(terms) == method.passes(plan) == 1 and list(terms[0]) == ["loss_supervised"]
    assert len(given) == 1 and given[0][0] is batch
    if method.mixes:
        assert torch.equal(given[0][1].index, plan.index) and given[0][1].layer == plan.layer
    else:
        assert given[0][1] is None

    with mixer.applying(plan):
        logits = model(**batch).logits
    lam, index = plan.lam, plan.index
    own = F.cross_entropy(logits, labels, reduction="none")
    partners = F.cross_entropy(logits, labels[index], reduction="none")
    loss = terms[0]["loss_supervised"]
    torch.testing.assert_close(loss, (lam * own + (1 - lam) * partners).mean(), rtol=0, atol=1e-6)
    assert loss.dim() == 0 and loss.requires_grad
    if name == "erm":
        torch.testing.assert_close(loss, F.cross_entropy(plain, labels), rtol=0, atol=1e-6)
    else:
        assert not torch.allclose(logits, plain, atol=1e-3)


def test_a_pooled_mix_is_affine_in_the_logits():
    """Mixing before the last linear layer mixes the logits: the loss can be written without the mixer."""
    model = tiny_model().eval()
    batch, labels = tiny_batch(), torch.tensor([0, 2, 1, 2])
    plain = model(**batch).logits
    mixer, method = make_mixable(model), PooledMixup()
    plan = MixPlan(torch.tensor([1, 2, 3, 0]), torch.full((4,), 0.3), layer="head")

    def forward(inputs, plan=None, *, dropout=True):
        with mixer.applying(plan):
            return model(**inputs).logits

    (terms,) = method.losses(Step(forward, batch, labels, plan, MixedLoss("single_label_classification", 3)))
    logits = 0.3 * plain + 0.7 * plain[plan.index]
    expected = 0.3 * F.cross_entropy(logits, labels) + 0.7 * F.cross_entropy(logits, labels[plan.index])
    torch.testing.assert_close(terms["loss_supervised"], expected, rtol=0, atol=1e-5)


def test_a_row_whose_partner_has_no_label_stays_itself():
    model = tiny_model().eval()
    mixer, batch = make_mixable(model), tiny_batch()
    plain = model(**batch).logits
    labels = torch.tensor([0, -100, 2, 1])

    def forward(inputs, plan=None, *, dropout=True):
        with mixer.applying(plan):
            return model(**inputs).logits

    plan = MixPlan(torch.tensor([1, 0, 3, 2]), torch.full((4,), 0.7), layer=2)
    (terms,) = TMix().losses(Step(forward, batch, labels, plan, MixedLoss("single_label_classification", 3)))
    mixed = forward(batch, plan)
    own = torch.nn.functional.cross_entropy(plain[:1], labels[:1])
    pairs = [
        0.7 * torch.nn.functional.cross_entropy(mixed[i : i + 1], labels[i : i + 1])
        + 0.3 * torch.nn.functional.cross_entropy(mixed[i : i + 1], labels[j : j + 1])
        for i, j in ((2, 3), (3, 2))
    ]
    torch.testing.assert_close(terms["loss_supervised"], (own + sum(pairs)) / 3)


@pytest.mark.parametrize("setting", [{"layers": (2,)}, {"prob": 0.3}, {"fold": True}, {"partner": "same_class"}])
def test_erm_refuses_what_only_mixing_methods_have(setting):
    with pytest.raises(ValueError, match=f"mix_{next(iter(setting))}=.*erm does not mix"):
        ERM(**setting)


@pytest.mark.parametrize("setting", [{"fold": "no"}, {"layers": (True,)}])
def test_truth_values_are_no_words_and_no_layers(setting):
    with pytest.raises(ValueError, match=f"mix_{next(iter(setting))} must be"):
        TMix(**setting)


WAYS = {
    "erm": {},
    "tmix": {},
    "mixtext": {"margin_weight": 1.0},
    "mixtext of its own guesses": {"online": True, "align": (0.5, 0.25, 0.25), "confidence_weights": True},
    "mixtext of labelled shares": {"online": True, "view_weights": "all"},
    "mixup": {},
    "cutmix": {},
    "resizemix": {},
    "puzzlemix": {"adv_p": 1.0},
    "transmix": {"area_share": 0.5},
    "maskmix": {},
    "maskmix by attention": {"area_share": 0.0},
}


@pytest.mark.parametrize("way", WAYS)
def test_a_step_does_not_wait_for_the_device(monkeypatch, way):
    # What the cut of PuzzleMix reads is its own business.
    monkeypatch.setattr(
        puzzle, "solve_grid_cut", lambda unary, *weights: torch.zeros_like(unary[..., 0], dtype=torch.int64)
    )
    monkeypatch.setattr(puzzlemix, "_uniform_noise", lambda images, blocks, eps: torch.zeros_like(images))
    method = make_method(way.split()[0], **WAYS[way])
    texts, views = (2, 2) if method.uses_unlabeled else (0, 1)
    rows = 4 + texts * views
    drawn = method.draw(rows, depth=DEPTH, rng=np.random.default_rng(0), unlabeled=texts * views, image_size=(16, 16))
    weight = torch.zeros(3, 3, device="meta", requires_grad=True)

    def forward(inputs, plan=None, *, dropout=True):
        return inputs["pixel_values"].mean(dim=(2, 3)) @ weight

    def attending(inputs):
        return forward(inputs), PatchAttention(torch.ones(rows, 4, 4, device="meta"), (4, 4))

    with no_waits():
        step = Step(
            forward,
            {"pixel_values": torch.ones(rows, 3, 16, 16, device="meta")},
            torch.zeros(rows, dtype=torch.int64, device="meta"),
            drawn.to("meta"),
            MixedLoss("single_label_classification", 3),
            text_labels=torch.zeros(texts, dtype=torch.int64, device="meta") if texts else None,
            text_guesses=torch.ones(texts, 3, device="meta") if texts else None,
            views=views,
            label_shares=torch.ones(3) / 3,
            attending_forward=attending,
            pixel_mean=torch.zeros(3),
            pixel_std=torch.ones(3),
        )
        for terms in method.losses(step):
            sum(terms.values()).backward()
