"""Which word is shown where: transport of the salient words of a sentence to where its mask shows them, in their order.

On the grid of an image blocks may change places (`transport.py`); words keep their order, and then dynamic programming finds the
best places exactly.
"""

from __future__ import annotations

import torch

from mixtext_hf._numbers import is_number


@torch.no_grad()
def transport_tokens(shown: torch.Tensor, share: torch.Tensor, segments: torch.Tensor, xi: float) -> torch.Tensor:
    r"""
    Which token of a sentence stands at each position that shows it: the increasing map that maximises

        sum_j share[i_j] shown_j  -  xi / n sum_j |i_j - j|

    over the positions `j` of the sentence where `shown_j > 0`, `i_j` the token shown at `j`, of the same segment, and `n` the
    number of tokens of the sentence (by analogy with the masked transport of Kim et al. 2020). No token is shown twice;
    of a sentence that is shown everywhere nothing moves. A step of a token costs `xi` times the saliency of an average token.

    Memory is `8 B T^2` bytes.

    Args:
        shown (`torch.Tensor` of shape `(B, T)`, floating, in `[0, 1]`):
            The share of the sentence at each position: of the partner's `z` of [`sentence_puzzle`], of the row's own `1 - z`.
        share (`torch.Tensor` of shape `(B, T)`, floating, >= 0):
            Of the sentence that is moved, see [`token_shares`]: the partner's is `share[index]`.
        segments (`torch.Tensor` of shape `(B, T)`, int64): Of the same sentence; 0 = a special token or padding, which never moves.
        xi (`float`): The price of distance, >= 0.

    Returns:
        `torch.Tensor` of shape `(B, T)`, int64: the position in the same row whose token is shown at each position; its own where the sentence
        is not shown. Of several best maps the first in lexicographic order.

    Raises:
        `ValueError`: if a shape or dtype is wrong or `xi` is no finite number >= 0.

    Example:

    ```python
    >>> share = torch.tensor([[0.6, 0.2, 0.1, 0.1]])
    >>> shown, segments = torch.tensor([[0.0, 0.0, 1.0, 1.0]]), torch.ones(1, 4, dtype=torch.int64)
    >>> for xi in (0.1, 1.0):
    ...     print(transport_tokens(shown, share, segments, xi))
    tensor([[0, 1, 0, 1]])
    tensor([[0, 1, 0, 3]])
    ```
    """
    _check(shown, share, segments, xi)
    batch_size, length = segments.shape
    position = torch.arange(length, device=segments.device)
    is_target = (shown > 0) & (segments > 0)
    share, shown = share.double(), shown.double()
    price = xi / (segments > 0).sum(dim=1, keepdim=True).clamp(min=1).double()

    # gain[j]: of each token at position j and the best tokens at later ones, (B, T); -inf where that cannot be.
    gain = share.new_full((length, batch_size, length), -torch.inf)
    # Of the best tokens from here on, if the next is token i or a later one, (B, T + 1): after the last there is none.
    best = share.new_zeros(batch_size, length + 1)
    for j in reversed(range(length)):
        here = is_target[:, j : j + 1]
        token = share * shown[:, j : j + 1] - price * (position - j).abs()
        fits = here & (segments == segments[:, j : j + 1])
        gain[j] = (token + best[:, 1:]).where(fits, -torch.inf)
        among = torch.cat([gain[j], torch.full_like(price, -torch.inf)], dim=1).flip(1).cummax(dim=1).values.flip(1)
        best = torch.where(here, among, best)

    source = position.repeat(batch_size, 1)
    free = torch.zeros(batch_size, 1, dtype=torch.int64, device=segments.device)
    for j in range(length):
        here = is_target[:, j : j + 1]
        # Of equal numbers the first is the maximum.
        token = gain[j].where(position >= free, -torch.inf).argmax(dim=1, keepdim=True)
        source[:, j : j + 1] = torch.where(here, token, source[:, j : j + 1])
        free = torch.where(here, token + 1, free)
    return source


def move_tokens(inputs: torch.Tensor, source: torch.Tensor) -> torch.Tensor:
    r"""
    Show at each position the token that `source` names.

    Args:
        inputs (`torch.Tensor` of shape `(B, T, ...)`): Anything with positions in the second dimension.
        source (`torch.Tensor` of shape `(B, T)`, int64): See [`transport_tokens`].

    Returns:
        `torch.Tensor` of the shape and dtype of `inputs`.
    """
    return inputs.gather(1, source.view(*source.shape, *[1] * (inputs.dim() - 2)).expand_as(inputs))


def _check(shown: torch.Tensor, share: torch.Tensor, segments: torch.Tensor, xi: float) -> None:
    if segments.dim() != 2 or segments.dtype != torch.int64:
        raise ValueError(f"`segments` must be int64 of shape (B, T), got {segments.dtype} {tuple(segments.shape)}.")
    for name, values in (("shown", shown), ("share", share)):
        if values.shape != segments.shape or not values.is_floating_point():
            raise ValueError(
                f"`{name}` must be floating of shape {tuple(segments.shape)} like `segments`, got {values.dtype} "
                f"{tuple(values.shape)}."
            )
    if not is_number(xi) or xi < 0:
        raise ValueError(f"`xi` must be a finite number >= 0, got {xi}.")
