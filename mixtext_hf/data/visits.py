"""Which rows of the data a batch holds, and in which epoch: what a method keeps of a row is found again by its number.

The sampler says the epoch with each row; nothing remembers it, so that a resumed run goes on with the same rows and epochs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch

from .balanced import BalancedDraw
from .images.frames import Frame
from .tables.row_id import RowId


VISIT = "_visit"
"""Where a row of images says which it is."""
VISITS = "visits"
"""Where a batch says so."""


class Visit(NamedTuple):
    """A row of the data, the epoch, and, of an image, what is shown of it then."""

    row: int
    epoch: int
    frame: Frame | None = None


class EpochSampler(torch.utils.data.Sampler):
    r"""
    All rows in random order, each with the epoch: what an [`ImageRows`] or a [`VisitedRows`] asks for.

    Args:
        num_rows (`int`): Number of rows there are.
        seed (`int`, *optional*, defaults to 0): With the epoch, the only thing that the order depends on.
        draw ([`BalancedDraw`], *optional*): What draws as many of them in place of that, with replacement.
    """

    def __init__(self, num_rows: int, *, seed: int = 0, draw: BalancedDraw | None = None):
        if num_rows < 1:
            raise ValueError(f"`num_rows` is {num_rows}: there must be at least one.")
        self.num_rows, self.seed, self.draw = num_rows, seed, draw
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch of the next iteration."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.num_rows

    def __iter__(self) -> Iterator[RowId]:
        epoch = self.epoch
        if self.draw is not None:
            came: Counter[int] = Counter()
            for row in self.draw(epoch, self.num_rows).tolist():
                yield RowId(0, row, epoch, came[row])
                came[row] += 1
            return
        # Five numbers: numpy fills fewer than four up with zeros, and [seed, epoch] would be the augmentation of row 0.
        order = np.random.default_rng([self.seed, epoch, 0, 0, 1]).permutation(self.num_rows)
        for row in order:
            yield RowId(0, int(row), epoch)


class VisitedRow(NamedTuple):
    """A row as the data has it, and which it is."""

    row: Any
    visit: Visit


class VisitedRows(torch.utils.data.Dataset):
    """
    Rows that say which they are, for a [`VisitCollator`].

    Args:
        rows (`datasets.Dataset` or `Sequence`): The rows, of any kind.
    """

    def __init__(self, rows: Any):
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, which: RowId) -> VisitedRow:
        return VisitedRow(self.rows[which.row], Visit(which.row, which.round))


class VisitCollator:
    """
    A collator that is not told which rows it collates, and whose batch says so in the end.

    Args:
        collator (`Callable`): Anybody's, of rows as the data has them.
    """

    def __init__(self, collator: Callable[[Any], Any]):
        self.collator = collator

    def __call__(self, features: Sequence[VisitedRow]) -> dict[str, Any]:
        """
        Returns:
            `dict[str, Any]`: The batch of the collator, and `visits`, int64 `(B, 2)`: row and epoch.

        Raises:
            `ValueError`: if that is no mapping, or has labels of more or fewer rows than it was given.
        """
        batch = self.collator([feature.row for feature in features])
        if not isinstance(batch, Mapping):
            raise ValueError(
                f"The data_collator makes a {type(batch).__name__} of a batch, which cannot say which rows it holds (saliency_every keeps "
                "the saliency of a row): let it make a dict, or use saliency_every=1."
            )
        labels = batch.get("labels")
        if isinstance(labels, torch.Tensor) and len(labels) != len(features):
            raise ValueError(
                f"The data_collator makes {len(labels)} rows of {len(features)}, and nobody knows which they are (saliency_every keeps the "
                "saliency of a row): let it leave their number, or use saliency_every=1."
            )
        return {**batch, VISITS: visit_tensor([feature.visit for feature in features])}


def visit_tensor(visits: Sequence[Visit]) -> torch.Tensor:
    """Rows and epochs `(B, 2)`, int64."""
    return torch.tensor([[visit.row, visit.epoch] for visit in visits], dtype=torch.int64)
