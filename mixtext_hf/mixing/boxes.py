"""Rectangles of one image inside another: CutMix (Yun et al. 2019) pastes a part of the partner, ResizeMix (Qin et al.
2020) the whole partner made smaller. Every row has its own rectangle, in whole pixels, which is found with the plan, on the
host; nothing that is done to images waits for the device, or needs a number of double precision.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from .devices import host_may_read


def cutmix_box(lam: torch.Tensor, centre: torch.Tensor, size: Sequence[int]) -> torch.Tensor:
    r"""
    The box that CutMix replaces (Yun et al. 2019, eq. 2): its sides are `sqrt(1 - lam)` of those of the image, and it
    is clipped at the border. Rounded as in torchvision and timm: the centre is a whole pixel, and half a side, rounded
    down, reaches either way.

    Args:
        lam (`torch.Tensor` of shape `(B,)`, floating, in `[0, 1]`): What the row keeps of itself, but for the clipping.
        centre (`torch.Tensor` of shape `(B, 2)`, floating, in `[0, 1)`): `(y, x)` in sides; uniform in CutMix.
        size (pair of `int`): `(H, W)`.

    Returns:
        `torch.Tensor` of shape `(B, 4)`, int64: `(y0, y1, x0, x1)` in pixels, the ends excluded.
    """
    # In double precision: roundings of a float32 root must not move the border.
    half_share = 0.5 * (1 - lam.double()).sqrt()
    edges = []
    for axis, side in enumerate(size):
        half, middle = (half_share * side).long(), (centre[:, axis].double() * side).long()
        edges += [(middle - half).clamp(min=0), (middle + half).clamp(max=side)]
    return torch.stack(edges, dim=1)


def paste_boxes(images: torch.Tensor, index: torch.Tensor, boxes: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    r"""
    Replace a box of each image by the same box of its partner (Yun et al. 2019, eq. 1).

    Args:
        images (`torch.Tensor` of shape `(B, C, H, W)`): Never changed in place.
        index (`torch.Tensor` of shape `(B,)`, int64): The partner of each row.
        boxes (`torch.Tensor` of shape `(B, 4)`, int64): See [`cutmix_box`].

    Returns:
        The mixed images, of the shape and dtype of `images`, and the label weight `(B,)` float32 of the original: the
        share of the area that it keeps.
    """
    return _paste(images, images[index], boxes)


def resizemix_box(tau: torch.Tensor, centre: torch.Tensor, size: Sequence[int]) -> torch.Tensor:
    r"""
    The box that ResizeMix pastes the whole partner into (Qin et al. 2020).

    Args:
        tau (`torch.Tensor` of shape `(B,)`, floating, in `[0, 1]`): Side of the pasted image in sides; rounded down to
            pixels. 0 pastes nothing.
        centre (`torch.Tensor` of shape `(B, 2)`, floating, in `[0, 1)`):
            `(y, x)`: where among the places that hold the whole pasted image its centre lies, 0 = first, 1 = last.
        size (pair of `int`): `(H, W)`.

    Returns:
        `torch.Tensor` of shape `(B, 4)`, int64: `(y0, y1, x0, x1)` in pixels, the ends excluded.
    """
    return inner_box(tau.unsqueeze(1).expand(-1, 2), centre, size)


def inner_box(shares: torch.Tensor, centre: torch.Tensor, size: Sequence[int]) -> torch.Tensor:
    r"""
    A box of given sides that lies in the image as a whole: that of ResizeMix, and of CutMix with sides drawn by themselves
    (timm's `cutmix_minmax`).

    Args:
        shares (`torch.Tensor` of shape `(B, 2)`, floating, in `[0, 1]`): Height and width in sides of the image; rounded down to
            pixels.
        centre (`torch.Tensor` of shape `(B, 2)`, floating, in `[0, 1)`), size (pair of `int`): See [`resizemix_box`].

    Returns:
        `torch.Tensor` of shape `(B, 4)`, int64: `(y0, y1, x0, x1)` in pixels, the ends excluded.
    """
    edges = []
    for axis, side in enumerate(size):
        length = (shares[:, axis].double() * side).long()
        start = (centre[:, axis].double() * (side - length + 1)).long()
        edges += [start, start + length]
    return torch.stack(edges, dim=1)


def paste_resized(images: torch.Tensor, index: torch.Tensor, boxes: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    r"""
    Paste the whole partner, made as small as its box, into each image (Qin et al. 2020). It is never cut: the label weight
    counts objects that can be seen.

    Every row may have a scale of its own, so the resizing (the mean over the area that a new pixel covers) is written as two
    products with a matrix for each row. On an accelerator all rows are one product, as large as the images: for smaller ones
    the host would have to wait for the sizes. Bilinear sampling of a grid would skip pixels when it shrinks.

    Args:
        images (`torch.Tensor` of shape `(B, C, H, W)`, floating): Never changed in place.
        index (`torch.Tensor` of shape `(B,)`, int64): The partner of each row.
        boxes (`torch.Tensor` of shape `(B, 4)`, int64): See [`resizemix_box`].

    Returns:
        The mixed images, of the shape and dtype of `images`, and the label weight `(B,)` float32 of the original: `1 -
        area pasted`, which is `1 - tau^2` but for the rounding.
    """
    height, width = images.shape[2:]
    precision = torch.promote_types(images.dtype, torch.float32)
    if host_may_read(images):
        return _paste_resized_by_row(images, index, boxes, precision), share_outside(boxes, height * width)
    y0, y1, x0, x1 = boxes.unbind(dim=1)
    rows = _area_weights(y0, y1 - y0, height, precision).unsqueeze(1)
    columns = _area_weights(x0, x1 - x0, width, precision).unsqueeze(1)
    pasted = rows @ images[index].to(precision) @ columns.mT
    return _paste(images, pasted.to(images.dtype), boxes)


def _paste_resized_by_row(
    images: torch.Tensor, index: torch.Tensor, boxes: torch.Tensor, precision: torch.dtype
) -> torch.Tensor:
    """The images of [`paste_resized`] where the host may look into the boxes: only what lies inside them is computed."""
    starts = torch.zeros(1, dtype=torch.int64)
    weights: dict[tuple[int, int], torch.Tensor] = {}  # of a length and a side: (length, side)

    def area_weights(length: int, side: int) -> torch.Tensor:
        if (length, side) not in weights:
            weights[length, side] = _area_weights(starts, torch.tensor([length]), side, precision)[0, :length]
        return weights[length, side]

    mixed = images.clone()
    for row, (partner, (y0, y1, x0, x1)) in enumerate(zip(index.tolist(), boxes.tolist(), strict=True)):
        rows, columns = area_weights(y1 - y0, images.shape[2]), area_weights(x1 - x0, images.shape[3])
        smaller = rows @ images[partner].to(precision) @ columns.mT
        mixed[row, :, y0:y1, x0:x1] = smaller.to(images.dtype)
    return mixed


def _area_weights(start: torch.Tensor, length: torch.Tensor, side: int, dtype: torch.dtype) -> torch.Tensor:
    """
    Weights `(B, side, side)` with which old pixels (last dimension) enter the new ones when an axis of `side` pixels is
    resized to `length` `(B,)` and put at `start` `(B,)`: the overlaps with what a new pixel covers. 0 outside.
    """
    pixel = torch.arange(side, device=start.device)
    # In units of which an old pixel has `length` and a new one `side`, everything is whole.
    old, new = pixel * length.view(-1, 1, 1), ((pixel - start.unsqueeze(1)) * side).unsqueeze(2)
    overlap = torch.minimum(new + side, old + length.view(-1, 1, 1)) - torch.maximum(new, old)
    return overlap.clamp(min=0).to(dtype) / side


def _paste(images: torch.Tensor, pasted: torch.Tensor, boxes: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """`pasted` inside the `boxes` `(B, 4)`, `images` outside, all `(B, C, H, W)`; and the share `(B,)` of the pixels outside."""
    height, width = images.shape[2:]
    y0, y1, x0, x1 = boxes.unsqueeze(2).unbind(dim=1)
    y, x = torch.arange(height, device=boxes.device), torch.arange(width, device=boxes.device)
    is_inside = ((y >= y0) & (y < y1)).unsqueeze(2) & ((x >= x0) & (x < x1)).unsqueeze(1)
    return torch.where(is_inside.unsqueeze(1), pasted, images), share_outside(boxes, height * width)


def share_outside(boxes: torch.Tensor, area: int) -> torch.Tensor:
    """The share `(B,)` float32 of an `area` in pixels that the `boxes` `(B, 4)` leave."""
    y0, y1, x0, x1 = boxes.unbind(dim=1)
    return 1 - (y1 - y0) * (x1 - x0) / area
