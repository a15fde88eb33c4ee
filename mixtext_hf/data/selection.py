"""Choosing rows of the splits: a share for validation, a few labelled examples, at most so many. The same for all data."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from datasets import Dataset

from .few_shot import few_shot_split
from .labels.classes import LABEL
from .stratified import hold_out
from .tables.sources import Splits


def check_limits(limits: Mapping[str, int | None], seed: int, validation_split_fraction: float | None) -> None:
    """Raise `ValueError` for numbers that select nothing, whatever the data; `limits` by the names of their arguments."""
    for name, value in limits.items():
        if value is not None and value < 1:
            raise ValueError(f"`{name}` is {value}: it must be at least 1; leave it out for no limit.")
    if seed < 0:
        raise ValueError(f"`seed` is {seed}: it must not be negative.")
    if validation_split_fraction is not None and not 0 < validation_split_fraction < 1:
        raise ValueError(f"`validation_split_fraction` is {validation_split_fraction}: it must be between 0 and 1.")


def check_selections(
    splits: Splits, limits: Mapping[str, int | None], validation_split_fraction: float | None
) -> None:
    """Raise `ValueError` for selections that need splits which are not there, or are there already."""
    labeled_per_class = limits["labeled_per_class"]
    if validation_split_fraction is not None and (splits.train is None or splits.validation):
        reason = "there is no training split" if splits.train is None else "there is a validation split already"
        raise ValueError(f"`validation_split_fraction` is {validation_split_fraction}, but {reason}: leave it out.")
    if labeled_per_class is not None and splits.train is None:
        raise ValueError(f"`labeled_per_class` is {labeled_per_class}, but there is no training split: leave it out.")


def select_rows(
    splits: Splits,
    limits: Mapping[str, int | None],
    validation_split_fraction: float | None,
    seed: int,
    *,
    by_class: bool = True,
    up_to: bool = False,
) -> Dataset | None:
    """
    Choose the rows of the splits, in place, by their column `"label"`.

    Args:
        splits ([`Splits`]):
            The splits, with normalised labels.
        limits (`Mapping[str, int | None]`):
            `"labeled_per_class"`, `"max_train_samples"`, `"max_eval_samples"` and `"max_predict_samples"`.
        validation_split_fraction (`float`, *optional*):
            Share of the training split that becomes the validation split, before anything else is chosen.
        seed (`int`):
            The choice is a pure function of the seed and the labels.
        by_class (`bool`, *optional*, defaults to `True`):
            Whether the labels are classes, which the validation split has in the proportions of the training split.
        up_to (`bool`, *optional*, defaults to `False`):
            Whether all rows of a class that has fewer than `"labeled_per_class"` are taken.

    Returns:
        `datasets.Dataset`: what `labeled_per_class` leaves over of the training split, `None` without it.
    """
    train, rest = splits.train, None
    labeled_per_class, max_train_samples = limits["labeled_per_class"], limits["max_train_samples"]
    if train is not None and validation_split_fraction is not None:
        size = min(max(round(len(train) * validation_split_fraction), 1), len(train) - 1)
        train, held_out = hold_out(train, size, seed, LABEL if by_class else None)
        splits.validation = {"validation": held_out}
    if train is not None and labeled_per_class is not None:
        train, rest = few_shot_split(train, LABEL, labeled_per_class, seed, up_to=up_to)
    if train is not None and max_train_samples is not None:
        train = train.select(np.random.default_rng(seed).permutation(len(train))[:max_train_samples])
    splits.train = train
    for kind, limit in ((splits.validation, limits["max_eval_samples"]), (splits.test, limits["max_predict_samples"])):
        for name, split in kind.items():
            chosen = choose_rows(len(split), limit, seed)
            if chosen is not None:
                kind[name], splits.rows[name] = split.select(chosen), chosen
    return rest


def choose_rows(number: int, limit: int | None, seed: int) -> np.ndarray | None:
    """Which of so many rows to keep, in order, so that there are at most `limit`; `None`: all of them."""
    if limit is None or limit >= number:
        return None
    # Not the first rows: many files are sorted by class.
    return np.sort(np.random.default_rng(seed).permutation(number)[:limit])
