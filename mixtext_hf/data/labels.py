"""Labels in one convention, whatever a data set calls them.

After `normalise_labels` every split has a column `label`: a class id (`ClassLabel`), a float32 score, or a multi-hot
list of float32. `None` is a hidden label. Everything that does not fit is an error that names the split and the row.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, get_args

import numpy as np
from datasets import ClassLabel, Dataset, Features, List, Value, concatenate_datasets
from datasets.features.features import FeatureType

from mixtext_hf.mixing.targets import ProblemType


LABEL = "label"
SINGLE_LABEL = "single_label_classification"
MULTI_LABEL = "multi_label_classification"
REGRESSION = "regression"
PROBLEM_TYPES = get_args(ProblemType)

_TRAIN = "train"
_LARGEST_SCORE = float(np.finfo(np.float32).max)
_SHOWN = 10
_TRUTH = {word: int(word.lower() == "true") for word in ("True", "False", "true", "false", "TRUE", "FALSE")}


def has_labels(dataset: Dataset) -> bool:
    """
    Whether a dataset has labels to compare predictions with: `False` without a column `label`, and where every label
    is hidden (`None`, or the `-1` of the Hub's test splits).
    """
    if LABEL not in dataset.column_names:
        return False
    return any(label is not None and label != -1 for label in dataset[LABEL][:])


def normalise_labels(
    splits: Mapping[str, Dataset],
    label: str | tuple[str, ...],
    *,
    problem_type: str | None = None,
    text_columns: Sequence[str] = (),
    label_names: Sequence[str] | None = None,
) -> tuple[dict[str, Dataset], str, list[str]]:
    """
    Bring the labels of all splits into one convention.

    - Class names (`ClassLabel`) are kept. Strings become ids in the sorted order of the strings in the training
      split, and so do integers, which stay what they are where they are 0..C-1 already.
    - Floats are scores (`"regression"`) unless all of them are whole numbers.
    - Lists, of class names, class ids or 0/1, and several 0/1 columns are multi-label.
    - `None`, `-1` and the empty string stand for a hidden label: allowed where a whole split has them, but not in
      the training split. A score may be -1, so in regression it stands for hidden only where a split holds nothing
      else.

    Args:
        splits (`Mapping[str, Dataset]`):
            The splits by name. Class names and ids are those of the split named `"train"`, or, without one, those of
            all the splits together. A split without the label column is one whose labels are hidden.
        label (`str` or `tuple[str, ...]`):
            Column of the label, or one 0/1 column a class.
        problem_type (`str`, *optional*):
            What the labels are; inferred from them by default.
        text_columns (`Sequence[str]`, *optional*):
            Columns that the label must not replace.
        label_names (`Sequence[str]`, *optional*):
            Names of the classes in the order of their ids, as a trained model knows them: the data is brought to these
            classes, and has none of its own.

    Returns:
        `tuple[dict[str, Dataset], str, list[str]]`: the splits with a column `label` in place of the original
        columns, the problem type, and the names of the classes (empty for regression).
    """
    if LABEL in text_columns:
        raise ValueError("The label goes into a column named 'label', but that is a text column: rename the column.")
    columns = (label,) if isinstance(label, str) else label
    for name, split in splits.items():
        missing = [column for column in columns if column not in split.column_names]
        if missing and (name == _TRAIN or len(missing) < len(columns)):
            raise ValueError(
                f"The split {name!r} has no label column {missing}, it has {split.column_names}: "
                "name a column that is there with --label_column."
            )
    raw = {name: _raw_labels(split, label, name) for name, split in splits.items()}
    feature = _reference_feature(splits, label)
    problem_type = problem_type or _infer_problem_type(feature, [v for values in raw.values() for v in values], label)

    values: Mapping[str, list[Any]]
    names: list[str]
    normalised: FeatureType
    if problem_type == REGRESSION:
        values, names = {name: _scores(labels, name, label) for name, labels in raw.items()}, []
        normalised = Value("float32")
    elif problem_type == MULTI_LABEL:
        values, names = _multi_hot(raw, feature, label, label_names)
        normalised = List(Value("float32"))
    else:
        if isinstance(label, tuple):
            raise ValueError(f"`label` names several columns {label}, which is multi-label data, not {problem_type}.")
        features = {name: split.features.get(label) for name, split in splits.items()}
        if label_names is None:
            values, names = _class_ids(raw, feature, features)
        else:
            values, names = _given_class_ids(raw, features, label_names), list(label_names)
        # Only a data set whose labels are all hidden has no names: `ClassLabel` needs one.
        normalised = ClassLabel(names=names) if names else Value("int64")

    for name, labels in values.items():
        _check_hidden(labels, name)
    if problem_type == SINGLE_LABEL and _TRAIN in values and len(set(values[_TRAIN])) < 2:
        raise ValueError(
            f"The label column {label!r} of the training split holds a single class ({raw[_TRAIN][0]!r}): "
            "classification needs at least 2. Check --label_column."
        )
    return (
        {name: replace_labels(splits[name], columns, values[name], normalised) for name in splits},
        problem_type,
        names,
    )


def replace_labels(split: Dataset, columns: tuple[str, ...], labels: list[Any], feature: FeatureType) -> Dataset:
    """The rows with `labels` in the column `label`, in place of `columns` and of a column of that name."""
    # An unused column that happens to be called "label" makes room for the real one.
    split = split.remove_columns([name for name in split.column_names if name in columns or name == LABEL])
    label_only = Dataset.from_dict({LABEL: labels}, features=Features({LABEL: feature}))
    return concatenate_datasets([split, label_only], axis=1) if split.column_names else label_only


def _raw_labels(split: Dataset, label: str | tuple[str, ...], split_name: str) -> list[Any]:
    if isinstance(label, str):
        return list(split[label][:]) if label in split.column_names else [None] * len(split)
    if label[0] not in split.column_names:
        return [None] * len(split)
    rows = zip(*(split[column][:] for column in label), strict=True)
    return [_one_row(row, label, number, split_name) for number, row in enumerate(rows)]


def _one_row(row: tuple[Any, ...], columns: tuple[str, ...], number: int, split_name: str) -> list[float] | None:
    """The 0/1 labels of one row of several label columns; a row of nothing but `None` or -1 is hidden."""
    # As pandas writes them to csv.
    row = tuple(_TRUTH.get(value, value) if isinstance(value, str) else value for value in row)
    if all(value is None or value == -1 for value in row):
        return None
    for column, value in zip(columns, row, strict=True):
        if value not in (0, 1):
            raise ValueError(
                f"The label column {column!r} of the split {split_name!r} holds {value!r} at row {number}: "
                "several label columns must hold 0 or 1 each. Correct the row, or name one column with --label_column."
            )
    return [float(value) for value in row]


def _reference_feature(splits: Mapping[str, Dataset], label: str | tuple[str, ...]) -> FeatureType | None:
    """The type of the label column in the training split, or else in the first split that has one with values."""
    if isinstance(label, tuple):
        return None
    in_order = sorted(splits, key=lambda name: name != _TRAIN)
    features = [splits[name].features[label] for name in in_order if label in splits[name].column_names]
    return next((feature for feature in features if feature != Value("null")), None)


def _infer_problem_type(feature: FeatureType | None, values: list[Any], label: str | tuple[str, ...]) -> str:
    if isinstance(label, tuple) or isinstance(feature, List):
        return MULTI_LABEL
    if feature is None or isinstance(feature, ClassLabel):
        return SINGLE_LABEL
    dtype = feature.dtype if isinstance(feature, Value) else str(feature)
    if dtype.startswith("float"):
        whole = all(value.is_integer() for value in values if isinstance(value, float))
        return SINGLE_LABEL if whole else REGRESSION
    if dtype.startswith(("int", "uint")) or dtype in ("bool", "string", "large_string"):
        return SINGLE_LABEL
    raise ValueError(
        f"The label column {label!r} has the type {dtype}: labels are class names, integers, 0/1 columns, lists of "
        "them, or scores. Name another column with --label_column."
    )


def _check_hidden(labels: list[Any], split_name: str) -> None:
    hidden = [row for row, value in enumerate(labels) if value is None]
    if hidden and split_name == _TRAIN:
        raise ValueError(
            f"{len(hidden)} labels of the training split are hidden (None, -1 or empty), the first at row {hidden[0]}: "
            "remove these rows from the training data, or give a class that is called -1 another value."
        )
    if 0 < len(hidden) < len(labels):
        raise ValueError(
            f"{len(hidden)} of the {len(labels)} labels of the split {split_name!r} are hidden (None, -1 or empty), the "
            f"first at row {hidden[0]}: either all or none may be. Remove these rows, or give the others a split of "
            "their own."
        )


def _scores(labels: list[Any], split_name: str, label: str | tuple[str, ...]) -> list[float | None]:
    if all(value is None or value == -1 for value in labels):
        return [None] * len(labels)
    for row, value in enumerate(labels):
        if value is None:
            continue
        if not isinstance(value, int | float):
            raise ValueError(
                f"The label column {label!r} of the split {split_name!r} holds {value!r} at row {row}, which is no "
                "number: problem_type 'regression' needs scores. Check --label_column and --problem_type."
            )
        # One that is too large for float32 would be infinite in the column.
        if not abs(value) <= _LARGEST_SCORE:
            raise ValueError(
                f"The label column {label!r} of the split {split_name!r} holds {value} at row {row}: "
                "scores must be finite in float32. Correct or remove the row."
            )
    return [None if value is None else float(value) for value in labels]


def _class_ids(
    raw: Mapping[str, list[Any]], reference: FeatureType | None, features: Mapping[str, FeatureType | None]
) -> tuple[dict[str, list[int | None]], list[str]]:
    keys = {name: _class_keys(labels, features[name], reference, name) for name, labels in raw.items()}
    if isinstance(reference, ClassLabel):
        # Names for the splits whose own ids may differ, ids for those that have no names.
        ids: dict[Any, int] = {key: i for i, name in enumerate(reference.names) for key in (name, i)}
        names = list(reference.names)
        if _TRAIN in keys:
            # A name alone teaches nothing: the classes of training are those that occur in it.
            occurring = {ids[key] for key in keys[_TRAIN] if key in ids}
            ids = {key: i for key, i in ids.items() if i in occurring}
    else:
        known = _known_classes(keys)
        ids = {key: i for i, key in enumerate(known)}
        names = [str(key) for key in known]
    for name, labels in keys.items():
        unseen = sorted({str(key) for key in labels if key is not None and key not in ids})
        if unseen:
            raise ValueError(
                f"The split {name!r} has labels that the training split does not have: {unseen[:_SHOWN]}. "
                f"The classes are {names[:_SHOWN]}. Add examples to the training data, or remove these rows."
            )
    return {name: [None if key is None else ids[key] for key in labels] for name, labels in keys.items()}, names


def _given_class_ids(
    raw: Mapping[str, list[Any]], features: Mapping[str, FeatureType | None], names: Sequence[str]
) -> dict[str, list[int | None]]:
    ids: dict[str, list[int | None]] = {}
    for split_name, labels in raw.items():
        # The ids of a model that was never told names are those of its data set.
        feature = None if _are_placeholders(names) else features[split_name]
        keys = _class_keys(labels, feature, None, split_name)
        ids[split_name] = _ids_among(names, keys, split_name)
    return ids


def _are_placeholders(names: Sequence[str]) -> bool:
    """Whether these are the names that transformers gives to classes without a name."""
    return list(names) == [f"LABEL_{i}" for i in range(len(names))]


def _ids_among(names: Sequence[str], keys: list[Any], split_name: str) -> list[int | None]:
    """Look classes up by their names; integers are ids, but where classes are named by numbers these are meant."""
    ids: dict[Any, int] = {name: i for i, name in enumerate(names)}
    if not any(name.removeprefix("-").isdecimal() for name in names):
        ids |= {i: i for i in range(len(names))}
    found = [None if key is None else ids.get(str(key), ids.get(key)) for key in keys]
    unknown = sorted({str(key) for key, i in zip(keys, found, strict=True) if key is not None and i is None})
    if unknown:
        raise ValueError(
            f"The split {split_name!r} has labels that the model does not have: {unknown[:_SHOWN]}. Its classes are "
            f"{list(names[:_SHOWN])}. Remove these rows, or train the model on data that has these classes."
        )
    return found


def _known_classes(keys: Mapping[str, list[Any]]) -> list[Any]:
    known = {key for name, labels in keys.items() if name == _TRAIN or _TRAIN not in keys for key in labels}
    return _sorted_classes(known - {None})


def _sorted_classes(known: set[Any]) -> list[Any]:
    kinds = {type(key).__name__ for key in known}
    if len(kinds) > 1:
        raise ValueError(f"The labels are of different types ({sorted(kinds)}): use one type in all splits.")
    return sorted(known)


def _class_keys(
    labels: list[Any], feature: FeatureType | None, reference: FeatureType | None, split_name: str
) -> list[Any]:
    """What identifies the class of each row across splits: a name where there are names, otherwise an integer."""
    if isinstance(feature, ClassLabel) and feature != reference and not _is_integer(reference):
        return [None if label in (None, -1) else feature.int2str(label) for label in labels]
    keys: list[Any] = []
    for row, label in enumerate(labels):
        if isinstance(label, float):
            if not label.is_integer():
                raise ValueError(
                    f"The label of the split {split_name!r} is {label} at row {row}, which is no class: "
                    "use whole numbers or names, or problem_type 'regression' for scores."
                )
            label = int(label)
        if isinstance(label, list):
            raise ValueError(
                f"The label of the split {split_name!r} is the list {label} at row {row}: "
                "use problem_type 'multi_label_classification' for lists of labels."
            )
        keys.append(None if label in (-1, "") else label)
    return keys


def _is_integer(feature: FeatureType | None) -> bool:
    return isinstance(feature, Value) and not feature.dtype.endswith("string")


def _multi_hot(
    raw: Mapping[str, list[Any]],
    feature: FeatureType | None,
    label: str | tuple[str, ...],
    given: Sequence[str] | None,
) -> tuple[dict[str, list[list[float] | None]], list[str]]:
    lists = {name: [None if row in (None, [-1]) else row for row in labels] for name, labels in raw.items()}
    if isinstance(label, tuple):
        return _in_order(lists, label, given), list(given or label)
    for name, labels in lists.items():
        for row, value in enumerate(labels):
            if value is not None and (not isinstance(value, list) or not all(map(_is_class_or_share, value))):
                raise ValueError(
                    f"The label column {label!r} of the split {name!r} holds {value!r} at row {row}: multi-label data "
                    "needs a list of classes in every row, or one 0/1 column a class."
                )
    inner = feature.feature if isinstance(feature, List) else None
    rows = [row for labels in lists.values() for row in labels if row is not None]
    if not isinstance(inner, ClassLabel) and _is_multi_hot(rows):
        if given is not None and len(rows[0]) != len(given):
            raise ValueError(
                f"The label column {label!r} holds {len(rows[0])} numbers a row, but the model has {len(given)} classes, "
                f"{list(given[:_SHOWN])}: give one 0 or 1 for each of them."
            )
        return {
            name: [None if row is None else [float(value) for value in row] for row in labels]
            for name, labels in lists.items()
        }, list(given or map(str, range(len(rows[0]))))

    if given is not None:
        if isinstance(inner, ClassLabel) and not _are_placeholders(given):
            lists = {
                name: [None if row is None else [inner.names[key] for key in row] for row in labels]
                for name, labels in lists.items()
            }
        lists = {
            name: [None if row is None else _ids_among(given, row, name) for row in labels]
            for name, labels in lists.items()
        }
        names, ids = list(given), {i: i for i in range(len(given))}
    elif isinstance(inner, ClassLabel):
        names, ids = list(inner.names), {i: i for i in range(len(inner.names))}
    else:
        classes = {name: [key for row in labels if row is not None for key in row] for name, labels in lists.items()}
        known = _known_classes(classes)
        if any(isinstance(key, float) for key in known):
            raise ValueError(
                f"The label column {label!r} holds lists of floats that are not 0/1 of one length: "
                "give one 0 or 1 a class, or lists of class names."
            )
        names, ids = [str(key) for key in known], {key: i for i, key in enumerate(known)}
    for name, labels in lists.items():
        unseen = sorted({str(key) for row in labels if row is not None for key in row if key not in ids})
        if unseen:
            raise ValueError(
                f"The split {name!r} has labels that the training split does not have: {unseen[:_SHOWN]}. "
                f"The classes are {names[:_SHOWN]}. Add examples to the training data, or remove these labels."
            )
    eye = np.eye(len(names))
    return {
        name: [
            None if row is None else eye[[ids[key] for key in row]].any(axis=0).astype(float).tolist()
            for row in labels
        ]
        for name, labels in lists.items()
    }, names


def _is_class_or_share(value: Any) -> bool:
    return value is not None and not (isinstance(value, float) and not math.isfinite(value))


def _in_order(
    lists: dict[str, list[Any]], columns: tuple[str, ...], given: Sequence[str] | None
) -> dict[str, list[list[float] | None]]:
    """The 0/1 of several label columns in the order of the classes that were given."""
    if given is None or (_are_placeholders(given) and len(given) == len(columns)):
        return lists
    if set(columns) != set(given):
        raise ValueError(
            f"`label` names the columns {columns}, but the model has the classes {list(given[:_SHOWN])}: name these with "
            "--label_column."
        )
    order = [columns.index(name) for name in given]
    return {name: [None if row is None else [row[i] for i in order] for row in rows] for name, rows in lists.items()}


def _is_multi_hot(rows: list[list[Any]]) -> bool:
    """Lists of class ids have no repeats and differ in length, save where all rows hold classes 0 and 1: no task."""
    lengths = {len(row) for row in rows}
    return len(lengths) == 1 and lengths != {0} and lengths != {1} and all(v in (0, 1) for row in rows for v in row)
