"""Hidden-state mixup written out with two streams, as the official code runs it, on any tiny model: the reference.

Nothing of the package is used. Images come at the end. Stream A is the batch, stream B the permuted batch, each run by itself with its own mask;
the masks above the mixing layer are the ones that the model itself builds from the union of both 2-D masks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel


class _Tap:
    """Records what each layer is called with and returns, and optionally overrides it."""

    def __init__(
        self,
        layers: Sequence[nn.Module],
        embeddings: nn.Module | None = None,
        masked: Sequence[nn.Module] = (),
        shared_depth: int | None = None,
    ):
        self.layers, self.embeddings, self.masked = layers, embeddings, masked
        self.shared_depth = shared_depth
        self.inputs: dict[int, torch.Tensor] = {}
        self.masks: dict[int, Any] = {}
        self.masked_masks: dict[nn.Module, Any] = {}
        self.embedded: Any = None
        self.last: Any = None
        self.replace_input: dict[int, torch.Tensor] = {}
        self.replace_mask: dict[int, Any] = {}
        self.replace_masked: dict[nn.Module, Any] = {}
        self.replace_embedded: Any = None
        self.replace_last: Any = None
        self.count = 0

    def __enter__(self) -> _Tap:
        self.stack = ExitStack()
        self.count = 0
        for number, layer in enumerate(self.layers):
            self._hook(layer.register_forward_pre_hook(self._before(number), with_kwargs=True))
            if number == len(self.layers) - 1:
                self._hook(layer.register_forward_hook(self._after_last))
        if self.embeddings is not None:
            self._hook(self.embeddings.register_forward_hook(self._after_embeddings))
        for module in self.masked:
            self._hook(module.register_forward_pre_hook(self._before_masked))
        return self

    def __exit__(self, *exception: object) -> None:
        self.stack.close()

    def _hook(self, handle: Any) -> None:
        self.stack.callback(handle.remove)

    def _before(self, number: int) -> Callable[..., Any]:
        def hook(module: nn.Module, args: Any, kwargs: dict[str, Any]) -> tuple[tuple, dict[str, Any]]:
            n = number
            if self.shared_depth:
                n, self.count = self.count, self.count + 1
            in_kwargs = "attention_mask" in kwargs
            self.inputs[n] = args[0].detach().clone()
            self.masks[n] = kwargs["attention_mask"] if in_kwargs else (args[1] if len(args) > 1 else None)
            args = list(args)
            if n in self.replace_input:
                args[0] = self.replace_input[n]
            if n in self.replace_mask:
                if in_kwargs:
                    kwargs = {**kwargs, "attention_mask": self.replace_mask[n]}
                elif len(args) > 1:
                    args[1] = self.replace_mask[n]
            return tuple(args), kwargs

        return hook

    def _after_last(self, module: nn.Module, args: Any, output: Any) -> Any:
        if self.shared_depth and self.count < self.shared_depth:
            return None
        state = output[0] if isinstance(output, tuple) else output
        self.last = state.detach().clone()
        if self.replace_last is None:
            return None
        return (self.replace_last, *output[1:]) if isinstance(output, tuple) else self.replace_last

    def _after_embeddings(self, module: nn.Module, args: Any, output: torch.Tensor) -> Any:
        self.embedded = output.detach().clone()
        return self.replace_embedded

    def _before_masked(self, module: nn.Module, args: tuple) -> tuple | None:
        self.masked_masks[module] = args[2]
        if module in self.replace_masked:
            return (args[0], args[1], self.replace_masked[module])
        return None


def two_stream_logits(
    model: Any,
    batch: dict[str, torch.Tensor],
    index: torch.Tensor,
    lam: torch.Tensor,
    layer: int,
    pad: str = "mix",
) -> torch.Tensor:
    """Logits `(B, C)` of the mixed batch; `lam` `(B,)`, or `(B, T)` for each token."""
    encoder = model.base_model
    depth = model.config.num_hidden_layers
    kind = model.config.model_type
    shared = kind == "albert"
    if shared:
        layers = list(encoder.encoder.albert_layer_groups)
    elif kind == "distilbert":
        layers = list(encoder.transformer.layer)
    elif hasattr(encoder, "layers"):
        layers = list(encoder.layers)
    else:
        layers = list(encoder.encoder.layer)
    conv = getattr(getattr(encoder, "encoder", None), "conv", None)
    embeddings = encoder.embeddings if conv is not None and layer == 0 else None
    tap = _Tap(layers, embeddings, [conv] if conv is not None else [], depth if shared else None)

    partner = {name: value[index] for name, value in batch.items()}
    union = {**batch, "attention_mask": batch["attention_mask"] | batch["attention_mask"][index]}
    states = []
    with torch.no_grad():
        for stream in (batch, partner):
            with tap:
                model(**stream)
            states.append(
                tap.last if layer == depth else tap.embedded if embeddings is not None else tap.inputs[layer]
            )
        with tap:
            model(**union)
        masks, masked_masks = dict(tap.masks), dict(tap.masked_masks)

        weight = lam.view(*lam.shape, *[1] * (3 - lam.dim()))
        mixed = weight * states[0] + (1 - weight) * states[1]
        if pad == "keep":
            for row in range(len(index)):
                for position in range(mixed.shape[1]):
                    real = [bool(stream["attention_mask"][row, position]) for stream in (batch, partner)]
                    if real[0] != real[1]:
                        mixed[row, position] = states[0 if real[0] else 1][row, position]
        if layer == depth:
            tap.replace_last = mixed
        elif embeddings is not None:
            tap.replace_embedded = mixed
        else:
            tap.replace_input = {layer: mixed}
        tap.replace_mask = {n: mask for n, mask in masks.items() if n >= layer}
        tap.replace_masked = masked_masks if layer == 0 else {}
        with tap:
            return model(**batch).logits


# Where the places of image models are: the stem, whose output is 0, and the class of the layers or stages after it.
_PLACES = {
    "beit": ("beit.embeddings", "BeitLayer"),
    "bit": ("bit.embedder", "BitStage"),
    "clip": ("vision_model.pre_layrnorm", "CLIPEncoderLayer"),
    "convnext": ("convnext.embeddings", "ConvNextStage"),
    "convnextv2": ("convnextv2.embeddings", "ConvNextV2Stage"),
    "data2vec-vision": ("data2vec_vision.embeddings", "Data2VecVisionLayer"),
    "deit": ("deit.embeddings", "DeiTLayer"),
    "dinov2": ("dinov2.embeddings", "Dinov2Layer"),
    "dinov2_with_registers": ("dinov2_with_registers.embeddings", "Dinov2WithRegistersLayer"),
    "donut-swin": ("donut.embeddings", "DonutSwinStage"),
    "efficientnet": ("efficientnet.embeddings", "EfficientNetBlock"),
    "focalnet": ("focalnet.embeddings", "FocalNetStage"),
    "hiera": ("hiera.embeddings", "HieraStage"),
    "ijepa": ("ijepa.embeddings", "IJepaLayer"),
    "levit": ("levit.patch_embeddings", "LevitStage"),
    "metaclip_2": ("vision_model.pre_layrnorm", "MetaClip2EncoderLayer"),
    "mobilenet_v1": ("mobilenet_v1.conv_stem", "MobileNetV1ConvLayer"),
    "mobilenet_v2": ("mobilenet_v2.conv_stem", "MobileNetV2InvertedResidual"),
    "mobilevit": ("mobilevit.conv_stem", "MobileViTMobileNetLayer", "MobileViTLayer"),
    "mobilevitv2": ("mobilevitv2.conv_stem", "MobileViTV2MobileNetLayer", "MobileViTV2Layer"),
    "pvt_v2": ("pvt_v2.encoder.layers.0.patch_embedding", "PvtV2EncoderLayer"),
    "regnet": ("regnet.embedder", "RegNetStage"),
    "resnet": ("resnet.embedder", "ResNetStage"),
    "segformer": ("segformer.stages.0.patch_embeddings", "SegformerStage"),
    "siglip": ("vision_model.embeddings", "SiglipEncoderLayer"),
    "swin": ("swin.embeddings", "SwinStage"),
    "swinv2": ("swinv2.embeddings", "Swinv2Stage"),
    "textnet": ("textnet.stem", "TextNetStage"),
    "vit": ("vit.embeddings", "ViTLayer"),
    "vit_msn": ("vit.embeddings", "ViTMSNLayer"),
}


def two_stream_image_logits(
    model: PreTrainedModel, batch: dict[str, torch.Tensor], index: torch.Tensor, lam: torch.Tensor
) -> list[torch.Tensor]:
    """The logits `(B, C)` of the mixed batch for every place where it can be mixed: `[0, 1, .., depth]`."""
    name, *kinds = _PLACES[model.config.model_type]
    stem = model.get_submodule(name)
    places = [stem, *(m for m in model.modules() if type(m).__name__ in kinds and m is not stem)]

    def outputs(pixel_values: torch.Tensor) -> list[torch.Tensor]:
        found: dict[nn.Module, torch.Tensor] = {}
        with ExitStack() as stack:
            for place in places:
                hook = lambda module, args, output: found.update({module: _first(output)})  # noqa: E731
                stack.callback(place.register_forward_hook(hook).remove)
            model(pixel_values=pixel_values)
        return [found[place] for place in places]

    with torch.no_grad():
        streams = outputs(batch["pixel_values"]), outputs(batch["pixel_values"][index])
        expected = []
        for place, one, other in zip(places, *streams, strict=True):
            weight = lam.view(-1, *[1] * (one.dim() - 1))
            mixed = weight * one + (1 - weight) * other
            handle = place.register_forward_hook(lambda module, args, output, new=mixed: _with_first(output, new))
            expected.append(model(**batch).logits)
            handle.remove()
    return expected


def _first(output: Any) -> torch.Tensor:
    return _first(output[0]) if isinstance(output, tuple) else output


def _with_first(output: Any, new: torch.Tensor) -> Any:
    return (_with_first(output[0], new), *output[1:]) if isinstance(output, tuple) else new
