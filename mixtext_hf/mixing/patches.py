"""Cells of one image in place of another's, and labels by what [CLS] attends to: images as a vision transformer sees them, in patches."""

from __future__ import annotations

from typing import NamedTuple

import torch


class PatchAttention(NamedTuple):
    """
    What [CLS] attended to in the last layer of a pass: a constant, part of no graph.

    Args:
        weights (`torch.Tensor` of shape `(B, rows, columns)`, float32): The mean over heads of its attention to each patch.
        patch_size (pair of `int`): Height and width of a patch in pixels.
    """

    weights: torch.Tensor
    patch_size: tuple[int, int]


def patches_in_boxes(boxes: torch.Tensor, attention: PatchAttention) -> torch.Tensor:
    r"""
    Which patches `(B, rows, columns)` bool a box covers: those whose first pixel it holds, as nearest-neighbour sampling of a
    mask of pixels says (Chen et al. 2022).

    Args:
        boxes (`torch.Tensor` of shape `(B, 4)`, int64): `(y0, y1, x0, x1)` in pixels, the ends excluded.
        attention ([`PatchAttention`]): Whose patches.
    """
    y, x = _first_pixels(attention)
    y0, y1, x0, x1 = boxes.unsqueeze(2).unbind(dim=1)
    return ((y >= y0) & (y < y1)).unsqueeze(2) & ((x >= x0) & (x < x1)).unsqueeze(1)


def patches_in_cells(is_own: torch.Tensor, side: int, attention: PatchAttention) -> torch.Tensor:
    """
    Which patches `(B, rows, columns)` bool show the partner: those whose first pixel lies in a cell of its.

    Args:
        is_own (`torch.Tensor` of shape `(B, rows of cells, columns of cells)`, bool): Which cells show the row itself.
        side (`int`): Of a cell, in pixels.
        attention ([`PatchAttention`]): Whose patches.
    """
    y, x = _first_pixels(attention)
    return ~is_own[:, y // side][:, :, x // side]


def _first_pixels(attention: PatchAttention) -> tuple[torch.Tensor, torch.Tensor]:
    """The rows and columns in pixels at which the rows and columns of patches begin."""
    weights, (height, width) = attention
    rows, columns = weights.shape[1:]
    return (
        torch.arange(rows, device=weights.device) * height,
        torch.arange(columns, device=weights.device) * width,
    )


def attended_weight(attention: PatchAttention, is_partner: torch.Tensor, area: torch.Tensor) -> torch.Tensor:
    r"""
    The label weight `(B,)` float32 of the original: 1 - the share of what [CLS] attends to, among patches, that falls on those
    of the partner (Chen et al. 2022).

    Args:
        attention ([`PatchAttention`]): Of the mixed images.
        is_partner (`torch.Tensor` of shape `(B, rows, columns)`, bool): Which patches show the partner.
        area (`torch.Tensor` of shape `(B,)`, float32): What it is where no patch is attended to at all.
    """
    weights = attention.weights
    total = weights.sum(dim=(1, 2))
    partner = torch.where(is_partner, weights, 0.0).sum(dim=(1, 2))
    return torch.where(total > 0, 1 - partner / total, area).clamp(0, 1)


def replace_cells(
    images: torch.Tensor, index: torch.Tensor, is_own: torch.Tensor, side: int
) -> tuple[torch.Tensor, torch.Tensor]:
    r"""
    Replace cells of each image by the same cells of its partner.

    Args:
        images (`torch.Tensor` of shape `(B, C, H, W)`): Never changed in place.
        index (`torch.Tensor` of shape `(B,)`, int64): The partner of each row.
        is_own (`torch.Tensor` of shape `(B, ceil(H / side), ceil(W / side))`, bool): Which cells stay.
        side (`int`): Of a cell, in pixels; those at the lower and right border may be cut.

    Returns:
        The mixed images, of the shape and dtype of `images`, and the share `(B,)` float32 of their area that stays.
    """
    height, width = images.shape[2:]
    y, x = torch.arange(height, device=is_own.device), torch.arange(width, device=is_own.device)
    stays = is_own[:, y // side][:, :, x // side]
    return torch.where(stays.unsqueeze(1), images, images[index]), stays.float().mean(dim=(1, 2))
