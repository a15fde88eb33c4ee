"""Corrupted images, for the accuracy of a classifier on them: the corruptions of ImageNet-C and CIFAR-10-C.

Hendrycks & Dietterich, "Benchmarking Neural Network Robustness to Common Corruptions and Perturbations", ICLR 2019
(https://arxiv.org/abs/1903.12261): each has five severities. Here are those that numpy, scipy and PIL make as the paper
defines them. Of its 15 corruptions 11 are here, and of its 4 additional ones 3 (speckle noise, Gaussian blur, saturate).
Left out are snow, fog and frost (frost needs photographs of it, the other two a renderer of weather), glass blur and
spatter. A mean over what is here is therefore not the mCE of the paper.

The strengths are those of the data sets that the authors published: of CIFAR-10-C (32 x 32) for images whose smaller side
is below `LARGE`, 64 pixels, and of ImageNet-C (224 x 224) for the others. Lengths among them are in pixels, and are not
scaled with the image: an image much larger than these is blurred less, for its size. ImageNet-C corrupts what the model
is given, a crop of 224 x 224, and so does `mixtext-hf evaluate`, which resizes and crops before. Unlike in the data sets,
results are rounded to the nearest grey level, not down, and are not stored as JPEG.

Randomness is counted: a corrupted image is a pure function of the image, the seed, its index, the severity and the name.
Nothing here knows a model.
"""

from __future__ import annotations

import io
import math
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mixtext_hf._numbers import is_index
from mixtext_hf.data.images.arrays import to_array


LARGE = 64
"""The smaller side, in pixels, from which on the strengths of ImageNet-C are taken, and not those of CIFAR-10-C."""
SEVERITIES = (1, 2, 3, 4, 5)

Pixels = NDArray[np.float64]
"""An image `(H, W, C)` in `[0, 1]`, one channel or three. What a corruption returns may leave the range: it is clipped."""
Apply = Callable[[Pixels, Any, np.random.Generator], Pixels]


@dataclass(frozen=True)
class Corruption:
    """
    A corruption and its strengths.

    Attributes:
        apply (`Callable`): From an image, a strength and a random generator to the corrupted image.
        small (`tuple`): Strengths of severities 1 to 5 for images whose smaller side is below [`LARGE`] (CIFAR-10-C).
        large (`tuple`): The same for the others (ImageNet-C).
        needs_colours (`bool`): Whether it is nothing for images of one channel.
    """

    apply: Apply
    small: tuple[Any, ...]
    large: tuple[Any, ...]
    needs_colours: bool = False


def corrupt(image: Any, name: str, severity: int, *, seed: int = 0, index: int = 0) -> np.ndarray:
    """
    A corrupted copy of an image.

    ```python
    views = [corrupt(row["image"], "shot_noise", 3, seed=seed, index=i) for i, row in enumerate(images_and_labels)]
    ```

    Args:
        image (`np.ndarray` of shape `(H, W)`, `(H, W, 1)` or `(H, W, 3)`, uint8, or what else [`to_array`] takes):
            It is not changed.
        name (`str`): One of [`CORRUPTIONS`].
        severity (`int`): From 1 to 5.
        seed (`int`, *optional*, defaults to 0): At least 0.
        index (`int`, *optional*, defaults to 0):
            Of the image in its data set, at least 0. The corruption is drawn with
            `numpy.random.default_rng([seed, index, severity, zlib.crc32(name.encode())])`, and neither the order of images
            nor the other corruptions matter.

    Returns:
        `np.ndarray`, uint8, of the shape of an array, or of the shape `(H, W, C)` that [`to_array`] gives other images;
        always a new one.

    Raises:
        `TypeError`: if it is no image.
        `ValueError`: if there is no such corruption or severity, if `seed` or `index` is no whole number from 0 on, if the
            image cannot be read or has other than one or three channels, or if it has one and the corruption, `saturate`,
            needs colours.
    """
    corruption = _corruption(name)
    # True is 1 for Python, and numpy's integers are whole numbers.
    if isinstance(severity, bool) or severity not in SEVERITIES:
        raise ValueError(f"`severity` must be a whole number from 1 to 5, got {severity!r}.")
    for argument, number in (("seed", seed), ("index", index)):
        if not is_index(number) or number < 0:
            raise ValueError(f"`{argument}` must be a whole number, at least 0, got {number!r}.")
    array = to_array(image)
    channels = array.shape[2]
    if channels not in (1, 3):
        raise ValueError(
            f"`image` must have one channel or three, got {channels}: convert it, `image.convert('RGB')`, which drops an alpha "
            "channel."
        )
    if corruption.needs_colours and channels == 1:
        raise ValueError(f"{name!r} needs an image of three channels, got a grey one: leave it out for grey images.")
    strengths = corruption.small if min(array.shape[:2]) < LARGE else corruption.large
    rng = np.random.default_rng([seed, index, int(severity), zlib.crc32(name.encode())])
    corrupted = corruption.apply(array / 255, strengths[int(severity) - 1], rng)
    levels = np.rint(corrupted.clip(0, 1) * 255).astype(np.uint8)
    return levels.reshape(image.shape) if isinstance(image, np.ndarray) else levels


def corruptions_for(channels: int) -> tuple[str, ...]:
    """
    The names of the corruptions that images of so many channels can have.

    Args:
        channels (`int`): 1 (grey) or 3.

    Returns:
        `tuple[str, ...]`: of [`CORRUPTIONS`], in their order.

    Raises:
        `ValueError`: if there are other than one or three channels.
    """
    if channels not in (1, 3):
        raise ValueError(f"`channels` must be 1 or 3, got {channels!r}: images are grey or RGB.")
    return tuple(name for name, corruption in CORRUPTIONS.items() if channels == 3 or not corruption.needs_colours)


def _corruption(name: str) -> Corruption:
    if name not in CORRUPTIONS:
        raise ValueError(f"There is no corruption {name!r}: choose from {', '.join(CORRUPTIONS)}.")
    return CORRUPTIONS[name]


# ---- noise: every value of every channel by itself ----


def gaussian_noise(image: Pixels, scale: float, rng: np.random.Generator) -> Pixels:
    """Normal noise of this standard deviation, as in low light."""
    return image + rng.normal(scale=scale, size=image.shape)


def shot_noise(image: Pixels, photons: float, rng: np.random.Generator) -> Pixels:
    """Poisson noise: so many photons are counted where the image is white."""
    return rng.poisson(image * photons) / photons


def impulse_noise(image: Pixels, share: float, rng: np.random.Generator) -> Pixels:
    """Salt and pepper: this share of the values becomes 0 or 1, each as often."""
    hit, salt = rng.random(image.shape) < share, rng.random(image.shape) < 0.5
    return np.where(hit, salt, image)


def speckle_noise(image: Pixels, scale: float, rng: np.random.Generator) -> Pixels:
    """Normal noise whose standard deviation is `scale` times the value."""
    return image * (1 + rng.normal(scale=scale, size=image.shape))


# ---- blur ----


def gaussian_blur(image: Pixels, sigma: float, rng: np.random.Generator) -> Pixels:
    """A Gaussian of `sigma` pixels, cut off at four of them; what lies beyond the edge is as the edge."""
    from scipy import ndimage

    return ndimage.gaussian_filter(image, (sigma, sigma, 0), mode="nearest", truncate=4)


def defocus_blur(image: Pixels, strength: tuple[float, float], rng: np.random.Generator) -> Pixels:
    """The mean over a disk of a radius in pixels, whose edge is smoothed by a Gaussian of a standard deviation."""
    from scipy import ndimage

    kernel = _disk(*strength)
    return ndimage.convolve(image, kernel[..., None], mode="mirror")


def _disk(radius: float, sigma: float) -> NDArray[np.float64]:
    """A disk on whole pixels, smoothed over 3 x 3 of them, or 5 x 5 if it is large; it sums to 1."""
    from scipy import ndimage

    # As far as the smoothing carries it.
    reach = math.ceil(radius) + 2
    along = np.arange(-reach, reach + 1)
    disk = (along[:, None] ** 2 + along**2 <= radius**2).astype(np.float64)
    beside = np.arange(3) - 1 if radius <= 8 else np.arange(5) - 2
    weights = np.exp(-(beside**2) / (2 * sigma**2))
    for axis in (0, 1):
        disk = ndimage.correlate1d(disk, weights, axis=axis, mode="constant")
    return disk / disk.sum()


def motion_blur(image: Pixels, strength: tuple[int, float], rng: np.random.Generator) -> Pixels:
    """
    A mean along a line at an angle between -45 and 45 degrees to the horizontal, one-sided: over `2 radius + 1` pixels with
    the weights of half a Gaussian of `sigma` pixels, which is the motion blur of ImageMagick.
    """
    radius, sigma = strength
    angle = math.radians(rng.uniform(-45, 45))
    steps = np.arange(2 * radius + 1)
    weights = np.exp(-(steps**2) / (2 * sigma**2))
    height, width = image.shape[:2]
    blurred = np.zeros_like(image)
    for step, weight in zip(steps, weights / weights.sum(), strict=True):
        # To the nearest pixel; what lies beyond the edge is as the edge.
        rows = (np.arange(height) + math.ceil(step * math.sin(angle) - 0.5)).clip(0, height - 1)
        columns = (np.arange(width) + math.ceil(step * math.cos(angle) - 0.5)).clip(0, width - 1)
        blurred += weight * image[rows[:, None], columns]
    return blurred


def zoom_blur(image: Pixels, factors: NDArray[np.float64], rng: np.random.Generator) -> Pixels:
    """The mean of the image and of the image enlarged about its centre by each of these factors, the first of which is 1."""
    return (image + sum(_enlarged(image, factor) for factor in factors)) / (len(factors) + 1)


def _enlarged(image: Pixels, factor: float) -> Pixels:
    """The centre of the image, of whole pixels, enlarged bilinearly and cut to the size of the image."""
    from scipy import ndimage

    sizes = image.shape[:2]
    crops = [math.ceil(size / factor) for size in sizes]
    starts = [(size - crop) // 2 for size, crop in zip(sizes, crops, strict=True)]
    crop = image[starts[0] : starts[0] + crops[0], starts[1] : starts[1] + crops[1]]
    zoomed = ndimage.zoom(crop, (factor, factor, 1), order=1)
    trims = [(have - size) // 2 for have, size in zip(zoomed.shape, sizes, strict=False)]
    return zoomed[trims[0] : trims[0] + sizes[0], trims[1] : trims[1] + sizes[1]]


# ---- colours ----


def brightness(image: Pixels, more: float, rng: np.random.Generator) -> Pixels:
    """So much is added to the value of HSV, the largest channel; hue and saturation stay."""
    value = image.max(axis=2, keepdims=True)
    brighter = (value + more).clip(max=1)
    # Black has no saturation, and becomes grey.
    return np.where(value > 0, image * brighter / np.where(value > 0, value, 1), brighter)


def contrast(image: Pixels, factor: float, rng: np.random.Generator) -> Pixels:
    """The distance of every value from the mean of its channel over the image, times a factor."""
    mean = image.mean(axis=(0, 1), keepdims=True)
    return mean + factor * (image - mean)


def saturate(image: Pixels, strength: tuple[float, float], rng: np.random.Generator) -> Pixels:
    """
    The saturation of HSV times a factor, plus a term, at most 1; hue and value stay. Severities 1 and 2 take colour away,
    the others add it. Grey has hue 0: where something is added, it becomes reddish.
    """
    factor, more = strength
    value, low = image.max(axis=2, keepdims=True), image.min(axis=2, keepdims=True)
    coloured = value > low
    saturation = np.where(coloured, (value - low) / np.where(value > 0, value, 1), 0)
    target = (saturation * factor + more).clip(0, 1)
    red = np.concatenate([value, value * (1 - target), value * (1 - target)], axis=2)
    return np.where(coloured, value - (value - image) * target / np.where(coloured, saturation, 1), red)


# ---- digital ----


def elastic_transform(image: Pixels, strength: tuple[float, float, float], rng: np.random.Generator) -> Pixels:
    """
    A random affine map, then random shifts of every pixel, both with bilinear interpolation (Simard, Steinkraus & Platt,
    ICDAR 2003). Higher severities distort more finely, and do not move the whole further. `strength` is, in pixels, the scale of the shifts before they are smoothed, the standard deviation of what
    smooths them, and how far the affine map moves each of three points about the centre.
    """
    from scipy import ndimage

    scale, sigma, corner = strength
    height, width = image.shape[:2]
    centre, third = np.array([height // 2, width // 2]), max(1, min(height, width) // 3)
    # Rows and columns of three corners of a square, and where they go.
    source = centre + third * np.array([[1, 1], [-1, 1], [-1, -1]])
    target = source + rng.uniform(-corner, corner, size=(3, 2))
    # The map from the result back to the image: homogeneous coordinates, one point a row.
    back = np.linalg.solve(np.column_stack([target, np.ones(3)]), source)
    rows, columns = np.meshgrid(np.arange(height, dtype=np.float64), np.arange(width, dtype=np.float64), indexing="ij")
    moved = np.stack([rows, columns, np.ones_like(rows)], axis=-1) @ back
    image = _sampled(image, moved[..., 0], moved[..., 1], mode="mirror")
    shifts = [
        scale * ndimage.gaussian_filter(rng.uniform(-1, 1, size=(height, width)), sigma, mode="reflect", truncate=3)
        for _ in range(2)
    ]
    return _sampled(image, rows + shifts[0], columns + shifts[1], mode="reflect")


def _sampled(image: Pixels, rows: NDArray[np.float64], columns: NDArray[np.float64], mode: str) -> Pixels:
    """The image at these places `(H, W)`, bilinearly."""
    from scipy import ndimage

    channels = [
        ndimage.map_coordinates(image[..., channel], [rows, columns], order=1, mode=mode)
        for channel in range(image.shape[2])
    ]
    return np.stack(channels, axis=-1)


def pixelate(image: Pixels, share: float, rng: np.random.Generator) -> Pixels:
    """Made smaller, to this share of each side, by means over boxes, and as large as it was by repeating pixels."""
    height, width = image.shape[:2]
    picture = _to_pil(image)
    small = picture.resize((max(1, int(width * share)), max(1, int(height * share))), Image.Resampling.BOX)
    return _from_pil(small.resize((width, height), Image.Resampling.BOX))


def jpeg_compression(image: Pixels, quality: int, rng: np.random.Generator) -> Pixels:
    """Stored as JPEG of this quality by PIL: the same in every run of one version of its library, not of all."""
    file = io.BytesIO()
    _to_pil(image).save(file, "JPEG", quality=quality)
    return _from_pil(Image.open(file))


def _to_pil(image: Pixels) -> Image.Image:
    levels = np.rint(image * 255).astype(np.uint8)
    return Image.fromarray(levels[..., 0] if levels.shape[2] == 1 else levels)


def _from_pil(picture: Image.Image) -> Pixels:
    return to_array(picture) / 255


# As many factors as `numpy.arange` makes of the start, the end and the step in the authors' code, rounding included.
_ZOOMS_SMALL = tuple(np.arange(1, end, 0.01) for end in (1.06, 1.11, 1.16, 1.21, 1.26))
_ZOOMS_LARGE = tuple(
    np.arange(1, end, step) for end, step in ((1.11, 0.01), (1.16, 0.01), (1.21, 0.02), (1.26, 0.02), (1.31, 0.03))
)
# Of an image of 32 pixels, in pixels.
_ELASTIC_SMALL = (
    (0, 0, 2.56),
    (1.6, 6.4, 2.24),
    (2.56, 1.92, 1.92),
    (3.2, 1.28, 1.6),
    (3.2, 0.96, 0.96),
)
# The authors' code has shares of 244 pixels, not of 224.
_ELASTIC_LARGE = (
    (488, 170.8, 24.4),
    (488, 19.52, 48.8),
    (12.2, 2.44, 4.88),
    (17.08, 2.44, 4.88),
    (29.28, 2.44, 4.88),
)

CORRUPTIONS: dict[str, Corruption] = {
    "gaussian_noise": Corruption(gaussian_noise, (0.04, 0.06, 0.08, 0.09, 0.10), (0.08, 0.12, 0.18, 0.26, 0.38)),
    "shot_noise": Corruption(shot_noise, (500, 250, 100, 75, 50), (60, 25, 12, 5, 3)),
    "impulse_noise": Corruption(impulse_noise, (0.01, 0.02, 0.03, 0.05, 0.07), (0.03, 0.06, 0.09, 0.17, 0.27)),
    "speckle_noise": Corruption(speckle_noise, (0.06, 0.10, 0.12, 0.16, 0.20), (0.15, 0.20, 0.35, 0.45, 0.60)),
    "gaussian_blur": Corruption(gaussian_blur, (0.4, 0.6, 0.7, 0.8, 1), (1, 2, 3, 4, 6)),
    "defocus_blur": Corruption(
        defocus_blur,
        ((0.3, 0.4), (0.4, 0.5), (0.5, 0.6), (1, 0.2), (1.5, 0.1)),
        ((3, 0.1), (4, 0.5), (6, 0.5), (8, 0.5), (10, 0.5)),
    ),
    "motion_blur": Corruption(
        motion_blur,
        ((6, 1), (6, 1.5), (6, 2), (8, 2), (9, 2.5)),
        ((10, 3), (15, 5), (15, 8), (15, 12), (20, 15)),
    ),
    "zoom_blur": Corruption(zoom_blur, _ZOOMS_SMALL, _ZOOMS_LARGE),
    "brightness": Corruption(brightness, (0.05, 0.1, 0.15, 0.2, 0.3), (0.1, 0.2, 0.3, 0.4, 0.5)),
    "contrast": Corruption(contrast, (0.75, 0.5, 0.4, 0.3, 0.15), (0.4, 0.3, 0.2, 0.1, 0.05)),
    "saturate": Corruption(
        saturate,
        ((0.3, 0), (0.1, 0), (1.5, 0), (2, 0.1), (2.5, 0.2)),
        ((0.3, 0), (0.1, 0), (2, 0), (5, 0.1), (20, 0.2)),
        needs_colours=True,
    ),
    "elastic_transform": Corruption(elastic_transform, _ELASTIC_SMALL, _ELASTIC_LARGE),
    "pixelate": Corruption(pixelate, (0.95, 0.9, 0.85, 0.75, 0.65), (0.6, 0.5, 0.4, 0.3, 0.25)),
    "jpeg_compression": Corruption(jpeg_compression, (80, 65, 58, 50, 40), (25, 18, 15, 10, 7)),
}
"""Every corruption with its strengths, under its name in the published data sets."""
