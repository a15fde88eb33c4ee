"""Where the images of a table are: its column may hold paths, or the bare names that competitions use (`id`, `image_id`)."""

from __future__ import annotations

import logging
import os
from collections.abc import Collection, Sequence
from pathlib import Path

import datasets
from datasets import Dataset, Features, Value

from .files import matching_files, patterns_in
from .image_arrays import is_remote
from .image_folders import image_files, kind_of_split
from .image_suffixes import is_image


logger = logging.getLogger(__name__)

_STRINGS = (Value("string"), Value("large_string"))


def find_image_files(split: Dataset, split_name: str, column: str, folders: Sequence[Path]) -> Dataset:
    """
    Replace paths and names by paths of files that are there, as seen from the working directory.

    A path is taken as it stands; else as seen from a folder of the table; else for the name, with or without its suffix,
    of a single image below that folder. What is nowhere stays as it is.

    Args:
        split (`datasets.Dataset`): The rows of the table.
        split_name (`str`): Its name: of two files of one name, that below a folder of its name is meant.
        column (`str`): Of strings, or of whole numbers where the names of files are numbers. Others stay as they are.
        folders (`Sequence[Path]`): Those of the table's files.

    Returns:
        `datasets.Dataset`

    Raises:
        `ValueError`: if several files have the name in a row.
    """
    feature = split.features[column]
    is_number = isinstance(feature, Value) and feature.dtype.startswith(("int", "uint"))
    if not folders or not (feature in _STRINGS or is_number):
        return split
    names = split[column][:]
    paths: list[str | None] = []
    index: dict[str, list[Path]] | None = None
    from_folder = by_name = 0
    for row, name in enumerate(names):
        if name is None or name == "" or (not is_number and (is_remote(name) or _is_file(name))):
            paths.append(name)
            continue
        beside = [str(folder / str(name)) for folder in folders if _is_file(folder / str(name))]
        if beside:
            paths.append(beside[0])
            from_folder += 1
            continue
        if index is None:
            index = _index(folders, is_number)
        found = _of_split(index.get(str(name), []), split_name)
        if len(found) > 1:
            raise ValueError(
                f"Row {row} of the split {split_name!r} names the image {name!r}, and there are {found[0]} and {found[1]}: put paths into "
                f"the column {column!r}, as seen from the folder of the table or from the working directory."
            )
        paths.append(str(found[0]) if found else str(name))
        by_name += len(found)
    if is_number and not (from_folder or by_name):
        return split
    if from_folder:
        logger.info(
            "%s: %d paths of images are those seen from %s.", split_name, from_folder, ", ".join(map(str, folders))
        )
    if by_name:
        logger.info(
            "%s: %d images are found by the names of their files below %s.",
            split_name,
            by_name,
            ", ".join(map(str, folders)),
        )
    if not (from_folder or by_name):
        return split
    found_paths = Dataset.from_dict({column: paths}, features=Features({column: Value("string")}))
    others = split.remove_columns([column])
    return datasets.concatenate_datasets([found_paths, others], axis=1) if others.column_names else found_paths


def named_images(argument: str, given: str, classes: Collection[str]) -> tuple[list[Path], list[str | None]] | None:
    """
    The image files that are named, and the class of each as the folders say that it lies in.

    Args:
        argument (`str`): What the user calls it, for the errors.
        given (`str`): A file, a pattern, several with commas, or a folder with all that are below it.
        classes (`Collection[str]`): Names of classes; other folders say nothing.

    Returns:
        `None` if it is tables that are named.

    Raises:
        `ValueError`: if a folder holds no images. `FileNotFoundError`: if there is no such file.
    """
    if not os.path.isdir(given):
        patterns = patterns_in(given)
        if not patterns or not all(is_image(Path(pattern).suffix) for pattern in patterns):
            return None
        files = matching_files(argument, patterns)
        folders = [[path.parent.name] for path in files]
    else:
        files = image_files(Path(given))
        if not files:
            raise ValueError(
                f"{argument}: the folder {given!r} holds no images: name the folder of the image files, or a table."
            )
        # The class is the outermost folder that is called like one; that which was named itself comes last.
        last = Path(given).resolve().name
        folders = [[*path.relative_to(given).parts[:-1], last] for path in files]
    return files, [next((name for name in names if name in classes), None) for names in folders]


def _is_file(path: str | Path) -> bool:
    # Not `Path.is_file`, which raises for what is too long to be a name.
    return os.path.isfile(path)


def _index(folders: Sequence[Path], is_number: bool) -> dict[str, list[Path]]:
    """All images below the folders by their names, and by these without the suffix."""
    index: dict[str, list[Path]] = {}
    for path in dict.fromkeys(path for folder in folders for path in image_files(folder)):
        keys = {path.name, path.stem}
        if is_number and path.stem.isdecimal():
            # A table has lost the zeros in front.
            keys = {str(int(path.stem))}
        for key in keys:
            index.setdefault(key, []).append(path)
    return index


def _of_split(paths: list[Path], split_name: str) -> list[Path]:
    if len(paths) < 2:
        return paths
    own = [path for path in paths if kind_of_split(split_name) in map(kind_of_split, path.parent.parts)]
    return own or paths
