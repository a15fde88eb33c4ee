"""timm's recipe for vision transformers: each batch is mixed by mixup or by CutMix."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import torch

from mixtext_hf.mixing import Boxes, MixPlan, mix_tensors

from .base import Citation
from .cutmix import CutMix
from .pixels import check_not_negative


@dataclass(frozen=True)
class MixupCutMix(CutMix):
    """
    Mixup with `alpha` (timm: `mixup_alpha`) or, with the chance `switch_prob`, CutMix with `cutmix_alpha`.

    Args:
        cutmix_alpha (`float`): `lam ~ Beta(cutmix_alpha, cutmix_alpha)` where a box is pasted.
        switch_prob (`float`):
            Chance that a batch gets CutMix. As in timm it has no part where one of the two alphas is 0: the other is
            always used.
    """

    alpha: float = 0.8
    cutmix_alpha: float = 1.0
    switch_prob: float = 0.5

    name: ClassVar[str] = "mixup_cutmix"
    equation: ClassVar[str] = "mixup with probability 1 - switch_prob, CutMix with probability switch_prob"
    aliases: ClassVar[dict[str, str]] = {"mixup_alpha": "alpha"}
    citation: ClassVar[Citation] = Citation(
        authors="Touvron, H., Cord, M., Douze, M., Massa, F., Sablayrolles, A. and Jegou, H.",
        title="Training data-efficient image transformers & distillation through attention",
        venue="ICML",
        year=2021,
        url="https://arxiv.org/abs/2012.12877",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        check_not_negative(cutmix_alpha=self.cutmix_alpha, switch_prob=self.switch_prob)
        if self.switch_prob > 1:
            raise ValueError(f"switch_prob must lie in [0, 1], got {self.switch_prob}.")

    def draw(self, batch_size: int, *, rng: np.random.Generator, **about: Any) -> MixPlan:
        has_choice = self.alpha > 0 and self.cutmix_alpha > 0
        pastes = rng.random() < (self.switch_prob if has_choice else self.cutmix_alpha > 0)
        alpha = self.cutmix_alpha if pastes else self.alpha
        plan = CutMix(**{**self._of_cutmix(), "alpha": alpha}).draw(batch_size, rng=rng, **about)
        return plan if pastes else replace(plan, detail=None)

    def _of_cutmix(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in CutMix.field_names()}

    def mix(self, images: torch.Tensor, plan: MixPlan) -> tuple[torch.Tensor, torch.Tensor]:
        if isinstance(plan.detail, Boxes):
            return super().mix(images, plan)
        return mix_tensors(images, plan.index, plan.lam), plan.lam
