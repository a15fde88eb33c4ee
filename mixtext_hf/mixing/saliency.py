"""Where an image matters to the loss, pixel by pixel and block by block. Knows no model: gradients come in."""

from __future__ import annotations

import torch
import torch.nn.functional as F


def channel_saliency(gradient: torch.Tensor) -> torch.Tensor:
    r"""
    The saliency of each pixel: `sqrt(mean over the channels of (d CE / d x)^2)` (Kim et al. 2020, official code).

    Args:
        gradient (`torch.Tensor` of shape `(B, C, H, W)`, floating): The gradient of the loss with respect to the images.

    Returns:
        `torch.Tensor` of shape `(B, H, W)`, float32, >= 0; in the unit of the gradient. A gradient of half precision
        that overflowed stays infinite or undefined: see [`is_degenerate`].
    """
    gradient = gradient.float()
    # In units of the largest of the image: the squares of what confident predictions leave underflow.
    unit = gradient.abs().amax(dim=(1, 2, 3), keepdim=True)
    unit = torch.where((unit > 0) & (unit < torch.inf), unit, 1.0)
    return (gradient / unit).square().mean(dim=1).sqrt() * unit.squeeze(1)


def block_saliency(saliency: torch.Tensor, grid: int) -> torch.Tensor:
    r"""
    The share of each block in the saliency of its image: average-pooled to a square grid, normalised to sum 1 (`s` of
    Kim et al. 2020).

    Args:
        saliency (`torch.Tensor` of shape `(B, H, W)`, floating, >= 0): See [`channel_saliency`].
        grid (`int`): Blocks a side; divides both `H` and `W`.

    Returns:
        `torch.Tensor` of shape `(B, grid, grid)`, float32. Every image sums to 1; those of which [`is_degenerate`]
        says so are uniform.
    """
    height, width = saliency.shape[-2:]
    blocks = F.avg_pool2d(saliency.float(), (height // grid, width // grid))
    share = blocks / blocks.sum(dim=(1, 2), keepdim=True)
    return torch.where(is_degenerate(saliency).view(-1, 1, 1), 1 / grid**2, share)


def is_degenerate(saliency: torch.Tensor) -> torch.Tensor:
    """Which images `(B,)` bool have a saliency `(B, H, W)` without information: zero everywhere, or not finite."""
    total = saliency.float().sum(dim=(1, 2))
    # Below the smallest normal number quotients lose their digits. Comparisons with an undefined total are false.
    return ~((total >= torch.finfo(total.dtype).tiny) & (total < torch.inf))
