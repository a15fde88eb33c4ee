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
    order: Sequence[int] | None = None,
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
    places = list(range(len(rows)) if order is None else order)
    groups = [places[first : first + batch_size] for first in range(0, len(places), batch_size)]
    loader: Any = DataLoader(rows, batch_sampler=groups, collate_fn=collator, num_workers=num_workers)  # type: ignore[arg-type]
    # It goes when it is done: dozens of passes over the same rows would fill the screen.
    yield from tqdm(loader, desc=title, disable=title is None, leave=False)


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
    device = next(model.parameters()).device
    logits, labels = [], []
    with evaluating(model), torch.inference_mode():
        for batch in batches_of(
            rows, collator, batch_size=batch_size, order=order, num_workers=num_workers, title=title
        ):
            if "labels" in batch:
                labels.append(batch.pop("labels").numpy())
            output = model(**{name: values.to(device) for name, values in batch.items()})
            logits.append(output.logits.float().cpu().numpy())
    found = _in_order(np.concatenate(logits), order)
    finite = np.isfinite(found).reshape(len(found), -1).all(axis=1)
    if not finite.all():
        raise ValueError(
            f"The logits of `model` are NaN or inf for {int((~finite).sum())} of {len(found)} rows, row "
            f"{int(np.argmin(finite))} the first: the model has diverged, and nothing can be measured of it."
        )
    return found, _in_order(np.concatenate(labels), order) if labels else None


def by_length(texts: Sequence[Sequence[str]]) -> list[int]:
    """
    The rows, those with the longest texts first: what does not fit into memory shows at once.

    Args:
        texts (`Sequence[Sequence[str]]`): The columns of texts, each of length `N`.
    """
    lengths = np.sum([[len(text) for text in column] for column in texts], axis=0)
    return np.argsort(-lengths, kind="stable").tolist()


def _in_order(values: NDArray, order: Sequence[int] | None) -> NDArray:
    if order is None:
        return values
    result = np.empty_like(values)
    result[np.asarray(order)] = values
    return result
