"""MixText that mixes by another method: its steps against their losses written out, and what it hands on to that method."""

from __future__ import annotations

import json
import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny import DEPTH, tiny_batch, tiny_model
from two_streams import two_stream_logits

from mixtext_hf.functional import MixedLoss, MixPlan, make_mixable
from mixtext_hf.methods import UDA, EmbedMixup, MixText, PuzzleTMix, SSMix, Step, TMix, find_preset, make_method
from mixtext_hf.mixing import SpanDraws, TokenShares, draw_plan
from mixtext_hf.mixing.sentence_puzzle import sentence_puzzle
from mixtext_hf.mixing.spans import paste_spans, text_segments
from mixtext_hf.training import MixTrainingArguments


LABELLED, TEXTS, VIEWS, CLASSES = 4, 2, 2, 3
ROWS = LABELLED + TEXTS * VIEWS
LENGTHS = (12, 7, 10, 8, 9, 6, 11, 10)
LABELS = torch.tensor([0, 2, 1, 2, *[-100] * (TEXTS * VIEWS)])
HIDDEN = torch.tensor([0, -100, 1, 2, *[-100] * (TEXTS * VIEWS)])
GUESSES = torch.tensor([[0.7, 0.2, 0.1], [0.1, 0.3, 0.6]])
# Pairs within one kind, across both, and of the views of one text.
INDEX = torch.tensor([5, 2, 3, 7, 6, 0, 4, 1])
LAM = torch.tensor([0.8, 0.6, 0.7, 0.9, 0.55, 0.75, 0.6, 0.7])
CLS, SEP, MASK = 1, 2, 4
LAYER = 2

BY_TOKENS = ["ssmix", "puzzle_tmix"]
CHANCE = {"saliency": "random"}


def texts(longest=None):
    batch = tiny_batch(LENGTHS, longest=longest)
    batch["input_ids"][:, 0] = CLS
    for row, length in enumerate(LENGTHS):
        batch["input_ids"][row, length - 1] = SEP
    return batch


def segments_of(batch):
    return text_segments(batch["input_ids"], batch["attention_mask"], [0, CLS, SEP, MASK], sentences=2)


def plan_for(name, by_chance=False, length=12):
    layer = None if name == "ssmix" else LAYER
    lam = torch.full((ROWS,), 0.9) if name == "ssmix" else LAM
    generator = torch.Generator().manual_seed(0)
    shape = (ROWS, 2, 2) if name == "ssmix" else (ROWS, length)
    detail = SpanDraws(torch.rand(shape, generator=generator)) if by_chance else None
    return MixPlan(INDEX, lam, layer=layer, detail=detail)


def step_of(model, batch, plan, labels=LABELS, **about):
    mixer, calls, notes, shown = make_mixable(model), [], {}, {}

    def forward(inputs, plan=None, *, dropout=True):
        calls.append(len(inputs["input_ids"]))
        with mixer.applying(plan):
            return model(**inputs).logits

    def watching(inputs, layer=0):
        with mixer.watching(layer) as watched:
            return forward(inputs), watched

    def note(terms):
        assert not set(terms) & set(notes)
        notes.update(terms)

    step = Step(
        forward, batch, labels, plan, MixedLoss("single_label_classification", CLASSES),
        text_labels=torch.full((TEXTS,), -100), text_guesses=GUESSES, views=VIEWS, watching_forward=watching,
        segments=segments_of(batch), note=note, show=shown.__setitem__, **about,
    )  # fmt: skip
    return step, calls, notes, shown


def run(method, step):
    terms = {}
    number = method.passes(step.plan)
    for some in method.losses(step):
        number -= 1
        assert not set(some) & set(terms)
        sum(some.values()).backward()
        terms.update({name: value.item() for name, value in some.items()})
    assert number == 0
    return terms


# ---- the reference ----


def targets_by_hand(temperature, labels):
    rows = [[float(c == label) for c in range(CLASSES)] for label in labels[:LABELLED].tolist()]
    for _ in range(VIEWS):
        for guess in GUESSES.tolist():
            powers = [p ** (1 / temperature) for p in guess]
            rows.append([power / sum(powers) for power in powers])
    return rows


def losses_by_hand(logits, targets, weights, labels):
    """The supervised loss and the consistency loss of all rows, as scalars with a graph."""
    logs = logits.log_softmax(dim=1)
    own, others = [], []
    for row in range(ROWS):
        cross = -sum(targets[row][c] * logs[row, c] for c in range(CLASSES))
        if row >= LABELLED:
            others.append(weights[row] * (cross + sum(t * np.log(t) for t in targets[row] if t > 0)))
        elif labels[row] != -100:
            own.append(cross)
    return sum(own) / len(own), sum(others) / len(others)


def by_hand(
    name, plan, given=None, labels=LABELS, lambda_u=1.0, temperature=0.7, sure=None, margin_weight=0.0, margin=0.0
):
    given = {"clean_lam": 1.0, "saliency": "gradient", **(given or {})}
    model, batch = tiny_model().eval(), texts()
    segments = segments_of(batch)
    targets = targets_by_hand(temperature, labels)
    weights = [1.0] * ROWS if sure is None else [1.0] * LABELLED + sure * VIEWS
    known = [row >= LABELLED or labels[row] != -100 for row in range(ROWS)]
    index = [int(j) if known[i] and known[j] else i for i, j in enumerate(plan.index)]

    outputs = model(**batch, output_hidden_states=True)
    states = outputs.hidden_states[plan.layer or 0]
    clean = losses_by_hand(outputs.logits, targets, weights, labels)
    (gradient,) = torch.autograd.grad(clean[0] + lambda_u * clean[1], states, retain_graph=True)
    saliency = torch.zeros(states.shape[:2])
    for i in range(ROWS):
        for j in range(states.shape[1]):
            size = 1.0 if name == "ssmix" else states[i, j].norm()
            saliency[i, j] = gradient[i, j].norm() * size * bool(segments[i, j])
    by_chance = given["saliency"] == "random"
    if name == "ssmix":
        own = {"draws": plan.detail.numbers} if by_chance else {"saliency": saliency.detach()}
        share = given.get("share", 0.1)
        pasted = paste_spans(batch["input_ids"], torch.tensor(index), segments, sentences=2, share=share, **own)
        logits, lam = model(**{**batch, "input_ids": pasted.input_ids}).logits, pasted.weight
    else:
        salient = plan.detail.numbers if by_chance else saliency.detach()
        z, lam = sentence_puzzle(
            salient, torch.tensor(index), plan.lam, segments, attention_mask=batch["attention_mask"], pad="mix",
            beta=given.get("beta", 0.075),
        )  # fmt: skip
        logits = two_stream_logits(model, batch, torch.tensor(index), 1 - z, plan.layer)
    lam = [1.0 if i == j else w for i, j, w in zip(range(ROWS), index, lam.tolist(), strict=True)]
    assert len(set(lam)) > 2
    mixed_targets = [
        [lam[i] * targets[i][c] + (1 - lam[i]) * targets[index[i]][c] for c in range(CLASSES)] for i in range(ROWS)
    ]
    mixed_weights = [lam[i] * weights[i] + (1 - lam[i]) * weights[index[i]] for i in range(ROWS)]
    mixed = losses_by_hand(logits, mixed_targets, mixed_weights, labels)
    share = given["clean_lam"] / (1 + given["clean_lam"])
    terms = {
        "loss_clean": share * clean[0],
        "loss_clean_unlabeled": share * lambda_u * clean[1],
        "loss_supervised": (1 - share) * mixed[0],
        "loss_unlabeled": (1 - share) * lambda_u * mixed[1],
    }
    if not given["clean_lam"]:
        del terms["loss_clean"], terms["loss_clean_unlabeled"]
    if margin_weight:
        p = outputs.logits[LABELLED : LABELLED + TEXTS].softmax(dim=1)
        terms["loss_margin"] = margin_weight * (margin - p.square().sum(dim=1)).clamp(min=0).mean()
    return {name: value.item() for name, value in terms.items()}, lam


def assert_by_hand(terms, expected):
    assert terms.keys() == expected.keys()
    for name, value in expected.items():
        assert terms[name] == pytest.approx(value, rel=1e-4, abs=1e-6), name


# ---- a step ----


@pytest.mark.parametrize("own", [{}, {"clean_lam": 0.25}, {"share": 0.4, "beta": 0.3}], ids=str)
@pytest.mark.parametrize("margin_weight", [0.0, 0.5])
@pytest.mark.parametrize("labels", [LABELS, HIDDEN], ids=["all labelled", "one hidden"])
@pytest.mark.parametrize("name", BY_TOKENS)
def test_a_step_by_the_gradient_is_its_losses_written_out(name, labels, margin_weight, own):
    own = {key: value for key, value in own.items() if key in ("clean_lam", {"ssmix": "share"}.get(name, "beta"))}
    about = {"lambda_u": 0.6, "margin_weight": margin_weight, "margin": 0.99}
    method = MixText(mix_with=name, mix_with_kwargs=own, **about)
    plan = plan_for(name)
    step, calls, notes, shown = step_of(tiny_model().eval(), texts(), plan, labels)
    expected, lam = by_hand(name, plan, own, labels, **about)
    assert_by_hand(run(method, step), expected)
    assert calls == [ROWS, ROWS + TEXTS * (margin_weight > 0)]
    assert notes["saliency_undefined"] == 0 and notes["unlabeled_weight"].item() == pytest.approx(0.6)
    alone = step.plan.among(torch.tensor([True, labels[1] >= 0, *[True] * 6])).index == torch.arange(ROWS)
    shown = torch.where(alone, 1.0, shown["weight"])
    assert shown.tolist() == pytest.approx(lam, abs=1e-6)


@pytest.mark.parametrize("clean_lam", [0.0, 0.5])
@pytest.mark.parametrize("margin_weight", [0.0, 0.5])
@pytest.mark.parametrize("name", BY_TOKENS)
def test_a_step_by_chance_is_its_losses_written_out(name, margin_weight, clean_lam):
    """One pass, in which the rows as they are stand behind the mixed ones; the margin loss finds the originals there."""
    own, about = {**CHANCE, "clean_lam": clean_lam}, {"margin_weight": margin_weight, "margin": 0.99}
    method, plan = MixText(mix_with=name, mix_with_kwargs=own, **about), plan_for(name, by_chance=True)
    step, calls, notes, _ = step_of(tiny_model().eval(), texts(), plan)
    expected, _ = by_hand(name, plan, own, **about)
    terms = run(method, step)
    assert_by_hand(terms, expected)
    assert method.most_passes == 1
    assert calls == [2 * ROWS if clean_lam else ROWS + TEXTS * (margin_weight > 0)]
    assert "saliency_undefined" not in notes


class Weighing(MixText):
    """Knows how sure its guesses are."""

    sure = (0.3, 0.9)

    def balanced(self, step, guess):
        return self.targets_of(GUESSES), torch.tensor(self.sure)


@pytest.mark.parametrize("own", [{}, CHANCE], ids=["gradient", "chance"])
@pytest.mark.parametrize("name", BY_TOKENS)
def test_weights_of_guesses_are_mixed_by_the_realised_weight(name, own):
    method = Weighing(mix_with=name, mix_with_kwargs=own, online=True)
    plan = plan_for(name, by_chance=bool(own))
    step, calls, _, _ = step_of(tiny_model().eval(), texts(), plan)
    expected, _ = by_hand(name, plan, own, sure=[*Weighing.sure])
    assert_by_hand(run(method, step), expected)
    assert calls[0] == TEXTS  # the guess, of the originals


@pytest.mark.parametrize("name", BY_TOKENS)
def test_a_step_that_mixes_nothing_is_that_of_tmix(name):
    found = []
    for method in (MixText(margin_weight=0.5), MixText(margin_weight=0.5, mix_with=name)):
        step, _, _, _ = step_of(tiny_model().eval(), texts(), MixPlan.identity(ROWS))
        found.append(run(method, step))
    assert found[0] == found[1] and "loss_clean" not in found[0]


def test_embeddings_are_mixed_as_tmix_would_at_layer_0():
    plan = MixPlan(INDEX, LAM, layer=0)
    found = []
    for method in (MixText(layers=(0,), margin_weight=0.2), MixText(mix_with="embed_mixup", margin_weight=0.2)):
        assert method.draw(ROWS, depth=DEPTH, rng=np.random.default_rng(1), unlabeled=4).layer == 0
        step, _, _, _ = step_of(tiny_model().eval(), texts(), plan)
        found.append(run(method, step))
    assert found[0] == found[1]


@pytest.mark.parametrize("own", [{}, CHANCE], ids=["gradient", "chance"])
@pytest.mark.parametrize("name", BY_TOKENS)
def test_padding_changes_nothing(name, own):
    method = MixText(mix_with=name, mix_with_kwargs=own, margin_weight=0.5, margin=0.99)
    found = []
    for longest in (12, 20):
        plan = method.draw(
            ROWS, depth=DEPTH, rng=np.random.default_rng(3), unlabeled=TEXTS * VIEWS, text_length=longest
        )
        step, _, _, _ = step_of(tiny_model().eval(), texts(longest), plan)
        found.append(run(method, step))
    assert found[0] == pytest.approx(found[1], rel=1e-5, abs=1e-6)


def test_unlabelled_rows_without_a_loss_are_counted_as_without_saliency():
    method, plan = MixText(mix_with="ssmix", ramp_steps=None), plan_for("ssmix")
    for number, undefined in ((0, 0.5), (5, 0.0)):
        step, _, notes, _ = step_of(tiny_model().eval(), texts(), plan, number=number, total=10)
        run(method, step)
        assert notes["saliency_undefined"] == undefined


def test_what_a_step_lacks_is_named():
    step = replace(step_of(tiny_model(), texts(), plan_for("ssmix"))[0], note=lambda terms: None)
    with pytest.raises(TypeError, match="ssmix mixes words alone, and the step has no `segments`"):
        next(MixText(mix_with="ssmix").losses(replace(step, segments=None)))
    with pytest.raises(TypeError, match=r"ssmix asks how much a token matters.*no `watching_forward`"):
        next(MixText(mix_with="ssmix").losses(replace(step, watching_forward=None)))


# ---- what is drawn ----


@pytest.mark.parametrize("within", ["all", "kind"])
def test_by_default_the_plan_is_that_of_tmix(within):
    plan = MixText(mix_within=within, alpha=0.7).draw(9, depth=12, rng=np.random.default_rng(5), unlabeled=6)
    pairs = {} if within == "all" else {"partner": "same_class", "labels": np.arange(9) >= 3}
    own = draw_plan(9, alpha=0.7, layers=(7, 9, 12), fold=True, rng=np.random.default_rng(5), **pairs)
    assert torch.equal(plan.index, own.index) and torch.equal(plan.lam, own.lam) and plan.layer == own.layer


@pytest.mark.parametrize("own", [{}, CHANCE], ids=["gradient", "chance"])
@pytest.mark.parametrize("name", BY_TOKENS)
def test_the_part_draws_with_these_pairs(name, own):
    about = {"depth": 12, "unlabeled": 6, "text_length": 15}
    for given in ({"mix_within": "kind"}, {"partner": "derangement"}, {"partner": "nearest_length"}):
        method = MixText(mix_with=name, mix_with_kwargs=own, per="example", **given)
        lengths = torch.tensor([5, 1, 7, 2, 6, 8, 3, 4, 9])
        plan = method.draw(9, rng=np.random.default_rng(5), lengths=lengths, **about)
        pairs = {"partner": "same_class", "labels": np.arange(9) >= 3} if "mix_within" in given else given
        layers = None if name == "ssmix" else (3, 6, 9)
        own_plan = draw_plan(
            9, alpha=1.0, layers=layers, rng=np.random.default_rng(5), **{"lengths": lengths, **pairs}
        )
        assert torch.equal(plan.index, own_plan.index)
        if name == "ssmix":
            assert plan.layer is None and set(plan.lam.tolist()) == {np.float32(0.9)}
        else:
            assert plan.layer in (3, 6, 9) and plan.lam.unique().numel() == 9 and plan.lam.min() >= 0.5
        if own:
            shape = (9, 2, 2) if name == "ssmix" else (9, 15)
            assert isinstance(plan.detail, SpanDraws) and plan.detail.numbers.shape == shape
        else:
            assert plan.detail is None
    assert MixText(mix_with=name, prob=0.0).draw(9, rng=np.random.default_rng(5), **about).is_identity
    assert MixText(mix_with=name, alpha=0.0).draw(9, rng=np.random.default_rng(5), **about).is_identity


def test_originals_behind_a_puzzle_keep_themselves():
    step, *_ = step_of(tiny_model().eval(), texts(), plan_for("puzzle_tmix"))
    seen = []

    def forward(inputs, plan=None, *, dropout=True):
        seen.append(plan)
        return step.forward(inputs, plan, dropout=dropout)

    run(MixText(mix_with="puzzle_tmix", margin_weight=0.5), replace(step, forward=forward))
    (plan,) = seen
    assert isinstance(plan.detail, TokenShares) and len(plan) == ROWS + TEXTS
    assert plan.index[ROWS:].tolist() == [ROWS, ROWS + 1] and (plan.detail.own[ROWS:] == 1).all()


# ---- hyper-parameters ----


def test_what_the_trainer_asks_follows_the_part():
    asked = ("reads_tokens", "draws_lambda", "watches_states", "most_passes", "needs_layers", "needs_evaluation")
    for name, part in (
        ("tmix", TMix()),
        ("embed_mixup", EmbedMixup()),
        ("ssmix", SSMix()),
        ("puzzle_tmix", PuzzleTMix()),
    ):
        method = MixText(mix_with=name)
        assert type(method.part) is type(part)
        assert [getattr(method, one) for one in asked] == [getattr(part, one) for one in asked]
        assert method.layer_set(12) == part.layer_set(12)
        assert method.passes(MixPlan.identity(4)) == 1
        by_chance = MixText(mix_with=name, mix_with_kwargs=CHANCE) if name in BY_TOKENS else method
        assert not by_chance.watches_states and by_chance.most_passes == 1
    assert MixText(mix_with="puzzle_tmix", layers=(1,)).layer_set(12) == (1,)
    assert MixText(mix_with="ssmix", online=True).needs_evaluation


def test_formulas_and_papers_follow_the_part():
    assert MixText().formula == MixText.equation and MixText().further_citations == ()
    assert UDA().formula == UDA.equation and UDA().further_citations == ()
    method = MixText(mix_with="ssmix", mix_with_kwargs=CHANCE)
    assert "p(mix(x))" in method.formula and "TMix" not in method.formula
    assert method.formula.endswith(f"mix: ssmix, its l being L\n{SSMix(saliency='random').formula}")
    assert method.further_citations == (SSMix.citation,)
    assert MixText(mix_with="embed_mixup").further_citations == (EmbedMixup.citation,)
    # The paper of TMix is that of MixText.
    assert MixText(mix_with="puzzle_tmix").further_citations == (PuzzleTMix.citation,)


@pytest.mark.parametrize(
    ("given", "part"),
    [
        ({}, TMix(alpha=1.0)),
        ({"alpha": 0.3, "layers": [1], "per": "example"}, TMix(alpha=0.3, layers=(1,), per="example")),
        ({"mix_with": "embed_mixup", "prob": 0.5}, EmbedMixup(alpha=1.0, prob=0.5)),
        ({"mix_with": "ssmix"}, SSMix()),
        ({"mix_with": "ssmix", "fold": False, "per": "example"}, SSMix(per="example")),
        ({"mix_with": "ssmix", "mix_with_kwargs": {"share": 0.3, "clean_lam": 2.0}}, SSMix(share=0.3, clean_lam=2.0)),
        ({"mix_with": "puzzle_tmix"}, PuzzleTMix(alpha=1.0, fold=True, pad="mix")),
        (
            {"mix_with": "puzzle_tmix", "pad": "keep", "fold": False, "mix_with_kwargs": {"xi": 0.1, "gamma": 1.0}},
            PuzzleTMix(alpha=1.0, xi=0.1, gamma=1.0),
        ),
    ],
    ids=str,
)
def test_hyperparameters_reach_the_part_and_survive(tmp_path, given, part):
    method = make_method("mixtext", **given)
    assert method.part == part
    stored = json.loads(json.dumps(method.hyperparameters()))
    assert stored["mix_with_kwargs"] == given.get("mix_with_kwargs")
    for again in (
        make_method("mixtext", **stored),
        replace(method),
        pickle.loads(pickle.dumps(method)),
        MixTrainingArguments(str(tmp_path), mix_method="mixtext", mix_kwargs=json.dumps(given)).make_method(),
        MixTrainingArguments(str(tmp_path), mix_kwargs=given, mix_method="mixtext").make_method(),
        MixTrainingArguments(str(tmp_path)).make_method({"method": "mixtext", "hyperparameters": stored}),
    ):
        assert again == method and hash(again) == hash(method) and again.hyperparameters() == stored
    with pytest.raises(AttributeError):
        method.mix_with = "tmix"


def test_the_order_of_the_names_does_not_matter_nor_does_what_is_changed_later():
    given = {"share": 0.3, "clean_lam": 2.0}
    one, other = (MixText(mix_with="ssmix", mix_with_kwargs=some) for some in (given, dict(reversed(given.items()))))
    given["share"] = 0.5
    assert one == other and hash(one) == hash(other) and one.part.share == 0.3
    assert MixText(mix_with_kwargs={}) == MixText() and MixText().hyperparameters()["mix_with_kwargs"] is None


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"mix_with": "cutmix"}, r"mix_with must be one of \('tmix', 'embed_mixup', 'ssmix', 'puzzle_tmix'\), got 'cutmix'"),
        ({"mix_with": ["ssmix"]}, r"mix_with must be one of .*got \['ssmix'\]"),
        ({"mix_with_kwargs": "share"}, 'mix_with_kwargs must be hyper-parameters of mix_with by name.*got \'share\''),
        ({"mix_with_kwargs": 0.1}, "mix_with_kwargs must be hyper-parameters.*or null, got 0.1"),
        ({"mix_with_kwargs": {1: 2}}, "mix_with_kwargs must be hyper-parameters"),
        ({"mix_with_kwargs": ["share", 0.1]}, "mix_with_kwargs must be hyper-parameters"),
        ({"mix_with_kwargs": {"share": 0.1}}, "has 'share', and tmix has no such.* beside those of mixtext: it has none"),
        ({"mix_with_kwargs": {"clean_lam": 1.0}}, "has 'clean_lam', and tmix has no such .*: it has none"),
        (
            {"mix_with": "ssmix", "mix_with_kwargs": {"beta": 0.1}},
            "has 'beta', and ssmix has no such .*: it has saliency, share, contiguous, clean_lam",
        ),
        ({"mix_with": "ssmix", "mix_with_kwargs": {"saliency_every": 2}}, "has 'saliency_every', .*numbered apart.*: leave it out"),
        ({"mix_with_kwargs": {"saliency_every": 2}}, "has 'saliency_every', and tmix has no such .*: it has none"),
        ({"mix_with": "puzzle_tmix", "mix_with_kwargs": {"pad": "keep"}}, "has 'pad', which mixtext has itself.*outside of"),
        ({"mix_with": "ssmix", "mix_with_kwargs": {"share": 2}}, r"mix_with='ssmix': share must lie in \(0, 1\], got 2"),
        ({"mix_with": "ssmix", "mix_with_kwargs": {"share": [0.1]}}, r"mix_with='ssmix': share must lie in"),
        ({"mix_with": "ssmix", "layers": [1]}, r"mix_with='ssmix': mix_layers=\(1,\) was given, but ssmix replaces tokens"),
        ({"mix_with": "ssmix", "pad": "keep"}, "mix_with='ssmix': mix_pad=keep was given"),
        ({"mix_with": "ssmix", "alpha": 16.0}, "mix_with='ssmix': mix_alpha=16.0 was given, but ssmix draws no lambda"),
        ({"mix_with": "puzzle_tmix", "layers": ["head"]}, "mix_with='puzzle_tmix': mix_layers=.*the head reads one vector"),
        ({"mix_with": "ssmix", "mix_with_kwargs": {"clean_lam": 0}}, "mix_with='ssmix': clean_lam=0 leaves out the loss"),
        ({"mix_with": "ssmix", "clean_lam": 1.0}, "clean_lam=1.0 adds .* and of ssmix it is one of mix_with_kwargs"),
        ({"clean_lam": 1.0}, "clean_lam=1.0 adds .* those of its paper: drop it"),
        ({"mix_with": "ssmix", "lambda_u": 0}, 'lambda_u=0 leaves unlabelled rows no loss.*or mix_with_kwargs={"saliency"'),
        ({"mix_with": "ssmix", "partner": "same_class"}, "partner='same_class' pairs rows by their class"),
    ],
    ids=str,
)  # fmt: skip
def test_what_is_wrong_is_named(given, said):
    with pytest.raises(ValueError, match=said):
        make_method("mixtext", **given)
    assert MixText(mix_with="ssmix", mix_with_kwargs=CHANCE, lambda_u=0).lambda_u == 0


@pytest.mark.parametrize("given", [{"mix_with": "ssmix"}, {"mix_with_kwargs": {"share": 0.1}}], ids=str)
def test_uda_mixes_with_nothing(given):
    name = next(iter(given))
    with pytest.raises(ValueError, match=f"{name}=.* was given, but uda does not mix: use mixtext"):
        UDA(**given)


def test_presets_are_of_tmix_and_say_so_where_they_do_not_fit():
    paper = find_preset("mixtext", "paper").hyperparameters
    assert make_method("mixtext", **paper).part == TMix()
    with pytest.raises(ValueError, match=r"mix_with='ssmix': mix_alpha=16\.0"):
        make_method("mixtext", **paper, mix_with="ssmix")
    assert make_method("mixtext", **{**paper, "alpha": 1.0}, mix_with="ssmix").online
