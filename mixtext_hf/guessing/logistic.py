"""Guesses by logistic regression on the features of the labelled rows alone: no clusters are asked."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .rows import Floats, log_softmax


@dataclass(frozen=True)
class Logistic:
    """
    Args:
        weights (`np.ndarray` of shape `(D, C)`, float64): Of features `(n, D)`.
        biases (`np.ndarray` of shape `(C,)`, float64): Of the classes.
    """

    weights: NDArray[np.float64]
    biases: NDArray[np.float64]

    def log_posterior(self, rows: Floats) -> NDArray[np.float64]:
        """Log-probabilities of the classes `(n, C)` of rows `(n, D)`."""
        return log_softmax(np.asarray(rows, dtype=np.float64) @ self.weights + self.biases)


def fit_logistic(rows: Floats, labels: NDArray[np.int64], n_classes: int, *, penalty: float = 0.1) -> Logistic:
    """
    Multinomial logistic regression with an L2 penalty, by scikit-learn.

    Args:
        rows (`np.ndarray` of shape `(n, D)`): Labelled rows.
        labels (`np.ndarray` of shape `(n,)`, int64): Their classes; all `n_classes` must occur.
        n_classes (`int`): Number of classes.
        penalty (`float`): Of half the squared weights, against the sum of the losses of the rows.
    """
    from sklearn.linear_model import LogisticRegression

    fitted = LogisticRegression(C=1 / penalty, max_iter=2000).fit(np.asarray(rows, dtype=np.float64), labels)
    weights, biases = fitted.coef_.T, fitted.intercept_
    if n_classes == 2:  # scikit-learn has one row of weights, that of the second class
        weights = np.concatenate([np.zeros_like(weights), weights], axis=1)
        biases = np.concatenate([np.zeros(1), biases])
    return Logistic(weights, biases)
