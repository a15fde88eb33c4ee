"""Spans of one text in place of another's, in token ids: SSMix (Yoon, Kim & Park, Findings of ACL 2021).

Each sentence of a row gives up its least salient span for the most salient one, of the same length, of the same sentence of the
partner. Special tokens and padding stay where they are. All rows are one computation in whole numbers: sums over windows are
exact, so what is equal ties, wherever the padding is, and nothing waits for the device or needs a number of double precision.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

import torch

from .devices import to_device
from .saliency import channel_saliency


# Float32 has 24 bits: saliencies down to 2^-17 of the largest keep all of theirs, and 2^22 of them add up within int64.
_BITS_BELOW = 17
_NOT_FINITE = 0xFF
_LAST = torch.iinfo(torch.int64).max


def text_segments(
    input_ids: torch.Tensor,
    attention_mask: torch.Tensor | None,
    boundary_ids: Collection[int],
    special_ids: Collection[int] = (),
    *,
    sentences: int,
) -> torch.Tensor:
    r"""
    Which sentence each token belongs to, by the ids alone: a sentence is what stands between boundaries, however many there are
    (`[CLS] A [SEP] B [SEP]`, `<s> A </s></s> B </s>`).

    A `[SEP]` that is written within a text looks like the tokenizer's own, and ends a sentence as that does. What follows the last
    sentence that is asked for belongs to it: with `sentences=1` a text stays one sentence, but for windows, which hold no special
    token. An empty sentence cannot be seen, and the next one has its number.

    Args:
        input_ids (`torch.Tensor` of shape `(B, T)`, int64): Padded on either side.
        attention_mask (`torch.Tensor` of shape `(B, T)`, *optional*): 1 or `True` at real tokens; `None` = every token is real.
        boundary_ids (collection of `int`): What ends a sentence: cls, sep, bos, eos and pad, those that there are.
        special_ids (collection of `int`, *optional*):
            Further tokens that are no words, such as `[MASK]`. They end no sentence; one that has nothing else counts as one. An
            unknown word is a word: leave `[UNK]` out.
        sentences (`int`): How many there are in a row at most: 1 for single texts, 2 for pairs.

    Returns:
        `torch.Tensor` of shape `(B, T)`, int64: 1 = the first sentence, 2 = the second, ...; 0 = none: special tokens and padding.
    """
    if sentences < 1:
        raise ValueError(f"`sentences` must be at least 1, got {sentences}: 1 for single texts, 2 for pairs.")
    is_boundary = _is_in(input_ids, boundary_ids)
    is_inside = ~is_boundary
    if attention_mask is not None:
        is_inside &= attention_mask.bool()
    position = torch.arange(input_ids.shape[1], device=input_ids.device)
    last_boundary = torch.where(is_boundary, position, -1).cummax(dim=1).values
    last_inside = torch.where(is_inside, position, -2).cummax(dim=1).values
    # Of the token before: the first one has none.
    last_inside = torch.nn.functional.pad(last_inside[:, :-1], (1, 0), value=-2)
    number = (is_inside & (last_inside < last_boundary)).cumsum(dim=1).clamp(max=sentences)
    return torch.where(is_inside & ~_is_in(input_ids, special_ids), number, 0)


def _is_in(ids: torch.Tensor, some: Collection[int]) -> torch.Tensor:
    """Which of the ids are among `some`. `torch.isin` waits for the device where these are many."""
    if not some:
        return torch.zeros_like(ids, dtype=torch.bool)
    listed = to_device(torch.tensor(sorted(some), dtype=ids.dtype), ids.device)
    return listed[torch.searchsorted(listed, ids.contiguous()).clamp(max=len(listed) - 1)] == ids


def token_saliency(gradient: torch.Tensor, segments: torch.Tensor) -> torch.Tensor:
    r"""
    The saliency of each token: `sqrt(mean over the hidden size of (d CE / d embedding)^2)` (Yoon et al. 2021, official code, which
    also divides by the largest of the text: no window becomes another by that).

    The official code takes it for each half of a pair alone; a gradient of the pair tells what matters next to the other half.

    Args:
        gradient (`torch.Tensor` of shape `(B, T, H)`, floating): Of the loss with respect to the embeddings.
        segments (`torch.Tensor` of shape `(B, T)`, int64): See [`text_segments`].

    Returns:
        `torch.Tensor` of shape `(B, T)`, float32, >= 0; 0 where a token belongs to no sentence. A gradient of half precision that
        overflowed stays infinite or undefined.
    """
    # Nothing of the padding may show, not even in how the others are rounded.
    gradient = gradient.masked_fill((segments == 0).unsqueeze(2), 0)
    return channel_saliency(gradient.mT.unsqueeze(3)).squeeze(2)


def state_saliency(gradient: torch.Tensor, hidden_states: torch.Tensor, segments: torch.Tensor) -> torch.Tensor:
    r"""
    The saliency of each token in the middle of the network: `|d CE / d h| |h|`, the gradient times the norm of the hidden state. To
    first order the loss changes by no more than that when the state is set to 0.

    Args:
        gradient (`torch.Tensor` of shape `(B, T, H)`, floating): Of the loss with respect to the states.
        hidden_states (`torch.Tensor` of shape `(B, T, H)`, floating): `h`, the states of that layer.
        segments (`torch.Tensor` of shape `(B, T)`, int64): See [`text_segments`].

    Returns:
        `torch.Tensor` of shape `(B, T)`, float32, >= 0; 0 where a token belongs to no sentence.
    """
    size = gradient.shape[2]
    return token_saliency(gradient, segments) * token_saliency(hidden_states, segments) * size


class PastedSpans(NamedTuple):
    """
    What [`paste_spans`] made of a batch.

    Args:
        input_ids (`torch.Tensor` of shape `(B, T)`, int64): The mixed rows; each keeps its own attention mask.
        weight (`torch.Tensor` of shape `(B,)`, float32): The label weight of the row itself.
        source (`torch.Tensor` of shape `(B, T)`, int64): Where in the partner's row a token stood; -1 = it is the row's own.
    """

    input_ids: torch.Tensor
    weight: torch.Tensor
    source: torch.Tensor


def paste_spans(
    input_ids: torch.Tensor,
    index: torch.Tensor,
    segments: torch.Tensor,
    *,
    sentences: int,
    saliency: torch.Tensor | None = None,
    draws: torch.Tensor | None = None,
    share: float = 0.1,
    contiguous: bool = True,
) -> PastedSpans:
    r"""
    Replace in each sentence the least salient window by the most salient one of the same sentence of the partner (Yoon et al.
    2021, section 3.2).

    A sentence of `n` tokens has windows of `max(int(share n), 1)` tokens that stand next to each other; those with the lowest and
    the highest mean saliency are taken, the first ones of several. Where the row or the partner has no such window the sentence
    stays as it is. A row that is its own partner is never changed.

    Args:
        input_ids (`torch.Tensor` of shape `(B, T)`, int64): Never changed in place.
        index (`torch.Tensor` of shape `(B,)`, int64): The partner of each row.
        segments (`torch.Tensor` of shape `(B, T)`, int64): See [`text_segments`]; what is 0 is neither replaced nor copied.
        sentences (`int`): How many sentences are mixed. Tokens of later ones belong to the last.
        saliency (`torch.Tensor` of shape `(B, T)`, floating, *optional*):
            See [`token_saliency`]. Compared in steps of 2^-41 to 2^-40 of the largest of its row, rounded towards 0. A row that has a
            number that is not finite in a sentence counts as 0 everywhere: all its windows are alike.
        draws (`torch.Tensor`, floating, in `[0, 1)`, *optional*):
            Instead of `saliency`, chance. With windows of shape `(B, sentences, 2)`: which of those that there are, 0 = the first,
            1 = the last, is replaced in the row and which of the partner's is taken. Without, of shape `(B, at least T)`: the
            j-th number of a row stands for the saliency of the j-th of its tokens that belong to a sentence.
        share (`float`, *optional*, defaults to 0.1): Of a sentence that is replaced, in `(0, 1]`.
        contiguous (`bool`, *optional*, defaults to `True`):
            `False`: not windows, but single tokens, the least salient and the most salient ones, in the order in which they stand.

    Returns:
        [`PastedSpans`], with the share of its tokens that a row keeps as its label weight: over all sentences, so that a long one
        counts more. 1 where nothing was replaced.
    """
    batch_size, length = input_ids.shape
    _check(input_ids, index, segments, sentences, saliency, draws, share, contiguous)
    segments = segments.clamp(max=sentences)
    is_word = segments > 0
    if saliency is None and not contiguous:
        assert draws is not None
        saliency = draws.gather(1, (is_word.cumsum(dim=1) - 1).clamp(min=0))
    values = None if saliency is None else _whole_numbers(saliency, is_word)

    # As Python rounds, for every count that there may be.
    widths = to_device(torch.tensor([max(int(share * n), 1) for n in range(length + 1)]), input_ids.device)
    has_partner = (index != torch.arange(batch_size, device=index.device)).unsqueeze(1)
    source = torch.full_like(input_ids, -1)
    for number in range(1, sentences + 1):
        own = segments == number
        theirs = own[index]
        width = widths[own.sum(dim=1, keepdim=True)]
        if values is None:
            assert draws is not None
            of_own, of_theirs = draws[:, number - 1].unsqueeze(2).unbind(dim=1)
            replaced, taken = _drawn_window(own, width, of_own), _drawn_window(theirs, width, of_theirs)
        else:
            lowest = _lowest_window if contiguous else _lowest_tokens
            replaced, taken = lowest(own, width, values), lowest(theirs, width, -values[index])
        is_mixed = has_partner & replaced.any(dim=1, keepdim=True) & taken.any(dim=1, keepdim=True)
        # The j-th token that is replaced gets the j-th that is taken.
        place = torch.searchsorted(taken.cumsum(dim=1), replaced.cumsum(dim=1))
        source = torch.where(replaced & is_mixed, place, source)

    is_pasted = source >= 0
    mixed = torch.where(is_pasted, input_ids[index].gather(1, source.clamp(min=0)), input_ids)
    tokens, kept = is_word.sum(dim=1), (is_word & ~is_pasted).sum(dim=1)
    weight = torch.where(tokens > 0, kept.float() / tokens.clamp(min=1).float(), 1.0)
    return PastedSpans(mixed, weight, source)


def _whole_numbers(saliency: torch.Tensor, is_word: torch.Tensor) -> torch.Tensor:
    """
    The saliency `(B, T)` in whole numbers, int64, in a unit of each row's own: the digits of its float32, moved to where those of the
    row's largest stand. 0 where no word is, and in rows with a word whose saliency is not finite.
    """
    bits = torch.where(is_word, saliency.float(), 0.0).view(torch.int32).long()
    exponent, digits = (bits >> 23) & 0xFF, bits & 0x7FFFFF
    digits = torch.where(exponent > 0, digits | 0x800000, digits)
    largest = exponent.amax(dim=1, keepdim=True)
    # Numbers below the smallest normal one have its exponent.
    shift = exponent.clamp(min=1) - largest.clamp(min=1) + _BITS_BELOW
    moved = torch.where(shift >= 0, digits << shift.clamp(min=0), digits >> (-shift).clamp(0, 63))
    return torch.where(largest == _NOT_FINITE, 0, torch.where(bits < 0, -moved, moved))


def _window_starts(is_free: torch.Tensor, width: torch.Tensor) -> torch.Tensor:
    """Where windows of `width` `(B, 1)` begin that are free throughout: `(B, T)` bool."""
    return _window_sums(is_free.long(), width) == width


def _window_sums(values: torch.Tensor, width: torch.Tensor) -> torch.Tensor:
    """The sum `(B, T)` of the `width` `(B, 1)` values from each position on, fewer where the row ends."""
    length = values.shape[1]
    until = torch.nn.functional.pad(values.cumsum(dim=1), (1, 0))
    end = torch.arange(length, device=values.device) + width
    return until.gather(1, end.clamp(max=length)) - until[:, :-1]


def _window(start: torch.Tensor, width: torch.Tensor, starts: torch.Tensor) -> torch.Tensor:
    """The tokens `(B, T)` bool of the windows that begin at `start` `(B, 1)`; none in rows without a window in `starts`."""
    position = torch.arange(starts.shape[1], device=starts.device)
    return (position >= start) & (position < start + width) & starts.any(dim=1, keepdim=True)


def _lowest_window(is_free: torch.Tensor, width: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    """The free window `(B, T)` bool with the lowest sum, the first of several."""
    starts = _window_starts(is_free, width)
    start = torch.where(starts, _window_sums(values, width), _LAST).argmin(dim=1, keepdim=True)
    return _window(start, width, starts)


def _drawn_window(is_free: torch.Tensor, width: torch.Tensor, draw: torch.Tensor) -> torch.Tensor:
    """The free window `(B, T)` bool that `draw` `(B, 1)` in `[0, 1)` says."""
    starts = _window_starts(is_free, width)
    count = starts.sum(dim=1, keepdim=True)
    # A draw close to 1 is 1 when it has been rounded to float32.
    chosen = torch.minimum((draw * count).long(), count - 1)
    start = (starts.cumsum(dim=1) > chosen).int().argmax(dim=1, keepdim=True)
    return _window(start, width, starts)


def _lowest_tokens(is_free: torch.Tensor, width: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    """The `width` `(B, 1)` free tokens `(B, T)` bool with the lowest values, the first of several; none where there are fewer."""
    order = torch.where(is_free, values, _LAST).argsort(dim=1, stable=True)
    is_among = order.argsort(dim=1) < width
    return is_among & is_free & (is_free.sum(dim=1, keepdim=True) >= width)


def _check(
    input_ids: torch.Tensor,
    index: torch.Tensor,
    segments: torch.Tensor,
    sentences: int,
    saliency: torch.Tensor | None,
    draws: torch.Tensor | None,
    share: float,
    contiguous: bool,
) -> None:
    """Raise for what [`paste_spans`] cannot work with, as far as can be told without waiting for the device."""
    batch_size, length = input_ids.shape
    if sentences < 1:
        raise ValueError(f"`sentences` must be at least 1, got {sentences}: 1 for single texts, 2 for pairs.")
    if not 0 < share <= 1:
        raise ValueError(f"`share` must lie in (0, 1], got {share}.")
    for name, tensor, shape in (
        ("index", index, (batch_size,)),
        ("segments", segments, (batch_size, length)),
        ("saliency", saliency, (batch_size, length)),
    ):
        if tensor is not None and tuple(tensor.shape) != shape:
            raise ValueError(f"`{name}` must have shape {shape} for these `input_ids`, got {tuple(tensor.shape)}.")
    if (saliency is None) == (draws is None):
        raise ValueError("Give `saliency`, or `draws` to choose by chance: one of the two.")
    if draws is None:
        return
    if contiguous and draws.shape != (batch_size, sentences, 2):
        raise ValueError(
            f"`draws` must have shape ({batch_size}, {sentences}, 2), two for each sentence, got {tuple(draws.shape)}."
        )
    if not contiguous and (draws.dim() != 2 or len(draws) != batch_size or draws.shape[1] < length):
        raise ValueError(
            f"`draws` must have shape ({batch_size}, at least {length}), one for each token, got {tuple(draws.shape)}."
        )
