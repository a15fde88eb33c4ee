"""Weighted, adjusted and remixed losses against loops over rows and classes, written out."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from mixtext_hf.mixing import IGNORE_INDEX, LongTail, MixedLoss
from mixtext_hf.mixing.long_tail import mean_one


B, C = 6, 4
INDEX = torch.tensor([2, 0, 1, 4, 3, 5])
LAM = torch.tensor([0.3, 0.6, 0.9, 0.45, 0.05, 1.0])
LABELS = torch.tensor([0, 3, 1, 1, 2, 3])
WEIGHTS = torch.tensor([0.2, 1.0, 2.5, 7.0])
LOG_PRIOR = torch.tensor([0.7, 0.2, 0.08, 0.02]).log()
COUNTS = torch.tensor([70.0, 20.0, 8.0, 2.0])


def logits() -> torch.Tensor:
    return (torch.randn(B, C, generator=torch.Generator().manual_seed(0)) * 3).requires_grad_()


def loss_with(**kwargs) -> MixedLoss:
    smoothing, kind = kwargs.pop("smoothing", 0.0), kwargs.pop("kind", "ce")
    return MixedLoss("single_label_classification", C, smoothing, kind, LongTail(**kwargs))


def written_out(given, labels, index, lam, *, weights=None, log_prior=None, smoothing=0.0, kind="ce"):
    """The mean over the labelled rows of `sum_c w_c y_c (-log p_c)`, class by class and row by row."""
    terms = []
    for i in range(len(labels)):
        if labels[i] == IGNORE_INDEX:
            continue
        row = given[i] if log_prior is None else given[i] + log_prior
        p = row.exp() / row.exp().sum()
        target = [0.0] * C
        for label, share in ((labels[i], lam[i]), (labels[index[i]], 1 - lam[i])):
            target[int(label)] += float(share)
        target = [(1 - smoothing) * y + smoothing / C for y in target]
        of_row = 0.0
        for c in range(C):
            weight = 1.0 if weights is None else float(weights[c])
            if kind == "ce":
                of_class = -p[c].log()
            else:
                others = [(1 - p[k]).log() for k in range(C) if k != c]
                of_class = -(p[c].log() + sum(others)) / C
            of_row = of_row + weight * target[c] * of_class
        terms.append(of_row)
    return sum(terms) / len(terms)


@pytest.mark.parametrize("kind", ["ce", "bce"])
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("asked", [("weights",), ("log_prior",), ("weights", "log_prior")], ids="+".join)
def test_value_and_gradient_are_those_of_a_loop(kind, smoothing, asked):
    given = {name: value for name, value in (("weights", WEIGHTS), ("log_prior", LOG_PRIOR)) if name in asked}
    one, other = logits(), logits()
    value = loss_with(smoothing=smoothing, kind=kind, **given)(one, LABELS, INDEX, LAM)
    expected = written_out(other, LABELS, INDEX, LAM, smoothing=smoothing, kind=kind, **given)
    value.backward()
    expected.backward()
    torch.testing.assert_close(value, expected, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(one.grad, other.grad, rtol=1e-4, atol=1e-6)


def test_rows_of_one_class_weigh_as_in_torch():
    losses, _ = loss_with(weights=WEIGHTS).of_rows(logits(), LABELS)
    torch.testing.assert_close(losses, F.cross_entropy(logits(), LABELS, WEIGHTS, reduction="none"))
    adjusted = loss_with(log_prior=LOG_PRIOR)(logits(), LABELS)
    torch.testing.assert_close(adjusted, F.cross_entropy(logits() + LOG_PRIOR, LABELS))


def test_the_mean_is_one_over_rows_and_not_over_weights():
    hidden = LABELS.clone()
    hidden[4] = IGNORE_INDEX
    index, lam = torch.arange(B), torch.ones(B)
    value = loss_with(weights=WEIGHTS)(logits(), hidden, index, lam)
    torch.testing.assert_close(value, written_out(logits(), hidden, index, lam, weights=WEIGHTS))
    # Cut in two, and put together by the labelled rows of each part.
    parts = [(slice(0, 3), 3), (slice(3, 6), 2)]
    loss = loss_with(weights=WEIGHTS)
    together = sum(count * loss(logits()[part], hidden[part]) for part, count in parts) / 5
    torch.testing.assert_close(value, together)


@pytest.mark.parametrize("kind", ["ce", "bce"])
def test_equal_weights_and_no_prior_change_no_bit(kind):
    plain = MixedLoss("single_label_classification", C, 0.1, kind)
    same = loss_with(smoothing=0.1, kind=kind, weights=torch.ones(C) if kind == "ce" else None)
    one, other = logits(), logits()
    plain(one, LABELS, INDEX, LAM).backward()
    same(other, LABELS, INDEX, LAM).backward()
    assert torch.equal(one.grad, other.grad)


def test_what_is_evaluated_knows_nothing_of_it():
    loss = loss_with(weights=WEIGHTS, log_prior=LOG_PRIOR, counts=COUNTS, kappa=3.0, kind="bce")
    assert loss.plain == MixedLoss("single_label_classification", C)
    assert torch.equal(loss.plain(logits(), LABELS), F.cross_entropy(logits(), LABELS))
    assert loss.cross_entropy.long_tail is loss.long_tail and loss.cross_entropy.kind == "ce"
    plain = MixedLoss("single_label_classification", C)
    assert plain.plain is plain


# ---- Remix ----


@pytest.mark.parametrize(("kappa", "tau"), [(3.0, 0.5), (2.0, 0.5), (3.0, 0.8), (30.0, 0.5), (3.0, 0.0), (1.5, 1.0)])
def test_labels_of_remix_are_those_of_a_loop(kappa, tau):
    expected = []
    for i in range(B):
        ratio, share = float(COUNTS[LABELS[i]] / COUNTS[LABELS[INDEX[i]]]), float(LAM[i])
        if ratio >= kappa and share < tau:
            share = 0.0
        elif ratio <= 1 / kappa and 1 - share < tau:
            share = 1.0
        expected.append(share)
    loss = loss_with(counts=COUNTS, kappa=kappa, tau=tau)
    found = loss.label_weight(LABELS, INDEX, LAM)
    torch.testing.assert_close(found, torch.tensor(expected))
    value = loss(logits(), LABELS, INDEX, LAM)
    torch.testing.assert_close(value, written_out(logits(), LABELS, INDEX, torch.tensor(expected)))
    soft = F.one_hot(LABELS, C).float() * 0.9 + 0.025
    assert torch.equal(loss.label_weight(soft, INDEX, LAM), found)


def test_the_rarer_partner_gets_the_whole_label():
    loss = loss_with(counts=COUNTS, kappa=3.0)
    labels, index = torch.tensor([0, 3]), torch.tensor([1, 0])
    for lam, kept in (((0.4, 0.6), (0.0, 1.0)), ((0.6, 0.4), (0.6, 0.4)), ((1.0, 1.0), (1.0, 1.0))):
        assert torch.equal(loss.label_weight(labels, index, torch.tensor(lam)), torch.tensor(kept))


def test_a_class_that_is_only_guessed_is_the_rarest():
    loss = loss_with(counts=torch.tensor([5.0, 0.0, 1.0, 1.0]), kappa=3.0)
    weight = loss.label_weight(torch.tensor([0, 1]), torch.tensor([1, 0]), torch.tensor([0.4, 0.6]))
    assert weight.tolist() == [0.0, 1.0]


# ---- what is refused ----


def test_weights_are_scaled_by_the_rows():
    assert mean_one([1.0, 3.0], [0.75, 0.25]) == pytest.approx([2 / 3, 2.0])
    assert mean_one([1.0, 1.0, 1.0], [0.5, 0.25, 0.25]) == [1.0, 1.0, 1.0]
    balanced = mean_one([1 / 70, 1 / 20, 1 / 10], [0.7, 0.2, 0.1])
    assert balanced == pytest.approx([100 / (3 * count) for count in (70, 20, 10)])
    with pytest.raises(ValueError, match="`weights` are 0 for every class that has rows"):
        mean_one([0.0, 1.0], [1.0, 0.0])


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"kappa": 3.0}, "`counts` and `kappa` belong together"),
        ({"counts": COUNTS, "kappa": 1.0}, "`kappa` must be above 1, got 1.0"),
        ({"counts": COUNTS, "kappa": 3.0, "tau": 1.5}, r"`tau` must lie in \[0, 1\], got 1.5"),
    ],
)
def test_wrong_settings_are_named(given, said):
    with pytest.raises(ValueError, match=said):
        LongTail(**given)


@pytest.mark.parametrize("task", ["multi_label_classification", "regression"])
def test_it_is_for_one_class_a_row(task):
    with pytest.raises(ValueError, match=f"`long_tail` is of the one class that a row has; the task is {task}"):
        MixedLoss(task, 1 if task == "regression" else C, long_tail=LongTail(weights=WEIGHTS))


def test_a_row_loses_no_more_than_it_can():
    """The most certain mistake on a class of no weight costs nothing."""
    weights = torch.tensor([0.0, 1.0, 1.0, 1.0])
    value = loss_with(weights=weights)(torch.tensor([[-1e4, 0.0, 0.0, 0.0]]), torch.tensor([0]))
    assert value.item() == 0 and math.isfinite(value.item())
