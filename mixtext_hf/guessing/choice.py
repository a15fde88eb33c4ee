"""Which guesser suits these texts: candidates compared by the likelihood of labelled rows that they were not shown.

A Gaussian mixture is right where clusters of texts are classes (topics), and wrong where they are not (kinds of questions,
sentiment); names of classes help where they say what texts are about. Ten rows a class are enough to see which holds: each
candidate is fitted without a fifth of them, tempered, and judged by what it says of that fifth.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from .gaussian import Anchors, GaussianMixture, fit_gaussian_mixture
from .logistic import Logistic, fit_logistic
from .rotation import Rotation, principal_axes
from .rows import Floats, Rows, check_finite, check_labels, chunk_rows, chunks, log_softmax
from .temperature import fit_temperature


logger = logging.getLogger(__name__)

Shares = Literal["auto", "uniform", "labelled", "estimated"]
Family = Literal["auto", "gaussian", "logistic"]

# Mixtures of these numbers of dimensions are fitted and their log-posteriors averaged: better than the best single one on
# held-out rows of AG News and crisis tweets, and nothing to choose.
DIMENSIONS = (16, 32, 64, 128, 256)
# For how many unlabelled rows a labelled one stands, and a sentence about the name of a class.
LABELLED_WEIGHT, SENTENCE_WEIGHT = 20.0, 20.0
FOLDS = 5
# Unlabelled rows that candidates are compared on, and that the chosen one is fitted on: more change nothing that can be seen.
_ROWS_TO_COMPARE, ROWS_TO_FIT = 4000, 50_000
# How much likelier (nats, all labelled rows together) another candidate must be than the first.
_MARGIN = 2.0
# What a mixture that could not be judged is tempered by: what was found, about, where it could.
_USUAL_TEMPERATURE = 3.5
# Neighbouring rows that are sampled together.
_BLOCK = 50
_SMALLEST_SHARE = 1e-6


@dataclass(frozen=True)
class Candidate:
    """
    A way to guess.

    Args:
        family (`"gaussian"` or `"logistic"`): A mixture over all rows, or logistic regression on the labelled ones.
        shares (`"uniform"`, `"labelled"`, `"estimated"` or `"given"`, *optional*): Of the classes among unlabelled rows.
        names (`bool`): Whether sentences about the names of the classes count as labelled rows.
    """

    family: Literal["gaussian", "logistic"]
    shares: str | None = None
    names: bool = False

    def __str__(self) -> str:
        if self.family == "logistic":
            return "logistic regression on the labelled rows"
        with_names = ", with the names of the classes" if self.names else ""
        return f"Gaussian mixture, {self.shares} shares{with_names}"


@dataclass(frozen=True)
class GuessReport:
    """
    What was chosen and why; JSON-serialisable by [`as_dict`].

    Args:
        chosen (`str`): The candidate.
        temperature (`float`): What its log-probabilities were divided by.
        log_likelihoods (`dict[str, float]`): Of each candidate, nats a held-out row, tempered; empty if none was held out.
        held_out (`int`): Labelled rows that were held out, each once.
        held_out_accuracy (`float`, *optional*): Of the chosen one on them.
        dimensions (`tuple[int, ...]`): Of the mixtures.
        labelled (`int`), unlabelled (`int`): Numbers of rows.
        notes (`tuple[str, ...]`): What else there is to say.
    """

    chosen: str
    temperature: float
    log_likelihoods: dict[str, float]
    held_out: int
    held_out_accuracy: float | None
    dimensions: tuple[int, ...]
    labelled: int
    unlabelled: int
    notes: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """For a JSON file."""
        return {**asdict(self), "dimensions": list(self.dimensions), "notes": list(self.notes)}

    def __str__(self) -> str:
        """One line for people."""
        if not self.held_out:
            return f"{self.chosen} (nothing could be held out to compare it with others)"
        others = "; ".join(f"{name} {value:.2f}" for name, value in self.log_likelihoods.items())
        return f"{self.chosen}: nats a held-out labelled row, of {self.held_out}: {others}"


@dataclass(frozen=True)
class FrozenGuesser:
    """
    A fitted guesser: features of the encoder as it is in, probabilities out.

    Args:
        rotation ([`Rotation`]): What features are turned by first.
        experts (`tuple`): Mixtures, or one logistic regression; their log-posteriors are averaged.
        report ([`GuessReport`]): How it was chosen.
        held_out (`np.ndarray` of shape `(n, C)`): Log-probabilities of the labelled rows by fits that did not see them; NaN
            for rows that were never held out.
        folds (`np.ndarray` of shape `(n,)`): In which fold each was held out, -1 for none.
    """

    rotation: Rotation
    experts: tuple[GaussianMixture | Logistic, ...]
    report: GuessReport
    held_out: NDArray[np.float64] = field(repr=False)
    folds: NDArray[np.int64] = field(repr=False)

    def log_probabilities(self, rows: Floats) -> NDArray[np.float64]:
        """Log-probabilities `(n, C)`, tempered, of features `(n, D)`."""
        return _tempered(_average(self.experts, self.rotation(rows)), self.report.temperature)

    def guess(self, rows: Rows) -> Iterator[NDArray[np.float64]]:
        """Log-probabilities of all rows, some at a time."""
        for chunk in chunks(rows, chunk_rows(self.held_out.shape[1])):
            yield self.log_probabilities(chunk)


def fit_frozen_guesser(
    unlabelled: Rows,
    labelled: Floats,
    labels: Sequence[int] | NDArray[np.integer],
    n_classes: int,
    *,
    family: Family = "auto",
    shares: Shares | Sequence[float] = "auto",
    sentences: tuple[Floats, Sequence[int]] | None = None,
    use_names: bool | None = None,
    dimensions: Sequence[int] = DIMENSIONS,
    seed: int = 0,
) -> FrozenGuesser:
    """
    Choose a way to guess by cross-validation on the labelled rows, and fit it on all rows.

    Args:
        unlabelled ([`Rows`] of shape `(N, D)`):
            Features; all are read, in chunks, for the axes. The mixture is fitted on [`ROWS_TO_FIT`] of them at most.
        labelled (`np.ndarray` of shape `(n, D)`): Features of the labelled rows.
        labels (`Sequence[int]`): Their classes `0 .. C-1`; each at least once.
        n_classes (`int`): Number of classes `C`.
        family (`"auto"`, `"gaussian"` or `"logistic"`): What may be chosen.
        shares (`"auto"`, `"uniform"`, `"labelled"`, `"estimated"`, or `C` numbers that sum to 1):
            Of the classes among the unlabelled rows. `"auto"`: chosen among the first three.
        sentences (`tuple`, *optional*): Features of sentences about the names of the classes, and the class of each.
        use_names (`bool`, *optional*): Whether to use them; `None`: where the held-out rows do not speak against it.
        dimensions (`Sequence[int]`): Of the mixtures; fewer where the rows do not span as many.
        seed (`int`): Of the folds and of the rows that candidates are compared on.

    Raises:
        `ValueError`: for fewer than two classes or unlabelled rows, a class without a labelled row, features that are not
            finite or all the same, or shares that do not fit the classes.
    """
    labelled = np.asarray(labelled, dtype=np.float64)
    labels = check_labels(labels, n_classes, len(labelled))
    counts = np.bincount(labels, minlength=n_classes)
    if (counts == 0).any():
        raise ValueError(
            f"Class {int(np.argmin(counts))} has no labelled row: guessing needs at least one of each of the {n_classes} "
            "classes. Add one, or leave the class out."
        )
    if len(unlabelled) < 2:
        raise ValueError(
            f"There is {len(unlabelled)} unlabelled row: guessing needs at least two to see where texts lie. Give more."
        )
    given = check_shares(shares, n_classes)
    check_finite("unlabelled", unlabelled)
    check_finite("labelled", labelled)
    if use_names and sentences is None:
        raise ValueError("`use_names` was asked for, but there are no `sentences` about the names of the classes.")

    notes: list[str] = []
    rotation = principal_axes([labelled, unlabelled], max(dimensions))
    dimensions = tuple(sorted({min(d, rotation.dimensions) for d in dimensions}))
    if rotation.dimensions < max(DIMENSIONS) <= labelled.shape[1]:
        notes.append(f"The rows span {rotation.dimensions} dimensions, no more are used.")
    anchors, rows = rotation(labelled), _sample(unlabelled, rotation, seed, ROWS_TO_FIT)
    if len(rows) < len(unlabelled):
        notes.append(f"Fitted on {len(rows)} of the {len(unlabelled)} unlabelled rows, drawn from all over them.")
    evidence = None
    if sentences is not None and use_names is not False:
        evidence = Anchors(
            rotation(sentences[0]),
            np.asarray(sentences[1], dtype=np.int64),
            np.full(len(sentences[1]), SENTENCE_WEIGHT),
        )
    fit = _Fit(n_classes, dimensions, evidence, given)

    candidates = _candidates(family, shares, given, counts, evidence is not None, use_names)
    folds = make_folds(labels, seed)
    held = folds >= 0
    if not held.any():
        notes.append("A class has one labelled row, so that none can be held out: candidates were not compared.")
        chosen, temperature, out = candidates[0], _USUAL_TEMPERATURE, np.full((len(labels), n_classes), np.nan)
        if chosen.family == "logistic":
            temperature = 1.0
        likelihoods: dict[str, float] = {}
    else:
        few = _sample(unlabelled, rotation, seed, _ROWS_TO_COMPARE)
        outs = {one: _held_out(fit, one, anchors, labels, folds, few) for one in candidates}
        temperatures = {one: fit_temperature(out_[held], labels[held]) for one, out_ in outs.items()}
        tempered = {one: _tempered(out_, temperatures[one]) for one, out_ in outs.items()}
        sums = {one: float(out_[held, labels[held]].sum()) for one, out_ in tempered.items()}
        best = max(candidates, key=lambda one: sums[one])
        chosen = best if sums[best] > sums[candidates[0]] + _MARGIN else candidates[0]
        temperature, out = temperatures[chosen], tempered[chosen]
        likelihoods = {str(one): value / int(held.sum()) for one, value in sums.items()}
    experts = fit(chosen, anchors, labels, rows)
    report = GuessReport(
        chosen=str(chosen),
        temperature=temperature,
        log_likelihoods=likelihoods,
        held_out=int(held.sum()),
        held_out_accuracy=float((out[held].argmax(axis=1) == labels[held]).mean()) if held.any() else None,
        dimensions=dimensions if chosen.family == "gaussian" else (),
        labelled=len(labelled),
        unlabelled=len(unlabelled),
        notes=tuple(notes),
    )
    return FrozenGuesser(rotation, experts, report, out, folds)


def check_shares(shares: str | Sequence[float], n_classes: int) -> NDArray[np.float64] | None:
    """
    The shares of the classes if they are given as numbers.

    Raises:
        `ValueError`: if they are none, do not sum to 1, or are of another number of classes.
    """
    if isinstance(shares, str):
        if shares not in get_args(Shares):
            raise ValueError(
                f"guess_shares must be one of {', '.join(get_args(Shares))} or one number for each class, got {shares!r}."
            )
        return None
    given = np.asarray(shares, dtype=np.float64)
    if given.shape != (n_classes,):
        raise ValueError(
            f"guess_shares has {given.size} numbers, but there are {n_classes} classes: give one for each, in their order."
        )
    if not np.isfinite(given).all() or (given < 0).any() or abs(given.sum() - 1) > 1e-3:
        raise ValueError(
            f"guess_shares must be numbers >= 0 that sum to 1, got {given.tolist()}, which sum to {given.sum():g}."
        )
    positive = np.maximum(given, _SMALLEST_SHARE)
    return positive / positive.sum()


def make_folds(labels: NDArray[np.int64], seed: int, folds: int = FOLDS) -> NDArray[np.int64]:
    """
    The fold `(n,)` in which each labelled row is held out, every class spread over all of them; -1 for a class's only row,
    which cannot be spared.
    """
    numbers = np.full(len(labels), -1, dtype=np.int64)
    for label in np.unique(labels):
        rows = np.flatnonzero(labels == label)
        if len(rows) > 1:
            order = np.random.default_rng([seed, int(label)]).permutation(len(rows))
            numbers[rows[order]] = (np.arange(len(rows)) + int(label)) % min(folds, len(rows))
    return numbers


@dataclass(frozen=True)
class _Fit:
    """Fits candidates; what all of them share."""

    n_classes: int
    dimensions: tuple[int, ...]
    evidence: Anchors | None
    given: NDArray[np.float64] | None

    def __call__(
        self, one: Candidate, rows: NDArray[np.float64], labels: NDArray[np.int64], unlabelled: Rows
    ) -> tuple[GaussianMixture | Logistic, ...]:
        if one.family == "logistic":
            return (fit_logistic(rows, labels, self.n_classes),)
        anchors = Anchors(rows, labels, np.full(len(rows), LABELLED_WEIGHT))
        if one.names:
            assert self.evidence is not None
            anchors = _joined(anchors, self.evidence)
        shares = {
            "uniform": np.full(self.n_classes, 1 / self.n_classes),
            "labelled": np.bincount(labels, minlength=self.n_classes) / len(labels),
            "given": self.given,
            "estimated": None,
        }[one.shares or "uniform"]
        return tuple(
            fit_gaussian_mixture(unlabelled, anchors.first(d), self.n_classes, shares=shares) for d in self.dimensions
        )


def _joined(one: Anchors, other: Anchors) -> Anchors:
    return Anchors(
        np.concatenate([one.rows, other.rows]),
        np.concatenate([one.labels, other.labels]),
        np.concatenate([one.weights, other.weights]),
    )


def _candidates(
    family: Family,
    shares: Shares | Sequence[float],
    given: NDArray[np.float64] | None,
    counts: NDArray[np.int64],
    has_names: bool,
    use_names: bool | None,
) -> list[Candidate]:
    """Those that may be chosen, the one that is right most often first."""
    if given is not None:
        kinds = ["given"]
    elif shares != "auto":
        kinds = [str(shares)]
    else:
        uneven = counts.max() > counts.min()
        kinds = ["uniform", *(["labelled"] if uneven else []), "estimated"]
    names = [True, False] if has_names and use_names is None else [has_names and use_names is not False]
    gaussian = [Candidate("gaussian", kind, with_names) for kind in kinds for with_names in names]
    return {
        "gaussian": gaussian,
        "logistic": [Candidate("logistic")],
        "auto": [*gaussian, Candidate("logistic")],
    }[family]


def _sample(unlabelled: Rows, rotation: Rotation, seed: int, count: int) -> NDArray[np.float64]:
    """At most `count` of the rows, turned: blocks from all over them, so that a file is read in few places."""
    if len(unlabelled) <= count:
        return np.concatenate([rotation(chunk) for chunk in chunks(unlabelled)])
    starts = np.random.default_rng(seed).permutation(len(unlabelled) // _BLOCK)[: count // _BLOCK] * _BLOCK
    return np.concatenate([rotation(unlabelled[start : start + _BLOCK]) for start in np.sort(starts)])


def _held_out(
    fit: _Fit,
    one: Candidate,
    rows: NDArray[np.float64],
    labels: NDArray[np.int64],
    folds: NDArray[np.int64],
    unlabelled: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Log-probabilities of held-out rows, not tempered; they stay among the unlabelled ones."""
    out = np.full((len(labels), fit.n_classes), np.nan)
    for fold in np.unique(folds[folds >= 0]):
        aside = folds == fold
        experts = fit(one, rows[~aside], labels[~aside], np.concatenate([unlabelled, rows[aside]]))
        out[aside] = _average(experts, rows[aside])
    return out


def _average(experts: Sequence[GaussianMixture | Logistic], rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """The mean of the log-posteriors, normalised."""
    # A certainty of one expert alone shall not outweigh all others.
    floor = np.log(1e-12)
    return log_softmax(np.mean([np.maximum(expert.log_posterior(rows), floor) for expert in experts], axis=0))


def _tempered(log_probabilities: NDArray[np.float64], temperature: float) -> NDArray[np.float64]:
    return log_softmax(log_probabilities / temperature)


__all__ = [
    "DIMENSIONS",
    "Candidate",
    "FrozenGuesser",
    "GuessReport",
    "check_shares",
    "fit_frozen_guesser",
    "make_folds",
]
