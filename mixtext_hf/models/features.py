"""Features of texts from an encoder as it is: the mean of the last hidden states over real tokens, of length 1, or what a checkpoint of
sentence-transformers says.

Mean pooling needs no head and suits every encoder; the first token alone carries a text only after training for it
(Reimers & Gurevych, EMNLP 2019, table 6).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

from .mean_pooling import mean_over_tokens
from .sentence_checkpoint import ACTIVATIONS, Dense, Normalize, Truncate
from .sentence_modules import sentence_modules_of
from .stack import unwrap


def text_features(model: nn.Module, inputs: Mapping[str, Any]) -> torch.Tensor:
    """
    Of a model from a checkpoint of sentence-transformers, the numbers that its `encode` gives for the same tokens.

    Args:
        model (`PreTrainedModel` or `PeftModel`): A classifier or an encoder; its `base_model` is asked, without a head.
        inputs (`dict[str, torch.Tensor]`): A batch without labels; rows are padded where `attention_mask` is 0.

    Returns:
        `torch.Tensor` of shape `(B, D)`, float32; each row of length 1, unless the checkpoint says otherwise.

    Raises:
        `ValueError`: if the checkpoint has modules that are not understood, or for hidden states of another width.
    """
    inner = unwrap(model)
    modules = sentence_modules_of(inner)
    encoder: Any = inner.base_model
    if inner.config.is_encoder_decoder:
        encoder = encoder.get_encoder()
    hidden = encoder(**inputs)[0].float()
    if modules.dimension not in (None, hidden.shape[-1]):
        raise ValueError(
            f"{modules.name!r} pools hidden states of {modules.dimension} units, and the model has {hidden.shape[-1]}: the "
            "folders of its modules do not belong together; get it again."
        )
    pooled = pool(hidden, inputs.get("attention_mask"), modules.poolings)
    with torch.autocast(pooled.device.type, enabled=False):
        for step in modules.steps:
            if isinstance(step, Normalize):
                pooled = nn.functional.normalize(pooled, dim=-1)
            elif isinstance(step, Truncate):
                pooled = pooled[:, : step.dimension]
            else:
                _check_width(modules.name, step, pooled)
                pooled = _dense(step, pooled)
    return pooled


def pool(hidden: torch.Tensor, mask: torch.Tensor | None, poolings: Sequence[str]) -> torch.Tensor:
    r"""
    One vector a text of its hidden states, as the `Pooling` of sentence-transformers 6 makes it.

    With `h_t` the states of the `n` real tokens `t = 1 .. n`: `cls` is `h_1`, `lasttoken` `h_n`, `max` the largest of each unit, `mean`
    `\sum h_t / n`, `mean_sqrt_len_tokens` `\sum h_t / \sqrt n`, and `weightedmean` `\sum t h_t / \sum t`. A text without a token is 0.

    Args:
        hidden (`torch.Tensor` of shape `(B, L, D)`, float32): The output of the last layer.
        mask (`torch.Tensor` of shape `(B, L)`, *optional*): 1 where a token is real, on either side; `None`: everywhere.
        poolings (`Sequence[str]`): Of [`~mixtext_hf.models.sentence_checkpoint.POOLINGS`].

    Returns:
        `torch.Tensor` of shape `(B, D * len(poolings))`, in the order of `poolings`.
    """
    real = hidden.new_ones(hidden.shape[:2], dtype=torch.bool) if mask is None else mask.bool()
    return torch.cat([_pooled(hidden, real, name) for name in poolings], dim=-1)


def _pooled(hidden: torch.Tensor, real: torch.Tensor, name: str) -> torch.Tensor:
    if name == "mean":
        return mean_over_tokens(hidden, real)
    if name == "mean_sqrt_len_tokens":
        return mean_over_tokens(hidden, real) * real.sum(dim=1, keepdim=True).sqrt()
    here = real.unsqueeze(-1)
    if name == "max":
        return hidden.masked_fill(~here, -torch.inf).amax(dim=1).masked_fill(~here.any(dim=1), 0.0)
    places = real.cumsum(dim=1) * real
    if name == "weightedmean":
        weights = places.to(hidden.dtype).unsqueeze(-1)
        return (hidden.masked_fill(~here, 0.0) * weights).sum(dim=1) / weights.sum(dim=1).clamp_min(1)
    place = places == (1 if name == "cls" else places.amax(dim=1, keepdim=True))
    return hidden.masked_fill(~(place & real).unsqueeze(-1), 0.0).sum(dim=1)


def _check_width(name: str, step: Dense, pooled: torch.Tensor) -> None:
    if step.weight.shape[1] != pooled.shape[-1]:
        raise ValueError(
            f"A dense layer of {name!r} takes {step.weight.shape[1]} numbers, and there are {pooled.shape[-1]} before it: the folders of "
            "its modules do not belong together; get it again."
        )


def _dense(step: Dense, pooled: torch.Tensor) -> torch.Tensor:
    bias = None if step.bias is None else step.bias.to(pooled.device)
    made: torch.Tensor = ACTIVATIONS[step.activation]()(
        nn.functional.linear(pooled, step.weight.to(pooled.device), bias)
    )
    if step.adds_input:
        made = made + (pooled if step.residual is None else pooled @ step.residual.to(pooled.device).T)
    return made
