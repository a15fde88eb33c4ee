"""Rows drawn so that every class comes up as often, whatever its share of the data."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray


class BalancedDraw:
    r"""
    Draws rows with replacement: a class that occurs as often as any other, and each of its rows as often as its others.

    Args:
        labels (array-like of shape `(N,)`, integer): Classes from 0; rows below 0 have none, and are never drawn.
        seed (`int`, *optional*, defaults to 0): With the epoch, the only thing that the draw depends on.

    Raises:
        `ValueError`: if no row has a class.
    """

    def __init__(self, labels: ArrayLike, *, seed: int = 0):
        labels = np.asarray(labels)
        known = labels >= 0
        if not known.any():
            raise ValueError("`labels` has no row with a class: there is nothing to draw.")
        counts = np.bincount(labels[known])
        chances = np.zeros(len(labels))
        chances[known] = 1 / counts[labels[known]]
        self.chances: NDArray[np.float64] = chances / chances.sum()
        self.seed = seed

    def __len__(self) -> int:
        return len(self.chances)

    def __call__(self, epoch: int, count: int) -> NDArray[np.int64]:
        """So many rows of an epoch, in the order of the draw."""
        # Five numbers, the last of them another than that of `EpochSampler`.
        rng = np.random.default_rng([self.seed, epoch, 0, 0, 2])
        return rng.choice(len(self.chances), size=count, p=self.chances)


class BalancedSampler(torch.utils.data.Sampler):
    r"""
    The numbers of rows of an epoch as long as the data, by a [`BalancedDraw`].

    Args:
        draw ([`BalancedDraw`]): Which draws.
    """

    def __init__(self, draw: BalancedDraw):
        self.draw = draw
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch of the next iteration."""
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.draw)

    def __iter__(self) -> Iterator[int]:
        yield from self.draw(self.epoch, len(self.draw)).tolist()
