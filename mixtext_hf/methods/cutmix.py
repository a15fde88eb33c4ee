"""CutMix (Yun et al., ICCV 2019): a box of one image pasted into another, labels mixed by area."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import torch

from mixtext_hf._numbers import is_number
from mixtext_hf.mixing import Boxes, MixPlan
from mixtext_hf.mixing.boxes import cutmix_box, inner_box, paste_boxes, share_outside

from .citation import Citation
from .pixels import PixelMix, boxes_of, draw_centre, is_identity, size_for


@dataclass(frozen=True)
class CutMix(PixelMix):
    """
    Paste a box of side `sqrt(1 - lam)` of the partner, its centre uniform, clipped at the border.

    Args:
        correct_lam (`bool`): Whether the label follows the area that is really left of the image; else `lam` as drawn.
        cutmix_minmax (`tuple[float, float]`, *optional*):
            Draw height and width of the box, each by itself, from `U(min, max)` of the image's sides, in place of `lam`: the box
            lies in the image as a whole, and `lam` is the area around it. `alpha` has then no part in it, but that 0 pastes
            nothing.
    """

    correct_lam: bool = True
    cutmix_minmax: tuple[float, float] | None = None

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
        self._check_minmax()

    def _check_minmax(self) -> None:
        sides: Any = self.cutmix_minmax
        if sides is None:
            return
        is_pair = isinstance(sides, Sequence) and not isinstance(sides, str) and len(sides) == 2
        if not is_pair or not all(map(is_number, sides)) or not 0 < sides[0] <= sides[1] <= 1:
            raise ValueError(
                f"cutmix_minmax must be two shares of a side, 0 < min <= max <= 1, such as [0.2, 0.8], got {sides!r}."
            )
        if self.fold:
            raise ValueError(
                f"mix_fold=True was given, and cutmix_minmax={list(sides)} draws sides, not lambdas: drop one of them."
            )
        object.__setattr__(self, "cutmix_minmax", (float(sides[0]), float(sides[1])))

    def draw(
        self, batch_size: int, *, rng: np.random.Generator, image_size: tuple[int, int] | None = None, **about: Any
    ) -> MixPlan:
        # Where sides are drawn, lambda says no more than which rows are mixed: none may round to 1.
        drawn = self if self.cutmix_minmax is None else replace(self, alpha=float(self.alpha > 0))
        plan = super(CutMix, drawn).draw(batch_size, rng=rng, **about)
        return self.with_boxes(plan, rng, image_size)

    def with_boxes(self, plan: MixPlan, rng: np.random.Generator, image_size: tuple[int, int] | None) -> MixPlan:
        """A plan that was just drawn, with the box of each row, all chance from `rng`; as it is if it mixes nothing."""
        batch_size = len(plan)
        centre = draw_centre(batch_size, rng, per=self.per)
        shares = self._draw_sides(batch_size, rng)
        if is_identity(plan):
            return plan
        size = size_for(self.name, image_size)
        if shares is None:
            return replace(plan, detail=Boxes(self.boxes(plan.lam, centre, size)))
        boxes = inner_box(shares, centre, size)
        lam = torch.where(plan.lam == 1, 1.0, share_outside(boxes, size[0] * size[1]))
        return replace(plan, lam=lam, detail=Boxes(boxes))

    def _draw_sides(self, batch_size: int, rng: np.random.Generator) -> torch.Tensor | None:
        """Height and width of the boxes `(B, 2)` in sides of the image, where they are drawn by themselves."""
        if self.cutmix_minmax is None:
            return None
        shares = rng.uniform(*self.cutmix_minmax, size=(batch_size if self.per == "example" else 1, 2))
        return torch.from_numpy(np.broadcast_to(shares, (batch_size, 2)).copy())

    def boxes(self, lam: torch.Tensor, centre: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
        return cutmix_box(lam, centre, size)

    def mix(self, images: torch.Tensor, plan: MixPlan) -> tuple[torch.Tensor, torch.Tensor]:
        if (boxes := boxes_of(plan)) is None:
            return images, plan.lam
        mixed, weight = paste_boxes(images, plan.index, boxes)
        return mixed, weight if self.correct_lam else plan.lam
