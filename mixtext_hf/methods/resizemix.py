"""ResizeMix (Qin et al. 2020): the whole partner, made small, pasted into the image."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import torch

from mixtext_hf.mixing import Boxes, MixPlan
from mixtext_hf.mixing.boxes import paste_resized, resizemix_box

from .citation import Citation
from .pixels import PixelMix, boxes_of, check_not_negative, draw_centre, is_identity, size_for


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
        check_not_negative(tau_min=self.tau_min, tau_max=self.tau_max)
        if not 0 < self.tau_min <= self.tau_max <= 1:
            raise ValueError(
                f"tau_min={self.tau_min} and tau_max={self.tau_max} must satisfy 0 < tau_min <= tau_max <= 1."
            )
        if self.fold:
            raise ValueError(f"mix_fold=True was given, but {self.name} draws sizes, not lambdas: drop it.")

    @property
    def draws_lambda(self) -> bool:
        return False

    def draw(
        self, batch_size: int, *, rng: np.random.Generator, image_size: tuple[int, int] | None = None, **about: Any
    ) -> MixPlan:
        # With a small alpha many lambdas round to 1, and their rows would have lost their partners.
        uniform = replace(self, alpha=float(self.alpha > 0))
        plan = super(ResizeMix, uniform).draw(batch_size, rng=rng, **about)
        tau = rng.uniform(self.tau_min, self.tau_max, size=batch_size if self.per == "example" else 1)
        if is_identity(plan):
            return plan
        lam = torch.from_numpy(np.broadcast_to(1 - tau**2, (batch_size,)).astype(np.float32))
        # Rows that are not mixed stay so.
        lam = torch.where(plan.lam == 1, 1.0, lam)
        centre = draw_centre(batch_size, rng, per=self.per)
        return replace(plan, lam=lam, detail=Boxes(self.boxes(lam, centre, size_for(self.name, image_size))))

    def boxes(self, lam: torch.Tensor, centre: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
        return resizemix_box((1 - lam).sqrt(), centre, size)

    def mix(self, images: torch.Tensor, plan: MixPlan) -> tuple[torch.Tensor, torch.Tensor]:
        if (boxes := boxes_of(plan)) is None:
            return images, plan.lam
        return paste_resized(images, plan.index, boxes)
