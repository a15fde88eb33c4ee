"""Holding out a fixed number of rows with the class proportions of the whole.

Used for the validation share of a training file and for the test split of the embedded corpus. Not for choosing few
labelled examples: that is `few_shot.py`, which counts per class instead.
"""

import numpy as np
from datasets import Dataset


# Keeps these draws apart from those of `few_shot_split`, whose generators are keyed [seed, class].
_STREAM = 1


def _sizes_per_class(counts: np.ndarray, size: int) -> np.ndarray:
    """Share `size` out in proportion to `counts` by largest remainder, so that the parts sum to `size` exactly."""
    exact = counts * (size / counts.sum())
    sizes = np.floor(exact).astype(np.int64)
    largest_remainder_first = np.argsort(sizes - exact, kind="stable")
    sizes[largest_remainder_first[: size - sizes.sum()]] += 1
    return sizes


def hold_out(dataset: Dataset, size: int, seed: int, label_column: str | None = None) -> tuple[Dataset, Dataset]:
    """
    Hold `size` rows out of a dataset, at random but fixed by the seed.

    Args:
        dataset (`datasets.Dataset`):
            The rows to split.
        size (`int`):
            How many rows to hold out, between 1 and `len(dataset) - 1`.
        seed (`int`):
            The draw is a pure function of the seed and the labels.
        label_column (`str`, *optional*):
            Column of class ids. When given, every class is held out in proportion to its size (to within one row).

    Returns:
        `tuple[Dataset, Dataset]`: what stays and what is held out, both in the order of `dataset`.
    """
    if not 1 <= size < len(dataset):
        raise ValueError(
            f"`size` is {size}, but the dataset has {len(dataset)} rows: hold out between 1 and {len(dataset) - 1}."
        )
    if label_column is None:
        held_out = np.random.default_rng([seed, 0, _STREAM]).choice(len(dataset), size=size, replace=False)
    else:
        labels = np.asarray(dataset[label_column][:])
        classes, counts = np.unique(labels, return_counts=True)
        held_out = np.concatenate(
            [
                np.random.default_rng([seed, int(label), _STREAM]).choice(
                    np.flatnonzero(labels == label), size=n, replace=False
                )
                for label, n in zip(classes, _sizes_per_class(counts, size), strict=True)
            ]
        )
    stays = np.setdiff1d(np.arange(len(dataset)), held_out)
    return dataset.select(stays), dataset.select(np.sort(held_out))
