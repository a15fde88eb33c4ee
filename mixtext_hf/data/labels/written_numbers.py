"""Numbers in cells that are strings: what is one, what stands there for a missing one, and columns of scores with such words."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from typing import Any

from datasets import Value
from datasets.features.features import FeatureType


logger = logging.getLogger(__name__)

_WHOLE = re.compile(r"(-?(?:0|[1-9][0-9]*))\.0*")
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
# What people and programs write for a number that is not there.
_MISSING = ("", "na", "n/a", "#n/a", "nan", "<na>", "null", "none", "nil", "missing", "?", "-", "--", ".")
# As it is written where the point parts thousands.
_COMMA = re.compile(r"[+-]?[0-9]+,[0-9]+")
_TRUTH = {"true": 1, "false": 0}


def plain_number(name: str) -> str:
    """A whole number that is written as a float, `"1.0"`, as the whole number `"1"`; any other name as it is."""
    found = _WHOLE.fullmatch(name)
    return name if found is None else found[1]


def number_in(cell: str) -> float | None:
    """The number that is written in a cell, `None` if it is none."""
    return float(cell) if _NUMBER.fullmatch(cell.strip()) else None


def is_missing(cell: str) -> bool:
    """Whether a cell says that there is no number: `NA`, `n/a`, `?`, or nothing at all."""
    return cell.strip().lower() in _MISSING


def truth_of(value: Any) -> Any:
    """0 or 1 for a cell that says so, as `True`, `false` or `1.0`; anything else as it is."""
    if not isinstance(value, str):
        return value
    word = value.strip().lower()
    if word in _TRUTH:
        return _TRUTH[word]
    number = number_in(word)
    return value if number is None else number


def scores_in_strings(
    raw: Mapping[str, list[Any]], features: Mapping[str, FeatureType | None], label: str
) -> tuple[dict[str, list[Any]], dict[str, FeatureType | None]]:
    """
    Read a column of strings as scores, where they are that but for some words such as `NA`.

    Args:
        raw (`Mapping[str, list]`): What the label column of each split holds.
        features (`Mapping[str, FeatureType | None]`): Its type in each split.
        label (`str`): What the column is called.

    Returns:
        `tuple`: scores, `None` in splits that have nothing but words for missing ones, and their types; or what was given, where the
        column does not hold scores.

    Raises:
        `ValueError`: if a split has scores and words; it names the split, the word and its row.
    """
    unchanged = dict(raw), dict(features)
    strings = (Value("string"), Value("large_string"))
    if not all(feature in (*strings, Value("null"), None) for feature in features.values()):
        return unchanged
    cells = [value for labels in raw.values() for value in labels if isinstance(value, str)]
    numbers = {cell: number_in(cell) for cell in set(cells)}
    scores = {cell for cell, number in numbers.items() if number is not None}
    words = set(numbers) - scores
    if any(map(_COMMA.fullmatch, words)) and all(_COMMA.fullmatch(word) or is_missing(word) for word in words):
        split, row, cell = next(
            (split, row, value)
            for split in raw
            for row, value in enumerate(raw[split])
            if value and _COMMA.fullmatch(value)
        )
        raise ValueError(
            f"The label column {label!r} of the split {split!r} holds {cell!r} at row {row}: write scores with a point, name the "
            "--label_separator if these are several classes, or say --problem_type single_label_classification if it is one."
        )
    # Whole numbers may be classes, and what is nothing but numbers is what its file says it is.
    if all(float(cell).is_integer() for cell in scores) or not any(map(str.strip, words)):
        return unchanged
    if not all(map(is_missing, words)) and 2 * sum(cell in scores for cell in cells) <= len(cells):
        return unchanged
    for split, labels in raw.items():
        rows = [row for row, value in enumerate(labels) if value is None or value in words]
        first = next((row for row in rows if labels[row] is not None), None)
        if first is None or (len(rows) == len(labels) and all(value is None or is_missing(value) for value in labels)):
            continue
        other = next(iter(sorted(scores)))
        raise ValueError(
            f"The label column {label!r} holds scores such as {other!r}, and {labels[first]!r} at row {first} of the split {split!r}"
            f"{f' (the first of {len(rows)} such rows)' if len(rows) > 1 else ''}: remove rows without a score, or, if these are names "
            "of classes, say so by --problem_type single_label_classification."
        )
    said = ", ".join(sorted(repr(word) for word in words))
    logger.info("The label column %r holds scores; %s stands for hidden ones.", label, said)
    values = {
        split: [numbers.get(value) if isinstance(value, str) else None for value in labels]
        for split, labels in raw.items()
    }
    return values, {
        split: Value("float64") if any(value is not None for value in labels) else None
        for split, labels in values.items()
    }
