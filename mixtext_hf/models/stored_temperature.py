"""The temperature that is stored with a classifier, in `config.mixtext`: what its logits are divided by before their softmax.

Found on held-out rows (Guo et al., 2017, "On Calibration of Modern Neural Networks", section 4.2). It belongs to the weights that it was
found for: a training begins by forgetting it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


RECIPE = "mixtext"
TEMPERATURE, FITTED_ON = "temperature", "temperature_fitted_on"
_REMEDY = "give one by --temperature (1: none), or remove it from config.json"


@dataclass(frozen=True)
class StoredTemperature:
    """
    A temperature and where it comes from.

    Args:
        value (`float`): Above 0 and finite; logits are divided by it.
        split (`str`, *optional*): The name of the split that it was fitted on, where that is known.
        rows (`int`, *optional*): How many rows of that split.
    """

    value: float
    split: str | None = None
    rows: int | None = None

    @property
    def origin(self) -> str:
        """`fitted on 100 rows of validation`, as far as it is known."""
        if self.split is None:
            return "fitted on rows that nobody noted"
        rows = "" if self.rows is None else f"{self.rows:,} row{'s' if self.rows != 1 else ''} of "
        return f"fitted on {rows}{self.split}"

    def as_json(self) -> dict[str, Any]:
        """What goes into `config.mixtext`."""
        return {TEMPERATURE: self.value, FITTED_ON: {"split": self.split, "rows": self.rows}}


def check_temperature(name: str, value: Any, remedy: str = "1 leaves the softmax as it is") -> float:
    """
    Args:
        name (`str`): What it is called in the error.
        value (`Any`): Which should be a temperature.
        remedy (`str`, *optional*): What the error says that helps.

    Returns:
        `float`, the same number.

    Raises:
        ValueError: Unless it is a finite number above 0.
    """
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not (math.isfinite(value) and value > 0):
        raise ValueError(f"{name} is {value!r}, and a temperature is a finite number above 0: {remedy}.")
    return float(value)


def stored_temperature(config: Any) -> StoredTemperature | None:
    """
    Args:
        config (`PretrainedConfig`): Of a classifier, whoever wrote it.

    Returns:
        [`StoredTemperature`], or `None` where there is none.

    Raises:
        ValueError: If what is stored is no temperature.
    """
    recipe = getattr(config, RECIPE, None)
    if not isinstance(recipe, Mapping) or recipe.get(TEMPERATURE) is None:
        return None
    value = check_temperature(f"config.{RECIPE}[{TEMPERATURE!r}]", recipe[TEMPERATURE], _REMEDY)
    found = recipe.get(FITTED_ON)
    origin = found if isinstance(found, Mapping) else {}
    split, rows = origin.get("split"), origin.get("rows")
    return StoredTemperature(
        value,
        split if isinstance(split, str) and split else None,
        rows if isinstance(rows, int) and not isinstance(rows, bool) and rows > 0 else None,
    )


def store_temperature(config: Any, temperature: StoredTemperature) -> None:
    """Note it in a config, in place of the one that may be there; the recipe beside it stays."""
    setattr(config, RECIPE, with_temperature(getattr(config, RECIPE, None), temperature))


def forget_temperature(config: Any) -> None:
    """Remove the one that may be in a config; the recipe beside it stays."""
    if isinstance(getattr(config, RECIPE, None), Mapping):
        setattr(config, RECIPE, with_temperature(getattr(config, RECIPE), None))


def with_temperature(recipe: Any, temperature: StoredTemperature | None) -> dict[str, Any]:
    """What `config.mixtext` is with this temperature in it, or with none."""
    kept = recipe if isinstance(recipe, Mapping) else {}
    plain = {name: value for name, value in kept.items() if name not in (TEMPERATURE, FITTED_ON)}
    return plain if temperature is None else {**plain, **temperature.as_json()}


def recipe_of_config(config: Any) -> Any:
    """What an earlier training left in `config.mixtext`; `None` also where nothing but a temperature is there."""
    recipe = getattr(config, RECIPE, None)
    return recipe if not isinstance(recipe, Mapping) or with_temperature(recipe, None) else None
