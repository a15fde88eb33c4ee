"""A map of class names, from those in the data to those that are meant: read from a file, and asked for a name."""

import csv
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from .class_names import folded


LabelMap = dict[str, str | None]

_DELIMITERS = (",", ";", "\t")
_KINDS = ".json, .yaml, .yml, .csv or .tsv"


def read_label_map(label_map: str | Path | Mapping[Any, Any] | None) -> LabelMap:
    """
    Read a map of class names.

    Args:
        label_map (`str`, `Path` or `Mapping`, *optional*):
            A JSON or YAML file of one object `{"name in the data": "name that is meant"}`, a csv or tsv file of these two
            columns (a header line does no harm), or the mapping itself. A name that goes to nothing (`null`, or an empty
            cell) is one whose rows are left out. Names that are whole numbers may be written as numbers.

    Returns:
        `dict[str, str | None]`: names by names, empty without a map.

    Raises:
        `ValueError`: if it cannot be read, or names something twice; it says which file and where.
        `FileNotFoundError`: if there is no such file.
    """
    if label_map is None:
        return {}
    if isinstance(label_map, Mapping):
        return _checked(label_map.items(), "`label_map`")
    path = Path(label_map)
    where = f"`label_map`: the file {str(path)!r}"
    if not path.is_file():
        raise FileNotFoundError(f"`label_map`: there is no file {str(path)!r}. Check the path.")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{where} is not written in UTF-8 ({error}): save it so.") from error
    suffix = path.suffix.lower()
    if suffix == ".json":
        pairs = _json_pairs(text, where)
    elif suffix in (".yaml", ".yml"):
        pairs = _yaml_pairs(text, where)
    elif suffix in (".csv", ".tsv"):
        pairs = _table_pairs(text, where)
    else:
        raise ValueError(f"{where} has the suffix {suffix!r}: give a {_KINDS} file.")
    return _checked(pairs, where)


def look_up(name: str, label_map: LabelMap, by_folded: Mapping[str, str]) -> str | None:
    """The name that a name of the data goes to: by the map, by case and blanks aside, or itself. `None` = left out."""
    if name in label_map:
        return label_map[name]
    key = by_folded.get(folded(name))
    return name if key is None else label_map[key]


def folded_keys(label_map: LabelMap) -> dict[str, str]:
    """The names of the data that a map knows, by their folded forms, where only one name has it."""
    forms: dict[str, list[str]] = {}
    for key in label_map:
        forms.setdefault(folded(key), []).append(key)
    return {form: keys[0] for form, keys in forms.items() if len(keys) == 1}


def _checked(pairs: Iterable[tuple[Any, Any]], where: str) -> LabelMap:
    found: LabelMap = {}
    for key, value in pairs:
        if isinstance(key, bool) or not isinstance(key, str | int):
            raise ValueError(f"{where} has {key!r} for a name in the data: names are strings, put it in quotes.")
        if isinstance(value, bool) or not (value is None or isinstance(value, str | int)):
            raise ValueError(f"{where} maps {key!r} to {value!r}: give a name, or nothing to leave its rows out.")
        key = str(key)
        value = None if value is None or not str(value).strip() else str(value)
        if key in found and found[key] != value:
            raise ValueError(f"{where} maps {key!r} to both {found[key]!r} and {value!r}: keep one of them.")
        found[key] = value
    if not found:
        raise ValueError(f"{where} maps nothing: give it a name of the data and one that is meant.")
    return found


def _json_pairs(text: str, where: str) -> list[tuple[Any, Any]]:
    # Lists of pairs, for a dict would lose the first of two that are the same.
    try:
        pairs = json.loads(text, object_pairs_hook=lambda pairs: ("object", pairs))
    except ValueError as error:
        raise ValueError(f"{where} is not valid JSON ({error}).") from error
    if not isinstance(pairs, tuple):
        raise ValueError(f'{where} holds no object: write {{"name in the data": "name that is meant"}}.')
    return list(pairs[1])


def _yaml_pairs(text: str, where: str) -> list[tuple[Any, Any]]:
    # The nodes, which keep what is written: as values, yes and no are booleans, and 001 is 1.
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        raise ValueError(f"{where} is not valid YAML ({' '.join(str(error).split())}).") from error
    if not isinstance(node, yaml.MappingNode):
        raise ValueError(f"{where} holds no `name in the data: name that is meant` lines.")
    return [(_scalar(key, where), _scalar(value, where)) for key, value in node.value]


def _scalar(node: yaml.Node, where: str) -> str | None:
    if not isinstance(node, yaml.ScalarNode):
        raise ValueError(
            f"{where} has a list or an object in line {node.start_mark.line + 1}: give one name for each."
        )
    return None if node.tag == "tag:yaml.org,2002:null" else str(node.value)


def _table_pairs(text: str, where: str) -> list[tuple[Any, Any]]:
    tables = [
        [row for row in csv.reader(text.splitlines(), delimiter=delimiter) if any(row)] for delimiter in _DELIMITERS
    ]
    table = next((rows for rows in tables if rows and all(len(row) == 2 for row in rows)), None)
    if table is None:
        line = next((row for row in tables[0] if len(row) != 2), [])
        raise ValueError(
            f"{where} must have two columns in every line, and has {line}: quote names with commas in them."
        )
    return [(key, value) for key, value in table]
