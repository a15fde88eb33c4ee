"""The multi-label minimum cut on a grid of blocks, for a whole batch at once: which image each block is taken from
(PuzzleMix, Kim, Choo and Song 2020).

Costs in, labels out. What the costs are made of (saliency, smoothness, prior) is not known here.

The pairwise cost is convex in the difference of the labels, so the problem is ONE binary cut (Ishikawa 2003). With
`m = n_labels - 1` binary variables a block, `x_k = [label >= k]`, ordered `x_1 >= .. >= x_m`, and for integers `a`, `b`

    (a - b)^2 = sum_k |x_k(a) - x_k(b)| + 2 sum_{k > j} (x_k(a) (1 - x_j(b)) + x_k(b) (1 - x_j(a))),

the second sum because `d^2 - |d| = 2 sum_{t >= 1} max(|d| - t, 0)` and `max(a - b - t, 0)` counts the `j` with
`a >= j + t` and `b < j`. No part of it is left over for the costs of single blocks.
"""

from __future__ import annotations

import math
from functools import lru_cache, reduce
from typing import Literal, get_args

import numpy as np
import torch
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import breadth_first_order, maximum_flow


Solver = Literal["auto", "maxflow", "dual"]

# scipy's capacities are int32. The costs that meet in one block are scaled to stay below this number, so that neither
# two opposite edges together nor the flow through the edges that order a block's variables can reach 2**31.
_LARGEST_CAPACITY = 2**29
_UNCUTTABLE = np.iinfo(np.int32).max
# Variables of the images that are cut in one call: each phase of the flow algorithm walks through all of them, as long as any of its
# images needs it, so a whole batch at once takes twice the time, and one image at a time as much in calls.
_VARIABLES_AT_A_TIME = 2**11


@torch.no_grad()
def solve_grid_cut(
    unary: torch.Tensor, weight_x: torch.Tensor, weight_y: torch.Tensor, solver: Solver = "auto"
) -> torch.Tensor:
    r"""
    Labels of least energy, independently for each image of a batch (the mask of Kim et al. 2020, the transport fixed):

        sum_p unary[p, l_p]  +  sum_{p above q} weight_x[p] V(l_p, l_q)  +  sum_{p left of q} weight_y[p] V(l_p, l_q),
        V(a, b) = ((a - b) / (n_labels - 1))^2.

    Args:
        unary (`torch.Tensor` of shape `(B, h, w, n_labels)`, floating or integer): Cost of each label in each block.
        weight_x (`torch.Tensor` of shape `(B, h - 1, w)`, floating or integer, >= 0):
            Between a block and the one below it, named as in the official code (x counts the rows).
        weight_y (`torch.Tensor` of shape `(B, h, w - 1)`, floating or integer, >= 0):
            Between a block and the one to its right.
        solver (`"auto"`, `"maxflow"` or `"dual"`, *optional*, defaults to `"auto"`):
            `"maxflow"`: exact, on the CPU (tensors elsewhere are copied there and the labels back). Of several best
            labellings it returns the one whose labels are lowest in every block. Costs are integers inside: an image
            is scaled by a power of two, up for small costs and down for large ones, until the costs that meet in a
            block sum to nearly `2**29`. Integer costs are solved exactly as long as
            `max_p (n_labels - 1)^2 (sum_k |unary[p, k] - unary[p, k - 1]| + sum of the weights at p)` is below that;
            otherwise each cost is rounded by at most `2**-29` of it.

            `"dual"`: batched tensor operations in float32 that never leave the device and never wait for it, for a
            number of iterations that depends on the size of the grid alone (see [`dual_iterations`]). Nearly always
            exact; what is lost otherwise stays below a thousandth of the sum of all ranges of costs and all weights.

            `"auto"`: `"maxflow"` for tensors on the CPU, `"dual"` elsewhere.

    Returns:
        `torch.Tensor` of shape `(B, h, w)`, int64, on the device of `unary`: labels in `0..n_labels - 1`. An image's
        labels do not depend on the rest of the batch.

    Raises:
        `ValueError`: if a shape or dtype is wrong, `solver` is unknown, or (checked on the CPU only, to avoid a device
        synchronisation) if a cost is not finite or a weight is negative.
    """
    if solver not in get_args(Solver):
        raise ValueError(f"`solver` must be one of {get_args(Solver)}, got {solver!r}.")
    _check_costs(unary, weight_x, weight_y)
    if solver == "auto":
        solver = "maxflow" if unary.device.type == "cpu" else "dual"
    if solver == "maxflow":
        costs = _reduced(unary.cpu(), weight_x.cpu(), weight_y.cpu(), torch.float64)
        return _solve_maxflow(*costs).to(unary.device)
    return _solve_dual(*_reduced(unary, weight_x, weight_y, torch.float32))


@torch.no_grad()
def grid_energy(
    labels: torch.Tensor, unary: torch.Tensor, weight_x: torch.Tensor, weight_y: torch.Tensor
) -> torch.Tensor:
    r"""
    The energy of a labelling that [`solve_grid_cut`] minimises, in the units of the costs.

    Args:
        labels (`torch.Tensor` of shape `(B, h, w)`, int64): Labels in `0..n_labels - 1`.
        unary (`torch.Tensor` of shape `(B, h, w, n_labels)`): As for [`solve_grid_cut`], like the two weights.
        weight_x (`torch.Tensor` of shape `(B, h - 1, w)`): Between a block and the one below it.
        weight_y (`torch.Tensor` of shape `(B, h, w - 1)`): Between a block and the one to its right.

    Returns:
        `torch.Tensor` of shape `(B,)`, float64. Of integer costs only the division by `(n_labels - 1)^2` rounds.
    """
    _check_costs(unary, weight_x, weight_y)
    if labels.shape != unary.shape[:3] or labels.dtype != torch.int64:
        raise ValueError(
            f"`labels` must be int64 of shape {tuple(unary.shape[:3])} like `unary`, got {labels.dtype} "
            f"{tuple(labels.shape)}."
        )
    largest = unary.shape[-1] - 1
    energy = unary.double().gather(-1, labels.unsqueeze(-1)).sum((1, 2, 3))
    rough = (weight_x.double() * labels.diff(dim=1).square()).sum((1, 2))
    rough += (weight_y.double() * labels.diff(dim=2).square()).sum((1, 2))
    return energy + rough / largest**2


def _check_costs(unary: torch.Tensor, weight_x: torch.Tensor, weight_y: torch.Tensor) -> None:
    """Raise `ValueError` for what is none of `(B, h, w, n_labels)`, `(B, h - 1, w)` and `(B, h, w - 1)`, or no cost."""
    if unary.dim() != 4 or 0 in unary.shape[1:3] or unary.shape[3] < 2:
        raise ValueError(
            "`unary` must have shape (B, h, w, n_labels) with at least one block and two labels, got "
            f"{tuple(unary.shape)}."
        )
    batch_size, height, width, _ = unary.shape
    costs = {"unary": unary, "weight_x": weight_x, "weight_y": weight_y}
    shapes = {"weight_x": (batch_size, height - 1, width), "weight_y": (batch_size, height, width - 1)}
    for name, shape in shapes.items():
        if costs[name].shape != shape:
            raise ValueError(
                f"`{name}` must have shape {shape}, one weight for each two neighbours of `unary` "
                f"{tuple(unary.shape)}, got {tuple(costs[name].shape)}."
            )
    for name, values in costs.items():
        if values.dtype == torch.bool or values.is_complex():
            raise ValueError(f"`{name}` must be floating or integer, got {values.dtype}: convert it.")
        if values.device.type != "cpu" or values.numel() == 0:
            continue
        if values.is_floating_point() and not bool(values.isfinite().all()):
            raise ValueError(
                f"`{name}` must be finite, got {values[~values.isfinite()][0].item()}. A saliency of zeros that was "
                "divided by its sum gives nan: use a uniform one for such images."
            )
        if name != "unary" and values.min() < 0:
            raise ValueError(
                f"`{name}` must be >= 0, got {values.min().item()}. Data distances with gamma > 1 make weights "
                "negative: lower gamma, or clamp the weights at 0."
            )


def _reduced(
    unary: torch.Tensor, weight_x: torch.Tensor, weight_y: torch.Tensor, dtype: torch.dtype
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    r"""
    What the two solvers start from: `steps` `(B, h, w, m)`, the price `unary[k] - unary[k - 1]` of raising a label to
    `k`, the weights `(B, h - 1, w)` and `(B, h, w - 1)`, and each image's `span` `(B, 1, 1)`, which bounds what any
    change of labels can gain. In `dtype`, or what is more precise; differences of integers are taken as such.
    """
    unary = unary.to(torch.promote_types(unary.dtype, dtype) if unary.is_floating_point() else torch.int64)
    steps = unary.diff(dim=-1)
    span = (unary.amax(-1) - unary.amin(-1)).to(torch.promote_types(steps.dtype, dtype)).sum((1, 2), keepdim=True)
    # A pair that pays more than the span has one label in every best labelling, however much more it is: heavier
    # weights would only take precision from the other costs.
    largest_weight = 2 * steps.shape[-1] ** 2 * span
    return steps, torch.minimum(weight_x, largest_weight), torch.minimum(weight_y, largest_weight), span


def _solve_maxflow(
    steps: torch.Tensor, weight_x: torch.Tensor, weight_y: torch.Tensor, span: torch.Tensor
) -> torch.Tensor:
    """
    The labels `(B, h, w)` by maximum flows over some images each, which are components that only the source and the sink share.
    Arguments as [`_reduced`] returns them.
    """
    # In units in which V is an integer.
    step = steps.double().numpy() * steps.shape[-1] ** 2
    rows, columns = weight_x.double().numpy(), weight_y.double().numpy()
    costs = _scaled_to_integers(step, rows, columns)
    at_a_time = max(1, _VARIABLES_AT_A_TIME // math.prod(step.shape[1:]))
    labels = np.empty(step.shape[:3], dtype=np.int64)
    for start in range(0, len(step), at_a_time):
        images = slice(start, start + at_a_time)
        labels[images] = _smallest_cut(*(cost[images] for cost in costs))
    return torch.from_numpy(labels)


def _smallest_cut(step: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """The lowest of the best labels `(B, h, w)` int64, for costs as [`_scaled_to_integers`] returns them."""
    layer_from, layer_to = np.tril_indices(step.shape[-1])
    times = np.where(layer_from == layer_to, 1, 2).astype(np.int32)
    rows, columns = (rows[..., None] * times).ravel(), (columns[..., None] * times).ravel()
    order_edges = np.full(step[..., 1:].size, _UNCUTTABLE)
    # The arcs in the order of `_flow_network`. A block's x_k is 1 on the source's side.
    capacities = [np.maximum(-step, 0).ravel(), np.maximum(step, 0).ravel(), rows, rows, columns, columns, order_edges]
    position, indices, indptr = _flow_network(*step.shape)
    n_nodes = len(indptr) - 1
    source, sink = n_nodes - 2, n_nodes - 1
    network = csr_matrix((np.concatenate(capacities)[position], indices, indptr), shape=(n_nodes, n_nodes))

    # What the source still reaches is the smallest of all minimum cuts, whichever maximum flow was found. The
    # subtraction drops arcs without capacity left, which the search would follow.
    residual = network - maximum_flow(network, source, sink).flow
    is_one = np.zeros(n_nodes, dtype=bool)
    is_one[breadth_first_order(residual, source, return_predecessors=False)] = True
    return is_one[:source].reshape(step.shape).sum(-1)


def _scaled_to_integers(
    step: np.ndarray, rows: np.ndarray, columns: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """
    The costs (`step` `(B, h, w, m)`, `rows` `(B, h - 1, w)`, `columns` `(B, h, w - 1)`) as int32, each image scaled by the power of
    two that brings its largest block near the limit.
    """
    incident = np.zeros(step.shape[:3])
    incident[:, :-1] += rows
    incident[:, 1:] += rows
    incident[:, :, :-1] += columns
    incident[:, :, 1:] += columns
    largest = (np.abs(step).sum(-1) + step.shape[-1] ** 2 * incident).max((1, 2))
    exponent = np.frexp(_LARGEST_CAPACITY)[1] - 1 - np.frexp(largest)[1]
    step = np.rint(np.ldexp(step, exponent[:, None, None, None])).astype(np.int32)
    rows, columns = (np.rint(np.ldexp(weight, exponent[:, None, None])).astype(np.int32) for weight in (rows, columns))
    return step, rows, columns


# A training run meets one number of images at a time (and a smaller rest) at a handful of grid sizes.
@lru_cache(maxsize=8)
def _flow_network(
    batch_size: int, height: int, width: int, n_layers: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    r"""
    The arcs as a sparse matrix without its values: where each stored value stands in the list of all arcs, and the
    `indices` and `indptr` of the rows. Nodes are the binary variables in the order `(B, h, w, m)`, source and sink last.
    """
    node = np.arange(batch_size * height * width * n_layers).reshape(batch_size, height, width, n_layers)
    source, sink = np.full(node.size, node.size), np.full(node.size, node.size + 1)
    layer_from, layer_to = np.tril_indices(n_layers)
    above, below = node[:, :-1], node[:, 1:]
    left, right = node[:, :, :-1], node[:, :, 1:]
    arcs = [
        (source, node),
        (node, sink),
        (above[..., layer_from], below[..., layer_to]),
        (below[..., layer_from], above[..., layer_to]),
        (left[..., layer_from], right[..., layer_to]),
        (right[..., layer_from], left[..., layer_to]),
        (node[..., 1:], node[..., :-1]),
    ]
    tails, heads = (np.concatenate([arc[end].ravel() for arc in arcs]) for end in (0, 1))
    position = np.lexsort((heads, tails))
    indptr = np.concatenate([[0], np.cumsum(np.bincount(tails, minlength=node.size + 2))])
    return position, heads[position].astype(np.int32), indptr.astype(np.int32)


def dual_iterations(height: int, width: int) -> int:
    """Iterations of the solver `"dual"`: what moves through the grid takes longer the larger it is."""
    return 100 + 25 * max(height, width)


def _solve_dual(
    steps: torch.Tensor, weight_x: torch.Tensor, weight_y: torch.Tensor, span: torch.Tensor
) -> torch.Tensor:
    r"""
    The cut is a level set of the solution `u` of `min 1/2 |u - f|^2 + TV(u)` (Chambolle 2005; Hochbaum 2001), with
    `f = -steps`, the total variation of the graph at the top of this file and `u_1 >= .. >= u_m` in each block. Its
    dual, one bounded flow for each edge, is solved by accelerated projected gradient (Beck and Teboulle 2009). Arguments as
    [`_reduced`] returns them; the labels `(B, h, w)` int64.
    """
    n_layers = steps.shape[-1]
    height, width = steps.shape[1:3]
    scale = torch.where(span > 0, span, torch.ones_like(span))
    # Layers first, (m, B, h, w): the grid is what the inner loops run over.
    f = (-steps / scale.unsqueeze(-1)).float().permute(3, 0, 1, 2).contiguous()
    # Both directions in one tensor (2, B, h, w), downwards and to the right. The edges that leave the grid weigh
    # nothing, so it may close upon itself.
    down = torch.nn.functional.pad((weight_x / scale).float(), (0, 0, 0, 1))
    right = torch.nn.functional.pad((weight_y / scale).float(), (0, 1))
    weight = torch.stack([down, right]) / n_layers**2

    # flow[direction, k, j] runs from x_k of a block to x_j of its neighbour: (2, m, m, B, h, w), like its bounds.
    layer = torch.arange(n_layers, device=f.device)
    rank = (layer[:, None] - layer).sign().view(n_layers, n_layers, 1, 1, 1)
    lower, upper = weight[:, None, None] * (rank - 1), weight[:, None, None] * (rank + 1)
    flow = ahead = torch.zeros_like(lower)
    momentum = 1.0
    # Larger steps for edges that may carry more, as far as the steps at either end of an edge sum to 1/2 at most
    # (Pock and Chambolle 2011): a thin path of strong edges is not held up by the weak ones beside it.
    share = weight.sqrt()
    total = share.sum(0) + share[0].roll(1, -2) + share[1].roll(1, -1)
    larger = torch.maximum(total, torch.stack([total.roll(-1, -2), total.roll(-1, -1)]))
    step_size = (share / (2 * n_layers * larger).clamp(min=torch.finfo(share.dtype).tiny))[:, None, None]
    for _ in range(dual_iterations(height, width)):
        u = _relaxed_labels(f, ahead)
        neighbours = torch.stack([u.roll(-1, -2), u.roll(-1, -1)])
        gradient = u[:, None] - neighbours[:, None]
        previous, flow = flow, torch.addcmul(ahead, gradient, step_size).clamp(lower, upper)
        following = (1 + (1 + 4 * momentum**2) ** 0.5) / 2
        ahead = torch.lerp(previous, flow, 1 + (momentum - 1) / following)
        momentum = following
    return _best_level(_relaxed_labels(f, flow), f, weight)


def _relaxed_labels(f: torch.Tensor, flow: torch.Tensor) -> torch.Tensor:
    """What the flow `(2, m, m, B, h, w)` leaves of `f` `(m, B, h, w)` in each variable, made decreasing over the layers."""
    arriving = flow.sum(1)
    left_over = f - flow.sum((0, 2)) + arriving[0].roll(1, -2) + arriving[1].roll(1, -1)
    return _nearest_decreasing(left_over)


def _nearest_decreasing(values: torch.Tensor) -> torch.Tensor:
    """The decreasing sequence nearest to each column of `(m, ...)`, by the minimax formula of isotonic regression."""
    n_layers = len(values)
    mean = {(k, k): values[k] for k in range(n_layers)}
    mean |= {(i, j): values[i : j + 1].mean(0) for i in range(n_layers) for j in range(i + 1, n_layers)}
    best = [
        [reduce(torch.minimum, [mean[i, j] for i in range(k + 1)]) for j in range(k, n_layers)]
        for k in range(n_layers)
    ]
    return torch.stack([reduce(torch.maximum, candidates) for candidates in best])


def _best_level(u: torch.Tensor, f: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    r"""
    The level set of `u` `(m, B, h, w)` with the least energy, as labels `(B, h, w)`; `f` like `u`, `weight` `(2, B, h, w)`. Level 0 is the cut when `u` is exact; levels
    around it catch what an inexact `u` gets wrong, above all blocks whose `u` is 0 because their labels tie. Nothing is
    worse than one label everywhere.
    """
    exponents = torch.arange(16, device=u.device)
    magnitudes = torch.exp2(-exponents.to(u.dtype))
    # From high to low: among equals the lowest labels win, as in the exact solver.
    levels = torch.cat([magnitudes, magnitudes.new_zeros(1), -magnitudes.flip(0)])
    levels = levels.view(-1, 1, 1, 1, 1) * f.abs().mean((0, 2, 3)).view(1, 1, -1, 1, 1)
    layer = torch.arange(len(u) + 1, device=u.device).view(-1, 1, 1, 1)
    # One labelling for each level and one for each label everywhere: (levels, B, h, w).
    labels = torch.cat([(u > levels).sum(1), layer.expand(-1, *u.shape[1:])])
    is_one = labels.unsqueeze(1) > layer[:-1]
    heights = labels.to(u.dtype)
    energy = -(is_one * f).sum((1, 3, 4))
    energy += (weight[0] * (heights - heights.roll(-1, -2)).square()).sum((2, 3))
    energy += (weight[1] * (heights - heights.roll(-1, -1)).square()).sum((2, 3))
    best = energy.argmin(0).view(1, -1, 1, 1).expand(1, *labels.shape[1:])
    return labels.gather(0, best).squeeze(0)
