"""Which guesses to learn from first: the surest of each class."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .rows import CHUNK_ROWS, Rows


def surest_rows(probabilities: Rows, share: float) -> NDArray[np.int64]:
    """
    The rows of the surest `share` of the guesses of each class: so that no class is left out because others are easier.

    Args:
        probabilities ([`Rows`] of shape `(N, C)`): Guesses.
        share (`float`): In `(0, 1]`; of a class that is guessed at all at least one row stays.

    Returns:
        `np.ndarray`, int64: row numbers in ascending order; of rows that are equally sure the first.
    """
    if not 0 < share <= 1:
        raise ValueError(f"`share` must lie in (0, 1], got {share}.")
    sure = np.empty(len(probabilities), dtype=np.float32)
    label = np.empty(len(probabilities), dtype=np.int32)
    n_classes = 0
    for start in range(0, len(probabilities), CHUNK_ROWS):
        chunk = np.asarray(probabilities[start : start + CHUNK_ROWS])
        n_classes = chunk.shape[1]
        sure[start : start + len(chunk)] = chunk.max(axis=1)
        label[start : start + len(chunk)] = chunk.argmax(axis=1)
    # Class by class, the surest first.
    order = np.lexsort((-sure, label))
    counts = np.bincount(label, minlength=n_classes)
    rank = np.arange(len(order)) - np.repeat(np.cumsum(counts) - counts, counts)
    wanted = np.ceil(share * counts - 1e-9)
    return np.sort(order[rank < np.repeat(wanted, counts)]).astype(np.int64)
