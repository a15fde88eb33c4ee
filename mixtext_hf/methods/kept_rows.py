"""What a method keeps of each row of the data from one visit to the next: whose turn it is to be looked at anew, and how what one
process finds comes to all of them.

In the archive of a step is what was found, `(N, ...)` float16 on the host, and in which epoch, by the numbers of the rows.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch

from .base import Step, is_by_row


# In what a method remembers of the rows: what was found, and in which epoch, -1 where there is nothing.
FOUND, _EPOCHS = "saliency", "saliency_epoch"


def check_visits(step: Step, every: int, remedy: str, *, needs_frames: bool = False) -> None:
    """
    Raise where nobody says which rows a batch holds.

    Raises:
        `ValueError`: that names `saliency_every`, and the remedy.
    """
    if step.visits is None or (needs_frames and step.frames is None):
        raise ValueError(
            f"saliency_every={every} keeps the saliency of a row by its number, and the batch does not say which rows it holds: {remedy}, "
            "or use saliency_every=1."
        )


def archive_of(step: Step, *shape: int) -> tuple[torch.Tensor, torch.Tensor]:
    """What is kept of all rows, `(N, *shape)` float16, at first 1, and the epochs `(N,)` int32 of which it is, on the host."""
    full = (step.num_rows, *shape)
    # A run may be resumed on other data, or with other blocks, if its user insists.
    if FOUND not in step.archive or step.archive[FOUND].shape != full:
        step.archive[FOUND] = torch.ones(full, dtype=torch.float16)
        step.archive[_EPOCHS] = torch.full((step.num_rows,), -1, dtype=torch.int32)
    return step.archive[FOUND], step.archive[_EPOCHS]


def visits_of(step: Step) -> tuple[torch.Tensor, torch.Tensor]:
    """The numbers `(B,)` of the rows of a batch in the data and the epochs `(B,)`, int64, on the host."""
    assert step.visits is not None
    rows, epochs = step.visits.cpu().unbind(dim=1)
    return rows, epochs


def rows_due(step: Step, made: torch.Tensor, every: int, among: torch.Tensor) -> torch.Tensor | None:
    """
    Which rows of a batch must be looked at: those of which nothing is kept, or what is as many epochs old as asked.

    All processes ask this in every step, and either all of them look at rows or none.

    Args:
        step ([`Step`]): Its `visits` must be known.
        made (`torch.Tensor` of shape `(N,)`, int32): See [`archive_of`].
        every (`int`): For how many epochs what is kept serves, at least 2.
        among (`torch.Tensor` of shape `(B,)`, bool, on the host): Rows that may be.

    Returns:
        `torch.Tensor` of shape `(n,)`, int64, on the host, perhaps of no row; `None` if no process has any.
    """
    rows, epochs = visits_of(step)
    due = ((made[rows] < 0) | (epochs - made[rows] >= every)) & among
    chosen = due.nonzero().flatten()
    anywhere = step.average(torch.tensor(float(len(chosen) > 0), device=step.labels.device)) > 0
    return chosen if bool(anywhere) else None


def or_one(chosen: torch.Tensor) -> torch.Tensor:
    """Rows `(n,)` of a batch; where there is none the first, which a process looks at for company."""
    return chosen if len(chosen) else torch.zeros(1, dtype=torch.int64)


def rows_of(step: Step, rows: torch.Tensor) -> Step:
    """A step with some rows `(n,)` of the batch alone; what it mixes stays that of the batch."""
    count = len(step.labels)

    def some(value: Any) -> Any:
        return value[rows] if is_by_row(value, count) else value

    return replace(
        step,
        inputs={name: some(value) for name, value in step.inputs.items()},
        labels=step.labels[rows],
        segments=some(step.segments),
    )


def keep(step: Step, chosen: torch.Tensor, found: torch.Tensor, kept: torch.Tensor, made: torch.Tensor) -> None:
    """
    Keep what was found of some rows of the batch, that of all processes in each.

    Args:
        step ([`Step`]): Of the batch.
        chosen (`torch.Tensor` of shape `(n,)`, int64, on the host): The rows, of which a process may have none.
        found (`torch.Tensor` of shape `(n, ...)`): What was found, on the device.
        kept, made (`torch.Tensor`): See [`archive_of`]; changed in place.
    """
    rows, epochs = visits_of(step)
    visits = step.gather(torch.stack([rows, epochs], dim=1)[chosen].to(found.device)).cpu()
    found = step.gather(found.half()).cpu()
    # The last batches of several processes may hold a row twice.
    number, first = np.unique(visits[:, 0].numpy(), return_index=True)
    kept[torch.from_numpy(number)] = found[torch.from_numpy(first)]
    made[torch.from_numpy(number)] = visits[torch.from_numpy(first), 1].to(made.dtype)
