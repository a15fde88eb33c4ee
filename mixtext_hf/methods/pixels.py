"""What the methods that mix pixels have in common: the image is mixed first, the model sees one batch."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import torch

from mixtext_hf._numbers import is_number
from mixtext_hf.mixing import Boxes, MixPlan, PatchAttention, has_label

from .base import MixMethod, Step


PIXELS = "pixel_values"


@dataclass(frozen=True)
class PixelMix(MixMethod):
    """
    Base of the methods that mix images before the model sees them.

    The weight of a label is what the mixed image really shows of the row (a clipped box, a cut mask), not what was drawn. It is
    logged as `mix_weight`, the mean over all rows, beside `mix_lambda`, which was drawn.
    """

    mixes_pixels: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, why in (("layers", "mixes inside the model: use manifold_mixup"), ("pad", "is for texts")):
            if getattr(self, name) != type(self).__dataclass_fields__[name].default:
                raise ValueError(
                    f"mix_{name}={getattr(self, name)} was given, but {self.name} mixes pixels, and {name} {why}; drop it."
                )
        if self.partner == "nearest_length":
            raise ValueError(f"partner='nearest_length' is for texts, and {self.name} mixes images: use 'any'.")

    @abstractmethod
    def mix(self, images: torch.Tensor, plan: MixPlan) -> tuple[torch.Tensor, torch.Tensor]:
        """
        Args:
            images (`torch.Tensor` of shape `(B, C, H, W)`): Normalised pixels.
            plan ([`MixPlan`]): Who mixes with whom, how much, and where.

        Returns:
            The mixed images, of the same shape and dtype, and the realised weight `(B,)` float32 of each row's own label.
        """

    def share_of_own(self, plan: MixPlan, row: int, size: tuple[int, int]) -> torch.Tensor:
        """How much of its own image a row of the mixed batch shows at each pixel, `(H, W)` in `[0, 1]`, for images of `size` `(H, W)`."""
        # The same mix of an image that is 1 everywhere and others that are 0.
        images = torch.zeros(len(plan), 1, *size, device=plan.index.device)
        images[row] = 1
        return self.mix(images, plan)[0][row, 0]

    def boxes(self, lam: torch.Tensor, centre: torch.Tensor, size: tuple[int, int]) -> torch.Tensor | None:
        """
        Where the partner is pasted, for methods that do so: whole pixels, found on the host, where there are doubles.

        Args:
            lam (`torch.Tensor` of shape `(B,)`, float32): As drawn.
            centre (`torch.Tensor` of shape `(B, 2)`, float32): See [`draw_centre`].
            size (pair of `int`): `(H, W)`.

        Returns:
            `torch.Tensor` of shape `(B, 4)`, int64, or `None`.
        """
        return None

    def losses(self, step: Step) -> Iterator[dict[str, torch.Tensor]]:
        plan = self.pairs_of(step)
        yield self.mixed_loss(step, plan, *self.mix(step.inputs[PIXELS], plan))

    @staticmethod
    def pairs_of(step: Step) -> MixPlan:
        """The plan of a step, in which a row stays as it is that has no label, no partner with one, or no partner at all."""
        plan = step.plan.among(has_label(step.labels))
        alone = plan.index == torch.arange(len(plan), device=plan.index.device)
        return replace(plan, lam=torch.where(alone, 1.0, plan.lam))

    def mixed_loss(
        self,
        step: Step,
        plan: MixPlan,
        images: torch.Tensor,
        weight: torch.Tensor | Callable[[PatchAttention], torch.Tensor],
    ) -> dict[str, torch.Tensor]:
        """
        The loss of the mixed `images` `(B, C, H, W)`, whose rows keep a `weight` `(B,)` or what makes it of their attention, as in
        the methods that mix inside the model.
        """

        def noted(realised: torch.Tensor) -> torch.Tensor:
            step.note({"mix_weight": realised.float().mean()})
            return realised

        kept = (lambda attention: noted(weight(attention))) if callable(weight) else noted(weight)
        return self.supervised(step, {**step.inputs, PIXELS: images}, plan, kept)


def draw_centre(batch_size: int, rng: np.random.Generator, *, per: str) -> torch.Tensor:
    """The places to paste at `(B, 2)`, float32: uniform in `[0, 1)`, one for the batch or one for each row."""
    centre = rng.random((batch_size if per == "example" else 1, 2), dtype=np.float32)
    return torch.from_numpy(np.broadcast_to(centre, (batch_size, 2)).copy())


def size_for(name: str, image_size: tuple[int, int] | None) -> tuple[int, int]:
    """The size, or `ValueError` if there is none."""
    if image_size is None:
        raise ValueError(f"{name} cuts images into parts and needs their size: give image_size=(height, width).")
    return image_size


def boxes_of(plan: MixPlan) -> torch.Tensor | None:
    """The boxes `(B, 4)` that a plan pastes, empty ones for rows that stay as they are; `None` where it has none."""
    if not isinstance(plan.detail, Boxes):
        return None
    return plan.detail.edges.masked_fill((plan.lam == 1).unsqueeze(1), 0)


def is_identity(plan: MixPlan) -> bool:
    """Whether a plan that was just drawn (it is on the CPU) mixes nothing."""
    return plan.is_identity


def check_not_negative(**values: Any) -> None:
    """Raise `ValueError` for a hyper-parameter that is no number >= 0."""
    for name, value in values.items():
        if not is_number(value) or value < 0:
            raise ValueError(f"{name} must be a finite number >= 0, got {value!r}.")
