"""CutMix (Yun et al., ICCV 2019): a box of one image pasted into another, labels mixed by area."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import torch

from mixtext_hf.mixing import Boxes, MixPlan
from mixtext_hf.mixing.boxes import cutmix_box, paste_boxes

from .base import Citation
from .pixels import PixelMix, boxes_of, draw_centre, is_identity, size_for


@dataclass(frozen=True)
class CutMix(PixelMix):
    """
    Paste a box of side `sqrt(1 - lam)` of the partner, its centre uniform, clipped at the border.

    Args:
        correct_lam (`bool`): Whether the label follows the area that is really left of the image; else `lam` as drawn.
    """

    correct_lam: bool = True

    name: ClassVar[str] = "cutmix"
    equation: ClassVar[str] = "x <- M x_i + (1 - M) x_j,  y <- lam y_i + (1 - lam) y_j,  lam = area of M"
    aliases: ClassVar[dict[str, str]] = {"cutmix_alpha": "alpha"}
    citation: ClassVar[Citation] = Citation(
        authors="Yun, S., Han, D., Oh, S. J., Chun, S., Choe, J. and Yoo, Y.",
        title="CutMix: Regularization Strategy to Train Strong Classifiers with Localizable Features",
        venue="ICCV",
        year=2019,
        url="https://arxiv.org/abs/1905.04899",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.correct_lam, bool):
            raise ValueError(f"correct_lam must be true or false, got {self.correct_lam!r}.")

    def draw(
        self, batch_size: int, *, rng: np.random.Generator, image_size: tuple[int, int] | None = None, **about: Any
    ) -> MixPlan:
        plan = super().draw(batch_size, rng=rng, **about)
        centre = draw_centre(batch_size, rng, per=self.per)
        if is_identity(plan):
            return plan
        return replace(plan, detail=Boxes(self.boxes(plan.lam, centre, size_for(self.name, image_size))))

    def boxes(self, lam: torch.Tensor, centre: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
        return cutmix_box(lam, centre, size)

    def mix(self, images: torch.Tensor, plan: MixPlan) -> tuple[torch.Tensor, torch.Tensor]:
        if (boxes := boxes_of(plan)) is None:
            return images, plan.lam
        mixed, weight = paste_boxes(images, plan.index, boxes)
        return mixed, weight if self.correct_lam else plan.lam
