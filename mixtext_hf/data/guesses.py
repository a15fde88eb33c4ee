"""A table of guesses: what somebody thinks of the class of every unlabelled text, by row, in a file that all processes map."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mixtext_hf._files import write_json
from mixtext_hf._numbers import is_index
from mixtext_hf.guessing import surest_rows

from .in_batches import write_rows


_PROBABILITIES, _ABOUT = "probabilities.npy", "guesses.json"
# How far the probabilities of a row may be from summing to 1.
_TOLERANCE = 1e-3


@dataclass(frozen=True)
class GuessTable:
    """
    Guesses by row of the unlabelled data. Whoever learns from them does not know who made them.

    Args:
        probabilities (`np.ndarray` of shape `(N, C)`, float32): One distribution a row; mapped from a file, or in memory.
        label_names (`tuple[str, ...]`): The classes, in the order of the columns.
        about (`dict[str, Any]`): Who guessed, and how; JSON-serialisable. `"fingerprint"` is what the table is a function of.
    """

    probabilities: NDArray[np.float32] = field(repr=False)
    label_names: tuple[str, ...]
    about: Mapping[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.probabilities)

    def surest(self, share: float) -> NDArray[np.int64]:
        """Row numbers of the surest `share` of the guesses of each class, ascending."""
        return surest_rows(self.probabilities, share)

    def shares(self) -> dict[str, float]:
        """What part of all rows each class has, by the likeliest guess."""
        counts = np.bincount(self.probabilities.argmax(axis=1), minlength=len(self.label_names))
        return {name: float(count / len(self)) for name, count in zip(self.label_names, counts, strict=True)}

    def accuracy(self, labels: NDArray[np.integer], rows: NDArray[np.integer] | None = None) -> float | None:
        """How many guesses are right, of those rows (all if not given) whose label is a class; `None` if none is."""
        which = np.arange(len(self)) if rows is None else rows
        known = which[(labels[which] >= 0) & (labels[which] < len(self.label_names))]
        if len(known) == 0:
            return None
        return float((self.probabilities[known].argmax(axis=1) == labels[known]).mean())

    # ---- in a folder ----

    @classmethod
    def read(cls, folder: str | os.PathLike[str]) -> GuessTable | None:
        """The table in a folder, its probabilities memory-mapped; `None` if there is none, or one that was not finished."""
        path = Path(folder)
        # Written last.
        if not (path / _ABOUT).is_file():
            return None
        about = json.loads((path / _ABOUT).read_text(encoding="utf-8"))
        probabilities = np.load(path / _PROBABILITIES, mmap_mode="r")
        return cls(probabilities, tuple(about["label_names"]), {k: v for k, v in about.items() if k != "label_names"})

    @classmethod
    def write(
        cls,
        folder: str | os.PathLike[str],
        pieces: Iterable[NDArray[np.floating]],
        rows: int,
        label_names: Sequence[str],
        about: Mapping[str, Any],
    ) -> GuessTable:
        """
        Write a table, piece by piece: all of it, or, if the process is killed, none.

        Args:
            folder (`str` or `os.PathLike`): Made if it is not there; what it held of another table is replaced.
            pieces (`Iterable[np.ndarray]` of shapes `(n, C)`): Probabilities, in the order of the rows.
            rows (`int`): How many there are in all.
            label_names (`Sequence[str]`): The classes.
            about (`Mapping[str, Any]`): JSON-serialisable.
        """
        path = Path(folder)
        path.mkdir(parents=True, exist_ok=True)
        (path / _ABOUT).unlink(missing_ok=True)

        def checked() -> Iterator[NDArray[np.floating]]:
            start = 0
            for piece in pieces:
                yield checked_probabilities(piece, label_names, first_row=start)
                start += len(piece)

        write_rows(path / _PROBABILITIES, checked(), rows, what="guesses")
        write_json(path / _ABOUT, {"label_names": [*label_names], **about})
        table = cls.read(path)
        assert table is not None
        return table

    @staticmethod
    def remove(folder: str | os.PathLike[str]) -> None:
        """Remove the folder of a table, if it is there."""
        shutil.rmtree(folder, ignore_errors=True)


def checked_probabilities(
    rows: NDArray[np.floating], label_names: Sequence[str], *, first_row: int = 0, what: str = "The guesses"
) -> NDArray[np.floating]:
    """
    Rows `(n, C)` of probabilities, normalised exactly.

    Raises:
        `ValueError`: if one is negative, not finite, of another length, or does not sum to 1; names the row.
    """
    if rows.ndim != 2 or rows.shape[1] != len(label_names):
        raise ValueError(
            f"{what} have {rows.shape[-1] if rows.ndim else 0} probabilities a row, but there are {len(label_names)} classes "
            f"({', '.join(label_names)}): give one for each."
        )
    sums = rows.sum(axis=1, dtype=np.float64)
    wrong = ~np.isfinite(rows).all(axis=1) | (rows < 0).any(axis=1) | ~(np.abs(sums - 1) <= _TOLERANCE)
    if wrong.any():
        row = int(np.argmax(wrong))
        raise ValueError(
            f"{what} of row {first_row + row} are {[round(float(value), 4) for value in rows[row]]}, which sum to "
            f"{sums[row]:.4g}: probabilities are numbers >= 0 that sum to 1."
        )
    normalised: NDArray[np.floating] = rows / sums[:, None]
    return normalised


def guesses_of_column(
    column: Sequence[Any], label_names: Sequence[str], *, name: str, first_row: int = 0
) -> NDArray[np.float64]:
    """
    What a column of the data says of the classes.

    Args:
        column (`Sequence`): A list of probabilities in the order of the classes, a mapping from names to probabilities, or a
            class (its name, or its id) a row.
        label_names (`Sequence[str]`): The classes.
        name (`str`): What the column is called, for the errors.
        first_row (`int`): Number of the first row, for the errors.

    Returns:
        `np.ndarray` of shape `(n, C)`, float64.
    """
    ids = {label: number for number, label in enumerate(label_names)}
    rows = np.zeros((len(column), len(label_names)))
    for number, value in enumerate(column):
        where = f"guess_column {name!r} holds {value!r} in row {first_row + number}"
        if isinstance(value, Mapping):
            if set(value) != set(ids):
                raise ValueError(
                    f"{where}: its classes are {', '.join(map(str, value))}, those of the labelled rows are "
                    f"{', '.join(label_names)}. Give a probability to each of these, and to no other."
                )
            rows[number] = [np.nan if value[label] is None else value[label] for label in label_names]
        elif (isinstance(value, Sequence) and not isinstance(value, str)) or isinstance(value, np.ndarray):
            if len(value) != len(label_names):
                raise ValueError(
                    f"{where}: it has {len(value)} probabilities, and there are {len(label_names)} classes "
                    f"({', '.join(label_names)}): give one for each, in this order."
                )
            rows[number] = np.asarray(value, dtype=np.float64)
        elif isinstance(value, str) and value in ids:
            rows[number, ids[value]] = 1
        elif is_index(value) and 0 <= value < len(label_names):
            rows[number, value] = 1
        else:
            raise ValueError(
                f"{where}, which is no class: the classes are {', '.join(label_names)}. Give a class, or probabilities, to "
                "every row."
            )
    return np.asarray(
        checked_probabilities(rows, label_names, first_row=first_row, what=f"guess_column {name!r}: the guesses")
    )
