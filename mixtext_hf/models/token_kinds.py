"""Which ids of a tokenizer are no words, and which of these end a sentence."""

from __future__ import annotations

from typing import NamedTuple

from transformers import PreTrainedTokenizerBase


class TokenKinds(NamedTuple):
    """
    What [`~mixtext_hf.functional.text_segments`] is told of a tokenizer.

    Args:
        boundary_ids (`frozenset[int]`): What ends a sentence.
        special_ids (`frozenset[int]`): Other tokens that are no words, such as `[MASK]`.
    """

    boundary_ids: frozenset[int]
    special_ids: frozenset[int]


def token_kinds(tokenizer: PreTrainedTokenizerBase) -> TokenKinds:
    """
    Which ids are no words: cls, sep, bos, eos and pad, those that there are, end a sentence; the other special tokens do not. An
    unknown word is a word.

    Example, SSMix in a loop of one's own:

    ```python
    segments = text_segments(batch["input_ids"], batch["attention_mask"], *token_kinds(tokenizer), sentences=2)
    with make_mixable(model).watching() as watched:
        clean = cross_entropy(model(**batch).logits, labels)
    (clean / 2).backward()
    saliency = token_saliency(watched.gradient, segments)
    mixed = paste_spans(batch["input_ids"], plan.index, segments, sentences=2, saliency=saliency)
    logits = model(**{**batch, "input_ids": mixed.input_ids}).logits
    (mixed_cross_entropy(logits, labels, plan.index, mixed.weight) / 2).backward()
    ```
    """
    boundaries = {
        tokenizer.cls_token_id,
        tokenizer.sep_token_id,
        tokenizer.bos_token_id,
        tokenizer.eos_token_id,
        tokenizer.pad_token_id,
    } - {None}
    return TokenKinds(
        frozenset(boundaries), frozenset(tokenizer.all_special_ids) - boundaries - {tokenizer.unk_token_id}
    )
