"""Bringing images to the size of the model before they are augmented or corrupted, as their image processor does it.

What is made of an image at its own size costs by its pixels, and much of it is lost when it is made smaller afterwards.
"""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
from PIL import Image


logger = logging.getLogger(__name__)

AT_SIZE = "_at_model_size"
"""What a row says, `True`, whose image the collator must not resize again."""
NO_RESIZE = {"do_resize": False, "do_center_crop": False, "do_pad": False}
"""What an image processor is told of images that are brought to size."""
LARGEST_SIDE = 4096
"""The largest side in pixels that images are resized to: an image of three colours has 201 MB then, before a model has seen it."""

SMALLEST_SIDE = 4
"""The smallest one: of fewer pixels nobody can tell what they show."""

_PIXELS = "pixel_values"
_PROBES = ((48, 80), (90, 52))


class ModelResize:
    """
    Resizes and crops an image as an image processor does, and leaves its pixels in 8 bits.

    Args:
        image_processor (`BaseImageProcessor`): The image processor of the model.
        size (`tuple[int, int]`, *optional*): Height and width of what comes out, `None` if they depend on the image.
    """

    def __init__(self, image_processor: Any, size: tuple[int, int] | None):
        self.image_processor, self.size = image_processor, size

    @property
    def resample(self) -> Image.Resampling:
        """How the image processor resizes."""
        return Image.Resampling(getattr(self.image_processor, "resample", None) or Image.Resampling.BILINEAR)

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """
        Args:
            image (`np.ndarray` of shape `(H, W, C)`, uint8): Any image.

        Returns:
            `np.ndarray` of the shape `(H', W', C)`, uint8
        """
        resized = np.asarray(_processed(self.image_processor, image, do_rescale=False, do_normalize=False))
        return np.ascontiguousarray(resized.transpose(1, 2, 0))


def model_resize(image_processor: Any, num_channels: int | None) -> ModelResize | None:
    """
    The first part of an image processor, if it can be taken apart.

    Args:
        image_processor (`BaseImageProcessor`): The image processor of the model.
        num_channels (`int`, *optional*): Of its images; 3 if `None`.

    Returns:
        [`ModelResize`]; `None`, which is said, where resizing first and the rest afterwards does not give what the
        processor gives at once.
    """
    rng = np.random.default_rng(0)
    channels = num_channels or 3
    sizes = set()
    for height, width in _PROBES:
        probe = rng.integers(0, 256, (height, width, channels), dtype=np.uint8)
        at_once = np.asarray(_processed(image_processor, probe))
        try:
            resized = ModelResize(image_processor, None)(probe)
            in_two = np.asarray(_processed(image_processor, resized, **NO_RESIZE))
        except (TypeError, ValueError) as error:
            _say_why(image_processor, str(error))
            return None
        if resized.dtype != np.uint8 or in_two.shape != at_once.shape or not np.allclose(in_two, at_once, atol=1e-5):
            _say_why(image_processor, "another result")
            return None
        sizes.add(resized.shape[:2])
    return ModelResize(image_processor, sizes.pop() if len(sizes) == 1 else None)


def shows_all(resize: ModelResize, image: np.ndarray) -> bool:
    """Whether an image `(H, W, C)` of this size is resized whole, and not cropped to its middle."""
    height, width, channels = image.shape
    for axis, length in ((0, height), (1, width)):
        shape = [1, 1, 1]
        shape[axis] = length
        ramp = np.broadcast_to(np.linspace(0, 255, length).reshape(shape), (height, width, channels))
        ends = resize(ramp.astype(np.uint8)).mean(axis=(1 - axis, 2))
        # The first of so many pixels stands for as much of the image.
        if ends[0] > 255 / len(ends) + 2:
            return False
    return True


def _say_why(image_processor: Any, why: str) -> None:
    logger.warning(
        "%s does not resize images apart from the rest (%s): they are augmented and corrupted as they are, before it.",
        type(image_processor).__name__,
        why,
    )


def _processed(image_processor: Any, image: np.ndarray, **settings: Any) -> Any:
    return image_processor(images=[image], input_data_format="channels_last", **settings)[_PIXELS][0]
