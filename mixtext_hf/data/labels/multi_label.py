"""Several classes a row: lists of names, of ids or of 0/1, and 0/1 columns, brought to one number for each class."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from datasets import ClassLabel, List
from datasets.features.features import FeatureType

from mixtext_hf._messages import listed

from .class_keys import LEFT_OUT, Naming, check_map_is_used, class_keys
from .class_matching import ClassMatching, settle_classes
from .class_names import are_placeholders, folded
from .mapping import folded_keys, look_up


Rows = dict[str, list[list[float] | None]]


def multi_hot(
    raw: Mapping[str, list[Any]],
    features: Mapping[str, FeatureType | None],
    label: str | tuple[str, ...],
    given: Sequence[str] | None,
    naming: Naming,
) -> tuple[Rows, list[str], ClassMatching]:
    """
    Bring rows of several classes to one 0 or 1 for each class.

    Args:
        raw (`Mapping[str, list]`): What the label column of each split holds; of several columns the 0/1 of each row.
        features (`Mapping[str, FeatureType | None]`): The type of the column in each split.
        label (`str` or `tuple[str, ...]`): The column, or the columns.
        given (`Sequence[str]`, *optional*): The classes of a model.
        naming ([`Naming`]): How the classes are to be called.

    Returns:
        `tuple`: the rows of each split, the names of the classes, and how they were matched.

    Raises:
        `ValueError`: for what is no list of classes, and for names that are no class.
    """
    lists = {name: [None if row in (None, [-1]) else row for row in labels] for name, labels in raw.items()}
    if isinstance(label, tuple):
        return _columns(lists, label, given, naming)
    for name, labels in lists.items():
        for row, value in enumerate(labels):
            if value is not None and (not isinstance(value, list) or not all(map(_is_class_or_share, value))):
                raise ValueError(
                    f"The label column {label!r} of the split {name!r} holds {value!r} at row {row}: multi-label data "
                    "needs a list of classes in every row, or one 0/1 column a class."
                )
    inner = {
        name: feature.feature if isinstance(feature, List) else None
        for name, feature in features.items()
        if name in lists
    }
    rows = [row for labels in lists.values() for row in labels if row is not None]
    has_names = any(isinstance(feature, ClassLabel) for feature in inner.values())
    if not has_names and _is_multi_hot(rows):
        return _numbers(lists, len(rows[0]), label, given)
    if not has_names and any(isinstance(key, float) for row in rows for key in row):
        raise ValueError(
            f"The label column {label!r} holds lists of floats that are not 0/1 of one length: "
            "give one 0 or 1 a class, or lists of class names."
        )
    return _names(lists, inner, label, given, naming)


def _names(
    lists: Mapping[str, list[Any]],
    inner: Mapping[str, FeatureType | None],
    label: str,
    given: Sequence[str] | None,
    naming: Naming,
) -> tuple[Rows, list[str], ClassMatching]:
    by_id = given is not None and are_placeholders(given)
    flat = {name: [key for row in rows if row is not None for key in row] for name, rows in lists.items()}
    if naming.label_map:
        plain = {name: class_keys(keys, inner[name], name, {}, by_id=by_id) for name, keys in flat.items()}
        check_map_is_used(plain, naming)
    keys = {name: class_keys(keys, inner[name], name, naming.label_map, by_id=by_id) for name, keys in flat.items()}
    declared = next((feature.names for feature in inner.values() if isinstance(feature, ClassLabel)), None)
    if declared is not None:
        forms = folded_keys(naming.label_map)
        meant = (look_up(name, naming.label_map, forms) for name in declared)
        declared = list(dict.fromkeys(name for name in meant if name is not None))
    kept = {name: [None if key is LEFT_OUT else key for key in of_split] for name, of_split in keys.items()}
    classes = settle_classes(kept, label, declared=declared, given=given, similar=naming.similar, must_occur=False)
    eye = np.eye(len(classes.names))
    values: Rows = {}
    for name, rows in lists.items():
        ids = iter(classes.ids[name])
        values[name] = []
        for row in rows:
            found = None if row is None else [i for _ in row if (i := next(ids)) is not None]
            values[name].append(None if found is None else eye[found].any(axis=0).astype(float).tolist())
    return values, classes.names, classes.matching


def _numbers(
    lists: Mapping[str, list[Any]], width: int, label: str, given: Sequence[str] | None
) -> tuple[Rows, list[str], ClassMatching]:
    if given is not None and width != len(given):
        raise ValueError(
            f"The label column {label!r} holds {width} numbers a row, but the model has {len(given)} classes, "
            f"[{listed(given)}]: give one 0 or 1 for each of them."
        )
    values = {
        name: [None if row is None else [float(value) for value in row] for row in labels]
        for name, labels in lists.items()
    }
    matching = ClassMatching("own" if given is None else "number")
    return values, list(given or map(str, range(width))), matching


def _columns(
    lists: Rows, columns: tuple[str, ...], given: Sequence[str] | None, naming: Naming
) -> tuple[Rows, list[str], ClassMatching]:
    """The 0/1 of several label columns in the order of the classes that were given, or else of the columns."""
    forms = folded_keys(naming.label_map)
    check_map_is_used({"": list(columns)}, naming)
    meant = [look_up(column, naming.label_map, forms) for column in columns]
    places = {name: [i for i, other in enumerate(meant) if other == name] for name in meant if name is not None}
    if given is None:
        names, order = list(places), list(places.values())
    elif are_placeholders(given) and len(given) == len(places):
        names, order = list(given), list(places.values())
    else:
        by_form = {folded(name): of_name for name, of_name in places.items()}
        if set(by_form) != set(map(folded, given)) or len(by_form) != len(given):
            raise ValueError(
                f"`label` names the columns {columns}, but the model has the classes [{listed(given)}]: name these with "
                "--label_column, or say by --label_map which columns they are."
            )
        names, order = list(given), [by_form[folded(name)] for name in given]
    values: Rows = {
        split: [None if row is None else [max(row[i] for i in which) for which in order] for row in rows]
        for split, rows in lists.items()
    }
    renamed = {name: other for name in places for other in names if name != other and folded(name) == folded(other)}
    return values, names, ClassMatching("own" if given is None else "name", renamed)


def _is_class_or_share(value: Any) -> bool:
    return value is not None and not (isinstance(value, float) and not math.isfinite(value))


def _is_multi_hot(rows: list[list[Any]]) -> bool:
    """Lists of class ids have no repeats and differ in length, save where all rows hold classes 0 and 1: no task."""
    lengths = {len(row) for row in rows}
    return len(lengths) == 1 and lengths != {0} and lengths != {1} and all(v in (0, 1) for row in rows for v in row)
