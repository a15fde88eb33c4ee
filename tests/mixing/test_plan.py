"""The draw: who mixes with whom, how much, and where."""

import dataclasses

import numpy as np
import pytest
import torch
from depth import examples
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from mixtext_hf.functional import MixPlan, draw_plan


PARTNERS = ("any", "same_class", "other_class", "nearest_length")
ALPHAS = st.one_of(st.just(0.0), st.floats(0.01, 50.0))


def rng(seed=0):
    return np.random.default_rng(seed)


@st.composite
def draws(draw, partners=PARTNERS, min_batch=1):
    """Keyword arguments of `draw_plan`, with labels and lengths for whatever partner needs them."""
    batch_size = draw(st.integers(min_batch, 20))
    rows = {"min_size": batch_size, "max_size": batch_size}
    return {
        "batch_size": batch_size,
        "alpha": draw(ALPHAS),
        "layers": draw(st.sampled_from([None, (0,), (7, 9, 12), (0, "head")])),
        "fold": draw(st.booleans()),
        "per": draw(st.sampled_from(["batch", "example"])),
        "prob": draw(st.sampled_from([0.0, 0.5, 1.0])),
        "partner": draw(st.sampled_from(partners)),
        "pad": draw(st.sampled_from(["mix", "keep"])),
        "labels": np.array(draw(st.lists(st.integers(0, 3), **rows))),
        "lengths": np.array(draw(st.lists(st.integers(1, 9), **rows))),
    }


def drawn(arguments, seed):
    arguments = dict(arguments)
    return draw_plan(arguments.pop("batch_size"), rng=rng(seed), **arguments)


@examples(200)
@given(draws(), st.integers(0, 2**32 - 1))
def test_a_plan_is_a_plan(arguments, seed):
    plan = drawn(arguments, seed)
    batch_size, own = arguments["batch_size"], torch.arange(arguments["batch_size"])
    assert plan.index.dtype == torch.int64 and plan.lam.dtype == torch.float32
    assert plan.index.shape == plan.lam.shape == (batch_size,) and len(plan) == batch_size
    assert bool(((plan.lam >= 0) & (plan.lam <= 1)).all())
    assert torch.equal(plan.index[plan.lam == 1], own[plan.lam == 1])
    # Rows of lambda 1 were made their own partner afterwards; the others still have one partner each.
    partners = plan.index[plan.lam != 1].tolist()
    assert len(set(partners)) == len(partners) and all(0 <= row < batch_size for row in partners)
    if not bool((plan.lam == 1).any()):
        assert sorted(partners) == list(range(batch_size))
    if arguments["fold"]:
        assert plan.lam.min() >= 0.5
    if arguments["per"] == "batch":
        assert plan.lam.unique().numel() == 1
    if arguments["alpha"] == 0 or arguments["prob"] == 0:
        assert plan.layer is None and torch.equal(plan.index, own) and torch.equal(plan.lam, torch.ones(batch_size))
    elif arguments["prob"] == 1:
        assert plan.layer in (arguments["layers"] or (None,)) and plan.pad == arguments["pad"]


@examples(50)
@given(draws(), st.integers(0, 2**32 - 1))
def test_a_plan_is_a_pure_function_of_the_generator(arguments, seed):
    np.random.seed(seed)
    torch.manual_seed(seed)
    first = drawn(arguments, seed)
    np.random.seed(1)
    torch.manual_seed(1)
    second = drawn(arguments, seed)
    assert torch.equal(first.index, second.index) and torch.equal(first.lam, second.lam)
    assert (first.layer, first.pad) == (second.layer, second.pad)
    as_tensors = {name: torch.from_numpy(arguments[name]) for name in ("labels", "lengths")}
    third = drawn({**arguments, **as_tensors}, seed)
    assert torch.equal(first.index, third.index) and torch.equal(first.lam, third.lam)


def test_different_seeds_give_different_plans():
    plans = [draw_plan(16, alpha=1.0, rng=np.random.default_rng([0, step])) for step in range(20)]
    assert len({tuple(plan.index.tolist()) for plan in plans}) == 20
    assert len({plan.lam[0].item() for plan in plans}) == 20


@examples(50)
@given(draws(), st.integers(0, 2**32 - 1))
def test_runs_that_differ_in_prob_agree_in_partner_layer_and_lambda(arguments, seed):
    always = drawn({**arguments, "prob": 1.0}, seed)
    sometimes = drawn({**arguments, "prob": 0.5}, seed)
    if not torch.equal(sometimes.lam, torch.ones(len(sometimes))):
        assert torch.equal(sometimes.index, always.index) and torch.equal(sometimes.lam, always.lam)
        assert sometimes.layer == always.layer


def test_prob_is_the_share_of_mixed_batches():
    generator = rng(3)
    mixed = sum(draw_plan(4, alpha=1.0, layers=[1], prob=0.3, rng=generator).layer == 1 for _ in range(2000))
    assert stats.binomtest(mixed, 2000, 0.3).pvalue > 1e-3


@examples(200)
@given(draws(partners=("same_class",)), st.integers(0, 2**32 - 1))
def test_same_class_pairs_every_row_that_has_a_classmate(arguments, seed):
    plan = drawn({**arguments, "alpha": 1.0, "prob": 1.0, "fold": False}, seed)
    labels = arguments["labels"]
    assert np.array_equal(labels[plan.index.numpy()], labels)
    alone = (labels[:, None] == labels[None]).sum(axis=1) == 1
    assert np.array_equal(plan.index.numpy() == np.arange(len(labels)), alone)


@examples(300)
@given(draws(partners=("other_class",)), st.integers(0, 2**32 - 1))
def test_other_class_pairs_as_many_rows_as_can_be(arguments, seed):
    plan = drawn({**arguments, "alpha": 1.0, "prob": 1.0, "fold": False}, seed)
    labels, index = arguments["labels"], plan.index.numpy()
    own = np.arange(len(labels))
    assert sorted(index) == list(own)
    differs = labels[index] != labels
    assert np.array_equal(index[~differs], own[~differs])
    # In a permutation, a class of more than half of the batch can give away as many rows as there are others.
    largest = np.bincount(labels).max()
    assert differs.sum() == min(len(labels), 2 * (len(labels) - largest))


def test_other_class_may_pick_any_of_the_other_classes_and_any_row_to_stay_alone():
    labels, generator = np.array([0, 0, 1, 1, 2, 2, 3, 3]), rng()
    met = {0: set(), 1: set(), 2: set(), 3: set()}
    for _ in range(100):
        plan = draw_plan(8, alpha=1.0, rng=generator, partner="other_class", labels=labels)
        for row in range(8):
            met[labels[row]].add(labels[plan.index[row]])
    assert met == {c: {0, 1, 2, 3} - {c} for c in range(4)}
    alone = set()
    for _ in range(50):
        plan = draw_plan(4, alpha=1.0, rng=generator, partner="other_class", labels=np.array([0, 0, 0, 1]))
        alone |= set(torch.nonzero(plan.index == torch.arange(4)).flatten().tolist())
    assert alone == {0, 1, 2}


@examples(200)
@given(draws(partners=("nearest_length",)), st.integers(0, 2**32 - 1))
def test_nearest_length_pairs_neighbours(arguments, seed):
    plan = drawn({**arguments, "alpha": 1.0, "prob": 1.0, "fold": False}, seed)
    lengths, index = arguments["lengths"], plan.index.numpy()
    assert np.array_equal(index[index], np.arange(len(index)))
    assert (index == np.arange(len(index))).sum() == len(index) % 2
    # Neighbours in order of length: the sorted lengths, two by two, are the pairs.
    expected = np.sort(lengths)[: len(lengths) // 2 * 2].reshape(-1, 2)
    pairs = [sorted((lengths[i], lengths[j])) for i, j in enumerate(index) if i < j]
    assert sorted(map(tuple, pairs)) == sorted(map(tuple, expected))


# From alpha 0.4 on, float32 rounds less than 0.1 % of the lambdas to exactly 1.
@pytest.mark.parametrize("alpha", [0.4, 1.0, 16.0])
@pytest.mark.parametrize("fold", [False, True])
def test_lambda_is_beta_distributed(alpha, fold):
    lam = draw_plan(4000, alpha=alpha, fold=fold, per="example", rng=rng(7)).lam.double().numpy()
    beta = stats.beta(alpha, alpha)
    # max(lam, 1 - lam) <= x  <=>  1 - x <= lam <= x
    cdf = (lambda x: np.where(x < 0.5, 0.0, beta.cdf(x) - beta.cdf(1 - x))) if fold else beta.cdf
    assert stats.kstest(lam, cdf).pvalue > 1e-3
    assert stats.kstest(lam, stats.beta(alpha * 1.5, alpha).cdf).pvalue < 1e-6


def test_one_lambda_per_batch_is_beta_distributed_too():
    generator = rng(8)
    lam = [draw_plan(3, alpha=0.5, rng=generator).lam[0].item() for _ in range(2000)]
    assert stats.kstest(lam, stats.beta(0.5, 0.5).cdf).pvalue > 1e-3


def test_layers_and_partners_are_uniform():
    generator = rng(9)
    plans = [draw_plan(4, alpha=1.0, layers=[7, 9, "head"], rng=generator) for _ in range(3000)]
    layers = [plan.layer for plan in plans]
    assert stats.chisquare([layers.count(layer) for layer in (7, 9, "head")]).pvalue > 1e-3
    for row in range(4):
        partners = torch.stack([plan.index[row] for plan in plans])
        assert stats.chisquare(torch.bincount(partners, minlength=4).numpy()).pvalue > 1e-3


@pytest.mark.parametrize("alpha", [5e-324, 1e-30, 1e300])
def test_extreme_alphas_give_lambdas_in_range(alpha):
    lam = draw_plan(64, alpha=alpha, per="example", rng=rng()).lam
    assert bool(((lam >= 0) & (lam <= 1)).all())


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"batch_size": 0}, "`batch_size` must be at least 1, got 0"),
        ({"alpha": -1.0}, r"`alpha` must be a finite number >= 0, got -1\.0"),
        ({"alpha": float("nan")}, "`alpha` must be a finite number >= 0, got nan"),
        ({"alpha": float("inf")}, "`alpha` must be a finite number >= 0, got inf"),
        ({"prob": 1.5}, r"`prob` must lie in \[0, 1\], got 1\.5"),
        ({"prob": float("nan")}, r"`prob` must lie in \[0, 1\], got nan"),
        ({"per": "row"}, "`per` must be one of .*'batch', 'example'.*, got 'row'"),
        ({"layers": []}, "`layers` is empty: name at least one layer, or give None"),
        ({"layers": [1, -2]}, r"`layers` must be ints >= 0 or 'head', got \[1, -2\]"),
        ({"layers": [1, "tail"]}, r"`layers` must be ints >= 0 or 'head', got \[1, 'tail'\]"),
        ({"pad": "drop"}, "`pad` must be one of .*'mix', 'keep'.*, got 'drop'"),
        ({"partner": "friend"}, "`partner` must be one of .*'any', 'same_class'.*, got 'friend'"),
        ({"partner": "same_class"}, r"`partner='same_class'` needs `labels`, an array of shape \(4,\)"),
        ({"partner": "other_class"}, r"`partner='other_class'` needs `labels`, an array of shape \(4,\)"),
        ({"partner": "nearest_length"}, r"`partner='nearest_length'` needs `lengths`, an array of shape \(4,\)"),
        ({"partner": "same_class", "labels": np.zeros((4, 2))}, r"`labels` must have shape \(4,\), got \(4, 2\)"),
        ({"partner": "nearest_length", "lengths": np.ones(3)}, r"`lengths` must have shape \(4,\), got \(3,\)"),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else "",
)
@pytest.mark.parametrize("prob", [0.0, 1.0], ids=["not mixed", "mixed"])
def test_wrong_arguments_are_named_whether_or_not_this_batch_is_mixed(arguments, message, prob):
    with pytest.raises(ValueError, match=message):
        draw_plan(**{"batch_size": 4, "alpha": 1.0, "prob": prob, "rng": rng(), **arguments})


@pytest.mark.parametrize(
    "arguments, message",
    [
        (
            {"index": torch.zeros(3, dtype=torch.int32)},
            r"`index` must be int64 of shape \(B,\), got torch.int32 \(3,\)",
        ),
        ({"index": torch.zeros(3, 1, dtype=torch.int64)}, r"`index` must be int64 of shape \(B,\), got .* \(3, 1\)"),
        ({"lam": torch.ones(2)}, r"`lam` must be float32 of shape \(3,\) like `index`, got torch.float32 \(2,\)"),
        ({"lam": torch.tensor(0.5)}, r"`torch.full\(\(B,\), lam\)`"),
        ({"lam": torch.ones(3, dtype=torch.float64)}, r"`lam` must be float32 .* got torch.float64"),
        ({"index": torch.tensor([0, 1, 3])}, r"`index` must lie in 0\.\.2, got \[0, 1, 3\]"),
        ({"index": torch.tensor([0, -1, 2])}, r"`index` must lie in 0\.\.2, got \[0, -1, 2\]"),
        ({"lam": torch.tensor([0.0, 1.5, 1.0])}, r"`lam` must lie in \[0, 1\], got \[0\.0, 1\.5, 1\.0\]"),
        ({"lam": torch.tensor([0.0, float("nan"), 1.0])}, r"`lam` must lie in \[0, 1\], got \[0\.0, nan, 1\.0\]"),
        ({"layer": -1}, "`layer` must be an int >= 0, 'head' or None, got -1"),
        ({"layer": "tail"}, "`layer` must be an int >= 0, 'head' or None, got 'tail'"),
        ({"layer": 1.0}, "`layer` must be an int >= 0, 'head' or None, got 1.0"),
        ({"pad": "drop"}, r"`pad` must be one of \('mix', 'keep'\), got 'drop'"),
    ],
    ids=str,
)
def test_a_plan_given_by_hand_is_checked(arguments, message):
    with pytest.raises(ValueError, match=message):
        MixPlan(**{"index": torch.arange(3), "lam": torch.ones(3), **arguments})


def test_a_row_of_lambda_1_is_its_own_partner_whatever_was_given():
    given_index = torch.tensor([1, 2, 0])
    plan = MixPlan(given_index, torch.tensor([1.0, 0.999, 0.0]), layer=2)
    assert plan.index.tolist() == [0, 2, 0]
    assert given_index.tolist() == [1, 2, 0]


def test_identity():
    plan = MixPlan.identity(3)
    assert plan.index.tolist() == [0, 1, 2] and plan.lam.tolist() == [1.0, 1.0, 1.0]
    assert plan.layer is None and plan.pad == "mix" and len(plan) == 3


def test_a_plan_is_frozen():
    plan = MixPlan.identity(2)
    for name in ("index", "lam", "layer", "pad"):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(plan, name, getattr(plan, name))


def test_to_moves_the_tensors_and_keeps_the_rest():
    plan = MixPlan(torch.tensor([1, 0]), torch.tensor([0.25, 0.5]), layer="head", pad="keep")
    assert plan.to("cpu") is plan and plan.to(torch.device("cpu")) is plan
    moved = plan.to("meta")
    assert moved.index.device.type == moved.lam.device.type == "meta"
    assert (moved.layer, moved.pad, len(moved)) == ("head", "keep", 2)
    assert plan.index.device.type == "cpu"


def test_plans_compare_by_identity():
    plan = MixPlan.identity(3)
    assert plan == plan
    assert plan != MixPlan.identity(3)


def test_a_plan_among_some_rows_mixes_no_pair_that_leaves_them():
    plan = MixPlan(torch.tensor([1, 2, 3, 0]), torch.full((4,), 0.6), layer=2)
    some = plan.among(torch.tensor([True, True, False, True]))
    assert some.index.tolist() == [1, 1, 2, 0]
    assert torch.equal(some.lam, plan.lam) and some.layer == 2


@examples(50)
@given(draws(), st.integers(0, 9), st.integers(0, 99))
def test_a_plan_that_goes_on_leaves_the_further_rows_alone(arguments, rows, seed):
    plan = drawn(arguments, seed)
    index, lam = plan.index.clone(), plan.lam.clone()
    longer = plan.extended(rows)
    count = len(plan)
    assert len(longer) == count + rows
    assert longer.index.tolist() == [*index.tolist(), *range(count, count + rows)]
    assert longer.lam.tolist() == [*lam.tolist(), *[1.0] * rows]
    assert (longer.layer, longer.pad) == (plan.layer, plan.pad)
    assert longer.index.dtype == torch.int64 and longer.lam.dtype == torch.float32
    # The plan itself is what it was.
    assert torch.equal(plan.index, index) and torch.equal(plan.lam, lam)


@examples(100)
@given(draws(), st.integers(0, 99))
def test_what_is_made_of_a_plan_would_pass_the_checks(arguments, seed):
    """They are made for plans given by hand, and left out elsewhere."""
    plan = drawn(arguments, seed)
    rows = torch.from_numpy(rng(seed).random(len(plan)) < 0.5)
    for made in (plan, plan.among(rows), plan.extended(3), plan.among(rows).extended(2), MixPlan.identity(len(plan))):
        checked = MixPlan(made.index, made.lam, layer=made.layer, pad=made.pad, detail=made.detail)
        assert torch.equal(checked.index, made.index) and torch.equal(checked.lam, made.lam)
        assert dataclasses.asdict(checked).keys() == vars(made).keys()


def test_a_plan_that_goes_on_stays_on_its_device():
    plan = MixPlan(torch.tensor([1, 0]), torch.tensor([0.25, 0.5]), layer=2).to("meta").extended(3)
    assert len(plan) == 5 and plan.index.device.type == plan.lam.device.type == "meta"


def test_a_plan_knows_of_itself_whether_it_mixes_wherever_it_is():
    mixed = MixPlan(torch.tensor([1, 0]), torch.tensor([0.5, 1.0]))
    assert not mixed.is_identity and MixPlan.identity(3).is_identity
    assert MixPlan.identity(3).among(torch.zeros(3, dtype=torch.bool)).is_identity
    assert MixPlan.identity(3).extended(2).is_identity and not mixed.extended(2).is_identity
    # Nothing can be read of a tensor on this device.
    assert MixPlan.identity(3).to("meta").is_identity and not mixed.to("meta").is_identity
