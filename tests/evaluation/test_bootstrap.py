"""Bootstrap differences against loops written out, their symmetries, and their coverage on simulated data."""

from dataclasses import astuple
from functools import cache

import numpy as np
import pytest
from depth import examples
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from mixtext_hf.evaluation import bootstrap_ece_difference, bootstrap_mean_difference, bootstrap_metric_difference
from mixtext_hf.evaluation.measures import bootstrap, metrics


RNG = np.random.default_rng(0)
VALUES = RNG.normal(size=(2, 3, 40))
PROBABILITIES = np.stack(
    [[metrics.softmax((1 + method) * RNG.normal(size=(60, 3))) for _ in range(3)] for method in range(2)]
)
REFERENCES = RNG.integers(0, 3, 60)


def looped(statistic, n_seeds, n_examples, seed, n_resamples, level):
    """`statistic(seeds, rows)` on every resample, and the quantiles."""
    values = []
    for number in range(n_resamples):
        rng = np.random.default_rng([seed, number])
        seeds, rows = rng.integers(n_seeds, size=n_seeds), rng.integers(n_examples, size=n_examples)
        values.append(statistic(seeds.tolist(), rows.tolist()))
    return [np.quantile(values, (1 - level) / 2), np.quantile(values, 1 - (1 - level) / 2)]


# More than one chunk of resamples, and not a whole number of them.
@pytest.mark.parametrize("n_seeds, seed, n_resamples, level", [(3, 0, 300, 0.95), (1, 7, 60, 0.8), (2, 3, 2, 0.5)])
def test_mean_is_the_loop(n_seeds, seed, n_resamples, level):
    a, b = VALUES[:, :n_seeds]

    def statistic(seeds, rows):
        return sum(a[s, i] - b[s, i] for s in seeds for i in rows) / (len(seeds) * len(rows))

    low, high = looped(statistic, n_seeds, 40, seed, n_resamples, level)
    result = bootstrap_mean_difference(a, b, seed=seed, n_resamples=n_resamples, level=level)
    assert result.difference == pytest.approx(statistic(range(n_seeds), range(40)), abs=1e-12)
    assert (result.low, result.high) == pytest.approx((low, high), abs=1e-12)
    assert result.low < result.high
    assert (result.n_seeds, result.n_examples, result.n_resamples, result.level) == (n_seeds, 40, n_resamples, level)


@pytest.mark.parametrize("n_bins", [1, 5, 15])
def test_ece_is_the_loop_and_the_metric_s(n_bins):
    def ece(probabilities, references):
        return metrics.expected_calibration_error(probabilities=probabilities, references=references, n_bins=n_bins)

    def statistic(seeds, rows):
        a, b = (np.mean([ece(of[s][rows], REFERENCES[rows]) for s in seeds]) for of in PROBABILITIES)
        return a - b

    low, high = looped(statistic, 3, 60, 5, 40, 0.9)
    keywords = {"seed": 5, "n_resamples": 40, "level": 0.9}
    for result in (
        bootstrap_ece_difference(*PROBABILITIES, REFERENCES, n_bins=n_bins, **keywords),
        bootstrap_metric_difference(ece, *PROBABILITIES, REFERENCES, **keywords),
    ):
        assert result.difference == pytest.approx(statistic(range(3), range(60)), abs=1e-12)
        assert (result.low, result.high) == pytest.approx((low, high), abs=1e-12)
        assert result.low < result.high
        assert (result.n_seeds, result.n_examples, result.n_resamples, result.level) == (3, 60, 40, 0.9)


def test_a_mean_as_a_metric_is_the_mean():
    brier = np.sum((PROBABILITIES - np.eye(3)[REFERENCES]) ** 2, axis=-1)
    by_metric = bootstrap_metric_difference(metrics.brier_score, *PROBABILITIES, REFERENCES, seed=2, n_resamples=50)
    by_mean = bootstrap_mean_difference(*brier, seed=2, n_resamples=50)
    assert astuple(by_metric)[:3] == pytest.approx(astuple(by_mean)[:3], abs=1e-12)
    assert astuple(by_metric)[3:] == astuple(by_mean)[3:]


def metric_bootstrap(*arguments, **keywords):
    return bootstrap_metric_difference(metrics.ece_equal_mass, *arguments, **keywords)


@pytest.mark.parametrize(
    "function, a, b, rest",
    [
        (bootstrap_mean_difference, *VALUES, ()),
        (bootstrap_ece_difference, *PROBABILITIES, (REFERENCES,)),
        (metric_bootstrap, *PROBABILITIES, (REFERENCES,)),
    ],
    ids=["mean", "ece", "metric"],
)
class TestAll:
    def test_antisymmetric(self, function, a, b, rest):
        forth = function(a, b, *rest, seed=1, n_resamples=30)
        back = function(b, a, *rest, seed=1, n_resamples=30)
        assert (back.difference, back.low, back.high) == pytest.approx(
            (-forth.difference, -forth.high, -forth.low), abs=1e-12
        )

    def test_identical_methods_differ_by_nothing(self, function, a, b, rest):
        result = function(a, a.copy(), *rest, n_resamples=30)
        assert (result.difference, result.low, result.high) == (0.0, 0.0, 0.0)

    def test_one_seed_is_over_the_examples_alone(self, function, a, b, rest):
        one = function(a[:1], b[:1], *rest, n_resamples=30)
        assert (one.resampled, one.n_seeds) == ("examples", 1)
        assert one.low < one.high
        # The same seed three times has nothing to vary either.
        thrice = function(a[[0, 0, 0]], b[[0, 0, 0]], *rest, n_resamples=30)
        assert thrice.resampled == "seeds and examples"
        assert thrice.difference == pytest.approx(one.difference, abs=1e-12)
        assert function(a, b, *rest, n_resamples=30).resampled == "seeds and examples"

    def test_seeded(self, function, a, b, rest):
        first, again, other = (function(a, b, *rest, seed=seed, n_resamples=30) for seed in (3, 3, 4))
        assert first == again
        assert (first.low, first.high) != (other.low, other.high) and first.difference == other.difference
        wide, narrow = (function(a, b, *rest, n_resamples=30, level=level) for level in (0.95, 0.5))
        assert wide.low < narrow.low < narrow.high < wide.high

    def test_errors(self, function, a, b, rest):
        with pytest.raises(ValueError, match=r"_a` and `.*_b` must have the same shape.*same seeds and the same"):
            function(a, b[:2], *rest)
        with pytest.raises(ValueError, match=r"_a` must have shape \(S, N"):
            function(a[0], b[0], *rest)
        broken = b.copy()
        broken[1, 0] = np.nan
        with pytest.raises(ValueError, match=r"_b\[1, 0.*\]` is nan"):
            function(a, broken, *rest)
        for keywords, message in (
            ({"seed": -1}, "`seed` must not be negative, got -1"),
            ({"n_resamples": 1}, "`n_resamples` must be at least 2, got 1"),
            ({"level": 95}, r"`level` must lie in \(0, 1\), got 95"),
            ({"level": 1.0}, "got 1.0"),
        ):
            with pytest.raises(ValueError, match=message):
                function(a, b, *rest, **keywords)
        with pytest.raises(ValueError, match="at least 2 examples to resample, got 1"):
            function(a[:, :1], b[:, :1], *[labels[:1] for labels in rest])


def test_probability_errors():
    for function in (bootstrap_ece_difference, metric_bootstrap):
        with pytest.raises(
            ValueError, match=r"Every row of `probabilities_b\[1\]` must sum to 1, but row 4 sums to 0\.9"
        ):
            wrong = PROBABILITIES[1].copy()
            wrong[1, 4] = 0.3
            function(PROBABILITIES[0], wrong, REFERENCES)
        with pytest.raises(ValueError, match=r"`references` must be labels in 0\.\.2.*got 3"):
            function(*PROBABILITIES, REFERENCES + 1)
        with pytest.raises(ValueError, match="same length, got 60 and 59"):
            function(*PROBABILITIES, REFERENCES[1:])
    with pytest.raises(ValueError, match="`n_bins` must be at least 1, got 0"):
        bootstrap_ece_difference(*PROBABILITIES, REFERENCES, n_bins=0)
    with pytest.raises(ValueError, match="`metric` must return a finite number, got nan for A"):
        bootstrap_metric_difference(lambda **_: float("nan"), *PROBABILITIES, REFERENCES)


@examples(50)
@given(hnp.arrays(np.bool_, st.tuples(st.integers(1, 4), st.integers(2, 12))), st.integers(0, 2**40))
def test_correctness_stays_in_its_range(correct, seed):
    result = bootstrap_mean_difference(correct, ~correct, seed=seed, n_resamples=20)
    assert -1 - 1e-12 <= result.low <= result.high <= 1 + 1e-12
    assert result.difference == pytest.approx(2 * correct.mean() - 1, abs=1e-12)


@pytest.fixture
def drawn_once(monkeypatch):
    """Resamples of the same shape and seed are drawn once, which is what takes the time."""
    draw = bootstrap._weights
    monkeypatch.setattr(bootstrap, "_weights", cache(lambda *of: list(draw(*of))))


def coverage(n_seeds, n_examples, of_seeds, of_examples, of_cells, repetitions=400):
    """How often the interval holds the truth, 0.3, with normal effects of these standard deviations."""
    rng, hits = np.random.default_rng(11), 0
    for _ in range(repetitions):
        effects = of_seeds * rng.normal(size=(n_seeds, 1)) + of_examples * rng.normal(size=(1, n_examples))
        difference = 0.3 + effects + of_cells * rng.normal(size=(n_seeds, n_examples))
        b = rng.normal(size=difference.shape)
        result = bootstrap_mean_difference(b + difference, b, n_resamples=1000)
        hits += result.low <= 0.3 <= result.high
    return hits / repetitions


# The standard error of a share of 400 is 1.1 points: the bounds are some three of them, and the bias, away.
@pytest.mark.parametrize(
    "n_seeds, effects, lowest, highest",
    [
        pytest.param(1, (0.0, 1.0, 0.0), 0.90, 0.975, id="one seed"),
        pytest.param(5, (0.0, 1.0, 0.1), 0.90, 0.975, id="examples"),
        pytest.param(30, (1.0, 0.1, 0.1), 0.90, 0.975, id="many seeds"),
        pytest.param(20, (0.6, 1.0, 0.5), 0.90, 0.98, id="both"),
        # What the docstring warns of.
        pytest.param(5, (1.0, 0.1, 0.1), 0.78, 0.90, id="few seeds"),
        pytest.param(5, (0.0, 0.0, 1.0), 0.97, 1.0, id="cells"),
    ],
)
def test_coverage(drawn_once, n_seeds, effects, lowest, highest):
    assert lowest <= coverage(n_seeds, 50, *effects) <= highest


def test_pairing_makes_the_interval_narrow():
    rng = np.random.default_rng(1)
    hard = 5 * rng.normal(size=(1, 200))
    a, b = (hard + 0.1 * rng.normal(size=(4, 200)) for _ in range(2))
    paired = bootstrap_mean_difference(a, b, n_resamples=200)
    shuffled = bootstrap_mean_difference(a, b[:, rng.permutation(200)], n_resamples=200)
    assert paired.high - paired.low < 0.1 * (shuffled.high - shuffled.low)
