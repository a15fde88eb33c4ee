"""Tables that JSON holds in one object, as pandas and others write them, and the rows that these are."""

from __future__ import annotations

from typing import Any


def rows_in(value: dict[str, Any]) -> list[dict[str, Any]] | None:
    """
    The rows of an object that is a whole table, `None` where it is none.

    `{"data": [{...}, ...]}` with other values beside it, or another name for a list alone; `{"columns": [...], "data": [[...], ...]}`
    (pandas: `split`), `{"schema": {...}, "data": [{...}, ...]}` (`table`), `{"text": {"0": ...}, ...}` (`columns`, its default) and
    `{"text": [...], ...}` (`list`).
    """
    lists = [v for v in value.values() if isinstance(v, list) and v and all(isinstance(item, dict) for item in v)]
    others = [v for key, v in value.items() if isinstance(v, list | dict) and key != "schema"]
    if len(lists) == 1 == len(others) and (len(value) == 1 or "data" in value):
        return lists[0]
    names, data = value.get("columns"), value.get("data")
    if isinstance(names, list) and isinstance(data, list) and _are_rows(names, data):
        return [dict(zip(names, row, strict=True)) for row in data]
    if len(value) < 2:
        return None
    columns = list(value.values())
    if all(isinstance(column, dict) for column in columns) and columns[0]:
        keys = list(columns[0])
        if all(list(column) == keys for column in columns) and not any(map(_holds_objects, columns)):
            return [{name: column[key] for name, column in value.items()} for key in keys]
    are_lists = all(isinstance(column, list) and column and not isinstance(column[0], dict) for column in columns)
    if are_lists and all(len(column) == len(columns[0]) for column in columns):
        return [dict(zip(value, row, strict=True)) for row in zip(*columns, strict=True)]
    return None


def _are_rows(names: list[Any], data: list[Any]) -> bool:
    return bool(data) and all(isinstance(row, list) and len(row) == len(names) for row in data)


def _holds_objects(column: dict[str, Any]) -> bool:
    return any(isinstance(cell, dict) for cell in column.values())
