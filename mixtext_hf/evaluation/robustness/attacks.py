"""Adversarial images and texts, and the accuracy on them. Knows models and tensors, and no trainer.

An attack on images is a function of a model, the images and their labels that returns other images; what else it needs
(how far it may go, how images are normalised) is bound to it beforehand. Texts are attacked where they are vectors first,
at their word embeddings. Models are attacked as they are used: in evaluation mode, in float32. Afterwards everything of
them is as it was, also after an error.

Two ways of counting. [`adversarial_accuracy`] is the accuracy on the images that an attack made, whatever the model says
of those it was given: a wrong prediction that an attack happens to turn right counts as right. [`robust_accuracies`] and
[`embedding_fgsm_accuracy`] count what is right without the attack and stays so under it: never more than the clean
accuracy.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
import torch.nn.functional as F
from torch import nn

from mixtext_hf._numbers import is_whole
from mixtext_hf.evaluation.measures.metrics import accuracy

from .attack_steps import (
    WordEmbeddings,
    as_it_is_used,
    check_finite,
    check_labels,
    direction,
    finite_logits,
    labelled,
    steps_of,
    still_right,
    token_mask,
)


Attack: TypeAlias = Callable[[nn.Module, torch.Tensor, torch.Tensor], torch.Tensor]

_NORMS = ("l2", "linf")


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
            What the images were normalised with, as [`~mixtext_hf.data.images.collator.pixel_statistics`] returns it; zeros
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
    (step,) = steps_of(model, pixel_values, labels, epsilon=epsilon, sizes=[epsilon], mean=mean, std=std)
    return step.images


def pgd(
    model: nn.Module,
    pixel_values: torch.Tensor,
    labels: torch.Tensor,
    *,
    epsilon: float,
    step_size: float,
    steps: int,
    mean: torch.Tensor | Sequence[float],
    std: torch.Tensor | Sequence[float],
) -> torch.Tensor:
    r"""
    Projected gradient descent on the negative loss, `x_{t+1} = Pi(x_t + step_size sign(d CE / d x_t))`, where `Pi` takes
    every pixel to the nearest one that is at most `epsilon` from the given image and in `[0, 1]` (Madry et al., ICLR 2018,
    https://arxiv.org/abs/1706.06083, section 2.1).

    The first iterate is that of [`fgsm`], where the paper starts at the image or at a random point of the ball: so nothing
    is random, and with `steps=0` the images are those of [`fgsm`], bit for bit. The paper has 7 or 20 steps of 2/255 for
    `epsilon` 8/255. Every image is attacked for itself; a pixel without a gradient stays where it is in that step.

    Args:
        model (`nn.Module`): As for [`fgsm`].
        pixel_values (`torch.Tensor` of shape `(B, C, H, W)`, floating): As for [`fgsm`].
        labels (`torch.Tensor` of shape `(B,)`, int64): Their true classes.
        epsilon (`float`): How far a pixel may be moved in all, in `(0, 1]`: 8/255 is eight grey levels.
        step_size (`float`): How far it is moved in one step, in `(0, 1]`.
        steps (`int`): Steps after the one of [`fgsm`], at least 0.
        mean (`torch.Tensor` or `Sequence[float]` of length `C`): As for [`fgsm`].
        std (`torch.Tensor` or `Sequence[float]` of length `C`): As for [`fgsm`].

    Returns:
        `torch.Tensor` of shape `(B, C, H, W)`, float32: the last iterate, normalised. Its pixels are at most `epsilon` away
        from those given and in `[0, 1]`, both up to rounding.

    Raises:
        `ValueError`: as [`fgsm`], and if `step_size` or `steps` is out of its range.
    """
    check_epsilon(epsilon)
    check_steps(step_size, steps)
    sizes = [epsilon, *[step_size] * steps]
    *_, last = steps_of(model, pixel_values, labels, epsilon=epsilon, sizes=sizes, mean=mean, std=std)
    return last.images


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
    fgsm_accuracy = adversarial_accuracy(image_model, image_batches, attack)
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
    for batch in labelled(batches):
        labels = batch["labels"].to(device)
        adversarial = attack(model, batch["pixel_values"].to(device), labels)
        with as_it_is_used(model) as plain, torch.no_grad():
            prediction = finite_logits(plain, pixel_values=adversarial).argmax(dim=-1)
        if gather is not None:
            prediction, labels = gather((prediction, labels))
        predictions.append(prediction.cpu())
        references.append(labels.cpu())
    return accuracy(predictions=torch.cat(predictions).numpy(), references=torch.cat(references).numpy())


@dataclass(frozen=True)
class RobustAccuracies:
    """
    Shares of the same images, each at most the one before it.

    Attributes:
        clean (`float` in `[0, 1]`): Right as they are.
        fgsm (`float` in `[0, 1]`): Right as they are, and as [`fgsm`] makes them.
        pgd (`float` in `[0, 1]`): Right as they are, and as every iterate of [`pgd`], that of [`fgsm`] among them.
    """

    clean: float
    fgsm: float
    pgd: float


def robust_accuracies(
    model: nn.Module,
    batches: Iterable[Mapping[str, Any]],
    *,
    epsilon: float,
    step_size: float,
    steps: int,
    mean: torch.Tensor | Sequence[float],
    std: torch.Tensor | Sequence[float],
    gather: Callable[[Any], Any] | None = None,
) -> RobustAccuracies:
    """
    The clean accuracy, and the accuracies under [`fgsm`] and [`pgd`], in one pass over the images.

    An image is robust if it is classified rightly as it is and after every step: what an attack found on its way counts,
    and an image that is wrong to begin with is not robust because an attack turns it right. So, unlike the
    [`adversarial_accuracy`] of [`fgsm`], `fgsm` here is at most `clean`.

    Args:
        model (`nn.Module`): As for [`fgsm`].
        batches (`Iterable` of batches): As for [`adversarial_accuracy`].
        epsilon (`float`): As for [`pgd`], in `(0, 1]`.
        step_size (`float`): As for [`pgd`], in `(0, 1]`.
        steps (`int`): As for [`pgd`], at least 0. A batch of which no image is left takes no further step.
        mean (`torch.Tensor` or `Sequence[float]` of length `C`): As for [`fgsm`].
        std (`torch.Tensor` or `Sequence[float]` of length `C`): As for [`fgsm`].
        gather (`Callable`, *optional*): As for [`adversarial_accuracy`].

    Returns:
        [`RobustAccuracies`]: `pgd <= fgsm <= clean`.

    Raises:
        `ValueError`: if there is no batch, if a batch has no labels, and what [`pgd`] raises.
    """
    check_epsilon(epsilon)
    check_steps(step_size, steps)
    sizes = [epsilon, *[step_size] * steps]
    device = next(model.parameters()).device
    counted = []
    for batch in labelled(batches):
        labels = batch["labels"].to(device)
        attack = steps_of(
            model, batch["pixel_values"].to(device), labels, epsilon=epsilon, sizes=sizes, mean=mean, std=std
        )
        # Which images were right before every step so far.
        right: list[torch.Tensor] = []
        for step in attack:
            right.append(still_right(right, step.logits, labels))
            if not bool(right[-1].any()):
                break
        else:
            with as_it_is_used(model) as plain, torch.no_grad():
                right.append(still_right(right, finite_logits(plain, pixel_values=step.images), labels))
        # Of a batch that was left early nothing is right from there on.
        rows = torch.stack([right[0], right[min(1, len(right) - 1)], right[-1]], dim=1).long()
        counted.append((rows if gather is None else gather(rows)).cpu())
    return RobustAccuracies(*torch.cat(counted).double().mean(dim=0).tolist())


def embedding_fgsm(
    model: nn.Module,
    inputs: Mapping[str, torch.Tensor],
    labels: torch.Tensor,
    *,
    epsilons: Sequence[float],
    norm: str = "l2",
) -> torch.Tensor:
    r"""
    Which texts a classifier gets right, as they are and with their word embeddings moved along the gradient of the loss.

    One gradient a text, at its word embeddings as they are, serves all `epsilons`. With `m` the mean l2 norm of the word
    embeddings of the real tokens of that text, `D` their dimension and `g` the gradient of the text's own cross entropy
    with respect to its word embeddings, 0 at padding, the text is moved by

    - `"l2"`: `epsilon m g / ||g||`, the norm taken over all tokens of the text together (Miyato, Dai & Goodfellow, ICLR
      2017, https://arxiv.org/abs/1605.07725, section 3): in all, the text moves by `epsilon` times the length of one
      word embedding, however many words it has.
    - `"linf"`: `epsilon m / sqrt(D) sign(g)` (Goodfellow, Shlens & Szegedy, ICLR 2015): every token moves, by `epsilon`
      times the length of a word embedding.

    The paper normalises the word embeddings to unit variance (its equation 1); here they are the model's, and it is `m`
    that makes `epsilon` comparable between models. Word embeddings are what `model.get_input_embeddings()` returns, before
    positions, types and layer norm are added; a hook changes them, so the model need not take `inputs_embeds`. Every text
    is attacked for itself: the others of its batch do not matter. A text without a gradient is not moved.

    Args:
        model (`nn.Module`):
            A text classifier of transformers, with or without PEFT, that takes `inputs` and returns `logits` `(B, C)`;
            parameters in float32. Neither its parameters' gradients and flags nor its modes, buffers and hooks change. What
            is compiled or wrapped for several processes is attacked as the plain model within.
        inputs (`Mapping[str, torch.Tensor]`):
            `input_ids` `(B, L)` and what else the model takes, on its device. `attention_mask` `(B, L)` says by 0 which
            tokens are padding and not to be moved; special tokens are real ones. Without it, all tokens are.
        labels (`torch.Tensor` of shape `(B,)`, int64): The true classes.
        epsilons (`Sequence[float]`): Strengths, each finite and above 0, without unit.
        norm (`str`, *optional*, defaults to `"l2"`): `"l2"` or `"linf"`.

    Returns:
        `torch.Tensor` of shape `(1 + len(epsilons), B)`, bool: first which texts are classified rightly as they are, then
        for each of `epsilons` which of these are so when moved as well. A text that withstands a large step does not
        always withstand a smaller one: each of `epsilons` is counted for itself.

    Raises:
        `ValueError`: if an argument is out of its range, if the model does not look up the words of its texts once by
            `get_input_embeddings()`, if it is not in float32, or if its logits or gradients are not finite.
    """
    check_epsilons(epsilons)
    if norm not in _NORMS:
        raise ValueError(f"`norm` must be one of {', '.join(map(repr, _NORMS))}, got {norm!r}.")
    mask = token_mask(inputs)
    with as_it_is_used(model) as plain:
        with torch.enable_grad(), WordEmbeddings(plain, mask) as words:
            logits = finite_logits(plain, **inputs)
            check_labels(labels, logits, "a text")
            loss = F.cross_entropy(logits, labels, reduction="sum")
            (gradient,) = torch.autograd.grad(loss, words.leaf)
        check_finite("gradients", gradient)
        right = [logits.argmax(dim=-1) == labels]
        towards = direction(gradient * mask, words.leaf.detach(), mask, norm)
        with torch.no_grad():
            for epsilon in epsilons:
                with WordEmbeddings(plain, mask, moved_by=epsilon * towards):
                    prediction = finite_logits(plain, **inputs).argmax(dim=-1)
                right.append(right[0] & (prediction == labels))
    return torch.stack(right)


def embedding_fgsm_accuracy(
    model: nn.Module,
    batches: Iterable[Mapping[str, Any]],
    *,
    epsilons: Sequence[float],
    norm: str = "l2",
    gather: Callable[[Any], Any] | None = None,
) -> dict[float, float]:
    """
    The accuracy on texts, clean and under [`embedding_fgsm`] of several strengths, in one pass over the texts.

    ```python
    embedding_fgsm_accuracy(model, batches, epsilons=[0.1, 0.5])  # by epsilon, 0.0 too
    ```

    Args:
        model (`nn.Module`): As for [`embedding_fgsm`].
        batches (`Iterable` of batches):
            Batches of any size with `labels` and the inputs of the model, as a text collator makes them; they are moved to
            the device of the model.
        epsilons (`Sequence[float]`): As for [`embedding_fgsm`].
        norm (`str`, *optional*, defaults to `"l2"`): As for [`embedding_fgsm`].
        gather (`Callable`, *optional*): As for [`adversarial_accuracy`].

    Returns:
        `dict[float, float]`: from each of `epsilons` to the share, in `[0, 1]`, of all texts that are right as they are and
        when moved so far; and from `0.0` to the clean accuracy, which is the largest.

    Raises:
        `ValueError`: if there is no batch, if a batch has no labels, and what [`embedding_fgsm`] raises.
    """
    check_epsilons(epsilons)
    device = next(model.parameters()).device
    counted = []
    for batch in labelled(batches):
        inputs = {name: values.to(device) for name, values in batch.items() if name != "labels"}
        right = embedding_fgsm(model, inputs, batch["labels"].to(device), epsilons=epsilons, norm=norm)
        rows = right.T.contiguous().long()
        counted.append((rows if gather is None else gather(rows)).cpu())
    return dict(zip([0.0, *epsilons], torch.cat(counted).double().mean(dim=0).tolist(), strict=True))


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


def check_steps(step_size: float, steps: int) -> None:
    """
    Raises:
        `ValueError`: if `step_size` is no number in `(0, 1]`, or `steps` no whole number from 0 on.
    """
    if not 0 < step_size <= 1:
        raise ValueError(
            f"`step_size` must lie in (0, 1], where 1 is the whole range of a pixel, got {step_size}. Grey levels are to be "
            "divided by 255: 2 / 255."
        )
    if not is_whole(steps) or steps < 0:
        raise ValueError(f"`steps` must be a whole number, at least 0, got {steps!r}: 7 are usual.")


def check_epsilons(epsilons: Sequence[float]) -> None:
    """
    Raises:
        `ValueError`: if `epsilons` are none, are not all different, or if one is not finite and above 0.
    """
    wrong = [epsilon for epsilon in epsilons if not 0 < epsilon < float("inf")]
    if not epsilons or wrong or len(set(epsilons)) < len(epsilons):
        raise ValueError(
            f"`epsilons` must be different finite numbers above 0, in mean norms of the word embeddings, got "
            f"{list(epsilons)}: 0.1 and 0.5, say. The clean accuracy is always counted."
        )


# ---- what attacks are made of ----
