"""How texts are padded for a classifier whose head reads their last token: by which token, and, where it is mixed, on the left."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from itertools import takewhile
from typing import TYPE_CHECKING, Any

from transformers import PreTrainedTokenizerBase

from mixtext_hf.models.last_token import (
    LEFT_PADDING,
    agree_on_padding,
    check_same_place,
    give_padding_token,
    is_decoder,
    pad_on_the_left,
    padding_id,
)

from .lengths import token_columns


if TYPE_CHECKING:
    from .trainer import MixTrainer


logger = logging.getLogger(__name__)


def settle_padding(trainer: MixTrainer) -> None:
    """
    Make the tokenizers of a trainer, and the config of its model, say how texts are padded, where the head reads their last token; those of
    decoders with another head get a padding token. What is changed is said.

    Raises:
        `ValueError`: if there is no padding token, and none that could be it, or if two tokenizers have different ones.
    """
    model, reads = trainer.mixer.model, trainer.mixer.reads_last_token
    if trainer._takes_pixels or not (reads or is_decoder(model.config)):
        return
    settle = give_padding_token
    if reads:
        settle = pad_on_the_left if trainer.method.needs_layers else agree_on_padding
    tokenizers = _tokenizers(trainer)
    named = {one.pad_token: one.pad_token_id for one in tokenizers if one.pad_token_id is not None}
    if reads and len(set(named.values())) > 1:
        raise ValueError(
            f"The tokenizers of data_collator and processing_class pad by different tokens, {' and '.join(map(repr, named))}, and "
            f"{type(model).__name__} finds the last token of a text by one: give both the same tokenizer."
        )
    for tokenizer in tokenizers:
        for sentence in settle(tokenizer, model):
            if trainer.args.process_index == 0:
                logger.warning(sentence)


def _tokenizers(trainer: MixTrainer) -> list[PreTrainedTokenizerBase]:
    """What the texts are padded by, and what is saved; mostly one."""
    collator, processor = trainer.data_collator, trainer.processing_class
    found = (getattr(collator, "tokenizer", None), getattr(processor, "tokenizer", None), processor)
    return list({id(one): one for one in found if isinstance(one, PreTrainedTokenizerBase)}.values())


def check_batch(trainer: MixTrainer, inputs: dict[str, Any]) -> None:
    """[`check_same_place`] of a batch whose hidden states are mixed in a compiled model, where its hooks cannot."""
    mixer = trainer.mixer
    if trainer.args.torch_compile and trainer.method.needs_layers and mixer.reads_last_token:
        check_same_place(
            mixer.model, inputs.get("input_ids"), inputs.get("attention_mask"), inputs.get("position_ids")
        )


def check_padded_rows(trainer: MixTrainer) -> None:
    """
    Check the rows of tokenised data sets whose hidden states are mixed: they may bring padding along.

    Raises:
        `ValueError`: that names the data set and the row, for a text without a token, and for padding on the right of some texts.
    """
    model, pad = trainer.mixer.model, padding_id(trainer.mixer.model.config)
    if not trainer.mixer.reads_last_token or not trainer.method.needs_layers or pad is None:
        return
    named = {"train_dataset": trainer.train_dataset}
    if trainer.method.uses_unlabeled:
        named["unlabeled_dataset"] = trainer.unlabeled_dataset
    first: tuple[str, int, int] | None = None
    for argument, data in named.items():
        for row, ids in enumerate(_rows_of_ids(data)):
            padding = sum(1 for _ in takewhile(lambda token: token == pad, reversed(ids)))
            if padding == len(ids):
                raise ValueError(
                    f"Row {row} of `{argument}` has no token but padding, and the head of {type(model).__name__} reads the last one: "
                    "leave it out."
                )
            first = first or (argument, row, padding)
            if padding != first[2]:
                raise ValueError(
                    f"Row {row} of `{argument}` ends in {padding} tokens of padding (id {pad}), row {first[1]} of `{first[0]}` in "
                    f"{first[2]}: the head of {type(model).__name__} reads the last token that is none, and the hidden states of two "
                    f"texts can be mixed only where both are read at the same place. {LEFT_PADDING}; best tokenise without padding."
                )


def _rows_of_ids(data: Any) -> Iterator[list[int]]:
    for column in token_columns(data):
        for ids in column:
            yield ids.as_py() or []
