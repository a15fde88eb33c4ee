"""Classifiers whose head reads the last token of a row that is no padding: decoders (Llama, Qwen, Gemma, Mistral, ...).

Which token that is, transformers finds by the ids of the row itself. Two rows can be mixed where theirs stand at the same place: padded
on the left, at the last one. Here is which models these are, where their rows are read, and what a tokenizer must say for it.
"""

from __future__ import annotations

from typing import Any

import torch
from transformers import PreTrainedModel
from transformers.configuration_utils import PreTrainedConfig
from transformers.modeling_layers import GenericForSequenceClassification
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES, MODEL_FOR_MASKED_LM_MAPPING_NAMES

from .mean_pooling import MeanPoolingForSequenceClassification
from .modality import classifies_tokens


LEFT_PADDING = "Pad on the left, tokenizer.padding_side = 'left', where it is the last one in every row (MixTrainer and the commands do so)"


def is_decoder(config: PreTrainedConfig) -> bool:
    """Whether a config is that of a causal model, of which a token sees those before it, by its type; `is_causal=False` changes nothing here."""
    kind = config.model_type
    is_causal = kind in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES and kind not in MODEL_FOR_MASKED_LM_MAPPING_NAMES
    return is_causal and not getattr(config, "is_encoder_decoder", False)


def reads_last_token(model: PreTrainedModel) -> bool:
    """Whether the head of a classifier reads the last token of a row that is no padding, by its class or its type."""
    if isinstance(model, MeanPoolingForSequenceClassification) or classifies_tokens(model):
        return False
    return isinstance(model, GenericForSequenceClassification) or is_decoder(model.config)


def check_same_place(
    model: PreTrainedModel,
    input_ids: torch.Tensor | None,
    attention_mask: Any = None,
    position_ids: torch.Tensor | None = None,
) -> None:
    """
    Raise unless the head of a model reads all rows of a batch at the same place, and numbers their tokens alike: then two of them can be
    mixed.

    Args:
        model (`PreTrainedModel`): Whose head reads the last token.
        input_ids (`torch.Tensor` of shape `(B, L)`, int64, *optional*): What it is called with; `None`: with embeddings.
        attention_mask (`torch.Tensor` of shape `(B, L)`, *optional*): 1 at real tokens; masks of other shapes are not looked at.
        position_ids (`torch.Tensor` of shape `(B or 1, L)`, int64, *optional*): Where they are given.

    Raises:
        `ValueError`: for embeddings, for padding on the right, and for rows that differ in `position_ids`.
    """
    name = type(model).__name__
    if input_ids is None:
        raise ValueError(
            f"{name} was called with inputs_embeds (as a soft prompt of PEFT does), and where its head reads a text is found by the "
            "input_ids: give these to mix its hidden states."
        )
    if len(input_ids) < 2:
        return
    pad = padding_id(model.config)
    if pad is None:
        raise ValueError(
            f"config.pad_token_id of {name} is None, by which its head finds the last token of a text: set it to tokenizer.pad_token_id."
        )
    masks = [input_ids != pad]
    if isinstance(attention_mask, torch.Tensor) and attention_mask.dim() == 2:
        masks.append(attention_mask.to(input_ids.device) != 0)
    places = torch.stack([_last_place(mask) for mask in masks])
    # One number, for there may be a device to wait for.
    if bool((places != places[:, :1]).any()):
        _refuse(name, places.tolist(), input_ids.shape[1])
    if position_ids is not None and position_ids.dim() == 2 and bool((position_ids != position_ids[:1]).any()):
        raise ValueError(
            f"The position_ids that {name} was called with differ between the rows, and two texts are mixed position by position: leave "
            "them out."
        )


def without_last_token(
    segments: torch.Tensor, input_ids: torch.Tensor, attention_mask: torch.Tensor | None, model: PreTrainedModel
) -> torch.Tensor:
    """
    Take the token that the head reads for a special one, as `[CLS]` is in an encoder: in it is what a text says of its label.

    Args:
        segments (`torch.Tensor` of shape `(B, T)`, int64): The sentence of each token, 0 = none; never changed in place.
        input_ids (`torch.Tensor` of shape `(B, T)`, int64): Of the same rows.
        attention_mask (`torch.Tensor` of shape `(B, T)`, *optional*): For models without a padding token.
        model (`PreTrainedModel`): Whose head reads the last token.

    Returns:
        `torch.Tensor` of shape `(B, T)`, int64.
    """
    pad = padding_id(model.config)
    if pad is not None:
        is_real = input_ids != pad
    else:
        is_real = torch.ones_like(input_ids) if attention_mask is None else attention_mask
    return segments.scatter(1, _last_place(is_real.bool()).clamp(min=0).unsqueeze(1), 0)


def _last_place(is_real: torch.Tensor) -> torch.Tensor:
    """Of each row `(B, L)`, where its last real token is `(B,)`; -1 if it has none."""
    places = torch.arange(is_real.shape[1], device=is_real.device)
    return torch.where(is_real, places, -1).amax(dim=1)


def _refuse(name: str, found: list[list[int]], length: int) -> None:
    """With the rows that show it, by the ids or else by the mask."""
    places = next(of_rows for of_rows in found if len(set(of_rows)) > 1)
    first, last = min(range(len(places)), key=places.__getitem__), max(range(len(places)), key=places.__getitem__)
    where = "has no token" if places[first] < 0 else f"ends at position {places[first]}"
    raise ValueError(
        f"The head of {name} reads the last token of a row that is no padding: row {first} of this batch {where}, row {last} ends at "
        f"position {places[last]} of {length}, and the hidden states of two texts can be mixed only where both are read at the same place. "
        f"{LEFT_PADDING}; leave out rows without a token, and such as end in the padding token."
    )


# ---- the padding token ----


def padding_id(config: PreTrainedConfig) -> int | None:
    """The id by which such a head tells padding from tokens."""
    return getattr(config.get_text_config(), "pad_token_id", None)


def give_padding_token(tokenizer: Any, model: PreTrainedModel) -> list[str]:
    """
    Give a tokenizer that has no padding token, as those of decoders, the one that its model's config names, or else the one that ends a
    text, in place.

    Args:
        tokenizer (`PreTrainedTokenizerBase`): Of the model.
        model (`PreTrainedModel`): Whose config may name a padding token.

    Returns:
        `list[str]`: What was changed, as sentences.

    Raises:
        `ValueError`: if there is no padding token, and none that could be it.
    """
    if tokenizer.pad_token_id is not None:
        return []
    known = padding_id(model.config)
    token = tokenizer.convert_ids_to_tokens(known) if known is not None and 0 <= known < len(tokenizer) else None
    if token is not None:
        whose = "that of config.pad_token_id"
    elif tokenizer.eos_token is not None:
        token, whose = tokenizer.eos_token, "the one that ends a text"
    else:
        raise ValueError(
            f"The tokenizer of {type(model).__name__} has no padding token, and none that ends a text (eos_token), which could be it: "
            "set tokenizer.pad_token to a token that no text holds."
        )
    tokenizer.pad_token = token
    return [f"The tokenizer has no padding token: it is {token!r} now, {whose}."]


def agree_on_padding(tokenizer: Any, model: PreTrainedModel) -> list[str]:
    """
    [`give_padding_token`], for a model whose head reads the last token: its config names the same one as the tokenizer, in place.

    Args:
        tokenizer (`PreTrainedTokenizerBase`): Of the model.
        model (`PreTrainedModel`): As for [`reads_last_token`].

    Returns:
        `list[str]`: What was changed, as sentences.

    Raises:
        `ValueError`: if there is no padding token, and none that could be it.
    """
    config, said = model.config.get_text_config(), give_padding_token(tokenizer, model)
    if config.pad_token_id != tokenizer.pad_token_id:
        said.append(
            f"config.pad_token_id is {tokenizer.pad_token_id} now, that of the tokenizer (it was {config.pad_token_id}): by it "
            f"{type(model).__name__} finds the last token of a text."
        )
        config.pad_token_id = tokenizer.pad_token_id
    return said


def pad_on_the_left(tokenizer: Any, model: PreTrainedModel) -> list[str]:
    """[`agree_on_padding`], for a model whose hidden states are mixed: the tokenizer pads on the left as well, and is saved so."""
    said = agree_on_padding(tokenizer, model)
    if tokenizer.padding_side != "left":
        said.append(
            f"{type(model).__name__} reads the last token of a text: texts are padded on the left, and the tokenizer is saved so."
        )
        tokenizer.padding_side = "left"
    # transformers saves of a tokenizer what it was made with: a side that was never named then would be lost.
    tokenizer.init_kwargs["padding_side"] = "left"
    return said
