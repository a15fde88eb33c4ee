"""Labels in one convention, whatever a data set calls them.

After `normalise_labels` every split has a column `label`: a class id (`ClassLabel`), a float32 score, or a multi-hot
list of float32. `None` is a hidden label. Everything that does not fit is an error that names the split and the row.
"""

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from datasets import ClassLabel, Dataset, Features, List, Value, concatenate_datasets
from datasets.features.features import FeatureType

from mixtext_hf.problem_types import MULTI_LABEL, REGRESSION, SINGLE_LABEL

from .class_keys import LEFT_OUT, Naming, are_whole_numbers, check_map_is_used, class_keys
from .class_matching import TRAIN, ClassMatching, say_matching, settle_classes
from .class_names import are_placeholders
from .lists import read_lists
from .mapping import folded_keys, look_up
from .multi_label import multi_hot
from .written_numbers import is_missing, number_in, scores_in_strings, truth_of


logger = logging.getLogger(__name__)

LABEL = "label"

_LARGEST_SCORE = float(np.finfo(np.float32).max)


@dataclass(frozen=True)
class NormalisedLabels:
    """
    Splits with a column `label`, and what stands in it.

    Args:
        splits (`dict[str, datasets.Dataset]`): By name, with `label` in place of the original columns.
        problem_type (`str`): One of [`~mixtext_hf.problem_types.PROBLEM_TYPES`].
        names (`list[str]`): Names of the classes in the order of their ids; empty for regression.
        matching ([`ClassMatching`]): How the labels were matched with classes that were given.
        left_out (`dict[str, int]`): How many rows of a split a map of names left out.
    """

    splits: dict[str, Dataset]
    problem_type: str
    names: list[str]
    matching: ClassMatching
    left_out: dict[str, int]


def has_labels(dataset: Dataset) -> bool:
    """
    Whether a dataset has labels to compare predictions with: `False` without a column `label`, and where every label
    is hidden (`None`, or the `-1` of the Hub's test splits).
    """
    if LABEL not in dataset.column_names:
        return False
    return any(label is not None and label not in (-1, "-1", "-1.0", "") for label in dataset[LABEL][:])


def normalise_labels(
    splits: Mapping[str, Dataset],
    label: str | tuple[str, ...],
    *,
    problem_type: str | None = None,
    text_columns: Sequence[str] = (),
    label_names: Sequence[str] | None = None,
    naming: Naming | None = None,
) -> NormalisedLabels:
    """
    Bring the labels of all splits into one convention.

    - Class names (`ClassLabel`) are kept. Strings and integers become ids in the sorted order of those in the training
      split; integers, also written as strings, stay what they are where they are 0..C-1 already.
    - Floats are scores (`"regression"`) unless all of them are whole numbers.
    - Lists, of class names, class ids or 0/1, and several 0/1 columns are multi-label; so are strings that are lists.
    - `None`, NaN, `-1` and the empty string stand for a hidden label: allowed where a whole split has them, but not in
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
        naming ([`Naming`], *optional*):
            What names of the data mean, and what is done with those that look alike.

    Returns:
        [`NormalisedLabels`]
    """
    naming = naming or Naming()
    if LABEL in text_columns:
        raise ValueError("The label goes into a column named 'label', but that is a text column: rename the column.")
    columns = (label,) if isinstance(label, str) else label
    for name, split in splits.items():
        missing = [column for column in columns if column not in split.column_names]
        if missing and (name == TRAIN or len(missing) < len(columns)):
            raise ValueError(
                f"The split {name!r} has no label column {missing}, it has {split.column_names}: "
                "name a column that is there with --label_column."
            )
    raw = {name: _raw_labels(split, label, name) for name, split in splits.items()}
    features = {name: split.features.get(label) if isinstance(label, str) else None for name, split in splits.items()}
    if isinstance(label, str) and problem_type in (None, MULTI_LABEL):
        raw, features = _lists_in_strings(raw, features, label, naming.separator)
    if isinstance(label, str) and problem_type is None and label_names is None and not naming.label_map:
        raw, features = scores_in_strings(raw, features, label)
    reference = _reference_feature(features)
    problem_type = problem_type or _infer_problem_type(
        reference, [v for values in raw.values() for v in values], label
    )

    values: Mapping[str, list[Any]]
    names: list[str]
    normalised: FeatureType
    matching = ClassMatching()
    if problem_type == REGRESSION:
        if naming.label_map:
            raise ValueError("`label_map` is for names of classes, but the labels are scores: leave it out.")
        values, names = {name: _scores(labels, name, label) for name, labels in raw.items()}, []
        normalised = Value("float32")
    elif problem_type == MULTI_LABEL:
        values, names, matching = multi_hot(raw, features, label, label_names, naming)
        normalised = List(Value("float32"))
    else:
        if isinstance(label, tuple):
            raise ValueError(f"`label` names several columns {label}, which is multi-label data, not {problem_type}.")
        values, names, matching = _class_ids(raw, features, reference, label, label_names, naming)
        # Only a data set whose labels are all hidden has no names: `ClassLabel` needs one.
        normalised = ClassLabel(names=names) if names else Value("int64")

    for name, labels in values.items():
        _check_hidden(labels, name)
    splits, values, left_out = _without_left_out(splits, values)
    if problem_type == SINGLE_LABEL and TRAIN in values and len(set(values[TRAIN])) < 2:
        raise ValueError(
            f"The label column {label!r} of the training split holds a single class ({names[values[TRAIN][0]]!r}): "
            "classification needs at least 2. Check --label_column."
        )
    say_matching(matching, names)
    return NormalisedLabels(
        {name: replace_labels(splits[name], columns, values[name], normalised) for name in splits},
        problem_type,
        names,
        matching,
        left_out,
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
    row = tuple(map(truth_of, row))
    if all(value is None or value == -1 for value in row):
        return None
    for column, value in zip(columns, row, strict=True):
        if value not in (0, 1):
            raise ValueError(
                f"The label column {column!r} of the split {split_name!r} holds {value!r} at row {number}: "
                "several label columns must hold 0 or 1 each. Correct the row, or name one column with --label_column."
            )
    return [float(value) for value in row]


def _lists_in_strings(
    raw: dict[str, list[Any]], features: dict[str, FeatureType | None], label: str, separator: str | None
) -> tuple[dict[str, list[Any]], dict[str, FeatureType | None]]:
    """The labels and the types of their column, with lists in place of strings that are lists."""
    strings = (Value("string"), Value("large_string"), Value("null"), None)
    lists = read_lists(raw, label, separator) if all(feature in strings for feature in features.values()) else None
    if lists is None:
        return raw, features
    return dict(lists), {
        name: None if feature in (None, Value("null")) else List(Value("string")) for name, feature in features.items()
    }


def _reference_feature(features: Mapping[str, FeatureType | None]) -> FeatureType | None:
    """The type of the label column in the training split, or else in the first split that has one with values."""
    in_order = sorted(features, key=lambda name: name != TRAIN)
    return next((features[name] for name in in_order if features[name] not in (None, Value("null"))), None)


def _infer_problem_type(feature: FeatureType | None, values: list[Any], label: str | tuple[str, ...]) -> str:
    if isinstance(label, tuple) or isinstance(feature, List):
        return MULTI_LABEL
    if feature is None or isinstance(feature, ClassLabel):
        return SINGLE_LABEL
    dtype = feature.dtype if isinstance(feature, Value) else str(feature)
    if dtype.startswith("float"):
        # NaN is how a missing number is stored, and says nothing of the others.
        whole = all(value.is_integer() for value in values if isinstance(value, float) and not math.isnan(value))
        return SINGLE_LABEL if whole else REGRESSION
    if dtype.startswith(("int", "uint")) or dtype in ("bool", "string", "large_string"):
        return SINGLE_LABEL
    raise ValueError(
        f"The label column {label!r} has the type {dtype}: labels are class names, integers, 0/1 columns, lists of "
        "them, or scores. Name another column with --label_column."
    )


def _check_hidden(labels: list[Any], split_name: str) -> None:
    hidden = [row for row, value in enumerate(labels) if value is None]
    if hidden and split_name == TRAIN:
        raise ValueError(
            f"{len(hidden)} labels of the training split are hidden (None, NaN, -1 or empty), the first at row {hidden[0]}: "
            "remove these rows from the training data, or give a class that is called -1 another name by --label_map."
        )
    known = sum(value is not None and value is not LEFT_OUT for value in labels)
    if hidden and known:
        raise ValueError(
            f"{len(hidden)} of the {len(hidden) + known} labels of the split {split_name!r} are hidden (None, NaN, -1 or empty), the "
            f"first at row {hidden[0]}: either all or none may be. Remove these rows, or give the others a split of "
            "their own."
        )


def _scores(labels: list[Any], split_name: str, label: str | tuple[str, ...]) -> list[float | None]:
    written = [number_in(value) if isinstance(value, str) else value for value in labels]
    # A word stays, to be shown.
    labels = [value if number is None else number for value, number in zip(labels, written, strict=True)]
    if all(value in (None, -1) or (isinstance(value, str) and is_missing(value)) for value in labels):
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
    raw: Mapping[str, list[Any]],
    features: Mapping[str, FeatureType | None],
    reference: FeatureType | None,
    label: str,
    given: Sequence[str] | None,
    naming: Naming,
) -> tuple[dict[str, list[Any]], list[str], ClassMatching]:
    """The class of each row, `None` for a hidden label and [`LEFT_OUT`] for a row that is left out; names and matching."""
    if given is not None:
        # The ids of a model that was never told names are those of its data set.
        by_id = are_placeholders(given)
    else:
        by_id = are_whole_numbers(
            reference, [value for name in raw for value in raw[name] if features[name] == reference]
        )
    if naming.label_map:
        plain = {name: class_keys(labels, features[name], name, {}, by_id=by_id) for name, labels in raw.items()}
        check_map_is_used(plain, naming)
    keys = {
        name: class_keys(labels, features[name], name, naming.label_map, by_id=by_id) for name, labels in raw.items()
    }
    declared = None
    if isinstance(reference, ClassLabel):
        forms = folded_keys(naming.label_map)
        meant = (look_up(name, naming.label_map, forms) for name in reference.names)
        declared = list(dict.fromkeys(name for name in meant if name is not None))
    named = {name: [None if key is LEFT_OUT else key for key in labels] for name, labels in keys.items()}
    found = settle_classes(named, label, declared=declared, given=given, similar=naming.similar)
    ids: dict[str, list[Any]] = {
        name: [LEFT_OUT if key is LEFT_OUT else i for key, i in zip(labels, found.ids[name], strict=True)]
        for name, labels in keys.items()
    }
    return ids, found.names, found.matching


def _without_left_out(
    splits: Mapping[str, Dataset], values: Mapping[str, list[Any]]
) -> tuple[Mapping[str, Dataset], Mapping[str, list[Any]], dict[str, int]]:
    """Splits and labels without the rows that a map of names leaves out, and how many these are."""
    left_out = {name: n for name, labels in values.items() if (n := sum(value is LEFT_OUT for value in labels))}
    if not left_out:
        return splits, values, left_out
    kept = {
        name: [row for row, value in enumerate(labels) if value is not LEFT_OUT] for name, labels in values.items()
    }
    for name, count in left_out.items():
        if not kept[name]:
            raise ValueError(
                f"`label_map` leaves out all {count} rows of the split {name!r}: name a class for some of them."
            )
        logger.info("--label_map leaves out %d of the %d rows of %s.", count, len(values[name]), name)
    return (
        {name: split.select(kept[name]) if name in left_out else split for name, split in splits.items()},
        {name: [labels[row] for row in kept[name]] for name, labels in values.items()},
        left_out,
    )
