"""What counts as a number where a user gives one. Truth values, which Python counts among the whole numbers, never do."""

from __future__ import annotations

import math
from typing import Any, TypeGuard

import numpy as np


def is_number(value: Any) -> TypeGuard[float]:
    """Whether it is a finite number of Python, as a config keeps it."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def is_whole(value: Any) -> TypeGuard[int]:
    """Whether it is a whole number of Python, as a config keeps it."""
    return isinstance(value, int) and not isinstance(value, bool)


def is_index(value: Any) -> TypeGuard[int]:
    """Whether it is a whole number of Python or NumPy, for what counts or numbers things."""
    return is_whole(value) or isinstance(value, np.integer)
