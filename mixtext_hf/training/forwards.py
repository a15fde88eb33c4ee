"""How the methods run the model: as it is trained, and without its wrappers for gradients of the inputs alone."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from accelerate import Accelerator
from torch import nn

from mixtext_hf.methods import PIXELS
from mixtext_hf.mixing import MixPlan
from mixtext_hf.models.any_classifier import Classifier, logits_of
from mixtext_hf.models.modes import evaluating, full_precision


@dataclass(frozen=True)
class Forwards:
    """
    The two [`~mixtext_hf.methods.Forward`] of a step; both leave the model in the mode that it was in.

    Args:
        model (`nn.Module`): The classifier in training, in its wrappers.
        mixer ([`Classifier`]): Of the same model: it applies the plans.
        accelerator (`Accelerator`): Which knows the wrappers.
        share_buffers (`Callable`): Gives all processes the same buffers; called before a pass as in evaluation, which reads them.
    """

    model: nn.Module
    mixer: Classifier
    accelerator: Accelerator
    share_buffers: Callable[[], None]

    def training(self, inputs: dict[str, Any], plan: MixPlan | None = None, *, dropout: bool = True) -> torch.Tensor:
        """The logits `(B, C)` of a step of training; with `dropout=False` as in evaluation."""
        if not dropout:
            self.share_buffers()
        with self.mixer.applying(plan), nullcontext() if dropout else evaluating(self.model):
            return logits_of(self.model(**inputs))

    def saliency(self, inputs: dict[str, Any], plan: MixPlan | None = None, *, dropout: bool = False) -> torch.Tensor:
        """
        The logits `(B, C)` for a gradient with respect to the pixels `(B, C, H, W)`, which stay float32 in the graph, whatever
        the weights are in.

        Wrappers of several processes expect a backward pass through their parameters, and a compiled model has a gradient of its
        own: neither here.
        """
        inner = self.accelerator.unwrap_model(self.model, keep_torch_compile=False)
        self.share_buffers()
        inputs = {**inputs, PIXELS: inputs[PIXELS].to(inner.dtype)}
        mode = nullcontext() if dropout else evaluating(inner)
        with self.mixer.applying(plan), mode, full_precision(inner):
            return logits_of(inner(**inputs))
