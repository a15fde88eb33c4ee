"""Wrong labels on purpose, to see which methods learn them by heart (`evaluation.measure_memorisation` counts)."""

from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, get_args

import numpy as np
from datasets import ClassLabel, Dataset, concatenate_datasets
from numpy.typing import ArrayLike, NDArray

from mixtext_hf.problem_types import SINGLE_LABEL

from .class_keys import Naming, changes_any, class_keys
from .classes import LABEL, normalise_labels, replace_labels


NoiseKind = Literal["uniform", "pair"]
NOISE_KINDS: tuple[str, ...] = get_args(NoiseKind)

# Where the right labels of the training rows are kept.
CLEAN_LABEL = "clean_label"

# What marks a row without a label: -1 on the Hub, -100 in PyTorch's cross-entropy.
HIDDEN_LABELS = (-1, -100)

# Keeps these draws apart from those of `few_shot_split`, keyed [seed, class], and `hold_out`, keyed [seed, class, 1].
_STREAM = 2


def corrupt_labels(
    labels: ArrayLike, num_classes: int, share: float, *, seed: int, kind: NoiseKind = "uniform"
) -> NDArray[np.int64]:
    """
    Give a share of the rows another label than their own.

    Which rows, and which labels, depends on nothing but the arguments, so that all methods of a comparison see the same
    wrong labels. Rows and classes are drawn before the share is looked at: for one seed, a larger share keeps every wrong
    label of a smaller one.

    Args:
        labels (array-like of shape `(N,)`, integer):
            Classes in `0 .. num_classes - 1`. -1 and -100 mark rows without a label; they stay as they are.
        num_classes (`int`):
            The number of classes, at least 2.
        share (`float`):
            In `[0, 1)`. Of the `n` rows with a label, exactly `round(share * n)` (Python's `round`: a half goes to the
            even neighbour) get another label. Papers that replace labels by a uniform draw from *all* classes, as Zhang
            et al. (2018, "mixup", section 3.4) do, have fewer wrong ones: `share * (1 - 1 / num_classes)` on average.
        seed (`int`):
            From 0 on.
        kind (`str`, *optional*, defaults to `"uniform"`):
            `"uniform"`: one of the other classes, each equally likely ("symmetry flipping" in Han et al., 2018,
            "Co-teaching"). `"pair"`: the next class, `k -> k + 1` modulo `num_classes` ("pair flipping" there).

    Returns:
        `np.ndarray` of shape `(N,)`, dtype int64: a new array.

    Raises:
        ValueError: If `labels` are not integers of one dimension, hold a class out of range or no label at all, or if
            another argument is outside what is said above.
    """
    given = np.asarray(labels)
    if given.ndim != 1 or given.dtype.kind not in "iu":
        raise ValueError(
            f"`labels` must be class ids of shape (N,) and an integer dtype, got shape {given.shape} and dtype "
            f"{given.dtype}. Write -1 where a row has no label."
        )
    if num_classes < 2:
        raise ValueError(f"`num_classes` must be at least 2, got {num_classes}: a wrong label needs another class.")
    if not 0.0 <= share < 1.0:
        raise ValueError(f"`share` must lie in [0, 1), got {share}. For 20 % wrong labels, write 0.2.")
    if kind not in NOISE_KINDS:
        raise ValueError(f"`kind` must be one of {', '.join(NOISE_KINDS)}; got {kind!r}.")
    if seed < 0:
        raise ValueError(f"`seed` must not be negative, got {seed}.")

    noisy = given.astype(np.int64)
    rows = np.flatnonzero(~np.isin(noisy, HIDDEN_LABELS))
    if len(rows) == 0:
        raise ValueError(f"`labels` must hold at least one label, got {len(noisy)} rows without one.")
    known = noisy[rows]
    if known.min() < 0 or known.max() >= num_classes:
        wrong = known.min() if known.min() < 0 else known.max()
        raise ValueError(
            f"`labels` must lie in 0..{num_classes - 1} (or be -1 or -100 where a row has no label), got {wrong}. "
            "Check `num_classes`."
        )

    rng = np.random.default_rng([seed, 0, _STREAM])
    order = rng.permutation(len(rows))
    # An offset for every row, used or not, and for either kind: the rows do not depend on `kind`.
    steps = rng.integers(1, num_classes, size=len(rows))
    chosen = order[: round(share * len(rows))]
    step = steps[chosen] if kind == "uniform" else 1
    noisy[rows[chosen]] = (known[chosen] + step) % num_classes
    return noisy


@dataclass(frozen=True)
class LabelNoise:
    """
    Which labels to train with, where it is not the right ones.

    Args:
        label_noise (`float`, *optional*): Share of the training rows that get another label, see [`corrupt_labels`].
        label_noise_kind (`str`): `"uniform"` or `"pair"`.
        noisy_label_column (`str`, *optional*):
            In place of that: the column of labels that somebody gave to the same rows, right or wrong.

    Raises:
        ValueError: If both are given, or a value is none of these.
    """

    label_noise: float | None = None
    label_noise_kind: NoiseKind = "uniform"
    noisy_label_column: str | None = None

    def __post_init__(self) -> None:
        if self.label_noise is not None and self.noisy_label_column is not None:
            raise ValueError(
                f"`label_noise` is {self.label_noise} and `noisy_label_column` is {self.noisy_label_column!r}: wrong labels "
                "are either made or given, leave out one of them."
            )
        if self.label_noise is not None and not 0 < self.label_noise < 1:
            raise ValueError(f"`label_noise` must lie in (0, 1), got {self.label_noise}: for 20 % wrong labels, 0.2.")
        if self.label_noise_kind not in NOISE_KINDS:
            raise ValueError(
                f"`label_noise_kind` must be one of {', '.join(NOISE_KINDS)}; got {self.label_noise_kind!r}."
            )
        if self.label_noise_kind != "uniform" and self.label_noise is None:
            raise ValueError(
                f"`label_noise_kind` is {self.label_noise_kind!r} without a `label_noise`: say which share of the labels is to be wrong, "
                "such as 0.2."
            )

    def __bool__(self) -> bool:
        return self.label_noise is not None or self.noisy_label_column is not None

    def apply(
        self, train: Dataset | None, names: list[str], problem_type: str, seed: int, naming: Naming | None = None
    ) -> tuple[Dataset | None, dict[str, Any]]:
        """
        Give the training rows their labels.

        Args:
            train (`datasets.Dataset`, *optional*): With the right class ids in `label`.
            names (`list[str]`): Names of the classes.
            problem_type (`str`): What the labels are.
            seed (`int`): Of [`corrupt_labels`].
            naming ([`Naming`], *optional*): What names in `noisy_label_column` mean.

        Returns:
            `tuple`: the rows with `label` to train on and the right ones in `clean_label`, and what there is to record.

        Raises:
            ValueError: If there are no training rows, if they have not one class each, or no label would be wrong.
        """
        if not self:
            return train, {}
        asked = f"label_noise={self.label_noise}" if self.noisy_label_column is None else self.noisy_label_column
        if train is None:
            raise ValueError(f"`{asked}` is for training, and there is no training split: give one, or leave it out.")
        if problem_type != SINGLE_LABEL:
            raise ValueError(f"`{asked}` needs one class a row, but the labels are {problem_type}: leave it out.")
        if CLEAN_LABEL in train.column_names:
            raise ValueError(f"The right labels go into a column {CLEAN_LABEL!r}, which exists: rename that.")
        clean = np.asarray(train[LABEL][:])
        if self.noisy_label_column is None:
            assert self.label_noise is not None
            noisy = corrupt_labels(clean, len(names), self.label_noise, seed=seed, kind=self.label_noise_kind)
        else:
            noisy = _given_labels(train, self.noisy_label_column, names, naming or Naming())
        wrong = int((noisy != clean).sum())
        if wrong == 0:
            raise ValueError(
                f"`{asked}` changes none of the {len(clean)} training labels: there is nothing to measure."
            )
        kept = Dataset.from_dict({CLEAN_LABEL: clean}).cast_column(CLEAN_LABEL, ClassLabel(names=names))
        train = replace_labels(train, (LABEL,), noisy.tolist(), ClassLabel(names=names))
        return concatenate_datasets([train, kept], axis=1), {**asdict(self), "wrong_labels": wrong}


def _given_labels(train: Dataset, column: str, names: list[str], naming: Naming) -> NDArray[np.int64]:
    if column not in train.column_names:
        raise ValueError(f"`noisy_label_column` is {column!r}, but the columns of train are {train.column_names}.")
    alone = train.select_columns([column])
    # A map of the right labels need not have a name of this column.
    written = class_keys(list(alone[column][:]), alone.features[column], "train", {})
    if not changes_any(written, naming.label_map):
        naming = replace(naming, label_map={})
    try:
        found = normalise_labels({"train": alone}, column, problem_type=SINGLE_LABEL, label_names=names, naming=naming)
    except ValueError as error:
        raise ValueError(f"`noisy_label_column` {column!r}: {error}") from error
    if found.left_out:
        raise ValueError(
            f"`noisy_label_column` {column!r}: `label_map` leaves out {found.left_out['train']} of its rows, whose right labels are "
            "kept: name a class for them."
        )
    return np.asarray(found.splits["train"][LABEL][:])
