"""The frozen encoder's clusters guess alone where they are classes; elsewhere with a classifier of the labelled rows, if that helps.

Judged by labelled rows that neither saw (stacking: Wolpert, 1992). Clusters that leave less than half of an even guess's doubt are
classes, and ask nobody: a model that learns from guesses of its own kind learns its own mistakes again, although both together
would guess better still (measured: `docs/results.md`; the argument for two views is Blum and Mitchell's, 1998). Where they leave more,
a classifier is trained, and if both together know more than the clusters alone, both guess, as a product of experts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .rows import log_softmax
from .temperature import fit_temperature


# Weights of the classifier beside 1 for the frozen guesser, where it takes part.
_WEIGHTS = (1.0, 2.0, 4.0)
# Of the nats that an even guess leaves, the part that clusters leave where they are classes.
_CLUSTERS_ARE_CLASSES = 0.5


@dataclass(frozen=True)
class Combination:
    """
    `log p = (log p_frozen + weight log p_classifier) / temperature`, normalised.

    Args:
        weight (`float`): Of the classifier; 0: it takes no part.
        temperature (`float`): Of both together.
        log_likelihoods (`tuple[float, float]`, *optional*):
            Nats a held-out labelled row of the frozen guesser and of the classifier, each tempered; `None` if there were none,
            or no classifier was trained.
    """

    weight: float = 0.0
    temperature: float = 1.0
    log_likelihoods: tuple[float, float | None] | None = None

    def __call__(self, frozen: NDArray[np.float64], classifier: NDArray[np.float64]) -> NDArray[np.float64]:
        """Log-probabilities `(n, C)` of both to those of both together."""
        return log_softmax((frozen + self.weight * classifier) / self.temperature)

    def as_dict(self) -> dict[str, Any]:
        """For a JSON file."""
        frozen, classifier = self.log_likelihoods or (None, None)
        return {
            "classifier_weight": self.weight,
            "temperature": self.temperature,
            "frozen_log_likelihood": frozen,
            "classifier_log_likelihood": classifier,
        }

    def __str__(self) -> str:
        """One line for people."""
        if self.log_likelihoods is None:
            return "the classifier of the labelled rows takes no part: no rows could be held out to judge it"
        frozen, classifier = self.log_likelihoods
        if classifier is None:
            return (
                f"the frozen encoder's clusters are classes (nats a held-out labelled row {frozen:.2f}, less than half of an even "
                "guess's), and guess alone"
            )
        part = f"guesses too, with weight {self.weight:g}" if self.weight else "takes no part"
        return f"the classifier of the labelled rows {part}: nats a held-out labelled row {classifier:.2f}, the frozen one {frozen:.2f}"


def frozen_alone(frozen: NDArray[np.float64], labels: NDArray[np.int64]) -> Combination | None:
    """
    Whether the frozen guesser needs no classifier beside it: `None` if one is worth training.

    Args:
        frozen (`np.ndarray` of shape `(n, C)`): Log-probabilities of labelled rows by fits that did not see them.
        labels (`np.ndarray` of shape `(n,)`, int64): Their classes.
    """
    if len(labels) == 0:
        return Combination()
    likelihood = float(_likelihoods(frozen, labels)[0].mean())
    even = -np.log(frozen.shape[1])
    return Combination(log_likelihoods=(likelihood, None)) if likelihood > _CLUSTERS_ARE_CLASSES * even else None


def fit_combination(
    frozen: NDArray[np.float64], classifier: NDArray[np.float64], labels: NDArray[np.int64]
) -> Combination:
    """
    Whether a classifier guesses too, and with which weight.

    It does where both together are likelier on held-out rows than the frozen guesser alone. Its weight is the largest that is not
    worse than the best one by more than a standard error of their difference: the classifier that guesses learns from all labelled
    rows, and is better than those that were judged.

    Args:
        frozen, classifier (`np.ndarray` of shape `(n, C)`): Log-probabilities of labelled rows by fits that did not see them.
        labels (`np.ndarray` of shape `(n,)`, int64): Their classes.
    """
    if len(labels) == 0:
        return Combination()

    def is_as_good(one: NDArray[np.float64], other: NDArray[np.float64]) -> bool:
        difference = one - other
        return bool(difference.mean() >= -difference.std() / max(len(labels) - 1, 1) ** 0.5)

    alone = float(_likelihoods(frozen, labels)[0].mean()), float(_likelihoods(classifier, labels)[0].mean())
    tried = {weight: _likelihoods(log_softmax(frozen + weight * classifier), labels) for weight in _WEIGHTS}
    best = max((of_both for of_both, _ in tried.values()), key=lambda of_both: of_both.mean())
    if best.mean() <= alone[0]:
        return Combination(log_likelihoods=alone)
    weight = max(weight for weight, (of_both, _) in tried.items() if is_as_good(of_both, best))
    return Combination(weight, tried[weight][1], alone)


def _likelihoods(
    log_probabilities: NDArray[np.float64], labels: NDArray[np.int64]
) -> tuple[NDArray[np.float64], float]:
    """Of each row's label `(n,)`, tempered, and the temperature."""
    temperature = fit_temperature(log_probabilities, labels)
    return log_softmax(log_probabilities / temperature)[np.arange(len(labels)), labels], temperature
