"""Maps of numbers, carried from an augmented picture to the image that it was made of, and back. Knows no augmentation.

A frame says which part of an image a picture shows: `(top, left, height, width)` in units of the image's own sides. One that
reaches beyond the image shows what was put around it; a picture that is mirrored has a negative width.
"""

from __future__ import annotations

import torch


def to_image(values: torch.Tensor, frame: torch.Tensor, grid: int) -> tuple[torch.Tensor, torch.Tensor]:
    """
    What a picture says of the image that it was made of: the mean of the values over each cell of the image.

    Args:
        values (`torch.Tensor` of shape `(B, H, W)`, floating): Of the pixels of the pictures.
        frame (`torch.Tensor` of shape `(B, 4)`, floating): What each shows.
        grid (`int`): Cells along a side of the image.

    Returns:
        The means `(B, grid, grid)` float32, 0 where nothing is seen, and which cells are seen `(B, grid, grid)` bool: those
        of which the picture shows a half or more.
    """
    height, width = values.shape[1:]
    rows, columns = _overlap(frame[:, 0], frame[:, 2], height, grid), _overlap(frame[:, 1], frame[:, 3], width, grid)
    shown = rows.sum(dim=1).unsqueeze(2) * columns.sum(dim=1).unsqueeze(1)
    seen = shown * grid**2 >= 0.5
    sums = rows.mT @ values.float() @ columns
    return torch.where(seen, sums / torch.where(seen, shown, 1.0), 0.0), seen


def to_picture(cells: torch.Tensor, frame: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """
    What is known of an image, brought to a picture of it: the mean over what each pixel shows, 0 beyond the image.

    Args:
        cells (`torch.Tensor` of shape `(B, grid, grid)`, floating): Of the cells of the image.
        frame (`torch.Tensor` of shape `(B, 4)`, floating): What each picture shows.
        size (pair of `int`): Height and width of the pictures.

    Returns:
        `torch.Tensor` of shape `(B, H, W)`, float32
    """
    (height, width), grid = size, cells.shape[1]
    rows = _overlap(frame[:, 0], frame[:, 2], height, grid) * (height / frame[:, 2].abs()).view(-1, 1, 1)
    columns = _overlap(frame[:, 1], frame[:, 3], width, grid) * (width / frame[:, 3].abs()).view(-1, 1, 1)
    return rows @ cells.float() @ columns.mT


def _overlap(start: torch.Tensor, extent: torch.Tensor, pixels: int, grid: int) -> torch.Tensor:
    """The length that each of the `pixels` along a side shares with each cell of the image, `(B, pixels, grid)`."""
    steps = torch.linspace(0, 1, pixels + 1, device=start.device)
    edges = start.unsqueeze(1) + extent.unsqueeze(1) * steps
    low = torch.minimum(edges[:, :-1], edges[:, 1:]).unsqueeze(2)
    high = torch.maximum(edges[:, :-1], edges[:, 1:]).unsqueeze(2)
    cells = torch.linspace(0, 1, grid + 1, device=start.device)
    return (torch.minimum(high, cells[1:]) - torch.maximum(low, cells[:-1])).clamp(min=0)
