"""Running a function of batches over the rows of a data set, in their order, without a loader: for features and guesses."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import torch
from numpy.typing import NDArray
from transformers.utils import logging as hf_logging

from mixtext_hf._files import whole_file

from .texts.collator import MixDataCollator


# Rows that are sorted by length and run together; what they become is given out in their order.
CHUNK_ROWS = 2048
_VALUES_AT_A_TIME = 10_000

BatchFunction = Callable[[dict[str, torch.Tensor]], torch.Tensor]


@torch.no_grad()
def run_over(
    rows: Any,
    collator: Any,
    function: BatchFunction,
    *,
    device: torch.device,
    batch_size: int,
    title: str | None = None,
) -> Iterator[NDArray[np.float32]]:
    """
    What `function` makes of the rows, in their order, [`CHUNK_ROWS`] at a time; batches hold texts of like length.

    Args:
        rows (`datasets.Dataset` or `Sequence[dict]`): Raw or tokenised rows; what is no input of a model is left out.
        collator (`Callable`): Makes a batch of a list of rows.
        function (`Callable`): Takes a batch without labels, returns `(B, width)`.
        device (`torch.device`): Where batches go.
        batch_size (`int`): Rows that are run at once.
        title (`str`, *optional*): Of the progress bar; without one there is none.

    Returns:
        `Iterator[np.ndarray]`: float32 pieces `(n, width)`.
    """
    inputs = input_columns(collator)
    with hf_logging.tqdm(total=len(rows), unit=" texts", desc=title, disable=title is None) as bar:
        for start in range(0, len(rows), CHUNK_ROWS):
            part = [
                {name: value for name, value in row.items() if name in inputs}
                for row in some_rows(rows, range(start, min(start + CHUNK_ROWS, len(rows))))
            ]
            order = np.argsort([_length(row) for row in part], kind="stable")
            made = []
            for first in range(0, len(order), batch_size):
                batch = collator([part[i] for i in order[first : first + batch_size]])
                moved = {name: value.to(device) for name, value in batch.items() if name != "labels"}
                made.append(function(moved).float().cpu().numpy())
            out: NDArray[np.float32] = np.concatenate(made)
            back = np.empty_like(order)
            back[order] = np.arange(len(order))
            yield out[back]
            bar.update(len(part))


def input_columns(collator: Any) -> Sequence[str]:
    """The columns of a row that a model sees."""
    if isinstance(collator, MixDataCollator):
        return [name for name in collator.columns if name not in collator.label_columns]
    return ("input_ids", "attention_mask", "token_type_ids")


def some_rows(rows: Any, which: range) -> list[dict[str, Any]]:
    """A run of rows of a data set, as dicts."""
    if isinstance(rows, datasets.Dataset):
        columns = rows[which.start : which.stop]
        return [{name: values[i] for name, values in columns.items()} for i in range(len(which))]
    return [rows[i] for i in which]


def column_values(rows: Any, names: Sequence[str]) -> Iterator[Any]:
    """
    The value of each row in the first of these columns that it has, as Python has it; `None` where it has none of them.

    Of a table nothing but that column is read, unless somebody's transform makes the rows.
    """
    if isinstance(rows, datasets.Dataset) and rows.format["type"] != "custom":
        there = rows.column_names if rows.format["output_all_columns"] else rows.format["columns"]
        name = next((name for name in names if name in there), None)
        if name is None:
            yield from [None] * len(rows)
            return
        for part in rows.with_format(None).select_columns([name]).iter(batch_size=_VALUES_AT_A_TIME):
            yield from part[name]
        return
    for i in range(len(rows)):
        row = rows[i]
        value = next((row[name] for name in names if name in row), None)
        yield value.tolist() if isinstance(value, torch.Tensor | np.ndarray | np.generic) else value


def write_rows(path: Path, pieces: Iterable[NDArray[np.floating]], rows: int, *, what: str = "features") -> None:
    """
    Write rows `(rows, width)`, float32, to a `.npy` file, piece by piece: all of them, or no file.

    Raises:
        `ValueError`: if the pieces have another number of rows; `what` says what they are.
    """
    written = 0
    with whole_file(path) as partial:
        with partial.open("wb") as file:
            for number, piece in enumerate(pieces):
                if number == 0:
                    header = {"descr": "<f4", "fortran_order": False, "shape": (rows, piece.shape[1])}
                    np.lib.format.write_array_header_1_0(file, header)
                file.write(np.ascontiguousarray(piece, dtype="<f4").tobytes())
                written += len(piece)
        if written != rows:
            raise ValueError(f"There are {what} for {written} rows, but {rows} rows.")


def _length(row: Mapping[str, Any]) -> int:
    if "input_ids" in row:
        return len(row["input_ids"])
    return sum(len(value) for value in row.values() if isinstance(value, str))
