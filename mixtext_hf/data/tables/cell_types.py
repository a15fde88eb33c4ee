"""Which columns of written cells are numbers: those whose numbers, printed, are what is written, in all files alike.

`001`, `+1`, `true`, dates and whole numbers that no int64 holds stay strings, so that a class is called what stands in the file.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence

import pyarrow as pa
import pyarrow.compute as pc
from datasets import ClassLabel, Dataset


_TEXT, _FLOAT, _WHOLE, _INT, _EMPTY = "text", "float", "whole", "int", "empty"
# Whole numbers, some of them written with a point: as likely classes as numbers.
_WHOLE_PATTERN = r"^(-?(0|[1-9][0-9]{0,14})(\.0*)?|nan|NaN)?$"
# "1e5" may be a code; what a program writes for a number has a point or a sign: 1.5e5, 1e+05.
_PATTERNS = {
    _INT: r"^(0|-?[1-9][0-9]{0,18})?$",
    _FLOAT: r"^(-?(0|[1-9][0-9]{0,14})?\.[0-9]+([eE][-+]?[0-9]+)?|-?(0|[1-9][0-9]{0,14})(\.|[eE][-+][0-9]+)?|nan|NaN|-?inf|-?Infinity)?$",
}
_NAN = pa.array(["nan", "NaN"])
# Rows that mostly tell.
_FIRST = 1000
# Rows of a chunk of a column: searching many small ones takes long. More bytes than 2^31 are none that a chunk can hold.
_CHUNK = 50_000
_CHUNK_BYTES = 2**28


def with_numbers(
    written: Sequence[pa.Table], others: Iterable[Dataset] = (), *, texts: Sequence[str] = ()
) -> list[pa.Table]:
    """
    Turn columns of strings into numbers where they are.

    Args:
        written (`Sequence[pa.Table]`): Tables of cells as they are written, strings all of them.
        others (`Iterable[datasets.Dataset]`): What else is read beside them: a column that is no number there is none here.
        texts (`Sequence[str]`): Columns that stay as they are.

    Returns:
        `list[pa.Table]`: with int64, float64 and string columns; an empty cell is missing in a column of numbers, an empty string
        among strings, and a column of nothing but empty cells has the type null. Whole numbers that are written `1.0` are strings.
    """
    kinds: dict[str, set[str]] = {}
    floats: dict[str, list[pa.ChunkedArray]] = {}
    for dataset in others:
        for name, feature in dataset.features.items():
            if isinstance(feature, ClassLabel):
                continue
            kind = _kind_of_type(dataset.data.schema.field(name).type)
            if kind == _FLOAT:
                floats.setdefault(name, []).append(dataset.data.column(name))
            else:
                kinds.setdefault(name, set()).add(kind)
    for table in written:
        for name in table.column_names:
            found = kinds.setdefault(name, set())
            if name in texts:
                found.add(_TEXT)
            elif _TEXT not in found:
                found.add(_kind(table.column(name)))
    for name, columns in floats.items():
        # Floats of whole numbers do not make scores of what may be classes.
        if name in kinds and (_WHOLE not in kinds[name] or not all(map(_are_whole, columns))):
            kinds[name].add(_FLOAT)
    types = {name: _type_of(found) for name, found in kinds.items()}
    whole = {name for name, found in kinds.items() if _WHOLE in found and not found & {_TEXT, _FLOAT}}
    return [_cast(table, types, whole) for table in written]


def join_pieces(pieces: list[pa.Array], kind: pa.DataType) -> pa.ChunkedArray:
    """
    A column of many small arrays, which it takes out of the list, so that there are never two copies of all.

    Args:
        pieces (`list[pa.Array]`): Arrays that can be cast to `kind`; empty afterwards.
        kind (`pa.DataType`): Type of the column.
    """
    pieces.reverse()
    chunks = []
    while pieces:
        some: list[pa.Array] = []
        rows = size = 0
        while pieces and rows < _CHUNK and size < _CHUNK_BYTES:
            some.append(pieces.pop().cast(kind))
            rows, size = rows + len(some[-1]), size + some[-1].nbytes
        chunks.append(pa.concat_arrays(some))
    return pa.chunked_array(chunks, kind)


def _kind(column: pa.ChunkedArray) -> str:
    for kind, pattern in _PATTERNS.items():
        if not _all_match(column.slice(0, _FIRST), pattern) or not _all_match(column, pattern):
            continue
        if not pc.any(pc.not_equal(column, "")).as_py():
            return _EMPTY
        if kind == _FLOAT and _all_match(column, _WHOLE_PATTERN) and _has_digits(column):
            return _WHOLE
        return kind if kind != _INT or _fits_int64(column) else _TEXT
    return _TEXT


def _all_match(column: pa.ChunkedArray, pattern: str) -> bool:
    return bool(pc.all(pc.match_substring_regex(column, pattern)).as_py() in (True, None))


def _has_digits(column: pa.ChunkedArray) -> bool:
    return bool(pc.any(pc.match_substring_regex(column, "[0-9]")).as_py())


def _are_whole(column: pa.ChunkedArray) -> bool:
    values = pc.fill_null(column.cast(pa.float64()), 0.0)
    return not pc.any(pc.and_(pc.is_finite(values), pc.not_equal(pc.floor(values), values))).as_py()


def _fits_int64(column: pa.ChunkedArray) -> bool:
    try:
        _numbers(column, pa.int64())
    except pa.ArrowInvalid:
        return False
    return True


def _numbers(column: pa.ChunkedArray, kind: pa.DataType) -> pa.ChunkedArray:
    return pc.if_else(pc.equal(column, ""), None, column).cast(kind)


def _kind_of_type(kind: pa.DataType) -> str:
    if pa.types.is_integer(kind):
        return _INT
    if pa.types.is_floating(kind):
        return _FLOAT
    return _EMPTY if pa.types.is_null(kind) else _TEXT


def _type_of(kinds: set[str]) -> pa.DataType:
    for kind, found in ((_TEXT, pa.string()), (_FLOAT, pa.float64()), (_WHOLE, pa.string()), (_INT, pa.int64())):
        if kind in kinds:
            return found
    return pa.null()


def _cast(table: pa.Table, types: Mapping[str, pa.DataType], whole: Container[str]) -> pa.Table:
    columns = {}
    for name in table.column_names:
        column, kind = table.column(name), types[name]
        if pa.types.is_null(kind):
            column = pa.chunked_array([pa.nulls(len(column))])
        elif not pa.types.is_string(kind):
            column = _numbers(column, kind)
        elif name in whole:
            # A missing number is none of the names.
            column = pc.if_else(pc.is_in(column, value_set=_NAN), None, column)
        columns[name] = column
    return pa.table(columns)
