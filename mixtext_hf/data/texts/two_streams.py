"""Labelled and unlabelled rows in one loader: which rows make a batch, what each row holds, and how they are collated.

One data set and one batch sampler, because that is what survives: accelerate rebuilds a loader out of these two when a
run is resumed or spread over processes. The order of the rows is a pure function of (seed, epoch).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence, Sized
from dataclasses import dataclass
from typing import Any

import datasets
import numpy as np
import torch

from mixtext_hf.data.balanced import BalancedDraw
from mixtext_hf.data.tables.columns import holds_texts, rows_without_text
from mixtext_hf.data.tables.row_id import RowId
from mixtext_hf.mixing import IGNORE_INDEX

from .augmenters import Augmenter


_LABELLED, _UNLABELLED = 0, 1


class TwoStreamBatchSampler(torch.utils.data.Sampler):
    r"""
    Batches of `labeled_batch_size` labelled and `unlabeled_batch_size` unlabelled rows, in this order.

    An epoch is one pass over the labelled rows. The unlabelled rows are an endless stream that is shuffled anew whenever
    it is used up and goes on across epochs. Every reshuffle drops its incomplete tail: what does not fill a batch of
    the labelled rows; of the unlabelled ones, what does not fill a batch on every process, so that the processes, which
    accelerate deals the batches to in turn, never see the same unlabelled row in a step.

    Args:
        labeled (`int`): Number of labelled rows there are.
        unlabeled (`int`): Number of unlabelled rows there are.
        labeled_batch_size (`int`): Labelled rows in a batch.
        unlabeled_batch_size (`int`): Unlabelled rows in a batch.
        seed (`int`, *optional*, defaults to 0): With the epoch, the only thing that the order depends on.
        world_size (`int`, *optional*, defaults to 1): Number of processes that share the batches.
        draw ([`BalancedDraw`], *optional*): What draws as many labelled rows, with replacement, in place of a pass over them.

    Raises:
        `ValueError`: if there are too few rows for one batch (on every process).
    """

    # Read by accelerate: all batches are of one size and there is no smaller last one.
    drop_last = True

    def __init__(
        self,
        labeled: int,
        unlabeled: int,
        *,
        labeled_batch_size: int,
        unlabeled_batch_size: int,
        seed: int = 0,
        world_size: int = 1,
        draw: BalancedDraw | None = None,
    ):
        for name, size in (("labeled_batch_size", labeled_batch_size), ("unlabeled_batch_size", unlabeled_batch_size)):
            if size < 1:
                raise ValueError(f"`{name}` must be at least 1, got {size}.")
        if labeled < labeled_batch_size:
            raise ValueError(
                f"There are {labeled} labelled rows, fewer than the {labeled_batch_size} of a batch: lower "
                "per_device_train_batch_size."
            )
        if unlabeled < unlabeled_batch_size * world_size:
            what = f"{unlabeled_batch_size} of a batch" + (f" on {world_size} processes" if world_size > 1 else "")
            raise ValueError(
                f"There are {unlabeled} unlabelled rows, fewer than the {what}: give more, or lower "
                "per_device_unlabeled_batch_size."
            )
        self.labeled, self.unlabeled = labeled, unlabeled
        self.labeled_batch_size, self.unlabeled_batch_size = labeled_batch_size, unlabeled_batch_size
        self.batch_size = labeled_batch_size + unlabeled_batch_size
        self.seed, self.world_size, self.draw = seed, world_size, draw
        self.epoch = 0
        self._shuffled: tuple[int, np.ndarray] | None = None

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch of the next iteration."""
        self.epoch = epoch

    def __len__(self) -> int:
        # A multiple of the world size: every process has the same number of batches.
        return max(self.labeled // (self.labeled_batch_size * self.world_size), 1) * self.world_size

    def __iter__(self) -> Iterator[list[RowId]]:
        epoch, length = self.epoch, len(self)
        labelled = self._labelled_order(epoch, length * self.labeled_batch_size)
        for batch in range(length):
            start = batch * self.labeled_batch_size
            rows = [RowId(_LABELLED, int(i), epoch) for i in labelled[start : start + self.labeled_batch_size]]
            yield rows + self._unlabelled_rows(epoch * length + batch)

    def _labelled_order(self, epoch: int, count: int) -> np.ndarray:
        """So many labelled rows in random order; only on several processes with few rows is one in it twice."""
        if self.draw is not None:
            return self.draw(epoch, count)
        whole = self.labeled // self.labeled_batch_size * self.labeled_batch_size
        rounds = -(-count // whole)
        orders = [
            np.random.default_rng([self.seed, epoch, _LABELLED, i]).permutation(self.labeled)[:whole]
            for i in range(rounds)
        ]
        return np.concatenate(orders)[:count]

    def _unlabelled_rows(self, number: int) -> list[RowId]:
        """The unlabelled part of the batch of this number, counted from the first of the first epoch."""
        per_round = self.unlabeled // (self.unlabeled_batch_size * self.world_size) * self.world_size
        round_, position = divmod(number, per_round)
        if self._shuffled is None or self._shuffled[0] != round_:
            rows = np.arange(self.unlabeled, dtype=np.int32 if self.unlabeled < 2**31 else np.int64)
            order = np.random.default_rng([self.seed, round_, _UNLABELLED]).permutation(rows)
            self._shuffled = (round_, order)
        start = position * self.unlabeled_batch_size
        chosen = self._shuffled[1][start : start + self.unlabeled_batch_size]
        return [RowId(_UNLABELLED, int(i), round_) for i in chosen]


class TwoStreams(torch.utils.data.Dataset):
    r"""
    The rows that a [`TwoStreamBatchSampler`] names: labelled ones as they are, unlabelled ones as their views.

    Args:
        labeled (`Sequence`): Rows with labels (a `datasets.Dataset`, a list of dicts, ...).
        unlabeled ([`UnlabeledTexts`]): The others.
    """

    def __init__(self, labeled: Any, unlabeled: UnlabeledTexts):
        self.labeled, self.unlabeled = labeled, unlabeled

    def __len__(self) -> int:
        # The length of an epoch is that of the labelled rows.
        return len(self.labeled)

    def __getitem__(self, which: RowId) -> dict[str, Any] | Views:
        return self.__getitems__([which])[0]

    def __getitems__(self, batch: Sequence[RowId]) -> list[dict[str, Any] | Views]:
        """The rows of a batch, read at once where they lie in a table."""
        labelled: Iterator[dict[str, Any] | Views] = iter(
            rows_at(self.labeled, [which.row for which in batch if which.stream == _LABELLED])
        )
        others = [which for which in batch if which.stream != _LABELLED]
        texts: Iterator[Any] = iter(
            self.unlabeled.views_of([which.row for which in others], [which.round for which in others])
        )
        return [next(labelled if which.stream == _LABELLED else texts) for which in batch]


@dataclass(frozen=True)
class Views:
    """
    The views of one unlabelled text, the original first, each a row without label; its label, if known; and what was guessed
    of it, probabilities `(C,)`.
    """

    rows: list[dict[str, Any]]
    label: int
    guess: np.ndarray | None = None


class UnlabeledTexts:
    r"""
    Unlabelled texts with their views: the original, ready columns beside it, and augmentations made on the fly.

    Args:
        dataset (`datasets.Dataset` or `Sequence[dict]`): The rows. Nothing of them is read before it is needed.
        text_columns (`Sequence[str]`): The column of the text; of both texts where they are pairs.
        view_columns (`Sequence[str]`, *optional*): Columns that hold another wording each, such as back-translations.
        augmenters (`Sequence[Augmenter]`, *optional*): Each makes one more view of the original.
        label_column (`str`, *optional*): Labels that are known all the same; only reported, never trained on.
        seed (`int`, *optional*, defaults to 0):
            View `k` of row `i` in the reshuffle `r` is made with `numpy.random.default_rng([seed, r, i, k])`.

    Until [`learn_from`] names guesses and rows, there are none of the former and all of the latter.
    """

    def __init__(
        self,
        dataset: Any,
        *,
        text_columns: Sequence[str],
        view_columns: Sequence[str] = (),
        augmenters: Sequence[Augmenter] = (),
        label_column: str | None = None,
        seed: int = 0,
    ):
        self.text_columns = tuple(text_columns)
        self.view_columns = tuple(view_columns)
        self.augmenters = tuple(augmenters)
        self.label_column = label_column
        self.seed = seed
        if sized(dataset, "unlabeled_dataset") == 0:
            raise ValueError(
                "`unlabeled_dataset` is empty: give it at least a batch of texts, or train with mix_method='tmix'."
            )
        if (self.view_columns or self.augmenters) and not self.text_columns:
            raise ValueError(
                "Views are made of raw text, and the rows are tokenised: give unlabelled rows of raw text."
            )
        if self.view_columns and len(self.text_columns) > 1:
            raise ValueError(
                f"view_columns={list(self.view_columns)} hold one text each, but the rows are pairs of "
                f"{' and '.join(self.text_columns)}: use augmenters, which reword both."
            )
        self._check_columns(dataset)
        if isinstance(dataset, datasets.Dataset) and self.text_columns:
            # Reading a row reads all its columns.
            label = [] if label_column is None else [label_column]
            dataset = dataset.select_columns([*self.text_columns, *self.view_columns, *label])
        self.dataset = dataset
        self.guesses: np.ndarray | None = None
        self._rows: np.ndarray | None = None

    def learn_from(self, guesses: np.ndarray, rows: np.ndarray) -> None:
        """
        Args:
            guesses (`np.ndarray` of shape `(N, C)`): Probabilities by row of all texts.
            rows (`np.ndarray`, int64): Those that are learnt from; the others are left out.
        """
        if len(guesses) != len(self.dataset):
            raise ValueError(
                f"There are {len(guesses)} guesses for {len(self.dataset)} unlabelled texts: make them anew."
            )
        self.guesses, self._rows = guesses, rows

    def _check_columns(self, dataset: Any) -> None:
        of_arrow = isinstance(dataset, datasets.Dataset)
        names = dataset.column_names if of_arrow else list(dataset[0])
        for number, column in enumerate(self.view_columns):
            if column in self.text_columns or column in self.view_columns[:number]:
                raise ValueError(f"view_columns {column!r}: that is the text itself or a view already, name it once.")
        for argument, columns in (("text column", self.text_columns), ("view_columns", self.view_columns)):
            for column in columns:
                if column not in names:
                    raise ValueError(
                        f"{argument} {column!r}: the unlabelled texts have no such column, they have {', '.join(names)}. "
                        "Make views with `mixtext-hf augment-text`, or on the fly with augmenters."
                    )
                if of_arrow:
                    _check_strings(dataset, argument, column)

    def __len__(self) -> int:
        return len(self.dataset) if self._rows is None else len(self._rows)

    @property
    def num_views(self) -> int:
        """Views of each text, the original included."""
        return 1 + len(self.view_columns) + len(self.augmenters)

    def views(self, index: int, round_: int) -> Views:
        """The views of the text `index` of those learnt from in the reshuffle `round_`, a pure function of these and the seed."""
        return self.views_of([index], [round_])[0]

    def views_of(self, indices: Sequence[int], rounds: Sequence[int]) -> list[Views]:
        """[`views`] of several texts, each in a reshuffle of its own."""
        if self._rows is not None:
            indices = self._rows[list(indices)].tolist()
        rows = rows_at(self.dataset, indices)
        return [self._views(*text) for text in zip(rows, indices, rounds, strict=True)]

    def _views(self, row: dict[str, Any], index: int, round_: int) -> Views:
        label = None if self.label_column is None else row[self.label_column]
        if isinstance(label, torch.Tensor) and label.dim() == 0:
            label = label.item()
        known = int(label) if isinstance(label, (int, np.integer)) and label >= 0 else IGNORE_INDEX
        original = {name: value for name, value in row.items() if name != self.label_column}
        for name in self.view_columns:
            original.pop(name, None)
        for name in self.view_columns:
            if not isinstance(row[name], str):
                raise TypeError(
                    f"view_columns {name!r} of the unlabelled texts holds {row[name]!r} in row {index}, not a str: remove such "
                    "rows, or make it an empty string."
                )
        rows = [original]
        rows += [{**original, self.text_columns[0]: row[name]} for name in self.view_columns]
        for number, augmenter in enumerate(self.augmenters, start=1 + len(self.view_columns)):
            rng = np.random.default_rng([self.seed, round_, index, number])
            rows.append({**original, **{name: augmenter(row[name], rng) for name in self.text_columns}})
        return Views(rows, known, None if self.guesses is None else np.asarray(self.guesses[index], dtype=np.float32))


def _check_strings(dataset: datasets.Dataset, argument: str, column: str) -> None:
    where = f"{argument} {column!r} of the unlabelled texts"
    if not holds_texts(dataset, column):
        feature = dataset.features[column]
        found = feature.dtype if isinstance(feature, datasets.Value) else feature
        raise ValueError(f"{where} holds {found}, not str: name a column of texts.")
    if missing := len(rows_without_text(dataset, column)):
        raise ValueError(f"{where} is None in {missing} rows: remove them, or make them empty strings.")


class TwoStreamCollator:
    r"""
    Collates labelled rows and [`Views`] into one batch of rows: `[labelled | originals | view 1 | ... | view K]`.

    Args:
        collator (`Callable`): Makes a batch with `labels` of a list of rows, as [`MixDataCollator`] does.
        label_columns (`Sequence[str]`): Where that collator looks for the label, in this order.
    """

    def __init__(self, collator: Callable[[list[dict[str, Any]]], Mapping[str, Any]], label_columns: Sequence[str]):
        self.collator, self.label_columns = collator, tuple(label_columns)

    def __call__(self, features: list[dict[str, Any] | Views]) -> dict[str, Any]:
        """
        Returns:
            `dict[str, torch.Tensor]`: what the collator makes of all rows, those of the unlabelled texts with the label
            -100; `text_labels`, int64 `(B_u,)`: the labels of the unlabelled texts that are known, else -100; and, where there
            are guesses, `text_guesses`, float32 `(B_u, C)`.
        """
        texts = [feature for feature in features if isinstance(feature, Views)]
        labelled = [feature for feature in features if not isinstance(feature, Views)]
        by_view = [row for rows in zip(*(text.rows for text in texts), strict=True) for row in rows]
        label = next((name for name in self.label_columns if name in labelled[0]), None)
        if label is None:
            raise ValueError(
                f"The labelled rows have no label, only {', '.join(labelled[0])}: name the label column 'label', or give "
                "the collator its name."
            )
        # What both kinds of rows have: a collator takes the columns of the first row for those of all.
        names = [name for name in labelled[0] if name in by_view[0] and name not in self.label_columns]
        rows = [{**{name: row[name] for name in names}, label: row[label]} for row in labelled]
        rows += [{**{name: row[name] for name in names}, label: IGNORE_INDEX} for row in by_view]
        batch = dict(self.collator(rows))
        batch["text_labels"] = torch.tensor([text.label for text in texts], dtype=torch.int64)
        guesses = [text.guess for text in texts if text.guess is not None]
        if guesses:
            batch["text_guesses"] = torch.from_numpy(np.stack(guesses))
        return batch


def sized(dataset: Any, name: str) -> int:
    """The number of rows; an error that names the argument if there is none."""
    if isinstance(dataset, dict):
        raise TypeError(f"`{name}` is a dict of splits ({', '.join(map(str, dataset))}): give one of them.")
    if not isinstance(dataset, Sized) or isinstance(dataset, torch.utils.data.IterableDataset):
        raise TypeError(
            f"`{name}` has no rows that can be asked for by number ({type(dataset).__name__}): an order that can be resumed needs random access. Give a "
            "`datasets.Dataset`, which stays on disk, or a list."
        )
    return len(dataset)


def rows_at(dataset: Any, indices: Sequence[int]) -> list[dict[str, Any]]:
    """
    Rows of a data set, in this order, with one look into its table where there is one. (A format or a transform of somebody may
    make something else of several rows than of one: then row by row.)
    """
    if isinstance(dataset, datasets.Dataset) and dataset.format["type"] is None and indices:
        return dataset.__getitems__(list(indices))
    return [dataset[index] for index in indices]
