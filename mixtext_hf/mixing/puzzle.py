"""PuzzleMix (Kim, Choo & Song, ICML 2020): which part of two images goes where, so that both stay recognisable.

Of the mask `z` and the transports `P0`, `P1` of `h(x0, x1) = (1 - z) P0^T x0 + z P1^T x1` the paper minimises

    - |(1 - z) P0^T s(x0)| - |z P1^T s(x1)| + beta sum psi + gamma sum phi - eta sum log p(z) + xi sum <P, C>.

As in the official code (snu-mllab/PuzzleMix) the mask comes first, a minimum cut on the grid of blocks, then the
transport of both images to where it shows them. One function for each term; here `x1` is the row and `x0` its partner.
Knows no model: the saliency comes in.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import torch

from .assembling import Noise, PerChannel, assemble, enlarge, per_channel
from .graph_cut import solve_grid_cut
from .saliency import block_saliency
from .transport import transport


# The paper draws one of these for each batch.
BLOCK_NUMS = (2, 4, 8, 16)

TransportSize = int | Literal["auto"] | None

# Cells of the official CIFAR code. In larger images as small ones are thousands, and their transport costs more than the mixing.
_CELL, _LARGEST_OF_CELLS = 4, 32


@torch.no_grad()
def puzzle_mix(
    images: torch.Tensor,
    saliency: torch.Tensor,
    index: torch.Tensor,
    lam: torch.Tensor,
    *,
    block_num: int,
    n_labels: int = 3,
    beta: float = 1.2,
    gamma: float = 0.5,
    eta: float = 0.2,
    neigh_size: int = 4,
    t_eps: float = 0.8,
    t_size: TransportSize = None,
    mean: PerChannel = 0.0,
    std: PerChannel = 1.0,
    noise: Noise = None,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    r"""
    Mix each image with its partner: `mask * P1^T x + (1 - mask) * P0^T x[index]` (Kim et al. 2020, `h`).

    A row with `lam = 1` is its own partner, and a row that is its own partner comes back bit for bit.

    Args:
        images (`torch.Tensor` of shape `(B, C, H, W)`, floating): Normalised: `(pixels - mean) / std`.
        saliency (`torch.Tensor` of shape `(B, H, W)`, floating, >= 0):
            See [`channel_saliency`]; images without any count as uniformly salient.
        index (`torch.Tensor` of shape `(B,)`, int64): The partner of each row.
        lam (`torch.Tensor` of shape `(B,)`, floating, in `[0, 1]`):
            Where the prior expects the weight of the original row; the realised weight follows the saliency too.
        block_num (`int`): Blocks a side; divides `H` and `W`.
        n_labels (`int`, *optional*, defaults to 3): Values that the mask of a block can take: `0, 1/m, .., 1`.
        beta (`float`, *optional*, defaults to 1.2): Weight of the smoothness of the mask.
        gamma (`float`, *optional*, defaults to 0.5):
            Weight of the smoothness of the image, in units of `beta`; in `[0, 1]`.
        eta (`float`, *optional*, defaults to 0.2): Weight of the prior.
        neigh_size (`int`, *optional*, defaults to 4):
            Side in pixels of the cells whose means are compared across the boundary of two blocks.
        t_eps (`float`, *optional*, defaults to 0.8): The price of distance in the transport.
        t_size (`int` or `"auto"`, *optional*):
            What is transported: `None` = nothing, -1 = blocks, else cells of this side, see [`transport_grid`].
        mean, std (`torch.Tensor` of shape `(C,)` on the device of the images, or `float`, *optional*):
            Of the normalisation. By default the images are pixels in `[0, 1]`.
        noise (pair of `torch.Tensor` of shape `(B, C, H, W)` or `None`, *optional*):
            Added to the pixels of the row itself and of its partner after the mask is found, see [`add_noise`]. Noise
            that belongs to the images is permuted for the second: `noise[index]`.

    Returns:
        The mixed images `(B, C, H, W)` in the dtype of `images`, without gradient; the realised label weight `(B,)`
        float32 of the original, which is the mean of the mask; and the mask `(B, block_num, block_num)` float32, 1
        where the original is shown.

    Raises:
        `ValueError`: if `block_num` does not divide the sides of the images, or a number is out of its range.

    Example:

    ```python
    >>> images, saliency = torch.rand(4, 3, 32, 32), torch.rand(4, 32, 32)
    >>> index, lam = torch.tensor([1, 2, 3, 0]), torch.full((4,), 0.3)
    >>> mixed, weight, mask = puzzle_mix(images, saliency, index, lam, block_num=4)
    >>> mixed.shape, mask.shape, torch.equal(weight, mask.mean((1, 2)))
    (torch.Size([4, 3, 32, 32]), torch.Size([4, 4, 4]), True)
    ```
    """
    size = images.shape[2:]
    _check_block_num(block_num, size)
    _check_numbers(
        n_labels=n_labels, beta=beta, gamma=gamma, eta=eta, neigh_size=neigh_size, t_eps=t_eps, t_size=t_size
    )
    own = torch.arange(len(images), device=images.device)
    index = torch.where(lam == 1, own, index)
    is_own = index == own

    phi_x, phi_y = boundary_distances(images, index, block_num, neigh_size=neigh_size, mean=mean, std=std)
    share = block_saliency(saliency, block_num)
    prior = binomial_prior(lam, n_labels)
    unary, weight_x, weight_y = cut_terms(share, index, phi_x, phi_y, prior, beta=beta, gamma=gamma, eta=eta)
    labels = solve_grid_cut(unary, weight_x, weight_y)
    mask = torch.where(is_own.view(-1, 1, 1), 1, 1 - labels / (n_labels - 1))

    sources: Sequence[torch.Tensor | None] = (None, None)
    if t_size is not None:
        grid = transport_grid(size, block_num, t_size)
        share = share if grid == block_num else block_saliency(saliency, grid)
        sources = transport_pair(mask, share, index, t_eps)
        # Where nothing is mixed nothing moves.
        sources = [torch.where(is_own.unsqueeze(1), torch.arange(grid**2, device=images.device), s) for s in sources]
    mixed = assemble(images, index, mask, *sources, mean=mean, std=std, noise=noise)
    if noise is not None:
        mixed = torch.where(is_own.view(-1, 1, 1, 1), images, mixed)
    return mixed, mask.mean(dim=(1, 2)), mask


def binomial_prior(lam: torch.Tensor, n_labels: int) -> torch.Tensor:
    r"""
    `-log p(z)` of the mask values of a block (Kim et al. 2020, prior term): `m - label ~ Binomial(m, lam)`, `m =
    n_labels - 1`.

    Args:
        lam (`torch.Tensor` of shape `(B,)`, in `[0, 1]`): The weight that is expected for the original row.
        n_labels (`int`): Number of mask values; label 0 is the original alone, the last one the partner alone.

    Returns:
        `torch.Tensor` of shape `(B, n_labels)`, float32, at most `-log(1e-8) = 18.4`: finite where `lam` is 0 or 1.
    """
    m, lam = n_labels - 1, lam.float()
    p = [math.comb(m, label) * lam ** (m - label) * (1 - lam) ** label for label in range(n_labels)]
    return -torch.log(torch.stack(p, dim=1) + 1e-8)


def boundary_distances(
    images: torch.Tensor,
    index: torch.Tensor,
    block_num: int,
    *,
    neigh_size: int,
    mean: PerChannel = 0.0,
    std: PerChannel = 1.0,
) -> tuple[torch.Tensor, torch.Tensor]:
    r"""
    The distances `phi` of Kim et al. 2020 (data local smoothness): how much the pixels differ across the boundary of two
    neighbouring blocks, for each choice of the image that either block shows.

    Pixels are averaged over cells; compared are the cells that abut the boundary: mean absolute difference over cells
    and channels. A cell is `gcd(neigh_size, side of the block)` pixels high, and wide likewise.

    Args:
        images (`torch.Tensor` of shape `(B, C, H, W)`, floating): Normalised.
        index (`torch.Tensor` of shape `(B,)`, int64): The partner of each row.
        block_num (`int`): Blocks a side; divides `H` and `W`.
        neigh_size (`int`): See [`puzzle_mix`].
        mean, std (`torch.Tensor` of shape `(C,)` or `float`, *optional*): Of the normalisation.

    Returns:
        `phi_x` `(B, 2, 2, block_num - 1, block_num)` of vertical neighbours and `phi_y` `(B, 2, 2, block_num, block_num
        - 1)` of horizontal ones, float32, in `[0, 1]` when the pixels are. `phi[:, a, c]`: the upper or left block
        shows image `a`, the lower or right one image `c`; 1 = the row itself, 0 = its partner.
    """
    phi_x = _vertical_distances(images, index, block_num, neigh_size, per_channel(mean), per_channel(std))
    phi_y = _vertical_distances(images.mT, index, block_num, neigh_size, per_channel(mean), per_channel(std))
    return phi_x, phi_y.mT


def _vertical_distances(
    images: torch.Tensor, index: torch.Tensor, block_num: int, neigh_size: int, mean: PerChannel, std: PerChannel
) -> torch.Tensor:
    """`phi_x` `(B, 2, 2, block_num - 1, block_num)` of [`boundary_distances`]."""
    block_rows = images.unflatten(2, (block_num, -1))  # (B, C, block_num, height, W)
    height, width = block_rows.shape[3], images.shape[3] // block_num
    cell_height, cell_width = math.gcd(neigh_size, height), math.gcd(neigh_size, width)
    cells_a_block = width // cell_width

    def pixel_means(strips: torch.Tensor) -> torch.Tensor:
        """Of strips `(B, C, block_num - 1, cell_height, W)` the means of their cells `(B, C, block_num - 1, cells)`."""
        cells = strips.float().mean(dim=3).unflatten(3, (block_num * cells_a_block, cell_width)).mean(dim=4)
        return cells * std + mean

    def distance(upper: torch.Tensor, lower: torch.Tensor) -> torch.Tensor:
        """Between the blocks, `(B, block_num - 1, block_num)`, from that between their cells."""
        return (upper - lower).abs().mean(dim=1).unflatten(2, (block_num, cells_a_block)).mean(dim=3)

    # Only the cells at a boundary are averaged, at 224 pixels and 16 blocks a quarter of the image.
    upper = pixel_means(block_rows[:, :, :-1, -cell_height:])
    lower = pixel_means(block_rows[:, :, 1:, :cell_height])
    phi_11 = distance(upper, lower)
    phi_10 = distance(upper, lower[index])
    phi_01 = distance(upper[index], lower)
    phi = torch.stack([phi_11[index], phi_01, phi_10, phi_11], dim=1)
    return phi.unflatten(1, (2, 2))


def cut_terms(
    share: torch.Tensor,
    index: torch.Tensor,
    phi_x: torch.Tensor,
    phi_y: torch.Tensor,
    prior: torch.Tensor,
    *,
    beta: float,
    gamma: float,
    eta: float,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    r"""
    The objective of the mask (Kim et al. 2020) as the costs of a cut on the grid of blocks, `l_p` the label of
    block `p`, `lam_l = l / (L - 1)` the weight of the partner there:

    `E(l) = sum_p unary[p, l_p] + sum_pq weight[p, q] (lam_lp - lam_lq)^2`.

    The saliency lost is linear in the weights. The data term `beta_n gamma sum_ac phi_ac P(p shows a) P(q shows c)` is
    brought into this form with `xy = (x^2 + y^2 - (x - y)^2) / 2` and, as the official code does for any number of
    labels, `x` for `x^2`: half of each `phi` goes to either block, `(phi_10 + phi_01 - phi_11 - phi_00) / 2` joins the
    weight, and a constant is left over. `beta_n = beta / (16 block_num)` keeps the length of a boundary comparable between block counts.

    Args:
        share (`torch.Tensor` of shape `(B, b, b)`, float32): Saliency of the blocks, see [`block_saliency`].
        index (`torch.Tensor` of shape `(B,)`, int64): The partner of each row.
        phi_x (`torch.Tensor` of shape `(B, 2, 2, b - 1, b)`): Of vertical neighbours, see [`boundary_distances`].
        phi_y (`torch.Tensor` of shape `(B, 2, 2, b, b - 1)`): Of horizontal ones.
        prior (`torch.Tensor` of shape `(B, L)`, float32): See [`binomial_prior`].
        beta, gamma, eta (`float`): See [`puzzle_mix`].

    Returns:
        `unary` `(B, b, b, L)`, `weight_x` `(B, b - 1, b)` of vertical neighbours and `weight_y` `(B, b, b - 1)` of
        horizontal ones, float32; weights >= 0.
    """
    block_num = share.shape[1]
    beta_n = beta / (16 * block_num)
    # Where the partner is shown the row's own saliency is lost, and the other way round.
    partner_cost, own_cost = share.clone(), share[index]
    all_but_last, all_but_first = slice(None, -1), slice(1, None)
    everything = slice(None)
    weights = []
    for phi, first, second in (
        (phi_x, (everything, all_but_last), (everything, all_but_first)),
        (phi_y, (everything, everything, all_but_last), (everything, everything, all_but_first)),
    ):
        half = beta_n * gamma / 2 * phi
        own_cost[first] += half[:, 1, 0] + half[:, 1, 1]
        own_cost[second] += half[:, 0, 1] + half[:, 1, 1]
        partner_cost[first] += half[:, 0, 1] + half[:, 0, 0]
        partner_cost[second] += half[:, 1, 0] + half[:, 0, 0]
        weight = beta_n + (half[:, 1, 0] + half[:, 0, 1] - half[:, 1, 1] - half[:, 0, 0])
        # With gamma <= 1 and pixels in [0, 1] nothing is negative but roundings. Pixels beyond (interpolation
        # overshoots, another normalisation) must not make the problem unsolvable.
        weights.append(weight.clamp(min=0))
    partner_weight = torch.linspace(0, 1, prior.shape[1], device=share.device)
    unary = torch.lerp(own_cost.unsqueeze(3), partner_cost.unsqueeze(3), partner_weight)
    return unary + (eta / block_num**2 * prior).view(-1, 1, 1, prior.shape[1]), weights[0], weights[1]


def transport_grid(size: Sequence[int], block_num: int, t_size: int | Literal["auto"]) -> int:
    r"""
    Cells a side of the grid on which blocks are transported.

    Args:
        size (pair of `int`): `(H, W)`.
        block_num (`int`): Blocks a side.
        t_size (`int` or `"auto"`):
            -1 = the blocks themselves. `"auto"` = 4 in images of at most 32 pixels a side, -1 in larger ones. Else the side of a cell in pixels where it is smaller than the side of a block
            and divides it, the blocks themselves where not. In an image that is not square it is the shorter side of a
            cell: cells have the proportions of the image, so that their grid is square as that of the blocks.
    """
    if t_size == "auto":
        t_size = _CELL if max(size) <= _LARGEST_OF_CELLS else -1
    sides = [side // block_num for side in size]
    if t_size == -1 or min(sides) % t_size:
        return block_num
    cells = min(sides) // t_size
    return block_num * cells if max(sides) % cells == 0 else block_num


def transport_pair(
    mask: torch.Tensor, share: torch.Tensor, index: torch.Tensor, t_eps: float
) -> tuple[torch.Tensor, torch.Tensor]:
    r"""
    The transports `P1`, `P0` of a row and of its partner, each to where the mask shows it.

    Args:
        mask (`torch.Tensor` of shape `(B, b, b)`): See [`puzzle_mix`].
        share (`torch.Tensor` of shape `(B, grid, grid)`, float32):
            Saliency of the cells that are transported; `grid` is a multiple of `b`.
        index (`torch.Tensor` of shape `(B,)`, int64): The partner of each row.
        t_eps (`float`): The price of distance.

    Returns:
        The source cells `(B, grid * grid)` int64 of the row's own image and of its partner, see [`transport`].
    """
    mask = enlarge(mask, share.shape[1:])
    # Both in one call: the host waits for one number.
    own, partners = transport(torch.cat([mask, 1 - mask]), torch.cat([share, share[index]]), t_eps).chunk(2)
    return own, partners


def fitting_block_nums(size: Sequence[int], among: Sequence[int] = BLOCK_NUMS) -> list[int]:
    """The block counts that divide both sides of images of `size` `(H, W)`."""
    return [block_num for block_num in among if not any(side % block_num for side in size)]


def _check_block_num(block_num: int, size: Sequence[int]) -> None:
    if block_num < 1:
        raise ValueError(f"`block_num` must be at least 1, got {block_num}.")
    if block_num in fitting_block_nums(size, [block_num]):
        return
    fitting = fitting_block_nums(size)
    if fitting:
        remedy = f"Of {BLOCK_NUMS}, {fitting} do."
    else:
        largest = max(BLOCK_NUMS)
        resized = " x ".join(str(max(1, round(side / largest)) * largest) for side in size)
        remedy = (
            f"None of {BLOCK_NUMS} does: resize the images to even sides, or to {resized}, which takes all of them."
        )
    raise ValueError(
        f"`block_num={block_num}` does not divide both sides of images of {size[0]} x {size[1]}. {remedy}"
    )


def _check_numbers(
    *, n_labels: int, beta: float, gamma: float, eta: float, neigh_size: int, t_eps: float, t_size: TransportSize
) -> None:
    if n_labels < 2:
        raise ValueError(f"`n_labels` must be at least 2 (the original, the partner), got {n_labels}.")
    if neigh_size < 1:
        raise ValueError(f"`neigh_size` must be at least 1 pixel, got {neigh_size}.")
    if t_size not in (None, -1, "auto") and (isinstance(t_size, str) or t_size < 1):
        raise ValueError(
            f'`t_size` must be None (no transport), -1 (blocks), "auto" or a side in pixels, got {t_size!r}.'
        )
    for name, value in (("beta", beta), ("gamma", gamma), ("eta", eta), ("t_eps", t_eps)):
        if not (value >= 0 and math.isfinite(value)):
            raise ValueError(f"`{name}` must be a finite number >= 0, got {value}.")
    if gamma > 1:
        raise ValueError(
            f"`gamma` must lie in [0, 1], got {gamma}: above 1 neighbours can be rewarded for differing, and the best "
            "mask is no longer a minimum cut. The data term weighs beta * gamma: raise `beta` instead."
        )
