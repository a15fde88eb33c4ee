"""Lists of classes that stand in a column of strings: `"['billing', 'urgent']"`, `'["billing"]'`, or `"billing|urgent"`."""

import ast
import io
import json
import logging
import tokenize
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

from .class_names import cleaned


logger = logging.getLogger(__name__)

_OPEN = {"[": "]", "(": ")", "{": "}"}
_REMEDY = (
    "write every label as such a list (multi-label data), or one plain name; with problem_type "
    "'single_label_classification' the strings are names as they are"
)


def read_lists(
    raw: Mapping[str, list[Any]], column: str, separator: str | None
) -> dict[str, list[list[str] | None]] | None:
    """
    Read the labels of a column of strings as lists, if that is what they are.

    Args:
        raw (`Mapping[str, list]`): The labels of each split.
        column (`str`): What the column is called, for errors.
        separator (`str`, *optional*): What stands between the classes of a row; lists in brackets if `None`.

    Returns:
        `dict[str, list[list[str] | None]]`: the lists, `None` where a label is missing; `None` where no label is a list.

    Raises:
        `ValueError`: if some labels are lists in brackets and others are not; it names the split and the row.
    """
    lists: dict[str, list[list[str] | None]] = {}
    others: list[tuple[str, int, str]] = []
    found = 0
    for split, labels in raw.items():
        lists[split] = []
        for row, label in enumerate(labels):
            parts = None
            if isinstance(label, str) and cleaned(label) not in ("", "-1"):
                parts = read_list(label) if separator is None else split_list(label, separator)
                if parts is None:
                    others.append((split, row, label))
                else:
                    found += 1
            lists[split].append(parts)
    if not found:
        _check_brackets(others, column)
        return None
    if others:
        split, row, label = others[0]
        raise ValueError(
            f"The label column {column!r} holds lists written as strings in {found} rows, and {label!r} at row {row} of the "
            f"split {split!r} ({len(others)} such rows): {_REMEDY}."
        )
    what = "lists written as strings" if separator is None else f"names with {separator!r} between them"
    logger.info("The labels of %r are %s: multi-label data.", column, what)
    return lists


def _check_brackets(labels: list[tuple[str, int, str]], column: str) -> None:
    """Raise where all labels have brackets around them, and one has several words in it: lists in a writing that is none of these."""
    inside = [(split, row, label, label.strip()[1:-1].strip()) for split, row, label in labels]
    if not inside or not all(label.strip().startswith("[") and label.strip().endswith("]") for *_, label in labels):
        return
    several = next((found for found in inside if "," in found[3] or "' '" in found[3]), None)
    if several is not None:
        split, row, label, _ = several
        raise ValueError(
            f"The label column {column!r} holds {label!r} at row {row} of the split {split!r}, and all others in brackets too, which is "
            f"no list as JSON or Python writes it: {_REMEDY}."
        )


def read_list(text: str) -> list[str] | None:
    """The names in a list that is written as Python or JSON writes it; `None` if this is none."""
    text = text.strip()
    if len(text) < 2 or _OPEN.get(text[0]) != text[-1]:
        return None
    values = _evaluated(text)
    if not isinstance(values, list | tuple | set):
        return None
    if any(isinstance(value, bool) or not isinstance(value, str | int) for value in values):
        return None
    return [str(value) for value in values]


def _evaluated(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        pass  # Python writes other quotes.
    try:
        value = ast.literal_eval(text)
        kinds = [token.type for token in tokenize.generate_tokens(io.StringIO(text).readline)]
    except (ValueError, SyntaxError, MemoryError, RecursionError, TypeError, tokenize.TokenError):
        return None
    # Two strings without a comma, as numpy prints them, are one to Python.
    if any(one == other == tokenize.STRING for one, other in pairwise(kinds)):
        return None
    return value


def split_list(text: str, separator: str) -> list[str]:
    """The names in a string with something between them."""
    return [part.strip() for part in text.split(separator) if part.strip()]
