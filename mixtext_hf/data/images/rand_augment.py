"""RandAugment (Cubuk et al., NeurIPS 2020, https://arxiv.org/abs/1909.13719): some operations of one strength.

The operations are those of the paper and their strengths those of its code, on the scale of 0 to 30 that it counts on.
Those that AugMix has too are AugMix's. Draw, then apply, as there.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from PIL import ImageEnhance

from .augmix import Operation, Size, affine, autocontrast, enhanced, equalize, posterize, solarize, with_pil


MAX_MAGNITUDE = 30
"""The largest magnitude."""
# Of the paper's code: 150 pixels of 331.
_FARTHEST = 150 / 331

Make = Callable[[float, Size], Operation]
"""An operation of a strength from -1 to 1, for images of a size."""


def _enhanced(kind: Any) -> Make:
    def make(strength: float, size: Size) -> Operation:
        return enhanced(kind, 1 + 0.9 * strength)

    return make


def _rotated(strength: float, size: Size) -> Operation:
    return with_pil(lambda image: image.rotate(30 * strength))


# Those that go either way, and those whose strength has no sign.
_EITHER_WAY: dict[str, Make] = {
    "rotate": _rotated,
    "shear_x": lambda strength, size: affine(size, (1, 0.3 * strength, 0, 0, 1, 0)),
    "shear_y": lambda strength, size: affine(size, (1, 0, 0, 0.3 * strength, 1, 0)),
    "translate_x": lambda strength, size: affine(size, (1, 0, _FARTHEST * strength * size[0], 0, 1, 0)),
    "translate_y": lambda strength, size: affine(size, (1, 0, 0, 0, 1, _FARTHEST * strength * size[1])),
    "color": _enhanced(ImageEnhance.Color),
    "contrast": _enhanced(ImageEnhance.Contrast),
    "brightness": _enhanced(ImageEnhance.Brightness),
    "sharpness": _enhanced(ImageEnhance.Sharpness),
}
_ONE_WAY: dict[str, Make] = {
    "identity": lambda strength, size: lambda image: image,
    "autocontrast": lambda strength, size: autocontrast,
    "equalize": lambda strength, size: equalize,
    "posterize": lambda strength, size: partial(posterize, bits=8 - round(4 * strength)),
    "solarize": lambda strength, size: partial(solarize, threshold=256 - round(256 * strength)),
}
OPERATIONS: dict[str, Make] = {**_EITHER_WAY, **_ONE_WAY}
"""By their names."""
_NAMES = tuple(OPERATIONS)


def rand_augment(image: np.ndarray, magnitude: float, rng: np.random.Generator, *, count: int = 2) -> np.ndarray:
    """
    Some operations, drawn with replacement, one after the other.

    Args:
        image (`np.ndarray` of shape `(H, W, C)`, uint8): It is not written into.
        magnitude (`float`): From 0 to [`MAX_MAGNITUDE`].
        rng (`numpy.random.Generator`): The only source of chance.
        count (`int`, *optional*, defaults to 2): How many operations.

    Returns:
        `np.ndarray` of the same shape and dtype
    """
    height, width, _ = image.shape
    chain = []
    for _ in range(count):
        name = _NAMES[rng.integers(len(_NAMES))]
        # Drawn for all, so that what is drawn next does not depend on the operation.
        sign = -1 if rng.random() < 0.5 else 1
        strength = magnitude / MAX_MAGNITUDE
        chain.append(OPERATIONS[name](sign * strength if name in _EITHER_WAY else strength, (width, height)))
    for operation in chain:
        image = operation(image)
    return image
