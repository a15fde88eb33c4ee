"""From a list of rows with images to one batch of pixels. Nothing in it is random: images were augmented before, and are
mixed later, on the device."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from mixtext_hf.data.texts.collator import label_tensor
from mixtext_hf.data.visits import VISIT, VISITS, Visit, visit_tensor
from mixtext_hf.models.any_classifier import no_pixels

from .arrays import to_array
from .resize import AT_SIZE, NO_RESIZE, SMALLEST_SIDE


_PIXELS = "pixel_values"
_VIEWS = "views"
# What `ImageRows` calls the image.
_IMAGE = "image"


@dataclass
class ImageCollator:
    """
    Collate rows of images, or rows of pixels that are ready for the model, into a batch.

    Rows with `pixel_values` are stacked as they are. Other images go through the image processor, which resizes and
    normalises them. Grey images are repeated to three channels where the model wants three.

    Args:
        image_processor (`BaseImageProcessor`):
            The image processor of the model. `AutoImageProcessor.from_pretrained(name, backend="pil")` needs no
            torchvision (in transformers 5.17 it does unless the class is imported from
            `transformers.models.auto.image_processing_auto`).
        image_column (`str`, *optional*, defaults to `"image"`):
            Column of the image, in any form that [`to_array`] takes. Where it is absent, `image` is taken.
        label_column (`str`, *optional*, defaults to `"label"`):
            Column of the label. Where it is absent, `label`, `labels` or `label_ids` is taken.
        num_channels (`int`, *optional*):
            Channels that the model takes (`config.num_channels`); by default as many as the processor has means.

    Raises:
        `ValueError`: if the processor normalises another number of channels, or makes no pictures.
    """

    image_processor: Any
    image_column: str = _IMAGE
    label_column: str = "label"
    num_channels: int | None = None

    def __post_init__(self) -> None:
        if (made := no_pixels(self.image_processor)) is not None:
            raise ValueError(f"The image processor {type(self.image_processor).__name__} {made}.")
        if self.num_channels is None:
            self.num_channels = _normalised_channels(self.image_processor)
        else:
            _check_channels(self.image_processor, self.num_channels)

    @property
    def columns(self) -> list[str]:
        """The columns of a dataset it reads; whoever removes unused columns must keep these."""
        return list(dict.fromkeys([self.image_column, _IMAGE, _PIXELS, _VIEWS, AT_SIZE, *self.label_columns]))

    @property
    def label_columns(self) -> tuple[str, ...]:
        """Where it looks for the label, in this order."""
        return tuple(dict.fromkeys([self.label_column, "label", "labels", "label_ids"]))

    def __call__(self, features: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        """
        Args:
            features (`list[dict[str, Any]]`):
                The rows of the batch, all with ready pixels or all with images. Rows of an [`ImageRows`] may have views.

        Returns:
            `dict[str, torch.Tensor]`: `pixel_values`, float32 `(B, C, H, W)`; `views`, float32 `(B, V, C, H, W)`, if the
            rows have any; `visits`, int64 `(B, 2)`, and `frames`, float32 `(B, 4)`, if they say which they are and what they show; and, where the rows have labels, `labels`: int64 `(B,)` for class ids, or as
            [`MixDataCollator`] has them. A hidden label (`None`, or the class id -1) is -100.

        Raises:
            `ValueError`: if the images are not of one size after the processor, or of other channels than the model's, or if
                a pixel or a score is not finite.
        """
        if _PIXELS in features[0]:
            batch = {_PIXELS: _stack(row[_PIXELS] for row in features)}
            if _VIEWS in features[0]:
                batch[_VIEWS] = _stack(row[_VIEWS] for row in features)
        else:
            batch = self._process_rows(features)
        for name, pixels in batch.items():
            check_finite_pixels(pixels, name)
        if isinstance(features[0].get(VISIT), Visit):
            visits = [row[VISIT] for row in features]
            batch[VISITS] = visit_tensor(visits)
            batch["frames"] = torch.tensor([visit.frame for visit in visits], dtype=torch.float32)
        label_column = next((column for column in self.label_columns if column in features[0]), None)
        if label_column is not None:
            batch["labels"] = label_tensor([row[label_column] for row in features], label_column)
        return batch

    def _process_rows(self, features: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        images = [self._image(row, number) for number, row in enumerate(features)]
        views = [_views_of(row) for row in features]
        counts = {len(of_row) for of_row in views}
        if len(counts) > 1:
            raise ValueError(f"The rows of a batch have {sorted(counts)} views: all must have as many.")
        (num_views,) = counts
        images += [self._fit(view) for of_row in views for view in of_row]
        # A column of that name holds `True` where the rows were made by those who know what it means.
        at_size = all(row.get(AT_SIZE) is True for row in features)
        pixels = self._process(images, **(NO_RESIZE if at_size else {}))
        batch = {_PIXELS: pixels[: len(features)]}
        if num_views:
            batch[_VIEWS] = pixels[len(features) :].unflatten(0, (len(features), num_views))
        return batch

    def _image(self, row: dict[str, Any], number: int) -> np.ndarray:
        column = next((name for name in (self.image_column, _IMAGE) if name in row), None)
        if column is None:
            raise ValueError(
                f"Row {number} of the batch has no column {self.image_column!r}, it has {sorted(row)}. A `Trainer` removes "
                "columns its model does not take unless `remove_unused_columns=False`."
            )
        try:
            return self._fit(to_array(row[column]))
        except (TypeError, ValueError) as error:
            raise type(error)(f"Row {number} of the batch, column {column!r}: {error}") from error

    def _fit(self, image: np.ndarray) -> np.ndarray:
        """The image `(H, W, C)` with the channels of the model."""
        channels = image.shape[2]
        if channels == 1 and self.num_channels == 3:
            return np.repeat(image, 3, axis=2)
        if self.num_channels is not None and channels != self.num_channels:
            remedy = "make them grey (`image.convert('L')`)" if self.num_channels == 1 else "give others"
            raise ValueError(
                f"the image has {channels} channels, and the model takes {self.num_channels}: {remedy}, or use a model with "
                f"num_channels={channels} and an image processor that goes with it."
            )
        if channels not in (1, 3) and getattr(self.image_processor, "do_resize", False):
            # transformers resizes with PIL, which takes the last of two or four channels for alpha and weighs by it.
            raise ValueError(
                f"the image has {channels} channels, and the image processor resizes only grey and RGB images rightly: resize "
                "them before, and give the processor do_resize=False."
            )
        return image

    def _process(self, images: list[np.ndarray], **settings: bool) -> torch.Tensor:
        output = self.image_processor(images=images, input_data_format="channels_last", **settings)[_PIXELS]
        try:
            pixels = _stack(output)
        except ValueError as error:
            raise ValueError(
                f"{error} The image processor must bring them to one size: give it do_resize=True and a size with both "
                f"'height' and 'width', or a crop (it has do_resize={getattr(self.image_processor, 'do_resize', None)}, "
                f"size={getattr(self.image_processor, 'size', None)})."
            ) from error
        if self.num_channels is not None and pixels.shape[1] != self.num_channels:
            raise ValueError(
                f"The image processor made images of {pixels.shape[1]} channels, and the model takes {self.num_channels}: "
                "give it do_convert_rgb=False."
            )
        if max(pixels.shape[-2:]) < SMALLEST_SIDE:
            raise ValueError(
                f"The image processor made images of {' x '.join(map(str, pixels.shape[-2:]))} pixels, of which nobody can tell what they "
                f"show: give it a size of at least {SMALLEST_SIDE} (in commands that train: --image_size)."
            )
        return pixels


def check_finite_pixels(pixels: torch.Tensor, name: str) -> None:
    """
    Raise for pixels that are infinite or not a number.

    Args:
        pixels (`torch.Tensor` of shape `(B, ...)`): On the CPU.
        name (`str`): What the batch calls them.

    Raises:
        `ValueError`: that names the first such row.
    """
    # One pass, and nothing as large as the pixels: a sum is not finite if one of them is not.
    if not pixels.is_floating_point() or bool(pixels.sum().isfinite()):
        return
    wrong = ~pixels.isfinite().flatten(1).all(dim=1)
    if bool(wrong.any()):
        raise ValueError(
            f"`{name}` of row {int(wrong.int().argmax())} of the batch holds NaN or infinite pixels: correct or remove the image; if "
            "no image is wrong, see that the processing divides by no 0 (image_std) and overflows no half precision."
        )


def pixel_statistics(image_processor: Any, num_channels: int) -> tuple[torch.Tensor, torch.Tensor]:
    """
    What turns pixels in `[0, 1]` into what an image processor makes of them: `(pixels - mean) / std`.

    The processor is asked, with a black and a white image: some rescale to `[-1, 1]` or normalise twice, which their means
    and standard deviations do not tell.

    Args:
        image_processor (`BaseImageProcessor`): The image processor of the model.
        num_channels (`int`): Channels that the model takes.

    Returns:
        `tuple[torch.Tensor, torch.Tensor]`: mean and standard deviation, float32 `(C,)`; 0 and 1 where images are only
        scaled to `[0, 1]`.

    Raises:
        `ValueError`: if the processor normalises another number of channels, or does not tell black from white.
    """
    _check_channels(image_processor, num_channels)
    black_and_white = [np.full((8, 8, num_channels), value, dtype=np.uint8) for value in (0, 255)]
    output = image_processor(
        images=black_and_white, input_data_format="channels_last", do_resize=False, do_center_crop=False, do_pad=False
    )[_PIXELS]
    black, white = (_float_tensor(image)[:, 4, 4].double() for image in output)
    if len(black) != num_channels or not bool((white > black).all()):
        raise ValueError(
            f"The image processor {type(image_processor).__name__} makes {black.tolist()} of black and {white.tolist()} of "
            f"white: there must be {num_channels} numbers each, those of white larger. Check its rescale_factor, image_mean "
            "and image_std."
        )
    std = 1 / (white - black)
    # Not -0.0 where black is 0.
    return (0.0 - black * std).float(), std.float()


def _views_of(row: dict[str, Any]) -> list[np.ndarray]:
    # A data set may count in a column of that name how often a picture was looked at.
    views = row.get(_VIEWS)
    return views if isinstance(views, list) else []


def _normalised_channels(image_processor: Any) -> int | None:
    """How many channels the processor normalises, `None` if any number."""
    mean = getattr(image_processor, "image_mean", None)
    normalises = getattr(image_processor, "do_normalize", False)
    return len(mean) if normalises and isinstance(mean, Collection) else None


def _check_channels(image_processor: Any, num_channels: int) -> None:
    normalised = _normalised_channels(image_processor)
    if normalised not in (None, num_channels):
        raise ValueError(
            f"The model takes images of {num_channels} channels, and the image processor normalises {normalised} "
            f"(image_mean={list(image_processor.image_mean)}): give it image_mean and image_std of {num_channels} numbers each."
        )


def _stack(images: Iterable[Any]) -> torch.Tensor:
    """Arrays, tensors or nested lists of one shape, as float32."""
    tensors = [_float_tensor(image) for image in images]
    shapes = sorted({tuple(tensor.shape) for tensor in tensors})
    if len(shapes) > 1:
        raise ValueError(f"The images of a batch have different shapes, {', '.join(map(str, shapes))}.")
    return torch.stack(tensors)


def _float_tensor(pixels: Any) -> torch.Tensor:
    if isinstance(pixels, torch.Tensor):
        return pixels.float()
    # A copy: processors that put blue first return views with negative strides, which torch does not take.
    return torch.from_numpy(np.array(pixels, dtype=np.float32))
