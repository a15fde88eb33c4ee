"""mixup (Zhang et al., ICLR 2018): the convex combination of two images and of their labels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from mixtext_hf.mixing import MixPlan, mix_tensors

from .base import Preset
from .citation import Citation
from .pixels import PixelMix


@dataclass(frozen=True)
class Mixup(PixelMix):
    """
    Mix the pixels of two images. To fine-tune a ViT, `alpha` 0.8 is usual (Touvron et al. 2021). The preset `regmixup` mixes
    strongly and keeps the images as they are beside the mixed ones (Pinto et al. 2022).
    """

    name: ClassVar[str] = "mixup"
    equation: ClassVar[str] = "x <- lam x_i + (1 - lam) x_j,  y <- lam y_i + (1 - lam) y_j,  lam ~ Beta(alpha, alpha)"
    aliases: ClassVar[dict[str, str]] = {"mixup_alpha": "alpha"}
    presets: ClassVar[dict[str, Preset]] = {"regmixup": Preset({"alpha": 10.0, "clean_lam": 1.0}, {})}
    citation: ClassVar[Citation] = Citation(
        authors="Zhang, H., Cisse, M., Dauphin, Y. N. and Lopez-Paz, D.",
        title="mixup: Beyond Empirical Risk Minimization",
        venue="ICLR",
        year=2018,
        url="https://openreview.net/forum?id=r1Ddp1-Rb",
    )

    def mix(self, images: torch.Tensor, plan: MixPlan) -> tuple[torch.Tensor, torch.Tensor]:
        return mix_tensors(images, plan.index, plan.lam), plan.lam
