"""The rows of a split as a reader of predictions knows them: an id or the number in the file, text or path, the true label."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from datasets import ClassLabel, Dataset, Value

from mixtext_hf.problem_types import MULTI_LABEL, REGRESSION


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
            a class unless classes are named by numbers, and a name that is none of the classes is shown as it is.
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
        id_column: str | None = None,
        numbers: np.ndarray | None = None,
    ):
        self.problem_type, self.label_names = problem_type, list(label_names)
        self.labels = () if label is None else (label,) if isinstance(label, str) else label
        self.one_column = label is None or isinstance(label, str)
        self.id_column, self.numbers = id_column, numbers
        is_numbered = any(name.removeprefix("-").isdecimal() for name in self.label_names)
        self._are_ids, self._may_be_ids = labels_are_ids, labels_are_ids or not is_numbered
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
            return pa.array([self._marked(row, self.labels) for row in values], type=pa.list_(pa.string()))
        values = rows.column(self.labels[0]).to_pylist()
        feature = self._features[self.labels[0]]
        if self.problem_type == REGRESSION:
            return pa.array([self._score(value) for value in values], type=pa.float32())
        if self.problem_type == MULTI_LABEL:
            return pa.array([self._names(value, feature) for value in values], type=pa.list_(pa.string()))
        return pa.array([self._name(value, feature) for value in values], type=pa.string())

    def _score(self, value: Any) -> float | None:
        if value is None or isinstance(value, int | float):
            return value
        raise ValueError(
            f"The label column {self.labels[0]!r} holds {value!r}, and the model predicts numbers: name another --label_column."
        )

    def _name(self, value: Any, feature: Any) -> str | None:
        if value is None or value == "" or (not isinstance(value, str) and value in (-1, -100)) or value != value:
            return None
        if isinstance(feature, ClassLabel) and not self._are_ids:
            return str(feature.int2str(value))
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        is_name = not self._are_ids and str(value) in self.label_names
        if self._may_be_ids and not isinstance(value, bool) and not is_name:
            number = int(value) if isinstance(value, str) and value.isdecimal() else value
            if isinstance(number, int) and 0 <= number < len(self.label_names):
                return self.label_names[number]
        return str(value)

    def _names(self, value: Any, feature: Any) -> list[str] | None:
        if value is None or value == [-1]:
            return None
        if not isinstance(value, list):
            name = self._name(value, feature)
            return None if name is None else [name]
        is_long_enough = self._are_ids or len(value) > 1
        if (
            is_long_enough
            and len(value) == len(self.label_names)
            and all(not isinstance(v, str) and v in (0, 1) for v in value)
        ):
            return self._marked(value, self.label_names)
        inner = getattr(feature, "feature", None)
        return [name for name in (self._name(v, inner) for v in value) if name is not None]

    def _marked(self, row: Sequence[Any], names: Sequence[str]) -> list[str] | None:
        """The names whose place holds 1; a row of nothing but `None` or -1 is hidden."""
        if all(value is None or value == -1 for value in row):
            return None
        return [name for name, value in zip(names, row, strict=True) if value == 1]


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
