"""Choosing rows of the splits: a share for validation, a few labelled examples, at most so many. The same for all data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from datasets import Dataset, concatenate_datasets

from .few_shot import few_shot_split
from .imbalance import check_imbalance, imbalanced_split
from .labels.classes import LABEL
from .stratified import hold_out
from .tables.sources import Splits


@dataclass(frozen=True)
class Selection:
    """
    Which rows of the splits are wanted.

    Args:
        limits (`Mapping[str, int | None]`):
            `"labeled_per_class"`, `"max_train_samples"`, `"max_eval_samples"` and `"max_predict_samples"`, by the names of their
            arguments; others may stand among them, which are checked and recorded alike.
        seed (`int`):
            The choice is a pure function of the seed and the labels.
        validation_split_fraction (`float`, *optional*):
            Share of the training split that becomes the validation split, before anything else is chosen.
        up_to (`bool`, *optional*, defaults to `False`):
            Whether all rows of a class that has fewer than `"labeled_per_class"` are taken.
        imbalance (`float`, *optional*):
            Rows of the first class of train for one of the last, see [`imbalanced_split`]: of those that `"labeled_per_class"` has
            chosen.

    Raises:
        `ValueError`: for numbers that select nothing, whatever the data.
    """

    limits: Mapping[str, int | None]
    seed: int
    validation_split_fraction: float | None = None
    up_to: bool = False
    imbalance: float | None = None

    def __post_init__(self) -> None:
        fraction = self.validation_split_fraction
        for name, value in self.limits.items():
            if value is not None and value < 1:
                raise ValueError(f"`{name}` is {value}: it must be at least 1; leave it out for no limit.")
        if self.seed < 0:
            raise ValueError(f"`seed` is {self.seed}: it must not be negative.")
        if fraction is not None and not 0 < fraction < 1:
            raise ValueError(f"`validation_split_fraction` is {fraction}: it must be between 0 and 1.")
        if self.imbalance is not None:
            check_imbalance(self.imbalance)

    def check(self, splits: Splits) -> None:
        """Raise `ValueError` for selections that need splits which are not there, or are there already."""
        fraction = self.validation_split_fraction
        if fraction is not None and (splits.train is None or splits.validation):
            reason = "there is no training split" if splits.train is None else "there is a validation split already"
            raise ValueError(f"`validation_split_fraction` is {fraction}, but {reason}: leave it out.")
        there = {
            "labeled_per_class": ("training", splits.train is not None),
            "max_train_samples": ("training", splits.train is not None),
            "max_eval_samples": ("validation", bool(splits.validation) or fraction is not None),
            "max_predict_samples": ("test", bool(splits.test)),
        }
        if self.imbalance is not None and splits.train is None:
            raise ValueError(f"`imbalance` is {self.imbalance}, but there is no training split: leave it out.")
        for name, (kind, is_there) in there.items():
            if not is_there and self.limits[name] is not None:
                other = (
                    ", or limit the test split by `max_predict_samples`"
                    if kind == "validation" and splits.test
                    else ""
                )
                raise ValueError(
                    f"`{name}` is {self.limits[name]}, but there is no {kind} split: leave it out{other}."
                )

    def choose(self, splits: Splits, *, by_class: bool = True) -> Dataset | None:
        """
        Choose the rows of the splits, in place, by their column `"label"`.

        Args:
            splits ([`Splits`]):
                The splits, with normalised labels.
            by_class (`bool`, *optional*, defaults to `True`):
                Whether the labels are classes, which the validation split has in the proportions of the training split.

        Returns:
            `datasets.Dataset`: what `labeled_per_class` leaves over of the training split, and `imbalance` of that; `None` without
            `labeled_per_class`.

        Raises:
            `ValueError`: for an `imbalance` of rows that have not one class each.
        """
        if self.imbalance is not None and not by_class:
            raise ValueError(
                f"`imbalance` is {self.imbalance}: it takes a share of the rows of each class, and the rows have not one class each. "
                "Leave it out."
            )
        train, rest, limits, seed = splits.train, None, self.limits, self.seed
        labeled_per_class, max_train_samples = limits["labeled_per_class"], limits["max_train_samples"]
        if train is not None and self.validation_split_fraction is not None:
            size = min(max(round(len(train) * self.validation_split_fraction), 1), len(train) - 1)
            train, held_out = hold_out(train, size, seed, LABEL if by_class else None)
            splits.validation = {"validation": held_out}
        if train is not None and labeled_per_class is not None:
            train, rest = few_shot_split(train, LABEL, labeled_per_class, seed, up_to=self.up_to)
        if train is not None and self.imbalance is not None:
            train, left = imbalanced_split(train, LABEL, self.imbalance, seed)
            rest = None if rest is None else concatenate_datasets([rest, left])
        if train is not None and max_train_samples is not None:
            train = train.select(np.random.default_rng(seed).permutation(len(train))[:max_train_samples])
        splits.train = train
        for kind, limit in (
            (splits.validation, limits["max_eval_samples"]),
            (splits.test, limits["max_predict_samples"]),
        ):
            for name, split in kind.items():
                chosen = choose_rows(len(split), limit, seed)
                if chosen is not None:
                    kind[name], splits.rows[name] = split.select(chosen), chosen
        return rest

    def as_source(self) -> dict[str, Any]:
        """What was asked for, JSON-serialisable."""
        return {
            "seed": self.seed,
            "validation_split_fraction": self.validation_split_fraction,
            **self.limits,
            **({"up_to": True} if self.up_to else {}),
            **({"imbalance": self.imbalance} if self.imbalance is not None else {}),
        }


def choose_rows(number: int, limit: int | None, seed: int) -> np.ndarray | None:
    """Which of so many rows to keep, in order, so that there are at most `limit`; `None`: all of them."""
    if limit is None or limit >= number:
        return None
    # Not the first rows: many files are sorted by class.
    return np.sort(np.random.default_rng(seed).permutation(number)[:limit])
