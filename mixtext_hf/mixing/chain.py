"""The labels of least cost on chains, for a whole batch at once: what a sentence takes from either of two at each position.

Costs in, labels out. What the costs are made of (saliency, smoothness, prior) is not known here. On a grid the same
question is a minimum cut (`graph_cut.py`) and needs convex costs; on a chain dynamic programming (Viterbi 1967, in its
min-sum form) is exact for any.
"""

from __future__ import annotations

import torch


@torch.no_grad()
def solve_chain(unary: torch.Tensor, pairwise: torch.Tensor, linked: torch.Tensor) -> torch.Tensor:
    r"""
    Labels of least cost, independently for each row of a batch:

        sum_i unary[i, l_i]  +  sum_i linked[i] pairwise[i, l_i, l_{i+1}].

    Where a link is missing one chain ends and the next begins; a position without links is a chain of its own. The cost
    of what is not linked is not looked at.

    One loop over the positions, from the last to the first, finds what each label costs together with the best of all
    that follows; which label follows which is then composed in `log2(T)` steps. Time grows with `T n_labels^2`.

    Sums are those of float64, of costs that are all integers those of int64: exact for integers, and for others rounded in the
    same way wherever a chain stands. In float32 the sums along a chain of hundreds of positions would be wrong by more than what two labellings
    differ by, and it would be no faster: a step is too small to keep a device busy. (A device without float64 computes
    in float32.)

    Args:
        unary (`torch.Tensor` of shape `(B, T, n_labels)`, floating or integer): Cost of each label at each position.
        pairwise (`torch.Tensor` of shape `(B, T - 1, n_labels, n_labels)`, floating or integer):
            `pairwise[:, i, a, c]`: cost of label `a` at position `i` with label `c` at `i + 1`. Any numbers, convex or not.
        linked (`torch.Tensor` of shape `(B, T - 1)`, bool): Whether positions `i` and `i + 1` belong to one chain.

    Returns:
        `torch.Tensor` of shape `(B, T)`, int64, on the device of `unary`: labels in `0..n_labels - 1`. Of several best
        labellings of a chain it is the first in lexicographic order: the smallest label at its first position, then at
        its second. A chain's labels depend neither on the rest of the batch nor on what stands before or behind it.

    Raises:
        `ValueError`: if a shape or dtype is wrong, or (checked on the CPU only, to avoid a device synchronisation) if a
            cost is not finite.

    Example:

    ```python
    >>> unary = torch.tensor([[[0.0, 1.0], [0.6, 0.0], [0.0, 1.0]]])
    >>> differ = 1 - torch.eye(2)
    >>> for beta in (0.2, 0.4):
    ...     print(solve_chain(unary, (beta * differ).expand(1, 2, 2, 2), torch.ones(1, 2, dtype=torch.bool)))
    tensor([[0, 1, 0]])
    tensor([[0, 0, 0]])
    ```
    """
    _check_costs(unary, pairwise, linked)
    batch_size, n_positions, n_labels = unary.shape
    dtype = _dtype_of_sums(unary, pairwise)
    # Positions first: what a step needs lies together.
    unary, pairwise = (costs.to(dtype).transpose(0, 1).contiguous() for costs in (unary, pairwise))
    linked = linked.transpose(0, 1).unsqueeze(2)
    goes_on = linked.to(dtype)

    # cost[i]: of each label with the best of what follows in its chain, (B, n_labels).
    cost = unary.clone()
    following = torch.empty(n_positions - 1, batch_size, n_labels, dtype=torch.int64, device=unary.device)
    for i in reversed(range(n_positions - 1)):
        # Of equal numbers the first is the minimum.
        least, following[i] = (pairwise[i] + cost[i + 1].unsqueeze(1)).min(dim=2)
        # Nothing is added where no link is, not even a constant: it would round the sums.
        cost[i].addcmul_(least, goes_on[i])

    first = cost.argmin(dim=2, keepdim=True).expand(-1, -1, n_labels)
    # Which label stands at a position, given the one before it; at the first of a chain whatever was before.
    step = torch.cat([first[:1], torch.where(linked, following, first[1:])])
    # Steps composed: given the label 1, 2, 4 .. positions before, until all begin at the first, which asks for none.
    reach = 1
    while reach < n_positions:
        step = torch.cat([step[:reach], step[reach:].gather(2, step[:-reach])])
        reach *= 2
    return step[:, :, 0].transpose(0, 1).contiguous()


def chain_energy(
    labels: torch.Tensor, unary: torch.Tensor, pairwise: torch.Tensor, linked: torch.Tensor
) -> torch.Tensor:
    r"""
    What [`solve_chain`] minimises.

    Args:
        labels (`torch.Tensor` of shape `(B, T)`, int64): Labels in `0..n_labels - 1`.
        unary (`torch.Tensor` of shape `(B, T, n_labels)`): As for [`solve_chain`], like the other two.
        pairwise (`torch.Tensor` of shape `(B, T - 1, n_labels, n_labels)`): Between a position and the next.
        linked (`torch.Tensor` of shape `(B, T - 1)`, bool): Whether it counts.

    Returns:
        `torch.Tensor` of shape `(B,)`: float64, or int64 if all costs are integers.
    """
    _check_costs(unary, pairwise, linked)
    if labels.shape != unary.shape[:2] or labels.dtype != torch.int64:
        raise ValueError(
            f"`labels` must be int64 of shape {tuple(unary.shape[:2])} like `unary`, got {labels.dtype} "
            f"{tuple(labels.shape)}."
        )
    dtype, n_labels = _dtype_of_sums(unary, pairwise), unary.shape[2]
    energy = unary.to(dtype).gather(2, labels.unsqueeze(2)).sum(dim=(1, 2))
    pair = labels[:, :-1] * n_labels + labels[:, 1:]
    between = pairwise.to(dtype).flatten(2).gather(2, pair.unsqueeze(2)).squeeze(2)
    return energy + between.where(linked, 0).sum(dim=1)


def _dtype_of_sums(unary: torch.Tensor, pairwise: torch.Tensor) -> torch.dtype:
    if not (unary.is_floating_point() or pairwise.is_floating_point()):
        return torch.int64
    return torch.float32 if unary.device.type == "mps" else torch.float64


def _check_costs(unary: torch.Tensor, pairwise: torch.Tensor, linked: torch.Tensor) -> None:
    """Raise `ValueError` for what is none of `(B, T, n_labels)`, `(B, T - 1, n_labels, n_labels)` and `(B, T - 1)`, or no cost."""
    if unary.dim() != 3 or 0 in unary.shape[1:]:
        raise ValueError(
            f"`unary` must have shape (B, T, n_labels) with at least one position and one label, got {tuple(unary.shape)}."
        )
    batch_size, n_positions, n_labels = unary.shape
    shape = (batch_size, n_positions - 1, n_labels, n_labels)
    if pairwise.shape != shape:
        raise ValueError(
            f"`pairwise` must have shape {shape}, one table for each two neighbours of `unary` {tuple(unary.shape)}, "
            f"got {tuple(pairwise.shape)}. The same table for all is expanded: `table.expand{shape}`."
        )
    if linked.shape != shape[:2] or linked.dtype != torch.bool:
        raise ValueError(
            f"`linked` must be bool of shape {shape[:2]}, got {linked.dtype} {tuple(linked.shape)}: whether each "
            "position of `unary` belongs to one chain with the next."
        )
    for name, values in {"unary": unary, "pairwise": pairwise}.items():
        if values.dtype == torch.bool or values.is_complex():
            raise ValueError(f"`{name}` must be floating or integer, got {values.dtype}: convert it.")
        if values.device.type == "cpu" and not bool(values.isfinite().all()):
            raise ValueError(
                f"`{name}` must be finite, got {values[~values.isfinite()][0].item()}. A label that must not be taken "
                "gets a cost above the sum of all others."
            )
