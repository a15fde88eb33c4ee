"""Objects that a user names by a word and its one number, such as `"word_dropout:0.2"` or `"crop:4"`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any, TypeVar


Kind = TypeVar("Kind")


def make_named(spec: str, kinds: Mapping[str, type[Kind]], what: str) -> Kind:
    """
    Make what a user names.

    Args:
        spec (`str`): A name of `kinds`, with or without a colon and its number.
        kinds (`Mapping[str, type]`): Dataclasses with one field, a number, by their names.
        what (`str`): What they are, for the errors: `"augmenter"`.

    Raises:
        `ValueError`: if there is no such name, or its number is none or out of range.
    """
    name, colon, number = spec.partition(":")
    if name not in kinds:
        raise ValueError(f"There is no {what} {spec!r}: choose from {', '.join(kinds)}.")
    default: Any = kinds[name]()
    if not colon:
        return default
    (field,) = fields(default)
    usual = getattr(default, field.name)
    try:
        value = type(usual)(number)
    except ValueError as error:
        needed = "a whole number" if isinstance(usual, int) else "a number"
        raise ValueError(
            f"The {what} {spec!r} has {number!r} as its {field.name}: give {needed}, such as {name}:{usual}. There are "
            f"{', '.join(kinds)}."
        ) from error
    return kinds[name](**{field.name: value})
