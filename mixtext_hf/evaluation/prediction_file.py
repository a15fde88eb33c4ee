"""The file of predictions, one row an input: which columns it has, and how they are written, chunk by chunk.

Knows no model: what stands beside the predictions is told by [`DescribedRows`], and logits come as arrays. Cells are formatted by columns, not one by
one, so that millions of probabilities are a matter of seconds.
"""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from mixtext_hf._files import whole_file
from mixtext_hf.data.described_rows import DescribedRows
from mixtext_hf.models.stored_temperature import check_temperature
from mixtext_hf.problem_types import MULTI_LABEL, REGRESSION, SINGLE_LABEL

from .measures.metrics import sigmoid
from .measures.temperature import apply_temperature


PREDICTION_SUFFIXES = (".csv", ".tsv", ".jsonl", ".parquet")
ID, LABEL, PREDICTION, CONFIDENCE = "id", "label", "prediction", "confidence"
# What spreadsheets take for the beginning of a formula.
_FORMULA = "^[=+\\-@\t\r]"
_BETWEEN_LABELS = "|"


def check_prediction_file(argument: str, path: Path, *, escape_formulas: bool = False) -> None:
    """Raise `ValueError` unless the suffix of `path`, the value of `argument`, says how to write it."""
    suffix = path.suffix.lower()
    if suffix not in PREDICTION_SUFFIXES:
        raise ValueError(
            f"{argument} {path} has the suffix {path.suffix!r}: choose from {', '.join(PREDICTION_SUFFIXES)}, which says how the "
            "predictions are written."
        )
    if escape_formulas and suffix not in (".csv", ".tsv"):
        raise ValueError(
            f"--escape_formulas is for spreadsheets, and {argument} {path} is none: leave it out, or name a .csv file."
        )


class PredictionTable:
    r"""
    From logits to the columns of the file: `id`, the inputs, `label` (the true one, where it is known), `prediction`,
    `confidence` and a `probability_NAME` of each class.

    For several labels an example, prediction and label are lists, and the confidence is that of the least sure decision. For
    regression there is the prediction alone.

    Args:
        problem_type (`str`): One of the three of `transformers`.
        label_names (`Sequence[str]`): Names of the classes in the order of the outputs; empty for regression.
        inputs (`Sequence[str]`, *optional*): Names of the columns that show the input. One that clashes gets a number behind.
        has_labels (`bool`, *optional*, defaults to `False`): Whether true labels are known.
        top_k (`int`, *optional*):
            In place of all probabilities only the likeliest so many classes: `top_2`, `top_2_probability` and so on (the first is
            the prediction; with several labels an example, they begin with `top_1`).
        temperature (`float`, *optional*, defaults to 1): What logits are divided by, for one class an example: the probabilities change, and
            nothing else, for which class comes first is read off the logits as they are.
    """

    def __init__(
        self,
        problem_type: str,
        label_names: Sequence[str],
        *,
        inputs: Sequence[str] = (),
        has_labels: bool = False,
        top_k: int | None = None,
        temperature: float = 1.0,
    ):
        if temperature != 1.0 and problem_type != SINGLE_LABEL:
            raise ValueError(
                f"--temperature {temperature:g}: it is for classifiers with one class an example, not for {problem_type}; leave it out."
            )
        self.temperature = check_temperature("--temperature", temperature)
        if top_k is not None and problem_type == REGRESSION:
            raise ValueError(f"--top_k {top_k}: the model predicts a number, no classes: leave it out.")
        if top_k is not None and not 1 <= top_k <= max(len(label_names), 1):
            raise ValueError(
                f"--top_k {top_k}: the model has {len(label_names)} classes, give a number from 1 to that."
            )
        self.problem_type, self.label_names, self.has_labels, self.top_k = (
            problem_type,
            list(label_names),
            has_labels,
            top_k,
        )
        self._names = pa.array(self.label_names, type=pa.string())
        own = [LABEL] if has_labels else []
        own += [PREDICTION] if problem_type == REGRESSION else [PREDICTION, CONFIDENCE]
        self._first_place = 2 if problem_type == SINGLE_LABEL else 1
        if top_k is not None:
            places = range(self._first_place, top_k + 1)
            own += [name for place in places for name in (f"top_{place}", f"top_{place}_probability")]
        else:
            own += [f"probability_{name}" for name in self.label_names]
        unique = _unique([ID, *own, *inputs])
        self.names = [ID, *unique[1 + len(own) :], *unique[1 : 1 + len(own)]]

    def columns(
        self, ids: pa.Array, inputs: Sequence[pa.Array], labels: pa.Array | None, logits: NDArray[np.floating]
    ) -> pa.Table:
        """
        Args:
            ids (`pa.Array`): An integer or a string each.
            inputs (`Sequence[pa.Array]`): Their texts or paths, as many arrays as there are names of inputs.
            labels (`pa.Array`, *optional*): True labels: names, lists of names, or scores; null where one is not known.
            logits (`np.ndarray` of shape `(N, C)`, or `(N,)` or `(N, 1)` for regression): Of the model.
        """
        told = [ids, *inputs, *([labels] if self.has_labels else [])]
        if self.problem_type == REGRESSION:
            return pa.table([*told, pa.array(np.asarray(logits, dtype=np.float32).reshape(-1))], names=self.names)
        if self.problem_type == MULTI_LABEL:
            probabilities = sigmoid(logits)
            prediction = self._lists(probabilities > 0.5)
            confidence = np.maximum(probabilities, 1 - probabilities).min(axis=1)
        else:
            probabilities = apply_temperature(logits, self.temperature)
            likeliest = np.asarray(logits).argmax(axis=1)
            prediction = self._names.take(pa.array(likeliest))
            confidence = probabilities[np.arange(len(probabilities)), likeliest]
        told += [prediction, pa.array(confidence.astype(np.float32))]
        # By columns, in one copy.
        shown = np.asfortranarray(probabilities.astype(np.float32))
        if self.top_k is None:
            return pa.table([*told, *(pa.array(column) for column in shown.T)], names=self.names)
        order = np.argsort(-np.asarray(logits), axis=1, kind="stable")
        for place in range(self._first_place, self.top_k + 1):
            likeliest = order[:, place - 1]
            told += [self._names.take(pa.array(likeliest)), pa.array(shown[np.arange(len(shown)), likeliest])]
        return pa.table(told, names=self.names)

    def _lists(self, chosen: NDArray[np.bool_]) -> pa.ListArray:
        ends = np.concatenate([[0], chosen.sum(axis=1).cumsum()])
        return pa.ListArray.from_arrays(
            pa.array(ends, type=pa.int32()), self._names.take(pa.array(chosen.nonzero()[1]))
        )


class PredictionWriter:
    """
    Writes tables of [`PredictionTable`] one below the other, see [`prediction_file`].

    Args:
        path (`Path`): Its suffix says how: csv, tsv, jsonl or parquet.
        table ([`PredictionTable`]): Whose columns they have.
        escape_formulas (`bool`, *optional*, defaults to `False`): Put a `'` before cells that a spreadsheet would compute.
    """

    def __init__(self, path: Path, table: PredictionTable, *, escape_formulas: bool = False):
        check_prediction_file("output_file", path, escape_formulas=escape_formulas)
        self.path, self.table, self.escape_formulas = path, table, escape_formulas
        self.suffix = path.suffix.lower()
        self._file: IO[bytes] | None = None
        self._parquet: pq.ParquetWriter | None = None
        # Lists of names are joined, if no name has what stands between them.
        self._joins = not any(_BETWEEN_LABELS in name for name in table.label_names)

    def write(self, rows: pa.Table) -> None:
        """Add rows, as [`PredictionTable.columns`] makes them."""
        if self.suffix == ".parquet":
            if self._parquet is None:
                self._parquet = pq.ParquetWriter(self.path, rows.schema)
            self._parquet.write_table(rows)
            return
        if self._file is None:
            self._file = self.path.open("wb")
            if self.suffix != ".jsonl":
                self._file.write(self._header())
        self._file.write(self._lines(rows))

    def close(self) -> None:
        for file in (self._file, self._parquet):
            if file is not None:
                file.close()

    @property
    def _delimiter(self) -> str:
        return "\t" if self.suffix == ".tsv" else ","

    def _header(self) -> bytes:
        line = io.StringIO()
        names = [_as_text(name) if self.escape_formulas else name for name in self.table.names]
        csv.writer(line, delimiter=self._delimiter, lineterminator="\n").writerow(names)
        return line.getvalue().encode()

    def _lines(self, rows: pa.Table) -> bytes:
        if self.suffix == ".jsonl":
            keys = [json.dumps(name, ensure_ascii=False) for name in rows.column_names]
            cells = [
                _side_by_side(f"{key}: ", _json_cells(column)) for key, column in zip(keys, rows.columns, strict=True)
            ]
            lines = _side_by_side("{", _side_by_side(*cells, between=", "), "}\n")
        else:
            cells = [self._csv_cells(column) for column in rows.columns]
            lines = _side_by_side(_side_by_side(*cells, between=self._delimiter), "\n")
        return b"".join(map(_bytes_of, lines.chunks if isinstance(lines, pa.ChunkedArray) else [lines]))

    def _csv_cells(self, column: pa.ChunkedArray) -> pa.ChunkedArray:
        if not _is_text(column.type):
            if not pa.types.is_list(column.type):
                return pc.fill_null(pc.cast(column, pa.large_string()), "")
            column = self._joined(column)
        cells = pc.fill_null(pc.cast(column, pa.large_string()), "")
        if self.escape_formulas:
            cells = _where(cells, _FORMULA, lambda cells: _side_by_side("'", cells))
        special = f'["\r\n{self._delimiter}]'
        return _where(
            cells,
            special,
            lambda cells: _side_by_side('"', pc.replace_substring(cells, '"', '""'), '"'),
        )

    def _joined(self, column: pa.ChunkedArray) -> pa.ChunkedArray:
        if self._joins:
            return pc.binary_join(column, _BETWEEN_LABELS)
        texts = [None if names is None else json.dumps(names, ensure_ascii=False) for names in column.to_pylist()]
        return pa.chunked_array([pa.array(texts, type=pa.large_string())])


@contextmanager
def prediction_file(
    path: Path, table: PredictionTable, *, escape_formulas: bool = False
) -> Iterator[PredictionWriter]:
    """A [`PredictionWriter`] of a file that is there whole at the end, or not at all."""
    with whole_file(path) as partial:
        writer = PredictionWriter(partial, table, escape_formulas=escape_formulas)
        try:
            yield writer
        finally:
            writer.close()


@dataclass
class Written:
    """
    What a file of predictions holds.

    Args:
        rows (`int`): How many.
        counts (`Counter[str]`): Rows of each class; with several labels an example, examples with it; empty for regression.
        labelled (`int`): Rows with a true label; 0 if any of these is none of the model's classes, or for regression.
        right (`int`): Those of them that are predicted right.
    """

    rows: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    labelled: int = 0
    right: int = 0

    @property
    def only_class(self) -> str | None:
        """The class that several rows all got, if they did."""
        return next(iter(self.counts)) if len(self.counts) == 1 and self.rows > 1 else None


def write_predictions(
    path: Path,
    rows: DescribedRows,
    chunks: Iterable[tuple[int, NDArray[np.floating]]],
    *,
    top_k: int | None = None,
    temperature: float = 1.0,
    escape_formulas: bool = False,
) -> Written:
    """
    Write the predictions of all rows; the file is there whole at the end, or not at all.

    Args:
        path (`Path`): A .csv, .tsv, .jsonl or .parquet file; one that is there is replaced.
        rows ([`DescribedRows`]): What stands beside the predictions.
        chunks (`Iterable[tuple[int, np.ndarray]]`): Of [`predict_in_chunks`]: the first row of each, and its logits.
        top_k (`int`, *optional*), temperature (`float`), escape_formulas (`bool`): As for [`PredictionTable`] and [`PredictionWriter`].

    Returns:
        [`Written`]
    """
    table = PredictionTable(
        rows.problem_type,
        rows.label_names,
        inputs=rows.inputs,
        has_labels=rows.has_labels,
        top_k=top_k,
        temperature=temperature,
    )
    written, are_known = Written(), True
    with prediction_file(path, table, escape_formulas=escape_formulas) as writer:
        for first, logits in chunks:
            ids, inputs, labels = rows.slice(first, first + len(logits))
            columns = table.columns(ids, inputs, labels, logits)
            writer.write(columns)
            written.rows += len(logits)
            if rows.problem_type != REGRESSION:
                are_known = _count(written, columns, rows.label_names, labels) and are_known
    if not are_known:
        written.labelled = written.right = 0
    return written


def _count(written: Written, columns: pa.Table, names: Sequence[str], labels: Any) -> bool:
    """Add rows to what was written; whether their true labels are classes of the model."""
    predicted = columns.column(PREDICTION).to_pylist()
    written.counts.update(name for found in predicted for name in (found if isinstance(found, list) else [found]))
    if labels is None:
        return True
    known = set(names)
    for found, label in zip(predicted, labels.to_pylist(), strict=True):
        if label is None:
            continue
        if not known.issuperset(label if isinstance(label, list) else [label]):
            return False
        written.labelled += 1
        written.right += sorted(found) == sorted(label) if isinstance(label, list) else found == label
    return True


def _unique(names: Sequence[str]) -> list[str]:
    """The names, those that were there before with a number behind."""
    taken: set[str] = set()
    unique = []
    for name in names:
        number, new = 1, name
        while new in taken:
            number += 1
            new = f"{name}_{number}"
        taken.add(new)
        unique.append(new)
    return unique


def _is_text(kind: pa.DataType) -> bool:
    return pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_null(kind)


def _as_text(name: str) -> str:
    return f"'{name}" if name[:1] in ("=", "+", "-", "@", "\t", "\r") else name


def _side_by_side(*parts: Any, between: str = "") -> Any:
    """The strings of several columns joined row by row; a `str` is the same in all rows."""
    parts = tuple(pa.scalar(part, pa.large_string()) if isinstance(part, str) else part for part in parts)
    return pc.binary_join_element_wise(*parts, pa.scalar(between, pa.large_string()))


def _where(cells: pa.ChunkedArray, pattern: str, change: Any) -> pa.ChunkedArray:
    """The cells, changed where they match; mostly none does."""
    matches = pc.match_substring_regex(cells, pattern)
    return pc.if_else(matches, change(cells), cells) if pc.any(matches).as_py() else cells


def _json_cells(column: pa.ChunkedArray) -> pa.ChunkedArray:
    if pa.types.is_floating(column.type) or pa.types.is_integer(column.type):
        return pc.fill_null(pc.cast(column, pa.large_string()), "null")
    texts = [json.dumps(value, ensure_ascii=False) for value in column.to_pylist()]
    return pa.chunked_array([pa.array(texts, type=pa.large_string())])


def _bytes_of(lines: pa.Array) -> bytes:
    """The strings of an array one after the other: they lie so in its buffer."""
    lines = pc.cast(lines, pa.large_binary())
    if not len(lines):
        return b""
    _, offsets, data = lines.buffers()
    ends = np.frombuffer(offsets, dtype=np.int64)[lines.offset : lines.offset + len(lines) + 1]
    return memoryview(data)[int(ends[0]) : int(ends[-1])].tobytes()
