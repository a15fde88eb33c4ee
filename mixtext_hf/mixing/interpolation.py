"""Applying a plan to tensors: the convex combination of two rows, and the attention mask under which both live.

Nothing here is random and nothing is changed in place.
"""

from __future__ import annotations

from typing import Any

import torch

from .details import TokenShares
from .plan import Padding
from .token_transport import move_tokens


def mix_tensors(
    inputs: torch.Tensor,
    index: torch.Tensor,
    lam: torch.Tensor,
    *,
    attention_mask: torch.Tensor | None = None,
    pad: Padding = "mix",
) -> torch.Tensor:
    r"""
    Interpolate each row with its partner: `lam * inputs + (1 - lam) * inputs[index]` (Zhang et al. 2018, eq. 1; for
    hidden states Chen et al. 2020, eq. 3).

    Both streams of manifold mixup are the same batch in two orders, so one forward pass and this permutation give the
    numbers of two.

    Args:
        inputs (`torch.Tensor` of shape `(B, ...)`, floating): Anything with examples in the first dimension.
        index (`torch.Tensor` of shape `(B,)`, int64): The partner of each row.
        lam (`torch.Tensor` of shape `(B,)`, floating): The weight of the original row.
        attention_mask (`torch.Tensor` of shape `(B, L)`, *optional*):
            1 or `True` at real tokens; only `pad="keep"` looks at it. `None` = every token is real.
        pad (`"mix"` or `"keep"`, *optional*, defaults to `"mix"`): See [`MixPlan`].

    Returns:
        `torch.Tensor` of the shape and dtype of `inputs`. Rows with `lam = 1` are returned bit for bit.
    """
    weight = lam.to(inputs.dtype).view(-1, *[1] * (inputs.dim() - 1))
    if pad == "keep" and attention_mask is not None:
        weight = _keep_real_tokens(weight, attention_mask.bool(), index)
    return _interpolated(inputs, inputs.index_select(0, index), weight)


def mix_tokens(hidden_states: torch.Tensor, index: torch.Tensor, shares: TokenShares) -> torch.Tensor:
    r"""
    Interpolate each token of each row with the token of the partner that is shown at its place: `own * h + (1 - own) * h[index]`.

    Args:
        hidden_states (`torch.Tensor` of shape `(B, T, H)`, floating): Of a batch of texts.
        index (`torch.Tensor` of shape `(B,)`, int64): The partner of each row.
        shares ([`TokenShares`]): What each token keeps, and which tokens are shown where.

    Returns:
        `torch.Tensor` of the shape and dtype of `hidden_states`. What is kept whole is returned bit for bit.
    """
    weight = shares.own.to(hidden_states.dtype).unsqueeze(2)
    partner = hidden_states.index_select(0, index)
    if shares.sources is not None:
        of_own, of_partner = shares.sources
        hidden_states, partner = move_tokens(hidden_states, of_own), move_tokens(partner, of_partner)
    return _interpolated(hidden_states, partner, weight)


def _interpolated(inputs: torch.Tensor, partner: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    # The weight is cast because a float32 lambda would promote bfloat16 hidden states. lerp(end, start, w) returns
    # `start` exactly at w = 1, unless 0 * (start - end) is not 0: a partner of infinite or undefined values.
    return torch.where(weight == 1, inputs, torch.lerp(partner, inputs, weight))


def _keep_real_tokens(weight: torch.Tensor, is_real: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
    """Weights `(B, L, 1)` that are 1 (0) where only the row itself (only its partner) has a real token."""
    partner_is_real = is_real[index]
    one, zero = torch.ones_like(weight), torch.zeros_like(weight)
    weight = torch.where((is_real & ~partner_is_real).unsqueeze(-1), one, weight)
    return torch.where((~is_real & partner_is_real).unsqueeze(-1), zero, weight)


def union_mask(attention_mask: Any, index: torch.Tensor) -> Any:
    r"""
    The attention mask of a mixed batch: a position counts when it is real in either partner.

    Every format that encoder layers of transformers receive is understood: `None` (nothing is padded, stays `None`),
    bool (or), additive floats `{finfo.min, 0}` (maximum), integers `{0, 1}` (maximum), each with the examples in the
    first dimension, 2-D or 4-D; and flex attention's `BlockMask`. A mask that is broadcast over the batch (first
    dimension 1) is its own union.

    Args:
        attention_mask (`torch.Tensor`, `BlockMask` or `None`): The mask of the unmixed batch; never changed in place.
        index (`torch.Tensor` of shape `(B,)`, int64): The partner of each row.

    Returns:
        A mask of the same format, shape and dtype.
    """
    if attention_mask is None:
        return None
    if isinstance(attention_mask, torch.Tensor):
        return _union_tensor(attention_mask, index)
    if type(attention_mask).__name__ == "BlockMask":
        return _union_block_mask(attention_mask, index)
    raise TypeError(
        f"`attention_mask` is a {type(attention_mask).__name__}; a tensor, a BlockMask or None can be united. Give the "
        "model the usual 2-D mask and let it build its own."
    )


def _union_tensor(attention_mask: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
    """Of masks `(B, L)` or `(B or 1, heads or 1, L, L)` with those of the partners `(B,)`."""
    if attention_mask.shape[0] == 1 and len(index) != 1:
        return attention_mask
    # Masks for scaled_dot_product_attention are (B, 1, L, L) views of (B, 1, 1, L): the union of the small tensor is
    # expanded again instead of writing out L copies of it.
    shape = attention_mask.shape
    for dim in range(1, attention_mask.dim()):
        if attention_mask.stride(dim) == 0:
            attention_mask = attention_mask.narrow(dim, 0, 1)
    partner_mask = attention_mask.index_select(0, index)
    if attention_mask.dtype == torch.bool:
        return (attention_mask | partner_mask).expand(shape)
    return torch.maximum(attention_mask, partner_mask).expand(shape)


def _union_block_mask(attention_mask: Any, index: torch.Tensor) -> Any:
    """Of a mask `(B or 1, heads, L, L)` of flex attention with those of the partners `(B,)`."""
    if attention_mask.shape[0] == 1 and len(index) != 1:
        return attention_mask
    from torch.nn.attention.flex_attention import create_block_mask

    mask_mod = attention_mask.mask_mod

    def union_mod(b: torch.Tensor, h: torch.Tensor, q: torch.Tensor, kv: torch.Tensor) -> torch.Tensor:
        """Of single numbers, as flex attention calls it: example, head, place of the query and of the key."""
        return mask_mod(b, h, q, kv) | mask_mod(index[b], h, q, kv)

    batch_size, heads, query_length, key_length = attention_mask.shape
    return create_block_mask(
        union_mod,
        batch_size,
        heads,
        query_length,
        key_length,
        device=attention_mask.kv_num_blocks.device,
        BLOCK_SIZE=attention_mask.BLOCK_SIZE,
    )
