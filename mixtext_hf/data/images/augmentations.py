"""Augmentations of training images. Pure functions of an image and a random generator.

Images are uint8 arrays `(H, W, C)`, a grey one has `C = 1`. Shape and dtype never change, but that a random resized crop may
be asked for another size.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from PIL import Image

from mixtext_hf._numbers import is_whole
from mixtext_hf.data.named import make_named

from .augmix import PARAMETER_MAX, AugMixChains, with_pil
from .frames import WHOLE, Frame
from .rand_augment import MAX_MAGNITUDE, rand_augment


# Widths by heights of random resized crops: Szegedy et al. (2015).
_RATIOS_OF_CROPS = (3 / 4, 4 / 3)
# Zhong et al. (2020): the share of the image, and heights by widths.
_ERASED, _RATIOS_OF_ERASED = (0.02, 0.33), (0.3, 3.3)
_TRIALS = 10


@dataclass(frozen=True)
class ImageAugmentation:
    """Base of all augmentations of images. One has one number, its only field, whose default tells its type."""

    name: ClassVar[str]
    after_resize: ClassVar[bool] = False
    """Whether it is done at the size of the model, after all that are done at the image's own."""

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

    def frame(self, height: int, width: int, rng: np.random.Generator) -> Frame:
        """
        Which part of an image of `height` by `width` pixels the picture shows that `__call__` makes with such an `rng`: there is
        one where [`tells_frame`] says so.
        """
        raise NotImplementedError

    def check_size(self, height: int, width: int) -> None:
        """Raise `ValueError` for an image that is too small for it."""


def tells_frame(augmentation: ImageAugmentation) -> bool:
    """Whether it can be said which part of the image its pictures show: it does no more than crop, stretch and mirror it."""
    return type(augmentation).frame is not ImageAugmentation.frame


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
        return np.ascontiguousarray(image[:, ::-1]) if self._draw(rng) else image

    def frame(self, height: int, width: int, rng: np.random.Generator) -> Frame:
        return Frame(0.0, 1.0, 1.0, -1.0) if self._draw(rng) else WHOLE

    def _draw(self, rng: np.random.Generator) -> bool:
        return rng.random() < self.probability


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
        if not is_whole(self.pad) or self.pad < 1:
            raise ValueError(f"{self.name}: pad must be a whole number of pixels, at least 1, got {self.pad!r}.")

    def check_size(self, height: int, width: int) -> None:
        if self.pad >= min(height, width):
            raise ValueError(
                f"{self.name}:{self.pad} may leave nothing of an image of {height} x {width} pixels: pad by fewer than "
                f"{min(height, width)}."
            )

    def __call__(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        height, width, channels = image.shape
        self.check_size(height, width)
        top, left = self._draw(rng)
        framed = np.zeros((height + 2 * self.pad, width + 2 * self.pad, channels), dtype=image.dtype)
        framed[self.pad : self.pad + height, self.pad : self.pad + width] = image
        return np.ascontiguousarray(framed[top : top + height, left : left + width])

    def frame(self, height: int, width: int, rng: np.random.Generator) -> Frame:
        top, left = self._draw(rng)
        return Frame((top - self.pad) / height, (left - self.pad) / width, 1.0, 1.0)

    def _draw(self, rng: np.random.Generator) -> tuple[int, int]:
        top, left = rng.integers(2 * self.pad + 1, size=2)
        return int(top), int(left)


@dataclass(frozen=True)
class RandomResizedCrop(ImageAugmentation):
    """
    A piece of the image, of a size and a place drawn at random, brought to the size of the whole: Szegedy et al. (2015). It
    takes the place of the image processor's resizing, and is done once, with its filter.

    Args:
        smallest (`float`, *optional*, defaults to 0.08): Share of the image that a piece has at least, above 0 and at most 1.
    """

    smallest: float = 0.08

    name: ClassVar[str] = "random_resized_crop"

    def __post_init__(self) -> None:
        if not 0 < self.smallest <= 1:
            raise ValueError(f"{self.name}: smallest must be above 0 and at most 1, got {self.smallest!r}.")

    def __call__(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        return self.to_size(image, rng, image.shape[:2], Image.Resampling.BILINEAR)

    def to_size(
        self, image: np.ndarray, rng: np.random.Generator, size: tuple[int, ...], resample: Image.Resampling
    ) -> np.ndarray:
        """
        Args:
            image (`np.ndarray` of shape `(H, W, C)`, uint8), rng (`numpy.random.Generator`): As for all augmentations.
            size (`tuple[int, int]`): Height and width of what comes out.
            resample (`PIL.Image.Resampling`): The filter.

        Returns:
            `np.ndarray` of shape `(*size, C)`, uint8
        """
        top, left, height, width = self._draw(image.shape[0], image.shape[1], rng)
        box = (left, top, left + width, top + height)
        return with_pil(lambda whole: whole.resize((size[1], size[0]), resample, box=box))(image)

    def frame(self, height: int, width: int, rng: np.random.Generator) -> Frame:
        top, left, part_height, part_width = self._draw(height, width, rng)
        return Frame(top / height, left / width, part_height / height, part_width / width)

    def _draw(self, height: int, width: int, rng: np.random.Generator) -> tuple[int, int, int, int]:
        low, high = _RATIOS_OF_CROPS
        for _ in range(_TRIALS):
            area = height * width * rng.uniform(self.smallest, 1)
            ratio = np.exp(rng.uniform(np.log(low), np.log(high)))
            w, h = round(np.sqrt(area * ratio)), round(np.sqrt(area / ratio))
            if 0 < w <= width and 0 < h <= height:
                return int(rng.integers(height - h + 1)), int(rng.integers(width - w + 1)), h, w
        # As large a piece of an allowed shape as there is, from the middle.
        w, h = min(width, max(1, round(height * high))), min(height, max(1, round(width / low)))
        return (height - h) // 2, (width - w) // 2, h, w


@dataclass(frozen=True)
class CropToSize(ImageAugmentation):
    """
    A random resized crop in place of the image processor's resizing.

    Args:
        crop ([`RandomResizedCrop`]): Draws the piece.
        size (`tuple[int, int]`): Height and width of what comes out.
        resample (`PIL.Image.Resampling`): The filter.
    """

    crop: RandomResizedCrop
    size: tuple[int, int]
    resample: Image.Resampling

    def __call__(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        return self.crop.to_size(image, rng, self.size, self.resample)

    def frame(self, height: int, width: int, rng: np.random.Generator) -> Frame:
        return self.crop.frame(height, width, rng)


@dataclass(frozen=True)
class RandAugment(ImageAugmentation):
    """
    Two operations, drawn from fourteen, of one strength: Cubuk et al. (2020), see `rand_augment.py`.

    Args:
        magnitude (`float`, *optional*, defaults to 9.0): From 0 to 30.
    """

    magnitude: float = 9.0

    name: ClassVar[str] = "rand_augment"
    after_resize: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not 0 <= self.magnitude <= MAX_MAGNITUDE:
            raise ValueError(f"{self.name}: magnitude must lie in 0..{MAX_MAGNITUDE}, got {self.magnitude!r}.")

    def __call__(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        return rand_augment(image, self.magnitude, rng)


@dataclass(frozen=True)
class AugMixView(ImageAugmentation):
    """
    One view of AugMix in place of the image, Hendrycks et al. (2020), see `augmix.py`: for methods that mix, which train on both partners'
    views; the method `augmix` compares several of the same image.

    Args:
        severity (`float`, *optional*, defaults to 3.0): Strength of the operations, above 0.1 and at most 10.
    """

    severity: float = 3.0

    name: ClassVar[str] = "augmix"
    after_resize: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not 0.1 < self.severity <= PARAMETER_MAX:
            raise ValueError(
                f"{self.name}: severity must be above 0.1 and at most {PARAMETER_MAX}, got {self.severity!r}."
            )

    def __call__(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        return AugMixChains(self.severity)(image, rng)


@dataclass(frozen=True)
class Erasing(ImageAugmentation):
    """
    A box of 2% to 33% of the image is filled with random pixels: random erasing, Zhong et al. (2020).

    Args:
        probability (`float`, *optional*, defaults to 0.25): The chance of it, above 0 and at most 1.
    """

    probability: float = 0.25

    name: ClassVar[str] = "erasing"
    after_resize: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not 0 < self.probability <= 1:
            raise ValueError(f"{self.name}: probability must be above 0 and at most 1, got {self.probability!r}.")

    def __call__(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        if rng.random() >= self.probability:
            return image
        height, width, channels = image.shape
        low, high = _RATIOS_OF_ERASED
        for _ in range(_TRIALS):
            area = height * width * rng.uniform(*_ERASED)
            ratio = np.exp(rng.uniform(np.log(low), np.log(high)))
            h, w = round(np.sqrt(area * ratio)), round(np.sqrt(area / ratio))
            if 0 < h < height and 0 < w < width:
                top, left = int(rng.integers(height - h + 1)), int(rng.integers(width - w + 1))
                erased = image.copy()
                erased[top : top + h, left : left + w] = rng.integers(0, 256, (h, w, channels), dtype=np.uint8)
                return erased
        return image

    def frame(self, height: int, width: int, rng: np.random.Generator) -> Frame:
        return WHOLE


IMAGE_AUGMENTATIONS: dict[str, type[ImageAugmentation]] = {
    kind.name: kind for kind in (Flip, Crop, RandomResizedCrop, RandAugment, AugMixView, Erasing)
}


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
    return make_named(spec, IMAGE_AUGMENTATIONS, "augmentation of images")


def make_image_augmentations(specs: Iterable[str]) -> list[ImageAugmentation]:
    """
    Make the augmentations that a user names, which are all done one after the other.

    Args:
        specs (`Iterable[str]`): As [`make_image_augmentation`] takes each.

    Returns:
        `list[ImageAugmentation]`, in this order

    Raises:
        `ValueError`: as there, and if one is named twice: the second flip would undo the first.
    """
    specs = list(specs)
    made = [make_image_augmentation(spec) for spec in specs]
    names = [augmentation.name for augmentation in made]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ValueError(
            f"image_augmentations={specs} names {twice} twice: give it once, with the number that is meant."
        )
    return made
