"""Empirical risk minimisation (Vapnik 1998): plain fine-tuning, the baseline that every comparison needs."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import ClassVar

from .base import MixMethod


@dataclass(frozen=True)
class ERM(MixMethod):
    """No mixing: the same trainer and the same loss code as all other methods, with lambda 1."""

    alpha: float = 0.0

    name: ClassVar[str] = "erm"
    equation: ClassVar[str] = "min E[l(f(x), y)]"
    mixes: ClassVar[bool] = False

    def __post_init__(self) -> None:
        super().__post_init__()
        for field in fields(self):
            if getattr(self, field.name) != field.default:
                raise ValueError(
                    f"mix_{field.name}={getattr(self, field.name)} was given, but erm does not mix: name a mixing method "
                    "or drop it."
                )
