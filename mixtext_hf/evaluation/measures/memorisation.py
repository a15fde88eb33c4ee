"""How much of wrong training labels a model has learnt by heart; `data.corrupt_labels` makes such labels."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from .validation import check_labels


@dataclass(frozen=True)
class Memorisation:
    """
    What a model says of the training rows, some of whose labels were wrong.

    Attributes:
        n_wrong (`int`): Rows that were trained with a wrong label, at least 1.
        n_right (`int`): Rows that were trained with their right label.
        memorised (`float`): Share of the wrongly labelled rows that are predicted as their wrong label, in `[0, 1]`.
        recovered (`float`):
            Share of the wrongly labelled rows that are predicted as their right label all the same, in `[0, 1]`. What is
            left of 1 after both are predictions of a third class.
        accuracy_on_right (`float`):
            Accuracy on the rightly labelled rows, in `[0, 1]`; nan where every label was wrong.
    """

    n_wrong: int
    n_right: int
    memorised: float
    recovered: float
    accuracy_on_right: float


def measure_memorisation(*, clean_labels: ArrayLike, noisy_labels: ArrayLike, predictions: ArrayLike) -> Memorisation:
    """
    Compares predictions on the training rows with the labels they were trained with and those they should have had.

    A network can fit labels that mean nothing, and fits the meaningful ones first (Arpit et al., 2017, "A Closer Look at
    Memorization in Deep Networks"). Whether mixup keeps it from the former is measured on training rows with corrupted
    labels, as in Zhang et al. (2018, "mixup: Beyond Empirical Risk Minimization", section 3.4 and its table, whose
    training errors against the real and the corrupted labels run over all training rows; here the rows with a wrong label
    are counted by themselves, so that the share of noise does not enter).

    Args:
        clean_labels (array-like of shape `(N,)`, integer): The right classes of the training rows.
        noisy_labels (array-like of shape `(N,)`, integer): The classes they were trained with.
        predictions (array-like of shape `(N,)`, integer):
            Predicted classes of the same rows, as they are (not mixed, not augmented).

    Returns:
        [`Memorisation`]

    Raises:
        ValueError: If the numbers of rows differ, a class is negative (leave out the rows without a label), or no label is
            wrong.
    """
    checked_clean = check_labels("clean_labels", clean_labels)
    checked_noisy = check_labels("noisy_labels", noisy_labels)
    checked_predictions = check_labels("predictions", predictions)
    for name, labels in (("clean_labels", checked_clean), ("noisy_labels", checked_noisy)):
        if len(labels) != len(checked_predictions):
            raise ValueError(
                f"`{name}` and `predictions` must have the same length, got {len(labels)} and "
                f"{len(checked_predictions)}. Pass one of each for every training row, in the same order."
            )
    is_wrong = checked_clean != checked_noisy
    n_wrong = int(is_wrong.sum())
    n_right = len(is_wrong) - n_wrong
    if n_wrong == 0:
        raise ValueError(
            f"`noisy_labels` must differ from `clean_labels` somewhere, got {n_right} equal rows: there is no wrong label "
            "to memorise. Make some with `corrupt_labels`."
        )
    hits = checked_predictions == checked_clean
    return Memorisation(
        n_wrong=n_wrong,
        n_right=n_right,
        memorised=float(np.mean((checked_predictions == checked_noisy)[is_wrong])),
        recovered=float(np.mean(hits[is_wrong])),
        accuracy_on_right=float(np.mean(hits[~is_wrong])) if n_right else float("nan"),
    )
