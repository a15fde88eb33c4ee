"""The rows of a split as a reader of predictions knows them: an id or the number in the file, text or path, the true label."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from typing import Any

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from datasets import ClassLabel, Dataset, Value

from mixtext_hf._messages import listed
from mixtext_hf.problem_types import MULTI_LABEL, REGRESSION

from .labels.class_keys import Naming, check_map_is_used
from .labels.class_matching import ClassFinder, ClassMatching, say_matching, say_renamed
from .labels.class_names import cleaned, in_order
from .labels.lists import read_list, split_list
from .labels.mapping import LabelMap, folded_keys, look_up
from .labels.written_numbers import is_missing, number_in, plain_number, truth_of


logger = logging.getLogger(__name__)

_ID_NAMES = ("id", "idx", "index", "guid", "uuid")
_ID_ENDS = ("_id", "_guid", "_uuid")
# `ticketId` and `ticket id` are `ticket_id`.
_WORDS = re.compile(r"(?<=[a-z])(?=[A-Z])|[\s-]+")


def find_id_column(split: Dataset, others: Sequence[str], given: str | None = None) -> str | None:
    """
    The column that names the rows: the one that is given, else one with a usual name (`id`, `idx`, `index`, `guid`, or one that
    ends in `_id`) whose values are strings or whole numbers, all there and no two the same.

    Args:
        split (`datasets.Dataset`): The rows.
        others (`Sequence[str]`): Columns that are texts, images or labels.
        given (`str`, *optional*): Taken as it is.

    Raises:
        `ValueError`: if there is no column `given`, or it holds neither strings nor whole numbers.
    """
    if given is not None:
        if given not in split.column_names:
            raise ValueError(
                f"--id_column {given}: there is no such column, choose from {', '.join(split.column_names)}."
            )
        if not _can_be_id(split, given):
            raise ValueError(
                f"--id_column {given} holds {split.features[given]}: ids are strings or whole numbers. Name another, or leave it "
                "out to have the numbers of the rows."
            )
        return given
    named = {name: _WORDS.sub("_", name).lower() for name in split.column_names if name not in others}
    usual = sorted((name for name in named if named[name] in _ID_NAMES), key=lambda name: _ID_NAMES.index(named[name]))
    usual += [name for name in named if named[name].endswith(_ID_ENDS)]
    return next((name for name in usual if _can_be_id(split, name) and _is_unique(split, name)), None)


def _can_be_id(split: Dataset, column: str) -> bool:
    feature = split.features[column]
    return isinstance(feature, Value) and (
        feature.dtype in ("string", "large_string") or feature.dtype.startswith(("int", "uint"))
    )


def _is_unique(split: Dataset, column: str) -> bool:
    values = split.select_columns([column]).with_format("arrow")[:].column(column)
    if values.null_count or pc.count_distinct(values).as_py() < len(values):
        return False
    return split.features[column].dtype.startswith(("int", "uint")) or not pc.any(pc.equal(values, "")).as_py()


class DescribedRows:
    r"""
    What stands beside the prediction of each row.

    Args:
        split (`datasets.Dataset`): The rows.
        texts (`Sequence[str]`, *optional*): Columns of texts.
        image (`str`, *optional*): Column of images: paths, or files that may know their path. Others show nothing.
        label (`str` or `tuple[str, ...]`, *optional*): Column of the true label, or one 0/1 column for each of `label_names`.
        problem_type (`str`): One of the three of `transformers`.
        label_names (`Sequence[str]`): Names of the classes.
        labels_are_ids (`bool`, *optional*, defaults to `False`):
            Whether the labels are numbers of classes for certain. If not they are as somebody wrote them: a whole number is that of
            a class unless classes are named by numbers, one that differs from its class by case or blanks alone is taken for it, and a
            name that is none of the classes is shown as it is.
        label_separator (`str`, *optional*): What stands between the labels of a row in one string.
        label_map (`dict[str, str | None]`, *optional*):
            What names of labels mean; rows of a name that goes to nothing have no true label.
        id_column (`str`, *optional*): Column of the id; the number of the row in its file without it.
        numbers (`np.ndarray` of shape `(N,)`, *optional*): Where in their file the rows were; one after the other if not given.
    """

    def __init__(
        self,
        split: Dataset,
        *,
        texts: Sequence[str] = (),
        image: str | None = None,
        label: str | tuple[str, ...] | None = None,
        problem_type: str,
        label_names: Sequence[str],
        labels_are_ids: bool = False,
        label_separator: str | None = None,
        label_map: LabelMap | None = None,
        id_column: str | None = None,
        numbers: np.ndarray | None = None,
    ):
        self.problem_type, self.label_names = problem_type, list(label_names)
        self.labels = () if label is None else (label,) if isinstance(label, str) else label
        self.one_column = label is None or isinstance(label, str)
        self.id_column, self.numbers = id_column, numbers
        self._are_ids = labels_are_ids
        self._separator = label_separator
        self._label_map = label_map or {}
        self._map_forms = folded_keys(self._label_map)
        self._finder = ClassFinder(self.label_names, by_number=True)
        self._known: dict[tuple[type, str | bool], str | None] = {}
        self.texts = tuple(texts)
        self.image = image if image is not None and _knows_paths(split, image) else None
        self.inputs = self.texts if self.image is None else (self.image,)
        needed = list(dict.fromkeys([*self.inputs, *self.labels, *([id_column] if id_column is not None else [])]))
        self._features = split.features
        self._rows = split.select_columns(needed).with_format("arrow") if needed else None

    @property
    def has_labels(self) -> bool:
        """Whether there is a column of true labels."""
        return bool(self.labels)

    def look_at_labels(self) -> None:
        """
        Look at all true labels before they are needed, and say how they were matched with the classes.

        Raises:
            `ValueError`: for one that cannot be a label of the model, and for a map that knows none of them.
        """
        if self._rows is None or not self.labels:
            return
        columns = [self._rows.data.column(name) for name in self.labels]
        if self.problem_type == REGRESSION and self._label_map:
            raise ValueError("--label_map is for names of classes, but the model predicts numbers: leave it out.")
        if not self.one_column:
            check_map_is_used({"": list(self.labels)}, Naming(self._label_map))
            return
        # All rows: what was chosen may have none that the map is for.
        values = columns[0].unique() if not pa.types.is_nested(columns[0].type) else columns[0]
        feature = self._features[self.labels[0]]
        if self.problem_type == REGRESSION:
            for value in values.to_pylist():
                self._score(value)
            return
        names: dict[str | bool, None] = {}
        for value in values.to_pylist():
            value = self._as_list(value)
            if value is None or (isinstance(value, list) and self._is_marks(value)):
                continue
            of_row, inner = (
                (value, getattr(feature, "feature", None)) if isinstance(value, list) else ([value], feature)
            )
            names |= dict.fromkeys(name for v in of_row if (name := self._written(v, inner)) is not None)
        check_map_is_used({"": list(names)}, Naming(self._label_map))
        meant = [self._class_of(name) for name in names]
        unknown = in_order({name for name in meant if name is not None and name not in self.label_names})
        if unknown:
            logger.warning(
                "True labels that are none of the classes [%s] are shown as they are, and the right predictions are not counted: [%s]. "
                "--label_map says which classes they are.",
                listed(self.label_names),
                listed(unknown),
            )
        say_renamed(self._finder.renamed)
        say_matching(ClassMatching("number" if self._finder.numbered else "name"), self.label_names)

    def slice(self, start: int, stop: int) -> tuple[pa.Array, list[pa.Array], pa.Array | None]:
        """The ids, the inputs and the true labels (names, lists of names, or scores; null where hidden) of some rows."""
        rows = None if self._rows is None else self._rows[start:stop]
        if self.id_column is not None and rows is not None:
            ids = rows.column(self.id_column)
        elif self.numbers is not None:
            ids = pa.array(self.numbers[start:stop].astype(np.int64))
        else:
            ids = pa.array(np.arange(start, stop, dtype=np.int64))
        if rows is None:
            return ids, [], None
        inputs = [rows.column(name) for name in self.texts]
        if self.image is not None:
            inputs = [_paths_in(rows.column(self.image))]
        return ids, inputs, self._labels_in(rows) if self.labels else None

    def _labels_in(self, rows: pa.Table) -> pa.Array:
        if not self.one_column:
            values = list(zip(*(rows.column(name).to_pylist() for name in self.labels), strict=True))
            meant = [self._class_of(name) for name in self.labels]
            return pa.array([self._marked(row, meant) for row in values], type=pa.list_(pa.string()))
        values = rows.column(self.labels[0]).to_pylist()
        feature = self._features[self.labels[0]]
        if self.problem_type == REGRESSION:
            return pa.array([self._score(value) for value in values], type=pa.float32())
        if self.problem_type == MULTI_LABEL:
            return pa.array([self._names(value, feature) for value in values], type=pa.list_(pa.string()))
        return pa.array([self._name(value, feature) for value in values], type=pa.string())

    def _score(self, value: Any) -> float | None:
        if isinstance(value, str):
            number = number_in(value)
            value = None if is_missing(value) else value if number is None else number
        if value is None or isinstance(value, int | float):
            return value
        raise ValueError(
            f"The label column {self.labels[0]!r} holds {value!r}, and the model predicts numbers: name another --label_column."
        )

    def _written(self, value: Any, feature: Any) -> str | bool | None:
        """The name that stands in a row, `None` for a hidden label."""
        if value is None or value == "" or (not isinstance(value, str) and value in (-1, -100)) or value != value:
            return None
        if isinstance(feature, ClassLabel):
            return str(feature.int2str(value))
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        return value if isinstance(value, bool) else str(value)

    def _class_of(self, name: str | bool) -> str | None:
        """The class that a name means, or the name itself; `None` where it is hidden, or the map leaves it out."""
        place = (type(name), name)
        if place not in self._known:
            self._known[place] = self._find_class(name)
        return self._known[place]

    def _find_class(self, name: str | bool) -> str | None:
        meant = look_up(str(name), self._label_map, self._map_forms)
        # As in training, `-1` is a class only where the map says so.
        if meant is None or (meant == name and plain_number(cleaned(meant)) in ("", "-1")):
            return None
        found = self._finder.id_of(name if meant == str(name) else meant)
        return meant if found is None else self.label_names[found]

    def _name(self, value: Any, feature: Any) -> str | None:
        name = self._written(value, None if self._are_ids else feature)
        if name is None:
            return None
        if self._are_ids and str(name).isdecimal() and int(name) < len(self.label_names):
            return self.label_names[int(name)]
        return self._class_of(name)

    def _names(self, value: Any, feature: Any) -> list[str] | None:
        value = self._as_list(value)
        if value is None or value == [-1]:
            return None
        if not isinstance(value, list):
            name = self._name(value, feature)
            return None if name is None else [name]
        if self._is_marks(value):
            return self._marked(value, self.label_names)
        inner = getattr(feature, "feature", None)
        # Several names may mean one class.
        return list(dict.fromkeys(name for name in (self._name(v, inner) for v in value) if name is not None))

    def _as_list(self, value: Any) -> Any:
        """The list that a string of several labels is."""
        if not isinstance(value, str) or self.problem_type != MULTI_LABEL or cleaned(value) in ("", "-1"):
            return value
        found = read_list(value) if self._separator is None else split_list(value, self._separator)
        return value if found is None else found

    def _is_marks(self, value: list[Any]) -> bool:
        """Whether a list is one of 0/1 for each class."""
        is_long_enough = self._are_ids or len(value) > 1
        are_marks = all(not isinstance(v, str) and v in (0, 1) for v in value)
        return is_long_enough and len(value) == len(self.label_names) and are_marks

    def _marked(self, row: Sequence[Any], names: Sequence[str | None]) -> list[str] | None:
        """The names whose place holds 1; a row of nothing but `None` or -1 is hidden."""
        row = list(map(truth_of, row))
        if all(value is None or value == -1 for value in row):
            return None
        # Several columns may mean one class.
        return list(
            dict.fromkeys(name for name, value in zip(names, row, strict=True) if value == 1 and name is not None)
        )


def _knows_paths(split: Dataset, image: str) -> bool:
    feature = split.features[image]
    if isinstance(feature, Value):
        return feature.dtype in ("string", "large_string")
    if not (isinstance(feature, datasets.Image) or (isinstance(feature, dict) and "path" in feature)):
        return False
    column = split.data.column(image)
    return any(pc.struct_field(chunk, "path").null_count < len(chunk) for chunk in column.chunks)


def _paths_in(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Paths as they stand there; those that were packed with bytes are names of files."""
    return pc.struct_field(column, "path") if pa.types.is_struct(column.type) else column
