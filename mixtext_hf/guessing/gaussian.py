"""Guesses by a Gaussian mixture: one component a class, one covariance for all, anchored by labelled rows, fitted by EM.

With every row labelled this is linear discriminant analysis; the unlabelled rows join in by their guesses (semi-supervised
LDA; Nigam, McCallum, Thrun and Mitchell, Machine Learning 39, 2000, for EM with few labels). Where the shares of the classes
are given, a bias a class is fitted that gives every class its share of the guesses: without it, clusters of the text decide how
large a class is, and with ten labels a class they decide wrongly.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .rows import Floats, Rows, chunk_rows, chunks, log_softmax


# How fast a bias follows: 1 gives a class its share in the next iteration, were all else to stay.
_LARGEST_STEP = 3.0


@dataclass(frozen=True)
class Anchors:
    """
    Rows whose class is known.

    Args:
        rows (`np.ndarray` of shape `(n, d)`, float64): Their features.
        labels (`np.ndarray` of shape `(n,)`, int64): Their classes.
        weights (`np.ndarray` of shape `(n,)`, float64): For how many unlabelled rows each stands.
    """

    rows: NDArray[np.float64]
    labels: NDArray[np.int64]
    weights: NDArray[np.float64]

    def first(self, dimensions: int) -> Anchors:
        """The same in their first dimensions."""
        return Anchors(self.rows[:, :dimensions], self.labels, self.weights)


@dataclass(frozen=True)
class GaussianMixture:
    """
    Args:
        means (`np.ndarray` of shape `(C, d)`, float64): The centre of each class.
        covariance (`np.ndarray` of shape `(d, d)`, float64): That of all classes.
        biases (`np.ndarray` of shape `(C,)`, float64): Logarithms of the weights of the components.
    """

    means: NDArray[np.float64]
    covariance: NDArray[np.float64]
    biases: NDArray[np.float64]

    def log_posterior(self, rows: Floats) -> NDArray[np.float64]:
        """Log-probabilities of the classes `(n, C)` of rows `(n, d)`; dimensions beyond `d` are left out."""
        directions = np.linalg.solve(self.covariance, self.means.T)
        offsets = self.biases - 0.5 * np.einsum("cd,dc->c", self.means, directions)
        return log_softmax(rows[:, : self.means.shape[1]] @ directions + offsets)


def fit_gaussian_mixture(
    unlabelled: Rows,
    anchors: Anchors,
    n_classes: int,
    *,
    shares: NDArray[np.float64] | None = None,
    iterations: int = 30,
    shrinkage: float = 0.1,
) -> GaussianMixture:
    r"""
    EM over the unlabelled rows, the anchors staying in their classes; one pass over the rows an iteration, in chunks.

    Expectation: `q_jc \propto exp(b_c - 1/2 (z_j - m_c)^T S^-1 (z_j - m_c))`. Maximisation, over anchors (weight `a_i`, class
    fixed) and rows (weight 1): `m_c` the weighted mean; `S = (1 - s) W + s tr(W)/d I`, `W` the weighted scatter within
    classes; and the biases `b_c`: with `shares` pi given, `b_c += log pi_c - log mean_j q_jc`, which ends where each class has its
    share of the guesses; else the log of the share of all weights that the class has.

    Args:
        unlabelled ([`Rows`], `(N, d)` or wider): Their first `d` dimensions are taken, `d` that of the anchors.
        anchors ([`Anchors`]): At least one a class.
        n_classes (`int`): Number of classes `C`.
        shares (`np.ndarray` of shape `(C,)`, *optional*): What part of the unlabelled rows each class has; `None` = estimated.
        iterations (`int`): Passes of EM.
        shrinkage (`float`): `s` in `[0, 1]`: how far the covariance is drawn to a sphere.
    """
    d = anchors.rows.shape[1]
    of_anchors = np.bincount(anchors.labels, weights=anchors.weights, minlength=n_classes)
    sums_of_anchors = np.zeros((n_classes, d))
    np.add.at(sums_of_anchors, anchors.labels, anchors.rows * anchors.weights[:, None])
    # The scatter of all rows around 0 never changes.
    moments = (anchors.rows * anchors.weights[:, None]).T @ anchors.rows
    plain, plain_moments = np.zeros(d), np.zeros((d, d))
    for chunk in chunks(unlabelled):
        plain += chunk[:, :d].sum(axis=0)
        plain_moments += chunk[:, :d].T @ chunk[:, :d]
    moments = moments + plain_moments
    total = anchors.weights.sum() + len(unlabelled)
    centre = plain / max(len(unlabelled), 1)

    means = sums_of_anchors / of_anchors[:, None]
    covariance = _shrunk(plain_moments / max(len(unlabelled), 1) - np.outer(centre, centre), shrinkage)
    biases = np.log(shares) if shares is not None else np.full(n_classes, -np.log(n_classes))
    for _ in range(iterations):
        mixture = GaussianMixture(means, covariance, biases)
        counts, sums = np.zeros(n_classes), np.zeros((n_classes, d))
        for chunk in chunks(unlabelled, chunk_rows(n_classes)):
            guesses = np.exp(mixture.log_posterior(chunk))
            counts += guesses.sum(axis=0)
            sums += guesses.T @ chunk[:, :d]
        of_classes = of_anchors + counts
        means = (sums_of_anchors + sums) / of_classes[:, None]
        covariance = _shrunk((moments - (means.T * of_classes) @ means) / total, shrinkage)
        if shares is None:
            biases = np.log(of_classes / total)
        else:
            found = np.maximum(counts / max(len(unlabelled), 1), np.finfo(np.float64).tiny)
            biases = biases + np.clip(np.log(shares) - np.log(found), -_LARGEST_STEP, _LARGEST_STEP)
    return GaussianMixture(means, covariance, biases)


def _shrunk(covariance: NDArray[np.float64], shrinkage: float) -> NDArray[np.float64]:
    d = len(covariance)
    return (1 - shrinkage) * covariance + shrinkage * np.trace(covariance) / d * np.eye(d)
