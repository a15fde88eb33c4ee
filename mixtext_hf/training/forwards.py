"""How the methods run the model: as it is trained, perhaps with an eye on its attention, and without its wrappers for gradients
of the inputs alone.
"""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from accelerate import Accelerator
from torch import nn

from mixtext_hf.methods import PIXELS, TOKENS
from mixtext_hf.mixing import MixPlan, PatchAttention
from mixtext_hf.models.any_classifier import Classifier, logits_of
from mixtext_hf.models.cls_attention import ClsAttention
from mixtext_hf.models.modes import evaluating, full_precision
from mixtext_hf.models.watched_states import WatchedStates


@dataclass(frozen=True)
class Forwards:
    """
    The ways to run the model in a step, see [`~mixtext_hf.methods.Step`]; all leave the model in the mode that it was in.

    Args:
        model (`nn.Module`): The classifier in training, in its wrappers.
        mixer ([`Classifier`]): Of the same model: it applies the plans.
        accelerator (`Accelerator`): Which knows the wrappers.
        evaluates (`bool`): Whether all processes have been given the same buffers in this step, which a pass as in evaluation reads.
        attention ([`ClsAttention`], *optional*): Of the same model, where the method needs it.
    """

    model: nn.Module
    mixer: Classifier
    accelerator: Accelerator
    evaluates: bool
    attention: ClsAttention | None = None

    def training(self, inputs: dict[str, Any], plan: MixPlan | None = None, *, dropout: bool = True) -> torch.Tensor:
        """The logits `(B, C)` of a step of training; with `dropout=False` as in evaluation."""
        if not dropout:
            self._check_evaluates()
        with self.mixer.applying(plan), nullcontext() if dropout else evaluating(self.model):
            return logits_of(self.model(**inputs))

    def attending(self, inputs: dict[str, Any]) -> tuple[torch.Tensor, PatchAttention]:
        """The logits `(B, C)` of a step of training on images, unmixed, and what [CLS] attended to."""
        if self.attention is None:
            raise TypeError(
                "The method asks for the attention of [CLS], and its `needs_attention` says that it does not."
            )
        with self.attention.watching():
            logits = self.training(inputs)
        height, width = inputs[PIXELS].shape[-2:]
        return logits, self.attention.take((height, width))

    def watching(self, inputs: dict[str, Any], layer: int = 0) -> tuple[torch.Tensor, WatchedStates]:
        """
        The logits `(B, C)` of a step of training, unmixed, and the hidden states of a layer in that pass.

        Raises:
            `ValueError`: for texts whose states are not in the order of their tokens.
        """
        with self.mixer.watching(layer) as watched:
            logits = self.training(inputs)
        if TOKENS in inputs and watched.states is not None and watched.states.shape[:2] != inputs[TOKENS].shape:
            raise ValueError(
                f"The hidden states of layer {layer} of {type(self.mixer.model).__name__} are of shape {tuple(watched.states.shape)} for "
                f"{TOKENS} of {tuple(inputs[TOKENS].shape)}: they do not say which token they are of, and so there is no saliency of a "
                "token. Take a method that needs none."
            )
        return logits, watched

    def saliency(self, inputs: dict[str, Any], plan: MixPlan | None = None, *, dropout: bool = False) -> torch.Tensor:
        """
        The logits `(B, C)` for a gradient with respect to the pixels `(B, C, H, W)`, which stay float32 in the graph, whatever
        the weights are in.

        Wrappers of several processes expect a backward pass through their parameters, and a compiled model has a gradient of its
        own: neither here.
        """
        inner = self.accelerator.unwrap_model(self.model, keep_torch_compile=False)
        self._check_evaluates()
        inputs = {**inputs, PIXELS: inputs[PIXELS].to(inner.dtype)}
        mode = nullcontext() if dropout else evaluating(inner)
        with self.mixer.applying(plan), mode, full_precision(inner):
            return logits_of(inner(**inputs))

    def _check_evaluates(self) -> None:
        # Asked for here, by the one process whose plan needs it, the buffers would meet another message of the others.
        if not self.evaluates and self.accelerator.num_processes > 1:
            raise TypeError(
                "The method runs the model as in evaluation, which several processes must agree on before a step, and its "
                "`needs_evaluation` says that it does not."
            )
