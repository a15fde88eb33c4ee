"""Tables of JSON: an object a line, or a list of objects. What is written stays: no string becomes a date, no number another one."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa

from .cell_types import join_pieces
from .json_forms import rows_in
from .regular_json import read_regular_json
from .text_encoding import TextSource, Unreadable


_BLANK = re.compile(r"[ \t\r\n]*")
_BATCH = 500
_PLAIN = (pa.null(), pa.string(), pa.int64(), pa.bool_())


class _Row(NamedTuple):
    where: str | int  # in words, or the number of the line
    value: dict[str, Any]


def read_json(path: Path, *, encoding: str | None = None) -> pa.Table:
    """
    Read the rows of a file.

    Args:
        path (`Path`): An object a line, a list of objects, or an object that is a whole table, see [`rows_in`].
        encoding (`str`, *optional*): Of a file without a mark; UTF-8 if not given.

    Raises:
        [`Unreadable`]: names the line or the row.
    """
    source = TextSource.of(path, encoding)
    if _is_lines(source):
        table = read_regular_json(source)
        return _read_carefully(_lines(source)) if table is None else table
    return _read_carefully(_documents(source))


def _read_carefully(rows: Iterator[_Row]) -> pa.Table:
    columns: dict[str, _Column] = {}
    batch: list[_Row] = []
    done = 0

    def put_away() -> None:
        nonlocal done
        for name in dict.fromkeys(name for row in batch for name in row.value):
            if name not in columns:
                columns[name] = _Column(name, done)
        for column in columns.values():
            column.add(batch)
        done += len(batch)
        batch.clear()

    for row in rows:
        batch.append(row)
        if len(batch) == _BATCH:
            put_away()
    put_away()
    return pa.table({name: column.finish() for name, column in columns.items()})


class _Column:
    """The values of one key, put away as Arrow arrays of one type."""

    def __init__(self, name: str, missing: int):
        self._name = name
        self._chunks: list[pa.Array] = [pa.nulls(missing)] if missing else []
        self._type: pa.DataType = pa.null()
        self._seen: tuple[str, Any] | None = None  # where the first value was, and the value
        self._is_long = False  # whole numbers that no int64 holds, as strings

    def add(self, rows: list[_Row]) -> None:
        values = [row.value.get(self._name) for row in rows]
        try:
            array = pa.array(values)
        except OverflowError:
            array = self._long(rows, values)
        except (pa.ArrowException, UnicodeEncodeError) as error:
            raise self._misfit(rows, error) from error
        for row, value in zip(rows, values, strict=True) if array.type not in _PLAIN else ():
            # Arrow takes `true` for 1 where a fraction came before it.
            if _has_truth_among_fractions(value, array.type):
                raise Unreadable(
                    f"{self._name!r} holds {_short(value)} in {_where(row)}, a truth value where others are numbers: write all of them as "
                    "one type, such as 1 and 0 for true and false"
                )
        if self._is_long and pa.types.is_integer(array.type):
            array = array.cast(pa.string())
        if array.type != self._type:
            self._merge(rows, array.type)
        if self._seen is None:
            self._seen = next(((_where(row), v) for row, v in zip(rows, values, strict=True) if v is not None), None)
        self._chunks.append(array)

    def _merge(self, rows: list[_Row], other: pa.DataType) -> None:
        try:
            merged = pa.unify_schemas(
                [pa.schema([("x", self._type)]), pa.schema([("x", other)])], promote_options="permissive"
            )
        except pa.ArrowException as error:
            raise self._misfit(rows, error) from error
        self._type = merged.field("x").type

    def finish(self) -> pa.ChunkedArray:
        try:
            return join_pieces(self._chunks, self._type)
        except pa.ArrowException as error:
            raise Unreadable(f"the values of {self._name!r} do not fit one type ({error})") from error

    def _long(self, rows: list[_Row], values: list[Any]) -> pa.Array:
        for row, value in zip(rows, values, strict=True):
            if value is not None and type(value) is not int:
                raise Unreadable(
                    f"{self._name!r} holds {_short(value)} in {_where(row)}, and a whole number beyond 2^63 near it: write all of "
                    "them as strings"
                )
        # Exact, and to be told apart; nobody calculates with them.
        self._is_long = True
        self._chunks = [chunk.cast(pa.string()) for chunk in self._chunks]
        if pa.types.is_integer(self._type):
            self._type = pa.string()
        return pa.array([None if value is None else str(value) for value in values], pa.string())

    def _misfit(self, rows: list[_Row], error: Exception) -> Unreadable:
        seen = self._seen
        for row in rows:
            value = row.value.get(self._name)
            if value is None:
                continue
            try:
                pa.array([value])
            except UnicodeEncodeError:
                return Unreadable(f"{self._name!r} holds half a character (a lone surrogate) in {_where(row)}")
            except (pa.ArrowException, OverflowError) as own:
                return Unreadable(
                    f"{self._name!r} holds {_short(value)} in {_where(row)}, whose parts do not fit ({own})"
                )
            if seen is not None and _kind(seen[1]) != _kind(value):
                return Unreadable(
                    f"{self._name!r} holds {_short(value)} in {_where(row)}, and {_short(seen[1])} in {seen[0]}: write all of them "
                    "as one type, such as strings"
                )
            seen = seen or (_where(row), value)
        return Unreadable(f"the values of {self._name!r} do not fit one type from {_where(rows[0])} on ({error})")


def _has_truth_among_fractions(value: Any, kind: pa.DataType) -> bool:
    """Whether a truth value stands where an Arrow array of this type has fractions."""
    if value is None:
        return False
    if pa.types.is_floating(kind):
        return isinstance(value, bool)
    if pa.types.is_list(kind):
        return any(_has_truth_among_fractions(item, kind.value_type) for item in value)
    if pa.types.is_struct(kind):
        return any(_has_truth_among_fractions(value.get(field.name), field.type) for field in kind)
    return False


def _kind(value: Any) -> str:
    if isinstance(value, bool):
        return "bool"
    return "number" if isinstance(value, int | float) else type(value).__name__


def _where(row: _Row) -> str:
    return f"line {row.where}" if isinstance(row.where, int) else row.where


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:57]}..."


# ---- the objects ----


def _is_lines(source: TextSource) -> bool:
    """Whether a file has an object on each line, as its first one has."""
    with source.open("\n") as file:
        start = next((line.lstrip() for line in file if line.strip()), "")
    if not start:
        raise Unreadable("it holds nothing. Give a file with at least one row")
    if start[0] == "[":
        return False
    try:
        first = json.loads(start)
    except (ValueError, RecursionError):
        # Not an object a line: one over several lines, several one after the other, or a broken one.
        return False
    return isinstance(first, dict) and rows_in(first) is None


def _lines(source: TextSource) -> Iterator[_Row]:
    decode = json.JSONDecoder(object_pairs_hook=_unique).decode
    with source.open("\n") as file:
        for number, line in enumerate(file, start=1):
            if line.isspace():
                continue
            try:
                value = decode(line.lstrip("\ufeff"))
            except (ValueError, RecursionError) as error:
                raise Unreadable(f"line {number}: {_told(error)}") from error
            yield _Row(number, _an_object(value, f"line {number}"))


def _documents(source: TextSource) -> Iterator[_Row]:
    """The objects of a list, of an object around it, or that stand one after the other, over several lines each."""
    with source.open("\n") as file:
        text = file.read()
    decoder = json.JSONDecoder(object_pairs_hook=_unique)
    position = _skip(text, 0)
    if text[position] == "[":
        yield from _items(text, decoder, position)
        return
    number = 0
    while position < len(text):
        value, end = _decode(decoder, text, position)
        inner = rows_in(value) if isinstance(value, dict) else None
        if inner is not None and number == 0 and _skip(text, end) == len(text):
            for row, item in enumerate(inner):
                yield _Row(f"row {row}", item)
            return
        where = (
            f"row {number} (line {text.count(chr(10), 0, position) + 1})" if number % 1000 == 0 else f"row {number}"
        )
        yield _Row(where, _an_object(value, where))
        number, position = number + 1, _skip(text, end)


def _items(text: str, decoder: json.JSONDecoder, position: int) -> Iterator[_Row]:
    position, number = _skip(text, position + 1), 0
    if text.startswith("]", position):
        return
    while True:
        value, end = _decode(decoder, text, position)
        yield _Row(f"row {number}", _an_object(value, f"row {number}"))
        position = _skip(text, end)
        if text.startswith("]", position):
            break
        if not text.startswith(",", position):
            raise Unreadable(f"a comma is missing after row {number}, in {_line_of(text, position)}")
        position, number = _skip(text, position + 1), number + 1
    if _skip(text, position + 1) < len(text):
        raise Unreadable(f"there is more behind the end of the list, in {_line_of(text, _skip(text, position + 1))}")


def _decode(decoder: json.JSONDecoder, text: str, position: int) -> tuple[Any, int]:
    try:
        return decoder.raw_decode(text, position)
    except json.JSONDecodeError as error:
        raise Unreadable(f"line {error.lineno}: {error.msg} at column {error.colno}") from error
    except (ValueError, RecursionError) as error:
        raise Unreadable(f"{_line_of(text, position)}: {_told(error)}") from error


def _skip(text: str, position: int) -> int:
    found = _BLANK.match(text, position)
    assert found is not None
    return found.end()


def _line_of(text: str, position: int) -> str:
    return f"line {text.count(chr(10), 0, position) + 1}"


def _an_object(value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise Unreadable(f"{where} holds {_short(value)}, where an object {{...}} must be for each row")
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"an object has the key {twice!r} twice")
    return found


def _told(error: Exception) -> str:
    if isinstance(error, RecursionError):
        return "lists or objects are nested too deep"
    return f"{error.msg} at column {error.colno}" if isinstance(error, json.JSONDecodeError) else str(error)
