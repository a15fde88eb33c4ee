"""A long tail made of data on purpose, to see which methods still learn its rare classes."""

from __future__ import annotations

import numpy as np
from datasets import Dataset

from .few_shot import class_ids


# Keeps these draws apart from those of `few_shot_split`, keyed [seed, class], `hold_out`, [.., 1], and `corrupt_labels`, [.., 2].
_STREAM = 3


def check_imbalance(ratio: float) -> None:
    """Raise `ValueError` for what is no ratio of the largest class to the smallest."""
    if not (np.isfinite(ratio) and ratio >= 1):
        raise ValueError(
            f"`imbalance` is {ratio}: it must be a number of at least 1, how many times more rows the first class has than the last, "
            "such as 50."
        )


def imbalanced_split(dataset: Dataset, label_column: str, ratio: float, seed: int) -> tuple[Dataset, Dataset]:
    r"""
    Keep of class `k` of `C` the share `ratio^(-k / (C - 1))` of the rows of the first: an exponential long tail (Cui et al. 2019).

    The first class has as many rows as leave every other class its share of them: all, where the classes had equally many. Classes
    stand in the order of their ids, for all seeds, so that runs with several seeds have the same rare classes; which rows
    of them is drawn by the seed. For one seed, a longer tail of equally large classes keeps no row that a shorter one does not.

    Args:
        dataset (`datasets.Dataset`): The rows.
        label_column (`str`): Column of class ids (integers from 0).
        ratio (`float`): Rows of the first class for one of the last, at least 1.
        seed (`int`): The split is a pure function of the seed and the labels.

    Returns:
        `tuple[Dataset, Dataset]`: the rows that are kept, one of each class at least, and the others, both in the order of
        `dataset`.

    Raises:
        `ValueError`: for another `ratio`, fewer than two classes, or labels that are no class ids.
    """
    check_imbalance(ratio)
    labels = class_ids(dataset, label_column, what="an imbalance")
    classes, counts = np.unique(labels, return_counts=True)
    if len(classes) < 2:
        raise ValueError(f"`imbalance` is {ratio:g}, and the rows are of one class: there is no other to be rarer.")
    shares = float(ratio) ** (-np.arange(len(classes)) / (len(classes) - 1))
    # The largest number of rows of the first class for which all others have their share, up to a row.
    first = int((counts / shares).min() + 1e-9)
    sizes = np.clip(np.floor(first * shares + 0.5).astype(int), 1, counts)
    kept = np.zeros(len(labels), dtype=bool)
    for label, size in zip(classes, sizes, strict=True):
        rows = np.flatnonzero(labels == label)
        kept[np.random.default_rng([seed, int(label), _STREAM]).permutation(rows)[:size]] = True
    return dataset.select(np.flatnonzero(kept)), dataset.select(np.flatnonzero(~kept))
