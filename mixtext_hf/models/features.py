"""Features of texts from an encoder as it is: the mean of the last hidden states over real tokens, of length 1.

Mean pooling needs no head and suits every encoder; the first token alone carries a text only after training for it
(Reimers & Gurevych, EMNLP 2019, table 6).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from .stack import unwrap


def mean_pooled_features(model: nn.Module, inputs: Mapping[str, Any]) -> torch.Tensor:
    """
    Args:
        model (`PreTrainedModel` or `PeftModel`): A classifier; its `base_model` is asked, without a head.
        inputs (`dict[str, torch.Tensor]`): A batch without labels; rows are padded where `attention_mask` is 0.

    Returns:
        `torch.Tensor` of shape `(B, D)`, float32; each row of length 1.
    """
    encoder = unwrap(model).base_model
    hidden = encoder(**inputs)[0].float()
    mask = inputs.get("attention_mask")
    if mask is None:
        pooled = hidden.mean(dim=1)
    else:
        weights = mask.to(hidden.dtype).unsqueeze(-1)
        pooled = (hidden * weights).sum(dim=1) / weights.sum(dim=1).clamp_min(1)
    return nn.functional.normalize(pooled, dim=-1)
