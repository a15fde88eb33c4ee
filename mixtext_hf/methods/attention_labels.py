"""Labels by attention (Chen et al., CVPR 2022): the weight of an image is what [CLS] attends to of it, not how much of it is shown."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass

import torch

from mixtext_hf._numbers import is_number
from mixtext_hf.mixing import MixPlan, PatchAttention
from mixtext_hf.mixing.patches import attended_weight

from .base import Step
from .pixels import PIXELS, PixelMix


@dataclass(frozen=True)
class AttentionLabels(PixelMix):
    """
    Base of the methods that paste parts of the partner and may weigh the labels by the attention of the pass on the mixed
    images, for which no second pass is made. The attention is a constant: no gradient goes through the weights.

    Args:
        area_share (`float`): How much of the label weight is by area; the rest is by attention. With 1 any model will do.
    """

    area_share: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not is_number(self.area_share) or not 0 <= self.area_share <= 1:
            raise ValueError(f"area_share must lie in [0, 1], got {self.area_share!r}.")

    @property
    def needs_attention(self) -> bool:
        return self.area_share < 1

    @abstractmethod
    def partner_patches(self, plan: MixPlan, attention: PatchAttention) -> torch.Tensor:
        """Which patches `(B, rows, columns)` bool show the partner under a plan that has a detail."""

    def losses(self, step: Step) -> Iterator[dict[str, torch.Tensor]]:
        plan = self.pairs_of(step)
        images, area = self.mix(step.inputs[PIXELS], plan)
        if plan.detail is None or not self.needs_attention:
            yield self.mixed_loss(step, plan, images, area)
            return

        def weight(attention: PatchAttention) -> torch.Tensor:
            by_attention = attended_weight(attention, self.partner_patches(plan, attention), area)
            return torch.lerp(by_attention, area, self.area_share)

        yield self.mixed_loss(step, plan, images, weight)
