"""From what a user names (a Hub id, files, a GLUE task, or nothing) to datasets that are ready to train on.

Columns are found by `columns.py`, files read by `files.py`, labels brought into one convention by `labels.py`; here is
the order of the steps, and the checks on their arguments.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from datasets import ClassLabel, Dataset, Value
from datasets.exceptions import DatasetGenerationError

from .columns import TextColumns, recognise_columns
from .docstrings import docstring_corpus
from .few_shot import few_shot_split
from .files import read_files, resolve_files
from .glue import GLUE_TASKS, GlueTask
from .labels import LABEL, MULTI_LABEL, PROBLEM_TYPES, REGRESSION, SINGLE_LABEL, has_labels, normalise_labels
from .stratified import hold_out


DOCSTRINGS = "docstrings"
UNLABELED = "unlabeled"

# A bare "glue" would be shadowed by a folder of that name in the working directory.
_GLUE_ID = "nyu-mll/glue"
_VALIDATION_NAMES = ("validation", "valid", "val", "dev")
_METRICS = {
    SINGLE_LABEL: ("accuracy", "macro_f1"),
    MULTI_LABEL: ("f1_micro", "f1_macro", "subset_accuracy"),
    REGRESSION: ("pearson", "spearman", "mse"),
}


@dataclass
class TextDatasets:
    """
    The splits of a text classification or regression task, with everything a training run must know about them.

    Args:
        train (`datasets.Dataset`, *optional*):
            The training split (the chosen examples, when few were asked for).
        validation (`dict[str, datasets.Dataset]`):
            Validation splits by name; several for MNLI, none is `{}`.
        test (`dict[str, datasets.Dataset]`):
            Test splits by name.
        rest (`datasets.Dataset`, *optional*):
            What `labeled_per_class` left over of the training split.
        unlabeled (`datasets.Dataset`, *optional*):
            Texts to learn from without their labels: of `unlabeled_file`, of `rest`, or of both. Labels that are known
            are still there, to measure how good guesses are.
        columns ([`TextColumns`]):
            The text columns; the label column is always `"label"`, or `None` when no split has labels.
        problem_type (`str`):
            `"single_label_classification"`, `"multi_label_classification"` or `"regression"`.
        label_names (`list[str]`):
            Names of the classes in the order of their ids; empty for regression.
        metrics (`tuple[str, ...]`):
            Names of the metrics that are usual for the task.
        source (`dict[str, Any]`):
            Where the data came from and how it was selected, JSON-serialisable.
    """

    train: Dataset | None
    validation: dict[str, Dataset]
    test: dict[str, Dataset]
    rest: Dataset | None
    unlabeled: Dataset | None
    columns: TextColumns
    problem_type: str
    label_names: list[str]
    metrics: tuple[str, ...]
    source: dict[str, Any]

    @property
    def num_labels(self) -> int:
        """Outputs of the classification head: one a class, a single one for regression."""
        return 1 if self.problem_type == REGRESSION else len(self.label_names)


@dataclass
class _Splits:
    """Splits as they were found, before anything is known about their columns."""

    train: Dataset | None
    validation: dict[str, Dataset]
    test: dict[str, Dataset]
    source: dict[str, Any]
    unlabeled: Dataset | None = None

    def by_name(self) -> dict[str, Dataset]:
        train = {} if self.train is None else {"train": self.train}
        return {**train, **self.validation, **self.test}

    def replace(self, splits: Mapping[str, Dataset]) -> None:
        self.train = splits.get("train")
        self.validation = {name: splits[name] for name in self.validation}
        self.test = {name: splits[name] for name in self.test}


def load_text_datasets(
    *,
    dataset_name: str | None = None,
    dataset_config_name: str | None = None,
    task_name: str | None = None,
    train_file: str | Sequence[str] | None = None,
    validation_file: str | Sequence[str] | None = None,
    test_file: str | Sequence[str] | None = None,
    text_column: str | None = None,
    text_pair_column: str | None = None,
    label_column: str | Sequence[str] | None = None,
    problem_type: str | None = None,
    label_names: Sequence[str] | None = None,
    labeled_per_class: int | None = None,
    unlabeled_file: str | Sequence[str] | None = None,
    unlabeled_rest: bool | None = None,
    unlabeled_per_class: int | None = None,
    view_columns: Sequence[str] = (),
    max_train_samples: int | None = None,
    max_eval_samples: int | None = None,
    max_predict_samples: int | None = None,
    seed: int = 0,
    validation_split_fraction: float | None = None,
    revision: str | None = None,
    cache_dir: str | None = None,
    token: str | bool | None = None,
) -> TextDatasets:
    """
    Load a text data set and bring it into the form that training, evaluation and prediction expect.

    Every selection is a pure function of the data and `seed`, in this order: `validation_split_fraction` splits a
    validation set off the training split, `labeled_per_class` chooses the labelled examples from what stays,
    `max_train_samples` limits those.

    Args:
        dataset_name (`str`, *optional*):
            Id of a data set on the Hub, or a local folder that `datasets.load_dataset` can read. `"docstrings"`, also
            the default when neither a data set, a task nor a file is named, is the embedded corpus of
            [`docstring_corpus`].
        dataset_config_name (`str`, *optional*):
            Configuration of `dataset_name`.
        task_name (`str`, *optional*):
            A task of [`GLUE_TASKS`]: fixes columns, metrics and problem type. The data comes from the Hub unless files
            are given.
        train_file, validation_file, test_file (`str` or `Sequence[str]`, *optional*):
            Parquet, csv, tsv, json or jsonl files: paths or glob patterns, several in a sequence or separated by
            commas. For the task `mnli`, two files are the matched and the mismatched split.
        text_column, text_pair_column (`str`, *optional*):
            Columns of the text and of the second text; recognised by their names by default.
        label_column (`str` or `Sequence[str]`, *optional*):
            Column of the label; several names, also separated by commas, are the 0/1 columns of multi-label data.
        problem_type (`str`, *optional*):
            One of the three of `transformers`; inferred from the labels by default.
        label_names (`Sequence[str]`, *optional*):
            Names of the classes in the order of their ids. For a trained model, whose outputs have a meaning already:
            the labels of the data are looked up among them, and they are the classes of data without labels.
        labeled_per_class (`int`, *optional*):
            Keep only this many training examples of each class; the others become `rest`.
        unlabeled_file (`str` or `Sequence[str]`, *optional*):
            Files of texts to learn from without labels, with the same text columns. A label column there is kept, and
            is for measuring alone.
        unlabeled_rest (`bool`, *optional*):
            Whether `rest` is learnt from without labels as well; by default where no `unlabeled_file` is given.
        unlabeled_per_class (`int`, *optional*):
            Take only this many texts of each class of `rest`.
        view_columns (`Sequence[str]`, *optional*):
            Columns of the unlabelled texts with another wording each.
        max_train_samples (`int`, *optional*):
            Keep the first so many rows of the shuffled training split.
        max_eval_samples, max_predict_samples (`int`, *optional*):
            Keep so many rows of each validation or test split, chosen at random, in the order of the file.
        seed (`int`, *optional*, defaults to `0`):
            Seed of all selections. The test split of the embedded corpus does not depend on it.
        validation_split_fraction (`float`, *optional*):
            Share of the training split that becomes the validation split, of each class alike. Only for data that has
            no validation split.
        revision (`str`, *optional*):
            Branch, tag or commit of the data set on the Hub.
        cache_dir (`str`, *optional*):
            Where `datasets` keeps its files.
        token (`str` or `bool`, *optional*):
            Token for private data sets on the Hub.

    Returns:
        [`TextDatasets`]
    """
    limits = {
        "labeled_per_class": labeled_per_class,
        "unlabeled_per_class": unlabeled_per_class,
        "max_train_samples": max_train_samples,
        "max_eval_samples": max_eval_samples,
        "max_predict_samples": max_predict_samples,
    }
    files = {"train_file": train_file, "validation_file": validation_file, "test_file": test_file}
    given_files = {name: value for name, value in files.items() if value is not None}
    _check_arguments(limits, seed, validation_split_fraction, problem_type)
    task = _glue_task(task_name, problem_type)
    if dataset_name is not None and (task is not None or given_files):
        other = [*(["task_name"] if task is not None else []), *given_files]
        raise ValueError(
            f"`dataset_name` is {dataset_name!r}, but {other} is given too: name only one source of data."
        )
    if dataset_name is None and dataset_config_name is not None:
        raise ValueError(f"`dataset_config_name` is {dataset_config_name!r} without a `dataset_name`: name both.")

    if given_files:
        splits = _load_files(given_files, task, cache_dir)
    elif task is not None:
        splits = _load_hub(_GLUE_ID, task.name, task, revision, cache_dir, token)
    elif dataset_name not in (None, DOCSTRINGS):
        splits = _load_hub(str(dataset_name), dataset_config_name, None, revision, cache_dir, token)
    else:
        train, test, versions = docstring_corpus()
        splits = _Splits(train, {}, {"test": test}, {"dataset": DOCSTRINGS, "package_versions": versions})
    if unlabeled_file is not None:
        paths = resolve_files("unlabeled_file", unlabeled_file)
        splits.unlabeled = read_files("unlabeled_file", paths, cache_dir)
        splits.source["unlabeled_file"] = [str(path) for path in paths]
    if unlabeled_rest is None:
        unlabeled_rest = unlabeled_file is None
    if unlabeled_per_class is not None and (labeled_per_class is None or not unlabeled_rest):
        raise ValueError(
            f"`unlabeled_per_class` is {unlabeled_per_class}: it takes texts of what `labeled_per_class` leaves of the "
            "training split; give labeled_per_class too (and unlabeled_rest, beside an unlabeled_file)."
        )
    if validation_split_fraction is not None and (splits.train is None or splits.validation):
        reason = "there is no training split" if splits.train is None else "there is a validation split already"
        raise ValueError(f"`validation_split_fraction` is {validation_split_fraction}, but {reason}: leave it out.")
    if labeled_per_class is not None and splits.train is None:
        raise ValueError(f"`labeled_per_class` is {labeled_per_class}, but there is no training split: leave it out.")

    columns = _find_columns(splits, task, text_column, text_pair_column, label_column)
    label_in_files = columns.label
    names: list[str] = []
    if columns.label is None:
        problem_type = problem_type or (task.problem_type if task is not None else SINGLE_LABEL)
        names = [] if problem_type == REGRESSION else list(label_names or ())
    else:
        texts = [column for column in (columns.text, columns.text_pair) if column is not None]
        normalised, problem_type, names = normalise_labels(
            splits.by_name(),
            columns.label,
            problem_type=task.problem_type if task is not None else problem_type,
            text_columns=texts,
            label_names=label_names,
        )
        splits.replace(normalised)
        any_labels = any(has_labels(split) for split in normalised.values())
        columns = TextColumns(columns.text, columns.text_pair, LABEL if any_labels else None)
    if splits.unlabeled is not None:
        for column in (columns.text, columns.text_pair):
            if column is not None:
                _check_text(splits.unlabeled, UNLABELED, column)
        splits.unlabeled = _with_known_labels(splits.unlabeled, label_in_files, names)
    single_label = problem_type == SINGLE_LABEL
    if labeled_per_class is not None and not single_label:
        raise ValueError(
            f"`labeled_per_class` needs single-label classes, but the labels are {problem_type}: "
            "use `max_train_samples` to train on few examples."
        )

    train, validation, rest = splits.train, splits.validation, None
    if train is not None and validation_split_fraction is not None:
        size = min(max(round(len(train) * validation_split_fraction), 1), len(train) - 1)
        train, held_out = hold_out(train, size, seed, LABEL if single_label else None)
        validation = {"validation": held_out}
    if train is not None and labeled_per_class is not None:
        train, rest = few_shot_split(train, LABEL, labeled_per_class, seed)
    if train is not None and max_train_samples is not None:
        train = train.select(np.random.default_rng(seed).permutation(len(train))[:max_train_samples])
    parts = []
    if rest is not None and unlabeled_rest:
        part = (
            rest
            if unlabeled_per_class is None
            else few_shot_split(rest, LABEL, unlabeled_per_class, seed, argument="unlabeled_per_class")[0]
        )
        parts.append(part)
    if splits.unlabeled is not None:
        parts.append(splits.unlabeled)
    unlabeled = _join_unlabeled(parts, columns, view_columns)
    validation = {name: _at_most(split, max_eval_samples, seed) for name, split in validation.items()}
    test = {name: _at_most(split, max_predict_samples, seed) for name, split in splits.test.items()}

    sizes = {name: len(split) for name, split in {**validation, **test}.items()}
    if train is not None:
        sizes = {"train": len(train), **({} if rest is None else {"rest": len(rest)}), **sizes}
    if unlabeled is not None:
        sizes[UNLABELED] = len(unlabeled)
    source = {
        **splits.source,
        "sizes": sizes,
        "seed": seed,
        "validation_split_fraction": validation_split_fraction,
        **limits,
    }
    metrics = task.metrics if task is not None else _METRICS[problem_type]
    return TextDatasets(train, validation, test, rest, unlabeled, columns, problem_type, names, metrics, source)


def _with_known_labels(split: Dataset, label: str | tuple[str, ...] | None, names: Sequence[str]) -> Dataset:
    """
    The unlabelled texts with what is known of their classes: ids of `names` in a column `"label"`, -1 where a class is
    hidden or unknown; without that column if they have none. Nothing about them is wrong, since nobody learns from them.
    """
    if not isinstance(label, str) or label not in split.column_names:
        return split.remove_columns(LABEL) if LABEL in split.column_names else split
    feature = split.features[label]
    column: pa.ChunkedArray = split.select_columns([label]).with_format("arrow")[:].column(label)
    if not (
        pa.types.is_integer(column.type) or pa.types.is_string(column.type) or pa.types.is_large_string(column.type)
    ):
        return split.remove_columns(label)
    numbers = all(name.lstrip("-").isdigit() for name in names)
    ids = {name: number for number, name in enumerate(names)}

    def id_of(value: str | int | None) -> int:
        if isinstance(value, int) and isinstance(feature, ClassLabel):
            value = feature.int2str(value) if 0 <= value < len(feature.names) else None
        elif isinstance(value, int) and not numbers:
            return value if 0 <= value < len(names) else -1
        return -1 if value is None else ids.get(str(value), -1)

    values = column.unique()
    known = pa.array([id_of(value) for value in values.to_pylist()], pa.int64())
    found = known.take(pc.index_in(column, value_set=values).combine_chunks())
    return split.remove_columns(label).add_column(LABEL, found.to_numpy(zero_copy_only=False))


def _join_unlabeled(parts: list[Dataset], columns: TextColumns, view_columns: Sequence[str]) -> Dataset | None:
    """One data set of the texts and views, with their labels if all parts have them."""
    if not parts:
        return None
    wanted = [name for name in (columns.text, columns.text_pair, *view_columns) if name is not None]
    for part in parts:
        missing = [name for name in wanted if name not in part.column_names]
        if missing:
            raise ValueError(
                f"The unlabelled texts have no column {', '.join(map(repr, missing))} (their columns are "
                f"{part.column_names}): name others with --view_columns, make them with `mixtext-hf augment-text`, or use "
                "--augmenters, which need none."
            )
    if all(LABEL in part.column_names for part in parts):
        wanted.append(LABEL)
    parts = [part.select_columns(wanted) for part in parts]
    if len(parts) > 1:
        # One part may name its classes and the other not; the ids are the same.
        int64 = Value("int64")
        parts = [
            part.cast_column(LABEL, int64) if LABEL in wanted and part.features[LABEL] != int64 else part
            for part in parts
        ]
    return datasets.concatenate_datasets(parts)


def _check_arguments(
    limits: Mapping[str, int | None], seed: int, validation_split_fraction: float | None, problem_type: str | None
) -> None:
    for name, value in limits.items():
        if value is not None and value < 1:
            raise ValueError(f"`{name}` is {value}: it must be at least 1; leave it out for no limit.")
    if seed < 0:
        raise ValueError(f"`seed` is {seed}: it must not be negative.")
    if validation_split_fraction is not None and not 0 < validation_split_fraction < 1:
        raise ValueError(f"`validation_split_fraction` is {validation_split_fraction}: it must be between 0 and 1.")
    if problem_type is not None and problem_type not in PROBLEM_TYPES:
        raise ValueError(f"`problem_type` is {problem_type!r}: it must be one of {PROBLEM_TYPES}.")


def _glue_task(task_name: str | None, problem_type: str | None) -> GlueTask | None:
    if task_name is None:
        return None
    if task_name not in GLUE_TASKS:
        raise ValueError(f"`task_name` is {task_name!r}: it must be one of the GLUE tasks {sorted(GLUE_TASKS)}.")
    task = GLUE_TASKS[task_name]
    if problem_type not in (None, task.problem_type):
        raise ValueError(
            f"`problem_type` is {problem_type!r}, but the task {task_name!r} is {task.problem_type!r}: leave it out."
        )
    return task


def _load_files(files: Mapping[str, str | Sequence[str]], task: GlueTask | None, cache_dir: str | None) -> _Splits:
    # All paths are checked before the first file is read.
    paths = {argument: resolve_files(argument, value) for argument, value in files.items()}
    splits: dict[str, dict[str, Dataset]] = {"train_file": {}, "validation_file": {}, "test_file": {}}
    for argument, of_split in paths.items():
        names: tuple[str, ...] = (argument.removesuffix("_file"),)
        groups = [of_split]
        if task is not None and argument != "train_file":
            task_splits = task.validation_splits if argument == "validation_file" else task.test_splits
            if len(task_splits) > 1 and len(of_split) == len(task_splits):
                names, groups = task_splits, [[path] for path in of_split]
        for name, group in zip(names, groups, strict=True):
            splits[argument][name] = read_files(argument, group, cache_dir)
    source = {
        "files": {argument: [str(path) for path in of_split] for argument, of_split in paths.items()},
        **({} if task is None else {"task": task.name}),
    }
    return _Splits(splits["train_file"].get("train"), splits["validation_file"], splits["test_file"], source)


def _load_hub(
    name: str,
    config_name: str | None,
    task: GlueTask | None,
    revision: str | None,
    cache_dir: str | None,
    token: str | bool | None,
) -> _Splits:
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
    if task is not None:
        validation_names, test_names = list(task.validation_splits), list(task.test_splits)
    else:
        validation_names = [key for key in loaded if key.startswith(_VALIDATION_NAMES)]
        test_names = [key for key in loaded if key.startswith("test")]
    if "train" not in loaded and not validation_names and not test_names:
        raise ValueError(
            f"The data set {what} has the splits {list(loaded)}, none of them is a train, validation or test split: "
            f"choose another data set, {remedy}."
        )
    source = {
        "dataset": name,
        "config": config_name,
        "revision": revision,
        **({} if task is None else {"task": task.name}),
    }
    return _Splits(
        loaded.get("train"),
        {key: loaded[key] for key in validation_names},
        {key: loaded[key] for key in test_names},
        source,
    )


def _find_columns(
    splits: _Splits,
    task: GlueTask | None,
    text_column: str | None,
    text_pair_column: str | None,
    label_column: str | Sequence[str] | None,
) -> TextColumns:
    by_name = splits.by_name()
    if task is not None and text_column is None:
        text_column, text_pair_column = task.text, text_pair_column or task.text_pair
    # The label of evaluation data may be absent, so the split that is the most likely to have it comes first.
    first = next(iter(by_name.values()))
    columns = recognise_columns(
        first.column_names,
        text=text_column,
        text_pair=text_pair_column,
        label=label_column,
        require_label=splits.train is not None,
    )
    for split_name, split in by_name.items():
        for column in (columns.text, columns.text_pair):
            if column is not None:
                _check_text(split, split_name, column)
    return columns


def _check_text(split: Dataset, split_name: str, column: str) -> None:
    where = f"The text column {column!r} of the split {split_name!r}"
    if column not in split.column_names:
        raise ValueError(
            f"{where} does not exist, the columns are {split.column_names}: all splits need the same text columns. "
            "Rename it, or name a common one with --text_column and --text_pair_column."
        )
    feature = split.features[column]
    if feature == Value("null"):
        raise ValueError(f"{where} holds None (NoneType) at row 0 and in all others: name another --text_column.")
    if isinstance(feature, ClassLabel) or feature not in (Value("string"), Value("large_string")):
        found = feature.dtype if isinstance(feature, Value) else type(feature).__name__
        raise ValueError(f"{where} holds {found} from row 0 on, not str: name a column of texts with --text_column.")
    table: pa.Table = split.select_columns([column]).with_format("arrow")[:]
    missing = np.flatnonzero(table.column(column).is_null().to_numpy())
    if len(missing):
        row = missing[0]
        raise ValueError(
            f"{where} holds None (NoneType) at row {row}, not str: remove such rows, or make them empty strings."
        )


def _at_most(split: Dataset, limit: int | None, seed: int) -> Dataset:
    if limit is None or limit >= len(split):
        return split
    # Not the first rows: many files are sorted by class.
    return split.select(np.sort(np.random.default_rng(seed).permutation(len(split))[:limit]))
