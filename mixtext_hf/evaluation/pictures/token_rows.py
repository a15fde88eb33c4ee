"""Two texts that are mixed token by token, from the tensors of a batch to what is drawn of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from mixtext_hf.mixing.sentence_puzzle import token_shares

from .batch_drawing import Labels
from .token_drawing import TokenRow, TokenText


# A token of nothing that leaves ink.
BLANK = "␣"


def token_strings(tokenizer: Any, ids: list[int]) -> list[str]:
    """Each of some tokens as it stands in a text; some are a part of a character, or blank."""
    return [str(tokenizer.decode([token])).strip() for token in ids]


def token_row(
    tokenizer: Any,
    labels: Labels,
    input_ids: torch.Tensor,
    is_real: torch.Tensor,
    segments: torch.Tensor,
    *,
    mask: torch.Tensor,
    seen: torch.Tensor,
    saliency: torch.Tensor | None = None,
    sources: torch.Tensor | None = None,
    is_mixed: bool = True,
) -> TokenRow:
    """
    One row of a page, with the positions at which a text has a token.

    Args:
        tokenizer: Of the ids.
        labels ([`Labels`]): What the mix is trained to be called.
        input_ids (`torch.Tensor` of shape `(2, L)`, int64): The row's and its partner's.
        is_real (`torch.Tensor` of shape `(2, L)`, bool): Which of them are no padding.
        segments (`torch.Tensor` of shape `(2, L)`, int64): Which sentence they belong to, 0 = none.
        mask (`torch.Tensor` of shape `(L,)`, in `[0, 1]`): The share of the row's own token.
        seen (`torch.Tensor` of shape `(L,)`, bool): The positions of the mix that the network attends to.
        saliency (`torch.Tensor` of shape `(2, L)`, >= 0, *optional*): In any unit.
        sources (`torch.Tensor` of shape `(L, 2)`, int64, *optional*): Which token of either stands at each position.
        is_mixed (`bool`): Whether the row has a partner: what is said of one is left out otherwise.
    """
    shown = is_real.any(dim=0) if is_mixed else is_real[0]
    positions = shown.nonzero().flatten()
    # The number of each position among those that are drawn.
    number = shown.long().cumsum(dim=0) - 1
    shares = None if saliency is None else token_shares(saliency, segments)
    texts = []
    for text in range(2 if is_mixed else 1):
        strings = token_strings(tokenizer, input_ids[text, positions].tolist())
        real = is_real[text, positions].tolist()
        source = positions if sources is None else sources[positions, text]
        texts.append(
            TokenText(
                [(string or BLANK) if here else None for string, here in zip(strings, real, strict=True)],
                (segments[text, positions] > 0).numpy(),
                number[source].numpy(),
                None if shares is None else shares[text, positions].numpy(),
            )
        )
    own, partner = texts[0], texts[1] if is_mixed else None
    share = mask[positions].numpy().astype(np.float64) if is_mixed else np.ones(len(positions))
    return TokenRow(own, labels, share, seen[positions].numpy(), partner)
