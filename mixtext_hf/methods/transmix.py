"""TransMix (Chen et al., CVPR 2022): the pictures of CutMix, labels by what [CLS] attends to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from mixtext_hf.mixing import MixPlan, PatchAttention
from mixtext_hf.mixing.patches import patches_in_boxes

from .attention_labels import AttentionLabels
from .citation import Citation
from .cutmix import CutMix
from .pixels import boxes_of


@dataclass(frozen=True)
class TransMix(AttentionLabels, CutMix):
    """
    Paste a box of the partner as CutMix does; the partner's label gets the share of the attention of [CLS] that falls on it:
    the mean over the heads of the last layer, over the patches alone (no [CLS], distillation token or registers), the box
    sampled at the first pixel of each patch.

    The paper's official code takes the mean of that share and the area (`area_share=0.5`), and mixes a fifth of the batches
    by mixup; here it is the paper's equation, and every batch is pasted.

    Args:
        area_share (`float`): How much of the label weight is by area; the rest is by attention. With 1 it is CutMix.
    """

    name: ClassVar[str] = "transmix"
    equation: ClassVar[str] = (
        "x <- M x_i + (1 - M) x_j,  y <- lam y_i + (1 - lam) y_j,  1 - lam = attention of [CLS] to the patches in 1 - M"
    )
    citation: ClassVar[Citation] = Citation(
        authors="Chen, J.-N., Sun, S., He, J., Torr, P., Yuille, A. and Bai, S.",
        title="TransMix: Attend to Mix for Vision Transformers",
        venue="CVPR",
        year=2022,
        url="https://arxiv.org/abs/2111.09833",
    )

    def partner_patches(self, plan: MixPlan, attention: PatchAttention) -> torch.Tensor:
        boxes = boxes_of(plan)
        assert boxes is not None
        return patches_in_boxes(boxes, attention)
