"""TMix (Chen, Yang & Yang, ACL 2020, section 3.1): manifold mixup inside the upper half of BERT."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from .base import MixMethod, scaled_layers
from .citation import Citation


@dataclass(frozen=True)
class TMix(MixMethod):
    """
    Mix the hidden states of two texts at a layer drawn from {7, 9, 12} (of 12), go on with the layers above.

    The paper uses `alpha` 2 or 16 below 100 labels a class, and 0.2 or 0.4 above 200.
    """

    alpha: float = 16.0
    fold: bool = True

    name: ClassVar[str] = "tmix"
    equation: ClassVar[str] = "h_m <- lam h_m(x_i) + (1 - lam) h_m(x_j),  y <- lam y_i + (1 - lam) y_j,  lam >= 1/2"
    citation: ClassVar[Citation] = Citation(
        authors="Chen, J., Yang, Z. and Yang, D.",
        title="MixText: Linguistically-Informed Interpolation of Hidden Space for Semi-Supervised Text Classification",
        venue="ACL",
        year=2020,
        url="https://aclanthology.org/2020.acl-main.194",
    )

    def default_layers(self, depth: int) -> Sequence[int | Literal["head"]] | None:
        return scaled_layers((7, 9, 12), depth)
