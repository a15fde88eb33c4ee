"""Two guessers that err differently make one: a product of experts, its weight fitted on rows that neither saw.

The frozen encoder's clusters and a classifier fine-tuned on the labelled rows know different things (stacking: Wolpert, 1992;
learning from each other's view: Blum and Mitchell, 1998).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .rows import log_softmax
from .temperature import fit_temperature


# Weights of the classifier beside 1 for the frozen guesser.
_WEIGHTS = (0.0, 0.25, 0.5, 1.0, 2.0, 4.0)
# The weight that was best on held-out rows of AG News and crisis tweets, where no rows can be held out to fit it; and what a
# doubling or halving of it must gain, nats of all held-out rows.
_USUAL_WEIGHT, _PRICE = 0.5, 0.5


@dataclass(frozen=True)
class Combination:
    """
    `log p = (log p_frozen + weight log p_classifier) / temperature`, normalised.

    Args:
        weight (`float`): Of the classifier.
        temperature (`float`): Of both together.
        held_out_accuracy (`float`, *optional*): Of the classifier alone, on the rows it was fitted on.
    """

    weight: float = _USUAL_WEIGHT
    temperature: float = 1.0
    held_out_accuracy: float | None = None

    def __call__(self, frozen: NDArray[np.float64], classifier: NDArray[np.float64]) -> NDArray[np.float64]:
        """Log-probabilities `(n, C)` of both to those of both together."""
        return log_softmax((frozen + self.weight * classifier) / self.temperature)

    def as_dict(self) -> dict[str, Any]:
        """For a JSON file."""
        return {
            "classifier_weight": self.weight,
            "temperature": self.temperature,
            "classifier_held_out_accuracy": self.held_out_accuracy,
        }


def fit_combination(
    frozen: NDArray[np.float64], classifier: NDArray[np.float64], labels: NDArray[np.int64]
) -> Combination:
    """
    Args:
        frozen, classifier (`np.ndarray` of shape `(n, C)`): Log-probabilities of labelled rows by fits that did not see them.
        labels (`np.ndarray` of shape `(n,)`, int64): Their classes.
    """
    if len(labels) == 0:
        return Combination()

    def gain(one: Combination) -> float:
        price = 0.0 if one.weight == _USUAL_WEIGHT else _PRICE * abs(np.log2(max(one.weight, 0.125) / _USUAL_WEIGHT))
        return float(one(frozen, classifier)[np.arange(len(labels)), labels].sum()) - price

    tried = [
        Combination(weight, fit_temperature(log_softmax(frozen + weight * classifier), labels)) for weight in _WEIGHTS
    ]
    best = max(tried, key=gain)
    accuracy = float((classifier.argmax(axis=1) == labels).mean())
    return Combination(best.weight, best.temperature, accuracy)
