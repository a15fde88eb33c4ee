"""A sentence whose words change places: the partner of itself in Intra-LADA (Chen et al. 2020b, section 3.2)."""

from __future__ import annotations

import torch


def permute_places(numbers: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
    r"""
    A random permutation of some positions of each row; the others stay.

    Args:
        numbers (`torch.Tensor` of shape `(B, at least T)`, float32): Drawn independently from `[0, 1)`: all permutations are alike likely.
        places (`torch.Tensor` of shape `(B, T)`, bool): Which positions take part.

    Returns:
        `torch.Tensor` of shape `(B, T)`, int64: the position of the same row whose token comes to each position.

    Example:

    ```python
    >>> places = torch.tensor([[False, True, True, True, False]])
    >>> permute_places(torch.tensor([[0.0, 0.9, 0.1, 0.5, 0.0]]), places)
    tensor([[0, 2, 3, 1, 4]])
    ```
    """
    length = places.shape[1]
    if numbers.dim() != 2 or len(numbers) != len(places) or numbers.shape[1] < length:
        raise ValueError(
            f"`numbers` must be ({len(places)}, at least {length}) like `places`, got {tuple(numbers.shape)}."
        )
    # Both orders begin with the positions that take part: as they stand, and shuffled.
    standing = (~places).to(torch.int8).argsort(dim=1, stable=True)
    shuffled = numbers[:, :length].masked_fill(~places, torch.inf).argsort(dim=1, stable=True)
    takes_part = torch.arange(length, device=places.device) < places.sum(dim=1, keepdim=True)
    sources = torch.arange(length, device=places.device).expand_as(places)
    return sources.scatter(1, standing, torch.where(takes_part, shuffled, standing))
