"""What stands in a label column, row by row, as the name of a class: written names, numbers, and what a map makes of them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from datasets import ClassLabel, Value
from datasets.features.features import FeatureType

from .class_names import SIMILAR_LABELS, SimilarLabels, cleaned, is_whole_number
from .mapping import LabelMap, folded_keys, look_up, read_label_map
from .written_numbers import plain_number


# Floats hold all whole numbers up to this one.
_EXACT = 2**53


class LeftOut:
    """In place of a name: the map says that this row is left out."""


LEFT_OUT = LeftOut()


@dataclass(frozen=True)
class Naming:
    """
    How a user wants the classes of the data to be called.

    Args:
        label_map (`dict[str, str | None]`): Names that are meant, by names in the data; see [`read_label_map`].
        similar (`str`): What is done with names that look alike.
        separator (`str`, *optional*): What stands between the classes of a row.
        others (`tuple[str, ...]`): Names that the map may be for beside those of the data, such as the classes of a teacher.
    """

    label_map: LabelMap = field(default_factory=dict)
    similar: SimilarLabels = "refuse"
    separator: str | None = None
    others: tuple[str, ...] = ()

    def as_source(self) -> dict[str, Any]:
        """What was asked for, JSON-serialisable; nothing where nothing was."""
        asked = {
            "label_map": self.label_map or None,
            "similar_labels": None if self.similar == "refuse" else self.similar,
            "label_separator": self.separator,
        }
        return {name: value for name, value in asked.items() if value is not None}


def make_naming(
    label_map: str | Path | Mapping[Any, Any] | None,
    similar_labels: SimilarLabels,
    label_separator: str | None = None,
    others: Sequence[str] = (),
) -> Naming:
    """
    The [`Naming`] of arguments as users give them.

    Raises:
        `ValueError`: for one that is none of those there are, and a map that cannot be read.
    """
    if similar_labels not in SIMILAR_LABELS:
        raise ValueError(f"`similar_labels` is {similar_labels!r}: it must be one of {', '.join(SIMILAR_LABELS)}.")
    if label_separator == "":
        raise ValueError("`label_separator` is empty: give what stands between the classes of a row, such as '|'.")
    return Naming(read_label_map(label_map), similar_labels, label_separator, tuple(others))


def class_keys(
    labels: list[Any], feature: FeatureType | None, split: str, label_map: LabelMap, *, by_id: bool = False
) -> list[Any]:
    """
    The names of classes in rows.

    Args:
        labels (`list`): What the column holds.
        feature (`FeatureType`, *optional*): Its type.
        split (`str`): What the split is called, for errors.
        label_map (`dict[str, str | None]`): What names are meant, by names in the data.
        by_id (`bool`): Whether the ids of a `ClassLabel` are meant, and not its names.

    Returns:
        `list`: a string or a `bool` for each row, `None` for a hidden label, [`LEFT_OUT`] for one that the map takes away.

    Raises:
        `ValueError`: for what is no class; it names the split and the row.
    """
    forms = folded_keys(label_map)
    names = feature.names if isinstance(feature, ClassLabel) and not by_id else None
    known: dict[tuple[type, Any], Any] = {}
    keys = []
    for row, label in enumerate(labels):
        if isinstance(label, list):
            raise ValueError(
                f"The label of the split {split!r} is the list {label} at row {row}: "
                "use problem_type 'multi_label_classification' for lists of labels."
            )
        place = (type(label), label)
        if place not in known:
            known[place] = _key(label, names, split, row, label_map, forms)
        keys.append(known[place])
    return keys


def are_whole_numbers(feature: FeatureType | None, labels: list[Any]) -> bool:
    """Whether a column holds whole numbers: by its type, or strings that are nothing else."""
    if not isinstance(feature, Value):
        return False
    if not feature.dtype.endswith("string"):
        return True
    written = {plain_number(label) for label in labels if isinstance(label, str) and cleaned(label)}
    return bool(written) and all(map(is_whole_number, written))


def changes_any(keys: Iterable[Any], label_map: LabelMap) -> bool:
    """Whether a map knows one of these names, or there are none to know; `keys` are those without it."""
    found = {str(key) for key in keys if key is not None}
    forms = folded_keys(label_map)
    return not found or any(look_up(name, label_map, forms) != name for name in found)


def check_map_is_used(keys: Mapping[str, list[Any]], naming: Naming) -> None:
    """Raise `ValueError` for a map that knows no name of the data, nor one that it is for beside it; `keys` are those without it."""
    label_map = naming.label_map
    of_all = [key for labels in keys.values() for key in labels]
    if label_map and not changes_any([*of_all, *naming.others], label_map):
        found = {str(key) for key in [*of_all, *naming.others] if key is not None}
        raise ValueError(
            f"`label_map` changes no label of the data: it has the names {sorted(label_map)[:10]}, the data {sorted(found)[:10]}. On "
            "the left stand the names in the data, on the right those that are meant."
        )


def _key(
    label: Any, names: list[str] | None, split: str, row: int, label_map: LabelMap, forms: Mapping[str, str]
) -> Any:
    if label is None:
        return None
    if isinstance(label, float):
        label = _whole(label, split, row)
        if label is None:
            return None
    if names is not None:
        if label == -1:
            return None
        if not 0 <= label < len(names):
            raise ValueError(
                f"The label of the split {split!r} is {label} at row {row}, and its type names the classes 0 to {len(names) - 1} only: "
                "correct the row."
            )
        name = names[label]
    else:
        name = str(label)
    meant = look_up(name, label_map, forms) if label_map else name
    if meant is None:
        return LEFT_OUT
    if meant != name:
        return meant
    if names is None and plain_number(cleaned(name)) in ("", "-1"):
        return None
    return label if isinstance(label, bool) else name


def _whole(label: float, split: str, row: int) -> int | None:
    """A class id that is stored as a float, `None` for NaN, which is how a missing one is stored."""
    if label != label:
        return None
    if not label.is_integer():
        raise ValueError(
            f"The label of the split {split!r} is {label} at row {row}, which is no class: "
            "use whole numbers or names, or problem_type 'regression' for scores."
        )
    if abs(label) > _EXACT:
        raise ValueError(
            f"The label of the split {split!r} is {label:.0f} at row {row}, stored as a float, which is exact up to 2^53 only: "
            "store such labels as strings."
        )
    return int(label)
