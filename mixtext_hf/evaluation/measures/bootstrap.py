"""Is method A better than method B? The paired difference of a metric with its bootstrap interval.

Both methods are run with the same seeds and tested on the same examples, and the interval resamples seeds AND examples,
each with replacement and independently of the other: the two are crossed, for a hard example is hard for every seed
(Owen, 2007, "The pigeonhole bootstrap", Annals of Applied Statistics 1). No bootstrap of a crossed table is exact
(McCullagh, 2000, Bernoulli 6), so that the nominal 95 % of this percentile interval are, on simulated normal data:

- 92 to 95 % where the examples differ most, with any number of seeds;
- **too narrow where few seeds differ most** from each other: 73 % with 3 seeds, 84 % with 5, 90 % with 10, 94 % with 30,
  for resampling `S` seeds shows `(S - 1) / S` of the variance between them, and nothing of how badly that is known;
- too wide (99 %) where neither matters and every cell of the table is noise of its own.

With one seed the interval is over the examples alone, and `BootstrapInterval.resampled` says so.

numpy in, numbers out: this file knows no model and no file format.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .validation import check_finite, check_labels, check_n_bins, check_probabilities, check_same_shape


DEFAULT_LEVEL = 0.95

# Resamples that are weighed at a time: 256 x 7,600 examples are 16 MB.
_CHUNK = 256


@dataclass(frozen=True)
class BootstrapInterval:
    """
    The difference of two methods, A - B, and how far it can be trusted.

    Attributes:
        difference (`float`): A's mean over the seeds minus B's, on the data as they are; in the metric's unit.
        low (`float`): Lower end of the interval.
        high (`float`): Upper end of the interval.
        level (`float`): Nominal coverage, in `(0, 1)`.
        n_seeds (`int`): Seeds of each method.
        n_examples (`int`): Test examples.
        n_resamples (`int`): Bootstrap resamples.
        resampled (`str`):
            "seeds and examples", or "examples" where there was one seed: the interval then says nothing of what another
            seed would give.
    """

    difference: float
    low: float
    high: float
    level: float
    n_seeds: int
    n_examples: int
    n_resamples: int
    resampled: str


def bootstrap_mean_difference(
    values_a: ArrayLike,
    values_b: ArrayLike,
    *,
    seed: int = 0,
    n_resamples: int = 2000,
    level: float = DEFAULT_LEVEL,
) -> BootstrapInterval:
    """
    Paired difference of the means of a quantity that every example has: correctness (its mean is the accuracy), negative
    log-likelihood, squared error.

    Args:
        values_a (array-like of shape `(S, N)`, float or bool): Method A's value with seed `s` on example `i`.
        values_b (array-like of shape `(S, N)`, float or bool): Method B's, for the same seeds and the same examples.
        seed (`int`, *optional*, defaults to 0): Resample `r` is drawn with `numpy.random.default_rng([seed, r])`.
        n_resamples (`int`, *optional*, defaults to 2000): At least 2.
        level (`float`, *optional*, defaults to 0.95): Nominal coverage, in `(0, 1)`.

    Returns:
        [`BootstrapInterval`]: of A - B, so that its sign turns when the methods are exchanged.

    Raises:
        ValueError: If the shapes differ, there are fewer than two examples, a value is NaN or infinite, or `seed`,
            `n_resamples` or `level` is out of range.
    """
    checked_a = check_finite("values_a", values_a, ndim=2, shape="(S, N)")
    checked_b = check_finite("values_b", values_b, ndim=2, shape="(S, N)")
    _check_pair("values", checked_a, checked_b)
    _check_resampling(checked_a.shape[1], seed, n_resamples, level)
    differences = checked_a - checked_b
    n_seeds, n_examples = differences.shape
    resampled = [
        np.sum(seed_weights * (example_weights @ differences.T), axis=1)
        for seed_weights, example_weights in _weights(n_seeds, n_examples, seed, n_resamples)
    ]
    return _interval(float(differences.mean()), np.concatenate(resampled), n_seeds, n_examples, level)


def bootstrap_ece_difference(
    probabilities_a: ArrayLike,
    probabilities_b: ArrayLike,
    references: ArrayLike,
    *,
    n_bins: int = 15,
    seed: int = 0,
    n_resamples: int = 2000,
    level: float = DEFAULT_LEVEL,
) -> BootstrapInterval:
    """
    Paired difference of the expected calibration errors (Guo et al., 2017, eq. 3), each the mean over the seeds.

    The same numbers as `bootstrap_metric_difference` with `expected_calibration_error`, fast: an example's bin of equal
    width does not depend on the other examples, so that the calibration error of a resample is a weighted sum.

    A resample repeats examples, and its calibration error is larger on average than that of the data. Most of this cancels
    in the difference of two methods that are calibrated alike, but not all: look at `low` and `high` beside `difference`,
    which need not lie in their middle.

    Args:
        probabilities_a (array-like of shape `(S, N, C)`, float): Method A's, with seed `s` on example `i`; in `[0, 1]`,
            summing to 1 over the classes (to 1e-3).
        probabilities_b (array-like of shape `(S, N, C)`, float): Method B's, for the same seeds and the same examples.
        references (array-like of shape `(N,)`, integer): True classes in `0 .. C-1`.
        n_bins (`int`, *optional*, defaults to 15): Number of bins of equal width, closed on the right.
        seed (`int`, *optional*, defaults to 0): Resample `r` is drawn with `numpy.random.default_rng([seed, r])`.
        n_resamples (`int`, *optional*, defaults to 2000): At least 2.
        level (`float`, *optional*, defaults to 0.95): Nominal coverage, in `(0, 1)`.

    Returns:
        [`BootstrapInterval`]: of A - B; negative where A is better calibrated.

    Raises:
        ValueError: As `bootstrap_metric_difference`, or if `n_bins` is below 1.
    """
    check_n_bins(n_bins)
    checked_a, checked_b, labels = _check_probabilities(probabilities_a, probabilities_b, references)
    n_seeds, n_examples, _ = checked_a.shape
    _check_resampling(n_examples, seed, n_resamples, level)
    gaps_a, gaps_b = _binned_gaps(checked_a, labels, n_bins), _binned_gaps(checked_b, labels, n_bins)

    def of_each_seed(example_weights: NDArray[np.float64], gaps: NDArray[np.float64]) -> NDArray[np.float64]:
        sums = example_weights @ gaps.reshape(n_examples, n_seeds * n_bins)
        return np.abs(sums).reshape(-1, n_seeds, n_bins).sum(axis=2)

    everything = np.full((1, n_examples), 1.0 / n_examples)
    difference = float(np.mean(of_each_seed(everything, gaps_a) - of_each_seed(everything, gaps_b)))
    resampled = [
        np.sum(seed_weights * (of_each_seed(example_weights, gaps_a) - of_each_seed(example_weights, gaps_b)), axis=1)
        for seed_weights, example_weights in _weights(n_seeds, n_examples, seed, n_resamples)
    ]
    return _interval(difference, np.concatenate(resampled), n_seeds, n_examples, level)


def bootstrap_metric_difference(
    metric: Callable[..., float],
    probabilities_a: ArrayLike,
    probabilities_b: ArrayLike,
    references: ArrayLike,
    *,
    seed: int = 0,
    n_resamples: int = 500,
    level: float = DEFAULT_LEVEL,
) -> BootstrapInterval:
    """
    Paired difference of any metric of probabilities, each the mean over the seeds of the metric of one seed.

    The metric is computed anew on every resample, about `1.3 * S * n_resamples` times (a seed that is not drawn is left
    out): for a mean over the examples take `bootstrap_mean_difference`, for the expected calibration error
    `bootstrap_ece_difference`.

    Args:
        metric (callable):
            `metric(probabilities=..., references=...)` with arrays of shape `(N, C)` and `(N,)`, such as the functions of
            `metrics.py`; returns a finite number. Examples repeat in what it is given, and a class can be missing.
        probabilities_a (array-like of shape `(S, N, C)`, float): Method A's, with seed `s` on example `i`; in `[0, 1]`,
            summing to 1 over the classes (to 1e-3).
        probabilities_b (array-like of shape `(S, N, C)`, float): Method B's, for the same seeds and the same examples.
        references (array-like of shape `(N,)`, integer): True classes in `0 .. C-1`.
        seed (`int`, *optional*, defaults to 0): Resample `r` is drawn with `numpy.random.default_rng([seed, r])`.
        n_resamples (`int`, *optional*, defaults to 500): At least 2.
        level (`float`, *optional*, defaults to 0.95): Nominal coverage, in `(0, 1)`.

    Returns:
        [`BootstrapInterval`]: of A - B, so that its sign turns when the methods are exchanged.

    Raises:
        ValueError: If the shapes do not fit, there are fewer than two examples, a row is no distribution, a reference is
            out of range, `metric` returns NaN or inf, or `seed`, `n_resamples` or `level` is out of range.
    """
    checked_a, checked_b, labels = _check_probabilities(probabilities_a, probabilities_b, references)
    n_seeds, n_examples, _ = checked_a.shape
    _check_resampling(n_examples, seed, n_resamples, level)

    def difference_of_seed(one: int, rows: NDArray[np.int64]) -> float:
        values = [metric(probabilities=each[one][rows], references=labels[rows]) for each in (checked_a, checked_b)]
        if not np.isfinite(values).all():
            raise ValueError(
                f"`metric` must return a finite number, got {values[0]} for A and {values[1]} for B on {len(rows)} "
                "examples, some of which repeat. It must be defined where a class is missing."
            )
        return float(values[0] - values[1])

    difference = float(np.mean([difference_of_seed(one, np.arange(n_examples)) for one in range(n_seeds)]))
    resampled = np.zeros(n_resamples)
    for number in range(n_resamples):
        seeds, rows = _draw(n_seeds, n_examples, seed, number)
        for one, times in zip(*np.unique(seeds, return_counts=True), strict=True):
            resampled[number] += times / n_seeds * difference_of_seed(int(one), rows)
    return _interval(difference, resampled, n_seeds, n_examples, level)


def _draw(n_seeds: int, n_examples: int, seed: int, number: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The seeds and the examples of one resample, a pure function of its number."""
    rng = np.random.default_rng([seed, number])
    return rng.integers(n_seeds, size=n_seeds), rng.integers(n_examples, size=n_examples)


def _weights(
    n_seeds: int, n_examples: int, seed: int, n_resamples: int
) -> Iterator[tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """The resamples as weights, in chunks of `R`: of the seeds `(R, S)` and of the examples `(R, N)`; rows sum to 1."""
    for first in range(0, n_resamples, _CHUNK):
        draws = [_draw(n_seeds, n_examples, seed, number) for number in range(first, min(first + _CHUNK, n_resamples))]
        yield (
            np.stack([np.bincount(seeds, minlength=n_seeds) / n_seeds for seeds, _ in draws]),
            np.stack([np.bincount(rows, minlength=n_examples) / n_examples for _, rows in draws]),
        )


def _binned_gaps(probabilities: NDArray[np.float64], labels: NDArray[np.int64], n_bins: int) -> NDArray[np.float64]:
    """`hit - confidence` of every example, in the column of its seed and its bin: `(N, S, n_bins)`, else 0."""
    confidences = probabilities.max(axis=2)
    hits = probabilities.argmax(axis=2) == labels
    # As in `reliability_bins`.
    bins = np.digitize(confidences, np.linspace(0.0, 1.0, n_bins + 1)[1:-1], right=True)
    gaps = np.zeros((*confidences.shape, n_bins))
    np.put_along_axis(gaps, bins[..., None], (hits - confidences)[..., None], axis=2)
    return gaps.swapaxes(0, 1)


def _interval(
    difference: float, resampled: NDArray[np.float64], n_seeds: int, n_examples: int, level: float
) -> BootstrapInterval:
    low, high = np.quantile(resampled, [(1.0 - level) / 2.0, (1.0 + level) / 2.0])
    return BootstrapInterval(
        difference=difference,
        low=float(low),
        high=float(high),
        level=level,
        n_seeds=n_seeds,
        n_examples=n_examples,
        n_resamples=len(resampled),
        resampled="examples" if n_seeds == 1 else "seeds and examples",
    )


def _check_probabilities(
    probabilities_a: ArrayLike, probabilities_b: ArrayLike, references: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
    both = []
    for name, values in (("probabilities_a", probabilities_a), ("probabilities_b", probabilities_b)):
        of_seeds = check_finite(name, values, ndim=3, shape="(S, N, C)")
        both.append(np.stack([check_probabilities(each, f"{name}[{s}]") for s, each in enumerate(of_seeds)]))
    _check_pair("probabilities", *both)
    labels = check_labels("references", references, n_classes=both[0].shape[2])
    check_same_shape("probabilities_a[0]", both[0][0], labels)
    return both[0], both[1], labels


def _check_pair(name: str, of_a: NDArray, of_b: NDArray) -> None:
    if of_a.shape != of_b.shape:
        raise ValueError(
            f"`{name}_a` and `{name}_b` must have the same shape, got {of_a.shape} and {of_b.shape}. The difference is "
            "paired: give both methods the same seeds and the same examples, in the same order."
        )


def _check_resampling(n_examples: int, seed: int, n_resamples: int, level: float) -> None:
    if n_examples < 2:
        raise ValueError("There must be at least 2 examples to resample, got 1. The first axis is the seeds.")
    if seed < 0:
        raise ValueError(f"`seed` must not be negative, got {seed}.")
    if n_resamples < 2:
        raise ValueError(f"`n_resamples` must be at least 2, got {n_resamples}. 1000 and more give a steady interval.")
    if not 0.0 < level < 1.0:
        raise ValueError(f"`level` must lie in (0, 1), got {level}. For 95 %, write 0.95.")
