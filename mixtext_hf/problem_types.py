"""The kinds of task, by the names that they have in the `problem_type` of transformers' configs."""

from __future__ import annotations

from typing import Final, Literal


ProblemType = Literal["single_label_classification", "multi_label_classification", "regression"]

SINGLE_LABEL: Final = "single_label_classification"
MULTI_LABEL: Final = "multi_label_classification"
REGRESSION: Final = "regression"
PROBLEM_TYPES: tuple[ProblemType, ...] = (SINGLE_LABEL, MULTI_LABEL, REGRESSION)
