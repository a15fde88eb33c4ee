"""Which block is shown where: transport of the salient blocks of an image to where its mask shows them, and the moving
of blocks. By index and gather; a plan never becomes a matrix that multiplies pixels.
"""

from __future__ import annotations

import math

import torch

from .devices import host_may_read, to_device


# Costs `(images, blocks, columns in reach)` that exist at a time: 16 MB, all columns of 64 images of 16 x 16 blocks.
COSTS_AT_A_TIME = 2**22


def transport(mask: torch.Tensor, saliency: torch.Tensor, t_eps: float) -> torch.Tensor:
    r"""
    Masked transport (Kim et al. 2020, algorithm 1): move salient blocks to where the mask shows them.

    Minimises `sum_ij P_ij (t_eps C_ij - s_i z_j)` over partial permutations `P`, where `C_ij` is the squared distance
    of the blocks `i` and `j` on the grid, divided by `(grid - 1)^2`, and `z = (mask > 0)`. Rows (sources) propose to
    the column (target) that is cheapest for them, columns choose the cheapest proposal, losers pay 1 more there; at
    most `grid` rounds, as in the official code. Of equal costs the one of lower index counts.

    Args:
        mask (`torch.Tensor` of shape `(B, grid, grid)`, in `[0, 1]`): The weight with which the image is shown.
        saliency (`torch.Tensor` of shape `(B, grid, grid)`, float32, >= 0):
            Sums to 1 in each image, see [`block_saliency`].
        t_eps (`float`): The price of distance, >= 0 (the paper's xi).

    Returns:
        `torch.Tensor` of shape `(B, grid * grid)`, int64: the source block shown at each target block, row-major. A
        block that is not visible (`mask` 0) shows itself, and so does a visible block that nobody wants: one without
        any saliency, where the official code would show a hole.
    """
    grid = mask.shape[1]
    visible, saliency = mask.flatten(1) > 0, saliency.flatten(1)
    reach = math.inf
    if t_eps > 0 and not saliency.is_meta:
        # The host waits for this one number, on a GPU too: without it every block would bid for every place.
        reach = float(saliency.max()) / t_eps
    column, distance = _columns_in_reach(grid, reach, mask.device)
    images_at_a_time = max(1, COSTS_AT_A_TIME // column.numel())
    winner = torch.cat(
        [
            _propose_and_choose(t_eps * distance - s.unsqueeze(2) * z[:, column], column)
            for s, z in zip(saliency.split(images_at_a_time), visible.split(images_at_a_time), strict=True)
        ]
    )
    own = torch.arange(grid**2, device=mask.device)
    return torch.where(visible & (winner >= 0), winner, own)


def _columns_in_reach(grid: int, reach: float, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """
    The columns to which the rows can make a bid below 0, `(N, K)` int64 in ascending order, and their distance `C` `(N,
    K)` float32, infinite where a column lies beyond the border; `N = grid^2`. In reach is what is nearer than `reach`.
    """
    scale = max(1, grid - 1) ** 2
    # Rounding may put a bid on either side of 0: no column that does is left out.
    radius = reach * scale * (1 + 1e-5)
    block = torch.arange(grid**2, device=device)
    y, x = (block // grid).unsqueeze(1), (block % grid).unsqueeze(1)
    if math.pi * radius >= grid**2:
        squared = (y - block // grid).square() + (x - block % grid).square()
        return block.expand(grid**2, -1), squared / scale
    side = range(-math.isqrt(int(radius)), math.isqrt(int(radius)) + 1)
    step = to_device(torch.tensor([(y, x) for y in side for x in side if y**2 + x**2 <= radius]), device)
    to_y, to_x = y + step[:, 0], x + step[:, 1]
    is_inside = (to_y >= 0) & (to_y < grid) & (to_x >= 0) & (to_x < grid)
    squared = step.square().sum(dim=1)
    return (to_y * grid + to_x).where(is_inside, 0), (squared / scale).where(is_inside, torch.inf)


def _propose_and_choose(cost: torch.Tensor, column: torch.Tensor) -> torch.Tensor:
    """
    The winning row `(B, N)` int64 of each column, -1 where nobody bids. `cost` `(B, N, K)` is that of the columns that
    `column` `(N, K)` names, and overwritten.

    A bid is a proposal of negative cost: others are for invisible columns, or too dear to win a visible one, and stay
    so, as prices only rise.
    """
    rounds = math.isqrt(len(column))
    bid, choice = cost.min(dim=2)
    for _ in range(rounds - 1):
        _, lost = _choose(bid, choice, column)
        cost.scatter_add_(2, choice.unsqueeze(2), lost.unsqueeze(2).to(cost.dtype))
        if not host_may_read(cost):
            # In every round all bid anew.
            bid, choice = cost.min(dim=2)
        elif lost.any():
            # The others propose as before.
            bid[lost], choice[lost] = cost[lost].min(dim=1)
        else:
            break
    winner, _ = _choose(bid, choice, column)
    return winner


def _choose(bid: torch.Tensor, choice: torch.Tensor, column: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Columns take the cheapest bid: the winning row of each, -1 without bids, and which rows lost; all `(B, N)`."""
    target = column.expand(len(choice), -1, -1).gather(2, choice.unsqueeze(2)).squeeze(2)
    row, end = torch.arange(bid.shape[1], device=bid.device).expand_as(bid), bid.shape[1]
    is_bid = bid < 0
    best = torch.zeros_like(bid).scatter_reduce(1, target, bid, "amin")
    is_best = is_bid & (bid == best.gather(1, target))
    # The first row of several best: rows that are not best count as one past the end.
    winner = torch.full_like(row, end).scatter_reduce(1, target, row.where(is_best, end), "amin")
    lost = is_bid & (winner.gather(1, target) != row)
    return winner.where(winner < end, -1), lost


def move_blocks(images: torch.Tensor, source: torch.Tensor, grid: int) -> torch.Tensor:
    r"""
    Cut images into `grid x grid` blocks and show at each place the block that `source` names (`P^T x` of Kim et al.
    2020).

    Args:
        images (`torch.Tensor` of shape `(B, C, H, W)`): `grid` divides `H` and `W`.
        source (`torch.Tensor` of shape `(B, grid * grid)`, int64): See [`transport`].
        grid (`int`): Blocks a side.

    Returns:
        `torch.Tensor` of the shape and dtype of `images`.
    """
    batch_size, channels, height, width = images.shape
    blocks = images.reshape(batch_size, channels, grid, height // grid, grid, width // grid)
    row = torch.arange(batch_size, device=images.device).unsqueeze(1)
    # The indexed dimensions come first: (B, target, C, H / grid, W / grid).
    moved = blocks[row, :, source // grid, :, source % grid, :]
    return moved.unflatten(1, (grid, grid)).permute(0, 3, 1, 4, 2, 5).reshape(images.shape)
