"""The rows of images that training sees: decoded, augmented, and with their views. In which order, and how often.

What a row becomes is a pure function of (seed, epoch, row): the sampler says the epoch with each row, nothing remembers it.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

import datasets
import numpy as np
import torch

from mixtext_hf.data.tables.row_id import RowId
from mixtext_hf.data.texts.two_streams import sized
from mixtext_hf.data.visits import VISIT, Visit

from .arrays import reading_error, to_array
from .augmentations import ImageAugmentation, tells_frame
from .frames import WHOLE, Frame
from .resize import AT_SIZE


Augmentation = Callable[[np.ndarray, np.random.Generator], np.ndarray]


class ImageRows(torch.utils.data.Dataset):
    r"""
    The rows that an [`EpochSampler`] names, each image augmented anew in every epoch.

    Args:
        dataset (`datasets.Dataset` or `Sequence[dict]`): The rows, with images in any form that [`to_array`] takes.
        image_column (`str`, *optional*, defaults to `"image"`): Column of the image.
        label_column (`str`, *optional*, defaults to `"label"`): Column of the label.
        augmentations (`Sequence[Callable]`, *optional*):
            Each takes `(image, rng)` and gives an image, uint8 arrays `(H, W, C)`; applied one after the other.
        resize (`Callable`, *optional*):
            Brings an augmented image to the size of the model: `(image, rng)` to an image. The collator then leaves its size.
        after_resize (`Sequence[Callable]`, *optional*):
            As `augmentations`, of the image after that.
        views (`Callable`, *optional*):
            Makes a view of the augmented image, as [`AugMixChains`] does: `(image, rng)` to an image.
        num_views (`int`, *optional*, defaults to 0): How many views.
        tells_visits (`bool`, *optional*, defaults to `False`):
            Whether rows say which they are, in which epoch, and what is shown of the image then, see [`Visit`]. All augmentations
            must be of this package and know that; `resize` is taken to show the whole image if it is not.
        seed (`int`, *optional*, defaults to 0):
            Row `i` in epoch `e` is augmented with `numpy.random.default_rng([seed, e, i, 0])`, and its view `k`, counted
            from 1, made with `numpy.random.default_rng([seed, e, i, k])`; where the row comes once more in the epoch, for the
            `r`-th time after the first, with `[seed, e, i, k, r, 0]`.

    Raises:
        `ValueError`: if there are no rows, a column is missing, or views were counted but not given, or given and not
            counted.
    """

    def __init__(
        self,
        dataset: Any,
        *,
        image_column: str = "image",
        label_column: str = "label",
        augmentations: Sequence[Augmentation] = (),
        resize: Augmentation | None = None,
        after_resize: Sequence[Augmentation] = (),
        views: Augmentation | None = None,
        num_views: int = 0,
        tells_visits: bool = False,
        seed: int = 0,
    ):
        if sized(dataset, "dataset") == 0:
            raise ValueError("`dataset` is empty: give it at least one image.")
        if num_views < 0 or (num_views > 0) != (views is not None):
            raise ValueError(
                f"`num_views` is {num_views} and `views` is {views!r}: give what makes views and how many, at least 1, or "
                "neither."
            )
        if isinstance(dataset, datasets.Dataset):
            dataset = _plain(dataset, image_column, label_column)
        self.dataset = dataset
        self.image_column, self.label_column = image_column, label_column
        self.augmentations, self.resize = tuple(augmentations), resize
        # In this order, all of one row's chance.
        self._changes = (*augmentations, *([] if resize is None else [resize]), *after_resize)
        self.views, self.num_views = views, num_views
        self.tells_visits = tells_visits
        unknown = [change for change in (*augmentations, *after_resize) if _frame_of(change) is None]
        if tells_visits and unknown:
            raise ValueError(
                f"`tells_visits` is True, and nobody knows what {unknown[0]!r} shows of an image: leave one out."
            )
        self.seed = seed

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, which: RowId) -> dict[str, Any]:
        """
        Returns:
            `dict[str, Any]`: `"image"`, uint8 `(H, W, C)`; `"label"`, as the data has it; if there are any, `"views"`, a list of
            `num_views` images of the same shape; and a [`Visit`], if it is asked for.

        Raises:
            `ValueError`: if the image cannot be read or augmented; it names the row.
        """
        index, epoch, repeat = which.row, which.round, which.repeat
        image, label = self._read(index)
        frame = WHOLE
        if self._changes:
            rng = self._rng(epoch, index, 0, repeat)
            try:
                for change in self._changes:
                    if self.tells_visits and (frame_of := _frame_of(change)) is not None:
                        # Of the same chance: drawing a frame must not move what is drawn next.
                        frame = frame.then(frame_of(image.shape[0], image.shape[1], copy.deepcopy(rng)))
                    image = change(image, rng)
            except ValueError as error:
                raise ValueError(f"Row {index}, column {self.image_column!r}: {error}") from error
        row = {"image": image, "label": label}
        if self.resize is not None:
            row[AT_SIZE] = True
        if self.tells_visits:
            row[VISIT] = Visit(index, epoch, frame)
        if self.views is not None:
            row["views"] = [
                self.views(image, self._rng(epoch, index, view, repeat)) for view in range(1, self.num_views + 1)
            ]
        return row

    def _read(self, index: int) -> tuple[np.ndarray, Any]:
        try:
            row = self.dataset[index]
            return to_array(row[self.image_column]), row[self.label_column]
        except KeyError as error:
            raise ValueError(
                f"Row {index} has no column {error}, it has {sorted(row)}: rows need an image and a label (a transform that was "
                "set on the data must leave both alone)."
            ) from error
        except Exception as error:  # see `reading_error`
            raise ValueError(
                f"Row {index}{self._path(index)}, column {self.image_column!r}: {reading_error(error)} Remove or replace this row "
                "(check_images='full' finds all such images before training)."
            ) from error

    def _path(self, index: int) -> str:
        """The file of a row that is broken, where the data knows it."""
        if not isinstance(self.dataset, datasets.Dataset):
            return ""
        if not isinstance(self.dataset.features.get(self.image_column), datasets.Image):
            return ""
        stored = self.dataset.with_format(None).cast_column(self.image_column, datasets.Image(decode=False))
        image = stored[index][self.image_column]
        return "" if image is None or image["path"] is None else f" ({image['path']})"

    def _rng(self, epoch: int, index: int, view: int, repeat: int) -> np.random.Generator:
        # Six numbers: five say which rows come.
        again = [repeat, 0] if repeat else []
        return np.random.default_rng([self.seed, epoch, index, view, *again])


def _frame_of(change: Augmentation) -> Callable[[int, int, np.random.Generator], Frame] | None:
    """What tells which part of an image a change shows, if it is known."""
    return change.frame if isinstance(change, ImageAugmentation) and tells_frame(change) else None


def _plain(dataset: datasets.Dataset, image_column: str, label_column: str) -> datasets.Dataset:
    """The two columns alone, since reading a row reads all there are, in no other format than that of `datasets`."""
    for argument, column in (("image_column", image_column), ("label_column", label_column)):
        if column not in dataset.column_names:
            raise ValueError(f"`{argument}` is {column!r}, but the data has the columns {dataset.column_names}.")
    if dataset.format["type"] == "custom":
        # Somebody's transform: it may need the other columns.
        return dataset
    return dataset.select_columns([image_column, label_column]).with_format(None)
