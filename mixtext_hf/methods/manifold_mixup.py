"""Manifold mixup (Verma et al., ICML 2019): mix at a random layer, from the input representation upwards."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from .base import MixMethod
from .citation import Citation


@dataclass(frozen=True)
class ManifoldMixup(MixMethod):
    """Mix the hidden states at a layer drawn from {0, .., L-1} of any model with a list of layers."""

    alpha: float = 2.0

    name: ClassVar[str] = "manifold_mixup"
    equation: ClassVar[str] = "h_m <- lam h_m(x_i) + (1 - lam) h_m(x_j),  y <- lam y_i + (1 - lam) y_j,  m in {0..L-1}"
    citation: ClassVar[Citation] = Citation(
        authors="Verma, V., Lamb, A., Beckham, C., Najafi, A., Mitliagkas, I., Lopez-Paz, D. and Bengio, Y.",
        title="Manifold Mixup: Better Representations by Interpolating Hidden States",
        venue="ICML",
        year=2019,
        url="https://proceedings.mlr.press/v97/verma19a.html",
    )

    def default_layers(self, depth: int) -> Sequence[int | Literal["head"]]:
        return range(depth)
