"""Mixup of the pooled vector: senMixup (Guo, Mao & Zhang 2019); Mixup-Transformer (Sun et al., COLING 2020)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from mixtext_hf.mixing import HEAD

from .base import MixMethod
from .citation import Citation


@dataclass(frozen=True)
class PooledMixup(MixMethod):
    """
    Mix the input of the final linear layer, the sentence vector.

    Sun et al. switch it on in the second half of training only: `mix_start=0.5`.
    """

    alpha: float = 1.0

    name: ClassVar[str] = "pooled_mixup"
    labels_tokens: ClassVar[bool] = False  # no vector of a text is ever made
    equation: ClassVar[str] = "z <- lam z(x_i) + (1 - lam) z(x_j),  y <- lam y_i + (1 - lam) y_j,  logits = W z + b"
    citation: ClassVar[Citation] = Citation(
        authors="Sun, L., Xia, C., Yin, W., Liang, T., Yu, P. S. and He, L.",
        title="Mixup-Transformer: Dynamic Data Augmentation for NLP Tasks",
        venue="COLING",
        year=2020,
        url="https://aclanthology.org/2020.coling-main.305",
    )

    def default_layers(self, depth: int) -> Sequence[int | Literal["head"]]:
        return (HEAD,)
