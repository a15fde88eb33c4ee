"""How sure guesses may be: one temperature, fitted on rows that the guesser did not see."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .rows import log_softmax


_COLDEST, _HOTTEST = 0.25, 20.0


def fit_temperature(log_probabilities: NDArray[np.float64], labels: NDArray[np.int64]) -> float:
    """
    The temperature in `[0.25, 20]` that makes the labels likeliest (Guo et al., ICML 2017).

    With few rows the likelihood may have no maximum (all are right); one row more, told wrong by a tenth of a guess, keeps it
    inside.

    Args:
        log_probabilities (`np.ndarray` of shape `(n, C)`): Of rows that were held out.
        labels (`np.ndarray` of shape `(n,)`, int64): Their classes.
    """
    from scipy.optimize import minimize_scalar

    n, n_classes = log_probabilities.shape
    targets = np.zeros((n, n_classes))
    targets[np.arange(n), labels] = 1
    # Laplace's rule for "is it right", spread over the other classes.
    slack = 1 / (n + 2)
    targets = (1 - slack) * targets + slack * (1 - targets) / (n_classes - 1)

    def surprise(log_temperature: float) -> float:
        return float(-(targets * log_softmax(log_probabilities / np.exp(log_temperature))).sum(axis=1).mean())

    found = minimize_scalar(surprise, bounds=(np.log(_COLDEST), np.log(_HOTTEST)), method="bounded")
    return float(np.exp(found.x))
