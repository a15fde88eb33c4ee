"""Sentences that come with another one to be mixed with: one of the nearest, or any."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from mixtext_hf.data.tables.row_id import RowId


PARTNER_LABELS = "partner_labels"
"""Where a batch has the labels of the partners, whose rows are its second half."""
# Keeps these draws apart from those of augmentations, which are keyed [seed, epoch, row, view].
_STREAM = 3
_AT_A_TIME = 1024


def nearest_rows(features: NDArray[np.floating], k: int) -> NDArray[np.int64]:
    """
    The rows of the largest inner products with each row, itself left out.

    Args:
        features (`np.ndarray` of shape `(N, D)`): Of length 1.
        k (`int`): How many; where there are fewer others, all of these.

    Returns:
        `np.ndarray` of shape `(N, min(k, N - 1))`, int64, the nearest first; of several alike the first.
    """
    k = min(k, len(features) - 1)
    found = []
    for first in range(0, len(features), _AT_A_TIME):
        near = features[first : first + _AT_A_TIME] @ features.T
        near[np.arange(len(near)), np.arange(first, first + len(near))] = -np.inf
        found.append(np.argsort(-near, axis=1, kind="stable")[:, :k])
    return np.concatenate(found).astype(np.int64)


class PairedRow(NamedTuple):
    """A row and its partner, as the data has them."""

    row: Any
    partner: Any


class PairedRows(torch.utils.data.Dataset):
    """
    Rows with a partner each, drawn anew in every epoch: a pure function of the seed, the epoch and the row.

    Args:
        rows (`Sequence`): At least two.
        nearest (`np.ndarray` of shape `(N, k)`): The rows near each.
        mu (`float`): Chance that the partner is one of these; else it is any other row.
        seed (`int`): Of the draws.
    """

    def __init__(self, rows: Any, nearest: NDArray[np.int64], mu: float, seed: int):
        self.rows, self.nearest, self.mu, self.seed = rows, nearest, mu, seed

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, which: RowId) -> PairedRow:
        return PairedRow(self.rows[which.row], self.rows[self.partner_of(which.row, which.round)])

    def partner_of(self, row: int, epoch: int) -> int:
        """The number of the partner."""
        rng = np.random.default_rng([self.seed, epoch, row, 0, _STREAM])
        near, place, other = (
            rng.random() < self.mu,
            rng.integers(self.nearest.shape[1]),
            rng.integers(len(self.rows) - 1),
        )
        return int(self.nearest[row, place]) if near else int(other + (other >= row))


class PairedCollator:
    """
    A batch of rows and, behind them, their partners.

    Args:
        collator (`Callable`): Makes a batch with `labels` `(B, T)` of a list of rows.
    """

    def __init__(self, collator: Callable[[Any], Any]):
        self.collator = collator

    def __call__(self, features: Sequence[PairedRow]) -> dict[str, Any]:
        """
        Returns:
            `dict[str, Any]`: the batch of `2 B` rows; `labels` `(2 B, T)` are -100 in the second half, whose own are `partner_labels` `(B, T)`.
        """
        batch = dict(self.collator([pair.row for pair in features] + [pair.partner for pair in features]))
        labels = batch["labels"].clone()
        batch[PARTNER_LABELS] = batch["labels"][len(features) :].clone()
        labels[len(features) :] = -100
        return {**batch, "labels": labels}
