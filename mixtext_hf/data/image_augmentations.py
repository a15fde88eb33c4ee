"""Augmentations of training images that need nothing but an array. Pure functions of an image and a random generator.

Images are uint8 arrays `(H, W, C)`, a grey one has `C = 1`. Shape and dtype never change.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import ClassVar

import numpy as np


@dataclass(frozen=True)
class ImageAugmentation:
    """Base of all augmentations of images. One has one number, its only field, whose default tells its type."""

    name: ClassVar[str]

    def __call__(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """
        Another picture of the same thing.

        Args:
            image (`np.ndarray` of shape `(H, W, C)`, uint8): Any image; it is not written into.
            rng (`numpy.random.Generator`): The only source of chance.

        Returns:
            `np.ndarray` of the same shape and dtype
        """
        raise NotImplementedError


@dataclass(frozen=True)
class Flip(ImageAugmentation):
    """
    Mirror the image, left for right.

    Args:
        probability (`float`, *optional*, defaults to 0.5): The chance of it, above 0 and at most 1.
    """

    probability: float = 0.5

    name: ClassVar[str] = "flip"

    def __post_init__(self) -> None:
        if not 0 < self.probability <= 1:
            raise ValueError(f"{self.name}: probability must be above 0 and at most 1, got {self.probability!r}.")

    def __call__(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        return np.ascontiguousarray(image[:, ::-1]) if rng.random() < self.probability else image


@dataclass(frozen=True)
class Crop(ImageAugmentation):
    """
    Move the image by up to `pad` pixels each way: it is framed by `pad` pixels of zeros (black) on every side, and a piece
    of its own size cut out of that at a place drawn uniformly. The usual augmentation of CIFAR.

    Args:
        pad (`int`, *optional*, defaults to 4): Pixels, at least 1 and fewer than each side of the image.
    """

    pad: int = 4

    name: ClassVar[str] = "crop"

    def __post_init__(self) -> None:
        if isinstance(self.pad, bool) or not isinstance(self.pad, int) or self.pad < 1:
            raise ValueError(f"{self.name}: pad must be a whole number of pixels, at least 1, got {self.pad!r}.")

    def __call__(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        height, width, channels = image.shape
        if self.pad >= min(height, width):
            raise ValueError(
                f"{self.name}:{self.pad} may leave nothing of an image of {height} x {width} pixels: pad by fewer than "
                f"{min(height, width)}."
            )
        top, left = rng.integers(2 * self.pad + 1, size=2)
        framed = np.zeros((height + 2 * self.pad, width + 2 * self.pad, channels), dtype=image.dtype)
        framed[self.pad : self.pad + height, self.pad : self.pad + width] = image
        return np.ascontiguousarray(framed[top : top + height, left : left + width])


IMAGE_AUGMENTATIONS: dict[str, type[ImageAugmentation]] = {kind.name: kind for kind in (Flip, Crop)}


def make_image_augmentation(spec: str) -> ImageAugmentation:
    """
    Make the augmentation that a user names.

    Args:
        spec (`str`): A name of [`IMAGE_AUGMENTATIONS`], with or without a colon and its number: `"crop:4"`.

    Returns:
        [`ImageAugmentation`]

    Raises:
        `ValueError`: if there is no such augmentation, or its number is none or out of range.
    """
    name, colon, number = spec.partition(":")
    if name not in IMAGE_AUGMENTATIONS:
        raise ValueError(f"There is no augmentation of images {spec!r}: choose from {', '.join(IMAGE_AUGMENTATIONS)}.")
    default = IMAGE_AUGMENTATIONS[name]()
    if not colon:
        return default
    (field,) = fields(default)
    default_value = getattr(default, field.name)
    try:
        value = type(default_value)(number)
    except ValueError as error:
        raise ValueError(
            f"The augmentation {spec!r} has {number!r} as its {field.name}: give a {type(default_value).__name__}, such as "
            f"{name}:{default_value}. The augmentations are {', '.join(IMAGE_AUGMENTATIONS)}."
        ) from error
    return IMAGE_AUGMENTATIONS[name](**{field.name: value})
