"""Rows of features in memory or in a file, read some at a time: nothing here grows with how many there are."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


Floats = NDArray[np.floating]

# Rows that are worked on at a time, and numbers of an array by row and class: fewer rows where there are many classes.
CHUNK_ROWS = 8192
_CHUNK_NUMBERS = 2**22


class Rows(Protocol):
    """What a guesser reads: as many rows as `len` says, a slice of them as an array `(n, D)`."""

    def __len__(self) -> int: ...

    def __getitem__(self, which: slice, /) -> Floats: ...


class StoredRows:
    """
    The rows `(N, D)` of a `.npy` file, each slice read from the file: what is read through a memory map would count as memory
    of the process from then on.

    Args:
        path (`str` or `os.PathLike`): A file written by `numpy.save`, or row by row through `numpy.lib.format.open_memmap`.

    Raises:
        `ValueError`: if the file holds no two-dimensional array of floats in C order.
    """

    def __init__(self, path: str | os.PathLike[str]):
        self.path = Path(path)
        with self.path.open("rb") as file:
            version = np.lib.format.read_magic(file)
            read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            self.shape, fortran_order, self.dtype = read(file)
            self._start = file.tell()
        if len(self.shape) != 2 or fortran_order or self.dtype.kind != "f":
            raise ValueError(
                f"{self.path} holds an array of shape {self.shape} and type {self.dtype}: rows are a table of floats."
            )

    def __len__(self) -> int:
        return int(self.shape[0])

    def __getitem__(self, which: slice) -> Floats:
        start, stop, step = which.indices(len(self))
        count = max(stop - start, 0)
        width = self.shape[1]
        with self.path.open("rb") as file:
            file.seek(self._start + start * width * self.dtype.itemsize)
            rows = np.fromfile(file, dtype=self.dtype, count=count * width)
        return rows.reshape(count, width)[::step]


def chunks(rows: Rows, size: int = CHUNK_ROWS) -> Iterator[Floats]:
    """The rows in order, `size` at a time, in float64."""
    for start in range(0, len(rows), size):
        yield np.asarray(rows[start : start + size], dtype=np.float64)


def chunk_rows(n_classes: int) -> int:
    """How many rows to take at a time where each has a number for each of so many classes."""
    return max(1, min(CHUNK_ROWS, _CHUNK_NUMBERS // n_classes))


def check_finite(argument: str, rows: Rows) -> None:
    """
    Raises:
        `ValueError`: if a row has a number that is none; names the first one.
    """
    start = 0
    for chunk in chunks(rows):
        wrong = np.flatnonzero(~np.isfinite(chunk).all(axis=1))
        if len(wrong):
            raise ValueError(
                f"`{argument}` has a number that is not finite in row {start + wrong[0]}: the encoder that made these "
                "features is broken, or its precision too low for it."
            )
        start += len(chunk)


def softmax(scores: Floats) -> NDArray[np.float64]:
    """Probabilities `(n, C)` of log-scores `(n, C)`."""
    return np.exp(log_softmax(scores))


def log_softmax(scores: Floats) -> NDArray[np.float64]:
    """Log-probabilities `(n, C)` of log-scores `(n, C)`."""
    exact = np.asarray(scores, dtype=np.float64)
    shifted: NDArray[np.float64] = exact - exact.max(axis=1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))


def check_labels(labels: Sequence[int] | NDArray[np.integer], n_classes: int, rows: int) -> NDArray[np.int64]:
    """
    The labels of `rows` rows as an array.

    Raises:
        `ValueError`: for another number of labels, or one that is no class.
    """
    array = np.asarray(labels)
    if array.shape != (rows,) or array.dtype.kind not in "iu":
        raise ValueError(
            f"`labels` must be {rows} whole numbers, one for each labelled row, got shape {array.shape}, {array.dtype}."
        )
    if n_classes < 2:
        raise ValueError(f"There is {n_classes} class: guessing needs at least two.")
    wrong = array[(array < 0) | (array >= n_classes)]
    if len(wrong):
        raise ValueError(f"`labels` has {wrong[0]}, but the classes are 0 to {n_classes - 1}.")
    return array.astype(np.int64)
