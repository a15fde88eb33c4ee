"""The puzzle of two images put together: blocks gathered to where they are shown, and blended by the mask (the `h` of Kim, Choo
and Song 2020).

Memory is what this costs, so an image is read and written once: as rows of the width of a block, in their final order.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from .devices import host_may_read


PerChannel = torch.Tensor | float
Noise = tuple[torch.Tensor | None, torch.Tensor | None] | None


def assemble(
    images: torch.Tensor,
    index: torch.Tensor,
    mask: torch.Tensor,
    source1: torch.Tensor | None = None,
    source2: torch.Tensor | None = None,
    *,
    mean: PerChannel = 0.0,
    std: PerChannel = 1.0,
    noise: Noise = None,
) -> torch.Tensor:
    r"""
    Put the puzzle together: `mask * P1^T x + (1 - mask) * P0^T x[index]` (Kim et al. 2020, `h`).

    Args:
        images (`torch.Tensor` of shape `(B, C, H, W)`, floating): Normalised.
        index (`torch.Tensor` of shape `(B,)`, int64): The partner of each row.
        mask (`torch.Tensor` of shape `(B, b, b)`, in `[0, 1]`): 1 where the row itself is shown.
        source1, source2 (`torch.Tensor` of shape `(B, grid * grid)`, int64, *optional*):
            Which cell of the row itself and of its partner is shown where; `None` = nothing moves.
        mean, std, noise: See [`~mixtext_hf.mixing.puzzle.puzzle_mix`].

    Returns:
        `torch.Tensor` of the shape and dtype of `images`.
    """
    batch_size, channels, height, _ = images.shape
    moved = source1 if source1 is not None else source2
    grid = mask.shape[1] if moved is None else math.isqrt(moved.shape[1])
    rows, own_image, partner_image = _rows_of_blocks(images, index, grid, mean=mean, std=std, noise=noise)
    block = torch.arange(grid**2, device=images.device)

    def first_row(image: torch.Tensor, source: torch.Tensor | None) -> torch.Tensor:
        """Of each block `(B, grid * grid)` that is shown of an image `(B,)`: its upper row in the first channel."""
        source = block if source is None else source
        corner = (source // grid) * (height // grid * grid) + source % grid
        return image.unsqueeze(1) * (channels * height * grid) + corner

    own, partners = first_row(own_image, source1), first_row(partner_image, source2)
    # From the first row of a block to its others: (C, height of a block).
    step = torch.arange(channels * height, device=images.device).view(channels, grid, -1)[:, 0] * grid
    weight = enlarge(mask, (grid, grid)).flatten(1).to(images.dtype)

    def gather(first: torch.Tensor) -> torch.Tensor:
        """The rows of the blocks `(B, grid * grid)` where they are shown, as rows of an image."""
        wanted = first.view(batch_size, 1, grid, 1, grid) + step.view(1, channels, 1, -1, 1)
        return rows.index_select(0, wanted.flatten())

    if not host_may_read(images):
        # How many blocks show both images is not asked: the host would wait.
        pixel_rows = weight.view(batch_size, 1, grid, 1, grid).expand(-1, channels, -1, height // grid, -1)
        mixed = torch.lerp(gather(partners), gather(own), pixel_rows.reshape(-1, 1))
        return mixed.view(images.shape)
    mixed = gather(torch.where(weight >= 0.5, own, partners))
    both = ((weight > 0) & (weight < 1)).nonzero(as_tuple=True)
    if len(both[0]):
        every_row = step.view(1, channels, -1)
        of_own, of_partner, shown_at = (
            (first.view(-1, 1, 1) + every_row).flatten()
            for first in (own[both], partners[both], first_row(torch.arange(batch_size), None)[both])
        )
        share = weight[both].repeat_interleave(step.numel()).unsqueeze(1)
        blended = torch.lerp(rows.index_select(0, of_partner), rows.index_select(0, of_own), share)
        mixed.index_copy_(0, shown_at, blended)
    return mixed.view(images.shape)


def _rows_of_blocks(
    images: torch.Tensor, index: torch.Tensor, grid: int, *, mean: PerChannel, std: PerChannel, noise: Noise
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """
    All images as rows of the width of a block `(images * C * H * grid, W / grid)`, and where among these images each row's own
    `(B,)` and its partner `(B,)` are.
    """
    own = torch.arange(len(images), device=images.device)
    noise1, noise2 = noise or (None, None)
    shown = images if noise1 is None else add_noise(images, noise1, mean=mean, std=std)
    if noise1 is not None or noise2 is not None:
        partners = images[index]
        if noise2 is not None:
            partners = add_noise(partners, noise2, mean=mean, std=std)
        shown, index = torch.cat([shown, partners]), own + len(images)
    return shown.reshape(-1, images.shape[3] // grid), own, index


def add_noise(
    images: torch.Tensor, noise: torch.Tensor, *, mean: PerChannel = 0.0, std: PerChannel = 1.0
) -> torch.Tensor:
    """Normalised `images` with `noise` added to their pixels, clipped to `[0, 1]`; all `(B, C, H, W)`."""
    mean, std = per_channel(mean), per_channel(std)
    # In place from the second step on: five copies of a batch of photographs are more than the model needs.
    pixels = images * std
    return pixels.add_(mean).add_(noise).clamp_(0, 1).sub_(mean).div_(std).to(images.dtype)


def per_channel(value: PerChannel) -> PerChannel:
    """Ready to be broadcast against `(B, C, H, W)`."""
    return value.view(-1, 1, 1) if isinstance(value, torch.Tensor) else value


def enlarge(mask: torch.Tensor, size: Sequence[int]) -> torch.Tensor:
    """A mask `(B, b, b)` at the larger `size` `(h, w)`, multiples of `b`: every value repeated."""
    rows, columns = (side // mask.shape[1] for side in size)
    return mask.repeat_interleave(rows, dim=1).repeat_interleave(columns, dim=2)
