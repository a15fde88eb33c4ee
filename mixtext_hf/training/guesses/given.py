"""Guesses that need no rounds: a column of the data, or a classifier that was trained before."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mixtext_hf.data import MixDataCollator
from mixtext_hf.data.guesses import GuessTable, guesses_of_column
from mixtext_hf.data.in_batches import CHUNK_ROWS, column_values

from .running import batch_size_of
from .shared import fingerprint
from .teacher import Teacher


if TYPE_CHECKING:
    from mixtext_hf.training.trainer import MixTrainer


def of_column(trainer: MixTrainer, folder: Path, names: Sequence[str]) -> GuessTable:
    column, rows = trainer.args.guess_column, trainer.unlabeled_dataset
    assert column is not None

    def pieces() -> Iterator[NDArray[np.float64]]:
        values = column_values(rows, [column])
        for start in range(0, len(rows), CHUNK_ROWS):
            yield guesses_of_column([*islice(values, CHUNK_ROWS)], names, name=column, first_row=start)

    about = {"guesser": "column", "column": column, "fingerprint": fingerprint(trainer, settings_of_given(trainer))}
    return GuessTable.write(folder, pieces(), len(rows), names, about)


def of_teacher(trainer: MixTrainer, folder: Path, names: Sequence[str]) -> GuessTable:
    name = trainer.args.guesser_name.removeprefix("checkpoint:")
    teacher = Teacher(
        name,
        names,
        label_map=trainer.guesser_label_map,
        device=trainer.args.device,
        batch_size=batch_size_of(trainer),
    )
    collator = trainer.data_collator
    columns = (
        (collator.text_column, collator.text_pair_column) if isinstance(collator, MixDataCollator) else (None, None)
    )
    if columns[0] is None:
        raise ValueError(
            f"guesser='checkpoint:{name}' reads texts, and the unlabelled rows are tokenised: give raw texts."
        )
    about = {
        "guesser": f"checkpoint:{name}",
        "fingerprint": fingerprint(trainer, settings_of_given(trainer)),
        "why": "distillation from a classifier that was trained before",
    }
    rows = trainer.unlabeled_dataset
    pieces = teacher.guess(rows, columns[0], columns[1], disable_tqdm=bool(trainer.args.disable_tqdm))
    return GuessTable.write(folder, pieces, len(rows), names, about)


def settings_of_given(trainer: MixTrainer) -> dict[str, Any]:
    column = trainer.args.guess_column
    if column is not None:
        return {"column": column}
    label_map = trainer.guesser_label_map
    return {
        "teacher": trainer.args.guesser_name.removeprefix("checkpoint:"),
        **({"label_map": label_map} if label_map else {}),
    }
