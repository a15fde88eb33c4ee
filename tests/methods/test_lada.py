"""LADA: what is drawn, and its losses against loops."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from mixtext_hf.methods import LADA, Step, make_method
from mixtext_hf.mixing import MixedLoss, MixPlan, TokenLoss, TokenOrder, TokenShares, permute_places
from mixtext_hf.problem_types import SINGLE_LABEL


C = 3
LABELS = torch.tensor([[-100, 0, 1, -100, 2, -100], [-100, 2, -100, 0, -100, -100]])
PARTNERS = torch.tensor([[-100, 1, -100, 2, 0, -100], [-100, -100, -100, -100, -100, -100]])
INPUTS = {"input_ids": torch.zeros(2, 6, dtype=torch.int64)}


class Recorded:
    """A `forward` that remembers how it was called; its logits are those of a table."""

    def __init__(self, rows):
        self.logits = torch.randn(rows, 6, C, generator=torch.Generator().manual_seed(0))
        self.calls = []

    def __call__(self, inputs, plan=None, *, dropout=True):
        self.calls.append((inputs, plan))
        return self.logits[: len(inputs["input_ids"])]


def step(plan, labels=LABELS, partners=None, rows=2):
    inputs = {"input_ids": torch.zeros(rows, 6, dtype=torch.int64)}
    return Step(Recorded(rows), inputs, labels, plan, TokenLoss(SINGLE_LABEL, C), partner_labels=partners)


def cross_entropy(logits, target):
    return -sum(weight * logits.log_softmax(dim=0)[c] for c, weight in target.items())


def draw(method, rows=4, seed=0):
    return method.draw(rows, depth=12, rng=np.random.default_rng([seed, 7]), text_length=6)


# ---- what is drawn ----


def test_within_sentences_rows_are_their_own_partners():
    plan = draw(LADA(intra=1.0))
    assert isinstance(plan.detail, TokenOrder) and plan.detail.numbers.shape == (4, 6)
    assert plan.index.tolist() == [0, 1, 2, 3] and plan.layer in (8, 9, 10)
    assert 0.5 <= float(plan.lam[0]) < 1 and len(set(plan.lam.tolist())) == 1


def test_between_sentences_the_second_half_are_the_partners():
    plan = draw(LADA(intra=0.0))
    assert plan.detail is None and plan.index.tolist() == [2, 3, 2, 3]


def test_lambda_is_that_of_two_parameters_and_at_least_a_half():
    lams = [float(draw(LADA(alpha=60, beta=1.5), seed=seed).lam[0]) for seed in range(400)]
    assert np.mean(lams) == pytest.approx(60 / 61.5, abs=0.005) and min(lams) >= 0.5
    even = [float(draw(LADA(alpha=2, beta=None, fold=False), seed=seed).lam[0]) for seed in range(400)]
    assert np.mean(even) == pytest.approx(0.5, abs=0.04) and min(even) < 0.5


def test_plans_are_counted_and_kinds_are_mixed():
    method = LADA()
    one, other = draw(method, seed=3), draw(method, seed=3)
    assert torch.equal(one.lam, other.lam) and one.layer == other.layer
    kinds = {isinstance(draw(method, seed=seed).detail, TokenOrder) for seed in range(20)}
    assert kinds == {True, False}
    assert draw(LADA(alpha=0.0)).is_identity and draw(LADA(prob=0.0)).is_identity


# ---- what is minimised ----


def test_the_loss_within_sentences_equals_a_loop():
    plan = replace(draw(LADA(intra=1.0), rows=2))
    one = step(plan)
    (terms,) = LADA(intra=1.0).losses(one)
    lam = float(plan.lam[0])
    sources = permute_places(plan.detail.numbers, LABELS != -100)
    total = 0.0
    for row in range(2):
        for position in range(6):
            if (label := int(LABELS[row, position])) != -100:
                other = int(LABELS[row, sources[row, position]])
                target = {c: lam * (c == label) + (1 - lam) * (c == other) for c in range(C)}
                total += cross_entropy(one.forward.logits[row, position], target)
    torch.testing.assert_close(terms["loss_supervised"], total / 5)
    inside = one.forward.calls[0][1]
    assert isinstance(inside.detail, TokenShares)
    assert torch.equal(inside.detail.own, torch.where(LABELS != -100, lam, 1.0))
    assert torch.equal(inside.detail.sources[1], sources)


def test_the_loss_between_sentences_equals_a_loop():
    lam = 0.7
    plan = MixPlan(torch.tensor([2, 3, 2, 3]), torch.full((4,), lam), layer=2)
    labels = torch.cat([LABELS, torch.full_like(LABELS, -100)])
    one = step(plan, labels, PARTNERS, rows=4)
    (terms,) = LADA(intra=0.0).losses(one)
    total = 0.0
    for row in range(2):
        # The second sentence has a partner without labels, and stays itself.
        weights = (lam, 1 - lam) if row == 0 else (1.0, 0.0)
        for position in range(6):
            for label, weight in zip((LABELS[row, position], PARTNERS[row, position]), weights, strict=True):
                if int(label) != -100:
                    total += weight * cross_entropy(one.forward.logits[row, position], {int(label): 1.0})
    torch.testing.assert_close(terms["loss_supervised"], total / 5)
    assert one.forward.calls[0][1].index.tolist() == [2, 1, 2, 3]


def test_where_nothing_is_mixed_the_partners_are_not_run():
    labels = torch.cat([LABELS, torch.full_like(LABELS, -100)])
    one = step(MixPlan.identity(4), labels, PARTNERS, rows=4)
    (terms,) = LADA().losses(one)
    inputs, plan = one.forward.calls[0]
    assert len(inputs["input_ids"]) == 2 and plan is None
    plain = torch.nn.functional.cross_entropy(one.forward.logits[:2].reshape(-1, C), LABELS.view(-1))
    torch.testing.assert_close(terms["loss_supervised"], plain)


# ---- what is wrong ----


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"beta": 0}, "beta must be a number > 0"),
        ({"intra": 1.5}, r"intra must lie in \[0, 1\]"),
        ({"mu": "x"}, r"mu must lie in \[0, 1\]"),
        ({"k": 0}, "k must be a whole number"),
        ({"partner": "derangement"}, "finds the partners itself"),
        ({"per": "example"}, "one lambda for a batch"),
        ({"clean_lam": 1.0}, "clean_lam=1.0"),
        ({"layers": ["head"]}, "'head' is of whole texts"),
    ],
)
def test_hyper_parameters_that_are_wrong(given, said):
    with pytest.raises(ValueError, match=said):
        make_method("lada", **given)


def test_batches_that_are_wrong():
    with pytest.raises(TypeError, match="a label for each token"):
        next(LADA().losses(replace(step(MixPlan.identity(2)), loss=MixedLoss(SINGLE_LABEL, C))))
    plan = MixPlan(torch.tensor([1, 1]), torch.full((2,), 0.7), layer=2)
    with pytest.raises(ValueError, match="fetches them"):
        next(LADA().losses(step(plan)))
    with pytest.raises(ValueError, match="give text_length"):
        LADA().draw(4, depth=12, rng=np.random.default_rng(0))
