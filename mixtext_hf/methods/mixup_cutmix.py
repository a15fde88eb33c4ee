"""timm's recipe for vision transformers: each batch is mixed by mixup or by CutMix."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import torch

from mixtext_hf.mixing import Boxes, MixPlan, draw_plan, mix_tensors

from .citation import Citation
from .cutmix import CutMix
from .pixels import check_not_negative


@dataclass(frozen=True)
class MixupCutMix(CutMix):
    """
    Mixup with `alpha` (timm: `mixup_alpha`) or, with the chance `switch_prob`, CutMix with `cutmix_alpha`. With
    `per="example"` all of it is drawn for each row, as timm's mode `elem` does.

    Args:
        cutmix_alpha (`float`): `lam ~ Beta(cutmix_alpha, cutmix_alpha)` where a box is pasted.
        switch_prob (`float`):
            Chance that a batch (with `per="example"`: a row) gets CutMix. As in timm it has no part where one of the two
            alphas is 0: the other is always used.
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
        if has_choice and self.per == "example":
            return self._draw_by_row(batch_size, rng, **about)
        pastes = rng.random() < (self.switch_prob if has_choice else self.cutmix_alpha > 0)
        alpha, sides = (self.cutmix_alpha, self.cutmix_minmax) if pastes else (self.alpha, None)
        of_kind = {**self._of_cutmix(), "alpha": alpha, "cutmix_minmax": sides}
        plan = CutMix(**of_kind).draw(batch_size, rng=rng, **about)
        return plan if pastes else replace(plan, detail=None)

    def _draw_by_row(
        self,
        batch_size: int,
        rng: np.random.Generator,
        *,
        labels: torch.Tensor | None = None,
        lengths: torch.Tensor | None = None,
        unlabeled: int = 0,
        image_size: tuple[int, int] | None = None,
        **about: Any,
    ) -> MixPlan:
        pasted = rng.random(batch_size) < self.switch_prob
        # As in `CutMix.draw`: sides that are drawn make lambda.
        alpha_of_box = self.cutmix_alpha if self.cutmix_minmax is None else 1.0
        plan = draw_plan(
            batch_size,
            alpha=np.where(pasted, alpha_of_box, self.alpha),
            rng=rng,
            fold=self.fold,
            per=self.per,
            prob=self.prob,
            **self.pairing(batch_size, labels, lengths, unlabeled),
        )
        boxed = self.with_boxes(plan, rng, image_size)
        if not isinstance(boxed.detail, Boxes):
            return plan
        gets_box = torch.from_numpy(pasted)
        boxes = Boxes(boxed.detail.edges.masked_fill(~gets_box.unsqueeze(1), 0), gets_box)
        return replace(plan, lam=torch.where(gets_box, boxed.lam, plan.lam), detail=boxes)

    def _of_cutmix(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in CutMix.field_names()}

    def mix(self, images: torch.Tensor, plan: MixPlan) -> tuple[torch.Tensor, torch.Tensor]:
        if not isinstance(plan.detail, Boxes):
            return mix_tensors(images, plan.index, plan.lam), plan.lam
        boxed, weight = super().mix(images, plan)
        if (pasted := plan.detail.pasted) is None:
            return boxed, weight
        mixed = mix_tensors(images, plan.index, plan.lam)
        return torch.where(pasted.view(-1, 1, 1, 1), boxed, mixed), torch.where(pasted, weight, plan.lam)
