"""The saliency of an image kept from an earlier visit, in place of a pass through the network in every step.

Kept is a coarse map of each row of the data, in the coordinates of its image before it was augmented; a visit moves it with its own
crop and flip. An image is looked at anew where its map is as many epochs old as asked, or there is none.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from mixtext_hf.mixing.frames import to_image, to_picture
from mixtext_hf.mixing.saliency import is_degenerate

from .base import Step
from .pixels import PIXELS


# In what a method remembers of the rows: the maps, and in which epoch each was made, -1 where there is none.
_MAPS, _EPOCHS = "saliency", "saliency_epoch"

# The saliency `(n, H, W)` of the rows of a batch with these numbers `(n,)`.
Measure = Callable[[torch.Tensor], torch.Tensor]


@torch.no_grad()
def kept_saliency(step: Step, measure: Measure, *, every: int, grid: int, mixes: bool) -> torch.Tensor:
    """
    The saliency of the images of a batch: of those that are due it is measured and kept, that of the others was kept earlier.

    With several processes all of them call this in every step, and either all of them measure or none: a map that one has made
    the others keep as well, for the row may be theirs next.

    Args:
        step ([`Step`]): Of which the visits and frames of the rows must be known.
        measure (`Callable`): Makes the saliency of some rows of the batch.
        every (`int`): For how many epochs a map serves, at least 2.
        grid (`int`): Cells along a side of what is kept.
        mixes (`bool`): Whether this step mixes; where it does not no row is due.

    Returns:
        `torch.Tensor` of shape `(B, H, W)`, float32, >= 0: in units of their own for each row.

    Raises:
        `ValueError`: if nobody says which rows these are.
    """
    if step.visits is None or step.frames is None:
        raise ValueError(
            f"saliency_every={every} keeps the saliency of a row by its number, and the batch does not say which rows it holds: train "
            "on raw images by MixTrainer, give a loop's own Step `visits` and `frames`, or use saliency_every=1."
        )
    images = step.inputs[PIXELS]
    size = (images.shape[2], images.shape[3])
    rows, epochs = step.visits.cpu().unbind(dim=1)
    maps, made = _archive(step, grid)
    due = (made[rows] < 0) | (epochs - made[rows] >= every)
    chosen = due.nonzero().flatten() if mixes else due.new_empty(0, dtype=torch.int64)
    anywhere = step.average(torch.tensor(float(len(chosen) > 0), device=images.device)) > 0
    measured = None
    if bool(anywhere):
        # A process with nothing to do looks at a row for company.
        chosen = chosen if len(chosen) else torch.zeros(1, dtype=torch.int64)
        on_device = chosen.to(images.device)
        measured = measure(on_device).float()
        found = _combined(measured, step.frames[on_device], maps[rows[chosen]].to(images.device))
        _keep(step, rows[chosen], epochs[chosen], found.half(), maps, made)
    saliency = to_picture(maps[rows].to(images.device), step.frames, size)
    if measured is not None:
        saliency[on_device] = measured
    return saliency


def _archive(step: Step, grid: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The maps `(N, grid, grid)` float16 and the epochs `(N,)` int32 in which they were made, of all rows, on the host."""
    shape = (step.num_rows, grid, grid)
    # A run may be resumed on other data, or with other blocks, if its user insists.
    if _MAPS not in step.archive or step.archive[_MAPS].shape != shape:
        step.archive[_MAPS] = torch.ones(shape, dtype=torch.float16)
        step.archive[_EPOCHS] = torch.full((step.num_rows,), -1, dtype=torch.int32)
    return step.archive[_MAPS], step.archive[_EPOCHS]


def _combined(measured: torch.Tensor, frame: torch.Tensor, before: torch.Tensor) -> torch.Tensor:
    """
    New maps `(n, grid, grid)` float32, in units of their mean over what was seen: gradients shrink as a network learns. What was
    not seen now stays what it was `before`, at first 1, and so does a map of which nothing is learnt.
    """
    cells, seen = to_image(measured, frame, before.shape[1])
    mean = cells.sum(dim=(1, 2)) / seen.sum(dim=(1, 2)).clamp(min=1)
    unknown = is_degenerate(measured) | ~((mean >= torch.finfo(mean.dtype).tiny) & (mean < torch.inf))
    cells = cells / torch.where(unknown, 1.0, mean).view(-1, 1, 1)
    return torch.where(seen & ~unknown.view(-1, 1, 1), cells, before.float())


def _keep(
    step: Step, rows: torch.Tensor, epochs: torch.Tensor, found: torch.Tensor, maps: torch.Tensor, made: torch.Tensor
) -> None:
    """Keep the maps `(n, grid, grid)` of some rows, those of all processes in each."""
    visits = step.gather(torch.stack([rows, epochs], dim=1).to(found.device)).cpu()
    found = step.gather(found).cpu()
    # The last batches of several processes may hold a row twice.
    number, first = np.unique(visits[:, 0].numpy(), return_index=True)
    maps[torch.from_numpy(number)] = found[torch.from_numpy(first)]
    made[torch.from_numpy(number)] = visits[torch.from_numpy(first), 1].to(made.dtype)
