"""Empirical risk minimisation (Vapnik 1998): plain fine-tuning, the baseline that every comparison needs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch

from .base import MixMethod, Step


@dataclass(frozen=True)
class ERM(MixMethod):
    """No mixing: the same trainer and the same loss code as all other methods, on targets as they are."""

    alpha: float = 0.0

    name: ClassVar[str] = "erm"
    equation: ClassVar[str] = "min E[l(f(x), y)]"
    mixes: ClassVar[bool] = False

    def __post_init__(self) -> None:
        super().__post_init__()
        self.refuse_mixing()

    def losses(self, step: Step) -> Iterator[dict[str, torch.Tensor]]:
        yield {"loss_supervised": step.loss(step.forward(step.inputs), step.labels)}
