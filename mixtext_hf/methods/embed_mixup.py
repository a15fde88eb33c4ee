"""Mixup of the embeddings: wordMixup (Guo, Mao & Zhang 2019); the EmbedMix baseline of SSMix (Yoon et al. 2021)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from .base import MixMethod
from .citation import Citation


@dataclass(frozen=True)
class EmbedMixup(MixMethod):
    """Mix the outputs of the embeddings (words and positions together, after their LayerNorm and dropout)."""

    alpha: float = 0.2
    fold: bool = True

    name: ClassVar[str] = "embed_mixup"
    equation: ClassVar[str] = "h_0 <- lam h_0(x_i) + (1 - lam) h_0(x_j),  y <- lam y_i + (1 - lam) y_j"
    citation: ClassVar[Citation] = Citation(
        authors="Guo, H., Mao, Y. and Zhang, R.",
        title="Augmenting Data with Mixup for Sentence Classification: An Empirical Study",
        venue="arXiv",
        year=2019,
        url="https://arxiv.org/abs/1905.08941",
        kind="misc",
    )

    def default_layers(self, depth: int) -> Sequence[int | Literal["head"]]:
        return (0,)
