"""Adversarial images, and the accuracy on them. Knows models and tensors, and no trainer.

An attack is a function of a model, the images and their labels that returns other images; what else it needs (how far
it may go, how images are normalised) is bound to it beforehand. Models are attacked as they are used: in evaluation
mode, in float32. Afterwards everything of them is as it was, also after an error.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeAlias

import torch
import torch.nn.functional as F
from accelerate.utils import extract_model_from_parallel
from torch import nn

from mixtext_hf.models.modes import evaluating, full_precision

from .metrics import accuracy


Attack: TypeAlias = Callable[[nn.Module, torch.Tensor, torch.Tensor], torch.Tensor]

# Half a grey level: by so much half precision may move a pixel out of [0, 1] when it is normalised.
_RANGE_TOLERANCE = 0.5 / 255


def fgsm(
    model: nn.Module,
    pixel_values: torch.Tensor,
    labels: torch.Tensor,
    *,
    epsilon: float,
    mean: torch.Tensor | Sequence[float],
    std: torch.Tensor | Sequence[float],
) -> torch.Tensor:
    r"""
    The fast gradient sign method, `x + epsilon sign(d CE / d x)`, clipped to what is an image (Goodfellow, Shlens &
    Szegedy, ICLR 2015, section 4).

    `x` are pixels in `[0, 1]`; the model is given `(x - mean) / std`. Every image is attacked for itself: the others of
    its batch do not matter. A pixel without a gradient stays bit for bit what it is. So does a whole image whose label
    is so certain that the loss rounds to 0: what has no gradient is not robust for that reason.

    Args:
        model (`nn.Module`):
            An image classifier that takes `pixel_values` and returns `logits` `(B, C)`; parameters in float32. Neither its
            parameters' gradients and flags nor its modes and buffers change. What is compiled or wrapped for several
            processes is attacked as the plain model within.
        pixel_values (`torch.Tensor` of shape `(B, C, H, W)`, floating):
            Normalised images, on the device of the model.
        labels (`torch.Tensor` of shape `(B,)`, int64):
            Their true classes.
        epsilon (`float`):
            How far a pixel may be moved, in `(0, 1]`: 8/255 is eight grey levels.
        mean (`torch.Tensor` or `Sequence[float]` of length `C`):
            What the images were normalised with, as [`~mixtext_hf.data.image_collator.pixel_statistics`] returns it; zeros
            where they were not.
        std (`torch.Tensor` or `Sequence[float]` of length `C`):
            The same; ones where they were not.

    Returns:
        `torch.Tensor` of shape `(B, C, H, W)`, float32: normalised images. Their pixels are at most `epsilon` away from
        those given and in `[0, 1]`, both up to rounding.

    Raises:
        `ValueError`: if an argument is out of its range; if, with this `mean` and `std`, the images are not in `[0, 1]`
            to half a grey level; if the model is not in float32; or if its logits or gradients are not finite.
    """
    check_epsilon(epsilon)
    original = pixel_values.detach().float()
    mean, std = _per_channel("mean", mean, original), _per_channel("std", std, original)
    pixels = _to_pixels(original, mean, std)
    gradient = _pixel_gradient(model, original, labels)
    # Normalising is rising in every channel: the sign is that of the gradient with respect to the pixels.
    moved = (pixels + epsilon * gradient.sign()).clamp(0, 1)
    return torch.where(gradient == 0, original, (moved - mean) / std)


def adversarial_accuracy(
    model: nn.Module,
    batches: Iterable[Mapping[str, Any]],
    attack: Attack,
    *,
    gather: Callable[[Any], Any] | None = None,
) -> float:
    """
    The accuracy on images that an attack changed.

    ```python
    attack = partial(fgsm, epsilon=8 / 255, mean=mean, std=std)
    fgsm_accuracy = adversarial_accuracy(model, loader, attack)
    ```

    Args:
        model (`nn.Module`): As for the attack.
        batches (`Iterable` of batches):
            Batches of any size with `pixel_values` and `labels`, as an image collator makes them; they are moved to the
            device of the model.
        attack (`Callable`): From the model, `pixel_values` and `labels` to other `pixel_values`, such as [`fgsm`].
        gather (`Callable`, *optional*):
            In several processes, what joins tensors of all of them along the first dimension and drops the examples that
            were only added to fill the last batch: `Accelerator.gather_for_metrics`, where `batches` is a loader that this
            accelerator prepared. Every process then returns the same.

    Returns:
        `float` in `[0, 1]`: the share of all examples whose adversarial image is classified rightly.

    Raises:
        `ValueError`: if there is no batch, if a batch has no labels, and what the attack raises.
    """
    device = next(model.parameters()).device
    predictions, references = [], []
    for batch in batches:
        if "labels" not in batch:
            raise ValueError(
                f"A batch has no labels, only {', '.join(batch)}: evaluate a split that has labels, and name its label "
                "column 'label'."
            )
        labels = batch["labels"].to(device)
        adversarial = attack(model, batch["pixel_values"].to(device), labels)
        with _as_it_is_used(model) as plain, torch.no_grad():
            prediction = _logits(plain, adversarial).argmax(dim=-1)
        if gather is not None:
            prediction, labels = gather((prediction, labels))
        predictions.append(prediction.cpu())
        references.append(labels.cpu())
    if not predictions:
        raise ValueError("`batches` must hold at least one batch, got none: give a data set with at least one row.")
    return accuracy(predictions=torch.cat(predictions).numpy(), references=torch.cat(references).numpy())


def check_epsilon(epsilon: float) -> None:
    """
    Raises:
        `ValueError`: if `epsilon` is no number in `(0, 1]`, the unit of which is the whole range of a pixel.
    """
    if not 0 < epsilon <= 1:
        raise ValueError(
            f"`epsilon` must lie in (0, 1], where 1 is the whole range of a pixel, got {epsilon}. Grey levels are to be "
            "divided by 255: 8 / 255."
        )


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


# ---- what attacks are made of ----


@contextmanager
def _as_it_is_used(model: nn.Module) -> Iterator[nn.Module]:
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


def _pixel_gradient(model: nn.Module, pixel_values: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """The gradient of each image's own cross entropy with respect to `pixel_values`, of their shape."""
    with _as_it_is_used(model) as plain, torch.enable_grad():
        given = pixel_values.detach().requires_grad_()
        logits = _logits(plain, given)
        _check_labels(labels, logits)
        # The sum, not the mean: of a large batch the gradient of one image would be small.
        (gradient,) = torch.autograd.grad(F.cross_entropy(logits, labels, reduction="sum"), given)
    _check_finite("gradients", gradient)
    return gradient


def _logits(model: nn.Module, pixel_values: torch.Tensor) -> torch.Tensor:
    logits = model(pixel_values=pixel_values).logits
    _check_finite("logits", logits)
    return logits


def _to_pixels(pixel_values: torch.Tensor, mean: torch.Tensor, std: torch.Tensor) -> torch.Tensor:
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


def _per_channel(name: str, values: torch.Tensor | Sequence[float], images: torch.Tensor) -> torch.Tensor:
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


def _check_labels(labels: torch.Tensor, logits: torch.Tensor) -> None:
    rows, n_classes = logits.shape
    if labels.shape != (rows,) or labels.dtype != torch.int64:
        raise ValueError(
            f"`labels` must be one int64 class an image, of shape ({rows},), got {labels.dtype} of shape "
            f"{tuple(labels.shape)}."
        )
    outside = (labels < 0) | (labels >= n_classes)
    if bool(outside.any()):
        raise ValueError(
            f"`labels` must be classes in 0..{n_classes - 1}, got {labels[outside][0].item()}. A label of -100 is hidden: "
            "leave such images out."
        )


def _check_finite(name: str, values: torch.Tensor) -> None:
    if not bool(values.isfinite().all()):
        raise ValueError(
            f"The {name} of `model` must be finite, and some are NaN or inf: the model has diverged. Train it with a lower "
            "learning rate, or without half precision."
        )
