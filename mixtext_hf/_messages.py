"""What many messages have in common: names of which there may be many, and numbers that are too small."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any


def listed(names: Iterable[object], shown: int = 10, *, show: Callable[[object], str] = repr) -> str:
    """
    Names for a message, the first ones of many.

    Args:
        names (`Iterable[object]`): All of them.
        shown (`int`, *optional*, defaults to 10): How many are named.
        show (`Callable[[object], str]`, *optional*): `str` for names without quotation marks.
    """
    said = [show(name) for name in names]
    return ", ".join(said[:shown]) + (f", … {len(said)} in all" if len(said) > shown else "")


def check_at_least(least: float, settings: Any, *names: str) -> None:
    """
    Raise for the first of these settings that is too small; one that is `None` was not given.

    Args:
        least (`float`): The smallest that is allowed.
        settings (`Any`): What has them as attributes, by the names of the flags.
        names (`str`): Which ones.

    Raises:
        ValueError: That names the flag.
    """
    for name in names:
        value = getattr(settings, name)
        # So that nan is too small as well.
        if value is not None and not value >= least:
            raise ValueError(f"--{name} must be at least {least}, got {value}.")
