"""The pictures of AugMix (Hendrycks et al., ICLR 2020, https://arxiv.org/abs/1912.02781, Algorithm 1).

An image is disguised by several chains of operations, the chains are mixed, and the mixture with the image. The operations
and their strengths are those of the authors' code (https://github.com/google-research/augmix). Contrast, colour, brightness
and sharpness, which overlap with the corruptions that robustness is measured by, are among them only if asked for, as its
`--all-ops` does. The loss is in `methods/augmix.py`.

Draw, then apply: an operation is drawn with its strength first, and is a function of the pixels alone after that.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from PIL import Image, ImageEnhance

from mixtext_hf._numbers import is_whole


# The largest severity: the strengths below are reached there.
PARAMETER_MAX = 10

Size = tuple[int, int]
"""Width and height in pixels, as PIL has them."""
Operation = Callable[[np.ndarray], np.ndarray]
"""An operation with its strength, uint8 `(H, W, C)` to the same: every channel by itself, and all alike."""
Draw = Callable[[float, Size, np.random.Generator], Operation]
"""Draws an operation, given the severity, the size of the image and the random generator."""


def sample_level(severity: float, rng: np.random.Generator) -> float:
    """A level, uniform between 0.1 and the severity."""
    return rng.uniform(0.1, severity)


def int_parameter(level: float, maximum: float) -> int:
    """The strength at a level, a whole number: `maximum` at level `PARAMETER_MAX`."""
    return int(level * maximum / PARAMETER_MAX)


def float_parameter(level: float, maximum: float) -> float:
    """The strength at a level: `maximum` at level `PARAMETER_MAX`."""
    return level * maximum / PARAMETER_MAX


# The first four equal those of `PIL.ImageOps`, which spends most of its time on tables in Python.


def autocontrast(image: np.ndarray) -> np.ndarray:
    """Spread the values of each channel over 0..255."""
    low, high = image.min(axis=(0, 1)).astype(np.float64), image.max(axis=(0, 1)).astype(np.float64)
    spread = high > low
    scale = np.divide(255.0, high - low, out=np.ones_like(low), where=spread)
    return (image * scale - np.where(spread, low * scale, 0)).astype(np.uint8)


def equalize(image: np.ndarray) -> np.ndarray:
    """Give each channel a flat histogram, as far as moving values allows."""
    equalized = image.copy()
    for channel in range(image.shape[2]):
        counts = np.bincount(image[..., channel].ravel(), minlength=256)
        of_largest = counts[np.flatnonzero(counts)[-1]]
        step = (counts.sum() - of_largest) // 255
        if step:
            table = (step // 2 + np.cumsum(counts) - counts) // step
            equalized[..., channel] = np.minimum(table, 255).astype(np.uint8)[image[..., channel]]
    return equalized


def posterize(image: np.ndarray, bits: int) -> np.ndarray:
    """Keep the highest `bits` of 8 bits."""
    return image & np.uint8(256 - 2 ** (8 - bits))


def solarize(image: np.ndarray, threshold: int) -> np.ndarray:
    """Invert the values from `threshold` on."""
    return np.where(image < threshold, image, 255 - image)


def _draw_autocontrast(severity: float, size: Size, rng: np.random.Generator) -> Operation:
    return autocontrast


def _draw_equalize(severity: float, size: Size, rng: np.random.Generator) -> Operation:
    return equalize


def _draw_posterize(severity: float, size: Size, rng: np.random.Generator) -> Operation:
    return partial(posterize, bits=4 - int_parameter(sample_level(severity, rng), 4))


def _draw_solarize(severity: float, size: Size, rng: np.random.Generator) -> Operation:
    return partial(solarize, threshold=256 - int_parameter(sample_level(severity, rng), 256))


def _draw_rotate(severity: float, size: Size, rng: np.random.Generator) -> Operation:
    degrees = _either_way(int_parameter(sample_level(severity, rng), 30), rng)
    return with_pil(lambda image: image.rotate(degrees, resample=Image.Resampling.BILINEAR))


def _draw_shear_x(severity: float, size: Size, rng: np.random.Generator) -> Operation:
    shear = _either_way(float_parameter(sample_level(severity, rng), 0.3), rng)
    return affine(size, (1, shear, 0, 0, 1, 0))


def _draw_shear_y(severity: float, size: Size, rng: np.random.Generator) -> Operation:
    shear = _either_way(float_parameter(sample_level(severity, rng), 0.3), rng)
    return affine(size, (1, 0, 0, shear, 1, 0))


def _draw_translate_x(severity: float, size: Size, rng: np.random.Generator) -> Operation:
    pixels = _either_way(int_parameter(sample_level(severity, rng), size[0] / 3), rng)
    return affine(size, (1, 0, pixels, 0, 1, 0))


def _draw_translate_y(severity: float, size: Size, rng: np.random.Generator) -> Operation:
    pixels = _either_way(int_parameter(sample_level(severity, rng), size[1] / 3), rng)
    return affine(size, (1, 0, 0, 0, 1, pixels))


def _either_way(strength: float, rng: np.random.Generator) -> float:
    return -strength if rng.random() > 0.5 else strength


def affine(size: Size, matrix: Sequence[float]) -> Operation:
    """An affine map from where a pixel comes to where it is seen, as `PIL.Image.transform` has it."""
    # What comes in from outside the image is black.
    return with_pil(
        lambda image: image.transform(size, Image.Transform.AFFINE, matrix, resample=Image.Resampling.BILINEAR)
    )


def with_pil(change: Callable[[Image.Image], Image.Image]) -> Operation:
    """The operation that PIL does to an image; to each channel, where they are not one or three."""

    def operation(image: np.ndarray) -> np.ndarray:
        if image.shape[2] == 3:
            return np.asarray(change(Image.fromarray(image)))
        # PIL would take two or four channels for one or three and alpha.
        bands = [change(Image.fromarray(image[..., channel])) for channel in range(image.shape[2])]
        return np.stack([np.asarray(band) for band in bands], axis=-1)

    return operation


def enhanced(kind: Any, factor: float) -> Operation:
    """What a class of `PIL.ImageEnhance` does with a factor; 1 changes nothing. Only RGB images have colours to enhance."""
    change = with_pil(lambda image: kind(image).enhance(factor))
    if kind is not ImageEnhance.Color:
        return change
    return lambda image: change(image) if image.shape[2] == 3 else image


def _draw_enhanced(kind: Any) -> Draw:
    def draw(severity: float, size: Size, rng: np.random.Generator) -> Operation:
        return enhanced(kind, 0.1 + float_parameter(sample_level(severity, rng), 1.8))

    return draw


OPERATIONS: dict[str, Draw] = {
    "autocontrast": _draw_autocontrast,
    "equalize": _draw_equalize,
    "posterize": _draw_posterize,
    "rotate": _draw_rotate,
    "solarize": _draw_solarize,
    "shear_x": _draw_shear_x,
    "shear_y": _draw_shear_y,
    "translate_x": _draw_translate_x,
    "translate_y": _draw_translate_y,
}
"""Draws an operation of this name."""
OVERLAPPING: dict[str, Draw] = {
    "color": _draw_enhanced(ImageEnhance.Color),
    "contrast": _draw_enhanced(ImageEnhance.Contrast),
    "brightness": _draw_enhanced(ImageEnhance.Brightness),
    "sharpness": _draw_enhanced(ImageEnhance.Sharpness),
}
"""The same for those that are like corruptions that robustness is measured by."""
_DRAWS = tuple(OPERATIONS.values())
_ALL_DRAWS = (*_DRAWS, *OVERLAPPING.values())


@dataclass(frozen=True)
class AugMixChains:
    """
    Makes views of an image: `(1 - m) x + m sum_i w_i chain_i(x)`, w ~ Dirichlet(alpha), m ~ Beta(alpha, alpha).

    Args:
        severity (`float`, *optional*, defaults to 3): Strength of the operations, above 0.1 and at most 10.
        width (`int`, *optional*, defaults to 3): Number of chains.
        depth (`int`, *optional*): Operations in a chain; by default 1 to 3, drawn for each chain.
        alpha (`float`, *optional*, defaults to 1.0): Of both distributions of the weights, above 0.
        all_ops (`bool`, *optional*, defaults to `False`): Whether contrast, colour, brightness and sharpness take part.
    """

    severity: float = 3
    width: int = 3
    depth: int | None = None
    alpha: float = 1.0
    all_ops: bool = False

    def __post_init__(self) -> None:
        if not 0.1 < self.severity <= PARAMETER_MAX:
            raise ValueError(f"severity must be above 0.1 and at most {PARAMETER_MAX}, got {self.severity!r}.")
        # One operation where the depth is drawn: it is at least that.
        for name, value in (("width", self.width), ("depth", 1 if self.depth is None else self.depth)):
            if not is_whole(value) or value < 1:
                raise ValueError(f"{name} must be a whole number, at least 1, got {value!r}.")
        if not (self.alpha > 0 and np.isfinite(self.alpha)):
            raise ValueError(f"alpha must be a finite number above 0, got {self.alpha!r}.")

    def __call__(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """
        Args:
            image (`np.ndarray` of shape `(H, W, C)`, uint8): Any number of channels; the operations treat them alike.
            rng (`numpy.random.Generator`): The only source of chance.

        Returns:
            `np.ndarray` of the same shape and dtype: mixed as floats, then rounded, by half a level at most.
        """
        height, width, _ = image.shape
        weights = rng.dirichlet([self.alpha] * self.width)
        strength = rng.beta(self.alpha, self.alpha)
        mixed = np.multiply(image, 1 - strength, dtype=np.float32)
        for weight in weights:
            depth = int(rng.integers(1, 4)) if self.depth is None else self.depth
            chain = [self._draw((width, height), rng) for _ in range(depth)]
            disguised = image
            for operation in chain:
                disguised = operation(disguised)
            mixed += np.multiply(disguised, strength * weight, dtype=np.float32)
        return np.rint(mixed).astype(np.uint8)

    def _draw(self, size: Size, rng: np.random.Generator) -> Operation:
        draws = _ALL_DRAWS if self.all_ops else _DRAWS
        draw = draws[rng.integers(len(draws))]
        return draw(self.severity, size, rng)
