"""The kinds of task, by the names that they have in the `problem_type` of transformers' configs."""

from __future__ import annotations

from typing import Any, Final, Literal


ProblemType = Literal["single_label_classification", "multi_label_classification", "regression"]

SINGLE_LABEL: Final = "single_label_classification"
MULTI_LABEL: Final = "multi_label_classification"
REGRESSION: Final = "regression"
PROBLEM_TYPES: tuple[ProblemType, ...] = (SINGLE_LABEL, MULTI_LABEL, REGRESSION)


def problem_type_of(config: Any) -> ProblemType:
    """The task as a config says it, else as transformers would read it off `num_labels` and integer labels."""
    if config.problem_type is not None:
        return config.problem_type
    return REGRESSION if config.num_labels == 1 else SINGLE_LABEL
