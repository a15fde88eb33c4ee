"""What attacks are made of: a model as it is used, its gradients at pixels and at word embeddings, steps within a ball."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from accelerate.utils import extract_model_from_parallel
from torch import nn

from mixtext_hf.models.modes import evaluating, full_precision


# Half a grey level: by so much half precision may move a pixel out of [0, 1] when it is normalised.
_RANGE_TOLERANCE = 0.5 / 255


def check_precision(model: nn.Module) -> None:
    """
    Raises:
        `ValueError`: if a parameter is not float32. In half precision gradients of well classified images vanish, and
            what cannot be attacked looks robust.
    """
    for name, parameter in model.named_parameters():
        if parameter.dtype != torch.float32:
            raise ValueError(
                f"`model` must be in float32 to be attacked, and its {name} is in {str(parameter.dtype).removeprefix('torch.')}: "
                "load it with dtype=torch.float32, or call model.float()."
            )


@contextmanager
def as_it_is_used(model: nn.Module) -> Iterator[nn.Module]:
    """The plain model in evaluation mode and float32, without gradients of its parameters; as it was afterwards."""
    model = extract_model_from_parallel(model, keep_torch_compile=False)
    check_precision(model)
    were_trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    try:
        for parameter in were_trainable:
            parameter.requires_grad_(False)
        with evaluating(model), full_precision(model):
            yield model
    finally:
        for parameter in were_trainable:
            parameter.requires_grad_(True)


@dataclass(frozen=True)
class AttackStep:
    """`logits` `(B, C)` of the images before a step, and the normalised `images` `(B, C, H, W)` after it."""

    logits: torch.Tensor
    images: torch.Tensor


def steps_of(
    model: nn.Module,
    pixel_values: torch.Tensor,
    labels: torch.Tensor,
    *,
    epsilon: float,
    sizes: Sequence[float],
    mean: torch.Tensor | Sequence[float],
    std: torch.Tensor | Sequence[float],
) -> Iterator[AttackStep]:
    """Steps of these sizes along the sign of the gradient, none of them out of the ball or of what is an image."""
    images = pixel_values.detach().float()
    mean, std = per_channel("mean", mean, images), per_channel("std", std, images)
    pixels = to_pixels(images, mean, std)
    lowest, highest = (pixels - epsilon).clamp(min=0), (pixels + epsilon).clamp(max=1)
    for size in sizes:
        gradient, logits = pixel_gradient(model, images, labels)
        # Normalising is rising in every channel: the sign is that of the gradient with respect to the pixels.
        pixels = (pixels + size * gradient.sign()).clamp(lowest, highest)
        images = torch.where(gradient == 0, images, (pixels - mean) / std)
        yield AttackStep(logits, images)


def still_right(before: list[torch.Tensor], logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    right = logits.argmax(dim=-1) == labels
    return before[-1] & right if before else right


def pixel_gradient(
    model: nn.Module, pixel_values: torch.Tensor, labels: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """The gradient of each image's own cross entropy with respect to `pixel_values`, of their shape; and the logits."""
    with as_it_is_used(model) as plain, torch.enable_grad():
        given = pixel_values.detach().requires_grad_()
        logits = finite_logits(plain, pixel_values=given)
        check_labels(labels, logits, "an image")
        # The sum, not the mean: of a large batch the gradient of one image would be small.
        (gradient,) = torch.autograd.grad(F.cross_entropy(logits, labels, reduction="sum"), given)
    check_finite("gradients", gradient)
    return gradient, logits.detach()


class WordEmbeddings:
    """
    The word embeddings of a model while it runs: moved by something or, without that, in `leaf`, for a gradient.

    A forward must look up the words once, each at its place: other models would be moved wrongly, or not at all.
    """

    def __init__(self, model: nn.Module, mask: torch.Tensor, moved_by: torch.Tensor | None = None):
        self.model, self.places, self.moved_by = model, mask.shape[:2], moved_by
        self.seen: list[torch.Tensor] = []

    def __enter__(self) -> WordEmbeddings:
        model: Any = self.model
        try:
            embeddings = model.get_input_embeddings()
        except NotImplementedError:
            embeddings = None
        if not isinstance(embeddings, nn.Module):
            self._refuse("has none there")
        self.handle = embeddings.register_forward_hook(self._change)
        return self

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        self.handle.remove()

    @property
    def leaf(self) -> torch.Tensor:
        if len(self.seen) != 1:
            self._refuse(f"was called {len(self.seen)} times")
        return self.seen[0]

    def _change(self, module: nn.Module, args: Any, output: Any) -> torch.Tensor:
        if not isinstance(output, torch.Tensor) or output.ndim != 3 or output.shape[:2] != self.places:
            shape = tuple(output.shape) if isinstance(output, torch.Tensor) else type(output).__name__
            self._refuse(f"returned {shape} for input_ids of shape {tuple(self.places)}")
        if self.moved_by is not None:
            return output + self.moved_by
        self.seen.append(output.detach().requires_grad_())
        return self.seen[-1]

    def _refuse(self, what: str) -> None:
        raise ValueError(
            f"`model` must look up its words once, by model.get_input_embeddings(), as (B, L, D); that of "
            f"{type(self.model).__name__} {what}. Give a classifier that is an encoder of texts, with an attention that keeps "
            'the padding (attn_implementation="sdpa" or "eager").'
        )


def direction(gradient: torch.Tensor, embeddings: torch.Tensor, mask: torch.Tensor, norm: str) -> torch.Tensor:
    """What `epsilon` multiplies, `(B, L, D)`; `gradient` is 0 where `mask` `(B, L, 1)` is."""
    length = (embeddings.norm(dim=-1, keepdim=True) * mask).sum(dim=1, keepdim=True) / mask.sum(dim=1, keepdim=True)
    if norm == "linf":
        return length / embeddings.shape[-1] ** 0.5 * gradient.sign()
    # By its largest entry first: of a certain text the squares of a gradient are too small for float32.
    largest = gradient.abs().amax(dim=(1, 2), keepdim=True)
    scaled = gradient / torch.where(largest > 0, largest, 1)
    size = scaled.flatten(1).norm(dim=1).view(-1, 1, 1)
    return length * scaled / torch.where(size > 0, size, 1)


def token_mask(inputs: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """1 at real tokens and 0 at padding, float32 `(B, L, 1)`."""
    ids, mask = inputs.get("input_ids"), inputs.get("attention_mask")
    if ids is None or ids.ndim != 2:
        raise ValueError(
            f"`inputs` must have input_ids of shape (B, L), got "
            f"{', '.join(inputs) if ids is None else f'those of shape {tuple(ids.shape)}'}: give batches of tokenised texts."
        )
    if mask is None:
        return torch.ones(*ids.shape, 1, device=ids.device)
    if mask.shape != ids.shape:
        raise ValueError(
            f"`attention_mask` must have the shape of input_ids, {tuple(ids.shape)}, got {tuple(mask.shape)}: give the mask "
            "that the tokenizer made."
        )
    mask = (mask != 0).float()
    if not bool(mask.any(dim=1).all()):
        raise ValueError(
            f"`attention_mask` must have a token in every row, row {int(mask.any(dim=1).logical_not().nonzero()[0])} has "
            "none: leave out texts without tokens."
        )
    return mask[..., None]


def labelled(batches: Iterable[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    """The batches, if there are any and all have labels."""
    batch = None
    for batch in batches:
        if "labels" not in batch:
            raise ValueError(
                f"A batch has no labels, only {', '.join(batch)}: evaluate a split that has labels, and name its label "
                "column 'label'."
            )
        yield batch
    if batch is None:
        raise ValueError("`batches` must hold at least one batch, got none: give a data set with at least one row.")


def finite_logits(model: nn.Module, **inputs: torch.Tensor) -> torch.Tensor:
    logits = model(**inputs).logits
    check_finite("logits", logits)
    return logits


def to_pixels(pixel_values: torch.Tensor, mean: torch.Tensor, std: torch.Tensor) -> torch.Tensor:
    """Images in `[0, 1]` that were normalised with `mean` and `std`."""
    pixels = pixel_values * std + mean
    # What is not finite is outside as well.
    inside = (pixels >= -_RANGE_TOLERANCE) & (pixels <= 1 + _RANGE_TOLERANCE)
    if not bool(inside.all()):
        worst = pixels[~inside][0].item()
        raise ValueError(
            f"`pixel_values` * `std` + `mean` must lie in [0, 1], got a pixel of {worst:.6g}: give the mean and std that the "
            "images were normalised with, as `pixel_statistics` asks them of the image processor."
        )
    return pixels.clamp(0, 1)


def per_channel(name: str, values: torch.Tensor | Sequence[float], images: torch.Tensor) -> torch.Tensor:
    """One number a channel, `(C, 1, 1)`."""
    tensor = torch.as_tensor(values, dtype=torch.float32, device=images.device)
    if images.ndim != 4 or tensor.shape != (images.shape[1],):
        raise ValueError(
            f"`{name}` must hold one number for each channel of `pixel_values` (B, C, H, W), got shapes "
            f"{tuple(tensor.shape)} and {tuple(images.shape)}."
        )
    if not bool(tensor.isfinite().all()) or (name == "std" and not bool((tensor > 0).all())):
        raise ValueError(
            f"`{name}` must be finite{', and above 0' if name == 'std' else ''}, got {tensor.tolist()}. For images in "
            "[0, 1] that were not normalised, mean is 0 and std is 1."
        )
    return tensor.view(-1, 1, 1)


def check_labels(labels: torch.Tensor, logits: torch.Tensor, of: str) -> None:
    rows, n_classes = logits.shape
    if labels.shape != (rows,) or labels.dtype != torch.int64:
        raise ValueError(
            f"`labels` must be one int64 class {of}, of shape ({rows},), got {labels.dtype} of shape "
            f"{tuple(labels.shape)}."
        )
    outside = (labels < 0) | (labels >= n_classes)
    if bool(outside.any()):
        raise ValueError(
            f"`labels` must be classes in 0..{n_classes - 1}, got {labels[outside][0].item()}. A label of -100 is hidden: "
            f"leave {of} without a label out."
        )


def check_finite(name: str, values: torch.Tensor) -> None:
    if not bool(values.isfinite().all()):
        raise ValueError(
            f"The {name} of `model` must be finite, and some are NaN or inf: the model has diverged. Train it with a lower "
            "learning rate, or without half precision."
        )
