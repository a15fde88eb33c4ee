"""The saliency of an image kept from an earlier visit, in place of a pass through the network in every step.

Kept is a coarse map of each row of the data, in the coordinates of its image before it was augmented; a visit moves it with its own
crop and flip. An image is looked at anew where its map is as many epochs old as asked, or there is none.
"""

from __future__ import annotations

from collections.abc import Callable

import torch

from mixtext_hf.mixing.frames import to_image, to_picture
from mixtext_hf.mixing.saliency import is_degenerate

from .base import Step
from .kept_rows import archive_of, check_visits, keep, or_one, rows_due, visits_of
from .pixels import PIXELS


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
    check_visits(
        step,
        every,
        "train on raw images by MixTrainer, give a loop's own Step `visits` and `frames`",
        needs_frames=True,
    )
    assert step.frames is not None
    images = step.inputs[PIXELS]
    size = (images.shape[2], images.shape[3])
    rows, _ = visits_of(step)
    maps, made = archive_of(step, grid, grid)
    chosen = rows_due(step, made, every, torch.full((len(rows),), mixes))
    measured = None
    if chosen is not None:
        chosen = or_one(chosen)
        on_device = chosen.to(images.device)
        measured = measure(on_device).float()
        found = _combined(measured, step.frames[on_device], maps[rows[chosen]].to(images.device))
        keep(step, chosen, found, maps, made)
    saliency = to_picture(maps[rows].to(images.device), step.frames, size)
    if measured is not None:
        saliency[on_device] = measured
    return saliency


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
