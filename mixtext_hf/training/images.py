"""The image side of a [`MixTrainer`]: from rows with raw images to a loader that augments them, counted per example."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import datasets
import numpy as np
import torch
from PIL import Image
from transformers.image_processing_base import ImageProcessingMixin

from mixtext_hf.data.images.arrays import to_array
from mixtext_hf.data.images.augmentations import (
    Crop,
    CropToSize,
    ImageAugmentation,
    RandomResizedCrop,
    make_image_augmentations,
    tells_frame,
)
from mixtext_hf.data.images.augmix import AugMixChains
from mixtext_hf.data.images.checks import image_sizes
from mixtext_hf.data.images.collator import ImageCollator, pixel_statistics
from mixtext_hf.data.images.datasets import recognise_image_columns
from mixtext_hf.data.images.resize import ModelResize, model_resize, shows_all
from mixtext_hf.data.images.rows import ImageRows
from mixtext_hf.methods import PIXELS, AugMix, MaskMix, MixMethod, PuzzleMix
from mixtext_hf.models.any_classifier import no_pixels
from mixtext_hf.models.timm_processor import plain_processor

from .arguments import MixTrainingArguments
from .data_handed_over import column_names
from .unlabeled import data_seed
from .visits import check_random_order, is_stream, refuse_stream


logger = logging.getLogger(__name__)

# Images that must be decoded to learn their size.
_LOOKED_AT = 64


def image_collator(
    processor: ImageProcessingMixin, datasets_: Sequence[Any], num_channels: int | None
) -> ImageCollator:
    """The collator of raw images; it reads the columns of the first of `datasets_` that has raw images."""
    processor = plain_processor(processor)
    for rows in datasets_:
        names = column_names(rows)
        if names is not None and PIXELS not in names:
            return ImageCollator(processor, num_channels=num_channels, **recognise_image_columns(names))
    return ImageCollator(processor, num_channels=num_channels)


def image_rows(dataset: Any, collator: Any, method: MixMethod, args: MixTrainingArguments) -> ImageRows | None:
    """
    The training rows with the augmentations that `args` names and the views that `method` needs.

    Returns:
        `None` where the rows are no raw images that the package's own collator reads: they stay what they are.

    Raises:
        `ValueError`: if augmentations were asked for all the same, or another order of raw images than a random one.
    """
    if not _are_raw(dataset, collator, method, args):
        return None
    chains = None
    if isinstance(method, AugMix):
        chains = AugMixChains(
            severity=method.severity, width=method.width, depth=method.chain_depth, all_ops=method.all_ops
        )
    return ImageRows(
        dataset,
        image_column=collator.image_column,
        label_column=collator.label_column,
        **_augmentations(collator, args.image_augmentations or (), at_size=chains is not None),
        views=chains,
        num_views=method.num_views if isinstance(method, AugMix) else 0,
        tells_visits=method.keeps_rows,
        seed=data_seed(args),
    )


def check_images(
    dataset: Any,
    collator: Any,
    method: MixMethod,
    args: MixTrainingArguments,
    *,
    patch_size: tuple[int, int] | None,
) -> None:
    """
    Look whether the training images can be augmented and mixed as asked, before training, by a model with patches of `patch_size`.

    Raises:
        `ValueError`: as [`image_rows`] does; for an augmentation that an image is too small for, which names the row; and where PuzzleMix
            cannot cut the images into blocks, or MaskMix into cells.
    """
    if dataset is None or not _are_raw(dataset, collator, method, args):
        return
    made = [
        augmentation
        for augmentation in make_image_augmentations(args.image_augmentations or ())
        if not augmentation.after_resize
    ]
    # Most need no size, and it takes a look at every file.
    if any(type(augmentation).check_size is not ImageAugmentation.check_size for augmentation in made):
        for row, (height, width) in _sizes(dataset, collator.image_column):
            try:
                for augmentation in made:
                    augmentation.check_size(height, width)
            except ValueError as error:
                raise ValueError(
                    f"image_augmentations={list(args.image_augmentations or ())}, row {row} of the training images: {error}"
                ) from error
    if method.keeps_rows:
        _check_frames(dataset, collator, args)
    if isinstance(method, PuzzleMix | MaskMix):
        height, width = collator([dataset[0]])[PIXELS].shape[-2:]
        if isinstance(method, PuzzleMix):
            method.fitting((height, width))
        else:
            method.grid((height, width), patch_size or (1, 1))


def _check_frames(dataset: Any, collator: ImageCollator, args: MixTrainingArguments) -> None:
    """Raise `ValueError` where it is not known which part of an image its augmented picture shows."""
    specs = list(args.image_augmentations or ())
    for augmentation in make_image_augmentations(specs):
        if not tells_frame(augmentation):
            raise ValueError(
                f"image_augmentations={specs}: {augmentation.name} moves what is in an image in ways that kept saliency does not "
                "follow: leave it out, or set saliency_every to 1."
            )
    settings = _augmentations(collator, specs, at_size=False)
    cuts = [one for one in settings["augmentations"] if isinstance(one, Crop | RandomResizedCrop)]
    if any(isinstance(one, Crop) for one in cuts[1:]):
        raise ValueError(
            f"image_augmentations={specs}: crop frames with black what was cropped before, and kept saliency takes that for more of "
            "the image: leave one out, or set saliency_every to 1."
        )
    if not cuts or isinstance(settings.get("resize"), CropToSize):
        return
    resize = model_resize(collator.image_processor, collator.num_channels)
    if resize is None or not shows_all(resize, to_array(dataset[0][collator.image_column])):
        raise ValueError(
            f"image_augmentations={specs}: after {cuts[0].name} the image processor crops what it makes of an image, and kept "
            "saliency would be found elsewhere: use random_resized_crop, which takes its place, flip alone, a processor without "
            "a crop (do_center_crop, crop_pct), or saliency_every=1."
        )


def _sizes(dataset: Any, column: str) -> Iterator[tuple[int, tuple[int, int]]]:
    """Rows, with the height and width of their images: all of them where they need not be decoded, else some."""
    if isinstance(dataset, datasets.Dataset) and isinstance(dataset.features.get(column), datasets.Image):
        yield from enumerate(image_sizes(dataset, column))
        return
    held = isinstance(dataset, list | tuple)
    some = range(len(dataset)) if held else np.unique(np.linspace(0, len(dataset) - 1, _LOOKED_AT).astype(int))
    for row in map(int, some):
        image = dataset[row][column]
        yield row, image.size[::-1] if isinstance(image, Image.Image) else to_array(image).shape[:2]


def _are_raw(dataset: Any, collator: Any, method: MixMethod, args: MixTrainingArguments) -> bool:
    """Whether the rows are raw images that the package's own collator reads; raises where they must be and are not."""
    names = None if is_stream(dataset) else column_names(dataset)
    if isinstance(collator, ImageCollator) and names is not None and collator.image_column in names:
        check_random_order(args, "raw images")
        return True
    if args.image_augmentations or isinstance(method, AugMix) or method.keeps_rows:
        asked, counts, does = "image_augmentations", "counts what it draws", "changes raw images"
        if isinstance(method, AugMix):
            asked = "mix_method='augmix'"
        elif isinstance(method, PuzzleMix) and method.keeps_rows:
            asked, counts = f"saliency_every={method.saliency_every}", "keeps the saliency of an image"
            does = "follows raw images through their augmentations"
        if is_stream(dataset):
            refuse_stream(asked, counts)
        raise ValueError(
            f"{asked} {does}, and `train_dataset` has none that the trainer knows how to read: give rows with a "
            "column 'image' and the image processor as `processing_class`."
        )
    return False


def _augmentations(collator: ImageCollator, specs: Sequence[str], *, at_size: bool) -> dict[str, Any]:
    """What is done to an image before it is resized, the resizing where something is done afterwards, and that."""
    augmentations = make_image_augmentations(specs)
    before = [augmentation for augmentation in augmentations if not augmentation.after_resize]
    after = [augmentation for augmentation in augmentations if augmentation.after_resize]
    crops = [augmentation for augmentation in before if isinstance(augmentation, RandomResizedCrop)]
    if not (at_size or after or crops):
        return {"augmentations": before}
    resize = model_resize(collator.image_processor, collator.num_channels)
    if resize is None:
        return {"augmentations": augmentations}
    if crops and resize.size is not None:
        step = CropToSize(crops[0], resize.size, resize.resample)
        return {"augmentations": [a for a in before if a not in crops], "resize": step, "after_resize": after}
    return {"augmentations": before, "resize": partial(_resized, resize), "after_resize": after}


def _resized(resize: ModelResize, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return resize(image)


def normalisation(
    collator: Any, processing_class: Any, num_channels: int | None, method: MixMethod, args: MixTrainingArguments
) -> tuple[torch.Tensor, torch.Tensor] | tuple[None, None]:
    """
    Mean and standard deviation `(C,)`, on the device, that pixels in `[0, 1]` are normalised with: those given, else those of the
    image processor; `None` if nobody says.

    Raises:
        `ValueError`: if nobody says and `method` adds noise to pixels, and if the numbers given are not one for each channel.
    """
    if args.pixel_mean is not None and args.pixel_std is not None:
        if num_channels not in (None, len(args.pixel_mean)):
            raise ValueError(
                f"pixel_mean={args.pixel_mean} and pixel_std={args.pixel_std} have {len(args.pixel_mean)} numbers each, and the "
                f"model takes images of {num_channels} channels: give one for each."
            )
        return torch.tensor(args.pixel_mean, device=args.device), torch.tensor(args.pixel_std, device=args.device)
    processor = collator.image_processor if isinstance(collator, ImageCollator) else plain_processor(processing_class)
    if not isinstance(processor, ImageProcessingMixin) or num_channels is None or no_pixels(processor) is not None:
        if isinstance(method, PuzzleMix) and method.adv_p > 0:
            raise ValueError(
                f"adv_p={method.adv_p} adds noise in grey levels and clips it to what is an image, and nothing says how the "
                "images were normalised: give pixel_mean and pixel_std, or the image processor as `processing_class`."
            )
        return None, None
    mean, std = pixel_statistics(processor, num_channels)
    return mean.to(args.device), std.to(args.device)


def check_normalisation(
    dataset: Any,
    collator: Any,
    processing_class: Any,
    num_channels: int | None,
    method: MixMethod,
    args: MixTrainingArguments,
) -> None:
    """
    Look before training whether it is known how pixels are normalised, where the method needs it: warn if it is not.

    Raises:
        `ValueError`: as [`normalisation`], and where other numbers are given than those by which raw images are normalised.
    """
    is_given = args.pixel_mean is not None
    if dataset is None or not (is_given or isinstance(method, PuzzleMix)):
        return
    mean, std = normalisation(collator, processing_class, num_channels, method, args)
    if mean is None or std is None:
        if isinstance(method, PuzzleMix) and method.beta * method.gamma > 0:
            logger.warning(
                "Nothing says how the images were normalised, and %s compares their pixels in [0, 1]: taken as they are, its gamma is "
                "2 to 5 times too strong for usual normalisations. Give pixel_mean and pixel_std (0 and 1 for images that are not "
                "normalised), or the image processor as `processing_class`.",
                method.name,
            )
        return
    if is_given and num_channels is not None and _are_raw(dataset, collator, method, args):
        done = pixel_statistics(collator.image_processor, num_channels)
        if not all(torch.allclose(one.cpu(), other, atol=1e-3) for one, other in zip((mean, std), done, strict=True)):
            told = [[round(number, 4) for number in one.tolist()] for one in done]
            raise ValueError(
                f"pixel_mean={args.pixel_mean} and pixel_std={args.pixel_std} were given, and the image processor normalises the "
                f"training images by {told[0]} and {told[1]}: leave them out, they are for pixels that are ready."
            )
