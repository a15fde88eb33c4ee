"""The principal axes of features: which directions a guesser looks at first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .rows import Floats, Rows, chunks


# Variance below this part of the largest is rounding, not a dimension.
_FLAT = 1e-10


@dataclass(frozen=True)
class Rotation:
    """
    Centres rows `(n, D)` and turns them onto their principal axes, those of most variance first.

    Args:
        mean (`np.ndarray` of shape `(D,)`, float64): The mean of the rows it was made of.
        axes (`np.ndarray` of shape `(D, d)`, float64): The axes as columns, each of length 1.
    """

    mean: NDArray[np.float64]
    axes: NDArray[np.float64]

    @property
    def dimensions(self) -> int:
        """How many axes there are."""
        return self.axes.shape[1]

    def __call__(self, rows: Floats) -> NDArray[np.float64]:
        """`(n, D)` to `(n, d)`, float64."""
        return (np.asarray(rows, dtype=np.float64) - self.mean) @ self.axes


def principal_axes(parts: Sequence[Rows], dimensions: int) -> Rotation:
    """
    The first `dimensions` principal axes of all rows of `parts` together, read in chunks.

    Fewer where the rows do not span as many. The sign of an axis makes its largest entry positive.

    Raises:
        `ValueError`: if all rows are the same.
    """
    count, total, moments = 0, np.zeros(1), np.zeros((1, 1))
    # Around the first row: features that lie far from 0 and near each other keep their digits.
    origin = next(row for part in parts if len(part) for row in np.asarray(part[:1], dtype=np.float64))
    for part in parts:
        for chunk in chunks(part):
            moved = chunk - origin
            count, total, moments = count + len(moved), total + moved.sum(axis=0), moments + moved.T @ moved
    centre = total / count
    variances, axes = np.linalg.eigh(moments / count - np.outer(centre, centre))
    variances, axes = variances[::-1], axes[:, ::-1]
    spanned = int((variances > max(variances[0], 0) * _FLAT).sum())
    if variances[0] <= 1e-24 * max(1.0, float(np.square(origin).max())):
        raise ValueError(
            f"All {count} rows of features are the same: there is nothing to tell classes apart by. Look whether the "
            "text column is the right one, or let another encoder make the features."
        )
    axes = axes[:, : min(dimensions, spanned, max(count - 1, 1))]
    largest = axes[np.abs(axes).argmax(axis=0), np.arange(axes.shape[1])]
    return Rotation(origin + centre, axes * np.where(largest < 0, -1.0, 1.0))
