"""The ground floor: tensors in, tensors out. Knows no model and no trainer."""

from .details import Blocks, Boxes, Cells, SpanDraws, TokenOrder, TokenShares
from .devices import to_device
from .interpolation import mix_tensors, mix_tokens, union_mask
from .long_tail import LongTail
from .patches import PatchAttention
from .plan import HEAD, MixPlan, draw_plan
from .targets import (
    HIDDEN_SCORE,
    IGNORE_INDEX,
    MixedLoss,
    has_label,
    jensen_shannon_divergence,
    mix_targets,
    mixed_cross_entropy,
    sharpen,
    soft_cross_entropy,
    soft_kl_divergence,
    to_targets,
)
from .token_order import permute_places
from .token_targets import TokenLoss, mix_token_targets, to_token_targets


__all__ = [
    "HEAD",
    "HIDDEN_SCORE",
    "IGNORE_INDEX",
    "Blocks",
    "Boxes",
    "Cells",
    "LongTail",
    "MixPlan",
    "MixedLoss",
    "PatchAttention",
    "SpanDraws",
    "TokenLoss",
    "TokenOrder",
    "TokenShares",
    "draw_plan",
    "has_label",
    "jensen_shannon_divergence",
    "mix_targets",
    "mix_tensors",
    "mix_token_targets",
    "mix_tokens",
    "mixed_cross_entropy",
    "permute_places",
    "sharpen",
    "soft_cross_entropy",
    "soft_kl_divergence",
    "to_device",
    "to_targets",
    "to_token_targets",
    "union_mask",
]
