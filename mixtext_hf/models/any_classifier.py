"""What a trainer needs of a classifier that is not mixed inside: pixels or token ids in, logits out, and which parameters are
its head. Knows of no layers; `Mixer` adds them.
"""

from __future__ import annotations

import inspect
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel

from mixtext_hf.mixing import MixPlan

from .last_token import reads_last_token
from .watched_states import WatchedStates


PIXELS = "pixel_values"

# What a model is told apart by that a loader gave a new head; beside the model, so that it needs no mixer.
_NEW_HEAD = "head_is_new"


class Classifier:
    r"""
    The handle of any classifier of transformers. It installs nothing: methods that mix hidden states need a [`Mixer`].

    Attributes:
        model (`PreTrainedModel`): Without PEFT or other wrappers around it.
    """

    def __init__(self, model: PreTrainedModel):
        self.model = model

    @property
    def encoder(self) -> nn.Module:
        """The base model: everything but the head. Where a class names none, or calls all of it so, the whole."""
        return self.model.base_model

    @property
    def reads_last_token(self) -> bool:
        """Whether its head reads the last token of a text that is no padding, see [`~.last_token.reads_last_token`]."""
        return reads_last_token(self.model)

    @property
    def head_is_new(self) -> bool:
        """Whether a loader put a new head on a pretrained base model."""
        return bool(vars(self.model).get(_NEW_HEAD, False))

    def head_parameters(self) -> list[nn.Parameter]:
        """The parameters outside the base model (its pooler counts as encoder); if there are none, those of the last layer."""
        in_encoder = {id(parameter) for parameter in self.encoder.parameters()}
        outside = [p for p in self.model.parameters() if id(p) not in in_encoder]
        return outside or _last_layer(self.model)

    def frozen_head(self) -> str | None:
        """The name of the head where nothing in it is trained, as an adapter may leave it; `None` where something is."""
        in_encoder = {id(parameter) for parameter in self.encoder.parameters()}
        head = {name: p for name, p in self.model.named_parameters() if id(p) not in in_encoder}
        if not head:
            last = _last_layer_name(self.model)
            # PEFT puts a module around a layer, with the layer itself and what is trained of it inside.
            path = (last or "").removesuffix(".base_layer")
            head = {
                name: p
                for name, p in self.model.named_parameters()
                if last is not None and name.startswith(f"{path}.")
            }
            return path if head and not any(p.requires_grad for p in head.values()) else None
        if any(p.requires_grad for p in head.values()):
            return None
        return next(iter(head)).split(".")[0]

    def note_new_parameters(self, names: Collection[str]) -> None:
        """
        Told by a loader, of a model whose other parameters are pretrained: a head that is new learns faster than they do.

        Args:
            names (`Collection[str]`): Parameters of the model that its checkpoint did not hold.
        """
        head = {id(parameter) for parameter in self.head_parameters()}
        new = [id(parameter) in head for name, parameter in self.model.named_parameters() if name in names]
        vars(self.model)[_NEW_HEAD] = any(new) and len(new) < sum(1 for _ in self.model.parameters())

    # ---- what only a mixer can ----

    @property
    def depth(self) -> int:
        """Number of layers that can be mixed."""
        return 0

    def check_layer(self, layer: int | str | None) -> None:
        """Raise `ValueError` if this model has no such layer to mix."""
        if layer is not None:
            raise ValueError(
                f"layer {layer!r} was asked for, but {type(self.model).__name__} was not made mixable: a method that mixes "
                "hidden states says so by its `default_layers`."
            )

    def check_pad(self, pad: str) -> None:
        """Raise `ValueError` if states at padding cannot be treated so."""

    @contextmanager
    def applying(self, plan: MixPlan | None) -> Iterator[None]:
        """The forward pass made inside this context mixes nothing: a plan that would is refused."""
        if plan is not None:
            self.check_layer(plan.layer)
            check_plan_without_layer(plan)
        yield

    @contextmanager
    def watching(self, layer: int = 0) -> Iterator[WatchedStates]:
        """
        Watch the hidden states of the forward pass made inside this context, for their gradient.

        Args:
            layer (`int`): 0 = what the embeddings of the tokens are; a [`Mixer`] knows the layers of its model too.

        Raises:
            `ValueError`: for other layers, and for a model that does not say which its embeddings are.
        """
        embeddings = self._embeddings(layer)
        watched = WatchedStates(layer)
        handle = embeddings.register_forward_hook(lambda module, args, output: watched.see(output))
        try:
            yield watched
        finally:
            handle.remove()

    def _embeddings(self, layer: int) -> nn.Module:
        self.check_layer(layer or None)
        try:
            return self.model.get_input_embeddings()
        except NotImplementedError as error:
            raise ValueError(
                f"{type(self.model).__name__} does not say which of its modules embeds the tokens (get_input_embeddings), so that there "
                "is no gradient for the saliency of a token: take a method that needs none."
            ) from error

    def reset(self) -> None:
        """Nothing is left by a forward pass."""


def check_plan_without_layer(plan: MixPlan) -> None:
    """Raise `ValueError` for a plan that mixes labels, and names no layer where a model could mix its states."""
    if plan.layer is None and plan.lam.device.type == "cpu" and bool((plan.lam < 1).any()):
        raise ValueError(
            "The plan names no layer, so the model would mix nothing while the labels are mixed: draw it with "
            "`layers`, or mix the inputs yourself and apply no plan."
        )


def logits_of(outputs: Any) -> torch.Tensor:
    """
    The logits `(B, C)`, of tokens `(B, T, C)`, among what a classifier returns when it is given no labels: an output of transformers, its tuple
    (`return_dict=False`), a mapping, or the logits themselves. PP-LCNet calls its logits `last_hidden_state`; those of others
    have more than two dimensions.

    Raises:
        `TypeError`: if there are none.
    """
    found = getattr(outputs, "logits", None)
    if found is None and isinstance(outputs, Mapping):
        found = outputs.get("logits")
    if (
        found is None
        and isinstance(state := getattr(outputs, "last_hidden_state", None), torch.Tensor)
        and state.ndim == 2
    ):
        found = state
    if found is None and isinstance(outputs, tuple | torch.Tensor):
        found = outputs if isinstance(outputs, torch.Tensor) else outputs[0]
    if not isinstance(found, torch.Tensor):
        raise TypeError(
            f"The model returned {type(outputs).__name__} without `logits`, as no classifier does that this package can train: "
            "load a ...ForSequenceClassification, ...ForTokenClassification or ...ForImageClassification that returns them."
        )
    return found


def no_pixels(processor: Any) -> str | None:
    """What an image processor makes of an image where it is no picture of one size, for a message; `None` where it is one."""
    names = getattr(processor, "model_input_names", None) or (PIXELS,)
    if "spatial_shapes" in names:
        return (
            "makes patches of an image, of different numbers, which cannot be mixed or attacked (SigLIP 2 in its NaFlex form): take a "
            "model of images of one size, such as google/siglip2-base-patch16-224, or train by erm on rows that the processor has "
            "made already (pixel_values, pixel_attention_mask, spatial_shapes)"
        )
    if PIXELS not in names:
        return (
            f"makes {', '.join(names)} of an image and no pixels (ImageGPT reads colours as ids): take a model that reads pixels, or "
            f"train by erm on rows that the processor has made already ({', '.join(names)})"
        )
    return None


def is_adapted(model: nn.Module) -> bool:
    """Whether an adapter of PEFT is in a model: around it, or loaded into it by transformers."""
    return any(type(module).__module__.split(".")[0] == "peft" for module in model.modules())


def takes_pixels(model: nn.Module) -> bool:
    """Whether a model of transformers reads images; some call their input otherwise first (Perceiver)."""
    if model.main_input_name == PIXELS:
        return True
    names = inspect.signature(model.forward).parameters
    return PIXELS in names and "input_ids" not in names


def _last_layer(model: PreTrainedModel) -> list[nn.Parameter]:
    name = _last_layer_name(model)
    return [] if name is None else list(model.get_submodule(name).parameters())


def _last_layer_name(model: PreTrainedModel) -> str | None:
    """Of the last linear layer with an output for each class."""
    names = [
        name
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear) and module.out_features == model.config.num_labels and "lora_" not in name
    ]
    return names[-1] if names else None
