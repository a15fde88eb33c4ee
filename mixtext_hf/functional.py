"""The stable functional face: what a training loop of one's own needs, and nothing else.

Names listed here do not change without a deprecation.
"""

from .mixing import (
    MixedLoss,
    MixPlan,
    draw_plan,
    mix_targets,
    mix_tensors,
    mixed_cross_entropy,
    soft_cross_entropy,
    union_mask,
)
from .mixing.graph_cut import solve_grid_cut
from .mixing.puzzle import puzzle_mix
from .mixing.spans import paste_spans, text_segments, token_saliency
from .mixing.transport import transport
from .models import Mixer, make_mixable
from .models.token_kinds import token_kinds


__all__ = [
    "MixPlan",
    "MixedLoss",
    "Mixer",
    "draw_plan",
    "make_mixable",
    "mix_targets",
    "mix_tensors",
    "mixed_cross_entropy",
    "paste_spans",
    "puzzle_mix",
    "soft_cross_entropy",
    "solve_grid_cut",
    "text_segments",
    "token_kinds",
    "token_saliency",
    "transport",
    "union_mask",
]
