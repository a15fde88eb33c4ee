"""Which tokens of a batch are words, and of which sentence, for methods that mix the tokens themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from transformers import PreTrainedTokenizerBase

from mixtext_hf.methods import TOKENS
from mixtext_hf.methods.ssmix import SENTENCES
from mixtext_hf.mixing.spans import text_segments
from mixtext_hf.models.last_token import without_last_token
from mixtext_hf.models.token_kinds import TokenKinds, token_kinds

from .data_handed_over import column_names


if TYPE_CHECKING:
    from .trainer import MixTrainer


def kinds_for(trainer: MixTrainer) -> TokenKinds | None:
    """
    Which ids are no words, by the tokenizer of a trainer; `None` where its method mixes no tokens.

    Raises:
        `ValueError`: if it has no tokenizer, and where the rows of its data have embeddings in place of ids.
    """
    if not trainer.method.reads_tokens:
        return None
    if trainer._trains:
        names = column_names(trainer.train_dataset) or ()
        if "inputs_embeds" in names and TOKENS not in names:
            raise ValueError(
                f"{trainer.method.name} replaces the {TOKENS} of texts, and the rows of `train_dataset` have inputs_embeds in their "
                "place: give rows of ids or of text, or train by another method."
            )
    tokenizer = _tokenizer_of(trainer)
    if tokenizer is not None:
        return token_kinds(tokenizer)
    if trainer._trains:
        raise ValueError(
            f"{trainer.method.name} replaces words and no special tokens, and nothing says which ids are some: give the tokenizer as "
            "processing_class."
        )
    return None


def segments_of(trainer: MixTrainer, inputs: dict[str, Any]) -> torch.Tensor:
    """
    The sentence of each token `(B, T)`, int64, see [`text_segments`]; a text alone is the first sentence of a pair. Where hidden states
    are mixed, the last token belongs to none in a model whose head reads it.

    Raises:
        `ValueError`: if the batch has no ids.
    """
    kinds = trainer._token_kinds
    if TOKENS not in inputs:
        raise ValueError(
            f"{trainer.method.name} replaces the {TOKENS} of texts, and the batch has none, only {', '.join(inputs)}: let the "
            "data_collator make them."
        )
    assert kinds is not None, "A trainer that trains has looked for a tokenizer."
    ids, mask = inputs[TOKENS], inputs.get("attention_mask")
    segments = text_segments(ids, mask, *kinds, sentences=SENTENCES)
    if trainer.method.needs_layers and trainer.mixer.reads_last_token:
        return without_last_token(segments, ids, mask, trainer.mixer.model)
    return segments


def _tokenizer_of(trainer: MixTrainer) -> PreTrainedTokenizerBase | None:
    """What the trainer was given, a processor's part of it, or what its collator has."""
    processor, collator = trainer.processing_class, trainer.data_collator
    for found in (processor, getattr(processor, "tokenizer", None), getattr(collator, "tokenizer", None)):
        if isinstance(found, PreTrainedTokenizerBase):
            return found
    return None
