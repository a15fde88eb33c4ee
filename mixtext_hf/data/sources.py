"""From what a user names (a Hub id, a folder, files, a GLUE task, or nothing) to splits as they were found.

Knows nothing of columns or labels. `load_hub` and `load_files` serve data of any kind; what is special to texts, the GLUE
tasks and the embedded corpus, is in `find_glue_task` and `load_text_splits` alone.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import datasets
import numpy as np
from datasets import Dataset
from datasets.exceptions import DatasetGenerationError

from .docstrings import docstring_corpus
from .files import read_files, resolve_files
from .glue import GLUE_TASKS, GlueTask


DOCSTRINGS = "docstrings"

# A bare "glue" would be shadowed by a folder of that name in the working directory.
_GLUE_ID = "nyu-mll/glue"
_VALIDATION_NAMES = ("validation", "valid", "val", "dev")


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

    def add_unlabeled(self, files: str | Sequence[str], cache_dir: str | None = None) -> None:
        """Read `unlabeled_file`, paths or glob patterns of files."""
        paths = resolve_files("unlabeled_file", files)
        self.unlabeled = read_files("unlabeled_file", paths, cache_dir)
        self.source["unlabeled_file"] = [str(path) for path in paths]


def load_files(
    files: Mapping[str, str | Sequence[str]],
    *,
    names: Mapping[str, Sequence[str]] | None = None,
    cache_dir: str | None = None,
) -> Splits:
    """
    Read splits from files.

    Args:
        files (`Mapping[str, str | Sequence[str]]`):
            Paths or glob patterns for the arguments `"train_file"`, `"validation_file"` and `"test_file"`.
        names (`Mapping[str, Sequence[str]]`, *optional*):
            Names of the splits for `"validation"` and `"test"`, for data that has several of a kind: so many files are
            one split each.
        cache_dir (`str`, *optional*):
            Where `datasets` keeps its files.

    Returns:
        [`Splits`]
    """
    # All paths are checked before the first file is read.
    paths = {argument: resolve_files(argument, value) for argument, value in files.items()}
    found: dict[str, dict[str, Dataset]] = {"train": {}, "validation": {}, "test": {}}
    for argument, of_kind in paths.items():
        kind = argument.removesuffix("_file")
        several = (names or {}).get(kind, ())
        groups = {kind: of_kind}
        if len(several) > 1 and len(several) == len(of_kind):
            groups = {name: [path] for name, path in zip(several, of_kind, strict=True)}
        found[kind] = {name: read_files(argument, group, cache_dir) for name, group in groups.items()}
    source = {"files": {argument: [str(path) for path in of_kind] for argument, of_kind in paths.items()}}
    return Splits(found["train"].get("train"), found["validation"], found["test"], source)


def load_hub(
    name: str,
    config_name: str | None = None,
    *,
    names: Mapping[str, Sequence[str]] | None = None,
    revision: str | None = None,
    cache_dir: str | None = None,
    token: str | bool | None = None,
) -> Splits:
    """
    Load the splits of a data set on the Hub, or of a local folder that `datasets.load_dataset` can read.

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

    Returns:
        [`Splits`]
    """
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
        validation_names: Sequence[str] = [key for key in loaded if key.startswith(_VALIDATION_NAMES)]
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
) -> Splits:
    """
    Load texts from the source that was named: files, a GLUE task, a data set, or, where nothing was, the embedded corpus.
    The arguments are those of [`load_text_datasets`], and `files` its files by the names of their arguments.
    """
    given_files = {argument: value for argument, value in files.items() if value is not None}
    check_one_source(dataset_name, dataset_config_name, [*(["task_name"] if task is not None else []), *given_files])
    if task is None and not given_files and dataset_name in (None, DOCSTRINGS):
        train, test, versions = docstring_corpus()
        return Splits(train, {}, {"test": test}, {"dataset": DOCSTRINGS, "package_versions": versions})
    names = None if task is None else {"validation": task.validation_splits, "test": task.test_splits}
    if given_files:
        splits = load_files(given_files, names=names, cache_dir=cache_dir)
    else:
        hub_id, config_name = (str(dataset_name), dataset_config_name) if task is None else (_GLUE_ID, task.name)
        splits = load_hub(hub_id, config_name, names=names, revision=revision, cache_dir=cache_dir, token=token)
    if task is not None:
        splits.source["task"] = task.name
    return splits
