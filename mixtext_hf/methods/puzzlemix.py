"""PuzzleMix (Kim, Choo & Song, ICML 2020): saliency decides which image a block is taken from, and where it goes.

The paper's objective is minimised in `mixing/puzzle.py`; here is what a training step makes of it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal, get_args

import numpy as np
import torch

from mixtext_hf._numbers import is_number, is_whole
from mixtext_hf.mixing import Blocks, MixPlan, has_label, to_device
from mixtext_hf.mixing.puzzle import TransportSize, fitting_block_nums, puzzle_mix
from mixtext_hf.mixing.saliency import channel_saliency, is_degenerate, spectral_residual

from .base import Preset, Step
from .citation import Citation
from .constant_masks import MaskWatch, count_constant, share_constant
from .kept_rows import rows_of
from .kept_saliency import kept_saliency
from .pixels import PIXELS, PixelMix, check_not_negative, is_identity, size_for


Saliency = Literal["gradient", "spectral_residual"]

GUIDEDMIXUP = Citation(
    authors="Kang, M. and Kim, S.",
    title="GuidedMixup: An Efficient Mixup Strategy Guided by Saliency Maps",
    venue="AAAI",
    year=2023,
    url="https://arxiv.org/abs/2306.16612",
)

_CIFAR = {
    "n_labels": 3,
    "beta": 1.2,
    "gamma": 0.5,
    "eta": 0.2,
    "neigh_size": 4,
    "t_eps": 0.8,
    "t_size": 4,
    "clean_lam": 0.0,
}
_TINY_IMAGENET = {**_CIFAR, "t_size": -1, "clean_lam": 1.0}
_ADVERSARIAL = {"adv_eps": 10.0}
# The official commands, but for their length. Their learning rate falls to a tenth at two epochs, which no schedule of
# transformers does: cosine is the one that comes near it for every length.
_SGD = {
    "per_device_train_batch_size": 100,
    "optim": "sgd",
    "optim_args": "momentum=0.9,nesterov=True",
    "weight_decay": 1e-4,
    "lr_scheduler_type": "cosine",
}
_TRAIN_CIFAR = {**_SGD, "learning_rate": 0.1, "mix_loss": "bce", "image_augmentations": ["flip", "crop:2"]}
_TRAIN_TINY_IMAGENET = {**_SGD, "learning_rate": 0.2, "mix_loss": "bce", "image_augmentations": ["flip", "crop:4"]}
# Without the jitter of colours and lighting of the official code.
_TRAIN_IMAGENET = {
    **_SGD,
    "per_device_train_batch_size": 256,
    "learning_rate": 0.1,
    "image_augmentations": ["random_resized_crop:0.08", "flip"],
}

# Cells a side of the saliency that is kept of an image, at least: as many as the finest blocks of the paper.
_KEPT_GRID = 16


@dataclass(frozen=True)
class PuzzleMix(PixelMix):
    r"""
    Cut both images into blocks; keep what is salient (a minimum cut), make room for it (a transport), mix by the mask.

    Args:
        n_labels (`int`): Mask levels `{0, 1/m, .., 1}`, `m = n_labels - 1`.
        beta (`float`): Weight of the smoothness of the mask, psi.
        gamma (`float`): Weight of the smoothness of the pixels at block borders, phi, relative to `beta`; at most 1.
        eta (`float`): Weight of the prior that ties the mask to `lam`.
        neigh_size (`int`): Side in pixels of the cells that are compared at block borders.
        block_nums (`tuple[int, ...]`): Blocks along a side, drawn from those that divide both sides of the images.
        t_eps (`float`): Cost of moving a block, xi.
        t_size (`int` or `"auto"`, *optional*): Side in pixels of what is moved; -1: a block; `"auto"`: 4 in images of at most
            32 pixels a side, a block in larger ones; `None`: nothing is moved.
        clean_lam (`float`): Weight of the loss on the unmixed images, whose gradient then serves as saliency; 0: the gradient
            is taken with respect to the pixels alone, in evaluation mode. With another saliency than the gradient: as in the other
            methods.
        saliency (`"gradient"` or `"spectral_residual"`): Of the loss with respect to the pixels, or that of the images alone, which
            takes no pass of the network (Hou & Zhang 2007, as in GuidedMixup, Kang & Kim 2023).
        adv_p (`float`): Chance that an image of the pair carries adversarial noise, drawn for the batch.
        adv_eps (`float`): Its size in grey levels of 255.
        saliency_every (`int`): For how many epochs the saliency of an image serves, moved with its crop and flip; 1: it is
            measured in every step, at the cost of a pass of its own.
    """

    n_labels: int = 3
    beta: float = 1.2
    gamma: float = 0.5
    eta: float = 0.2
    neigh_size: int = 4
    block_nums: tuple[int, ...] = (2, 4, 8, 16)
    t_eps: float = 0.8
    t_size: TransportSize = "auto"
    saliency: Saliency = "gradient"
    adv_p: float = 0.0
    adv_eps: float = 10.0
    saliency_every: int = 1

    name: ClassVar[str] = "puzzlemix"
    equation: ClassVar[str] = (
        "min_{z, P0, P1} -||(1-z) P0'(s_0)||_1 - ||z P1'(s_1)||_1 + beta sum psi + gamma sum phi - eta sum log p(z) "
        "+ xi sum <P_k, C>,  x <- (1-z) P0'(x_0) + z P1'(x_1)"
    )
    presets: ClassVar[dict[str, Preset]] = {
        "cifar": Preset(_CIFAR, _TRAIN_CIFAR),
        "cifar_adversarial": Preset({**_CIFAR, **_ADVERSARIAL, "adv_p": 0.1}, _TRAIN_CIFAR),
        "tiny_imagenet": Preset(_TINY_IMAGENET, _TRAIN_TINY_IMAGENET),
        "tiny_imagenet_adversarial": Preset({**_TINY_IMAGENET, **_ADVERSARIAL, "adv_p": 0.15}, _TRAIN_TINY_IMAGENET),
        "imagenet": Preset({**_CIFAR, "t_size": -1, "neigh_size": 2}, _TRAIN_IMAGENET),
    }
    citation: ClassVar[Citation] = Citation(
        authors="Kim, J.-H., Choo, W. and Song, H. O.",
        title="Puzzle Mix: Exploiting Saliency and Local Statistics for Optimal Mixup",
        venue="ICML",
        year=2020,
        url="https://arxiv.org/abs/2009.06962",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        check_not_negative(
            beta=self.beta,
            gamma=self.gamma,
            eta=self.eta,
            t_eps=self.t_eps,
            adv_eps=self.adv_eps,
        )
        if self.gamma > 1:
            raise ValueError(
                f"gamma must be at most 1, got {self.gamma}: beyond, neighbouring blocks may pay for being alike, and the "
                "minimum cut is no cut any more. Raise beta, which scales both."
            )
        if not is_number(self.adv_p) or not 0 <= self.adv_p <= 1:
            raise ValueError(f"adv_p must lie in [0, 1], got {self.adv_p!r}.")
        if self.saliency not in get_args(Saliency):
            raise ValueError(f"saliency must be one of {get_args(Saliency)}, got {self.saliency!r}.")
        if self.adv_p and self.saliency != "gradient":
            raise ValueError(
                f"adv_p={self.adv_p} takes a step along the gradient of the loss, and saliency={self.saliency!r} has none: drop one "
                "of them."
            )
        if self.saliency_every > 1 and self.saliency != "gradient":
            raise ValueError(
                f"saliency_every={self.saliency_every} saves the pass for the saliency, and saliency={self.saliency!r} takes none: drop "
                "one of them."
            )
        for name, least in (("n_labels", 2), ("neigh_size", 1), ("saliency_every", 1)):
            if not is_whole(getattr(self, name)) or getattr(self, name) < least:
                raise ValueError(f"{name} must be a whole number >= {least}, got {getattr(self, name)!r}.")
        t_size: Any = self.t_size
        if t_size not in (None, "auto") and not (is_whole(t_size) and (t_size == -1 or t_size >= 1)):
            raise ValueError(
                f't_size must be "auto", -1 (a block), a number of pixels, or null (no transport), got {self.t_size!r}.'
            )
        is_list = isinstance(self.block_nums, Sequence) and not isinstance(self.block_nums, str)
        if not is_list or not self.block_nums or not all(is_whole(b) and b >= 1 for b in self.block_nums):
            raise ValueError(f"block_nums must be a list of whole numbers >= 1, got {self.block_nums!r}.")
        object.__setattr__(self, "block_nums", tuple(self.block_nums))
        for name, why in (
            ("clean_lam", "takes it from a pass that is made anyway"),
            ("adv_p", "needs the gradient too"),
        ):
            if self.saliency_every > 1 and getattr(self, name) > 0:
                raise ValueError(
                    f"saliency_every={self.saliency_every} saves the pass for the saliency, and {name}={getattr(self, name)} {why}: "
                    f"set {name} to 0, or saliency_every to 1."
                )

    # ---- what is drawn ----

    def draw(
        self, batch_size: int, *, rng: np.random.Generator, image_size: tuple[int, int] | None = None, **about: Any
    ) -> MixPlan:
        plan = super().draw(batch_size, rng=rng, **about)
        block_num = int(rng.choice(self.fitting(size_for(self.name, image_size))))
        noise_on = (bool(rng.random() < self.adv_p), bool(rng.random() < self.adv_p))
        seed, scale = int(rng.integers(2**63)), float(rng.random())
        if is_identity(plan):
            return plan
        return replace(plan, detail=Blocks(block_num, seed, noise_on, scale) if any(noise_on) else Blocks(block_num))

    def fitting(self, image_size: tuple[int, int]) -> list[int]:
        """
        Those of `block_nums` that divide both sides.

        Raises:
            `ValueError`: if there is none; names the nearest sizes that would do.
        """
        height, width = image_size
        fitting = fitting_block_nums(image_size, self.block_nums)
        if not fitting:
            least = min(self.block_nums)
            near = " x ".join(str(max(round(side / least), 1) * least) for side in image_size)
            raise ValueError(
                f"Images of {height} x {width} pixels cannot be cut into any of block_nums={list(self.block_nums)} equal parts "
                f"along both sides: resize them to multiples of {least}, such as {near}, or name block_nums that divide "
                f"{math.gcd(height, width)}."
            )
        return fitting

    # ---- what is minimised ----

    def passes(self, plan: MixPlan) -> int:
        return self.most_passes if plan.detail is not None else 1

    @property
    def most_passes(self) -> int:
        return 2 if self.clean_lam > 0 and self.saliency == "gradient" else 1

    @property
    def keeps_rows(self) -> bool:
        return self.saliency_every > 1

    @property
    def needs_evaluation(self) -> bool:
        return self.saliency == "gradient" and not self.clean_lam

    @property
    def sees_clean_rows(self) -> bool:
        # Where the saliency is the gradient of their loss, they have a pass of their own before there is anything mixed.
        return super().sees_clean_rows and self.saliency != "gradient"

    @property
    def further_citations(self) -> tuple[Citation, ...]:
        return ((GUIDEDMIXUP,) if self.saliency == "spectral_residual" else ()) + super().further_citations

    def mix(self, images: torch.Tensor, plan: MixPlan) -> tuple[torch.Tensor, torch.Tensor]:
        raise TypeError("PuzzleMix needs the saliency of the images: use puzzle_mix of mixtext_hf.functional.")

    def losses(self, step: Step) -> Iterator[dict[str, torch.Tensor]]:
        plan = self.pairs_of(step)
        images = step.inputs[PIXELS]
        # Before anything that the processes do not do alike: each draws a plan of its own, and what one measures all of them keep.
        kept = self._kept_saliency(step, plan) if self.keeps_rows else None
        if not isinstance(plan.detail, Blocks):
            yield self.mixed_loss(step, plan, images, plan.lam)
            return
        mean, std = _statistics(step, images)
        if self.saliency == "spectral_residual":
            yield self._puzzle(step, plan, plan.detail, spectral_residual(images.float() * std + mean), mean, std)
            return
        noise, noisy = _uniform_noise(images, plan.detail, self.adv_eps / 255), images.float()
        if noise is not None:
            clean_pixels = noisy * std + mean
            noisy_pixels = (clean_pixels + noise).clamp(0, 1)
            # What is left of it at black and white: the step starts where the gradient is taken.
            noise, noisy = noisy_pixels - clean_pixels, (noisy_pixels - mean) / std
        pixels = noisy.detach().requires_grad_()

        if self.clean_lam > 0:
            # The gradient of this loss serves twice: for the parameters and as saliency.
            clean = step.forward({**step.inputs, PIXELS: pixels.to(images.dtype)})
            yield {"loss_clean": self.clean_lam * step.loss.size * step.loss.cross_entropy(clean, step.labels)}
            if pixels.grad is None:
                raise RuntimeError(
                    f"clean_lam={self.clean_lam} takes the saliency from the backward pass of the first loss, and there was "
                    "none: call backward on each loss before you ask for the next."
                )
            gradient = pixels.grad
        elif kept is None:
            gradient = _gradient_at(step, pixels)
        noises = None
        if noise is not None:
            eps = self.adv_eps / 255
            # One step of FGSM from the random start, as long as eps and a little more (Wong et al. 2020).
            noise = (noise + (eps + 2 / 255) * gradient.sign()).clamp(-eps, eps) * plan.detail.noise_scale
            on_own, on_partner = plan.detail.noise_on
            noises = noise if on_own else None, noise[plan.index] if on_partner else None
        yield self._puzzle(
            step, plan, plan.detail, channel_saliency(gradient) if kept is None else kept, mean, std, noises
        )

    def _puzzle(
        self,
        step: Step,
        plan: MixPlan,
        blocks: Blocks,
        saliency: torch.Tensor,
        mean: torch.Tensor,
        std: torch.Tensor,
        noise: tuple[torch.Tensor | None, torch.Tensor | None] | None = None,
    ) -> dict[str, torch.Tensor]:
        """The loss of the images mixed by their `saliency` `(B, H, W)`, with the `noise` `(B, C, H, W)` of either image of a pair."""
        # Rows without a label have no gradient, and need none: they are not mixed.
        undefined = is_degenerate(saliency) & has_label(step.labels)
        step.note({"saliency_undefined": undefined.float().mean()})

        with torch.no_grad():
            mixed, weight, mask = puzzle_mix(
                step.inputs[PIXELS],
                saliency,
                plan.index,
                plan.lam,
                block_num=blocks.block_num,
                n_labels=self.n_labels,
                beta=self.beta,
                gamma=self.gamma,
                eta=self.eta,
                neigh_size=self.neigh_size,
                t_eps=self.t_eps,
                t_size=self.t_size,
                mean=mean.flatten(),
                std=std.flatten(),
                noise=noise,
            )
            step.note(count_constant(mask, plan.index))
            step.show("mask", mask)
        return self.mixed_loss(step, plan, mixed, weight)

    # ---- what is said ----

    def summarise(self, averages: dict[str, Any]) -> dict[str, float]:
        """Of the masks: `mask_constant`, the share of those that are of one level in all blocks, among the rows that have a partner."""
        return share_constant(averages)

    def watch(self, label_shares: Sequence[float] | None = None) -> MaskWatch:
        return MaskWatch(self)

    def _kept_saliency(self, step: Step, plan: MixPlan) -> torch.Tensor:
        """The saliency `(B, H, W)` of the images, some of it from earlier visits."""

        def measure(rows: torch.Tensor) -> torch.Tensor:
            own = rows_of(step, rows)
            return channel_saliency(_gradient_at(own, own.inputs[PIXELS].float().detach().requires_grad_()))

        grid = max(_KEPT_GRID, *self.block_nums)
        mixes = isinstance(plan.detail, Blocks)
        return kept_saliency(step, measure, every=self.saliency_every, grid=grid, mixes=mixes)


def _statistics(step: Step, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and standard deviation `(C, 1, 1)` of the normalisation; 0 and 1 where the pixels were not normalised."""
    channels = images.shape[1]
    mean = images.new_zeros(channels) if step.pixel_mean is None else step.pixel_mean
    std = images.new_ones(channels) if step.pixel_std is None else step.pixel_std
    mean, std = (to_device(value, images.device).float().view(-1, 1, 1) for value in (mean, std))
    return mean, std


def _uniform_noise(images: torch.Tensor, blocks: Blocks, eps: float) -> torch.Tensor | None:
    """The random start of the adversarial noise `(B, C, H, W)`, `U(-eps, eps)` in pixels of `[0, 1]`, counted by its seed."""
    if blocks.noise_seed is None:
        return None
    generator = torch.Generator(images.device).manual_seed(blocks.noise_seed)
    return (2 * torch.rand(images.shape, generator=generator, device=images.device) - 1) * eps


def _gradient_at(step: Step, pixels: torch.Tensor) -> torch.Tensor:
    """The gradient `(B, C, H, W)` of the loss with respect to the pixels alone: no parameter's is computed."""
    forward: Callable[..., torch.Tensor] = step.saliency_forward or step.forward
    with torch.enable_grad():
        logits = forward({**step.inputs, PIXELS: pixels}, dropout=False)
        loss = step.loss.cross_entropy(logits, step.labels)
    (gradient,) = torch.autograd.grad(loss, pixels)
    return gradient
