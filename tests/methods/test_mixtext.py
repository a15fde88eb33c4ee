"""MixText and UDA against the equations written out as plain loops over floats.

Of the package nothing but the tested code is used: clean logits come from a plain model, mixed ones from two streams.
"""

import copy
import functools
import json
import logging
import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from tiny import DEPTH, tiny_batch, tiny_model
from two_streams import two_stream_logits

from mixtext_hf.functional import MixedLoss, MixPlan, make_mixable
from mixtext_hf.methods import ERM, UDA, MixText, Preset, Step, find_preset, make_method
from mixtext_hf.mixing import LongTail
from mixtext_hf.models.modes import evaluating
from mixtext_hf.training import MixTrainingArguments


LABELLED, TEXTS, VIEWS, CLASSES = 4, 3, 3, 3
ROWS = LABELLED + TEXTS * VIEWS
LENGTHS = (12, 7, 10, 4, 9, 6, 11, 8, 5, 10, 7, 6, 12)
LABELS = [0, 2, 1, 2]
KNOWN = [1, -100, 0]
NOTHING_KNOWN = [-100] * TEXTS
# A derangement of the 13 rows that pairs rows of one kind, rows of both kinds, and views of one text.
INDEX = [5, 0, 12, 2, 1, 8, 9, 10, 3, 11, 4, 7, 6]
LAMBDAS = [0.9, 0.6, 0.3, 0.8, 0.55, 1.0, 0.7, 0.0, 0.65, 0.5, 0.95, 0.4, 0.75]


def online_mixtext(**given):
    """The model in training guesses, and what else is as in the paper and its code."""
    own = {"align": "off", "alpha": 16.0, "temperature": 0.5, "ramp_steps": None, "view_weights": "all"}
    return MixText(online=True, **{**own, **given})


def online_uda(**given):
    return UDA(online=True, **{"align": "off", "temperature": 0.5, "ramp_steps": None, **given})


def plan_at(layer, lam=0.7, index=INDEX):
    lam = lam if isinstance(lam, list) else [lam] * len(index)
    return MixPlan(torch.tensor(index), torch.tensor(lam), layer=layer)


@functools.cache
def _small_model(**options):
    model = tiny_model(**options).eval()
    with torch.no_grad():
        model.classifier.weight.mul_(4.0)
        model.classifier.bias.sub_(model(**tiny_batch(LENGTHS)).logits.mean(dim=0))
    return model


def small_model(**options):
    """In evaluation mode, its predictions for `tiny_batch(LENGTHS)` of all classes and none of them certain."""
    return copy.deepcopy(_small_model(**options))


@functools.cache
def _shared_model():
    """For tests that leave its weights and modes alone."""
    return small_model()


class Bench:
    """A model with the mixer, one batch, and what was asked of the model, as the trainer would do it."""

    def __init__(self, model=None, batch=None, texts=TEXTS, views=VIEWS):
        self.model = _shared_model() if model is None else model
        self.mixer = make_mixable(self.model)
        self.batch = tiny_batch(LENGTHS) if batch is None else batch
        self.texts, self.views = texts, views
        self.calls = []
        self.notes = {}

    def forward(self, inputs, plan=None, *, dropout=True):
        self.calls.append(
            SimpleNamespace(
                ids=inputs["input_ids"],
                rows=len(inputs["input_ids"]),
                plan=plan,
                dropout=dropout,
                grad=torch.is_grad_enabled(),
            )
        )
        with self.mixer.applying(plan):
            if dropout:
                return self.model(**inputs).logits
            with evaluating(self.model):
                return self.model(**inputs).logits

    def note(self, terms):
        assert not any(value.requires_grad for value in terms.values())
        assert not set(terms) & set(self.notes)
        self.notes.update(terms)

    def step(self, plan, *, labels=LABELS, known=KNOWN, number=0, total=1, **options):
        labels = [*labels, *[-100] * (self.texts * self.views)]
        return Step(
            forward=self.forward,
            inputs=self.batch,
            labels=torch.tensor(labels),
            plan=plan,
            loss=MixedLoss("single_label_classification", self.model.config.num_labels, **options),
            text_labels=torch.tensor(known),
            views=self.views,
            number=number,
            total=total,
            note=self.note,
        )

    def losses(self, method, plan, **options):
        self.calls, self.notes = [], {}
        (terms,) = method.losses(self.step(plan, **options))
        return terms

    def gradients(self, terms):
        self.model.zero_grad()
        sum(terms.values()).backward()
        return {name: p.grad.clone() for name, p in self.model.named_parameters() if p.grad is not None}


def assert_same(actual, expected, atol=1e-6):
    assert actual.keys() == expected.keys()
    for name in expected:
        torch.testing.assert_close(actual[name], expected[name], rtol=0, atol=atol, msg=lambda m, n=name: f"{n}: {m}")


# ---- the reference: lists of floats ----


def softmax(row):
    powers = [math.exp(value - max(row)) for value in row]
    return [power / sum(powers) for power in powers]


def entropy(p):
    return -sum(value * math.log(value) for value in p if value > 0)


def mean(values):
    values = list(values)
    return sum(values) / len(values)


def view_rows(text, texts=TEXTS, views=VIEWS):
    """Where the views of a text stand in `[labelled | originals | view 1 | ...]`."""
    return [LABELLED + view * texts + text for view in range(views)]


def guess_by_hand(clean, weights):
    guesses = []
    for text in range(TEXTS):
        predictions = [softmax(clean[row]) for row in view_rows(text)]
        guesses.append(
            [sum(w * p[c] for w, p in zip(weights, predictions, strict=True)) / sum(weights) for c in range(CLASSES)]
        )
    return guesses


def sharpen_by_hand(p, temperature):
    powers = [value ** (1 / temperature) for value in p]
    return [power / sum(powers) for power in powers]


def targets_by_hand(guesses, labels=LABELS):
    targets = [[float(c == label) for c in range(CLASSES)] for label in labels] + [None] * (TEXTS * VIEWS)
    for text, guess in enumerate(guesses):
        for row in view_rows(text):
            targets[row] = guess
    return targets


def mix_by_hand(targets, index, lam):
    return [
        [lam[i] * targets[i][c] + (1 - lam[i]) * targets[index[i]][c] for c in range(CLASSES)]
        for i in range(len(targets))
    ]


def cross_entropy_by_hand(target, logits):
    return -sum(t * math.log(p) for t, p in zip(target, softmax(logits), strict=True))


def divergence_by_hand(target, logits):
    return sum(t * math.log(t / p) for t, p in zip(target, softmax(logits), strict=True) if t > 0)


def margin_by_hand(logits, kind, margin):
    p = softmax(logits)
    return max(0.0, margin - sum(value**2 for value in p) if kind == "squared" else entropy(p) - margin)


def losses_by_hand(
    plan,
    *,
    weights=(1, 1, 1),
    temperature=0.5,
    lambda_u=1.0,
    ramp=1.0,
    margin_weight=0.0,
    margin=0.7,
    margin_loss="squared",
    batch=None,
    labels=LABELS,
):
    """The terms of the loss of `small_model` on the batch, as floats."""
    model = _small_model()
    batch = tiny_batch(LENGTHS) if batch is None else batch
    with torch.no_grad():
        clean = model(**batch).logits.tolist()
    index, lam = plan.index.tolist(), plan.lam.tolist()
    mixed = clean
    if plan.layer is not None:
        mixed = two_stream_logits(model, batch, plan.index, plan.lam, plan.layer).tolist()

    guesses = [sharpen_by_hand(guess, temperature) for guess in guess_by_hand(clean, weights)]
    targets = mix_by_hand(targets_by_hand(guesses, labels), index, lam)
    terms = {
        "loss_supervised": mean(cross_entropy_by_hand(targets[i], mixed[i]) for i in range(LABELLED)),
        "loss_unlabeled": ramp
        * lambda_u
        * mean(divergence_by_hand(targets[i], mixed[i]) for i in range(LABELLED, ROWS)),
    }
    if margin_weight:
        originals = range(LABELLED, LABELLED + TEXTS)
        terms["loss_margin"] = margin_weight * mean(margin_by_hand(clean[i], margin_loss, margin) for i in originals)
    return terms


def assert_by_hand(actual, expected):
    assert list(actual) == list(expected)
    for name, value in expected.items():
        assert actual[name].dim() == 0 and actual[name].requires_grad
        assert actual[name].item() == pytest.approx(value, rel=0, abs=1e-6), name
    assert sum(actual.values()).item() == pytest.approx(sum(expected.values()), rel=0, abs=2e-6)


# ---- the losses ----

PLANS = {
    "no mix": MixPlan.identity(ROWS),
    "embeddings": plan_at(0),
    "below half": plan_at(2, 0.2),
    "per example": plan_at(3, LAMBDAS),
    "last layer": plan_at(DEPTH, LAMBDAS),
}


@pytest.mark.parametrize("plan", PLANS)
@pytest.mark.parametrize(
    "given, weights",
    [
        ("all", (1, 1, 1)),
        ("original", (1, 0, 0)),
        ([1, 0, 1], (1, 0, 1)),
        ([0, 0, 1], (0, 0, 1)),
        ([0.2, 3, 0.7], (0.2, 3, 0.7)),
        ((5, 5.0, 5), (1, 1, 1)),
    ],
    ids=str,
)
def test_losses_are_those_of_the_loop(plan, given, weights):
    terms = Bench().losses(online_mixtext(view_weights=given, ramp_steps=0), PLANS[plan])
    assert_by_hand(terms, losses_by_hand(PLANS[plan], weights=weights))


@pytest.mark.parametrize("temperature", [0.1, 0.3, 0.5, 1, 2.5])
def test_targets_are_sharpened(temperature):
    terms = Bench().losses(online_mixtext(temperature=temperature, ramp_steps=0), PLANS["per example"])
    assert_by_hand(terms, losses_by_hand(PLANS["per example"], temperature=temperature))


@pytest.mark.parametrize(
    "ramp_steps, number, total, expected",
    [
        (None, 0, 10, 0.0),
        (None, 3, 10, 0.3),
        (None, 9, 10, 0.9),
        (None, 10, 10, 1.0),
        (None, 12, 10, 1.0),
        (0, 0, 10, 1.0),
        (0, 7, 10, 1.0),
        (4, 0, 10, 0.0),
        (4, 1, 10, 0.25),
        (4, 4, 10, 1.0),
        (4, 9, 10, 1.0),
        (40, 10, 10, 0.25),
    ],
)
def test_the_consistency_loss_grows_over_the_ramp(ramp_steps, number, total, expected):
    bench = Bench()
    terms = bench.losses(
        online_mixtext(lambda_u=2.5, ramp_steps=ramp_steps), PLANS["below half"], number=number, total=total
    )
    assert_by_hand(terms, losses_by_hand(PLANS["below half"], lambda_u=2.5, ramp=expected))
    assert bench.notes["unlabeled_weight"].item() == pytest.approx(2.5 * expected)


@pytest.mark.parametrize("plan", PLANS)
@pytest.mark.parametrize("kind", ["squared", "entropy"])
@pytest.mark.parametrize("margin", [0.0, 0.5, 0.9])
def test_margin_losses_are_those_of_the_loop(plan, kind, margin):
    bench = Bench()
    method = online_mixtext(margin_weight=0.6, margin_loss=kind, margin=margin, ramp_steps=0)
    terms = bench.losses(method, PLANS[plan])
    assert_by_hand(terms, losses_by_hand(PLANS[plan], margin_weight=0.6, margin_loss=kind, margin=margin))
    # Neither kind of hinge is tested on one side alone.
    if (kind, margin) == ("squared", 0.9) or (kind, margin) == ("entropy", 0.0):
        assert terms["loss_margin"].item() > 0


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("within", ["all", "kind"])
@pytest.mark.parametrize("per", ["batch", "example"])
@pytest.mark.parametrize("fold", [True, False])
def test_losses_under_drawn_plans(seed, within, per, fold):
    method = online_mixtext(alpha=0.75, fold=fold, per=per, mix_within=within, lambda_u=0.5, margin_weight=0.1)
    plan = method.draw(ROWS, depth=DEPTH, rng=np.random.default_rng(seed), unlabeled=TEXTS * VIEWS)
    terms = Bench().losses(method, plan, number=1, total=4)
    assert_by_hand(terms, losses_by_hand(plan, lambda_u=0.5, ramp=0.25, margin_weight=0.1))


def test_label_smoothing_acts_on_the_mixed_targets_of_labelled_rows_alone():
    plan, bench = PLANS["per example"], Bench()
    plain = bench.losses(online_mixtext(ramp_steps=0), plan)
    terms = bench.losses(online_mixtext(ramp_steps=0), plan, label_smoothing=0.1)
    mixed = bench.forward(bench.batch, plan).tolist()
    uniform = mean(cross_entropy_by_hand([1 / CLASSES] * CLASSES, mixed[i]) for i in range(LABELLED))
    expected = 0.9 * plain["loss_supervised"].item() + 0.1 * uniform
    assert terms["loss_supervised"].item() == pytest.approx(expected, rel=0, abs=1e-6)
    assert torch.equal(terms["loss_unlabeled"], plain["loss_unlabeled"])


def test_two_views_and_one_text():
    """Nothing of the layout is fixed: one text of two views behind the four labelled rows."""
    batch = {name: value[:6] for name, value in tiny_batch(LENGTHS).items()}
    bench = Bench(batch=batch, texts=1, views=2)
    with torch.no_grad():
        clean = bench.model(**batch).logits.tolist()
    guess = [mean(pair) for pair in zip(softmax(clean[4]), softmax(clean[5]), strict=True)]
    target = sharpen_by_hand(guess, 0.5)
    terms = bench.losses(online_mixtext(ramp_steps=0), MixPlan.identity(6), known=[-100])
    expected = mean(divergence_by_hand(target, clean[row]) for row in (4, 5))
    assert terms["loss_unlabeled"].item() == pytest.approx(expected, rel=0, abs=1e-6)


# ---- drawing ----


@pytest.mark.parametrize("per", ["batch", "example"])
@pytest.mark.parametrize("within", ["all", "kind"])
def test_one_permutation_one_layer_and_lambdas_as_asked(within, per):
    method = online_mixtext(mix_within=within, per=per, alpha=1.0)
    rng, plans = np.random.default_rng(0), []
    for _ in range(200):
        plans.append(method.draw(ROWS, depth=12, rng=rng, unlabeled=TEXTS * VIEWS))
    assert {plan.layer for plan in plans} == {7, 9, 12}
    assert all(sorted(plan.index.tolist()) == list(range(ROWS)) for plan in plans)
    assert all(plan.lam.min() >= 0.5 for plan in plans)
    assert all((plan.lam.unique().numel() == 1) == (per == "batch") for plan in plans)
    crossings = [
        sum((i < LABELLED) != (partner < LABELLED) for i, partner in enumerate(plan.index.tolist())) for plan in plans
    ]
    if within == "kind":
        assert set(crossings) == {0}
        # Whoever has company is mixed with it.
        assert all(i != partner for plan in plans for i, partner in enumerate(plan.index.tolist()))
    else:
        # 4 labelled rows, each with an unlabelled partner at a chance of 9/13: 2 x 4 x 9/13 crossings on average.
        assert np.mean(crossings) == pytest.approx(2 * 4 * 9 / 13, abs=0.4)


def test_a_lone_labelled_row_among_its_kind_stays_itself():
    plan = online_mixtext(mix_within="kind").draw(7, depth=DEPTH, rng=np.random.default_rng(0), unlabeled=6)
    assert plan.index[0] == 0 and sorted(plan.index[1:].tolist()) == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize("within", ["all", "kind"])
def test_folding_bounds_lambda_and_is_optional(within):
    for fold in (True, False):
        method, rng = online_mixtext(mix_within=within, fold=fold, alpha=0.5), np.random.default_rng(0)
        lam = [method.draw(6, depth=DEPTH, rng=rng, unlabeled=4).lam[0].item() for _ in range(100)]
        assert (min(lam) >= 0.5) == fold


@pytest.mark.parametrize("within", ["all", "kind"])
def test_every_mixing_option_reaches_the_draw(within):
    method = online_mixtext(alpha=1.0, layers=[3], pad="keep", per="example", mix_within=within)
    plan = method.draw(ROWS, depth=DEPTH, rng=np.random.default_rng(0), unlabeled=9)
    assert (plan.layer, plan.pad) == (3, "keep") and plan.lam.unique().numel() == ROWS
    never = online_mixtext(prob=0.0, mix_within=within).draw(
        ROWS, depth=DEPTH, rng=np.random.default_rng(0), unlabeled=9
    )
    assert never.layer is None and never.lam.tolist() == [1.0] * ROWS


def test_partners_of_the_nearest_length():
    lengths = torch.tensor([9, 1, 2, 8])
    plan = online_mixtext(partner="nearest_length").draw(
        4, depth=DEPTH, rng=np.random.default_rng(0), lengths=lengths, unlabeled=2
    )
    assert plan.index.tolist() == [3, 2, 1, 0]


# ---- the guess ----


@pytest.mark.parametrize(
    "weights, used", [("all", [0, 1, 2]), ("original", [0]), ([0, 0, 1], [2]), ([2, 0, 0.5], [0, 2])], ids=str
)
@pytest.mark.parametrize("guess_dropout", [False, True])
@pytest.mark.parametrize("margin_weight", [0.0, 1.0])
def test_only_views_that_have_a_weight_are_run_once_and_without_gradient(weights, used, guess_dropout, margin_weight):
    bench = Bench()
    bench.losses(
        online_mixtext(view_weights=weights, guess_dropout=guess_dropout, margin_weight=margin_weight),
        PLANS["embeddings"],
    )
    guess, mixed = bench.calls
    assert guess.plan is None and not guess.grad and guess.dropout == guess_dropout
    expected = [LABELLED + view * TEXTS + text for view in used for text in range(TEXTS)]
    assert torch.equal(guess.ids, bench.batch["input_ids"][expected])
    assert mixed.grad and mixed.dropout and mixed.plan.layer == 0
    assert mixed.rows == ROWS + (TEXTS if margin_weight else 0)


def test_guesses_are_those_of_the_loop_and_have_no_gradient():
    bench = Bench()
    with torch.no_grad():
        clean = bench.model(**bench.batch).logits.tolist()
    for weights in ((1, 1, 1), (1, 0, 0), (0.5, 0, 2)):
        guess = online_mixtext(view_weights=weights).guess(bench.step(MixPlan.identity(ROWS)), LABELLED)
        assert not guess.requires_grad and guess.dtype == torch.float32
        expected = torch.tensor(guess_by_hand(clean, weights))
        torch.testing.assert_close(guess, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("scale", [1e-30, 1e-3, 1e30])
def test_only_the_ratio_of_the_weights_counts(scale):
    terms = Bench().losses(online_mixtext(view_weights=[scale, 2 * scale, 0], ramp_steps=0), PLANS["per example"])
    assert_by_hand(terms, losses_by_hand(PLANS["per example"], weights=(1, 2, 0)))


@pytest.mark.parametrize("margin_weight", [0.0, 0.4])
def test_the_gradient_is_that_of_the_loss_on_constant_targets(margin_weight):
    plan, bench = PLANS["per example"], Bench()
    method = online_mixtext(ramp_steps=0, lambda_u=0.7, margin_weight=margin_weight, margin=0.9)
    actual = bench.gradients(bench.losses(method, plan))

    with torch.no_grad():
        clean = bench.model(**bench.batch).logits.tolist()
    guesses = [sharpen_by_hand(guess, 0.5) for guess in guess_by_hand(clean, (1, 1, 1))]
    targets = torch.tensor(mix_by_hand(targets_by_hand(guesses), plan.index.tolist(), plan.lam.tolist()))
    log_p = bench.forward(bench.batch, plan).log_softmax(dim=-1)
    per_row = -(targets * log_p).sum(dim=-1)
    terms = {"supervised": per_row[:LABELLED].mean(), "unlabeled": 0.7 * per_row[LABELLED:].mean()}
    if margin_weight:
        p = bench.forward(bench.batch).softmax(dim=-1)[LABELLED : LABELLED + TEXTS]
        terms["margin"] = margin_weight * (0.9 - p.square().sum(dim=-1)).clamp_min(0).mean()
        assert terms["margin"].item() > 0
    assert_same(actual, bench.gradients(terms), atol=5e-6)


def test_weights_that_do_not_fit_the_views_are_refused():
    method = online_mixtext(view_weights=[1, 0])
    with pytest.raises(ValueError, match=r"view_weights has 2 weights, \[1\.0, 0\.0\], but .* have 3 views: give one"):
        Bench().losses(method, PLANS["no mix"])
    assert method.weights_of(2) == (1.0, 0.0)
    assert online_mixtext().weights_of(4) == (1.0,) * 4 and online_mixtext(view_weights="original").weights_of(2) == (
        1.0,
        0.0,
    )


def test_a_batch_without_unlabelled_texts_is_refused():
    step = Step(None, {}, torch.tensor([0]), MixPlan.identity(1), MixedLoss("single_label_classification", 3))
    for method in (online_mixtext(), online_uda()):
        with pytest.raises(
            ValueError, match=f"{method.name} was given .* without unlabelled texts: .*unlabeled_dataset"
        ):
            next(method.losses(step))


# ---- its relatives ----


def test_without_mixing_and_without_the_unlabelled_loss_it_is_erm():
    bench = Bench()
    method = online_mixtext(alpha=0.0, lambda_u=0.0, ramp_steps=0)
    plan = method.draw(ROWS, depth=DEPTH, rng=np.random.default_rng(0), unlabeled=TEXTS * VIEWS)
    terms = bench.losses(method, plan)
    assert terms["loss_unlabeled"].item() == 0.0
    actual = bench.gradients(terms)

    labelled = {name: value[:LABELLED] for name, value in bench.batch.items()}
    loss = MixedLoss("single_label_classification", CLASSES)
    step = Step(bench.forward, labelled, torch.tensor(LABELS), MixPlan.identity(LABELLED), loss)
    (expected,) = ERM().losses(step)
    torch.testing.assert_close(terms["loss_supervised"], expected["loss_supervised"], rtol=0, atol=1e-6)
    assert_same(actual, bench.gradients(expected))


@pytest.mark.parametrize("margin_weight", [0.0, 0.5])
def test_without_mixing_it_is_uda_with_all_views_guessing(margin_weight):
    bench = Bench()
    options = {"lambda_u": 1.0, "ramp_steps": 0, "temperature": 0.4, "margin_weight": margin_weight, "margin": 0.9}
    mixtext, uda = online_mixtext(alpha=0.0, **options), online_uda(view_weights="all", **options)
    plans = [
        method.draw(ROWS, depth=DEPTH, rng=np.random.default_rng(0), unlabeled=TEXTS * VIEWS)
        for method in (mixtext, uda)
    ]
    assert all(plan.layer is None and plan.lam.tolist() == [1.0] * ROWS for plan in plans)
    terms = [bench.losses(method, plan) for method, plan in zip((mixtext, uda), plans, strict=True)]
    assert_same(terms[0], terms[1])
    assert_same(bench.gradients(terms[0]), bench.gradients(terms[1]))


def test_uda_draws_all_views_to_the_guess_from_the_original():
    plan = MixPlan.identity(ROWS)
    terms = Bench().losses(online_uda(ramp_steps=0, margin_weight=0.3, margin_loss="entropy", margin=0.2), plan)
    options = {"margin_weight": 0.3, "margin_loss": "entropy", "margin": 0.2}
    assert_by_hand(terms, losses_by_hand(plan, weights=(1, 0, 0), **options))


# ---- the margin loss's own rows ----


def test_extra_rows_only_where_the_margin_loss_needs_them():
    bench = Bench()
    for method, rows in (
        (online_mixtext(), ROWS),
        (online_mixtext(margin_weight=0.5), ROWS + TEXTS),
        (online_uda(), ROWS),
        (online_uda(margin_weight=0.5), ROWS),
    ):
        plan = MixPlan.identity(ROWS) if isinstance(method, UDA) else PLANS["embeddings"]
        bench.losses(method, plan)
        assert bench.calls[1].rows == rows


def test_the_extra_rows_are_the_originals_unmixed_and_unpermuted():
    bench, plan = Bench(), PLANS["below half"]
    bench.losses(online_mixtext(margin_weight=0.5), plan)
    call = bench.calls[1]
    originals = bench.batch["input_ids"][LABELLED : LABELLED + TEXTS]
    assert torch.equal(call.ids, torch.cat([bench.batch["input_ids"], originals]))
    assert call.plan.index.tolist() == [*INDEX, 13, 14, 15]
    assert call.plan.lam.tolist() == pytest.approx([0.2] * ROWS + [1.0] * TEXTS)
    assert (call.plan.layer, call.plan.pad) == (plan.layer, plan.pad)
    extended = {name: torch.cat([v, v[LABELLED : LABELLED + TEXTS]]) for name, v in bench.batch.items()}
    with torch.no_grad():
        logits = bench.forward(extended, call.plan)
        clean = bench.forward(bench.batch)[LABELLED : LABELLED + TEXTS]
        mixed = bench.forward(bench.batch, plan)
    torch.testing.assert_close(logits[ROWS:], clean, rtol=0, atol=1e-6)
    torch.testing.assert_close(logits[:ROWS], mixed, rtol=0, atol=1e-6)


def test_the_other_losses_do_not_see_the_extra_rows():
    bench, plan = Bench(), PLANS["per example"]
    plain = bench.losses(online_mixtext(ramp_steps=0), plan)
    terms = bench.losses(online_mixtext(ramp_steps=0, margin_weight=0.5), plan)
    terms.pop("loss_margin")
    assert_same(terms, plain)


def test_the_entropy_margin_is_0_for_two_classes_and_says_so(caplog):
    bench = Bench(model=small_model(num_labels=2))
    method = online_mixtext(margin_weight=1.0, margin_loss="entropy", margin=0.7, ramp_steps=0)
    terms = bench.losses(method, PLANS["embeddings"], labels=[0, 1, 1, 0])
    assert terms["loss_margin"].item() == 0.0
    # Not even the least certain prediction is above it.
    assert method.margin_term(torch.zeros(4, 2)).item() == 0.0
    with caplog.at_level(logging.WARNING):
        method.warn_of_idle_margin(2)
    (record,) = caplog.records
    assert "always 0 for 2 classes" in record.getMessage() and "0.693" in record.getMessage()


@pytest.mark.parametrize(
    "options, classes",
    [
        ({"margin_weight": 0.0, "margin_loss": "entropy"}, 2),
        ({"margin_weight": 1.0, "margin_loss": "squared"}, 2),
        ({"margin_weight": 1.0, "margin_loss": "entropy"}, 3),
        ({"margin_weight": 1.0, "margin_loss": "entropy", "margin": 0.69}, 2),
    ],
    ids=str,
)
def test_no_warning_where_the_margin_can_be_passed(caplog, options, classes):
    with caplog.at_level(logging.WARNING):
        online_mixtext(**options).warn_of_idle_margin(classes)
    assert not caplog.records


# ---- what must not matter ----


def test_permuting_the_classes_permutes_everything():
    method = online_mixtext(ramp_steps=0, margin_weight=0.5, margin=0.9)
    bench, order = Bench(), [2, 0, 1]  # class c is called order[c]
    terms, notes = bench.losses(method, PLANS["per example"]), bench.notes
    renamed = Bench(model=small_model())
    with torch.no_grad():
        for parameter in (renamed.model.classifier.weight, renamed.model.classifier.bias):
            parameter[order] = parameter.clone()
    labels = [order[label] for label in LABELS]
    known = [order[label] if label >= 0 else label for label in KNOWN]
    assert_same(renamed.losses(method, PLANS["per example"], labels=labels, known=known), terms)
    share, notes["guess_share"] = notes["guess_share"], notes["guess_share"].clone()
    notes["guess_share"][order] = share
    assert_same(renamed.notes, notes)


@pytest.mark.parametrize("within", ["all", "kind"])
def test_the_order_of_the_unlabelled_texts_does_not_matter(within):
    method = online_mixtext(ramp_steps=0, margin_weight=0.5, margin=0.9, per="example", mix_within=within)
    plan = method.draw(ROWS, depth=DEPTH, rng=np.random.default_rng(3), unlabeled=TEXTS * VIEWS)
    bench = Bench()
    terms = bench.losses(method, plan)
    expected = bench.gradients(terms)

    texts = [2, 0, 1]
    order = [*range(LABELLED), *(LABELLED + view * TEXTS + text for view in range(VIEWS) for text in texts)]
    index = [order.index(plan.index[row].item()) for row in order]
    moved = Bench(batch={name: value[order] for name, value in bench.batch.items()})
    same_plan = plan_at(plan.layer, plan.lam[order].tolist(), index)
    actual = moved.losses(method, same_plan, known=[KNOWN[text] for text in texts])
    assert_same(actual, terms)
    assert_same(moved.notes, bench.notes)
    assert_same(moved.gradients(actual), expected, atol=5e-6)


def test_the_order_of_the_views_does_not_matter_if_their_weights_go_along():
    bench, views = Bench(), [1, 2, 0]
    order = [*range(LABELLED), *(LABELLED + view * TEXTS + text for view in views for text in range(TEXTS))]
    index = [order.index(row) for row in (INDEX[row] for row in order)]
    moved = Bench(batch={name: value[order] for name, value in bench.batch.items()})
    expected = bench.losses(online_mixtext(ramp_steps=0, view_weights=[1, 0, 3]), PLANS["embeddings"])
    actual = moved.losses(online_mixtext(ramp_steps=0, view_weights=[0, 3, 1]), plan_at(0, index=index))
    assert_same(actual, expected)


def test_padding_does_not_matter():
    method = online_mixtext(ramp_steps=0, margin_weight=0.5, margin=0.9)
    for plan in PLANS.values():
        wider = Bench(batch=tiny_batch(LENGTHS, longest=20))
        assert wider.batch["input_ids"].shape == (ROWS, 20)
        bench = Bench()
        assert_same(wider.losses(method, plan), bench.losses(method, plan))
        assert_same(wider.notes, bench.notes)


def test_all_inputs_of_the_model_go_along():
    batch = {**tiny_batch(LENGTHS), "token_type_ids": torch.zeros(ROWS, 12, dtype=torch.long)}
    batch["token_type_ids"][:, 3:] = 1
    bench, method = Bench(batch=batch), online_mixtext(ramp_steps=0, margin_weight=0.5, margin=0.9)
    expected = losses_by_hand(PLANS["below half"], margin_weight=0.5, margin=0.9, batch=batch)
    assert_by_hand(bench.losses(method, PLANS["below half"]), expected)
    assert expected != losses_by_hand(PLANS["below half"], margin_weight=0.5, margin=0.9)


# ---- labels that are known all the same ----


@pytest.mark.parametrize(
    "method", [online_mixtext(ramp_steps=0, margin_weight=0.5), online_uda(ramp_steps=0)], ids=lambda m: m.name
)
def test_known_labels_change_neither_losses_nor_gradients(method):
    plan, bench = MixPlan.identity(ROWS) if isinstance(method, UDA) else PLANS["per example"], Bench()
    terms = bench.losses(method, plan, known=NOTHING_KNOWN)
    expected, notes = bench.gradients(terms), bench.notes
    for known in (KNOWN, [0, 0, 0], [2, 1, 0]):
        again = bench.losses(method, plan, known=known)
        assert all(torch.equal(again[name], terms[name]) for name in terms)
        actual = bench.gradients(again)
        assert all(torch.equal(actual[name], expected[name]) for name in expected)
        others = set(notes) - {"guess_known", "guess_right"}
        assert set(bench.notes) == set(notes) and all(torch.equal(bench.notes[name], notes[name]) for name in others)
        assert bench.notes["guess_known"].item() == pytest.approx(sum(label >= 0 for label in known) / TEXTS)


def averaged(notes):
    """The averages over a logging window as the trainer hands them on."""
    return {name: torch.stack([note[name] for note in notes]).mean(dim=0).tolist() for name in notes[0]}


def test_what_is_logged_of_the_guesses():
    method = online_mixtext(temperature=0.6, view_weights=[1, 2, 0])
    window, entropies, sharpened, right, count = [], [], [], 0, 0
    for seed, known in enumerate(([1, -100, 0], [2, 2, 2], NOTHING_KNOWN, [-100, 0, 1])):
        bench = Bench(batch=tiny_batch(LENGTHS, seed=seed))
        bench.losses(method, PLANS["embeddings"], known=known)
        window.append(bench.notes)
        with torch.no_grad():
            guesses = guess_by_hand(bench.model(**bench.batch).logits.tolist(), (1, 2, 0))
        for guess, label in zip(guesses, known, strict=True):
            entropies.append(entropy(guess))
            sharpened.append(sharpen_by_hand(guess, 0.6))
            right += label >= 0 and guess.index(max(guess)) == label
            count += label >= 0
    assert 0 < right < count == 7
    shares = [mean(guess[c] for guess in sharpened) for c in range(CLASSES)]
    summary = method.summarise(averaged(window))
    assert set(summary) == {
        "unlabeled_weight",
        "guess_entropy",
        "guess_largest_share",
        "guess_balance",
        "guess_accuracy",
    }
    assert summary["guess_entropy"] == pytest.approx(mean(entropies), abs=1e-6)
    assert summary["guess_largest_share"] == pytest.approx(max(shares), abs=1e-6)
    assert summary["guess_balance"] == pytest.approx(entropy(shares) / math.log(CLASSES), abs=1e-6)
    assert summary["guess_accuracy"] == pytest.approx(right / count, abs=1e-6)
    json.dumps(summary)


def test_no_accuracy_without_known_labels():
    bench = Bench()
    bench.losses(online_mixtext(), PLANS["embeddings"], known=NOTHING_KNOWN)
    averages = averaged([bench.notes])
    before = dict(averages)
    summary = online_mixtext().summarise(averages)
    assert "guess_accuracy" not in summary and not any(name.startswith("guess_known") for name in summary)
    assert averages == before


def test_a_window_without_a_step_is_handed_on():
    assert online_mixtext().summarise({}) == {}
    assert online_mixtext().summarise({"mix_lambda": 0.6}) == {"mix_lambda": 0.6}


@pytest.mark.parametrize(
    "shares, balance",
    [
        ([0.25] * 4, 1.0),
        ([1.0, 0.0], 0.0),
        ([0.5, 0.5, 0.0, 0.0], 0.5),
        ([0.9, 0.1], entropy([0.9, 0.1]) / math.log(2)),
    ],
    ids=str,
)
def test_balance(shares, balance):
    summary = online_mixtext().summarise({"guess_share": shares})
    assert summary["guess_balance"] == pytest.approx(balance)
    assert summary["guess_largest_share"] == max(shares)


def told(shares, method=None, texts=100.0):
    """What a fresh watch says of a window of so many texts in one step."""
    return (method or online_mixtext()).watch()({"guess_share": shares, "guess_texts": texts}, {"guess_texts": 1})


def test_an_alarm_when_one_class_takes_the_guesses():
    for shares in ([1 / 3] * 3, [0.6, 0.2, 0.2], [0.85, 0.15]):
        assert told(shares) is None
    for shares in ([0.95, 0.05], [0.01, 0.01, 0.98], [1.0, 0.0]):
        assert told(shares, texts=99.0) is None
        alarm = told(shares, online_mixtext(temperature=0.25))
        assert "expected" in alarm
        assert f"{max(shares):.0%}" in alarm
        assert all(word in alarm for word in ("temperature (now 0.25", "lambda_u", "guesser", "align"))


def test_a_collapsed_model_raises_the_alarm_and_a_fresh_one_does_not():
    bench = Bench(model=small_model())
    steps = {"guess_texts": 40}
    bench.losses(online_mixtext(), PLANS["embeddings"])
    assert online_mixtext().watch()(averaged([bench.notes]), steps) is None
    with torch.no_grad():
        bench.model.classifier.bias[1] += 20.0
    bench.losses(online_mixtext(), PLANS["embeddings"])
    assert "collapse" in online_mixtext().watch()(averaged([bench.notes]), steps)


# ---- hyper-parameters ----

DEFAULTS = {
    "alpha": 1.0,
    "layers": None,
    "fold": True,
    "per": "batch",
    "prob": 1.0,
    "clean_lam": 0.0,
    "partner": "any",
    "pad": "mix",
    "online": False,
    "targets": "soft",
    "align": "labelled",
    "align_decay": 0.99,
    "balanced_sharpening": False,
    "confidence_weights": False,
    "temperature": 0.7,
    "lambda_u": 1.0,
    "ramp_steps": 0,
    "view_weights": "original",
    "guess_dropout": False,
    "mix_with": "tmix",
    "mix_with_kwargs": None,
    "mix_within": "all",
    "margin_weight": 0.0,
    "margin": 0.7,
    "margin_loss": "squared",
}


def test_defaults():
    method = make_method("mixtext")
    assert type(method) is MixText and method.hyperparameters() == DEFAULTS
    assert method.mixes and method.uses_unlabeled and method.passes(MixPlan.identity(2)) == 1
    assert method.layer_set(12) == (7, 9, 12) and method.layer_set(6) == (4, 5, 6)
    assert MixText(layers=[1, "head"]).layer_set(12) == (1, "head")
    uda = make_method("uda")
    own = {"alpha": 0.0, "fold": False}
    assert type(uda) is UDA and uda.hyperparameters() == {**DEFAULTS, **own}
    assert not uda.mixes and uda.uses_unlabeled and uda.layer_set(12) is None


@pytest.mark.parametrize("name, year, first", [("mixtext", 2020, "Chen"), ("uda", 2020, "Xie")])
def test_each_says_where_it_comes_from(name, year, first):
    citation = make_method(name).citation
    assert citation.year == year and citation.authors.startswith(first) and citation.url.startswith("https://")


PRESETS = {
    "ours": ({}, {}),
    # Temperature of DBpedia and Yahoo; all views weigh 1; no ramp; the margin loss as printed.
    "paper": (
        {"online": True, "align": "off", "alpha": 16.0, "temperature": 0.5, "view_weights": "all"},
        {
            "learning_rate": 1e-5,
            "head_learning_rate": 1e-3,
            "per_device_train_batch_size": 4,
            "per_device_unlabeled_batch_size": 8,
        },
    ),
    "official_code": (
        {
            "online": True,
            "align": "off",
            "alpha": 16.0,
            "temperature": 0.5,
            "ramp_steps": None,
            "guess_dropout": True,
            "margin_loss": "entropy",
        },
        {
            "learning_rate": 5e-6,
            "head_learning_rate": 5e-4,
            "per_device_train_batch_size": 4,
            "per_device_unlabeled_batch_size": 8,
            "weight_decay": 0.0,
        },
    ),
}


@pytest.mark.parametrize("name", PRESETS)
def test_presets(name, tmp_path):
    hyperparameters, training = PRESETS[name]
    assert list(MixText.presets) and set(MixText.presets) == set(PRESETS)
    preset = find_preset("mixtext", name)
    assert isinstance(preset, Preset)
    arguments = MixTrainingArguments(str(tmp_path), mix_method="mixtext", mix_preset=name, use_cpu=True)
    assert arguments.make_method() == make_method("mixtext", **preset.hyperparameters)
    assert arguments.make_method().hyperparameters() == {**DEFAULTS, **hyperparameters}
    # No schedule: neither paper nor code has one.
    expected = training if name == "ours" else {**training, "lr_scheduler_type": "constant"}
    assert preset.training_arguments == expected
    filled = MixTrainingArguments(str(tmp_path), use_cpu=True, **preset.training_arguments)
    assert filled.max_grad_norm == 0.0


def test_what_is_given_wins_over_the_preset(tmp_path):
    arguments = MixTrainingArguments(
        str(tmp_path),
        mix_method="mixtext",
        mix_preset="official_code",
        mix_alpha=0.3,
        mix_kwargs={"view_weights": [1, 0, 1]},
        use_cpu=True,
    )
    expected = {**DEFAULTS, **PRESETS["official_code"][0], "alpha": 0.3, "view_weights": [1.0, 0.0, 1.0]}
    assert arguments.make_method().hyperparameters() == expected


@pytest.mark.parametrize(
    "method, preset, known",
    [
        ("mixtext", "papr", "ours, paper, official_code"),
        ("uda", "paper", "it has none"),
        ("tmix", "ours", "it has none"),
    ],
)
def test_unknown_presets_are_answered_with_the_known_ones(method, preset, known):
    with pytest.raises(ValueError, match=f"mix_preset='{preset}' is no preset of {method}: .*{known}"):
        find_preset(method, preset)


def test_the_presets_are_not_shared_between_methods_made_of_them():
    first = make_method("mixtext", **find_preset("mixtext", "paper").hyperparameters)
    second = make_method("mixtext", **find_preset("mixtext", "paper").hyperparameters)
    assert first == second and hash(first) == hash(second) and first != MixText()


@pytest.mark.parametrize("name", ["mixtext", "uda"])
@pytest.mark.parametrize(
    "given",
    [
        {},
        {"temperature": 0.3, "lambda_u": 0, "ramp_steps": 100, "guess_dropout": True},
        {"view_weights": (1, 0, 2.5)},
        {"view_weights": "original", "margin_weight": 0.05, "margin": 0.5, "margin_loss": "entropy"},
    ],
    ids=str,
)
def test_hyperparameters_survive_json(name, given):
    mixing = {"alpha": 0.75, "layers": (0, "head"), "per": "example", "pad": "keep", "mix_within": "kind", "prob": 0.5}
    method = make_method(name, **(mixing if name == "mixtext" else {}), **given)
    stored = json.loads(json.dumps(method.hyperparameters()))
    again = make_method(name, **stored)
    assert again == method and hash(again) == hash(method) and again.hyperparameters() == stored


INF, NAN = float("inf"), float("nan")


@pytest.mark.parametrize("name", ["mixtext", "uda"])
@pytest.mark.parametrize(
    "wrong, message",
    [
        *(
            ({"temperature": t}, "temperature must be a positive number.*: 1 leaves")
            for t in (0, -1, NAN, INF, "1", True, None)
        ),
        *(({"lambda_u": v}, "lambda_u must be a number >= 0") for v in (-0.1, NAN, INF, "1", True, None)),
        *(({"margin_weight": v}, "margin_weight must be a number >= 0") for v in (-0.1, NAN, INF, "1", True, None)),
        *(({"margin": v}, "margin must be a number >= 0") for v in (-0.1, NAN, INF, "1", True, None)),
        *(({"ramp_steps": v}, "ramp_steps must be a whole number >= 0, or null") for v in (-1, 0.5, 10.0, "10", True)),
        *(({"guess_dropout": v}, "guess_dropout must be true or false") for v in (0, 1, "no", None)),
        *(({"align": v}, "align must be") for v in ("even", [0.5, 0.6], [1.5, -0.5], 1)),
        *(({"align_decay": v}, r"align_decay must lie in \[0, 1\)") for v in (1, -0.1, None)),
        *(({"online": v}, "online must be true or false") for v in (0, "yes", None)),
        *(({"targets": v}, r"targets must be one of \('hard', 'soft'\)") for v in ("both", 1, None)),
        ({"mix_within": "row"}, r"mix_within must be one of \('all', 'kind'\), got 'row'"),
        ({"margin_loss": "hinge"}, r"margin_loss must be one of \('squared', 'entropy'\), got 'hinge'"),
        *(
            ({"view_weights": v}, "view_weights must be 'all', 'original' or a list of numbers >= 0")
            for v in ("first", 1, None, [1, -1], [1, NAN], [1, INF], ["1"], [True, False], {"de": 1})
        ),
        *(({"view_weights": v}, "view_weights are .*: no view is left .*, give at least one") for v in ([], [0, 0.0])),
        *(({"partner": v}, f"partner='{v}' .*: use 'any' or 'nearest_length'") for v in ("same_class", "other_class")),
        ({"alpha": -1}, "mix_alpha must be a finite number >= 0"),
        ({"layers": []}, "mix_layers is empty"),
        ({"prob": 1.5}, r"mix_prob must lie in \[0, 1\]"),
    ],
    ids=str,
)
def test_wrong_hyperparameters_are_named_with_what_to_do(name, wrong, message):
    with pytest.raises(ValueError, match=message):
        make_method(name, **wrong)


def test_kinds_are_kept_apart_by_the_partners_alone():
    with pytest.raises(ValueError, match="mix_within='kind' draws the partners itself: drop partner='nearest_length'"):
        MixText(mix_within="kind", partner="nearest_length")


@pytest.mark.parametrize(
    "given",
    [
        {"alpha": 16.0},
        {"fold": True},
        {"layers": [1]},
        {"per": "example"},
        {"prob": 0.5},
        {"partner": "nearest_length"},
        {"pad": "keep"},
        {"mix_within": "kind"},
    ],
    ids=str,
)
def test_uda_refuses_what_only_mixing_methods_have(given):
    option = "mix_" + next(iter(given)).removeprefix("mix_")
    with pytest.raises(ValueError, match=f"{option}=.* was given, but uda does not mix: use mixtext, or drop it"):
        UDA(**given)


# ---- dropout ----


@pytest.mark.parametrize("guess_dropout", [False, True])
def test_guesses_are_made_without_dropout_though_the_model_trains(guess_dropout):
    bench = Bench(model=small_model(dropout=0.5).train())
    method = online_mixtext(guess_dropout=guess_dropout)
    step = bench.step(MixPlan.identity(ROWS))
    first, second = method.guess(step, LABELLED), method.guess(step, LABELLED)
    assert torch.equal(first, second) != guess_dropout
    assert all(module.training for module in bench.model.modules())
    if not guess_dropout:
        with torch.no_grad():
            clean = _small_model()(**bench.batch).logits.tolist()
        torch.testing.assert_close(first, torch.tensor(guess_by_hand(clean, (1, 1, 1))), rtol=0, atol=1e-6)


def test_the_mixed_pass_has_dropout():
    bench = Bench(model=small_model(dropout=0.5).train())
    terms = [bench.losses(online_mixtext(ramp_steps=0), PLANS["embeddings"]) for _ in range(2)]
    assert all(not torch.equal(terms[0][name], terms[1][name]) for name in terms[0])
    assert all(module.training for module in bench.model.modules())


def test_the_batch_tells_rows_and_classes_apart():
    """No test above passes because rows are alike, or all predictions the same."""
    ids = tiny_batch(LENGTHS)["input_ids"]
    assert len({tuple(row) for row in ids.tolist()}) == ROWS
    with torch.no_grad():
        p = _small_model()(**tiny_batch(LENGTHS)).logits.softmax(dim=-1)
    assert set(p.argmax(dim=-1).tolist()) == {0, 1, 2} and p.max() < 0.99 and p.std(dim=0).min() > 0.1


# ---- classes that are not equally frequent ----


@pytest.mark.parametrize("kappa", [None, 3.0])
def test_weights_and_prior_are_of_the_labelled_loss_alone(kappa):
    """Of both partners of a mixed row, be they labelled or guessed; the labels of Remix by the likeliest class."""
    weights, prior, counts = [0.5, 1.0, 4.0], [0.8, 0.15, 0.05], [80.0, 15.0, 5.0]
    tail = LongTail(
        torch.tensor(weights), torch.tensor(prior).log(), None if kappa is None else torch.tensor(counts), kappa
    )
    plan, bench = plan_at(2, LAMBDAS), Bench()
    found = bench.losses(online_mixtext(ramp_steps=0), plan, long_tail=tail)
    with torch.no_grad():
        clean = _small_model()(**bench.batch).logits.tolist()
        mixed = two_stream_logits(_small_model(), bench.batch, plan.index, plan.lam, plan.layer).tolist()
    guesses = [sharpen_by_hand(guess, 0.5) for guess in guess_by_hand(clean, (1, 1, 1))]
    unmixed = targets_by_hand(guesses)
    lam = list(plan.lam.tolist())
    for i, j in enumerate(INDEX):
        own, other = (counts[max(range(CLASSES), key=unmixed[row].__getitem__)] for row in (i, j))
        if kappa and own >= kappa * other and lam[i] < 0.5:
            lam[i] = 0.0
        elif kappa and other >= kappa * own and 1 - lam[i] < 0.5:
            lam[i] = 1.0
    assert (lam != plan.lam.tolist()) == (kappa is not None)
    targets = mix_by_hand(unmixed, INDEX, lam)
    adjusted = [[value + math.log(share) for value, share in zip(row, prior, strict=True)] for row in mixed]
    weighted = [[w * t for w, t in zip(weights, row, strict=True)] for row in targets]
    expected = {
        "loss_supervised": mean(cross_entropy_by_hand(weighted[i], adjusted[i]) for i in range(LABELLED)),
        "loss_unlabeled": mean(divergence_by_hand(targets[i], mixed[i]) for i in range(LABELLED, ROWS)),
    }
    for name, value in expected.items():
        assert found[name].item() == pytest.approx(value, abs=1e-5)
