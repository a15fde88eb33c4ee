"""Choosing a few labelled examples of each class; what is left is the unlabelled text of semi-supervised training."""

import numpy as np
from datasets import ClassLabel, Dataset


_SHOWN = 10


def few_shot_split(
    dataset: Dataset,
    label_column: str,
    labeled_per_class: int,
    seed: int,
    *,
    argument: str = "labeled_per_class",
    up_to: bool = False,
) -> tuple[Dataset, Dataset]:
    """
    Draw `labeled_per_class` rows of every class.

    Each class is drawn by its own generator, keyed by the seed and the class id: adding a class, or a row of another
    class, does not change which rows of this class are drawn.

    Args:
        dataset (`datasets.Dataset`):
            The full training set.
        label_column (`str`):
            Column of class ids (integers from 0).
        labeled_per_class (`int`):
            Rows to draw from every class that occurs. A name of a `ClassLabel` without a row is no class.
        seed (`int`):
            The split is a pure function of the seed and the labels.
        argument (`str`, *optional*, defaults to `"labeled_per_class"`):
            What errors call the number of rows.
        up_to (`bool`, *optional*, defaults to `False`):
            Whether all rows of a class that has fewer are taken, which is an error otherwise.

    Returns:
        `tuple[Dataset, Dataset]`: the labelled rows in a seeded shuffled order, and the rest in the order of
        `dataset`.
    """
    if labeled_per_class < 1:
        raise ValueError(f"`{argument}` is {labeled_per_class}: it must be at least 1.")
    if seed < 0:
        raise ValueError(f"`seed` is {seed}: it must not be negative.")
    labels = class_ids(dataset, label_column, what="a few-shot split")
    classes, counts = np.unique(labels, return_counts=True)
    few = {int(label): int(n) for label, n in zip(classes, counts, strict=True) if n < labeled_per_class}
    if few and not up_to:
        shown = [
            f"{_class_name(dataset, label_column, label)} has only {n}" for label, n in list(few.items())[:_SHOWN]
        ]
        more = f", … {len(few)} classes in all" if len(few) > _SHOWN else ""
        raise ValueError(
            f"`{argument}` is {labeled_per_class}, but class {', class '.join(shown)}{more} examples: use at most "
            f"{min(few.values())}, take what there is by up_to, or add examples."
        )
    drawn = []
    for label, count in zip(classes, counts, strict=True):
        rows, size = np.flatnonzero(labels == label), min(int(count), labeled_per_class)
        drawn.append(np.random.default_rng([seed, int(label)]).choice(rows, size=size, replace=False))
    labelled = np.random.default_rng(seed).permutation(np.concatenate(drawn))
    rest = np.setdiff1d(np.arange(len(dataset)), labelled)
    return dataset.select(labelled), dataset.select(rest)


def class_ids(dataset: Dataset, label_column: str, *, what: str) -> np.ndarray:
    """
    The class ids `(N,)` of the rows; `what` says what they are for.

    Raises:
        `ValueError`: if there is no such column, or it holds anything else.
    """
    if label_column not in dataset.column_names:
        raise ValueError(
            f"`label_column` is {label_column!r}, but the dataset has the columns {dataset.column_names}."
        )
    labels = np.asarray(dataset[label_column][:])
    if not np.issubdtype(labels.dtype, np.integer) or (labels < 0).any():
        raise ValueError(
            f"`label_column` {label_column!r} must hold class ids (integers from 0, none missing) for {what}."
        )
    return labels


def _class_name(dataset: Dataset, label_column: str, label: int) -> str:
    feature = dataset.features[label_column]
    return f"{feature.int2str(label)!r}" if isinstance(feature, ClassLabel) else str(label)
