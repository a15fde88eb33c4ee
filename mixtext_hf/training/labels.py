"""Do the labels fit the task? Asked before the first step."""

from __future__ import annotations

from typing import Any

import datasets
import pyarrow as pa
import pyarrow.compute as pc
import torch

from mixtext_hf.data import MixDataCollator
from mixtext_hf.data.image_collator import ImageCollator
from mixtext_hf.mixing import IGNORE_INDEX, MixedLoss


def check_class(label: int, num_labels: int, *, which: str = "A label") -> None:
    """Raise `ValueError` if the model has no class of this number; `which` says whose label it is."""
    if not 0 <= label < num_labels:
        raise ValueError(
            f"{which} is {label}, but the model has num_labels={num_labels} (labels 0 to {num_labels - 1}): load it "
            "with the number of classes of the data."
        )


def check_label_column(dataset: Any, collator: Any, loss: MixedLoss) -> None:
    """Are there classes that the model does not have? Asked of the whole column, if the collator takes it as it is."""
    if loss.problem_type != "single_label_classification" or not isinstance(collator, MixDataCollator | ImageCollator):
        return
    if not isinstance(dataset, datasets.Dataset):
        return
    name = next((name for name in collator.label_columns if name in dataset.column_names), None)
    if name is None:
        return
    column = dataset.select_columns([name]).with_format("arrow")[:].column(name)
    # Negative ones are hidden, and a column of nothing else is for the first batch to judge.
    largest = pc.max(column).as_py() if pa.types.is_integer(column.type) else None
    if largest is not None and largest >= 0:
        check_class(largest, loss.num_labels)


def check_labels(labels: torch.Tensor, loss: MixedLoss, problem_type: str | None) -> None:
    """
    Check the labels of a first batch.

    Args:
        labels (`torch.Tensor` of shape `(B,)` or `(B, C)`): As the collator makes them.
        loss ([`MixedLoss`]): The task's loss.
        problem_type (`str`, *optional*): What the config of the model says of the task.

    Raises:
        `ValueError`: if a loss of that kind cannot be taken of them.
    """
    if labels.dim() == 2 and labels.shape[1] > 1 and problem_type is None:
        raise ValueError(
            f"The labels are rows of {labels.shape[1]} numbers and the model does not say what they are: set "
            "model.config.problem_type to 'multi_label_classification' (0/1 for each class) or to "
            "'single_label_classification' (soft targets that sum to 1)."
        )
    if loss.problem_type == "regression" and not labels.is_floating_point():
        raise ValueError(
            "The labels are integers, but the task is regression, where -1 is a score and no hidden class: give floats, "
            "or make the collator with is_regression=True."
        )
    if loss.problem_type == "single_label_classification" and labels.dim() == 1:
        if labels.is_floating_point():
            raise ValueError(
                f"The labels are floats, but the model has {loss.num_labels} classes: give integer classes, or "
                "load the model with num_labels=1 for regression."
            )
        labels = labels[labels != IGNORE_INDEX]
        for label in (labels.min(), labels.max()) if len(labels) else ():
            check_class(int(label), loss.num_labels)
