"""ResizeMix (Qin et al. 2020): the whole partner, made small, pasted into the image."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import torch

from mixtext_hf.mixing import BoxCentre, MixPlan
from mixtext_hf.mixing.boxes import resizemix

from .base import Citation
from .pixels import PixelMix, check_positive, is_identity, with_box_centre


@dataclass(frozen=True)
class ResizeMix(PixelMix):
    """
    Paste the partner resized by `tau ~ U(tau_min, tau_max)`: no object is cut. `alpha` has no part in it, but that 0 mixes
    nothing.

    Args:
        tau_min, tau_max (`float`): Smallest and largest side of the pasted image, as a share of the image's.
    """

    tau_min: float = 0.1
    tau_max: float = 0.8

    name: ClassVar[str] = "resizemix"
    equation: ClassVar[str] = "x <- x_i with Resize(x_j, tau) pasted,  lam = 1 - tau^2,  tau ~ U(tau_min, tau_max)"
    citation: ClassVar[Citation] = Citation(
        authors="Qin, J., Fang, J., Zhang, Q., Liu, W., Wang, X. and Wang, X.",
        title="ResizeMix: Mixing Data with Preserved Object Information and True Labels",
        venue="Computational Visual Media",
        year=2023,
        url="https://arxiv.org/abs/2012.11101",
        kind="article",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        check_positive(tau_min=self.tau_min, tau_max=self.tau_max)
        if not 0 < self.tau_min <= self.tau_max <= 1:
            raise ValueError(
                f"tau_min={self.tau_min} and tau_max={self.tau_max} must satisfy 0 < tau_min <= tau_max <= 1."
            )
        if self.fold:
            raise ValueError(f"mix_fold=True was given, but {self.name} draws sizes, not lambdas: drop it.")

    def draw(self, batch_size: int, *, rng: np.random.Generator, **about: Any) -> MixPlan:
        # With a small alpha many lambdas round to 1, and their rows would have lost their partners.
        uniform = replace(self, alpha=float(self.alpha > 0))
        plan = super(ResizeMix, uniform).draw(batch_size, rng=rng, **about)
        tau = rng.uniform(self.tau_min, self.tau_max, size=batch_size if self.per == "example" else 1)
        if is_identity(plan):
            return plan
        lam = np.broadcast_to(1 - tau**2, (batch_size,)).astype(np.float32)
        return with_box_centre(replace(plan, lam=torch.from_numpy(lam)), rng, per=self.per)

    def mix(self, images: torch.Tensor, plan: MixPlan) -> tuple[torch.Tensor, torch.Tensor]:
        if not isinstance(plan.detail, BoxCentre):
            return images, plan.lam
        return resizemix(images, plan.index, (1 - plan.lam).sqrt(), plan.detail.centre)
