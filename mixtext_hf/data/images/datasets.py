"""From what a user names (a Hub id, a folder of images, files, or nothing) to images that are ready to train on.

Splits are found by `sources.py`, labels brought into one convention by `labelled_splits.py` and rows chosen by `selection.py`,
as for texts; here are the columns, the forms that images are stored in, and the order of the steps.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import datasets
import numpy as np
from datasets import Dataset, LargeList, List, Value

from mixtext_hf.data.labelled_splits import LabelledSplits, normalise_splits, record_of
from mixtext_hf.data.labels.class_keys import make_naming
from mixtext_hf.data.labels.class_names import SimilarLabels
from mixtext_hf.data.labels.noise import LabelNoise, NoiseKind
from mixtext_hf.data.selection import Selection
from mixtext_hf.data.tables.columns import IMAGE_NAMES, check_kind, rows_without_text, type_name
from mixtext_hf.data.tables.files import Reading
from mixtext_hf.data.tables.sources import Splits, check_one_source, load_files, load_hub
from mixtext_hf.problem_types import SINGLE_LABEL

from .arrays import reading_error, to_array
from .checks import CheckImages, look_at_images
from .digits import digits
from .folders import load_image_folder, read_split_folder
from .paths import find_image_files


DIGITS = "digits"

IMAGE = "image"
# How many images are decoded to learn whether there are any in colour.
_ROWS_LOOKED_AT = 64
# Columns that the collator takes for pixels that are ready for the model.
_READY = ("pixel_values", "views")

# Names that data sets on the Hub use, in lower case. The first tier that has a match decides.
_IMAGE_TIERS = (
    IMAGE_NAMES,
    ("picture", "photo", "pixels", "pixel_values"),
    # Of tables that name files.
    ("image_path", "img_path", "image_file", "file_name", "filename", "file", "file_path", "filepath", "path"),
    ("image_id", "img_id", "image_name", "id_code"),
    ("id",),
)
_LABEL_TIERS = (
    ("label", "labels"),
    ("fine_label", "fine_labels"),
    ("class", "category", "target", "coarse_label", "coarse_labels"),
)


@dataclass(kw_only=True)
class ImageDatasets(LabelledSplits):
    """
    The splits of an image classification task, with everything a training run must know about them.

    Args (beside those of [`~mixtext_hf.data.labelled_splits.LabelledSplits`]):
        image_column (`str`):
            Always `"image"`: PIL images, or lists of integers where the data stores arrays.
        label_column (`str`, *optional*):
            Always `"label"`, or `None` when no split has labels.
        image_shape (`tuple[int, int, int]`):
            Height, width and channels of the first row of the first split.
    """

    image_column: str
    label_column: str | None
    image_shape: tuple[int, int, int]

    problem_type: ClassVar[str] = SINGLE_LABEL
    metrics: ClassVar[tuple[str, ...]] = ("accuracy", "macro_f1")

    @property
    def num_labels(self) -> int:
        """Outputs of the classification head: one a class."""
        return len(self.label_names)

    @property
    def num_channels(self) -> int:
        """The most channels of some rows spread over the first split: grey images may stand among coloured ones."""
        name, split = next(iter(self.by_name().items()))
        return most_channels(split, name)


def load_image_datasets(
    *,
    dataset_name: str | None = None,
    dataset_config_name: str | None = None,
    train_file: str | Sequence[str] | None = None,
    validation_file: str | Sequence[str] | None = None,
    test_file: str | Sequence[str] | None = None,
    image_column: str | None = None,
    label_column: str | None = None,
    label_names: Sequence[str] | None = None,
    label_map: str | Path | Mapping[str, str | None] | None = None,
    similar_labels: SimilarLabels = "refuse",
    labeled_per_class: int | None = None,
    up_to: bool = False,
    imbalance: float | None = None,
    max_train_samples: int | None = None,
    max_eval_samples: int | None = None,
    max_predict_samples: int | None = None,
    label_noise: float | None = None,
    label_noise_kind: NoiseKind = "uniform",
    noisy_label_column: str | None = None,
    seed: int = 0,
    validation_split_fraction: float | None = None,
    delimiter: str | None = None,
    encoding: str | None = None,
    check_images: CheckImages = "headers",
    skip_broken_images: bool = False,
    revision: str | None = None,
    cache_dir: str | None = None,
    token: str | bool | None = None,
) -> ImageDatasets:
    """
    Load an image data set and bring it into the form that training, evaluation and prediction expect.

    Every selection is a pure function of the labels and `seed`, the same as that of [`load_text_datasets`], in this order:
    `validation_split_fraction` splits a validation set off the training split, `labeled_per_class` chooses the labelled
    examples from what stays, `max_train_samples` limits those.

    Args:
        dataset_name (`str`, *optional*):
            Id of a data set on the Hub, or a local folder: one sub-folder of images for each class (in a folder for each
            of `train`, `validation` and `test`, if there are several splits, see [`load_image_folder`]), or whatever else
            `datasets.load_dataset` can read. `"digits"`, also the default when neither a data set nor a file is named, is
            [`digits`].
        dataset_config_name (`str`, *optional*):
            Configuration of `dataset_name`.
        train_file, validation_file, test_file (`str` or `Sequence[str]`, *optional*):
            Parquet, csv, tsv, txt, json or jsonl files, texts also packed (`.csv.gz`): paths or glob patterns, several in a
            sequence or separated by commas.
            The images in them are encoded bytes (as `datasets` writes them, or plain), arrays of uint8 `(H, W)` or
            `(H, W, C)`, or paths of image files, seen from the working directory or from the folder of the table, or their
            names, see [`find_image_files`]. Or a folder of images, with a folder for each class in it.
        image_column (`str`, *optional*):
            Column of the image; recognised by its name by default.
        label_column (`str`, *optional*):
            Column of the label; recognised by its name by default.
        label_names (`Sequence[str]`, *optional*):
            Names of the classes in the order of their ids, as a trained model knows them: the labels of the data are looked
            up among them, and they are the classes of data without labels.
        label_map (`str`, `Path` or `Mapping[str, str | None]`, *optional*):
            What the names in the data mean, those of `label_names` or others: a mapping, or a JSON, YAML or csv file of one.
            A name that goes to nothing is one whose rows are left out; names that it does not have stay as they are. See
            [`~mixtext_hf.data.labels.mapping.read_label_map`].
        similar_labels (`str`, *optional*, defaults to `"refuse"`):
            What is done with names that differ by case, blanks or the form of letters alone: `"refuse"` them, `"merge"` them
            into the most frequent one, or `"keep"` them apart.
        labeled_per_class (`int`, *optional*):
            Keep only this many training examples of each class; the others become `rest`.
        up_to (`bool`, *optional*, defaults to `False`):
            Whether of classes with fewer examples all are kept, which is an error otherwise.
        imbalance (`float`, *optional*):
            Keep of these examples a long tail: the first class has so many times more than the last, see
            [`~mixtext_hf.data.imbalance.imbalanced_split`]. What is left over joins `rest`, where there is one.
        max_train_samples (`int`, *optional*):
            Keep the first so many rows of the shuffled training split.
        max_eval_samples, max_predict_samples (`int`, *optional*):
            Keep so many rows of each validation or test split, chosen at random, in the order of the file.
        label_noise (`float`, *optional*), label_noise_kind (`str`), noisy_label_column (`str`, *optional*):
            Train with wrong labels, made or given, see [`~mixtext_hf.data.labels.noise.LabelNoise`]: of the rows that were
            chosen by their right ones, which then stand in a column `clean_label`.
        seed (`int`, *optional*, defaults to `0`):
            Seed of all selections. The test split of the digits does not depend on it.
        validation_split_fraction (`float`, *optional*):
            Share of the training split that becomes the validation split, of each class alike. Only for data that has no
            validation split.
        delimiter (`str`, *optional*):
            Character between the cells of csv, tsv and txt files; found by default.
        encoding (`str`, *optional*):
            Encoding of the files of text, such as `"latin-1"`, but for those that begin with a mark of UTF-8, UTF-16 or UTF-32;
            UTF-8 by default.
        check_images (`str`, *optional*, defaults to `"headers"`):
            How the image files of all splits are looked at: `"headers"`, which finds what is missing, no image, too large or
            cut short; or `"full"`, which decodes every one.
        skip_broken_images (`bool`, *optional*, defaults to `False`):
            Leave images that cannot be used out, and say which, instead of refusing the data.
        revision (`str`, *optional*):
            Branch, tag or commit of the data set on the Hub.
        cache_dir (`str`, *optional*):
            Where `datasets` keeps its files.
        token (`str` or `bool`, *optional*):
            Token for private data sets on the Hub.

    Returns:
        [`ImageDatasets`]

    Raises:
        `ValueError`: if an argument or the data is wrong. Images that cannot be used are named together; with
            `check_images="headers"`, one that is whole but for its pixels is named when it is read.
        `FileNotFoundError`: if there is no such file, folder or data set.
    """
    limits = {
        "labeled_per_class": labeled_per_class,
        "max_train_samples": max_train_samples,
        "max_eval_samples": max_eval_samples,
        "max_predict_samples": max_predict_samples,
    }
    files = {"train_file": train_file, "validation_file": validation_file, "test_file": test_file}
    given_files = {argument: value for argument, value in files.items() if value is not None}
    selection = Selection(limits, seed, validation_split_fraction, up_to, imbalance)
    noise = LabelNoise(label_noise, label_noise_kind, noisy_label_column)
    naming = make_naming(label_map, similar_labels)
    check_one_source(dataset_name, dataset_config_name, list(given_files))
    how = Reading(delimiter, encoding)
    if given_files:
        splits = _load_files(given_files, cache_dir, how)
    elif dataset_name in (None, DIGITS):
        train, test, versions = digits()
        splits = Splits(train, {}, {"test": test}, {"dataset": DIGITS, "package_versions": versions})
    else:
        folder = load_image_folder(str(dataset_name)) if dataset_config_name is None and revision is None else None
        splits = folder or load_hub(
            str(dataset_name), dataset_config_name, revision=revision, cache_dir=cache_dir, token=token, how=how
        )
    selection.check(splits)

    # The label of evaluation data may be absent, so the split that is the most likely to have it comes first.
    first = next(iter(splits.by_name().values()))
    found = recognise_image_columns(
        first.column_names, image=image_column, label=label_column, require_label=splits.train is not None
    )
    tables = splits.source.get("files", {})
    splits.replace(
        {
            name: as_images(split, name, found["image_column"], tables.get(f"{name}_file", ()))
            for name, split in splits.by_name().items()
        }
    )
    usable, left_out = look_at_images(splits.by_name(), IMAGE, how=check_images, skip_broken=skip_broken_images)
    splits.replace(usable)
    shapes = [_shape(split, name, 0) for name, split in splits.by_name().items()]
    _check_one_class(splits, found.get("label_column"))
    labels = normalise_splits(
        splits,
        found.get("label_column"),
        problem_type=SINGLE_LABEL,
        inputs=(IMAGE,),
        label_names=label_names,
        naming=naming,
    )
    rest = selection.choose(splits)
    splits.train, wrong_labels = noise.apply(splits.train, labels.names, SINGLE_LABEL, seed, naming)
    broken = {"broken_images_left_out": left_out} if left_out else {}
    records = selection.as_source(), naming.as_source(), labels.matching.as_source(), wrong_labels, broken
    return ImageDatasets(
        train=splits.train,
        validation=splits.validation,
        test=splits.test,
        rest=rest,
        image_column=IMAGE,
        label_column=labels.column,
        label_names=labels.names,
        image_shape=shapes[0],
        source=record_of(splits, *records, rest=rest),
        rows=splits.rows,
        matching=labels.matching,
    )


def _load_files(files: Mapping[str, str | Sequence[str]], cache_dir: str | None, how: Reading) -> Splits:
    """The splits of files, and of folders of images among them."""
    folders = {argument: value for argument, value in files.items() if isinstance(value, str) and os.path.isdir(value)}
    tables = {argument: value for argument, value in files.items() if argument not in folders}
    splits = load_files(tables, cache_dir=cache_dir, how=how)
    for argument, value in folders.items():
        rows, kind = read_split_folder(argument, value), argument.removesuffix("_file")
        if kind == "train":
            splits.train = rows
        else:
            {"validation": splits.validation, "test": splits.test}[kind][kind] = rows
        splits.source["files"][argument] = [value]
    return splits


def recognise_image_columns(
    column_names: Iterable[str], *, image: str | None = None, label: str | None = None, require_label: bool = False
) -> dict[str, str]:
    """
    Find the image and the label column of a table. Names that are given win; the others are recognised by their usual names
    (case does not matter), and what cannot be told for certain is an error, never a guess.

    Args:
        column_names (`Iterable[str]`): The columns there are.
        image (`str`, *optional*): Column of the image.
        label (`str`, *optional*): Column of the label.
        require_label (`bool`, *optional*, defaults to `False`): Whether a table without a label column is an error.

    Returns:
        `dict[str, str]`: the column names by the names of the arguments that take them, `"image_column"` and, if there is
        one, `"label_column"`.
    """
    names = list(column_names)
    for argument, name in (("image_column", image), ("label_column", label)):
        if name is not None and name not in names:
            raise ValueError(
                f"`{argument}` is {name!r}, but there is no such column. The columns are {names}: choose one of them with "
                f"--{argument}."
            )
    found = image or _recognise([name for name in names if name != label], names, "image", _IMAGE_TIERS)
    if image is None and (found is None or found.lower() in _IMAGE_TIERS[-1]):
        check_kind(names, "image")
    if found is None:
        raise ValueError(
            f"`image_column` cannot be recognised, no column has one of the usual names of an image. The columns are {names}: "
            "name one with --image_column; if these are no names, write a header above them."
        )
    label = label or _recognise([name for name in names if name != found], names, "label", _LABEL_TIERS)
    if label == found:
        raise ValueError(f"`label_column` is {label!r}, which is also the image column: name another one.")
    if label is None and require_label:
        raise ValueError(
            f"`label_column` cannot be recognised, no column has one of the usual names of a label. The columns are {names}: "
            "name one with --label_column, or put the images into a sub-folder for each class."
        )
    return {"image_column": found} if label is None else {"image_column": found, "label_column": label}


def _recognise(free: list[str], names: list[str], what: str, tiers: Sequence[Sequence[str]]) -> str | None:
    for tier in tiers:
        found = [name for name in free if name.lower() in tier]
        if len(found) > 1:
            raise ValueError(
                f"`{what}_column` cannot be recognised, several columns could be the {what}: {found}. The columns are "
                f"{names}: name one with --{what}_column."
            )
        if found:
            return found[0]
    return None


def as_images(split: Dataset, split_name: str, column: str, tables: Sequence[str | Path] = ()) -> Dataset:
    """The split with its images in the column `"image"`, decoded where they are files; `tables` name them, if they do."""
    where = f"The image column {column!r} of the split {split_name!r}"
    if column not in split.column_names:
        raise ValueError(
            f"{where} does not exist, the columns are {split.column_names}: all splits need the same image column. Rename "
            "it, or name a common one with --image_column."
        )
    split = find_image_files(split, split_name, column, list(dict.fromkeys(Path(table).parent for table in tables)))
    feature = split.features[column]
    if _holds_files(feature):
        # `datasets.Image` knows all of these, and decodes them when a row is read.
        split = split.cast_column(column, datasets.Image())
    elif not isinstance(
        feature, datasets.Image | List | LargeList | datasets.Array2D | datasets.Array3D
    ) and feature != Value("null"):
        raise ValueError(
            f"{where} holds {type_name(feature)}, no images: name a column of images, of their encoded bytes, of uint8 "
            "arrays or of paths with --image_column."
        )
    missing = rows_without_text(split, column)
    if len(missing):
        raise ValueError(f"{where} holds None at row {missing[0]}, in {len(missing)} rows in all: remove these rows.")
    if column != IMAGE:
        # One name for all data; one that is called "pixel_values" would be taken for ready as it is.
        split = split.remove_columns([name for name in split.column_names if name == IMAGE])
        split = split.rename_column(column, IMAGE)
    return split.remove_columns([name for name in split.column_names if name in _READY])


def _holds_files(feature: Any) -> bool:
    if isinstance(feature, datasets.Image):
        return not feature.decode
    if isinstance(feature, dict):
        return {"bytes", "path"} >= set(feature)
    return feature in (Value("binary"), Value("large_binary"), Value("string"), Value("large_string"))


def most_channels(split: Dataset, name: str, column: str = IMAGE) -> int:
    """The most channels of some rows spread over a split of this name."""
    rows = np.unique(np.linspace(0, len(split) - 1, _ROWS_LOOKED_AT).astype(int))
    return max(_shape(split, name, int(row), column)[2] for row in rows)


def _shape(split: Dataset, split_name: str, row: int, column: str = IMAGE) -> tuple[int, int, int]:
    try:
        height, width, channels = to_array(split.select_columns([column])[row][column]).shape
    except Exception as error:  # see `reading_error`
        raise ValueError(
            f"The image in row {row} of the split {split_name!r} cannot be used: {reading_error(error)} Name another --image_column, or correct "
            "the data."
        ) from error
    return height, width, channels


def _check_one_class(splits: Splits, label: str | None) -> None:
    """Raise `ValueError` for a label column of lists."""
    for name, split in splits.by_name().items():
        feature = None if label is None else split.features.get(label)
        if isinstance(feature, List | LargeList):
            raise ValueError(
                f"The label column {label!r} of the split {name!r} holds {type_name(feature)}: an image has one class, a "
                "name or a whole number. Name another column with --label_column."
            )
