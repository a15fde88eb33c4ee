"""A step of a method that mixes pixels, of a tiny smooth network on six images."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from mixtext_hf.methods import MixMethod, Step
from mixtext_hf.mixing import MixedLoss, MixPlan, PatchAttention


LABELS = torch.tensor([0, 2, 1, 2, 0, 1])
LOSS = MixedLoss("single_label_classification", 3)
NORMALISATION = {"pixel_mean": torch.full((3,), 0.5), "pixel_std": torch.full((3,), 0.5)}


class Net(torch.nn.Module):
    """A convolution and a linear layer, smooth, so that the gradient at every pixel is something."""

    def __init__(self, channels: int = 3):
        super().__init__()
        torch.manual_seed(0)
        self.convolution = torch.nn.Conv2d(channels, 4, 3, padding=1)
        self.linear = torch.nn.Linear(4, 3)

    def forward(self, pixel_values: torch.Tensor) -> Any:
        return self.linear(torch.tanh(self.convolution(pixel_values)).square().mean(dim=(2, 3)) * 5)


def images(rows: int = 6, channels: int = 3, size: tuple[int, int] = (16, 16)) -> torch.Tensor:
    """Pixels in -1..1."""
    return torch.rand(rows, channels, *size, generator=torch.Generator().manual_seed(1)) * 2 - 1


def make_step(
    net: Any, plan: MixPlan, pixels: torch.Tensor, *, labels: torch.Tensor = LABELS, **about: Any
) -> tuple[Step, list[dict[str, Any]], dict[str, torch.Tensor]]:
    """The step; what the model is given, and what is noted, as it goes."""
    seen: list[dict[str, Any]] = []
    noted: dict[str, torch.Tensor] = {}

    def forward(inputs: dict[str, Any], plan: MixPlan | None = None, *, dropout: bool = True) -> Any:
        assert plan is None
        seen.append(inputs)
        return net(**inputs)

    def attending(inputs: dict[str, Any]) -> Any:
        return forward(inputs), PatchAttention(torch.ones(len(pixels), 4, 4), (4, 4))

    about.setdefault("attending_forward", attending)
    step = Step(forward, {"pixel_values": pixels}, labels, plan, LOSS, note=noted.update, **about)
    return step, seen, noted


def draw(method: MixMethod, *, rows: int = 6, seed: int = 0, size: tuple[int, int] = (16, 16)) -> MixPlan:
    """A plan of a method for these images."""
    return method.draw(rows, depth=3, rng=np.random.default_rng([7, seed]), image_size=size)
