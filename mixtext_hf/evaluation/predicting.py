"""From a classifier and the rows of a split to logits: one plain pass, without a Trainer. Nothing in it is random."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.utils.data import DataLoader
from tqdm.auto import tqdm

from mixtext_hf.models.modes import evaluating


class Rows(Protocol):
    """A data set, or a list of rows."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> dict[str, Any]: ...


Collator = Callable[[list[dict[str, Any]]], dict[str, torch.Tensor]]


def batches_of(
    rows: Rows,
    collator: Collator,
    *,
    batch_size: int,
    order: Sequence[int] | NDArray[np.integer] | None = None,
    num_workers: int = 0,
    title: str | None = None,
) -> Iterator[dict[str, torch.Tensor]]:
    """
    The batches of all rows, once each.

    Args:
        rows ([`Rows`]): At least one.
        collator (`Callable`): From a list of rows to a batch.
        batch_size (`int`): Rows of a batch; the last one may be smaller.
        order (`Sequence[int]`, *optional*): A permutation of the rows; that of `rows` if not given.
        num_workers (`int`, *optional*, defaults to 0): Processes that load and collate.
        title (`str`, *optional*): Of a progress bar on stderr; without it there is none.
    """
    groups: Any = _Groups(np.arange(len(rows)) if order is None else np.asarray(order), batch_size)
    loader: Any = DataLoader(rows, batch_sampler=groups, collate_fn=collator, num_workers=num_workers)  # type: ignore[arg-type]
    # It goes when it is done: dozens of passes over the same rows would fill the screen.
    yield from tqdm(loader, desc=title, disable=title is None, leave=False)


class _Groups:
    """The rows of each batch. Not all of them at once: there may be millions."""

    def __init__(self, order: NDArray[np.integer], size: int):
        self.order, self.size = order, size

    def __len__(self) -> int:
        return -(-len(self.order) // self.size)

    def __iter__(self) -> Iterator[list[int]]:
        for first in range(0, len(self.order), self.size):
            yield self.order[first : first + self.size].tolist()


def predict(
    model: nn.Module,
    rows: Rows,
    collator: Collator,
    *,
    batch_size: int,
    order: Sequence[int] | None = None,
    num_workers: int = 0,
    title: str | None = None,
) -> tuple[NDArray[np.float32], NDArray | None]:
    """
    Logits and labels of all rows.

    Args:
        model (`nn.Module`): A classifier that takes a batch without its `labels` and returns `logits` `(B, C)`. It is run in
            evaluation mode, and is in its own modes afterwards.
        rows ([`Rows`]): As for [`batches_of`], and so are the other arguments.
        order (`Sequence[int]`, *optional*): In which the rows go through the model: texts of about the same length waste
            less padding. What is returned is in the order of `rows` all the same.

    Returns:
        `tuple`: logits, float32 `(N, C)`; and what the batches have as `labels`, `(N,)` or `(N, C)`, or `None`.

    Raises:
        ValueError: If a logit is NaN or infinite.
    """
    logits, labels = [], []
    for found, of_batch in _run(
        model, batches_of(rows, collator, batch_size=batch_size, order=order, num_workers=num_workers, title=title)
    ):
        logits.append(found)
        if of_batch is not None:
            labels.append(of_batch)
    in_order = _in_order(np.concatenate(logits), order)
    _check_finite(in_order)
    return in_order, _in_order(np.concatenate(labels), order) if labels else None


def predict_in_chunks(
    model: nn.Module,
    rows: Rows,
    collator: Collator,
    *,
    batch_size: int,
    batches_in_chunk: int,
    lengths: NDArray[np.integer] | None = None,
    num_workers: int = 0,
    title: str | None = None,
) -> Iterator[tuple[int, NDArray[np.float32]]]:
    """
    As [`predict`], chunk by chunk in the order of `rows`, so that memory does not grow with their number.

    Args:
        batches_in_chunk (`int`): How many batches are given at once; only the last chunk may have fewer rows.
        lengths (`np.ndarray` of shape `(N,)`, *optional*): Of the rows: within a chunk the longest go first, as in [`by_length`].

    Yields:
        `tuple`: the number of the first row of a chunk, and its logits, float32 `(n, C)`.
    """
    size = batch_size * batches_in_chunk
    order = np.arange(len(rows))
    if lengths is not None:
        for first in range(0, len(rows), size):
            order[first : first + size] = first + np.argsort(-lengths[first : first + size], kind="stable")
    batches = batches_of(rows, collator, batch_size=batch_size, order=order, num_workers=num_workers, title=title)
    gathered: list[NDArray[np.float32]] = []
    first = 0
    for logits, _ in _run(model, batches):
        gathered.append(logits)
        stop = first + sum(map(len, gathered))
        if stop < min(first + size, len(rows)):
            continue
        chunk = _in_order(np.concatenate(gathered), order[first:stop] - first)
        _check_finite(chunk, first)
        yield first, chunk
        gathered, first = [], stop


def _run(
    model: nn.Module, batches: Iterator[dict[str, torch.Tensor]]
) -> Iterator[tuple[NDArray[np.float32], NDArray | None]]:
    """Logits and labels, if there are any, of each batch."""
    device = next(model.parameters()).device
    for batch in batches:
        labels = batch.pop("labels").numpy() if "labels" in batch else None
        # For each batch alone: what is entered in a generator holds for whoever reads it, too.
        with evaluating(model), torch.inference_mode():
            output = model(**{name: values.to(device) for name, values in batch.items()})
            logits = output.logits.float().cpu().numpy()
        yield logits, labels


def _check_finite(logits: NDArray, first: int = 0) -> None:
    finite = np.isfinite(logits).reshape(len(logits), -1).all(axis=1)
    if not finite.all():
        raise ValueError(
            f"The logits of `model` are NaN or inf for {int((~finite).sum())} of {len(logits)} rows, row "
            f"{first + int(np.argmin(finite))} the first: the model has diverged, and nothing can be measured of "
            "it. Train it with a lower learning_rate, or without half precision."
        )


def by_length(texts: Sequence[Sequence[str]]) -> list[int]:
    """
    The rows, those with the longest texts first: what does not fit into memory shows at once.

    Args:
        texts (`Sequence[Sequence[str]]`): The columns of texts, each of length `N`.
    """
    lengths = np.sum([[len(text) for text in column] for column in texts], axis=0)
    return np.argsort(-lengths, kind="stable").tolist()


def _in_order(values: NDArray, order: Sequence[int] | NDArray | None) -> NDArray:
    if order is None:
        return values
    result = np.empty_like(values)
    result[np.asarray(order)] = values
    return result
