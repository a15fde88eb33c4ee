"""What a plan has to say beyond partners and weights, for the methods that mix the pixels of images."""

from __future__ import annotations

from dataclasses import dataclass

import torch


# Tensors have no truth value to compare by.
@dataclass(frozen=True, eq=False)
class BoxCentre:
    """
    Where CutMix and ResizeMix paste a part of the partner; how large follows from the weight of the plan.

    Args:
        centre (`torch.Tensor` of shape `(B, 2)`, float32): As shares of height and width, in `[0, 1)`.
    """

    centre: torch.Tensor

    def to(self, device: torch.device) -> BoxCentre:
        return BoxCentre(self.centre.to(device, non_blocking=device.type == "cuda"))


@dataclass(frozen=True)
class Blocks:
    """
    Into how many blocks PuzzleMix cuts the images of this batch, and what noise it adds to them.

    Args:
        block_num (`int`): Blocks along each side.
        noise_seed (`int`, *optional*): Seed of the adversarial noise; `None` where there is none.
        noise_on (`tuple[bool, bool]`): Whether the image itself and its partner carry the noise.
        noise_scale (`float`): Share of the noise that is added, in `[0, 1]`.
    """

    block_num: int
    noise_seed: int | None = None
    noise_on: tuple[bool, bool] = (False, False)
    noise_scale: float = 0.0

    def to(self, device: torch.device) -> Blocks:
        return self


Detail = BoxCentre | Blocks
