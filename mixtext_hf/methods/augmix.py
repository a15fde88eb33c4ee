"""AugMix (Hendrycks et al., ICLR 2020): one image in several disguises, and predictions that agree on it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch

from mixtext_hf._numbers import is_whole
from mixtext_hf.mixing import has_label, jensen_shannon_divergence

from .base import MixMethod, Step
from .citation import Citation
from .pixels import PIXELS, check_not_negative


# Where the collator puts the disguises: `(B, V, C, H, W)`.
VIEWS = "views"


@dataclass(frozen=True)
class AugMix(MixMethod):
    """
    The loss on the image itself, and a consistency loss between its prediction and those of two augmented views. A row
    without a label has no part in either. Without the consistency loss (`jsd_weight=0`) the model is trained on one augmented
    view in place of the image, as in the ablation of the paper: a third of the work.

    The views are mixed from chains of image operations where the data is loaded (`mixtext_hf.data.images.augmix`).

    Args:
        jsd_weight (`float`): Weight of the consistency loss (12 in the paper); 0: none, and one view.
        severity (`int`): Strength of the operations, 1 to 10.
        width (`int`): Number of chains that are mixed into a view.
        chain_depth (`int`, *optional*): Operations in a chain; `None`: 1 to 3 at random.
        all_ops (`bool`): Whether contrast, colour, brightness and sharpness are among the operations. They overlap with the
            corruptions that robustness is measured by.
    """

    alpha: float = 0.0
    jsd_weight: float = 12.0
    severity: int = 3
    width: int = 3
    chain_depth: int | None = None
    all_ops: bool = False

    name: ClassVar[str] = "augmix"
    equation: ClassVar[str] = "L = CE(f(x), y) + 12 JS(p(x); p(x_augmix1); p(x_augmix2))"
    mixes: ClassVar[bool] = False
    mixes_pixels: ClassVar[bool] = True
    citation: ClassVar[Citation] = Citation(
        authors="Hendrycks, D., Mu, N., Cubuk, E. D., Zoph, B., Gilmer, J. and Lakshminarayanan, B.",
        title="AugMix: A Simple Data Processing Method to Improve Robustness and Uncertainty",
        venue="ICLR",
        year=2020,
        url="https://arxiv.org/abs/1912.02781",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        self.refuse_mixing()
        check_not_negative(jsd_weight=self.jsd_weight)
        for name in ("severity", "width", "chain_depth"):
            value = getattr(self, name)
            if name == "chain_depth" and value is None:
                continue
            if not is_whole(value) or value < 1:
                raise ValueError(f"{name} must be a whole number >= 1, got {value!r}.")
        if self.severity > 10:
            raise ValueError(f"severity must lie in 1..10, got {self.severity}.")
        if not isinstance(self.all_ops, bool):
            raise ValueError(f"all_ops must be true or false, got {self.all_ops!r}.")

    @property
    def num_views(self) -> int:
        """How many disguises of an image a step needs."""
        return 2 if self.jsd_weight > 0 else 1

    def losses(self, step: Step) -> Iterator[dict[str, torch.Tensor]]:
        if VIEWS not in step.inputs:
            raise ValueError(
                "augmix was given a batch without augmented views, which MixTrainer makes of raw images (not of pixel_values "
                f"that are ready): a loop of your own must put them into {VIEWS!r}, (B, {self.num_views}, C, H, W)."
            )
        inputs = {name: value for name, value in step.inputs.items() if name != VIEWS}
        views = step.inputs[VIEWS].unbind(dim=1)
        if self.jsd_weight == 0:
            yield {"loss_supervised": step.loss(step.forward({**inputs, PIXELS: views[0]}), step.labels)}
            return
        logits = step.forward({**inputs, PIXELS: torch.cat([inputs[PIXELS], *views])})
        by_view = logits.chunk(1 + len(views))
        # A mean over the rows that the supervised loss is a mean over, so that both weigh alike however a batch is cut up.
        counts = has_label(step.labels)
        consistency = (jensen_shannon_divergence(by_view) * counts).sum() / counts.sum().clamp(min=1)
        yield {
            "loss_supervised": step.loss(by_view[0], step.labels),
            "loss_consistency": self.jsd_weight * consistency,
        }
