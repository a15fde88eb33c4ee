"""How much of wrong training labels is learnt by heart, epoch by epoch."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np
from datasets import Dataset
from transformers import TrainerCallback

from mixtext_hf.data.labels.noise import CLEAN_LABEL
from mixtext_hf.evaluation import measure_memorisation
from mixtext_hf.evaluation.measures.loading import logits_of


if TYPE_CHECKING:
    from .trainer import MixTrainer

MEMORISED = ("noise_memorised", "noise_recovered", "noise_accuracy_on_right")
# Keeps the choice of rows apart from the draws of the data, keyed [seed, ...].
_STREAM = 4


class WatchMemorisation(TrainerCallback):
    r"""
    After every epoch, asks the model for the classes of its training rows, as they are, and logs `noise_memorised` (the
    share of the wrongly labelled rows that it puts into their wrong class), `noise_recovered` (into their right one) and
    `noise_accuracy_on_right`, see [`~mixtext_hf.evaluation.measure_memorisation`].

    Args:
        trainer ([`MixTrainer`]): It trains on rows with the labels `label`, whose right ones are in `clean_label`.
        max_rows (`int`): Of more training rows than this, so many are asked for, chosen with the seed of the run; one with a
            wrong label is always among them.

    Raises:
        `ValueError`: if the training rows have no column `clean_label`.
    """

    def __init__(self, trainer: MixTrainer, max_rows: int = 5_000):
        rows = trainer.train_dataset
        if not isinstance(rows, Dataset) or CLEAN_LABEL not in rows.column_names:
            raise ValueError(
                f"The training rows need a column {CLEAN_LABEL!r} with their right labels, as label_noise of "
                "load_text_datasets and load_image_datasets makes it: add it, or leave out the callback."
            )
        if len(rows) > max_rows:
            order = np.random.default_rng([trainer.args.seed, _STREAM]).permutation(len(rows))
            chosen = order[:max_rows]
            is_wrong = (np.asarray(rows[CLEAN_LABEL][:]) != np.asarray(rows["label"][:]))[order]
            if is_wrong.any() and not is_wrong[:max_rows].any():
                chosen[-1] = order[is_wrong.argmax()]
            rows = rows.select(np.sort(chosen))
        self.trainer = trainer
        self.rows = rows
        self.clean, self.noisy = np.asarray(rows[CLEAN_LABEL][:]), np.asarray(rows["label"][:])

    def on_epoch_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        output = self.trainer.predict(self.rows, metric_key_prefix="noise")
        measured = measure_memorisation(
            clean_labels=self.clean, noisy_labels=self.noisy, predictions=logits_of(output).argmax(axis=1)
        )
        self.trainer.log({f"noise_{name}": value for name, value in asdict(measured).items() if name[0] != "n"})


def last_memorisation(log_history: list[dict[str, float]]) -> dict[str, float]:
    """What [`WatchMemorisation`] logged last; empty where it was not there."""
    entries = [entry for entry in log_history if MEMORISED[0] in entry]
    return {name: entries[-1][name] for name in MEMORISED} if entries else {}
