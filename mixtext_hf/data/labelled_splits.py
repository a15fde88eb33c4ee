"""What texts and images have in common on the way from splits as they were found to splits that are ready: labels in one
convention, what a run must know of the splits, and the record of where they came from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from datasets import Dataset

from mixtext_hf.problem_types import REGRESSION, SINGLE_LABEL

from .labels.class_keys import Naming
from .labels.class_matching import ClassMatching
from .labels.classes import LABEL, has_labels, normalise_labels
from .tables.sources import Splits


UNLABELED = "unlabeled"


@dataclass(kw_only=True)
class LabelledSplits:
    """
    Splits that are ready for training, evaluation and prediction, whatever their rows hold.

    Args:
        train (`datasets.Dataset`, *optional*):
            The training split (the chosen examples, when few were asked for).
        validation (`dict[str, datasets.Dataset]`):
            Validation splits by name; several for MNLI, none is `{}`.
        test (`dict[str, datasets.Dataset]`):
            Test splits by name.
        rest (`datasets.Dataset`, *optional*):
            What `labeled_per_class` left over of the training split.
        label_names (`list[str]`):
            Names of the classes in the order of their ids; empty for regression.
        source (`dict[str, Any]`):
            Where the data came from and how it was selected, JSON-serialisable.
        rows (`dict[str, np.ndarray]`):
            Of validation and test splits of which some rows were chosen: the numbers that these have in the file.
        matching ([`ClassMatching`]):
            How the labels were matched with the classes of a model, where those were given.
    """

    train: Dataset | None
    validation: dict[str, Dataset]
    test: dict[str, Dataset]
    rest: Dataset | None
    label_names: list[str]
    source: dict[str, Any]
    rows: dict[str, np.ndarray] = field(default_factory=dict)
    matching: ClassMatching = field(default_factory=ClassMatching)

    def by_name(self) -> dict[str, Dataset]:
        """All splits but `rest`."""
        return {**({} if self.train is None else {"train": self.train}), **self.validation, **self.test}


@dataclass(frozen=True)
class SplitLabels:
    """
    What the labels of splits are.

    Args:
        column (`str`, *optional*): `"label"`, or `None` when no split has labels.
        problem_type (`str`): One of [`~mixtext_hf.problem_types.PROBLEM_TYPES`].
        names (`list[str]`): Names of the classes in the order of their ids; empty for regression.
        matching ([`ClassMatching`]): How the labels were matched with classes that were given.
    """

    column: str | None
    problem_type: str
    names: list[str]
    matching: ClassMatching


def normalise_splits(
    splits: Splits,
    label: str | tuple[str, ...] | None,
    *,
    problem_type: str | None,
    inputs: Sequence[str],
    label_names: Sequence[str] | None,
    naming: Naming,
) -> SplitLabels:
    """
    Bring the labels of the splits, in place, into one convention.

    Args:
        splits ([`Splits`]): As they were found.
        label (`str` or `tuple[str, ...]`, *optional*): Column of the label there, or one 0/1 column a class.
        problem_type (`str`, *optional*): What the labels are; inferred from them by default.
        inputs (`Sequence[str]`): Columns of texts or images, which the label must not replace.
        label_names (`Sequence[str]`, *optional*): Classes of a trained model, which are those of data without labels too.
        naming ([`Naming`]): What names of the data mean, and what is done with those that look alike.
    """
    if label is None:
        problem_type = problem_type or SINGLE_LABEL
        names = [] if problem_type == REGRESSION else list(label_names or ())
        return SplitLabels(None, problem_type, names, ClassMatching("none"))
    labels = normalise_labels(
        splits.by_name(),
        label,
        problem_type=problem_type,
        text_columns=inputs,
        label_names=label_names,
        naming=naming,
    )
    splits.replace(labels.splits)
    any_labels = any(has_labels(split) for split in labels.splits.values())
    return SplitLabels(LABEL if any_labels else None, labels.problem_type, labels.names, labels.matching)


def record_of(
    splits: Splits, *records: Mapping[str, Any], rest: Dataset | None, unlabeled: Dataset | None = None
) -> dict[str, Any]:
    """
    Where the data came from and how it was selected, JSON-serialisable.

    Args:
        splits ([`Splits`]): As they are used.
        records (`Mapping[str, Any]`): What was asked for and found, one after the other.
        rest (`datasets.Dataset`, *optional*): What is left over of the training split.
        unlabeled (`datasets.Dataset`, *optional*): What is learnt from without labels.
    """
    by_name = {"train": splits.train, "rest": rest, **splits.validation, **splits.test, UNLABELED: unlabeled}
    record = {**splits.source, "sizes": {name: len(split) for name, split in by_name.items() if split is not None}}
    for one in records:
        record |= one
    return record
