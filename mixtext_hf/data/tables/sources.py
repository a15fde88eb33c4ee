"""From what a user names (a Hub id, a folder, files, a GLUE task, or nothing) to splits as they were found.

Knows nothing of columns or labels. `load_hub` and `load_files` serve data of any kind; what is special to texts, the GLUE
tasks and the embedded corpus, is in `find_glue_task` and `load_text_splits` alone.
"""

import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import datasets
import numpy as np
from datasets import Dataset
from datasets.exceptions import DatasetGenerationError

from mixtext_hf.data.texts.docstrings import docstring_corpus

from .files import Reading, read_files, read_groups, resolve_files
from .folders import tables_in
from .glue import GLUE_TASKS, GlueTask
from .split_names import SPLIT_NAMES


logger = logging.getLogger(__name__)

DOCSTRINGS = "docstrings"
UNLABELED_FILE = "unlabeled_file"

# A bare "glue" would be shadowed by a folder of that name in the working directory.
_GLUE_ID = "nyu-mll/glue"


@dataclass
class Splits:
    """
    Splits as they were found, before anything is known about their columns.

    Args:
        train (`datasets.Dataset`, *optional*):
            The training split.
        validation (`dict[str, datasets.Dataset]`):
            Validation splits by name.
        test (`dict[str, datasets.Dataset]`):
            Test splits by name.
        source (`dict[str, Any]`):
            Where they came from, JSON-serialisable.
        unlabeled (`datasets.Dataset`, *optional*):
            Rows to learn from without labels, of files of their own.
        rows (`dict[str, np.ndarray]`, *optional*):
            Of splits of which some rows were chosen: where in the whole split these were.
    """

    train: Dataset | None
    validation: dict[str, Dataset]
    test: dict[str, Dataset]
    source: dict[str, Any]
    unlabeled: Dataset | None = None
    rows: dict[str, np.ndarray] = field(default_factory=dict)

    def by_name(self) -> dict[str, Dataset]:
        """All splits but the unlabelled one; the training split is named `"train"`."""
        train = {} if self.train is None else {"train": self.train}
        return {**train, **self.validation, **self.test}

    def replace(self, splits: Mapping[str, Dataset]) -> None:
        """Put others in the place of all that `by_name` gives."""
        self.train = splits.get("train")
        self.validation = {name: splits[name] for name in self.validation}
        self.test = {name: splits[name] for name in self.test}

    def add_unlabeled(
        self, files: str | Sequence[str], cache_dir: str | None = None, how: Reading | None = None
    ) -> None:
        """Read `unlabeled_file`, paths or glob patterns of files."""
        paths = resolve_files(UNLABELED_FILE, files)
        self.unlabeled = read_files(UNLABELED_FILE, paths, cache_dir, how)
        self.source[UNLABELED_FILE] = [str(path) for path in paths]


def load_files(
    files: Mapping[str, str | Sequence[str]],
    *,
    names: Mapping[str, Sequence[str]] | None = None,
    cache_dir: str | None = None,
    how: Reading | None = None,
) -> Splits:
    """
    Read splits from files. A column has one type in all of them.

    Args:
        files (`Mapping[str, str | Sequence[str]]`):
            Paths or glob patterns for the arguments `"train_file"`, `"validation_file"`, `"test_file"` and `"unlabeled_file"`.
        names (`Mapping[str, Sequence[str]]`, *optional*):
            Names of the splits for `"validation"` and `"test"`, for data that has several of a kind: so many files are
            one split each.
        cache_dir (`str`, *optional*):
            Where `datasets` keeps its files.
        how ([`Reading`], *optional*):
            What the files do not say of themselves.

    Returns:
        [`Splits`]
    """
    # All paths are checked before the first file is read.
    paths = {argument: resolve_files(argument, value) for argument, value in files.items()}
    groups: list[tuple[str, str, list[Path]]] = []  # argument, name of the split, files
    for argument, of_kind in paths.items():
        kind = argument.removesuffix("_file")
        several = (names or {}).get(kind, ())
        if len(several) > 1 and len(several) == len(of_kind):
            groups += [(argument, name, [path]) for name, path in zip(several, of_kind, strict=True)]
        else:
            groups.append((argument, kind, of_kind))
    found: dict[str, dict[str, Dataset]] = {}
    read = read_groups([(argument, of_split) for argument, _, of_split in groups], cache_dir, how)
    for (argument, name, _), dataset in zip(groups, read, strict=True):
        found.setdefault(argument, {})[name] = dataset
    unlabeled = paths.pop(UNLABELED_FILE, None)
    source: dict[str, Any] = {
        "files": {argument: [str(path) for path in of_kind] for argument, of_kind in paths.items()}
    }
    if unlabeled is not None:
        source[UNLABELED_FILE] = [str(path) for path in unlabeled]
    return Splits(
        found.get("train_file", {}).get("train"),
        found.get("validation_file", {}),
        found.get("test_file", {}),
        source,
        found.get(UNLABELED_FILE, {}).get("unlabeled"),
    )


def load_folder(name: str, files: Mapping[str, Sequence[Path]], cache_dir: str | None, how: Reading | None) -> Splits:
    """
    Read the splits of a folder of tables, as files that are given one by one.

    Args:
        name (`str`): The folder.
        files (`Mapping[str, Sequence[Path]]`): Its files, see [`~mixtext_hf.data.tables.folders.tables_in`].
        cache_dir (`str`, *optional*): Where `datasets` keeps its files.
        how ([`Reading`], *optional*): What the files do not say of themselves.
    """
    in_order = sorted(files, key=lambda split: ("train", "validation", "test").index(split.split("_")[0]))
    groups = [("dataset_name", resolve_files("dataset_name", files[split])) for split in in_order]
    read = dict(zip(in_order, read_groups(groups, cache_dir, how), strict=True))
    logger.info(
        "%s: %s.", name, "; ".join(f"{split} = {', '.join(p.name for p in files[split])}" for split in in_order)
    )
    return Splits(
        read.get("train"),
        {split: read[split] for split in in_order if split.startswith("validation")},
        {split: read[split] for split in in_order if split.startswith("test")},
        {"dataset": name, "config": None, "revision": None},
    )


def load_hub(
    name: str,
    config_name: str | None = None,
    *,
    names: Mapping[str, Sequence[str]] | None = None,
    revision: str | None = None,
    cache_dir: str | None = None,
    token: str | bool | None = None,
    how: Reading | None = None,
) -> Splits:
    """
    Load the splits of a data set on the Hub, or of a local folder: one of tables, or another one that `datasets.load_dataset` can
    read.

    Args:
        name (`str`):
            Id or folder of the data set.
        config_name (`str`, *optional*):
            Its configuration.
        names (`Mapping[str, Sequence[str]]`, *optional*):
            Its `"validation"` and its `"test"` splits; told by how their names begin by default.
        revision (`str`, *optional*):
            Branch, tag or commit.
        cache_dir (`str`, *optional*):
            Where `datasets` keeps its files.
        token (`str` or `bool`, *optional*):
            Token for private data sets.
        how ([`Reading`], *optional*):
            What the files of a folder of tables do not say of themselves.

    Returns:
        [`Splits`]
    """
    if os.path.isfile(name):
        raise ValueError(
            f"`dataset_name` is {name!r}, which is a file: give it as --train_file, --validation_file or --test_file."
        )
    tables = tables_in(name) if config_name is None else None
    if tables is not None:
        return load_folder(name, tables, cache_dir, how)
    remedy = "or give local files with train_file, validation_file and test_file"
    what = repr(name) if config_name is None else f"{name!r} ({config_name})"
    try:
        loaded = datasets.load_dataset(name, config_name, revision=revision, cache_dir=cache_dir, token=token)
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f"The data set {what} is neither on the Hub nor a local folder with data files ({error}): "
            f"check dataset_name, {remedy}."
        ) from error
    except DatasetGenerationError as error:
        raise ValueError(
            f"The data set {what} could not be read ({error.__cause__ or error}): its files do not fit together, {remedy}."
        ) from error
    except OSError as error:
        raise ConnectionError(
            f"The data set {what} could not be loaded ({error}): check the network, {remedy}."
        ) from error

    for split_name, split in loaded.items():
        if len(split) == 0:
            raise ValueError(f"The split {split_name!r} of the data set {what} has no rows: choose another data set.")
    if names is None:
        validation_names: Sequence[str] = [key for key in loaded if key.startswith(SPLIT_NAMES["validation"])]
        test_names: Sequence[str] = [key for key in loaded if key.startswith("test")]
    else:
        validation_names, test_names = names["validation"], names["test"]
    if "train" not in loaded and not validation_names and not test_names:
        raise ValueError(
            f"The data set {what} has the splits {list(loaded)}, none of them is a train, validation or test split: "
            f"choose another data set, {remedy}."
        )
    return Splits(
        loaded.get("train"),
        {key: loaded[key] for key in validation_names},
        {key: loaded[key] for key in test_names},
        {"dataset": name, "config": config_name, "revision": revision},
    )


def check_one_source(dataset_name: str | None, dataset_config_name: str | None, others: Sequence[str]) -> None:
    """Raise `ValueError` if a data set is named and `others`, the names of arguments, are given too."""
    if dataset_name is not None and others:
        raise ValueError(
            f"`dataset_name` is {dataset_name!r}, but {others} is given too: name only one source of data."
        )
    if dataset_name is None and dataset_config_name is not None:
        raise ValueError(f"`dataset_config_name` is {dataset_config_name!r} without a `dataset_name`: name both.")


def find_glue_task(name: str | None) -> GlueTask | None:
    """The GLUE task of this name; a `ValueError` if there is none."""
    if name is not None and name not in GLUE_TASKS:
        raise ValueError(f"`task_name` is {name!r}: it must be one of the GLUE tasks {sorted(GLUE_TASKS)}.")
    return None if name is None else GLUE_TASKS[name]


def load_text_splits(
    files: Mapping[str, str | Sequence[str] | None],
    task: GlueTask | None,
    dataset_name: str | None,
    dataset_config_name: str | None,
    *,
    revision: str | None,
    cache_dir: str | None,
    token: str | bool | None,
    how: Reading,
) -> Splits:
    """
    Load texts from the source that was named: files, a GLUE task, a data set, or, where nothing was, the embedded corpus.
    The arguments are those of [`load_text_datasets`], and `files` its files by the names of their arguments.
    """
    given_files = {argument: value for argument, value in files.items() if value is not None}
    unlabeled_file = given_files.pop(UNLABELED_FILE, None)
    check_one_source(dataset_name, dataset_config_name, [*(["task_name"] if task is not None else []), *given_files])
    if given_files and unlabeled_file is not None:
        given_files[UNLABELED_FILE] = unlabeled_file
    names = None if task is None else {"validation": task.validation_splits, "test": task.test_splits}
    if task is not None:
        how = replace(how, headless=task.names_without_header, renamed=task.renamed)
    if given_files:
        splits = load_files(given_files, names=names, cache_dir=cache_dir, how=how)
    elif task is None and dataset_name in (None, DOCSTRINGS):
        train, test, versions = docstring_corpus()
        splits = Splits(train, {}, {"test": test}, {"dataset": DOCSTRINGS, "package_versions": versions})
    else:
        hub_id, config_name = (str(dataset_name), dataset_config_name) if task is None else (_GLUE_ID, task.name)
        splits = load_hub(
            hub_id, config_name, names=names, revision=revision, cache_dir=cache_dir, token=token, how=how
        )
    if task is not None:
        splits.source["task"] = task.name
    if unlabeled_file is not None and splits.unlabeled is None:
        splits.add_unlabeled(unlabeled_file, cache_dir, how)
    return splits
