"""The fast way through a file with a JSON object on each line whose values are plain: strings, whole numbers, truth values, fractions
that a double holds for certain, and lists of one of these. Where anything is otherwise nothing is decided here: the careful reader sees the file anew.
"""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json

from .cell_types import join_pieces
from .text_encoding import TextSource, Unreadable


# Below it a whole number is the same as a double.
_EXACT = 2**53


class _Irregular(Exception):
    """The careful reader must look at the file."""


def read_regular_json(source: TextSource) -> pa.Table | None:
    """
    Read the rows of a file.

    Returns:
        `pa.Table`: `None` if a line is no object, or the values of a key are not of one plain type.
    """
    columns: dict[str, list[pa.Array]] = {}
    rows = 0
    strings: dict[str, pa.DataType] = {}
    try:
        for block in source.blocks():
            table = _parsed(block.encode(), strings)
            for name in table.column_names:
                if name not in columns:
                    columns[name] = [pa.nulls(rows)] if rows else []
            for name, pieces in columns.items():
                there = name in table.column_names
                pieces += table.column(name).chunks if there else [pa.nulls(len(table))]
            rows += len(table)
        if not columns:
            return None
        return pa.table({name: join_pieces(pieces, _type_of(pieces)) for name, pieces in columns.items()})
    # What is wrong, and in which line, is told by the careful reader.
    except (_Irregular, Unreadable, UnicodeEncodeError, pa.ArrowInvalid):
        return None


def _parsed(block: bytes, strings: dict[str, pa.DataType]) -> pa.Table:
    if b"\r" in block:
        block = block.replace(b"\r\n", b"\n")
    if not block.endswith(b"\n"):
        block += b"\n"
    # Arrow's parser takes objects one after the other, wherever lines end.
    lines = block.count(b"\n")
    if not block.startswith(b"{") or block.count(b"\n{") != lines - 1 or block.count(b"}\n") != lines:
        raise _Irregular
    table = _read(block, strings)
    # Strings that look like times.
    times = {
        field.name: pa.list_(pa.string()) if pa.types.is_list(field.type) else pa.string()
        for field in table.schema
        if pa.types.is_timestamp(_inner(field.type))
    }
    if times:
        strings.update(times)
        table = _read(block, strings).select(table.column_names)
    if len(table) != lines:
        raise _Irregular
    return table


def _read(block: bytes, strings: dict[str, pa.DataType]) -> pa.Table:
    table = pyarrow.json.read_json(
        pa.BufferReader(block),
        read_options=pyarrow.json.ReadOptions(use_threads=False, block_size=len(block) + 1),
        parse_options=pyarrow.json.ParseOptions(explicit_schema=pa.schema(strings)),
    )
    # Arrow loses nulls at the beginning of the first list, whose ends are wrong then.
    table.validate()
    for column in table.columns:
        values = pc.list_flatten(column) if pa.types.is_list(column.type) else column
        if values is not column and values.null_count:
            raise _Irregular
        if pa.types.is_floating(values.type):
            _check_exact(values)
    return table


def _check_exact(column: pa.ChunkedArray) -> None:
    """Raise [`_Irregular`] if one of the numbers may be no fraction, and as a whole number not the same."""
    negative_zero = pc.and_(pc.equal(column, 0.0), pc.less(pc.divide(1.0, column), 0.0))
    certain = pc.and_not(pc.less(pc.abs(column), float(_EXACT)), negative_zero)
    # Of no number at all, the minimum is missing.
    if pc.min(certain).as_py() is False:
        raise _Irregular


def _type_of(pieces: list[pa.Array]) -> pa.DataType:
    """The one of a column, numbers with fractions among whole ones."""
    types = {piece.type for piece in pieces} - {pa.null()}
    kinds = {_inner(kind) for kind in types} - {pa.null()}
    are_lists = {pa.types.is_list(kind) for kind in types}
    if kinds == {pa.int64(), pa.float64()}:
        kinds = {pa.float64()}
    kind = next(iter(kinds), pa.null())
    if (
        len(are_lists) > 1
        or len(kinds) > 1
        or kind not in (pa.null(), pa.string(), pa.int64(), pa.float64(), pa.bool_())
    ):
        raise _Irregular
    return pa.list_(kind) if True in are_lists else kind


def _inner(kind: pa.DataType) -> pa.DataType:
    return kind.value_type if pa.types.is_list(kind) else kind
